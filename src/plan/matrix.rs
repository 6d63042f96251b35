//! A step's `matrix`: one instance of the step, and one container, for each combination of its values.
//!
//! ```text
//! Manifest::check(&facts) ─> Checked { plan, matrices, .. }    the plan's side: `plan` has the instances as steps, so that
//!                                │                              the core and the coordinator never hear of a matrix
//!                                └─> Manifest::expanded(&checked) ─> Manifest, with a container for each instance
//! ```
//!
//! Whoever changes the text of a manifest, and so needs no tree, takes for each [`Matrix`] the container called `step`,
//! copies it once for each of `instances`, gives the copy the instance's `name`, and does in it what
//! [`Instance::edits`] says. `canonical(&checked.plan)` is the plan to hand on, `expanded(..).facts` the facts.
//!
//! Belongs here: combinations and names. Does not belong here: finding `$(matrix.KEY)` in texts (`template`), and walking
//! over containers (`containers`).

use podturn_wire::names::is_container_name;

use super::diagnostic::{Reporter, quote, shorten};
use super::fields::{list, unique, wrong};
use super::source::Span;
use super::template::Keys;
use super::yaml::{Entry, Node, Typed, Value};

/// The most instances of one step. More containers fit into hardly any pod.
pub(super) const INSTANCES_MAX: usize = 256;

/// The longest name of a container: a DNS label (RFC 1123).
const NAME_MAX: usize = 63;

/// A step with a matrix, and what it becomes.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// The name of the step in the plan, and of the container in the manifest.
    pub step: String,
    /// Where the plan names the step.
    pub span: Span,
    /// In plan order: the last key varies fastest. At least one, at most 256.
    pub instances: Vec<Instance>,
}

/// One combination of a matrix: a step of the plan, and a container of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `<step>-<values>`, with the values in the order of the keys, each made a part of a DNS label: in lower case, with
    /// dashes for all but letters and digits, and none at its ends.
    pub name: String,
    /// The keys and their values, in the order of the matrix.
    pub values: Vec<(String, String)>,
    /// Where the values stand.
    spans: Vec<Span>,
}

impl Matrix {
    /// What `$(matrix.KEY)` may name in this step.
    pub(super) fn keys(&self) -> Keys<'_> {
        let keys = self.instances.first().into_iter().flat_map(|instance| &instance.values);
        Keys { step: &self.step, keys: keys.map(|(key, _)| key.as_str()).collect() }
    }
}

impl Instance {
    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// `python=3.12, os=linux`.
    #[must_use]
    pub fn describe(&self) -> String {
        let pairs = self.values.iter().map(|(key, value)| format!("{key}={}", shorten(value)));
        pairs.collect::<Vec<_>>().join(", ")
    }
}

/// A key with its values and their places.
struct Axis<'n> {
    key: &'n str,
    values: Vec<(&'n str, Span)>,
}

/// Reads the matrix of the step `step`, an entry of the map of steps. `None` when there is nothing to multiply; what is
/// wrong with a value is reported, and the value taken all the same, so that nobody who names its instance is called wrong.
pub(super) fn matrix(step: &Entry, field: &Entry, reporter: &mut Reporter) -> Option<Matrix> {
    if field.value.is_null() {
        reporter.error(field.key_span, "`matrix` has no value").help("give it one, or leave the field out");
        return None;
    }
    let axes = axes(&field.value, reporter)?;
    if axes.is_empty() {
        reporter
            .error(field.key_span, "this matrix has no keys")
            .help("write { KEY: [\"VALUE\", ...] }, or leave it out");
    }
    if axes.iter().any(|axis| axis.values.is_empty()) || axes.is_empty() {
        return None; // the values were called wrong, each at its place
    }
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > INSTANCES_MAX) {
        let mut sizes: Vec<String> = axes.iter().take(8).map(|axis| axis.values.len().to_string()).collect();
        sizes.extend((axes.len() > sizes.len()).then(|| "...".to_owned()));
        let many = count.map_or_else(|| "too many".to_owned(), |count| count.to_string());
        reporter
            .error(field.key_span, format!("this matrix has {many} combinations ({})", sizes.join(" x ")))
            .help(format!("at most {INSTANCES_MAX}: each of them is a container of the pod"));
        return None;
    }
    let mut instances = vec![Instance { name: step.key.clone(), values: Vec::new(), spans: Vec::new() }];
    for axis in &axes {
        instances = instances
            .iter()
            .flat_map(|before| axis.values.iter().map(|value| extend(before, axis.key, *value)))
            .collect();
    }
    names(step, &instances, reporter);
    Some(Matrix { step: step.key.clone(), span: step.key_span, instances })
}

fn extend(before: &Instance, key: &str, (value, span): (&str, Span)) -> Instance {
    let mut instance = before.clone();
    instance.name = format!("{}-{}", before.name, label(value));
    instance.values.push((key.to_owned(), value.to_owned()));
    instance.spans.push(span);
    instance
}

