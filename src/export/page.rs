//! A YAML document with remarks, and how it is written.
//!
//! Belongs here: lines and indentation. Does not belong here: how a scalar is quoted (`inject` does that).

use serde_json::{Map as JsonMap, Value};

use crate::inject::flow;

/// How wide a line may become before a map or a list is spread over several.
const WIDTH: usize = 110;

/// A part of a document.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    /// Something without remarks.
    Value(Value),
    /// A map.
    Map(Map),
    /// A list.
    List(Vec<Piece>),
}

/// A map in the order in which it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Map(Vec<Line>);

#[derive(Clone, Debug)]
enum Line {
    Remark(String),
    Entry(String, Piece),
}

impl From<Value> for Piece {
    fn from(value: Value) -> Self {
        match value {
            Value::Object(entries) => Self::Map(entries.into()),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            other => Self::Value(other),
        }
    }
}

impl From<&str> for Piece {
    fn from(text: &str) -> Self {
        Self::Value(text.into())
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self::Value(text.into())
    }
}

impl From<Map> for Piece {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<Vec<Self>> for Piece {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl From<JsonMap<String, Value>> for Map {
    fn from(entries: JsonMap<String, Value>) -> Self {
        Self(entries.into_iter().map(|(key, value)| Line::Entry(key, value.into())).collect())
    }
}

impl Map {
    /// Adds an entry.
    pub(super) fn put(&mut self, key: &str, value: impl Into<Piece>) -> &mut Self {
        self.0.push(Line::Entry(key.to_owned(), value.into()));
        self
    }

    /// Adds all of another one.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Adds an entry, if there is a value.
    pub(super) fn put_some(&mut self, key: &str, value: Option<impl Into<Piece>>) -> &mut Self {
        if let Some(value) = value {
            self.put(key, value);
        }
        self
    }

    /// Adds an entry, unless it is an empty map or list.
    pub(super) fn put_full(&mut self, key: &str, value: impl Into<Piece>) -> &mut Self {
        let value = value.into();
        let is_empty = match &value {
            Piece::Map(map) => map.0.is_empty(),
            Piece::List(items) => items.is_empty(),
            Piece::Value(_) => false,
        };
        if is_empty { self } else { self.put(key, value) }
    }

    /// Adds comments.
    pub(super) fn remark(&mut self, remarks: impl IntoIterator<Item = String>) -> &mut Self {
        self.0.extend(remarks.into_iter().map(Line::Remark));
        self
    }

    /// The document as text.
    pub(super) fn render(&self) -> String {
        let mut lines = Vec::new();
        self.lines(0, &mut lines);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn lines(&self, indent: usize, lines: &mut Vec<String>) {
        for line in &self.0 {
            match line {
                Line::Remark(text) => remark(text, indent, lines),
                Line::Entry(key, value) => {
                    let head = format!("{}{}:", " ".repeat(indent), flow(&key.as_str().into()));
                    value.after(&head, indent, lines);
                }
            }
        }
    }
}

/// A comment, broken into lines.
fn remark(text: &str, indent: usize, lines: &mut Vec<String>) {
    let mut line = format!("{}#", " ".repeat(indent));
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() + 1 > WIDTH {
            lines.push(std::mem::replace(&mut line, format!("{}#  ", " ".repeat(indent))));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
}

impl Piece {
    /// Without remarks, as one value.
    fn plain(&self) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::List(items) => items.iter().map(Self::plain).collect::<Option<Vec<_>>>().map(Value::Array),
            Self::Map(map) => {
                let entry = |line: &Line| match line {
                    Line::Remark(_) => None,
                    Line::Entry(key, value) => Some((key.clone(), value.plain()?)),
                };
                map.0.iter().map(entry).collect::<Option<JsonMap<_, _>>>().map(Value::Object)
            }
        }
    }

    /// On one line behind `head`, if it is readable so.
    fn short(&self, head: &str) -> Option<String> {
        let value = self.plain()?;
        let is_table = matches!(&value, Value::Array(items) if items.iter().any(|item| item.is_object()));
        let text = flow(&value);
        let fits = matches!(self, Self::Value(_)) || head.chars().count() + 1 + text.chars().count() <= WIDTH;
        (!is_table && fits && !has_lines(&value)).then_some(text)
    }

    /// The lines of a value whose key, or dash, is at column `indent`.
    fn after(&self, head: &str, indent: usize, lines: &mut Vec<String>) {
        if let Some(text) = self.short(head) {
            lines.push(format!("{head} {text}"));
            return;
        }
        match self {
            Self::Value(Value::String(text)) => literal(text, head, indent + 2, lines),
            Self::Value(other) => lines.push(format!("{head} {}", flow(other))),
            Self::Map(map) => {
                lines.push(head.to_owned());
                map.lines(indent + 2, lines);
            }
            Self::List(items) => {
                lines.push(head.to_owned());
                items.iter().for_each(|item| item.item(indent + 2, lines));
            }
        }
    }

    fn item(&self, indent: usize, lines: &mut Vec<String>) {
        let dash = format!("{}-", " ".repeat(indent));
        match self {
            Self::Map(map) if self.short(&dash).is_none() => {
                let from = lines.len();
                let is_remark = |line: &&Line| matches!(line, Line::Remark(_));
                let remarks = map.0.iter().take_while(is_remark).cloned().collect();
                Map(remarks).lines(indent, lines);
                let first = lines.len();
                let rest: Vec<Line> = map.0.iter().skip_while(is_remark).cloned().collect();
                Map(rest).lines(indent + 2, lines);
                debug_assert!(first >= from && first < lines.len(), "an item has an entry");
                lines[first].replace_range(indent..=indent, "-");
            }
            // A list in a list: the inner dashes stand behind the outer one.
            Self::List(items) if self.short(&dash).is_none() => {
                let first = lines.len();
                items.iter().for_each(|item| item.item(indent + 2, lines));
                lines[first].replace_range(indent..=indent, "-");
            }
            _ => self.after(&dash, indent, lines),
        }
    }
}

fn has_lines(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim_end_matches('\n').contains('\n'),
        Value::Array(items) => items.iter().any(has_lines),
        Value::Object(entries) => entries.values().any(has_lines),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A text of several lines as such, where YAML can do that without tricks.
fn literal(text: &str, head: &str, indent: usize, lines: &mut Vec<String>) {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_readable = !body.starts_with([' ', '\n', '\t']) && !body.ends_with('\n');
    if !is_readable || text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        lines.push(format!("{head} {}", flow(&text.into())));
        return;
    }
    lines.push(format!("{head} {}", if body.len() == text.len() { "|-" } else { "|" }));
    for line in body.split('\n') {
        lines.push(if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(indent)) });
    }
}
