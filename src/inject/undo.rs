//! The way back: what `inject` added is found by its names, and what cannot be is in the annotation `podturn.dev/injected`.
//!
//! Each cut is the exact inverse of an edit, so the bytes of the original come back. It works on a text that somebody has
//! edited since, too: nothing in the annotation is an offset.
//!
//! Belongs here: the record, and the cuts. Does not belong here: what is added and why (`wire`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::edit::{Edit, Stuck, below};
use super::names::{PODTURN, PODTURN_INIT, shim_length};
use super::text::{Text, own};
use super::tree::Tree;
use crate::plan::site::{Path, Seg, at};
use crate::plan::yaml::{Entry, Node};
use crate::plan::{ANNOTATION, INJECTED, LINT_IGNORE, Span};

/// What stands in the annotation where nothing can be taken back.
const DROPPED: &str = "dropped";

/// And what is said then.
pub(super) const DROPPED_WHY: &str =
    "it was wired with --drop-plan-annotation, which leaves out what is needed for that";

/// Entries whose items are found by their names.
const LISTS: [&str; 3] = ["volumes", "initContainers", "volumeMounts"];

/// What the annotation holds. Ways are written as keys and names of items, from the Kubernetes object down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// The podturn that wrote it.
    podturn: String,
    /// The pods that it wired, where that is not the level that has the annotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pods: Vec<String>,
    /// Entries that were not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    /// Entries that had another value, with the text from behind the colon on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    replaced: BTreeMap<String, String>,
    /// Containers that became several: the list, the names of the copies, and the text of the one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    copied: Vec<(String, Vec<String>, String)>,
}

