//! What a node is: a value with its place, and the type of a scalar by its look.
//!
//! Belongs here: asking a node. Does not belong here: where nodes come from (the parser).

use crate::plan::diagnostic::{quote, shorten};
use crate::plan::source::Span;

/// What a copy of one node costs besides its text, in bytes of what aliases may copy (`COPIES_MAX`).
pub(super) const NODE_COST: usize = 128;

/// A piece of YAML and its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it is, in the outer file. That of an alias is where its anchor is.
    pub span: Span,
    /// Where the alias stands (`*name`), if this is a copy of what an anchor marks.
    pub alias: Option<Span>,
}

/// The three kinds of YAML nodes.
#[derive(Clone, Debug)]
pub enum Value {
    /// A text that may be typed by its look.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A map, in the order of the file. Keys may be there twice.
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's text: a key that looks like a number is still a text.
    pub key: String,
    /// The key's place.
    pub key_span: Span,
    /// What it maps to.
    pub value: Node,
}

/// A scalar as it was written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// Its value, before any typing.
    pub text: String,
    /// How it was written. Only a plain one is anything else than a string.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'...'`
    SingleQuoted,
    /// `"..."`
    DoubleQuoted,
    /// A block after `|`.
    Literal,
    /// A block after `>`.
    Folded,
}

/// The type of a scalar by the core schema of YAML 1.2 (section 10.3.2), and stricter where YAML 1.1, which kubectl
/// speaks, reads the same text differently: see [`Scalar::typed`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Typed<'n> {
    /// `null`, `~`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Everything else.
    String(&'n str),
}

impl Scalar {
    /// Types the scalar. Three kinds of text mean one thing in YAML 1.1 and another in 1.2; all three are strings here,
    /// and so wrong where a boolean or a number is wanted:
    /// - `yes`, `no`, `on`, `off`, `y`, `n` (booleans in 1.1);
    /// - `010` (8 in 1.1, 10 in 1.2);
    /// - `1_000` (1000 in 1.1, a string in 1.2).
    #[must_use]
    pub fn typed(&self) -> Typed<'_> {
        if self.style != Style::Plain {
            return Typed::String(&self.text);
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Typed::Null,
            "true" | "True" | "TRUE" => Typed::Bool(true),
            "false" | "False" | "FALSE" => Typed::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Typed::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Typed::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => Typed::Float(f64::NAN),
            text => number(text).unwrap_or(Typed::String(text)),
        }
    }
}

fn number(text: &str) -> Option<Typed<'static>> {
    if let Some(digits) = text.strip_prefix("0x") {
        return digits_only(digits, 16).map(Typed::Integer);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return digits_only(digits, 8).map(Typed::Integer);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts_like_a_number = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    let leading_zero = unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.as_bytes()[1].is_ascii_digit();
    if !starts_like_a_number || leading_zero {
        return None;
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too large for i64: still a number, just not one that fits anywhere.
        return text.parse().map(Typed::Integer).or_else(|_| text.parse().map(Typed::Float)).ok();
    }
    let is_float = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    is_float.then(|| text.parse().ok().map(Typed::Float)).flatten()
}

fn digits_only(digits: &str, radix: u32) -> Option<i64> {
    digits.chars().all(|c| c.is_digit(radix)).then(|| i64::from_str_radix(digits, radix).ok()).flatten()
}

impl Node {
    /// Where it is written: for an alias the `*name`, and not the anchor.
    #[must_use]
    pub fn place(&self) -> Span {
        self.alias.unwrap_or(self.span)
    }

    /// The value of `key` in a mapping: the last one, where it is there twice. `None` for anything but a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries()?.iter().rev().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping.
    #[must_use]
    pub fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Mapping(entries) => Some(entries),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The items of a sequence.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            Value::Scalar(_) | Value::Mapping(_) => None,
        }
    }

    /// The items of the list `key` of a mapping; none where there is no such list.
    #[must_use]
    pub fn list(&self, key: &str) -> &[Self] {
        self.get(key).and_then(Self::items).unwrap_or_default()
    }

    /// The scalar's type and value.
    #[must_use]
    pub fn typed(&self) -> Option<Typed<'_>> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.typed()),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The string, where it is one (`1` and `true` without quotes are none).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self.typed() {
            Some(Typed::String(text)) => Some(text),
            _ => None,
        }
    }

    /// What a copy of it needs, in bytes. Nodes are nested no deeper than the parser allows, so this may recurse.
    pub(in crate::plan) fn size(&self) -> usize {
        let inner: usize = match &self.value {
            Value::Scalar(scalar) => scalar.text.len(),
            Value::Sequence(items) => items.iter().map(Self::size).sum(),
            Value::Mapping(entries) => entries.iter().map(|entry| entry.key.len() + entry.value.size()).sum(),
        };
        NODE_COST + inner
    }

    /// Whether it is `null`, `~`, or nothing at all.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.typed() == Some(Typed::Null)
    }

    /// What it is, for an error: `the number 5`, `a list`.
    #[must_use]
    pub fn describe(&self) -> String {
        match (&self.value, self.typed()) {
            (Value::Sequence(_), _) => "a list".to_owned(),
            (Value::Mapping(_), _) => "a map".to_owned(),
            (_, Some(Typed::Bool(value))) => format!("the boolean {value}"),
            (Value::Scalar(scalar), Some(Typed::Integer(_) | Typed::Float(_))) => {
                format!("the number {}", shorten(&scalar.text))
            }
            (_, Some(Typed::String(text))) => format!("the string {}", quote(text)),
            (_, Some(Typed::Null) | None) => "nothing".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::Typed;
    use crate::plan::Source;

    #[test]
    fn scalars_are_typed_by_their_look_and_never_by_a_guess() {
        let table = [
            ("~", Typed::Null),
            ("null", Typed::Null),
            ("True", Typed::Bool(true)),
            ("12", Typed::Integer(12)),
            ("-3", Typed::Integer(-3)),
            ("0x1F", Typed::Integer(31)),
            ("0o17", Typed::Integer(15)),
            ("1.5", Typed::Float(1.5)),
            ("1e3", Typed::Float(1000.0)),
            (".5", Typed::Float(0.5)),
            ("-.inf", Typed::Float(f64::NEG_INFINITY)),
            // YAML 1.1 and 1.2 disagree about these, so they are no booleans and no numbers.
            ("yes", Typed::String("yes")),
            ("off", Typed::String("off")),
            ("010", Typed::String("010")),
            ("1_000", Typed::String("1_000")),
            ("1:30", Typed::String("1:30")),
            ("0x", Typed::String("0x")),
            ("1.2.3", Typed::String("1.2.3")),
            ("3-12", Typed::String("3-12")),
            ("nan", Typed::String("nan")),
            ("'12'", Typed::String("12")),
            ("\"true\"", Typed::String("true")),
            ("!!str 12", Typed::String("12")),
        ];
        for (text, typed) in table {
            let documents = parse(&Source::file("test", text)).expect("this is YAML");
            assert_eq!(documents[0].typed(), Some(typed), "{text}");
        }
    }
}
