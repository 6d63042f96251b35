//! `$(matrix.KEY)` in a text, and in all texts of a tree.
//!
//! A value comes in its place as if it had been written there: the kubelet reads what comes out. Dollar signs are counted
//! as the kubelet counts them, which halves those before a bracket: of an even number the last one is a dollar sign, so
//! `$$(matrix.KEY)` is a text and stays for the kubelet. Values are not looked through again.
//!
//! In the name of a step a value becomes what it is in names: `$(steps.build-$(matrix.python).outputs.wheel)` and
//! `dependsOn: [build-$(matrix.python)]` mean the instance of `build` with the same value.
//!
//! Belongs here: where references to a matrix are, and what a text becomes. Does not belong here: what a matrix is.

use super::diagnostic::{Reporter, quote};
use super::matrix::{Instance, label};
use super::source::{Source, Span};
use super::yaml::{Entry, Node, Scalar, Style, Value};

/// What a reference begins with, behind its dollar sign.
const OPEN: &str = "(matrix.";

/// What the name of a step follows in a reference to it.
const STEPS: &str = "$(steps.";

/// A reference to a key in a text.
struct Reference<'t> {
    /// From the dollar sign to the bracket.
    span: Span,
    key: &'t str,
    /// It is a part of a step's name.
    is_in_name: bool,
}

/// A text with the values in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub text: String,
    /// From this byte of the new text on, up to the next one, it was copied from this byte of the old one.
    moved: Vec<(usize, usize)>,
}

impl Filled {
    /// The byte of the old text from which a byte of the new one came.
    pub(super) fn origin(&self, at: usize) -> usize {
        let next = self.moved.partition_point(|(new, _)| *new <= at);
        let Some((new, old)) = next.checked_sub(1).map(|before| self.moved[before]) else { return at };
        let limit = self.moved.get(next).map_or(usize::MAX, |(_, old)| *old);
        (old + (at - new)).min(limit)
    }
}

/// One scalar of a manifest that is different in a container's copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it stands in the file, quotes included. That of an alias is where its anchor is.
    pub span: Span,
    /// How it is written there.
    pub style: Style,
    /// It is the key of a map.
    pub is_key: bool,
    /// Its value in the copy.
    pub text: String,
    /// That value is a number (a port, a user) and no string, so it has to be written without quotes.
    pub is_number: bool,
}

/// Where a tree comes from, which decides what a filled text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// A container: a string stays a string, but for the fields that are numbers.
    Container,
    /// A step of a plan: what is written without quotes is typed by its look.
    Step,
    /// `dependsOn` of a step: names.
    Names,
}

/// Fields of a container that are numbers (Kubernetes API, Container v1 core).
const NUMBERS: [&str; 12] = [
    "containerPort",
    "hostPort",
    "port",
    "runAsUser",
    "runAsGroup",
    "initialDelaySeconds",
    "periodSeconds",
    "timeoutSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
    "seconds",
];

impl Instance {
    /// The container of this instance: a copy with its name, and the values in the place of `$(matrix.KEY)` in every string.
    #[must_use]
    pub fn container(&self, node: &Node) -> Node {
        let mut copy = self.fill_node(node, Room::Container, &mut Vec::new());
        if let Value::Mapping(entries) = &mut copy.value {
            for entry in entries.iter_mut().filter(|entry| entry.key == "name") {
                entry.value.value = Value::Scalar(Scalar { text: self.name.clone(), style: Style::DoubleQuoted });
            }
        }
        copy
    }

    /// What is different in this instance's copy of the container, in the order of the tree; its `name` is not among it.
    #[must_use]
    pub fn edits(&self, container: &Node) -> Vec<Edit> {
        let mut edits = Vec::new();
        self.fill_node(container, Room::Container, &mut edits);
        edits
    }

