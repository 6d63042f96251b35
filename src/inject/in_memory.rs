//! A pod that is wired in memory, for whoever plays it at once.
//!
//! Belongs here: the same questions and the same edits as for a text, made in its value alone: that both say the same is what
//! `document` checks of every text. Does not belong here: playing it.

use super::Options;
use super::document::wiring;
use super::edit::expected;
use super::refuse::Questions;
use super::tree::Tree;
use crate::plan::site::{at, below};
use crate::plan::yaml::Node;
use crate::plan::{Checked, Diagnostic, Diagnostics, Manifest, Reporter};

/// The manifest as [`inject`](super::inject) would write it, with the containers of a matrix. Nothing of the pod stands anywhere:
/// whoever has something to say of it says it of the manifest that is given here. `checked`: its plan, and what is to run of it.
///
/// # Errors
/// Everything that cannot be wired, with its place. What will only surprise is told beside it, or not at all.
pub fn wired(manifest: &Manifest, checked: &Checked, options: &Options) -> Result<Manifest, Diagnostics> {
    let manifest = Manifest { site: manifest.site.within_object(), ..manifest.clone() };
    let mut reporter = Reporter::new(&manifest.file);
    Questions { document: &manifest.object, manifest: &manifest, checked, options }.ask(&mut reporter);
    if reporter.has_errors() {
        return Err(reporter.finish());
    }
    let object = Node::from(&Tree::from(&manifest.object)); // aliases and merges are of no importance here
    let wiring = wiring(&manifest, checked, &object, options).map_err(|stuck| {
        let mut diagnostic = Diagnostic::error(format!("this pod cannot be wired: {}", stuck.why));
        diagnostic.at(&manifest.file, manifest.plan_key).help("write it out");
        diagnostic
    })?;
    let object = Node::from(&expected(&object, &wiring.edits));
    let spec = at(&object, &below(&manifest.site.pod, "spec")).cloned().unwrap_or(manifest.spec);
    Ok(Manifest { object, spec, is_wired: true, ..manifest })
}
