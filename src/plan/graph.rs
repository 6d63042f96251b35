//! Questions about the plan as a graph: circles, and steps that could never run.
//!
//! Nothing here recurses, so that a chain of any length is checked on any stack.

use podturn_turn::Condition;

use super::diagnostic::{Reporter, quote};
use super::links::Edge;
use super::steps::Draft;

/// How many steps of a circle are printed before the rest is only counted.
const PRINTED: usize = 12;

/// Reports circles, and where there is none, conditions that cannot hold together. Whether there is no circle.
pub(super) fn check(drafts: &[Draft], edges: &[Vec<Edge>], reporter: &mut Reporter) -> bool {
    let order = order(drafts, edges, reporter);
    if let Some(order) = &order {
        contradictions(drafts, edges, order, reporter);
    }
    order.is_some()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    /// On the path from where the walk began.
    Open,
    Done,
}

/// The steps with dependencies before dependents, or `None` after the circles have been reported. A depth-first walk
/// with its own stack: an edge back into the open path closes a circle.
fn order(drafts: &[Draft], edges: &[Vec<Edge>], reporter: &mut Reporter) -> Option<Vec<usize>> {
    let mut marks = vec![Mark::New; drafts.len()];
    let mut in_circle = vec![false; drafts.len()];
    let mut order = Vec::with_capacity(drafts.len());
    let mut is_acyclic = true;
    for start in 0..drafts.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((step, next)) = path.last_mut() {
            let step = *step;
            let Some(edge) = edges[step].get(*next) else {
                marks[step] = Mark::Done;
                order.push(step);
                path.pop();
                continue;
            };
            *next += 1;
            let target = edge.dependency.step.index();
            match marks[target] {
                Mark::Done => {}
                Mark::New => {
                    marks[target] = Mark::Open;
                    path.push((target, 0));
                }
                Mark::Open => {
                    is_acyclic = false;
                    let from = path.iter().position(|(open, _)| *open == target).unwrap_or(0);
                    let circle: Vec<usize> = path[from..].iter().map(|(open, _)| *open).collect();
                    // Several edges may close circles through the same steps: one report is enough to begin with.
                    if !circle.iter().any(|step| in_circle[*step]) {
                        report_circle(drafts, &circle, edge, reporter);
                    }
                    circle.iter().for_each(|step| in_circle[*step] = true);
                }
            }
        }
    }
    is_acyclic.then_some(order)
}

/// `circle` is in the order of `dependsOn` and ends with the step whose `edge` leads back to its first one.
fn report_circle(drafts: &[Draft], circle: &[usize], edge: &Edge, reporter: &mut Reporter) {
    let last = circle[circle.len() - 1];
    let mut names: Vec<&str> =
        std::iter::once(last).chain(circle.iter().copied()).map(|at| drafts[at].name.as_str()).collect();
    let rest = names.len().saturating_sub(PRINTED);
    let more = format!("... {rest} more ...");
    if rest > 1 {
        names.splice(PRINTED / 2..PRINTED / 2 + rest, [more.as_str()]);
    }
    reporter
        .error(edge.span, format!("these steps wait for each other: {}", names.join(" -> ")))
        .help("each of them could only start after itself; take one of these dependencies out");
}

/// For each step, which steps must have Failed and which must have Succeeded before it can run. Only steps that somebody
/// wants to see fail are looked at, so this costs nothing in most plans.
struct Needs {
    words: usize,
    failed: Vec<u64>,
    succeeded: Vec<u64>,
}

impl Needs {
    fn new(steps: usize, columns: usize) -> Self {
        let words = columns.div_ceil(64);
        Self { words, failed: vec![0; steps * words], succeeded: vec![0; steps * words] }
    }

    /// What `from` needs, `to` needs too.
    fn inherit(&mut self, to: usize, from: usize) {
        for word in 0..self.words {
            let (to, from) = (to * self.words + word, from * self.words + word);
            self.failed[to] |= self.failed[from];
            self.succeeded[to] |= self.succeeded[from];
        }
    }

    fn conflict(&self, step: usize) -> Option<usize> {
        let range = step * self.words..(step + 1) * self.words;
        let both = self.failed[range.clone()].iter().zip(&self.succeeded[range]).map(|(a, b)| a & b);
        both.enumerate().find(|(_, both)| *both != 0).map(|(word, both)| word * 64 + both.trailing_zeros() as usize)
    }
}

fn contradictions(drafts: &[Draft], edges: &[Vec<Edge>], order: &[usize], reporter: &mut Reporter) {
    let mut column: Vec<Option<usize>> = vec![None; drafts.len()];
    let mut watched: Vec<usize> = Vec::new();
    for edge in edges.iter().flatten().filter(|edge| edge.dependency.condition == Condition::Failed) {
        let step = edge.dependency.step.index();
        if column[step].is_none() {
            column[step] = Some(watched.len());
            watched.push(step);
        }
    }
    let mut needs = Needs::new(drafts.len(), watched.len());
    for &step in order {
        let mut inherited = false;
        for edge in &edges[step] {
            let from = edge.dependency.step.index();
            if edge.dependency.condition == Condition::Completed {
                continue;
            }
            inherited |= needs.conflict(from).is_some();
            // What can be Skipped did not have to run: that it counts as a success shows nothing of what it waited for.
            if edge.dependency.condition != Condition::Succeeded || drafts[from].when.is_none() {
                needs.inherit(step, from);
            }
            let Some(column) = column[from] else { continue };
            let (word, bit) = (step * needs.words + column / 64, 1 << (column % 64));
            match edge.dependency.condition {
                Condition::Failed => needs.failed[word] |= bit,
                // A failure that is allowed counts as success: then both can hold.
                Condition::Succeeded if !drafts[from].allow_failure && drafts[from].when.is_none() => {
                    needs.succeeded[word] |= bit;
                }
                // Ready it may have been, and Failed later.
                Condition::Succeeded | Condition::Ready | Condition::Started | Condition::Completed => {}
            }
        }
        if let Some(column) = needs.conflict(step).filter(|_| !inherited) {
            let torn = quote(&drafts[watched[column]].name);
            let this = quote(&drafts[step].name);
            let span = edges[step].first().map_or(drafts[step].span, |edge| edge.span);
            reporter
                .error(span, format!("step {this} can never run: it needs {torn} both to succeed and to fail"))
                .help(format!("directly or through other steps; `Completed` waits for {torn} to end in whatever way"));
        }
    }
}