    /// The step of this instance, without its `matrix`.
    pub(super) fn step(&self, entry: &Entry) -> Entry {
        let fields = entry.value.entries().unwrap_or_default().iter().filter(|field| field.key != "matrix");
        let filled = fields.map(|field| self.fill_entry(field, Room::Step, &mut Vec::new())).collect();
        let value = Node { value: Value::Mapping(filled), ..entry.value };
        Entry { key: self.name.clone(), key_span: entry.key_span, value }
    }

    /// The text with the values in it; `None` when it stays as it is.
    pub(super) fn fill(&self, text: &str) -> Option<Filled> {
        self.fill_as(text, false)
    }

    fn fill_as(&self, text: &str, is_name: bool) -> Option<Filled> {
        let mut filled = Filled { text: String::with_capacity(text.len()), moved: Vec::new() };
        let mut from = 0;
        for reference in references(text) {
            let Some(value) = self.value(reference.key) else { continue };
            filled.text.push_str(&text[from..reference.span.start]);
            filled.moved.push((filled.text.len(), reference.span.start));
            if is_name || reference.is_in_name {
                filled.text.push_str(&label(value));
            } else {
                filled.text.push_str(value);
            }
            from = reference.span.end;
            filled.moved.push((filled.text.len(), from));
        }
        if from == 0 {
            return None;
        }
        filled.text.push_str(&text[from..]);
        Some(filled)
    }

    /// Nodes are nested no deeper than the parser allows, so this may recurse.
    fn fill_node(&self, node: &Node, room: Room, edits: &mut Vec<Edit>) -> Node {
        let value = match &node.value {
            Value::Scalar(scalar) => self.fill_scalar(scalar, node.span, room, false, edits),
            Value::Sequence(items) => {
                Value::Sequence(items.iter().map(|item| self.fill_node(item, room, edits)).collect())
            }
            Value::Mapping(entries) => {
                Value::Mapping(entries.iter().map(|entry| self.fill_entry(entry, room, edits)).collect())
            }
        };
        Node { value, span: node.span, alias: node.alias }
    }

    fn fill_entry(&self, entry: &Entry, room: Room, edits: &mut Vec<Edit>) -> Entry {
        let key = self.fill_as(&entry.key, room == Room::Names).map(|filled| filled.text);
        if let Some(text) = &key {
            let (span, text) = (entry.key_span, text.clone());
            edits.push(Edit { span, style: Style::Plain, is_key: true, text, is_number: false });
        }
        let inner = if room == Room::Step && entry.key == "dependsOn" { Room::Names } else { room };
        let value = match &entry.value.value {
            Value::Scalar(scalar) => {
                let is_number = NUMBERS.contains(&entry.key.as_str());
                Node {
                    value: self.fill_scalar(scalar, entry.value.span, inner, is_number, edits),
                    span: entry.value.span,
                    alias: entry.value.alias,
                }
            }
            Value::Sequence(_) | Value::Mapping(_) => self.fill_node(&entry.value, inner, edits),
        };
        Entry { key: key.unwrap_or_else(|| entry.key.clone()), key_span: entry.key_span, value }
    }

    fn fill_scalar(
        &self,
        scalar: &Scalar,
        span: Span,
        room: Room,
        may_be_number: bool,
        edits: &mut Vec<Edit>,
    ) -> Value {
        let Some(filled) = self.fill_as(&scalar.text, room == Room::Names) else {
            return Value::Scalar(scalar.clone());
        };
        let is_number =
            may_be_number && room == Room::Container && filled.text.bytes().all(|byte| byte.is_ascii_digit());
        edits.push(Edit { span, style: scalar.style, is_key: false, text: filled.text.clone(), is_number });
        let style = match (room, scalar.style) {
            _ if is_number => Style::Plain,
            (Room::Container, Style::Plain) => Style::DoubleQuoted,
            (Room::Container | Room::Step | Room::Names, style) => style,
        };
        Value::Scalar(Scalar { text: filled.text, style })
    }
}

