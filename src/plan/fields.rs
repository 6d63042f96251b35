//! Typed reading of a node, with an error at its place where it is something else.
//!
//! Belongs here: what holds for every field (wrong types, unknown and duplicate keys, ranges). Does not belong here: any
//! field's own meaning.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::diagnostic::{Reporter, quote};
use super::source::Span;
use super::yaml::{Entry, Node, Typed};

/// What a map may hold.
pub(super) struct Fields {
    /// What the map is, for errors: `a plan`, `a step`.
    pub what: &'static str,
    /// The fields it may have.
    pub known: &'static [&'static str],
}

/// A map whose keys are all known and there once.
pub(super) struct Record<'n> {
    values: HashMap<&'n str, &'n Entry>,
    /// The whole map.
    pub span: Span,
}

impl Fields {
    /// Reads a map. Entries with wrong keys are reported and left out.
    pub(super) fn read<'n>(&self, node: &'n Node, reporter: &mut Reporter) -> Option<Record<'n>> {
        let Some(entries) = node.entries() else {
            wrong(node, self.what, reporter).help(format!("it may have {}", self.known.join(", ")));
            return None;
        };
        let mut values = HashMap::with_capacity(entries.len());
        for entry in unique(entries, reporter) {
            let key = entry.key.as_str();
            if self.known.contains(&key) {
                values.insert(key, entry);
            } else {
                self.unknown(entry, reporter);
            }
        }
        Some(Record { values, span: node.span })
    }

    fn unknown(&self, entry: &Entry, reporter: &mut Reporter) {
        let nearest = reporter.nearest(&entry.key, self.known.iter().copied());
        let message = format!("{} has no field {}", self.what, quote(&entry.key));
        let diagnostic = reporter.error(entry.key_span, message);
        match nearest {
            Some(name) => diagnostic.did_you_mean(Some(name)),
            None => diagnostic.help(format!("its fields are {}", self.known.join(", "))),
        };
    }
}

impl<'n> Record<'n> {
    /// The value of a field, if it is there and has one.
    pub(super) fn get(&self, key: &str, reporter: &mut Reporter) -> Option<&'n Node> {
        let entry = self.values.get(key)?;
        if entry.value.is_null() {
            reporter.error(entry.key_span, format!("`{key}` has no value")).help("give it one, or leave the field out");
            return None;
        }
        Some(&entry.value)
    }

    /// The place of a field's key, where the field is there; else that of the whole map's beginning.
    pub(super) fn key_span(&self, key: &str) -> Span {
        self.values.get(key).map_or(Span::empty(self.span.start), |entry| entry.key_span)
    }

    /// Whether the field is there, with or without a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }
}

/// The entries of a map without those whose key was there before, which are reported.
pub(super) fn unique<'n>(entries: &'n [Entry], reporter: &mut Reporter) -> Vec<&'n Entry> {
    let mut first: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        if let Some(before) = first.get(entry.key.as_str()) {
            let line = reporter.file().line_of(before.start);
            reporter
                .error(entry.key_span, format!("the key {} is here twice", quote(&entry.key)))
                .label(format!("first on line {line}"));
            continue;
        }
        first.insert(&entry.key, entry.key_span);
        kept.push(entry);
    }
    kept
}

/// Says what was wanted and what is there.
pub(super) fn wrong<'r>(
    node: &Node,
    wanted: &str,
    reporter: &'r mut Reporter,
) -> &'r mut super::diagnostic::Diagnostic {
    reporter.error(node.span, format!("{wanted} cannot be {}", node.describe()))
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node, what: &str, reporter: &mut Reporter) -> Option<bool> {
    match node.typed() {
        Some(Typed::Bool(value)) => Some(value),
        Some(Typed::String(text)) => {
            let meant = match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" | "true" => "write `true`",
                "no" | "n" | "off" | "false" => "write `false`",
                _ => "it is `true` or `false`",
            };
            wrong(node, what, reporter).help(meant);
            None
        }
        _ => {
            wrong(node, what, reporter).help("it is `true` or `false`");
            None
        }
    }
}

