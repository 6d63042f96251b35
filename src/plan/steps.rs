//! One step: its fields, and its dependencies by name.
//!
//! Belongs here: what can be said of a step alone. Does not belong here: whether the names in it exist, and what the
//! steps mean to each other (`check` and `graph`).

use podturn_turn::{Condition, Millis, Readiness, Retry};

use super::diagnostic::{Reporter, quote};
use super::durations::duration;
use super::facts::ContainerFacts;
use super::fields::{Fields, Record, boolean, exit_codes, integer, list, unique, word, wrong};
use super::readiness::{readiness, string};
use super::retry::{no_retry, retry};
use super::signals::signal;
use super::source::Span;
use super::yaml::{Entry, Node, Typed, Value};

/// SIGTERM, as the kubelet sends it.
pub const DEFAULT_STOP_SIGNAL: u8 = 15;

/// The code that counts as success by default.
pub(super) const DEFAULT_SUCCESS: u8 = 0;

pub(super) const CONDITIONS: [(&str, Condition); 5] = [
    ("Started", Condition::Started),
    ("Succeeded", Condition::Succeeded),
    ("Failed", Condition::Failed),
    ("Completed", Condition::Completed),
    ("Ready", Condition::Ready),
];

pub(super) const STEP: Fields = Fields {
    what: "a step",
    known: &[
        "dependsOn",
        "when",
        "service",
        "readiness",
        "retry",
        "successExitCodes",
        "timeout",
        "allowFailure",
        "finally",
        "approval",
        "uses",
        "stopSignal",
        "matrix",
    ],
};

pub(super) const DEPENDENCY: Fields = Fields { what: "a dependency", known: &["step", "condition"] };

/// A step with names that are not looked up yet.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub name: String,
    /// The container: the step's own name, unless it is an instance of a matrix.
    pub container: String,
    pub span: Span,
    pub depends_on: Vec<DraftDependency>,
    pub retry: Retry,
    pub success_exit_codes: Vec<u8>,
    pub timeout: Option<Millis>,
    pub allow_failure: bool,
    pub finally: bool,
    pub uses: Vec<DraftUse>,
    pub stop_signal: u8,
    pub service: bool,
    pub readiness: Option<Readiness>,
    /// The expression and its place.
    pub when: Option<(String, Span)>,
    /// What the person is asked, and the place of that.
    pub approval: Option<(String, Span)>,
    /// Whether `retry` is there.
    pub has_retry: bool,
}

/// A dependency by name.
#[derive(Clone, Debug)]
pub(super) struct DraftDependency {
    pub step: String,
    pub span: Span,
    /// `None`: `Ready` for a service, `Succeeded` for a task.
    pub condition: Option<Condition>,
}

/// Units of a pool by name.
#[derive(Clone, Debug)]
pub(super) struct DraftUse {
    pub pool: String,
    pub key_span: Span,
    pub units: u32,
    pub span: Span,
}

impl Draft {
    /// A step with every default.
    pub(super) fn new(name: &str, span: Span) -> Self {
        Self {
            name: name.to_owned(),
            container: name.to_owned(),
            span,
            depends_on: Vec::new(),
            retry: no_retry(),
            success_exit_codes: vec![DEFAULT_SUCCESS],
            timeout: None,
            allow_failure: false,
            finally: false,
            uses: Vec::new(),
            stop_signal: DEFAULT_STOP_SIGNAL,
            service: false,
            readiness: None,
            when: None,
            approval: None,
            has_retry: false,
        }
    }
}

