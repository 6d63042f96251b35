//! What an engine cannot say: collected with its place in the manifest, and with the spot in the output where it would be.
//!
//! Belongs here: what becomes of a gap. Does not belong here: finding gaps.

use std::sync::Arc;

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
    list: Vec<Gap>,
}

impl Gaps {
    pub(super) fn new(manifest: &Manifest) -> Self {
        Self { file: Arc::clone(&manifest.file), list: Vec::new() }
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
