//! Manifest in, manifest and report out: what a pod needs so that its containers run in the order of its plan.
//!
//! ```text
//! inject(&file, &options)   ─> Injected { text, pods, warnings } | Diagnostics
//! uninject(&file)           ─> Uninjected { text, pods }         | Diagnostics
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

mod documents;
mod edit;
mod function;
mod handler;
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

pub use function::{resource_list, with_results};
pub use names::{MailboxMount, PODTURN, PODTURN_INIT, mailbox, shim};
pub use options::{Deadline, ImageConfig, Medium, Options, USER, Version};
pub use output::{Format, convert, flow};
pub use policy::{POLICY_SINCE, policy};
pub use quantity::{bytes, millicores, thousandths};
pub use report::{Change, PodReport};
pub use resources::{NewResources, with_resources};
pub use wire::job_of;

use std::sync::Arc;

use edit::{Edit, Stuck, edited, expected, look, write_aliases_out};
use refuse::Questions;
use restart::RestartRules;
use text::Text;
use tree::Tree;
use undo::{Record, Undone, undone};
use wire::{Wiring, key};
use write::Look;

use crate::plan::diagnostic::quote;
use crate::plan::site::{Path, Seg, at};
use crate::plan::yaml::{self, Node};
use crate::plan::{
    ANNOTATION, Diagnostic, Diagnostics, INJECTED, LINT_IGNORE, Manifest, PODTURN_PLAN, PodFacts, Reporter, Source,
    SourceFile, Span,
};

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
    undone(&text, &document).map_err(|stuck| {
        let place = at(&document, &stuck.path).map_or(Span::empty(0), Node::place);
        let mut diagnostic = Diagnostic::error(format!("this cannot be taken apart: {}", stuck.why));
        diagnostic.at(file, Span { start: place.start + span.start, end: place.end + span.start }).help(
            match stuck.why == undo::DROPPED_WHY {
                true => "use the file that it was made from",
                false => "what podturn added was changed since; take it out by hand, with the annotation",
            },
        );
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

struct Document<'d> {
    file: &'d Arc<SourceFile>,
    /// Where it is in the file.
    span: Span,
    options: &'d Options,
    /// What is odd, or wrong.
    told: Diagnostics,
    pods: Vec<PodReport>,
}

impl<'d> Document<'d> {
    /// The document with all its pods wired; itself, if it has none. Places in messages are those of the file that a person
    /// has open, and edits are made in the text without any earlier wiring.
    fn inject(&mut self, text: &str) -> Result<String, Diagnostics> {
        let undone = if is_final(text, self.file.name())? { None } else { original(self.file, self.span, text)? };
        let base = undone.as_ref().map_or(text, |undone| &undone.text);
        let source = shown(self.file, self.span, undone.as_ref());
        let (Some(shown), Some(document)) = (first(&source)?, parse(base, self.file.name())?) else {
            return Ok(text.to_owned());
        };
        let wired = self.wire(base, &document, &shown)?;
        if self.options.drop_plan && wired != base {
            return self.without_plan(&wired);
        }
        if undone.is_some() && wired == text {
            for pod in &mut self.pods {
                pod.changes.clear();
                pod.summary = "nothing to do".to_owned();
            }
        }
        Ok(wired)
    }

    /// A wired text with short annotations.
    fn without_plan(&mut self, wired: &str) -> Result<String, Diagnostics> {
        let Some(document) = parse(wired, self.file.name())? else { return Ok(wired.to_owned()) };
        let text = Text { text: wired, look: look(wired, &document, None) };
        let short = undo::without_plan(&text, &document).map_err(|stuck| self.stuck(&document, &stuck))?;
        let change = Change {
            what: "no annotation with the plan".to_owned(),
            why: "as asked; `podturn uninject` cannot take this back".to_owned(),
        };
        self.pods.iter_mut().for_each(|pod| pod.changes.push(change.clone()));
        Ok(short)
    }

    fn wire(&mut self, base: &str, document: &Node, shown: &Node) -> Result<String, Diagnostics> {
        let mut reporter = Reporter::new(self.file);
        let manifests = Manifest::all(shown, &self.options.templates, &mut reporter);
        unknown_annotations(shown, &mut reporter);
        let mut wired: Vec<(&Manifest, Wiring<'_>)> = Vec::new();
        for manifest in &manifests {
            if manifest.is_wired {
                self.pods.push(report(manifest, "wired by hand, so it is left as it is".to_owned(), Vec::new()));
            } else if let Some(wiring) = self.pod(manifest, document, shown, &mut reporter) {
                wired.push((manifest, wiring));
            }
        }
        self.told.append(reporter.finish());
        if self.told.has_errors() || wired.is_empty() {
            return Ok(base.to_owned());
        }
        let spec = wired.first().and_then(|(manifest, _)| at(document, &key(&manifest.site.pod, "spec")));
        let look = look(base, document, spec);
        let out = match self.edited(base, document, shown, &wired, look) {
            // A comment behind a value that was written anew would become a part of a text of several lines.
            Err(_) => self.edited(base, document, shown, &wired, Look { has_literals: false, ..look })?,
            Ok(out) => out,
        };
        for (manifest, wiring) in wired {
            let summary = format!("{} step{}", wiring.steps, if wiring.steps == 1 { "" } else { "s" });
            self.pods.push(report(manifest, summary, wiring.changes));
        }
        Ok(out)
    }

    /// The text with all edits made, and checked.
    fn edited(
        &self,
        base: &str,
        document: &Node,
        shown: &Node,
        wired: &[(&Manifest, Wiring<'_>)],
        look: Look,
    ) -> Result<String, Diagnostics> {
        let text = Text { text: base, look };
        let edits = edits(&text, document, wired);
        let out = edited(&text, document, &edits).map_err(|stuck| self.stuck(shown, &stuck))?;
        self.check(base, document, &edits, &out)?;
        Ok(out)
    }

    /// What has to be changed in one pod; `None` if it cannot be.
    fn pod<'w>(
        &mut self,
        manifest: &Manifest,
        document: &'w Node,
        shown: &Node,
        reporter: &mut Reporter,
    ) -> Option<Wiring<'w>>
    where
        'd: 'w,
    {
        let options: &'d Options = self.options;
        let facts = facts(manifest, options);
        let checked = match manifest.check(&facts) {
            Ok(checked) => checked,
            Err(wrong) => {
                self.told.append(wrong);
                return None;
            }
        };
        self.told.append(checked.warnings.clone());
        Questions { document: shown, manifest, checked: &checked, options }.ask(reporter);
        if reporter.has_errors() {
            return None;
        }
        let containers = self::facts(&manifest.expanded(&checked), options).containers;
        let mut facts = PodFacts { containers, ..facts };
        let rules = RestartRules::of(manifest, &checked, options);
        rules.tell(&mut facts);
        let mut wiring = Wiring::new(document, options, rules);
        match wiring.pod(manifest, &checked, &facts) {
            Ok(()) => Some(wiring),
            Err(stuck) => {
                self.told.append(self.stuck(shown, &stuck));
                None
            }
        }
    }

    /// The two promises about the text.
    fn check(&self, base: &str, document: &Node, edits: &[Edit], out: &str) -> Result<(), Diagnostics> {
        let got = parse(out, self.file.name()).ok().flatten();
        let is_wanted = got.as_ref().is_some_and(|got| Tree::from(got) == expected(document, edits));
        let back = got.map(|got| undone(&Text { text: out, look: look(out, &got, None) }, &got));
        if is_wanted && matches!(&back, Some(Ok(Some(back))) if back.text == base) {
            return Ok(());
        }
        let mut diagnostic = Diagnostic::error("this document is written in a way that podturn cannot add to");
        diagnostic.at(self.file, Span::empty(self.span.start + document.span.start)).help(
            "nothing was changed. Write anchors and merges (&, *, <<) out, and end the last line; \
             if there are none, this is a bug of podturn",
        );
        Err(diagnostic.into())
    }

    fn stuck(&self, shown: &Node, stuck: &Stuck) -> Diagnostics {
        let node = at(shown, &stuck.path);
        let what = match stuck.path.last() {
            None => "this document".to_owned(),
            Some(Seg::Key(key)) => quote(key),
            Some(Seg::Index(_)) => "this item".to_owned(),
        };
        let mut diagnostic = Diagnostic::error(format!("{what} cannot be added to: {}", stuck.why));
        diagnostic.at(self.file, node.map_or(Span::empty(self.span.start), Node::place)).help("write it out here");
        diagnostic.into()
    }
}

/// All edits of a document: the pods' own, the record of each level that has a plan, and the aliases that would change with
/// their anchors.
fn edits(text: &Text<'_>, document: &Node, wired: &[(&Manifest, Wiring<'_>)]) -> Vec<Edit> {
    let mut all: Vec<Edit> = Vec::new();
    let mut holders: Vec<_> =
        wired.iter().map(|(manifest, _)| (&manifest.site.object, &manifest.site.holder)).collect();
    holders.dedup();
    for (object, holder) in holders {
        let of_holder = || wired.iter().filter(|(manifest, _)| manifest.site.holder == *holder);
        let pods: Vec<&Path> = of_holder().map(|(manifest, _)| &manifest.site.pod).collect();
        let mut edits: Vec<Edit> = of_holder().flat_map(|(_, wiring)| wiring.edits.iter().cloned()).collect();
        write_aliases_out(document, &mut edits);
        let value = Tree::Text(Record::of(text, document, object, holder, &pods, &edits).to_json());
        let map = key(&key(holder, "metadata"), "annotations");
        all.push(Edit::Put { map, key: INJECTED.to_owned(), value, before: None });
        all.extend(edits);
    }
    all
}

/// Annotations of podturn's that nothing reads: a slip that would otherwise look like 'no plan'.
fn unknown_annotations(node: &Node, reporter: &mut Reporter) {
    let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations")).and_then(Node::entries);
    for entry in annotations.unwrap_or_default() {
        let key = entry.key.as_str();
        if key.starts_with(SIGN) && ![ANNOTATION, INJECTED, LINT_IGNORE].contains(&key) {
            let nearest = reporter.nearest(key, [ANNOTATION, LINT_IGNORE]);
            reporter
                .warning(entry.key_span, format!("nothing reads the annotation {}", quote(key)))
                .code("PT005")
                .did_you_mean(nearest);
        }
    }
    let entries = node.entries().unwrap_or_default().iter().filter(|entry| entry.key != "metadata");
    entries.for_each(|entry| unknown_annotations(&entry.value, reporter));
    node.items().unwrap_or_default().iter().for_each(|item| unknown_annotations(item, reporter));
}

fn report(manifest: &Manifest, summary: String, changes: Vec<Change>) -> PodReport {
    let (kind, name) = (manifest.kind.clone(), manifest.name.clone());
    let api_version = manifest.object.get("apiVersion").and_then(Node::as_str).unwrap_or_default().to_owned();
    PodReport { file: manifest.file.name().to_owned(), api_version, kind, name, summary, changes }
}

/// What the init container is told of the pod. What follows from the rest is left out, to keep it short.
fn facts(manifest: &Manifest, options: &Options) -> PodFacts {
    let mut facts = PodFacts { placement: options.placement, ..manifest.facts.clone() };
    facts.parameters.extend(options.parameters.clone());
    let by_policy = facts.restart_policy.of_containers();
    for container in &mut facts.containers {
        container.restarts = container.restarts.filter(|restarts| *restarts != by_policy);
    }
    facts
}

/// A node as JSON, without its places and its looks.
#[must_use]
pub fn to_json(node: &Node) -> serde_json::Value {
    Tree::from(node).to_json()
}