/// Reads one entry of the map of steps. A step without a value (`build:`) has every default. A `matrix` was read before.
pub(super) fn step(entry: &Entry, container: Option<&ContainerFacts>, reporter: &mut Reporter) -> Draft {
    let mut draft = Draft::new(&entry.key, entry.key_span);
    if entry.value.is_null() {
        return draft;
    }
    let Some(record) = STEP.read(&entry.value, reporter) else { return draft };
    if let Some(node) = record.get("dependsOn", reporter) {
        draft.depends_on = dependencies(node, reporter);
    }
    let mut successes = Vec::new();
    if let Some(node) = record.get("successExitCodes", reporter) {
        successes = exit_codes(node, "successExitCodes", reporter);
    }
    if !successes.is_empty() {
        draft.success_exit_codes = successes.iter().map(|(code, _)| *code).collect();
    }
    if let Some(node) = record.get("retry", reporter) {
        draft.retry = retry(node, &draft.success_exit_codes, reporter);
        draft.has_retry = true;
    }
    if let Some(node) = record.get("timeout", reporter) {
        draft.timeout = duration(node, "timeout", false, reporter);
    }
    for (key, field) in
        [("allowFailure", &mut draft.allow_failure), ("finally", &mut draft.finally), ("service", &mut draft.service)]
    {
        if let Some(node) = record.get(key, reporter) {
            *field = boolean(node, key, reporter).unwrap_or_default();
        }
    }
    if let Some(node) = record.get("uses", reporter) {
        draft.uses = uses(node, reporter);
    }
    if let Some(node) = record.get("stopSignal", reporter) {
        draft.stop_signal = signal(node, reporter).unwrap_or(DEFAULT_STOP_SIGNAL);
    }
    if let Some(node) = record.get("readiness", reporter) {
        let ports = container.map_or(&[][..], |container| container.ports.as_slice());
        draft.readiness = readiness(node, ports, reporter);
    }
    if let Some(node) = record.get("when", reporter) {
        draft.when = string(node, "when", reporter).map(|text| (text, node.span));
    }
    if let Some(node) = record.get("approval", reporter) {
        draft.approval = approval(node, reporter).map(|message| (message, node.span));
    }
    service(&draft, &record, reporter);
    draft
}

/// What a service may not be, and what only a service may have.
fn service(draft: &Draft, record: &Record<'_>, reporter: &mut Reporter) {
    if !draft.service {
        if record.has("readiness") {
            reporter
                .error(record.key_span("readiness"), "only a service has a readiness")
                .help("add `service: true`; a task is over when its command has ended");
        }
        return;
    }
    if draft.finally {
        reporter
            .error(record.key_span("finally"), "a service cannot be a finally step")
            .help("a service that a finally step depends on is kept until that has ended");
    }
    if record.has("successExitCodes") {
        reporter
            .error(record.key_span("successExitCodes"), "the exit code of a service does not count")
            .help("while it is needed every end is a failure, and once podturn has stopped it none is");
    }
}

/// `true`, or what a person is asked.
fn approval(node: &Node, reporter: &mut Reporter) -> Option<String> {
    match node.typed() {
        Some(Typed::Bool(true)) => Some(String::new()),
        Some(Typed::Bool(false)) => None,
        Some(Typed::String(text)) if !text.trim().is_empty() => Some(text.to_owned()),
        _ => {
            wrong(node, "approval", reporter).help("write `true`, or what the person who approves is asked");
            None
        }
    }
}

fn uses(node: &Node, reporter: &mut Reporter) -> Vec<DraftUse> {
    let Some(entries) = node.entries() else {
        wrong(node, "uses", reporter).help("it is a map of pools: write { NAME: UNITS }");
        return Vec::new();
    };
    let mut uses = Vec::with_capacity(entries.len());
    for entry in unique(entries, reporter) {
        let what = format!("the units of pool {}", quote(&entry.key));
        if let Some(units) = integer(&entry.value, &what, 1..=u32::MAX, reporter) {
            uses.push(DraftUse { pool: entry.key.clone(), key_span: entry.key_span, units, span: entry.value.span });
        }
    }
    uses
}

fn dependencies(node: &Node, reporter: &mut Reporter) -> Vec<DraftDependency> {
    let Some(items) = list(node, "dependsOn", reporter) else { return Vec::new() };
    items.iter().filter_map(|item| dependency(item, reporter)).collect()
}

