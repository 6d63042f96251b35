//! Where the plan of a manifest says something, for messages about its pod.
//!
//! Belongs here: from a name to its place. Does not belong here: what it means.

use super::manifest::Manifest;
use super::source::Span;
use super::yaml::{Entry, Node, parse};

/// The text of a plan as a tree whose places are those of the manifest.
#[derive(Clone, Debug)]
pub struct Places {
    /// `None`: it is one word, `sequential`.
    plan: Option<Node>,
    whole: Span,
}

impl Places {
    /// Those of a manifest's plan.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let plan = parse(&manifest.plan).ok().and_then(|documents| documents.into_iter().next());
        Self { plan, whole: manifest.plan_key }
    }

    /// Where the last of these keys is; the whole plan where it is not.
    #[must_use]
    pub fn field(&self, path: &[&str]) -> Span {
        let found = path.split_last().and_then(|(last, first)| {
            let node = first.iter().try_fold(self.plan.as_ref()?, |node, key| node.get(key))?;
            node.entries()?.iter().find(|entry| entry.key == *last)
        });
        found.map_or(self.whole, |entry| entry.key_span)
    }

    /// Where a step is named, by its name in the plan; the whole plan where it is not.
    #[must_use]
    pub fn step(&self, step: &str) -> Span {
        if let Some(entry) = self.entry(step) {
            return entry.key_span;
        }
        let items = self.steps().and_then(Node::items).unwrap_or_default();
        items.iter().find(|item| item.as_str() == Some(step)).map_or(self.whole, Node::place)
    }

    /// Where a field of a step is; the step where it has none of that name.
    #[must_use]
    pub fn step_field(&self, step: &str, field: &str) -> Span {
        let fields = self.entry(step).and_then(|entry| entry.value.entries()).unwrap_or_default();
        let found = fields.iter().find(|entry| entry.key == field);
        found.map_or_else(|| self.step(step), |entry| entry.key_span)
    }

    fn steps(&self) -> Option<&Node> {
        self.plan.as_ref()?.get("steps")
    }

    fn entry(&self, step: &str) -> Option<&Entry> {
        self.steps()?.entries()?.iter().find(|entry| entry.key == step)
    }
}