/// A value as a part of a name: in lower case, with dashes for all but letters and digits, and none at its ends.
pub(super) fn label(value: &str) -> String {
    let label: String =
        value.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    label.trim_matches('-').to_owned()
}

fn axes<'n>(node: &'n Node, reporter: &mut Reporter) -> Option<Vec<Axis<'n>>> {
    let Some(entries) = node.entries() else {
        wrong(node, "matrix", reporter).help("it is a map of lists: write { KEY: [\"VALUE\", ...] }");
        return None;
    };
    let axes = unique(entries, reporter).into_iter().map(|entry| {
        let key = entry.key.as_str();
        if !is_key(key) {
            reporter
                .error(entry.key_span, format!("{} cannot be a key of a matrix", quote(key)))
                .help("it is a word of letters, digits, dashes and underscores, as $(matrix.KEY) names it");
        }
        Axis { key, values: values(entry, reporter) }
    });
    Some(axes.collect())
}

pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn values<'n>(entry: &'n Entry, reporter: &mut Reporter) -> Vec<(&'n str, Span)> {
    let what = format!("the values of {}", quote(&entry.key));
    let Some(items) = list(&entry.value, &what, reporter) else { return Vec::new() };
    if items.is_empty() {
        let message = format!("{} has no values", quote(&entry.key));
        reporter.error(entry.value.span, message).help("leave the key out, or give it a value");
    }
    let mut values: Vec<(&str, Span)> = Vec::with_capacity(items.len().min(INSTANCES_MAX + 1));
    for item in items {
        let Some(value) = value(item, reporter) else { continue };
        if let Some((_, before)) = values.iter().take(INSTANCES_MAX).find(|(known, _)| *known == value) {
            let line = reporter.file().line_of(before.start);
            reporter
                .error(item.span, format!("the value {} is here twice", quote(value)))
                .label(format!("first on line {line}"));
            continue;
        }
        values.push((value, item.span));
    }
    values
}

/// The text of a value, which is a string.
fn value<'n>(item: &'n Node, reporter: &mut Reporter) -> Option<&'n str> {
    let Value::Scalar(scalar) = &item.value else {
        wrong(item, "a value of a matrix", reporter).help("it is a string");
        return None;
    };
    let text = scalar.text.as_str();
    let as_read = match scalar.typed() {
        Typed::String(_) => None,
        Typed::Null => {
            reporter.error(item.span, "a value of a matrix is missing here").help("write a string");
            return None;
        }
        Typed::Bool(value) => Some(value.to_string()),
        Typed::Integer(number) => Some(number.to_string()),
        Typed::Float(number) => Some(number.to_string()),
    };
    if let Some(as_read) = as_read {
        let help = match as_read == text {
            true => "the values of a matrix are strings, as they become parts of names and of texts".to_owned(),
            false => format!("without quotes YAML reads {as_read} here, and that would be another name"),
        };
        let message = format!("a value of a matrix is a string, not {}", item.describe());
        reporter.error(item.span, message).label(format!("write \"{}\"", shorten(text))).help(help);
    } else if label(text).is_empty() {
        reporter
            .error(item.span, format!("the value {} has no letter and no digit", quote(text)))
            .help("it becomes a part of the instance's name, which has only those and dashes");
        return None;
    }
    Some(text)
}

/// Reports names that are too long, and those that two combinations have.
fn names(step: &Entry, instances: &[Instance], reporter: &mut Reporter) {
    if !is_container_name(&step.key) {
        return; // said of the step itself
    }
    let mut first: std::collections::HashMap<&str, &Instance> = std::collections::HashMap::new();
    for instance in instances {
        let name = instance.name.as_str();
        if name.len() > NAME_MAX {
            let longest = instance.values.iter().zip(&instance.spans).max_by_key(|((_, value), _)| value.len());
            let span = longest.map_or(step.key_span, |(_, span)| *span);
            let line = reporter.file().line_of(step.key_span.start);
            reporter
                .error(span, format!("an instance of step {} would be called {}", quote(&step.key), quote(name)))
                .label(format!("{} characters, with the step's name from line {line}", name.len()))
                .help(format!("a container's name has at most {NAME_MAX}: shorten the step's name or this value"));
            continue;
        }
        let Some(before) = first.insert(name, instance) else { continue };
        let differs = instance.values.iter().zip(&before.values).position(|(this, other)| this != other).unwrap_or(0);
        let (line, column) = reporter.file().line_and_column(before.spans[differs].start);
        let message = format!("two instances of step {} would be called {}", quote(&step.key), quote(name));
        reporter.error(instance.spans[differs], message).label(format!("the other value is at {line}:{column}")).help(
            format!(
                "{} and {} make the same name; write one of them differently",
                before.describe(),
                instance.describe()
            ),
        );
    }
}
