//! What is in a document, without how it is written: for what is added, and to compare before with after.
//!
//! Belongs here: one value type for both. Does not belong here: places in a text.

use serde_json::Value as Json;

use crate::plan::Span;
use crate::plan::yaml::{Entry, Node, Scalar, Style, Typed, Value};

/// A value of a YAML or JSON document.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    /// A scalar that has to stay without quotes: a number, a boolean, null, or what YAML 1.1 and 1.2 read differently.
    Plain(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A map. The order is that of the text, and means nothing.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            Self::Plain(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// As JSON. What has no quotes is typed by its look.
    pub(super) fn to_json(&self) -> Json {
        match self {
            Self::Text(text) => Json::from(text.as_str()),
            Self::Plain(text) => {
                let scalar = Scalar { text: text.clone(), style: Style::Plain };
                match scalar.typed() {
                    Typed::Null => Json::Null,
                    Typed::Bool(value) => value.into(),
                    Typed::Integer(value) => value.into(),
                    Typed::Float(value) => value.into(),
                    Typed::String(text) => text.into(),
                }
            }
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }
}

impl From<Json> for Tree {
    fn from(value: Json) -> Self {
        match value {
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(entries) => {
                Self::Map(entries.into_iter().map(|(key, value)| (key, Self::from(value))).collect())
            }
            other => Self::Plain(other.to_string()),
        }
    }
}

impl From<&Node> for Tree {
    fn from(node: &Node) -> Self {
        match &node.value {
            Value::Scalar(scalar) => {
                let is_text = matches!(scalar.typed(), Typed::String(_));
                let is_sure = scalar.style != Style::Plain || !is_read_differently(&scalar.text);
                let text = scalar.text.clone();
                if is_text && is_sure { Self::Text(text) } else { Self::Plain(text) }
            }
            Value::Sequence(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Mapping(entries) => {
                Self::Map(entries.iter().map(|entry| (entry.key.clone(), Self::from(&entry.value))).collect())
            }
        }
    }
}

/// A node that stands nowhere: its places mean nothing, and it has no aliases.
impl From<&Tree> for Node {
    fn from(tree: &Tree) -> Self {
        let nowhere = Span::empty(0);
        let scalar = |text: &String, style| Value::Scalar(Scalar { text: text.clone(), style });
        let value = match tree {
            Tree::Plain(text) => scalar(text, Style::Plain),
            Tree::Text(text) => scalar(text, Style::DoubleQuoted),
            Tree::List(items) => Value::Sequence(items.iter().map(Self::from).collect()),
            Tree::Map(entries) => {
                let entry = |(key, value): &(String, Tree)| Entry {
                    key: key.clone(),
                    key_span: nowhere,
                    value: Self::from(value),
                };
                Value::Mapping(entries.iter().map(entry).collect())
            }
        };
        Self { value, span: nowhere, alias: None }
    }
}

/// The entries of a map; none where there is no map.
pub(super) fn entries_of(node: Option<&Node>) -> Vec<(String, Tree)> {
    match node.map(Tree::from) {
        Some(Tree::Map(entries)) => entries,
        Some(Tree::Plain(_) | Tree::Text(_) | Tree::List(_)) | None => Vec::new(),
    }
}

/// Sets an entry of a map.
pub(super) fn put(entries: &mut Vec<(String, Tree)>, key: &str, value: Tree) {
    match entries.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => *old = value,
        None => entries.push((key.to_owned(), value)),
    }
}

/// Maps are equal whatever their order.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) | (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => {
                let is_same = |(key, value): &(String, Self)| other.get(key) == Some(value);
                a.len() == b.len() && a.iter().all(is_same)
            }
            _ => false,
        }
    }
}

/// Whether a text without quotes may be something else than a string for some reader: the words and numbers of YAML 1.1
/// (yaml.org/type), dates, and whatever looks like one of these.
pub(super) fn is_read_differently(text: &str) -> bool {
    const WORDS: [&str; 14] =
        ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "<<", "=", ".inf", ".nan"];
    let first = text.chars().next();
    let is_number_like = first.is_none_or(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
        && text.chars().all(|c| c.is_ascii_hexdigit() || "+-._:xobTZ ".contains(c));
    is_number_like || WORDS.contains(&text.to_ascii_lowercase().as_str())
}
