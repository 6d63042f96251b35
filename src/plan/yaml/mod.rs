//! YAML text to a tree in which every node knows its place.
//!
//! Belongs here: reading, and the limits that keep hostile input from costing much. Does not belong here: what a
//! plan or a manifest looks like. JSON is YAML, so this reads it too.
//!
//! Duplicate keys are kept, so that whoever reads a mapping can point at the second one. Aliases are replaced by what
//! they stand for, and the merge key `<<` (YAML 1.1, which kubectl's parser knows) by the entries it brings in.

mod node;

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use node::NODE_COST;
pub use node::{Entry, Node, Scalar, Style, Typed, Value};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{FILE_MAX, Source, Span};

/// How deep nodes may be nested. A pod's deepest field is at about 12.
const DEPTH_MAX: usize = 64;

/// How many nodes a text may have. A 1,000-step plan has about 10,000.
const NODES_MAX: usize = 400_000;

/// How much aliases may copy, in bytes: what a node needs and what its text needs. A manifest of 4 MiB could otherwise
/// grow to any size (the "billion laughs").
pub(super) const COPIES_MAX: usize = 16 * 1024 * 1024;

/// Reads all documents of a text; one that is empty is a null node.
///
/// # Errors
/// Text that is not YAML, or that is larger, deeper or more multiplied by aliases than anything real: one diagnostic, as
/// the parser cannot go on after it.
pub fn parse(source: &Source) -> Result<Vec<Node>, Diagnostics> {
    let text = source.text();
    if text.len() > FILE_MAX {
        let message = format!("{} bytes are too much to read", text.len());
        let mut diagnostic = Diagnostic::error(message);
        diagnostic
            .at(source.outer(), Span::empty(0))
            .help(format!("nothing above {FILE_MAX} bytes fits into a cluster"));
        return Err(diagnostic.into());
    }
    let mut builder = Builder::new(source);
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let result = match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => {
                let span = builder.place(span.start.index(), span.end.index());
                builder.take(event, span)
            }
            Err(error) => {
                let at = error.marker().index();
                Err(builder.not_yaml(builder.place(at, at), error.info()))
            }
        };
        result.map_err(Diagnostics::from)?;
    }
    Ok(builder.documents)
}

/// A node, and what a copy of it would cost.
#[derive(Clone)]
struct Built {
    node: Node,
    cost: usize,
    height: usize,
}

/// A sequence or mapping that is not complete yet.
struct Open {
    start: Span,
    anchor: usize,
    is_mapping: bool,
    items: Vec<Node>,
    entries: Vec<Entry>,
    key: Option<(String, Span)>,
    merged: Vec<Node>,
    cost: usize,
    height: usize,
    /// Where the newest part of it ends, a merge included.
    last: usize,
}