/// A whole number in a range.
pub(super) fn integer(node: &Node, what: &str, range: RangeInclusive<u32>, reporter: &mut Reporter) -> Option<u32> {
    let within = || format!("it is a whole number from {} to {}", range.start(), range.end());
    match node.typed() {
        Some(Typed::Integer(number)) => {
            let fits = u32::try_from(number).ok().filter(|number| range.contains(number));
            if fits.is_none() {
                reporter.error(node.span, format!("{what} cannot be {number}")).help(within());
            }
            fits
        }
        Some(Typed::String(text)) => {
            let help = ambiguous_number(text).unwrap_or_else(within);
            wrong(node, what, reporter).help(help);
            None
        }
        _ => {
            wrong(node, what, reporter).help(within());
            None
        }
    }
}

/// A number with at most three decimals in a range, in thousandths.
pub(super) fn thousandths(node: &Node, what: &str, range: RangeInclusive<u32>, reporter: &mut Reporter) -> Option<u32> {
    let number = match node.typed() {
        Some(Typed::Integer(number)) => i32::try_from(number).map_or(f64::INFINITY, f64::from),
        Some(Typed::Float(number)) => number,
        _ => f64::NAN,
    };
    let scaled = number * 1000.0;
    let (least, most) = (f64::from(*range.start()), f64::from(*range.end()));
    if (least..=most).contains(&scaled) && (scaled - scaled.round()).abs() < 1e-6 {
        // Checked to be a whole number within a range of u32.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
        return Some(scaled.round() as u32);
    }
    let help = format!("it is a number from {} to {}, with at most three decimals", least / 1000.0, most / 1000.0);
    wrong(node, what, reporter).help(help);
    None
}

fn ambiguous_number(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    if !is_number {
        return None;
    }
    let plain = digits.trim_start_matches('0');
    let plain = if plain.is_empty() { "0" } else { plain };
    Some(if text.contains('_') || text.starts_with('0') && text.len() > 1 {
        format!("YAML's versions read this differently; write {plain}")
    } else {
        format!("write it without quotes: {plain}")
    })
}

/// The items of a list.
pub(super) fn list<'n>(node: &'n Node, what: &str, reporter: &mut Reporter) -> Option<&'n [Node]> {
    let items = node.items();
    if items.is_none() {
        let diagnostic = wrong(node, what, reporter);
        match node.typed() {
            Some(Typed::String(text)) => {
                diagnostic.help(format!("it is a list: write [{}]", super::diagnostic::shorten(text)))
            }
            Some(Typed::Integer(number)) => diagnostic.help(format!("it is a list: write [{number}]")),
            _ => diagnostic.help("it is a list"),
        };
    }
    items
}

/// A list of exit codes, none of them twice.
pub(super) fn exit_codes(node: &Node, what: &str, reporter: &mut Reporter) -> Vec<(u8, Span)> {
    let mut codes: Vec<(u8, Span)> = Vec::new();
    let Some(items) = list(node, what, reporter) else { return codes };
    if items.is_empty() {
        reporter.error(node.span, format!("{what} cannot be empty")).help("leave the field out for its default");
    }
    let mut seen = [false; 256];
    for item in items {
        let code = integer(item, "an exit code", 0..=255, reporter).and_then(|code| u8::try_from(code).ok());
        let Some(code) = code else { continue };
        if std::mem::replace(&mut seen[usize::from(code)], true) {
            reporter.error(item.span, format!("the exit code {code} is here twice"));
        } else {
            codes.push((code, item.span));
        }
    }
    codes
}

/// A word out of a table, with its meaning.
pub(super) fn word<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], reporter: &mut Reporter) -> Option<T> {
    let names = || words.iter().map(|(name, _)| *name);
    let Some(text) = node.as_str() else {
        wrong(node, what, reporter).help(format!("it is one of {}", names().collect::<Vec<_>>().join(", ")));
        return None;
    };
    if let Some((_, meaning)) = words.iter().find(|(name, _)| *name == text) {
        return Some(*meaning);
    }
    let nearest = reporter.nearest(text, names());
    let diagnostic = reporter.error(node.span, format!("{what} cannot be {}", quote(text)));
    match nearest {
        Some(name) => diagnostic.did_you_mean(Some(name)),
        None => diagnostic.help(format!("it is one of {}", names().collect::<Vec<_>>().join(", "))),
    };
    None
}
