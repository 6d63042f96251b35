//! Edits a text at the places of its nodes; whatever is not edited keeps every byte.
//!
//! Each edit is done twice: in the text, and in the value that the text stands for. Whoever edits parses the new text and
//! compares it with that value, so a text that says something else than it should never leaves this room.
//!
//! Belongs here: where an edit goes, in block style, flow style and JSON. Does not belong here: what is edited and why, and
//! the way back (`undo`).

use std::collections::BTreeMap;

use super::text::{Text, own};
use super::tree::Tree;
use super::write::{Look, WIDTH};
use crate::plan::Span;
use crate::plan::site::{Path, Seg, below};
use crate::plan::yaml::{Entry, Node};

/// One change of a document.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// A new entry of a map: before another one in block style where that is named, else at the end. A key that is there
    /// by a merge (`<<`) only is written out so.
    Put { map: Path, key: String, value: Tree, before: Option<&'static str> },
    /// New items at the beginning of a list that has some.
    First { list: Path, values: Vec<Tree> },
    /// New items at the end of a list that has some.
    Last { list: Path, values: Vec<Tree> },
    /// Another value for an entry.
    Replace { map: Path, key: String, value: Tree },
    /// Several items in the place of one.
    Become { list: Path, index: usize, values: Vec<Tree> },
}

impl Edit {
    /// How deep in the document it is. Of two edits at one place the deeper one comes first.
    fn depth(&self) -> usize {
        match self {
            Self::Put { map, .. } | Self::Replace { map, .. } => map.len(),
            Self::First { list, .. } | Self::Last { list, .. } | Self::Become { list, .. } => list.len(),
        }
    }
}

impl Edit {
    /// The way to what it writes as a whole.
    fn whole(&self) -> Option<Path> {
        match self {
            Self::Put { map, key, .. } | Self::Replace { map, key, .. } => Some(below(map, key)),
            Self::Become { list, index, .. } => Some([list.as_slice(), &[Seg::Index(*index)]].concat()),
            Self::First { .. } | Self::Last { .. } => None,
        }
    }

    /// Whether it writes what is there as a whole.
    fn writes(&self, path: &[Seg]) -> bool {
        self.whole().is_some_and(|whole| path.starts_with(&whole))
    }
}

/// An edit that cannot be made, and where.
#[derive(Clone, Debug)]
pub(super) struct Stuck {
    /// What is in the way.
    pub why: String,
    /// The way to it.
    pub path: Path,
}

/// A piece of text for a range of bytes.
struct Splice {
    at: Span,
    depth: usize,
    text: String,
}

/// The text with all edits made.
pub(super) fn edited(text: &Text<'_>, document: &Node, edits: &[Edit]) -> Result<String, Stuck> {
    let mut splices = Vec::with_capacity(edits.len());
    for edit in edits {
        let (at, new) = splice(text, document, edit)?;
        splices.push(Splice { at, depth: edit.depth(), text: new });
    }
    // The sort is stable: edits at one place and of one depth stay in their order.
    splices.sort_by_key(|splice| (splice.at.start, splice.at.end, std::cmp::Reverse(splice.depth)));
    let mut out =
        String::with_capacity(text.text.len() + splices.iter().map(|splice| splice.text.len()).sum::<usize>());
    let mut at = 0;
    for splice in splices {
        out.push_str(text.text.get(at..splice.at.start).unwrap_or_default());
        // At the end of a text whose last line is not ended, the line break comes before the new lines.
        if splice.at.start == text.text.len() && splice.text.ends_with('\n') && !out.is_empty() && !out.ends_with('\n')
        {
            out.push_str(text.look.line_end);
            out.push_str(splice.text.trim_end_matches(['\r', '\n']));
        } else {
            out.push_str(&splice.text);
        }
        at = splice.at.end;
    }
    out.push_str(text.text.get(at..).unwrap_or_default());
    Ok(out)
}