struct Builder<'s> {
    source: &'s Source,
    offsets: CharOffsets,
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Built>,
    nodes: usize,
    copied: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Source) -> Self {
        Self {
            source,
            offsets: CharOffsets::new(source.text()),
            documents: Vec::new(),
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            copied: 0,
        }
    }

    /// The place in the outer file of a range of the parser's character indices, without blanks at its end.
    fn place(&self, start: usize, end: usize) -> Span {
        let text = self.source.text();
        let start = self.offsets.byte(text, start);
        let end = self.offsets.byte(text, end).max(start);
        self.source.place(Span { start, end: start + text[start..end].trim_end().len() })
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = self.style(style, tag.as_deref(), span)?;
                let span = if text.is_empty() && style == Style::Plain { Span::empty(span.start) } else { span };
                let cost = NODE_COST + text.len();
                let value = Value::Scalar(Scalar { text: text.into_owned(), style });
                let node = Node { value, span, alias: None };
                self.add(Built { node, cost, height: 1 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.open(false, anchor, tag.as_deref(), span),
            Event::MappingStart(anchor, tag) => self.open(true, anchor, tag.as_deref(), span),
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    /// `!!str` makes a string of any scalar; the other tags of the core schema say what the look says anyway.
    fn style(&self, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Style, Diagnostic> {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        self.known_tag(tag, span)?;
        let is_string = tag.is_some_and(|tag| tag.suffix == "str" || tag.suffix.is_empty());
        Ok(if is_string && style == Style::Plain { Style::DoubleQuoted } else { style })
    }

    fn known_tag(&self, tag: Option<&Tag>, span: Span) -> Result<(), Diagnostic> {
        let Some(tag) = tag else { return Ok(()) };
        let core = ["str", "int", "float", "bool", "null", "map", "seq"];
        let non_specific = tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty();
        if non_specific || tag.is_yaml_core_schema() && core.contains(&tag.suffix.as_str()) {
            return Ok(());
        }
        Err(self.error(span, format!("the tag {} means nothing here", super::diagnostic::shorten(&tag.to_string()))))
    }

    fn open(&mut self, is_mapping: bool, anchor: usize, tag: Option<&Tag>, start: Span) -> Result<(), Diagnostic> {
        self.known_tag(tag, start)?;
        if self.open.len() >= DEPTH_MAX {
            return Err(self.too_deep(start));
        }
        self.open.push(Open {
            start,
            anchor,
            is_mapping,
            items: Vec::new(),
            entries: Vec::new(),
            key: None,
            merged: Vec::new(),
            cost: NODE_COST,
            height: 1,
            last: start.end,
        });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Diagnostic> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if !open.merged.is_empty() {
            merge(&mut open.entries, std::mem::take(&mut open.merged));
        }
        let last = open.items.last().or(open.entries.last().map(|entry| &entry.value)).map(Node::place);
        // A block ends where its last part does, and a flow collection with its bracket; the parser's own word for that may
        // be a comma before it or a comment behind it.
        let end = match last.unwrap_or(open.start).end {
            last if end.start == end.end => last,
            last => self.bracket(last.max(open.last), if open.is_mapping { '}' } else { ']' }).unwrap_or(end.end),
        };
        let span = Span { start: open.start.start, end: end.max(open.start.end) };
        let value = if open.is_mapping { Value::Mapping(open.entries) } else { Value::Sequence(open.items) };
        self.add(Built { node: Node { value, span, alias: None }, cost: open.cost, height: open.height }, open.anchor)
    }

    /// The end of a flow collection whose last part ends at `at`.
    fn bracket(&self, mut at: usize, bracket: char) -> Option<usize> {
        let text = self.source.outer().text();
        loop {
            let rest = text.get(at..)?;
            at += match rest.chars().next()? {
                c if c == bracket => return Some(at + 1),
                c if c.is_whitespace() || c == ',' => c.len_utf8(),
                '#' => rest.find('\n')?,
                _ => return None,
            };
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Diagnostic> {
        let Some(built) = self.anchors.get(&anchor) else {
            return Err(self.error(span, "this alias stands inside what it stands for"));
        };
        self.copied += built.cost;
        if self.copied > COPIES_MAX {
            return Err(self.error(span, "aliases multiply this text beyond any use"));
        }
        let mut built = built.clone();
        built.node.alias = Some(span);
        self.add(built, 0)
    }

    /// Puts a complete node where it belongs.
    fn add(&mut self, built: Built, anchor: usize) -> Result<(), Diagnostic> {
        self.nodes += 1;
        let span = built.node.span;
        if self.nodes > NODES_MAX {
            return Err(self.error(span, format!("more than {NODES_MAX} values are too much to read")));
        }
        if self.open.len() + built.height > DEPTH_MAX {
            return Err(self.too_deep(span));
        }
        if anchor != 0 {
            self.copied += built.cost;
            if self.copied > COPIES_MAX {
                return Err(self.error(span, "anchors multiply this text beyond any use"));
            }
            self.anchors.insert(anchor, built.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(built.node);
            return Ok(());
        };
        open.cost += built.cost;
        open.height = open.height.max(built.height + 1);
        open.last = open.last.max(built.node.place().end);
        if !open.is_mapping {
            open.items.push(built.node);
            return Ok(());
        }
        match open.key.take() {
            None => {
                let key = self.key(built.node)?;
                if let Some(open) = self.open.last_mut() {
                    open.key = Some(key);
                }
            }
            Some((key, _)) if key == "<<" => self.merge_key(built.node)?,
            Some((key, key_span)) => open.entries.push(Entry { key, key_span, value: built.node }),
        }
        Ok(())
    }

    fn key(&self, node: Node) -> Result<(String, Span), Diagnostic> {
        match node.value {
            Value::Scalar(scalar) => Ok((scalar.text, node.span)),
            Value::Sequence(_) | Value::Mapping(_) => {
                Err(self.error(node.span, "a list or a map cannot be the key of a map"))
            }
        }
    }

    fn merge_key(&mut self, node: Node) -> Result<(), Diagnostic> {
        let span = node.span;
        let nodes = match node.value {
            Value::Sequence(items) => items,
            Value::Mapping(_) | Value::Scalar(_) => vec![node],
        };
        if nodes.iter().any(|node| node.entries().is_none()) {
            return Err(self.error(span, "the merge key << takes a map, or a list of maps"));
        }
        if let Some(open) = self.open.last_mut() {
            open.merged.extend(nodes);
        }
        Ok(())
    }

    fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(message);
        diagnostic.at(self.source.outer(), span);
        diagnostic
    }

    fn too_deep(&self, span: Span) -> Diagnostic {
        self.error(span, format!("nested more than {DEPTH_MAX} levels deep"))
    }

    fn not_yaml(&self, span: Span, info: &str) -> Diagnostic {
        let mut diagnostic = self.error(span, format!("this is not YAML: {info}"));
        let file = self.source.outer();
        let line = file.line(file.line_of(span.start));
        let before = &file.text()[line.start..line.end];
        if before.trim_start_matches(' ').starts_with('\t') {
            diagnostic.help("YAML is indented with spaces, never with tabs");
        }
        diagnostic
    }
}

/// Adds the entries of the maps that a merge key brings in, where their keys are not there yet: what is written out wins,
/// and then the earlier map.
fn merge(entries: &mut Vec<Entry>, merged: Vec<Node>) {
    let mut known: HashSet<String> = entries.iter().map(|entry| entry.key.clone()).collect();
    for node in merged {
        if let Value::Mapping(more) = node.value {
            entries.extend(more.into_iter().filter(|entry| known.insert(entry.key.clone())));
        }
    }
}

/// From the parser's character indices to bytes, without a walk over the whole text each time.
struct CharOffsets {
    /// The byte offset of every 64th character.
    every: Vec<usize>,
}

const STRIDE: usize = 64;

impl CharOffsets {
    fn new(text: &str) -> Self {
        Self { every: text.char_indices().step_by(STRIDE).map(|(at, _)| at).collect() }
    }

    fn byte(&self, text: &str, index: usize) -> usize {
        let Some(start) = self.every.get(index / STRIDE) else { return text.len() };
        text[*start..].char_indices().nth(index % STRIDE).map_or(text.len(), |(at, _)| start + at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, parse};
    use crate::plan::Source;

    fn one(text: &str) -> super::Node {
        let mut documents = parse(&Source::file("test", text)).expect("this is YAML");
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0)
    }

    #[test]
    fn every_node_knows_its_place() {
        let text =
            "# \u{e9}\nb: |  # comment\n   text\nc: &x [\u{e9}, {k: 'v'} ] # comment\nd: *x\ne: [{f: [],}, # {\n ]\n";
        let root = one(text);
        let at = |key: &str| root.get(key).map(|node| &text[node.span.start..node.span.end]);
        assert_eq!(at("b"), Some("text"));
        assert_eq!(at("c"), Some("&x [\u{e9}, {k: 'v'} ]"));
        assert_eq!(at("d"), at("c"), "an alias is where its anchor is");
        assert_eq!(at("e"), Some("[{f: [],}, # {\n ]"));
        let Some([_, map]) = root.get("c").and_then(super::Node::items) else { panic!("a list of two") };
        assert_eq!(&text[map.span.start..map.span.end], "{k: 'v'}");
    }

    #[test]
    fn both_of_two_equal_keys_are_kept() {
        let root = one("a: 1\na: 2\n");
        let keys: Vec<_> = root.entries().into_iter().flatten().map(|entry| entry.key_span.start).collect();
        assert_eq!(keys, [0, 5]);
        assert!(matches!(root.value, Value::Mapping(_)));
    }
}
