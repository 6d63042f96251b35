//! The way back: what `inject` added is found by its names, and what cannot be is in the annotation `podturn.dev/injected`.
//!
//! Each cut is the exact inverse of an edit, so the bytes of the original come back. It works on a text that somebody has
//! edited since, too: nothing in the annotation is an offset. And on one that a machine has written anew, such as what
//! `kubectl get -o yaml` prints: what the annotation has as text is written anew as well then.
//!
//! Belongs here: what of a document is podturn's. Does not belong here: what is added and why (`wire`), what the annotation holds
//! (`record`), which bytes go with an item or an entry (`cuts`), and how what was there comes back (`old`).

mod cuts;
mod old;
mod record;

use std::collections::BTreeMap;

use cuts::{Cut, Cuts};
use old::Form;
pub(super) use record::Record;
use record::{found, spelled};

use super::edit::Stuck;
use super::names::{PODTURN, PODTURN_INIT, PODTURN_SHIM, shim_length};
use super::text::{Text, own};
use crate::plan::site::{Path, Seg, at, below};
use crate::plan::yaml::{Entry, Node};
use crate::plan::{ANNOTATION, INJECTED, LINT_IGNORE, Span};

/// What stands in the annotation where nothing can be taken back.
const DROPPED: &str = "dropped";

/// Why what `inject` added cannot be taken out.
#[derive(Debug)]
pub(super) enum NotUndone {
    /// What is needed for that was left out (`--drop-plan-annotation`), at this level.
    Dropped(Path),
    /// Somebody has changed it since.
    Changed(Stuck),
}

impl From<Stuck> for NotUndone {
    fn from(stuck: Stuck) -> Self {
        Self::Changed(stuck)
    }
}

/// A text without what `inject` had added.
#[derive(Clone, Debug)]
pub(super) struct Undone {
    pub text: String,
    /// Where its pieces come from: an offset in it, and the one in the wired text.
    pub pieces: Vec<(usize, usize)>,
}

/// The text without what `inject` has added; `None` if it added nothing.
pub(super) fn undone(text: &Text<'_>, document: &Node) -> Result<Option<Undone>, NotUndone> {
    let mut holders = Vec::new();
    collect(document, &mut Vec::new(), &[], &mut holders);
    if holders.is_empty() {
        return Ok(None);
    }
    let made = |form| {
        let mut cuts = Cuts { text, document, form, cuts: Vec::new() };
        holders.iter().try_for_each(|(object, holder)| cuts.holder(object, holder))?;
        Ok(cuts.made())
    };
    let as_it_was = made(Form::AsItWas);
    let anew: Result<Undone, NotUndone> = made(Form::Anew);
    old::chosen(as_it_was, anew).map(Some)
}

/// Whether a document was wired in such a way that nothing can be taken back.
pub(super) fn is_final(document: &Node) -> bool {
    let mut holders = Vec::new();
    collect(document, &mut Vec::new(), &[], &mut holders);
    let value = |holder: &Path| at(document, holder).and_then(injected).and_then(|entry| entry.value.as_str());
    holders.iter().any(|(_, holder)| value(holder) == Some(DROPPED))
}

/// A wired text without the annotations that only people and `uninject` read.
pub(super) fn without_plan(text: &Text<'_>, document: &Node) -> Result<String, Stuck> {
    let mut holders = Vec::new();
    collect(document, &mut Vec::new(), &[], &mut holders);
    let mut cuts = Cuts { text, document, form: Form::AsItWas, cuts: Vec::new() };
    for (_, holder) in &holders {
        cuts.entries(
            &below(&below(holder, "metadata"), "annotations"),
            &[ANNOTATION.to_owned(), LINT_IGNORE.to_owned()],
        )?;
        if let Some(entry) = at(document, holder).and_then(injected) {
            cuts.cuts.push(Cut { at: text.value_of(entry), text: format!(" \"{DROPPED}\""), is_lines: false });
        }
    }
    Ok(cuts.made().text)
}

/// The levels that have the annotation, each with the object that it is in: the last one on the way that has a kind.
fn collect(node: &Node, path: &mut Path, object: &[Seg], holders: &mut Vec<(Path, Path)>) {
    let is_object = node.get("kind").is_some() && node.get("apiVersion").is_some();
    let object = if is_object { path.clone() } else { object.to_vec() };
    if injected(node).is_some() {
        holders.push((object.clone(), path.clone()));
    }
    for entry in node.entries().unwrap_or_default() {
        path.push(Seg::Key(entry.key.clone()));
        collect(&entry.value, path, &object, holders);
        path.pop();
    }
    for (index, item) in node.items().unwrap_or_default().iter().enumerate() {
        path.push(Seg::Index(index));
        collect(item, path, &object, holders);
        path.pop();
    }
}

fn injected(node: &Node) -> Option<&Entry> {
    own(node.get("metadata")?.get("annotations")?, INJECTED)
}

/// Whether this is a mount of what anybody may see, which a person writes (docs/recipes.md) and podturn never does.
fn is_an_onlookers(mount: &Node) -> bool {
    mount.get("subPath").and_then(Node::as_str) == Some(podturn_wire::names::PUBLIC)
}

