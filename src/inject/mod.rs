//! Manifest in, manifest and report out: what a pod needs so that its containers run in the order of its plan.
//!
//! ```text
//! inject(&file, &options)   ─> Injected { text, pods, warnings } | Diagnostics
//! uninject(&file)           ─> Uninjected { text, pods }         | Diagnostics
//! wired(&manifest, &checked, &options) ─> Manifest               | Diagnostics, for whoever plays it at once
//! ```
//! `inject` of a wired text first undoes the wiring and then does it anew, so it is idempotent, and takes up other options
//! or a changed plan. What neither knows keeps every byte: comments, order, quotes, blank lines, documents without a plan.
//!
//! Three things are checked before a text leaves this room, for each document:
//! 1. it reads as the input does, plus exactly the changes that were wanted (`edit::expected`);
//! 2. `uninject` makes the input of it, byte for byte;
//! 3. nothing else: whether the plan can run was asked before.
//!
//! Belongs here: the list of changes and the editing of texts. Does not belong here: reading files, images and networks,
//! and printing. What images run by themselves comes in as data ([`Options::images`]).

mod document;
mod documents;
mod edit;
mod function;
mod handler;
mod in_memory;
mod names;
mod options;
mod output;
mod parts;
mod policy;
mod probes;
mod quantity;
mod refuse;
mod report;
mod resources;
mod restart;
mod sizing;
mod step;
mod text;
mod tree;
mod undo;
mod wire;
mod write;

pub use documents::{Cut, Cutter};
pub use function::{resource_list, with_results};
pub use in_memory::wired;
pub use names::{PODTURN, PODTURN_INIT, PODTURN_SHIM};
pub use options::{Deadline, ImageConfig, Medium, Options, ShimFrom, USER, Version};
pub use output::{Format, convert, flow};
pub use policy::{POLICY_SINCE, policy};
pub use quantity::{bytes, millicores, thousandths};
pub use report::{Change, PodReport};
pub use resources::{NewResources, with_resources};
pub use wire::job_of;

use std::sync::Arc;

use document::Document;
use edit::{Stuck, look};
use text::Text;
use tree::Tree;
use undo::{NotUndone, Undone, undone};

use crate::plan::site::at;
use crate::plan::yaml::{self, Node};
use crate::plan::{Diagnostic, Diagnostics, INJECTED, PODTURN_PLAN, Source, SourceFile, Span};

/// What every text has that podturn could have something to do with.
const SIGN: &str = "podturn.dev";

/// A text with its pods wired.
#[derive(Clone, Debug)]
pub struct Injected {
    /// The text.
    pub text: String,
    /// Each pod with a plan, in the order of the text.
    pub pods: Vec<PodReport>,
    /// What will surprise.
    pub warnings: Diagnostics,
}

/// A text without what `inject` had added.
#[derive(Clone, Debug)]
pub struct Uninjected {
    /// The text.
    pub text: String,
    /// How many documents had something to take out.
    pub documents: usize,
}

/// Wires every pod with a plan.
///
/// # Errors
/// Everything that cannot be wired, with its place. Nothing is half-done: there is no text then.
pub fn inject(file: &Arc<SourceFile>, options: &Options) -> Result<Injected, Diagnostics> {
    let mut done = Injected {
        text: String::with_capacity(file.text().len() * 2),
        pods: Vec::new(),
        warnings: Diagnostics::default(),
    };
    for span in documents::split(file.text()) {
        let text = &file.text()[span.start..span.end];
        if !text.contains(SIGN) {
            done.text.push_str(text);
            continue;
        }
        let mut document = Document { file, span, options, told: Diagnostics::default(), pods: Vec::new() };
        let wired = document.inject(text);
        done.warnings.append(document.told);
        match wired {
            Ok(text) => done.text.push_str(&text),
            Err(wrong) => done.warnings.append(wrong),
        }
        done.pods.append(&mut document.pods);
    }
    if done.warnings.has_errors() { Err(done.warnings) } else { Ok(done) }
}

/// Takes out what `inject` has added.
///
/// # Errors
/// A text that was changed since in such a way that podturn's part cannot be told from the rest.
pub fn uninject(file: &Arc<SourceFile>) -> Result<Uninjected, Diagnostics> {
    let mut done = Uninjected { text: String::with_capacity(file.text().len()), documents: 0 };
    let mut wrong = Diagnostics::default();
    for span in documents::split(file.text()) {
        let text = &file.text()[span.start..span.end];
        match original(file, span, text) {
            Ok(Some(original)) => {
                done.text.push_str(&original.text);
                done.documents += 1;
            }
            Ok(None) => done.text.push_str(text),
            Err(error) => wrong.append(error),
        }
    }
    if wrong.has_errors() { Err(wrong) } else { Ok(done) }
}

