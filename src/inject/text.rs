//! A text and the places of its nodes: where lines begin, where a dash stands, where a value ends.
//!
//! Belongs here: reading the text around a node. Does not belong here: changing it.

use super::write::Look;
use crate::plan::Span;
use crate::plan::yaml::{Entry, Node, Style, Value};

/// A document's text, with its spans counted from its first byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text<'t> {
    pub text: &'t str,
    pub look: Look,
}

/// The entry of a map that is written in it: not one that a merge (`<<`) brings in. (Merged entries stand before the map,
/// where their anchor is, and in an order behind its own.)
pub(super) fn own<'n>(map: &'n Node, key: &str) -> Option<&'n Entry> {
    let entry = map.entries()?.iter().rev().find(|entry| entry.key == key)?;
    (entry.key_span.start >= map.span.start).then_some(entry)
}

/// Whether every key of the outermost map has double quotes.
pub(super) fn is_json(text: &str, document: &Node) -> bool {
    let entries = document.entries().unwrap_or_default();
    text[document.span.start..].starts_with('{')
        && !entries.is_empty()
        && entries.iter().all(|entry| text[entry.key_span.start..].starts_with('"'))
}

impl Text<'_> {
    /// The map's own entries, in the order of the text.
    pub(super) fn own_entries<'n>(&self, map: &'n Node) -> Vec<&'n Entry> {
        let entries = map.entries().unwrap_or_default();
        let mut own: Vec<&Entry> = entries.iter().filter(|entry| entry.key_span.start >= map.span.start).collect();
        own.sort_by_key(|entry| entry.key_span.start);
        own
    }

    /// Whether the map or list has braces or brackets. A block list may begin with an item that has braces, but not with
    /// one that has brackets: no list of Kubernetes has lists in it.
    pub(super) fn is_flow(&self, node: &Node) -> bool {
        let rest = &self.text[self.skip_properties(node.span.start)..];
        match node.value {
            Value::Mapping(_) => rest.starts_with('{'),
            Value::Sequence(_) => rest.starts_with('['),
            Value::Scalar(_) => false,
        }
    }

    /// The first byte behind anchors and tags.
    fn skip_properties(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at..];
            if rest.starts_with(['&', '!']) {
                at += rest.find(char::is_whitespace).unwrap_or(rest.len());
            } else if rest.starts_with(char::is_whitespace) {
                at += rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
            } else if rest.starts_with('#') {
                at = self.line_after(at);
            } else {
                return at;
            }
        }
    }

    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Where the next line begins.
    pub(super) fn line_after(&self, at: usize) -> usize {
        self.text[at..].find('\n').map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// Columns are counted in characters from 0, as indentation is.
    pub(super) fn column(&self, at: usize) -> usize {
        self.text[self.line_start(at)..at].trim_start_matches('\u{feff}').chars().count()
    }

    /// Whether only blanks stand before it on its line.
    pub(super) fn begins_line(&self, at: usize) -> bool {
        self.text[self.line_start(at)..at].trim().is_empty()
    }

    /// The blanks before a place in a flow collection, where there is a line break among them; else one blank.
    pub(super) fn gap_before(&self, at: usize) -> &str {
        let before = &self.text[..at];
        let gap = &before[before.trim_end().len()..];
        if gap.contains('\n') { gap } else { " " }
    }

    /// The last byte of an entry, without blanks and comments.
    pub(super) fn end_of(&self, entry: &Entry) -> usize {
        entry.key_span.end.max(entry.value.place().end)
    }

    /// From behind the colon of an entry's key to the end of its value.
    pub(super) fn value_of(&self, entry: &Entry) -> Span {
        let colon =
            self.text[entry.key_span.end..].find(':').map_or(entry.key_span.end, |at| entry.key_span.end + at + 1);
        Span { start: colon, end: self.end_of(entry).max(colon) }
    }

    /// The beginning of the line after a block entry.
    pub(super) fn after(&self, entry: &Entry) -> usize {
        self.after_blanks(self.line_after(self.end_of(entry)), &entry.value)
    }

    /// The beginning of the line after a block item.
    pub(super) fn after_node(&self, node: &Node) -> usize {
        self.after_blanks(self.line_after(node.place().end), node)
    }

    /// Passes the blank lines that belong to a block scalar that keeps them (`|+`).
    fn after_blanks(&self, mut at: usize, node: &Node) -> usize {
        let kept = last_scalar(node).map_or(0, |text| text.len() - text.trim_end_matches('\n').len());
        for _ in 1..kept {
            let next = self.line_after(at);
            if !self.text[at..next].trim().is_empty() || next == at {
                break;
            }
            at = next;
        }
        at
    }

    /// The beginning of the line below the one that ends with an entry's key, its anchor and tag.
    pub(super) fn below_key(&self, entry: &Entry) -> usize {
        self.line_after(self.value_of(entry).start)
    }

    /// An item of a list: in block style its lines, with their ends.
    pub(super) fn item(&self, entry: &Entry, index: usize) -> Option<Span> {
        let items = entry.value.items()?;
        let item = items.get(index)?;
        if self.is_flow(&entry.value) {
            return Some(item.place());
        }
        let dash = self.dash(entry, items, index)?;
        self.begins_line(dash).then(|| Span { start: self.line_start(dash), end: self.after_node(item) })
    }

    /// The dash of an item of a block list.
    pub(super) fn dash(&self, entry: &Entry, items: &[Node], index: usize) -> Option<usize> {
        let mut at = match index.checked_sub(1) {
            None => self.below_key(entry),
            Some(before) => self.line_after(items.get(before)?.place().end),
        };
        let end = items.get(index)?.place().start;
        while at < end {
            let line = self.text[at..].trim_start_matches([' ', '\t', '\u{feff}']);
            let start = self.text.len() - line.len();
            if line.starts_with('-') {
                return Some(start);
            }
            at = self.line_after(at);
        }
        None
    }
}

/// The text of the scalar with which a node ends, where that is a block scalar.
fn last_scalar(node: &Node) -> Option<&str> {
    if node.alias.is_some() {
        return None;
    }
    match &node.value {
        Value::Scalar(scalar) => matches!(scalar.style, Style::Literal | Style::Folded).then_some(scalar.text.as_str()),
        Value::Sequence(items) => last_scalar(items.last()?),
        Value::Mapping(entries) => {
            let own = entries.iter().filter(|entry| entry.key_span.start >= node.span.start);
            last_scalar(&own.max_by_key(|entry| entry.key_span.start)?.value)
        }
    }
}
