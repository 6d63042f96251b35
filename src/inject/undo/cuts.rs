//! Cutting items and entries out of a text, each the exact inverse of an edit.
//!
//! Belongs here: which bytes an item or an entry takes with it, in block style and in flow style. Does not belong here: which of them
//! are podturn's (`super`).

use super::Undone;
use super::old::Form;
use crate::inject::edit::Stuck;
use crate::inject::text::{Text, own};
use crate::plan::Span;
use crate::plan::site::{Path, Seg, at, below};
use crate::plan::yaml::{Entry, Node};

/// A range of bytes that goes, or gives way to what was there before.
pub(super) struct Cut {
    pub at: Span,
    pub text: String,
    /// Whole lines, with their ends.
    pub is_lines: bool,
}

/// All cuts of a document.
pub(super) struct Cuts<'t> {
    pub text: &'t Text<'t>,
    pub document: &'t Node,
    /// How what was there before is written.
    pub form: Form,
    pub cuts: Vec<Cut>,
}

impl Cuts<'_> {
    /// Cuts items of a list, and the whole list where all of them go.
    pub(super) fn items(
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
    pub(super) fn entries(&mut self, map: &Path, keys: &[String]) -> Result<(), Stuck> {
        let Some(node) = at(self.document, map) else { return Ok(()) };
        let own = self.text.own_entries(node);
        let going: Vec<bool> = own.iter().map(|entry| keys.contains(&entry.key)).collect();
        if self.text.is_flow(node) {
            let spans: Vec<Span> =
                own.iter().map(|entry| Span { start: entry.key_span.start, end: self.text.end_of(entry) }).collect();
            self.neighbours(&spans, &going);
            return Ok(());
        }
        let kept = own.iter().zip(&going).find(|(_, goes)| !**goes).map(|(entry, _)| entry.key_span.start);
        for (entry, _) in own.iter().zip(&going).filter(|(_, goes)| **goes) {
            let start = entry.key_span.start;
            if self.text.begins_line(start) {
                self.lines(start, self.text.end_of(entry));
                continue;
            }
            // Behind the dash of an item: the first entry that stays comes there.
            let stuck = || Stuck { why: "it does not begin its line".to_owned(), path: below(map, &entry.key) };
            let end = kept.filter(|kept| *kept > start).ok_or_else(stuck)?;
            self.cuts.push(Cut { at: Span { start, end }, text: String::new(), is_lines: false });
            self.entries_after(&own, &going, end);
            return Ok(());
        }
        Ok(())
    }

    /// Cuts those of a block map's entries that stand behind a place.
    fn entries_after(&mut self, own: &[&Entry], going: &[bool], place: usize) {
        for (entry, _) in own.iter().zip(going).filter(|(entry, goes)| **goes && entry.key_span.start > place) {
            self.lines(entry.key_span.start, self.text.end_of(entry));
        }
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

    pub(super) fn made(mut self) -> Undone {
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