impl Record {
    /// What undoes these edits of the object.
    pub(super) fn of(
        text: &Text<'_>,
        document: &Node,
        object: &[Seg],
        holder: &[Seg],
        pods: &[&Path],
        edits: &[Edit],
    ) -> Self {
        let name = |path: &[Seg]| spelled(document, object, path);
        let mut record = Self { podturn: env!("CARGO_PKG_VERSION").to_owned(), ..Self::default() };
        if pods.iter().any(|pod| pod.as_slice() != holder) {
            record.pods = pods.iter().map(|pod| name(pod)).collect();
        }
        for edit in edits {
            match edit {
                Edit::Put { map, key, .. } if is_told(document, map, key) => record.added.push(name(&below(map, key))),
                Edit::Replace { map, key, .. } => {
                    if let Some(entry) = at(document, map).and_then(|map| own(map, key)) {
                        let old = text.value_of(entry);
                        record.replaced.insert(name(&below(map, key)), text.text[old.start..old.end].to_owned());
                    }
                }
                Edit::Become { list, index, values } => {
                    let entry = list.split_last().and_then(|(key, map)| match key {
                        Seg::Key(key) => own(at(document, map)?, key),
                        Seg::Index(_) => None,
                    });
                    if let Some(at) = entry.and_then(|entry| text.item(entry, *index)) {
                        let names = values.iter().filter_map(|copy| match copy.get("name") {
                            Some(Tree::Text(name)) => Some(name.clone()),
                            _ => None,
                        });
                        record.copied.push((name(list), names.collect(), text.text[at.start..at.end].to_owned()));
                    }
                }
                Edit::Put { .. } | Edit::First { .. } | Edit::Last { .. } => {}
            }
        }
        record
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether a new entry has to be in the record: a list of ours alone goes with its items, but not one that hides what a
/// merge brings in.
fn is_told(document: &Node, map: &[Seg], key: &str) -> bool {
    !LISTS.contains(&key) || at(document, map).is_some_and(|map| map.get(key).is_some())
}

/// A way as keys and names.
fn spelled(document: &Node, from: &[Seg], path: &[Seg]) -> String {
    let parts = (from.len()..path.len()).map(|depth| match &path[depth] {
        Seg::Key(key) => key.replace('~', "~0").replace('/', "~1"),
        Seg::Index(index) => {
            let item = at(document, &path[..=depth]).and_then(|item| item.get("name")).and_then(Node::as_str);
            item.map_or_else(|| format!("#{index}"), str::to_owned)
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The way that was spelled so.
fn found(document: &Node, from: &[Seg], spelled: &str) -> Option<Path> {
    let mut path = from.to_vec();
    for part in spelled.split('/').filter(|part| !part.is_empty()) {
        let node = at(document, &path)?;
        path.push(match (node.items(), part.strip_prefix('#').map(str::parse)) {
            (Some(_), Some(Ok(index))) => Seg::Index(index),
            (Some(items), _) => {
                let named = |item: &Node| item.get("name").and_then(Node::as_str) == Some(part);
                Seg::Index(items.iter().position(named)?)
            }
            (None, _) => Seg::Key(part.replace("~1", "/").replace("~0", "~")),
        });
    }
    Some(path)
}

/// A range of bytes that goes, or gives way to what was there before.
struct Cut {
    at: Span,
    text: String,
    /// Whole lines, with their ends.
    is_lines: bool,
}

/// A text without what `inject` had added.
#[derive(Clone, Debug)]
pub(super) struct Undone {
    pub text: String,
    /// Where its pieces come from: an offset in it, and the one in the wired text.
    pub pieces: Vec<(usize, usize)>,
}

/// The text without what `inject` has added; `None` if it added nothing.
pub(super) fn undone(text: &Text<'_>, document: &Node) -> Result<Option<Undone>, Stuck> {
    let mut holders = Vec::new();
    collect(document, &mut Vec::new(), &[], &mut holders);
    if holders.is_empty() {
        return Ok(None);
    }
    let mut cuts = Cuts { text, document, cuts: Vec::new() };
    for (object, holder) in &holders {
        cuts.holder(object, holder)?;
    }
    Ok(Some(cuts.made()))
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
    let mut cuts = Cuts { text, document, cuts: Vec::new() };
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

struct Cuts<'t> {
    text: &'t Text<'t>,
    document: &'t Node,
    cuts: Vec<Cut>,
}

impl Cuts<'_> {
    fn holder(&mut self, object: &Path, holder: &Path) -> Result<(), Stuck> {
        let stuck = |why: String| Stuck { why, path: holder.clone() };
        let entry = at(self.document, holder).and_then(injected).ok_or_else(|| stuck("it is not there".to_owned()))?;
        if entry.value.as_str() == Some(DROPPED) {
            return Err(stuck(DROPPED_WHY.to_owned()));
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
        for (spelled, old) in &record.replaced {
            let Some(path) = found(self.document, object, spelled) else { continue };
            let Some((Seg::Key(key), map)) = path.split_last() else { continue };
            if let Some(entry) = at(self.document, map).and_then(|map| own(map, key)) {
                self.cuts.push(Cut { at: self.text.value_of(entry), text: old.clone(), is_lines: false });
            }
            handled.push(path);
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
            (below(&spec, "volumes"), &[PODTURN]),
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
            let words = node.get("command").and_then(Node::items).unwrap_or_default();
            let all: Vec<Option<&str>> = words.iter().map(Node::as_str).collect();
            let length = shim_length(&all);
            if length > 0 && !is_handled(&command) {
                self.items(&command, |index, _| index < length, note)?;
            }
            lists.push((below(&container, "volumeMounts"), &[PODTURN]));
        }
        for (list, names) in lists {
            if !is_handled(&list) {
                self.items(&list, |_, item| named(names)(item), note)?;
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
        let (Some(first), Some(last)) = (self.text.item(entry, *first), self.text.item(entry, *last)) else {
            return Err(stuck("an item of this list is not written as podturn writes it"));
        };
        self.cuts.push(Cut { at: Span { start: first.start, end: last.end }, text: old.to_owned(), is_lines: false });
        Ok(())
    }

    /// Cuts items of a list, and the whole list where all of them go.
    fn items(
        &mut self,
        list: &Path,
        goes: impl Fn(usize, &Node) -> bool,
        note: &mut impl FnMut(&Node, Path),
    ) -> Result<(), Stuck> {
        let Some((Seg::Key(key), map)) = list.split_last() else { return Ok(()) };
        let Some(entry) = at(self.document, map).and_then(|map| own(map, key)) else { return Ok(()) };
        let items = entry.value.items().unwrap_or_default();
        let going: Vec<bool> = items.iter().enumerate().map(|(index, item)| goes(index, item)).collect();
        if !going.contains(&true) {
            return Ok(());
        }
        if !going.contains(&false) {
            note(self.document, list.clone());
            return Ok(());
        }
        if self.text.is_flow(&entry.value) {
            let spans: Vec<Span> = items.iter().map(Node::place).collect();
            self.neighbours(&spans, &going);
            return Ok(());
        }
        for index in (0..items.len()).filter(|index| going[*index]) {
            let stuck = || Stuck {
                why: "an item of this list is not written as podturn writes it".to_owned(),
                path: list.clone(),
            };
            let dash = self.text.dash(entry, items, index).ok_or_else(stuck)?;
            self.lines(dash, items[index].place().end);
        }
        Ok(())
    }

    /// Cuts entries of a map.
    fn entries(&mut self, map: &Path, keys: &[String]) -> Result<(), Stuck> {
        let Some(node) = at(self.document, map) else { return Ok(()) };
        let own = self.text.own_entries(node);
        let going: Vec<bool> = own.iter().map(|entry| keys.contains(&entry.key)).collect();
        if self.text.is_flow(node) {
            let spans: Vec<Span> =
                own.iter().map(|entry| Span { start: entry.key_span.start, end: self.text.end_of(entry) }).collect();
            self.neighbours(&spans, &going);
            return Ok(());
        }
        for (entry, _) in own.iter().zip(&going).filter(|(_, goes)| **goes) {
            if !self.text.begins_line(entry.key_span.start) {
                return Err(Stuck { why: "it does not begin its line".to_owned(), path: below(map, &entry.key) });
            }
            self.lines(entry.key_span.start, self.text.end_of(entry));
        }
        Ok(())
    }

    fn lines(&mut self, start: usize, end: usize) {
        let at = Span { start: self.text.line_start(start), end: self.text.line_after(end) };
        self.cuts.push(Cut { at, text: String::new(), is_lines: true });
    }

    /// Cuts runs of neighbours with the commas on their left, or on their right at the beginning.
    fn neighbours(&mut self, spans: &[Span], going: &[bool]) {
        let mut index = 0;
        while index < spans.len() {
            let Some(first) = (index..spans.len()).find(|index| going[*index]) else { return };
            let next = (first..spans.len()).find(|index| !going[*index]).unwrap_or(spans.len());
            let at = match (first, spans.get(next)) {
                (0, Some(kept)) => Span { start: spans[0].start, end: kept.start },
                (0, None) => Span { start: spans[0].start, end: spans[next - 1].end },
                _ => Span { start: spans[first - 1].end, end: spans[next - 1].end },
            };
            self.cuts.push(Cut { at, text: String::new(), is_lines: false });
            index = next;
        }
    }

    fn made(mut self) -> Undone {
        let text = self.text.text;
        self.cuts.sort_by_key(|cut| (cut.at.start, cut.at.end));
        let mut joined: Vec<Cut> = Vec::with_capacity(self.cuts.len());
        for cut in self.cuts {
            match joined.last_mut() {
                Some(last) if last.is_lines && cut.is_lines && cut.at.start <= last.at.end => {
                    last.at.end = last.at.end.max(cut.at.end);
                }
                _ => joined.push(cut),
            }
        }
        let mut out = String::with_capacity(text.len());
        let (mut at, mut pieces) = (0, Vec::new());
        for cut in joined {
            pieces.push((out.len(), at));
            let kept = text.get(at..cut.at.start).unwrap_or_default();
            // The last lines of a text that does not end its last line go with the line break before them.
            let is_open_end = cut.is_lines && cut.at.end == text.len() && !text.ends_with('\n');
            let open = kept.strip_suffix("\r\n").or_else(|| kept.strip_suffix('\n')).filter(|_| is_open_end);
            out.push_str(open.unwrap_or(kept));
            pieces.push((out.len(), cut.at.start));
            out.push_str(&cut.text);
            at = cut.at.end.max(at);
        }
        pieces.push((out.len(), at));
        out.push_str(text.get(at..).unwrap_or_default());
        // Of pieces that begin at one place only the last one has anything in it.
        pieces.reverse();
        pieces.dedup_by_key(|(inner, _)| *inner);
        pieces.reverse();
        Undone { text: out, pieces }
    }
}