/// One of the three spellings: `name`, `name: Condition`, `{step: name, condition: Condition}`.
fn dependency(item: &Node, reporter: &mut Reporter) -> Option<DraftDependency> {
    match &item.value {
        Value::Scalar(scalar) if !item.is_null() => {
            Some(DraftDependency { step: scalar.text.clone(), span: item.span, condition: None })
        }
        Value::Mapping(entries) if is_long_form(entries) => long_form(item, reporter),
        Value::Mapping(entries) => match entries.as_slice() {
            [entry] => Some(DraftDependency {
                step: entry.key.clone(),
                span: entry.key_span,
                condition: Some(condition(&entry.value, reporter)?),
            }),
            _ => {
                let message = "one dependency is one item of the list";
                reporter.error(item.span, message).help("put a dash before each:  - build: Succeeded");
                None
            }
        },
        Value::Scalar(_) | Value::Sequence(_) => {
            let help = "write `name`, `name: Condition`, or `{ step: name, condition: Condition }`";
            wrong(item, "a dependency", reporter).help(help);
            None
        }
    }
}

/// A map with the key `step` is the long form, unless its only value is a condition: then a step is called "step".
fn is_long_form(entries: &[Entry]) -> bool {
    let names_a_condition =
        |entry: &Entry| entry.value.as_str().is_some_and(|text| CONDITIONS.iter().any(|(name, _)| *name == text));
    match entries {
        [entry] => entry.key == "step" && !names_a_condition(entry),
        _ => entries.iter().any(|entry| DEPENDENCY.known.contains(&entry.key.as_str())),
    }
}

fn long_form(item: &Node, reporter: &mut Reporter) -> Option<DraftDependency> {
    let record = DEPENDENCY.read(item, reporter)?;
    let condition = match record.get("condition", reporter) {
        Some(node) => Some(condition(node, reporter)?),
        None => None,
    };
    if !record.has("step") {
        reporter.error(Span::empty(item.span.start), "this dependency names no step").help("add `step: NAME`");
        return None;
    }
    let step = record.get("step", reporter)?;
    match &step.value {
        Value::Scalar(scalar) => Some(DraftDependency { step: scalar.text.clone(), span: step.span, condition }),
        Value::Sequence(_) | Value::Mapping(_) => {
            wrong(step, "a step's name", reporter);
            None
        }
    }
}

fn condition(node: &Node, reporter: &mut Reporter) -> Option<Condition> {
    if node.typed() == Some(Typed::Null) {
        reporter.error(node.span, "this dependency has no condition").help("leave the colon out, or write a condition");
        return None;
    }
    word(node, "a condition", &CONDITIONS, reporter)
}

/// Reads the list form: names only, each step after the one before.
pub(super) fn listed(items: &[Node], reporter: &mut Reporter) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::with_capacity(items.len());
    for item in items {
        let name = match &item.value {
            Value::Scalar(scalar) if !item.is_null() => scalar.text.as_str(),
            Value::Mapping(_) => {
                reporter
                    .error(item.span, "the list form has names only, no options")
                    .help("for options write steps as a map:  steps: { build: {}, test: { dependsOn: [build] } }");
                continue;
            }
            Value::Scalar(_) | Value::Sequence(_) => {
                wrong(item, "a step's name", reporter);
                continue;
            }
        };
        drafts.push(Draft::new(name, item.span));
    }
    drafts
}

/// Makes each step wait for the one before.
pub(super) fn chain(drafts: &mut [Draft]) {
    for at in 1..drafts.len() {
        let (before, rest) = drafts.split_at_mut(at);
        let (before, this) = (&before[at - 1], &mut rest[0]);
        this.depends_on = vec![DraftDependency { step: before.name.clone(), span: this.span, condition: None }];
    }
}