impl Cuts<'_> {
    fn holder(&mut self, object: &Path, holder: &Path) -> Result<(), NotUndone> {
        let stuck = |why: String| Stuck { why, path: holder.clone() };
        let entry = at(self.document, holder).and_then(injected).ok_or_else(|| stuck("it is not there".to_owned()))?;
        if entry.value.as_str() == Some(DROPPED) {
            return Err(NotUndone::Dropped(holder.clone()));
        }
        let record: Record = serde_json::from_str(entry.value.as_str().unwrap_or_default())
            .map_err(|error| stuck(format!("the annotation {INJECTED} is not what podturn wrote there: {error}")))?;
        let mut by_map: BTreeMap<String, (Path, Vec<String>)> = BTreeMap::new();
        let mut note = |document: &Node, path: Path| {
            if let Some((Seg::Key(key), map)) = path.split_last() {
                let spelled = spelled(document, &[], map);
                by_map.entry(spelled).or_insert_with(|| (map.to_vec(), Vec::new())).1.push(key.clone());
            }
        };
        let annotations = [Seg::Key("metadata".to_owned()), Seg::Key("annotations".to_owned())];
        note(self.document, [holder.as_slice(), &annotations, &[Seg::Key(INJECTED.to_owned())]].concat());
        let mut handled: Vec<Path> = Vec::new();
        for spelled in &record.added {
            // What somebody has taken out already need not be.
            let Some(path) = found(self.document, object, spelled) else { continue };
            handled.push(path.clone());
            note(self.document, path);
        }
        for spelled in &record.hiding {
            let Some(path) = found(self.document, object, spelled) else { continue };
            if self.is_merged_into(&path) {
                handled.push(path.clone());
                note(self.document, path);
            } else if !old::is_named(&path) {
                return Err(Stuck {
                    why: "it hid what a merge (`<<`) brought in, which is not here any more".to_owned(),
                    path,
                }
                .into());
            }
        }
        for (spelled, old) in &record.replaced {
            let Some(path) = found(self.document, object, spelled) else { continue };
            if self.put_back(&path, old)? {
                handled.push(path);
            }
        }
        let mut copies: Vec<String> = Vec::new();
        for (spelled, names, old) in &record.copied {
            self.copies(object, spelled, names, old)?;
            copies.extend(names.iter().cloned());
        }
        let pods: Vec<Path> = match record.pods.as_slice() {
            [] => vec![holder.clone()],
            pods => pods.iter().filter_map(|pod| found(self.document, object, pod)).collect(),
        };
        for pod in pods {
            self.pod(&pod, &handled, &copies, &mut note)?;
        }
        for (map, keys) in by_map.into_values() {
            self.entries(&map, &keys)?;
        }
        Ok(())
    }

    /// What has a name in a pod.
    fn pod(
        &mut self,
        pod: &Path,
        handled: &[Path],
        copies: &[String],
        note: &mut impl FnMut(&Node, Path),
    ) -> Result<(), Stuck> {
        let spec = below(pod, "spec");
        let document = self.document;
        let is_handled = |path: &Path| handled.contains(path);
        let named = |names: &'static [&'static str]| {
            move |item: &Node| item.get("name").and_then(Node::as_str).is_some_and(|name| names.contains(&name))
        };
        let mut lists: Vec<(Path, &'static [&'static str])> = vec![
            (below(&spec, "volumes"), &[PODTURN, PODTURN_SHIM]),
            (below(&spec, "initContainers"), &[PODTURN_INIT, PODTURN]),
            (below(&spec, "containers"), &[PODTURN]),
        ];
        let containers = below(&spec, "containers");
        let count = at(document, &containers).and_then(Node::items).map_or(0, <[Node]>::len);
        for index in 0..count {
            let container = [containers.as_slice(), &[Seg::Index(index)]].concat();
            let Some(node) = at(document, &container) else { continue };
            let name = node.get("name").and_then(Node::as_str).unwrap_or_default();
            if name == PODTURN || copies.iter().any(|copy| copy == name) {
                continue;
            }
            let command = below(&container, "command");
            let words = node.list("command");
            let all: Vec<Option<&str>> = words.iter().map(Node::as_str).collect();
            let length = shim_length(&all);
            if length > 0 && !is_handled(&command) {
                self.items(&command, |index, _| index < length, note)?;
            }
            lists.push((below(&container, "volumeMounts"), &[PODTURN, PODTURN_SHIM]));
        }
        for (list, names) in lists {
            if !is_handled(&list) {
                self.items(&list, |_, item| named(names)(item) && !is_an_onlookers(item), note)?;
            }
        }
        Ok(())
    }

    /// Puts one container back in the place of its copies.
    fn copies(&mut self, object: &Path, list: &str, names: &[String], old: &str) -> Result<(), Stuck> {
        let Some(path) = found(self.document, object, list) else { return Ok(()) };
        let stuck = |why: &str| Stuck { why: why.to_owned(), path: path.clone() };
        let Some((Seg::Key(key), map)) = path.split_last() else { return Ok(()) };
        let Some(entry) = at(self.document, map).and_then(|map| own(map, key)) else { return Ok(()) };
        let stuck_here = || stuck("an item of this list is not written as podturn writes it");
        let items = entry.value.items().unwrap_or_default();
        let is_copy = |item: &Node| {
            item.get("name").and_then(Node::as_str).is_some_and(|name| names.iter().any(|copy| copy == name))
        };
        let places: Vec<usize> = (0..items.len()).filter(|index| is_copy(&items[*index])).collect();
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Err(stuck("the copies of a container are gone"));
        };
        if last - first + 1 != places.len() {
            return Err(stuck("the copies of a container do not stand side by side any more"));
        }
        let text = self.item_as_it_was(entry, *first, old).ok_or_else(stuck_here)?;
        let (Some(first), Some(last)) = (self.text.item(entry, *first), self.text.item(entry, *last)) else {
            return Err(stuck_here());
        };
        self.cuts.push(Cut { at: Span { start: first.start, end: last.end }, text, is_lines: false });
        Ok(())
    }
}
