//! What an engine cannot say: collected with its place in the manifest, and with the spot in the output where it would be.
//!
//! Belongs here: places, and what becomes of a gap. Does not belong here: finding gaps.

use std::sync::Arc;

use crate::plan::yaml::{Node, parse};
use crate::plan::{Diagnostic, Diagnostics, Manifest, SourceFile, Span};

/// Where in the output a remark goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// What is true of the whole.
    Head,
    /// The step of this name.
    Step(String),
}

/// One thing that cannot be said.
pub(super) struct Gap {
    spot: Spot,
    place: Span,
    message: String,
    help: String,
    instead: Option<String>,
}

impl Gap {
    /// Says what is in the output in its place.
    pub(super) fn instead(&mut self, what: impl Into<String>) {
        self.instead = Some(what.into());
    }
}

/// All of them.
pub(super) struct Gaps {
    file: Arc<SourceFile>,
    /// The plan as a tree, whose places are those of the manifest.
    plan: Option<Node>,
    plan_key: Span,
    list: Vec<Gap>,
}

impl Gaps {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let plan = parse(&manifest.plan).ok().and_then(|documents| documents.into_iter().next());
        Self { file: Arc::clone(&manifest.file), plan, plan_key: manifest.plan_key, list: Vec::new() }
    }

    /// Notes something that cannot be said.
    pub(super) fn add(
        &mut self,
        spot: Spot,
        place: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Gap {
        self.list.push(Gap { spot, place, message: message.into(), help: help.into(), instead: None });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    /// Where the plan has this field.
    pub(super) fn plan_field(&self, field: &str) -> Span {
        let entries = self.plan.as_ref().and_then(Node::entries).unwrap_or_default();
        entries.iter().find(|entry| entry.key == field).map_or(self.plan_key, |entry| entry.key_span)
    }

    /// Where the plan has this field of a step; the step itself if it is not written there. `step` is its name in the plan.
    pub(super) fn step_field(&self, step: &str, field: &str) -> Span {
        let steps = self.plan.as_ref().and_then(|plan| plan.get("steps"));
        let entries = steps.and_then(Node::entries).unwrap_or_default();
        let Some(entry) = entries.iter().find(|entry| entry.key == step) else {
            let items = steps.and_then(Node::items).unwrap_or_default();
            let named = items.iter().find(|item| item.as_str() == Some(step));
            return named.map_or(self.plan_key, Node::place);
        };
        let fields = entry.value.entries().unwrap_or_default();
        fields.iter().find(|known| known.key == field).map_or(entry.key_span, |known| known.key_span)
    }

    /// The remarks for a spot of the output.
    pub(super) fn remarks(&self, spot: &Spot) -> Vec<String> {
        let remark = |gap: &Gap| match &gap.instead {
            Some(instead) => format!("NOT EXPORTED: {}. Here: {instead}.", gap.message),
            None => format!("NOT EXPORTED: {}.", gap.message),
        };
        self.list.iter().filter(|gap| gap.spot == *spot).map(remark).collect()
    }

    /// As messages: errors, or warnings where losses are wanted.
    pub(super) fn finish(self, is_lossy: bool) -> Diagnostics {
        let mut told = Diagnostics::default();
        for Gap { place, message, help, .. } in self.list {
            let mut diagnostic = if is_lossy { Diagnostic::warning(message) } else { Diagnostic::error(message) };
            diagnostic.at(&self.file, place);
            if !is_lossy {
                diagnostic.help(format!("{help}; or --lossy, which leaves a comment in its place"));
            }
            told.push(diagnostic);
        }
        told
    }
}
