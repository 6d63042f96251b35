//! What was there before, back in its place.
//!
//! The annotation has it as the text that it was, and as such it comes back, with its comments. A machine that has written
//! the document anew (`kubectl get -o yaml`, a pipeline of functions) has other columns, or writes JSON, and knows no anchors:
//! the same text there would be no YAML, or something else. So the document is undone twice, and has to be the same in both.
//!
//! Belongs here: how an old value is written. Does not belong here: where it goes (`super`, `cuts`).

use super::cuts::{Cut, Cuts};
use super::{NotUndone, Undone};
use crate::inject::edit::Stuck;
use crate::inject::text::own;
use crate::inject::tree::Tree;
use crate::inject::{parse, to_json};
use crate::plan::site::{Path, Seg, at};
use crate::plan::yaml::Entry;

/// How what was there before is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the bytes that it was.
    AsItWas,
    /// In the style of the text around it.
    Anew,
}

/// The document as it was where that says the same as the one that is written anew, else the latter.
pub(super) fn chosen(
    as_it_was: Result<Undone, NotUndone>,
    anew: Result<Undone, NotUndone>,
) -> Result<Undone, NotUndone> {
    let read = |undone: &Result<Undone, NotUndone>| {
        let text = &undone.as_ref().ok()?.text;
        Some(parse(text, "").ok()?.as_ref().map(to_json))
    };
    match (read(&as_it_was), read(&anew)) {
        (Some(old), Some(new)) if old == new => as_it_was,
        (_, Some(_)) => anew,
        (Some(_), None) => as_it_was,
        (None, None) => as_it_was
            .and(anew)
            .and_then(|_| Err(Stuck { why: "what is left would be no YAML".to_owned(), path: Path::new() }.into())),
    }
}

/// Whether podturn's part of an entry is found by its names: its words before a command, its items of a list.
pub(super) fn is_named(path: &Path) -> bool {
    let named = ["command", "volumeMounts", "volumes", "initContainers"];
    matches!(path.last(), Some(Seg::Key(key)) if named.contains(&key.as_str()))
}

/// What a text behind a colon says by itself, which in JSON has no blank before it; `None` where that takes an anchor elsewhere.
fn value(old: &str) -> Option<Tree> {
    Tree::from(&parse(&format!("x: {old}"), "").ok()??).get("x").cloned()
}

/// What an item says by itself: the lines of one, or what stands between commas.
fn item(old: &str) -> Option<Tree> {
    match Tree::from(&parse(old, "").ok()??) {
        Tree::List(mut items) if items.len() == 1 => items.pop(),
        tree @ Tree::Map(_) => Some(tree),
        Tree::Plain(_) | Tree::Text(_) | Tree::List(_) => None,
    }
}

impl Cuts<'_> {
    /// Whether a merge (`<<`) brings anything into the map that has this entry.
    pub(super) fn is_merged_into(&self, path: &Path) -> bool {
        let map = path.split_last().and_then(|(_, map)| at(self.document, map));
        map.is_some_and(|map| {
            let entries = map.entries().unwrap_or_default();
            entries.iter().any(|entry| entry.key_span.start < map.span.start)
        })
    }

    /// Gives an entry the value that it had; false where its present one is that already, but for what has podturn's names.
    pub(super) fn put_back(&mut self, path: &Path, old: &str) -> Result<bool, Stuck> {
        let Some((Seg::Key(key), map)) = path.split_last() else { return Ok(true) };
        let Some(map) = at(self.document, map) else { return Ok(true) };
        let Some(entry) = own(map, key) else { return Ok(true) };
        let text = match (self.form, value(old)) {
            (Form::AsItWas, _) => old.to_owned(),
            (Form::Anew, Some(tree)) if self.text.is_flow(map) => format!(" {}", self.text.look.flow(&tree)),
            (Form::Anew, Some(tree)) => self.text.look.after_key(&tree, self.text.column(entry.key_span.start), key),
            // An alias: what it stood for is written out now.
            (Form::Anew, None) if is_named(path) => return Ok(false),
            (Form::Anew, None) => {
                let why = format!("it was{old}, and there is no such anchor any more");
                return Err(Stuck { why, path: path.clone() });
            }
        };
        self.cuts.push(Cut { at: self.text.value_of(entry), text, is_lines: false });
        Ok(true)
    }

    /// The text of an item that stands in the place of the one with this index.
    pub(super) fn item_as_it_was(&self, list: &Entry, index: usize, old: &str) -> Option<String> {
        if self.form == Form::AsItWas {
            return Some(old.to_owned());
        }
        let (tree, look) = (item(old)?, self.text.look);
        let items = list.value.items()?;
        if self.text.is_flow(&list.value) {
            return Some(look.flow(&tree));
        }
        let mut lines = Vec::new();
        look.item(&tree, self.text.column(self.text.dash(list, items, index)?), &mut lines);
        Some(lines.iter().map(|line| format!("{line}{}", look.line_end)).collect())
    }
}