/// The value with all edits made.
pub(super) fn expected(document: &Node, edits: &[Edit]) -> Tree {
    let mut tree = Tree::from(document);
    // What moves the places of others comes last: the deepest first, and in a list the last item first.
    let (mut moving, others): (Vec<&Edit>, Vec<&Edit>) =
        edits.iter().partition(|edit| matches!(edit, Edit::First { .. } | Edit::Become { .. }));
    moving.sort_by_key(|edit| {
        let index = match edit {
            Edit::Become { index, .. } => Some(*index),
            _ => None,
        };
        (std::cmp::Reverse(edit.depth()), std::cmp::Reverse(index))
    });
    others.into_iter().chain(moving).for_each(|edit| apply(&mut tree, edit));
    tree
}

fn apply(tree: &mut Tree, edit: &Edit) {
    match edit {
        Edit::Put { map, key, value, .. } | Edit::Replace { map, key, value } => {
            if let Some(Tree::Map(entries)) = descend(tree, map) {
                entries.retain(|(known, _)| known != key);
                entries.push((key.clone(), value.clone()));
            }
        }
        Edit::First { list, values } => {
            if let Some(Tree::List(items)) = descend(tree, list) {
                items.splice(0..0, values.iter().cloned());
            }
        }
        Edit::Last { list, values } => {
            if let Some(Tree::List(items)) = descend(tree, list) {
                items.extend(values.iter().cloned());
            }
        }
        Edit::Become { list, index, values } => {
            if let Some(Tree::List(items)) = descend(tree, list)
                && *index < items.len()
            {
                items.splice(*index..=*index, values.iter().cloned());
            }
        }
    }
}

fn descend<'t>(tree: &'t mut Tree, path: &[Seg]) -> Option<&'t mut Tree> {
    path.iter().try_fold(tree, |tree, seg| match (tree, seg) {
        (Tree::Map(entries), Seg::Key(key)) => {
            entries.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
        }
        (Tree::List(items), Seg::Index(index)) => items.get_mut(*index),
        _ => None,
    })
}

/// The node at the end of a way, if it is written there: not brought in by an alias or a merge on the way.
pub(super) fn written<'n>(document: &'n Node, path: &[Seg]) -> Result<&'n Node, Stuck> {
    let stuck = |length: usize, why: &str| Stuck { why: why.to_owned(), path: path[..length].to_vec() };
    let mut node = document;
    for (depth, seg) in path.iter().enumerate() {
        let next = match seg {
            Seg::Key(key) => {
                if node.get(key).is_some() && own(node, key).is_none() {
                    return Err(stuck(
                        depth + 1,
                        "it comes from a merge (`<<`), and a change there would change the others too",
                    ));
                }
                node.get(key)
            }
            Seg::Index(index) => node.items().and_then(|items| items.get(*index)),
        };
        node = next.ok_or_else(|| stuck(depth, "it is not there"))?;
        if node.alias.is_some() {
            return Err(stuck(depth + 1, "it is an alias, and a change of its anchor would change the others too"));
        }
    }
    Ok(node)
}

fn splice(text: &Text<'_>, document: &Node, edit: &Edit) -> Result<(Span, String), Stuck> {
    match edit {
        Edit::Put { map, key, value, before } => {
            let node = written(document, map)?;
            put(text, node, key, value, *before)
                .ok_or_else(|| Stuck { why: "it has no entry of its own".to_owned(), path: map.clone() })
        }
        Edit::Replace { map, key, value } => {
            let entry = entry(document, map, key)?;
            Ok((text.value_of(entry), replacement(text, written(document, map)?, entry, value)))
        }
        Edit::Become { list, index, values } => {
            let stuck = || Stuck { why: "this list is not written as other lists are".to_owned(), path: list.clone() };
            let node = written(document, list)?;
            let Some((Seg::Key(key), map)) = list.split_last() else { return Err(stuck()) };
            let entry = entry(document, map, key)?;
            let item = node.items().and_then(|items| items.get(*index)).ok_or_else(stuck)?;
            if item.alias.is_some() {
                return Err(Stuck {
                    why: "it is an alias".to_owned(),
                    path: [list.as_slice(), &[Seg::Index(*index)]].concat(),
                });
            }
            become_several(text, entry, *index, values).ok_or_else(stuck)
        }
        Edit::First { list, values } | Edit::Last { list, values } => {
            let is_first = matches!(edit, Edit::First { .. });
            let stuck = || Stuck { why: "this list is not written as other lists are".to_owned(), path: list.clone() };
            let node = written(document, list)?;
            let Some((Seg::Key(key), map)) = list.split_last() else { return Err(stuck()) };
            let entry = entry(document, map, key)?;
            let items = node.items().unwrap_or_default();
            items_at(text, entry, items, values, is_first).ok_or_else(stuck)
        }
    }
}

