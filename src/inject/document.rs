//! One document of a file: its pods wired, and its text checked before it leaves.
//!
//! Belongs here: the way from a document to its wired text. Does not belong here: where documents begin and end (`documents`), the
//! changes of one pod (`wire`), and how they are made in the text (`edit`).

use std::sync::Arc;

use super::edit::{Edit, Stuck, edited, expected, look, write_aliases_out};
use super::options::Options;
use super::refuse::Questions;
use super::report::{Change, PodReport};
use super::restart::RestartRules;
use super::text::Text;
use super::tree::Tree;
use super::undo::{self, Record, undone};
use super::wire::Wiring;
use super::write::Look;
use super::{SIGN, first, is_final, original, parse, shown, to_json};
use crate::plan::diagnostic::quote;
use crate::plan::site::{Path, Seg, at, below};
use crate::plan::yaml::Node;
use crate::plan::{
    ANNOTATION, Checked, Diagnostic, Diagnostics, INJECTED, LINT_IGNORE, Manifest, PodFacts, Reporter, SourceFile, Span,
};

/// A document on its way.
pub(super) struct Document<'d> {
    pub file: &'d Arc<SourceFile>,
    /// Where it is in the file.
    pub span: Span,
    pub options: &'d Options,
    /// What is odd, or wrong.
    pub told: Diagnostics,
    pub pods: Vec<PodReport>,
}

impl<'d> Document<'d> {
    /// The document with all its pods wired; itself, if it has none. Places in messages are those of the file that a person
    /// has open, and edits are made in the text without any earlier wiring.
    pub(super) fn inject(&mut self, text: &str) -> Result<String, Diagnostics> {
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
        if undone.is_none() || !self.says_the_same(text, &wired)? {
            return Ok(wired);
        }
        for pod in &mut self.pods {
            pod.changes.clear();
            pod.summary = "nothing to do".to_owned();
        }
        Ok(text.to_owned())
    }

    /// Whether two texts are the same but for how they are written: whoever writes documents anew (kustomize, an editor that
    /// formats) leaves podturn nothing to do.
    fn says_the_same(&self, text: &str, wired: &str) -> Result<bool, Diagnostics> {
        if text == wired {
            return Ok(true);
        }
        let value = |text| Ok::<_, Diagnostics>(parse(text, self.file.name())?.as_ref().map(to_json));
        Ok(value(text)? == value(wired)?)
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
        let spec = wired.first().and_then(|(manifest, _)| at(document, &below(&manifest.site.pod, "spec")));
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
        match wiring(manifest, &checked, document, options) {
            Ok(wiring) => Some(wiring),
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

/// What has to be changed in a pod that can be wired.
pub(super) fn wiring<'w>(
    manifest: &Manifest,
    checked: &Checked,
    document: &'w Node,
    options: &'w Options,
) -> Result<Wiring<'w>, Stuck> {
    let mut facts = facts(&manifest.expanded(checked), options);
    let rules = RestartRules::of(manifest, checked, options);
    rules.tell(&mut facts);
    let mut wiring = Wiring::new(document, options, rules);
    wiring.pod(manifest, checked, &facts)?;
    Ok(wiring)
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
        let map = below(&below(holder, "metadata"), "annotations");
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
