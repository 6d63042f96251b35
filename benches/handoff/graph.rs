//! The graphs that every contender runs, and how each contender is told about them.

use std::fmt::Write as _;

/// A graph: for each step the steps it waits for, all of which come before it.
pub(crate) struct Graph {
    pub(crate) name: &'static str,
    pub(crate) dependencies: Vec<Vec<usize>>,
}

impl Graph {
    /// One after another.
    pub(crate) fn chain(steps: usize) -> Self {
        let dependencies = (0..steps).map(|step| (step.saturating_sub(1)..step).collect()).collect();
        Self { name: "chain", dependencies }
    }

    /// One, then `width` at once, then one.
    pub(crate) fn fan(width: usize) -> Self {
        let mut dependencies = vec![vec![]];
        dependencies.extend((0..width).map(|_| vec![0]));
        dependencies.push((1..=width).collect());
        Self { name: "fan", dependencies }
    }

    /// `layers` of `width` steps; each step waits for three of the layer before, so that the graph is neither a row of
    /// barriers nor a bundle of chains. The first step stands alone before all, as the one that is started last.
    pub(crate) fn layers(layers: usize, width: usize) -> Self {
        let mut dependencies = vec![vec![]];
        for layer in 0..layers {
            for column in 0..width {
                let before = |shift: usize| 1 + (layer - 1) * width + (column + shift) % width;
                dependencies.push(if layer == 0 { vec![0] } else { vec![before(0), before(1), before(7)] });
            }
        }
        Self { name: "layers", dependencies }
    }

    pub(crate) fn len(&self) -> usize {
        self.dependencies.len()
    }

    /// For podturn.
    pub(crate) fn plan(&self) -> String {
        let mut plan = String::from("steps:\n");
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            let names: Vec<String> = dependencies.iter().map(|dependency| format!("s{dependency}")).collect();
            let _ = writeln!(plan, "  s{step}: {{ dependsOn: [{}] }}", names.join(", "));
        }
        plan
    }

    /// For make(1). No shell: make executes a plain command itself.
    pub(crate) fn makefile(&self, stamp: &str, stamps: &str) -> String {
        let names = (0..self.len()).map(|step| format!("s{step}")).collect::<Vec<_>>().join(" ");
        let mut makefile = format!("all: {names}\n.PHONY: all {names}\n");
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            let names: Vec<String> = dependencies.iter().map(|dependency| format!("s{dependency}")).collect();
            let _ = writeln!(makefile, "s{step}: {}\n\t{stamp} {stamps} {step}", names.join(" "));
        }
        makefile
    }

    /// For sh(1): level by level, as one would write it by hand: `a && b`, and `{ b & c & wait; }` for a level.
    pub(crate) fn script(&self, stamp: &str, stamps: &str) -> String {
        let mut level_of = vec![0; self.len()];
        let mut levels: Vec<Vec<usize>> = Vec::new();
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            let level = dependencies.iter().map(|&dependency| level_of[dependency] + 1).max().unwrap_or(0);
            level_of[step] = level;
            levels.resize(levels.len().max(level + 1), Vec::new());
            levels[level].push(step);
        }
        let command = |step: &usize| format!("{stamp} {stamps} {step}");
        let level = |steps: &Vec<usize>| match steps.as_slice() {
            [one] => command(one),
            many => format!("{{ {} & wait; }}", many.iter().map(command).collect::<Vec<_>>().join(" & ")),
        };
        levels.iter().map(level).collect::<Vec<_>>().join(" && ")
    }

    /// For the floor: see `floor.c`.
    pub(crate) fn edges(&self) -> String {
        let mut dependents = vec![Vec::new(); self.len()];
        for (step, dependencies) in self.dependencies.iter().enumerate() {
            for &dependency in dependencies {
                dependents[dependency].push(step);
            }
        }
        let mut text = format!("{}\n", self.len());
        for (dependencies, dependents) in self.dependencies.iter().zip(dependents) {
            let _ = write!(text, "{} {}", dependencies.len(), dependents.len());
            for dependent in dependents {
                let _ = write!(text, " {dependent}");
            }
            text.push('\n');
        }
        text
    }
}