/// Several items for one, in the item's own lines.
fn become_several(text: &Text<'_>, entry: &Entry, index: usize, values: &[Tree]) -> Option<(Span, String)> {
    let at = text.item(entry, index)?;
    if text.is_flow(&entry.value) {
        let gap = text.gap_before(at.start);
        let written: Vec<String> = values.iter().map(|value| text.in_flow(value, at.start, gap)).collect();
        return Some((at, written.join(&format!(",{gap}"))));
    }
    let indent = text.column(text.dash(entry, entry.value.items()?, index)?);
    let mut lines = Vec::new();
    values.iter().for_each(|value| text.look.item(value, indent, &mut lines));
    let mut new = text.lines(&lines);
    if !text.text[at.start..at.end].ends_with('\n') {
        new.truncate(new.trim_end_matches(['\r', '\n']).len());
    }
    Some((at, new))
}

fn entry<'n>(document: &'n Node, map: &[Seg], key: &str) -> Result<&'n Entry, Stuck> {
    let node = written(document, map)?;
    own(node, key).ok_or_else(|| Stuck { why: format!("it has no {key} of its own"), path: map.to_vec() })
}

fn put(text: &Text<'_>, map: &Node, key: &str, value: &Tree, before: Option<&str>) -> Option<(Span, String)> {
    let owned = text.own_entries(map);
    let last = *owned.last()?;
    if text.is_flow(map) {
        let gap = text.gap_before(last.key_span.start);
        let shown = text.in_flow(value, last.key_span.start, gap);
        return Some((Span::empty(text.end_of(last)), format!(",{gap}{}: {shown}", text.look.key(key))));
    }
    let indent = text.column(last.key_span.start);
    let mut lines = Vec::new();
    text.look.entry(key, value, indent, &mut lines);
    let position = before.and_then(|before| owned.iter().position(|entry| entry.key == before));
    let at = match position {
        Some(0) if text.begins_line(owned[0].key_span.start) => text.line_start(owned[0].key_span.start),
        Some(position) if position > 0 => text.after(owned[position - 1]),
        _ => text.after(last),
    };
    Some((Span::empty(at), text.lines(&lines)))
}

/// The new text from behind the key's colon to the end of the value.
fn replacement(text: &Text<'_>, map: &Node, entry: &Entry, value: &Tree) -> String {
    if text.is_flow(map) {
        let gap = text.gap_before(entry.key_span.start);
        return format!(" {}", text.in_flow(value, entry.key_span.start, gap));
    }
    text.look.after_key(value, text.column(entry.key_span.start), &entry.key)
}

fn items_at(text: &Text<'_>, entry: &Entry, items: &[Node], values: &[Tree], is_first: bool) -> Option<(Span, String)> {
    let (first, last) = (items.first()?, items.last()?);
    if text.is_flow(&entry.value) {
        let gap = text.gap_before(first.place().start);
        let at = first.place().start;
        let written: Vec<String> = values.iter().map(|value| text.in_flow(value, at, gap)).collect();
        // A list of maps on one line is hard to read when it is long: each new one gets a line of its own, then.
        let is_table = values.iter().any(|value| matches!(value, Tree::Map(_)));
        let length: usize = written.iter().map(String::len).sum();
        let is_long = text.column(last.place().end) + length > WIDTH;
        let below = format!("{}{}", text.look.line_end, " ".repeat(text.column(at)));
        let gap = if is_table && is_long && !gap.contains('\n') && !text.look.is_json { &below } else { gap };
        return Some(if is_first {
            (Span::empty(at), written.iter().map(|item| format!("{item},{gap}")).collect())
        } else {
            (Span::empty(last.place().end), written.iter().map(|item| format!(",{gap}{item}")).collect())
        });
    }
    let indent = text.column(text.dash(entry, items, 0)?);
    let mut lines = Vec::new();
    values.iter().for_each(|value| text.look.item(value, indent, &mut lines));
    let at = if is_first { text.below_key(entry) } else { text.after_node(last) };
    Some((Span::empty(at), text.lines(&lines)))
}