/// The references in a text, in order. What stands in the brackets is a key, or at least looks like one.
fn references(text: &str) -> impl Iterator<Item = Reference<'_>> {
    // Where the last reference that is a part of a step's name ended: that name may go on.
    let mut name_goes_on = None;
    text.match_indices(OPEN).filter_map(move |(bracket, _)| {
        let dollars = text[..bracket].bytes().rev().take_while(|byte| *byte == b'$').count();
        if dollars % 2 == 0 {
            return None;
        }
        let start = bracket + OPEN.len();
        let end = start + text[start..].find(|c: char| !(c.is_alphanumeric() || "-_.:".contains(c)))?;
        if end == start || text.as_bytes()[end] != b')' {
            return None;
        }
        let span = Span { start: bracket - 1, end: end + 1 };
        let before = &text[..span.start];
        let name = name_goes_on.or(before.rfind(STEPS).map(|at| at + STEPS.len())).map(|from| &before[from..]);
        let is_in_name = name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        name_goes_on = is_in_name.then_some(span.end);
        Some(Reference { span, key: &text[start..end], is_in_name })
    })
}

/// What the references of a tree may name.
pub(super) struct Keys<'k> {
    /// The step, as errors call it.
    pub step: &'k str,
    /// The keys of its matrix; none where it has no matrix.
    pub keys: Vec<&'k str>,
}

