//! The containers of a manifest beside its plan: their copies for the instances of a matrix, and what their texts refer to.
//!
//! Belongs here: what plan and containers say of each other. Does not belong here: what a plan says alone (`check`), and what
//! an engine can honour of a container.

mod references;

use std::collections::{HashMap, HashSet};

use super::check::{Checked, check, check_wired};
use super::diagnostic::{Diagnostics, Reporter, quote};
use super::facts::PodFacts;
use super::manifest::{Manifest, container};
use super::matrix::{Instance, Matrix};
use super::source::FILE_MAX;
use super::template::Keys;
use super::yaml::{COPIES_MAX, Node, Value};

impl Manifest {
    /// Checks the plan, its matrices in the containers, and the references in their `command`, `args` and `env`. `facts` are
    /// [`Manifest::facts`], with what the caller knows besides.
    ///
    /// # Errors
    /// Everything that is wrong with plan and containers, warnings included. What hangs on the plan is looked at when that is
    /// right.
    pub fn check(&self, facts: &PodFacts) -> Result<Checked, Diagnostics> {
        let mut checked = if self.is_wired { check_wired(&self.plan, facts) } else { check(&self.plan, facts) }?;
        let mut reporter = Reporter::new(&self.file);
        let containers = Containers::of(self, &checked);
        containers.check_matrices(&mut reporter);
        if !reporter.has_errors() {
            references::check(&containers, &mut reporter);
        }
        let is_wrong = reporter.has_errors();
        checked.warnings.append(reporter.finish());
        if is_wrong { Err(checked.warnings) } else { Ok(checked) }
    }

    /// The manifest with a container for each instance of a matrix, in the place of the one that is their pattern; `spec` and
    /// `facts` are changed, `object` and the plan's text are not. `checked` is what [`Manifest::check`] made of it.
    #[must_use]
    pub fn expanded(&self, checked: &Checked) -> Self {
        let mut expanded = self.clone();
        if checked.matrices.is_empty() {
            return expanded;
        }
        let matrices: HashMap<&str, &Matrix> =
            checked.matrices.iter().map(|matrix| (matrix.step.as_str(), matrix)).collect();
        if let Some(items) = expanded.spec.items_of("containers") {
            let copies = |node: &Node| match name_of(node).and_then(|name| matrices.get(name)) {
                Some(matrix) => matrix.instances.iter().map(|instance| instance.container(node)).collect(),
                None => vec![node.clone()],
            };
            *items = items.iter().flat_map(copies).collect();
            let known = items.iter().filter_map(|node| Some((name_of(node)?, node)));
            expanded.facts.containers =
                known.map(|(name, node)| container(name, node, self.facts.restart_policy)).collect();
        }
        expanded
    }
}

fn name_of(container: &Node) -> Option<&str> {
    container.get("name").and_then(Node::as_str)
}

/// The containers of a pod, and what the plan says of them.
struct Containers<'m> {
    checked: &'m Checked,
    /// Those that take part in the plan.
    steps: Vec<Step<'m>>,
    /// The others, init containers too.
    others: Vec<(&'m str, &'m Node)>,
}

/// A container that takes part in the plan.
struct Step<'m> {
    name: &'m str,
    node: &'m Node,
    matrix: Option<&'m Matrix>,
}

impl<'m> Containers<'m> {
    fn of(manifest: &'m Manifest, checked: &'m Checked) -> Self {
        let matrices: HashMap<&str, &Matrix> =
            checked.matrices.iter().map(|matrix| (matrix.step.as_str(), matrix)).collect();
        let names: HashSet<&str> = checked.plan.steps.iter().map(|step| step.name.as_str()).collect();
        let list = |key: &str| manifest.spec.list(key);
        let mut containers = Self { checked, steps: Vec::new(), others: Vec::new() };
        for node in list("containers") {
            let Some(name) = name_of(node) else { continue };
            let matrix = matrices.get(name).copied();
            if matrix.is_some() || names.contains(name) {
                containers.steps.push(Step { name, node, matrix });
            } else {
                containers.others.push((name, node));
            }
        }
        let init = list("initContainers").iter().filter_map(|node| Some((name_of(node)?, node)));
        containers.others.extend(init);
        containers
    }

    /// Reports names that instances share with containers, keys that no matrix has, and pods that no cluster takes.
    fn check_matrices(&self, reporter: &mut Reporter) {
        let mut instances: HashMap<&str, &Matrix> = HashMap::new();
        for matrix in self.steps.iter().filter_map(|step| step.matrix) {
            instances.extend(matrix.instances.iter().map(|instance| (instance.name.as_str(), matrix)));
        }
        let steps = self.steps.iter().map(|step| (step.name, step.node));
        for (name, node) in steps.chain(self.others.iter().copied()) {
            let Some(matrix) = instances.get(name) else { continue };
            let line = reporter.file().line_of(matrix.span.start);
            let span = node.get("name").map_or(node.span, |name| name.span);
            let (step, name) = (quote(&matrix.step), quote(name));
            reporter
                .error(span, format!("the matrix of step {step} makes a container {name}, and here is another one"))
                .label(format!("that step is on line {line}"))
                .help("give one of the two another name");
        }
        let mut size = 0_usize;
        for step in &self.steps {
            let keys = step.matrix.map_or(Keys { step: step.name, keys: Vec::new() }, Matrix::keys);
            keys.check(step.node, reporter);
            let Some(matrix) = step.matrix else { continue };
            size = size.saturating_add(step.node.size().saturating_mul(matrix.instances.len()));
            if size > COPIES_MAX {
                let message =
                    format!("{} copies of this container make a pod that no cluster takes", matrix.instances.len());
                reporter.error(step.node.span, message).help(format!("an object has at most {FILE_MAX} bytes"));
                return;
            }
        }
    }
}

impl<'m> Step<'m> {
    /// The steps of the plan that run in copies of this container, or in itself.
    fn instances(&self) -> impl Iterator<Item = (&'m str, Option<&'m Instance>)> {
        let copies = self.matrix.map_or(&[][..], |matrix| &matrix.instances);
        let itself = self.matrix.is_none().then_some((self.name, None));
        itself.into_iter().chain(copies.iter().map(|instance| (instance.name.as_str(), Some(instance))))
    }
}

impl Node {
    /// The items of a list in a map, to be changed.
    fn items_of(&mut self, key: &str) -> Option<&mut Vec<Self>> {
        let Value::Mapping(entries) = &mut self.value else { return None };
        let entry = entries.iter_mut().find(|entry| entry.key == key)?;
        match &mut entry.value.value {
            Value::Sequence(items) => Some(items),
            Value::Scalar(_) | Value::Mapping(_) => None,
        }
    }
}