/// Adds an edit for each alias whose anchor is changed by these: it is written out, or it would change as well.
pub(super) fn write_aliases_out(document: &Node, edits: &mut Vec<Edit>) {
    for alias in aliases_of(document, edits) {
        let is_written = edits.iter().any(|edit| edit.writes(&alias));
        if let (false, Some(value), Some((Seg::Key(key), map))) =
            (is_written, crate::plan::site::at(document, &alias).map(Tree::from), alias.split_last())
        {
            edits.push(Edit::Replace { map: map.to_vec(), key: key.clone(), value });
        }
    }
}

/// Where anchors and aliases are used: the aliases whose anchor is changed by these edits, each with the way to it.
fn aliases_of(document: &Node, edits: &[Edit]) -> Vec<Path> {
    let mut anchors: BTreeMap<usize, Vec<Path>> = BTreeMap::new();
    collect(document, &mut Vec::new(), &mut anchors);
    if anchors.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for edit in edits {
        let path = match edit {
            Edit::Put { map, .. } | Edit::Replace { map, .. } => map,
            Edit::First { list, .. } | Edit::Last { list, .. } | Edit::Become { list, .. } => list,
        };
        for length in 0..=path.len() {
            let node = crate::plan::site::at(document, &path[..length]);
            let starts = node.filter(|node| node.alias.is_none()).map(|node| node.span.start);
            found.extend(starts.and_then(|start| anchors.get(&start)).into_iter().flatten().cloned());
        }
        // And anchors that go with what is written anew.
        let gone =
            edit.whole().and_then(|whole| crate::plan::site::at(document, &whole)).filter(|node| node.alias.is_none());
        if let Some(span) = gone.map(|node| node.span).filter(|span| span.start < span.end) {
            found.extend(anchors.range(span.start..span.end).flat_map(|(_, paths)| paths.iter().cloned()));
        }
    }
    let mut once: Vec<Path> = Vec::with_capacity(found.len());
    found.into_iter().for_each(|path| {
        if !once.contains(&path) {
            once.push(path)
        }
    });
    once
}

fn collect(node: &Node, path: &mut Path, anchors: &mut BTreeMap<usize, Vec<Path>>) {
    if node.alias.is_some() {
        anchors.entry(node.span.start).or_default().push(path.clone());
        return;
    }
    for entry in node.entries().unwrap_or_default() {
        if own(node, &entry.key).is_some() {
            path.push(Seg::Key(entry.key.clone()));
            collect(&entry.value, path, anchors);
            path.pop();
        }
    }
    for (index, item) in node.items().unwrap_or_default().iter().enumerate() {
        path.push(Seg::Index(index));
        collect(item, path, anchors);
        path.pop();
    }
}

impl Text<'_> {
    /// Lines of a block, each ended.
    fn lines(&self, lines: &[String]) -> String {
        lines.iter().map(|line| format!("{line}{}", self.look.line_end)).collect()
    }

    /// A value for a flow collection: spread over lines where its neighbours are, and as JSON in a JSON text.
    fn in_flow(&self, value: &Tree, beside: usize, gap: &str) -> String {
        if gap.contains('\n') { self.look.spread(value, self.column(beside)) } else { self.look.flow(value) }
    }
}

/// How the document looks.
pub(super) fn look(text: &str, document: &Node, spec: Option<&Node>) -> Look {
    let is_json = super::text::is_json(text, document);
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let plain = Text { text, look: Look { is_json, line_end, list_indent: 2, unit: 2, has_literals: true } };
    let list = spec.and_then(|spec| own(spec, "containers")).and_then(|entry| {
        let items = entry.value.items().filter(|_| !plain.is_flow(&entry.value))?;
        Some(plain.column(plain.dash(entry, items, 0)?).saturating_sub(plain.column(entry.key_span.start)))
    });
    Look { list_indent: list.unwrap_or(2), ..plain.look }
}
