//! Writes a value in the style of the text around it.
//!
//! Belongs here: block, flow and JSON style. Does not belong here: where the text goes.

use super::tree::{Tree, is_read_differently};

/// How wide a line may become before a map or a list is spread over several.
pub(super) const WIDTH: usize = 110;

/// How the text around looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// The document is JSON: every key and every string has double quotes.
    pub is_json: bool,
    /// The end of a line.
    pub line_end: &'static str,
    /// How many spaces a list is indented below its key.
    pub list_indent: usize,
    /// How many spaces one more level is indented.
    pub unit: usize,
    /// Texts of several lines are written as such (`|`), and not in quotes.
    pub has_literals: bool,
}

impl Look {
    /// On one line.
    pub(super) fn flow(&self, tree: &Tree) -> String {
        match tree {
            Tree::Plain(_) | Tree::Text(_) => self.scalar(tree),
            Tree::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Tree::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Tree::Map(entries) => {
                let entries: Vec<String> =
                    entries.iter().map(|(key, value)| format!("{}: {}", self.key(key), self.flow(value))).collect();
                let space = if self.is_json { "" } else { " " };
                format!("{{{space}{}{space}}}", entries.join(", "))
            }
        }
    }

    /// What comes after the colon of a key at column `indent` in block style: on the same line, or below.
    pub(super) fn after_key(&self, tree: &Tree, indent: usize, key: &str) -> String {
        if let Some(lines) = self.literal(tree, indent + self.unit) {
            return format!(" {}", lines.join(self.line_end));
        }
        if self.fits(tree, indent + key.len() + 2) {
            return format!(" {}", self.flow(tree));
        }
        let mut lines = Vec::new();
        match tree {
            Tree::List(items) => items.iter().for_each(|item| self.item(item, indent + self.list_indent, &mut lines)),
            Tree::Map(entries) => {
                entries.iter().for_each(|(key, value)| self.entry(key, value, indent + self.unit, &mut lines));
            }
            Tree::Plain(_) | Tree::Text(_) => {}
        }
        lines.iter().map(|line| format!("{}{line}", self.line_end)).collect()
    }

    /// The lines of an entry of a block map whose keys are at column `indent`.
    pub(super) fn entry(&self, key: &str, value: &Tree, indent: usize, lines: &mut Vec<String>) {
        let text = format!("{}{}:{}", " ".repeat(indent), self.key(key), self.after_key(value, indent, key));
        lines.extend(text.split(self.line_end).map(str::to_owned));
    }

    /// The lines of an item of a block list whose dashes are at column `indent`.
    pub(super) fn item(&self, item: &Tree, indent: usize, lines: &mut Vec<String>) {
        let dash = format!("{}- ", " ".repeat(indent));
        match item {
            Tree::Map(entries) if !self.fits(item, indent + 2) => {
                let first = lines.len();
                entries.iter().for_each(|(key, value)| self.entry(key, value, indent + 2, lines));
                lines[first].replace_range(..dash.len(), &dash);
            }
            _ => match self.literal(item, indent + self.unit) {
                Some(text) => lines.extend(format!("{dash}{}", text.join("\n")).split('\n').map(str::to_owned)),
                None => lines.push(format!("{dash}{}", self.flow(item))),
            },
        }
    }

    /// A text of several lines, as a block scalar whose lines are at column `indent`.
    fn literal(&self, tree: &Tree, indent: usize) -> Option<Vec<String>> {
        let Tree::Text(text) = tree else { return None };
        let body = text.strip_suffix('\n');
        let header = if body.is_some() { "|" } else { "|-" };
        let body = body.unwrap_or(text);
        let is_readable = !body.starts_with([' ', '\n']) && !body.ends_with('\n') && !body.is_empty();
        let has_controls = text.contains(|c: char| c.is_control() && c != '\n' && c != '\t');
        if !self.has_literals || self.is_json || !text.contains('\n') || !is_readable || has_controls {
            return None;
        }
        let line = |line: &str| if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(indent)) };
        Some(std::iter::once(header.to_owned()).chain(body.split('\n').map(line)).collect())
    }

    /// A value of a JSON text that is spread over lines, whose first line begins at column `indent`.
    pub(super) fn spread(&self, tree: &Tree, indent: usize) -> String {
        let is_short = indent + self.flow(tree).len() <= WIDTH;
        let inner = indent + self.unit;
        let parts: Vec<String> = match tree {
            Tree::Map(entries) if !is_short => {
                entries.iter().map(|(key, value)| format!("{}: {}", self.key(key), self.spread(value, inner))).collect()
            }
            Tree::List(items) if !is_short => items.iter().map(|item| self.spread(item, inner)).collect(),
            _ => return self.flow(tree),
        };
        let (open, close) = if matches!(tree, Tree::Map(_)) { ('{', '}') } else { ('[', ']') };
        let break_to = |column: usize| format!("{}{}", self.line_end, " ".repeat(column));
        format!(
            "{open}{0}{1}{2}{close}",
            break_to(inner),
            parts.join(&format!(",{}", break_to(inner))),
            break_to(indent)
        )
    }

    /// Whether a value goes on the line of its key: lists of maps never do.
    fn fits(&self, tree: &Tree, column: usize) -> bool {
        let is_table = match tree {
            Tree::List(items) => {
                items.iter().any(|item| matches!(item, Tree::Map(_) | Tree::List(_)) || self.literal(item, 0).is_some())
            }
            Tree::Map(entries) => entries.iter().any(|(_, value)| !self.fits(value, 0)),
            Tree::Plain(_) | Tree::Text(_) => return self.literal(tree, 0).is_none(),
        };
        !is_table && column + self.flow(tree).len() <= WIDTH
    }

    pub(super) fn key(&self, key: &str) -> String {
        if self.is_json { quoted(key) } else { self.scalar(&Tree::Text(key.to_owned())) }
    }

    fn scalar(&self, tree: &Tree) -> String {
        match tree {
            Tree::Plain(text) if text.is_empty() => "null".to_owned(),
            Tree::Plain(_) if self.is_json => tree.to_json().to_string(),
            Tree::Plain(text) => text.clone(),
            Tree::Text(text) if self.is_json => quoted(text),
            Tree::Text(text) if is_plain(text) => text.clone(),
            Tree::Text(text) if text.contains('"') && !text.contains(|c: char| c.is_control()) => {
                format!("'{}'", text.replace('\'', "''"))
            }
            Tree::Text(text) => quoted(text),
            Tree::List(_) | Tree::Map(_) => String::new(),
        }
    }
}

/// JSON's escapes are YAML's, too (YAML 1.2, section 5.7).
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether every reader takes this text for a string without any quotes, in flow style as well.
fn is_plain(text: &str) -> bool {
    let first = text.chars().next();
    let is_quantity = first.is_some_and(|c| c.is_ascii_digit())
        && text.trim_start_matches(|c: char| c.is_ascii_digit()).chars().all(|c| "mkKMGTi".contains(c))
        && text.ends_with(|c: char| c.is_ascii_alphabetic());
    let is_word = first.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./@=+:".contains(c))
        && !text.ends_with(':');
    (is_word || is_quantity) && !is_read_differently(text)
}