impl Keys<'_> {
    /// Reports the references of a tree that name no key. Recurses no deeper than the parser allows.
    pub(super) fn check(&self, node: &Node, reporter: &mut Reporter) {
        match &node.value {
            Value::Scalar(scalar) => {
                if scalar.text.contains(OPEN) {
                    let source =
                        Source::embedded(std::sync::Arc::clone(reporter.file()), node.span, scalar.style, &scalar.text);
                    self.check_text(&scalar.text, |span| source.place(span), reporter);
                }
            }
            Value::Sequence(items) => items.iter().for_each(|item| self.check(item, reporter)),
            Value::Mapping(entries) => {
                for entry in entries {
                    self.check_text(&entry.key, |_| entry.key_span, reporter);
                    self.check(&entry.value, reporter);
                }
            }
        }
    }

    fn check_text(&self, text: &str, place: impl Fn(Span) -> Span, reporter: &mut Reporter) {
        for reference in references(text) {
            let (key, span) = (reference.key, place(reference.span));
            let step = quote(self.step);
            if self.keys.contains(&key) {
                continue;
            }
            if self.keys.is_empty() {
                reporter
                    .error(span, format!("step {step} has no matrix"))
                    .help("give it one, or write $$ for the text");
                continue;
            }
            let nearest = reporter.nearest(key, self.keys.iter().copied());
            let diagnostic = reporter.error(span, format!("the matrix of step {step} has no key {}", quote(key)));
            match nearest {
                Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                None if key.contains(':') => {
                    diagnostic.help("a matrix has a value for each key, so there is no default")
                }
                None => diagnostic.help(format!("its keys are {}", self.keys.join(", "))),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::yaml::parse;
    use crate::plan::{Matrix, PodFacts, check};

    /// The instance with `python` 3.12 and `os` Linux.
    fn instance() -> Instance {
        let plan = "steps: { test: { matrix: { python: ['3.12'], os: [Linux] } } }";
        let checked = check(&Source::file("p", plan), &PodFacts::default()).expect("the plan is right");
        let [Matrix { instances, .. }] = checked.matrices.as_slice() else { panic!("one matrix") };
        instances[0].clone()
    }

    fn filled(text: &str) -> String {
        instance().fill(text).map_or_else(|| text.to_owned(), |filled| filled.text)
    }

    #[test]
    fn values_come_in_the_place_of_keys() {
        for (text, wanted) in [
            ("python:$(matrix.python)-slim", "python:3.12-slim"),
            ("$(matrix.os)$(matrix.python)$(matrix.os)", "Linux3.12Linux"),
            ("\u{e9}$(matrix.os)\u{e9}", "\u{e9}Linux\u{e9}"),
            // As the kubelet counts dollar signs: what is left of them is its business.
            ("$$(matrix.os)", "$$(matrix.os)"),
            ("$$$(matrix.os)", "$$Linux"),
            ("$$$$(matrix.os)", "$$$$(matrix.os)"),
            // In the name of a step a value is what it is in names.
            ("$(steps.build-$(matrix.python).outputs.v)", "$(steps.build-3-12.outputs.v)"),
            ("$(steps.a-$(matrix.python)-$(matrix.os).phase)", "$(steps.a-3-12-linux.phase)"),
            ("$(steps.a.outputs.$(matrix.python))", "$(steps.a.outputs.3.12)"),
            ("$(steps.a.phase) $(matrix.python)", "$(steps.a.phase) 3.12"),
            ("$(params.P:-$(matrix.python))", "$(params.P:-3.12)"),
        ] {
            assert_eq!(filled(text), wanted, "{text}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for text in [
            "",
            "$(matrix)",
            "$(matrix.)",
            "$(matrix.os",
            "(matrix.os)",
            "$(matrix.sh --all)",
            "$(matrix. os)",
            "${matrix.os}",
        ] {
            assert_eq!(instance().fill(text), None, "{text}");
        }
    }

    #[test]
    fn every_byte_of_a_filled_text_knows_where_it_came_from() {
        let text = "a $(matrix.os) $(steps.x.phase) $(matrix.python)!";
        let filled = instance().fill(text).expect("it changes");
        for part in ["a ", " $(steps.x.phase) ", "!"] {
            let at = filled.text.find(part).expect("it is kept");
            assert_eq!(&text[filled.origin(at)..][..part.len()], part);
        }
        let value = filled.text.find("3.12").expect("a value");
        assert_eq!(text[filled.origin(value)..].find("$(matrix.python)"), Some(0));
    }

    #[test]
    fn a_container_is_filled_and_whoever_edits_its_text_learns_how() {
        let text = "{ name: test, image: 'py:$(matrix.python)', env: [{ name: V, value: $(matrix.python) }], \
                    ports: [{ containerPort: $(matrix.python) }], resources: { limits: { $(matrix.os)/gpu: 1 } } }";
        let node = parse(&Source::file("c", text)).expect("this is YAML").remove(0);
        let copy = instance().container(&node);
        assert_eq!(copy.get("name").and_then(Node::as_str), Some("test-3-12-linux"));
        let value = copy.get("env").and_then(Node::items).and_then(|variables| variables[0].get("value"));
        assert_eq!(value.and_then(Node::as_str), Some("3.12"), "a string stays a string");
        let limits = copy.get("resources").and_then(|resources| resources.get("limits"));
        assert!(limits.is_some_and(|limits| limits.get("Linux/gpu").is_some()));
        let edits = instance().edits(&node);
        let written: Vec<(&str, &str, bool)> =
            edits.iter().map(|edit| (&text[edit.span.start..edit.span.end], edit.text.as_str(), edit.is_key)).collect();
        let wanted = [
            ("'py:$(matrix.python)'", "py:3.12", false),
            ("$(matrix.python)", "3.12", false),
            ("$(matrix.python)", "3.12", false),
            ("$(matrix.os)/gpu", "Linux/gpu", true),
        ];
        assert_eq!(written, wanted);
    }

    #[test]
    fn fields_that_are_numbers_take_values_that_are() {
        let plan = "steps: { test: { matrix: { port: ['8080', http] } } }";
        let checked = check(&Source::file("p", plan), &PodFacts::default()).expect("the plan is right");
        let text = "{ name: test, ports: [{ containerPort: $(matrix.port) }], env: [{ value: $(matrix.port) }] }";
        let node = parse(&Source::file("c", text)).expect("this is YAML").remove(0);
        let numbers: Vec<Vec<bool>> = checked.matrices[0]
            .instances
            .iter()
            .map(|instance| instance.edits(&node).iter().map(|edit| edit.is_number).collect())
            .collect();
        assert_eq!(numbers, [[true, false], [false, false]]);
    }
}