/// The documents with a plan as they are, or were, without podturn's part: what the wiring starts from. For whoever has to
/// look something up before.
#[must_use]
pub fn originals(file: &Arc<SourceFile>) -> Vec<Node> {
    let undone = uninject(file).map(|undone| undone.text);
    let text = undone.as_deref().unwrap_or(file.text());
    let parts = documents::split(text).into_iter().map(|span| &text[span.start..span.end]);
    // What cannot be read is told when it is wired.
    parts.filter(|part| part.contains(SIGN)).filter_map(|part| parse(part, file.name()).ok().flatten()).collect()
}

/// Each document that may have a plan as it is, or was, without podturn's part, with places in this file. For whoever asks
/// about pods as people wrote them.
///
/// # Errors
/// A text that is not YAML, or from which podturn's part cannot be taken out any more.
pub fn unwired(file: &Arc<SourceFile>) -> Result<Vec<Node>, Diagnostics> {
    let mut documents = Vec::new();
    let mut wrong = Diagnostics::default();
    for span in documents::split(file.text()) {
        let text = &file.text()[span.start..span.end];
        if !text.contains(SIGN) && !text.contains(PODTURN_PLAN) {
            continue;
        }
        let undone = is_final(text, file.name()).and_then(|is| if is { Ok(None) } else { original(file, span, text) });
        let read = undone.and_then(|undone| first(&shown(file, span, undone.as_ref())));
        match read {
            Ok(document) => documents.extend(document),
            Err(error) => wrong.append(error),
        }
    }
    if wrong.has_errors() { Err(wrong) } else { Ok(documents) }
}

/// The text of a document without podturn's part; places are those of the file that a person has open.
fn shown(file: &Arc<SourceFile>, span: Span, undone: Option<&Undone>) -> Source {
    let Some(undone) = undone else { return Source::part(Arc::clone(file), span) };
    let pieces: Vec<_> = undone.pieces.iter().map(|(inner, outer)| (*inner, outer + span.start)).collect();
    Source::pieces(Arc::clone(file), undone.text.clone(), &pieces, span.end)
}

/// The document as it was before `inject`, if that has been there.
///
/// # Errors
/// It cannot be told any more.
fn original(file: &Arc<SourceFile>, span: Span, text: &str) -> Result<Option<Undone>, Diagnostics> {
    if !text.contains(INJECTED) {
        return Ok(None);
    }
    let Some(document) = parse(text, file.name())? else { return Ok(None) };
    let text = Text { text, look: look(text, &document, None) };
    undone(&text, &document).map_err(|why| {
        let (path, why, help) = match why {
            NotUndone::Dropped(path) => {
                let why = "it was wired with --drop-plan-annotation, which leaves out what is needed for that";
                (path, why.to_owned(), "use the file that it was made from")
            }
            NotUndone::Changed(Stuck { why, path }) => {
                (path, why, "what podturn added was changed since; take it out by hand, with the annotation")
            }
        };
        let place = at(&document, &path).map_or(Span::empty(0), Node::place);
        let mut diagnostic = Diagnostic::error(format!("this cannot be taken apart: {why}"));
        diagnostic.at(file, Span { start: place.start + span.start, end: place.end + span.start }).help(help);
        diagnostic.into()
    })
}

/// Whether a document was wired in such a way that nothing can be taken back.
fn is_final(text: &str, name: &str) -> Result<bool, Diagnostics> {
    Ok(text.contains(INJECTED) && parse(text, name)?.is_some_and(|document| undo::is_final(&document)))
}

/// The one document of a text, with its places counted from the text's first byte.
fn parse(text: &str, name: &str) -> Result<Option<Node>, Diagnostics> {
    first(&Source::file(name, text))
}

fn first(source: &Source) -> Result<Option<Node>, Diagnostics> {
    Ok(yaml::parse(source)?.into_iter().next())
}

/// A node as JSON, without its places and its looks.
#[must_use]
pub fn to_json(node: &Node) -> serde_json::Value {
    Tree::from(node).to_json()
}
