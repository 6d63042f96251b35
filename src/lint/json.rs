//! Findings for other programs.

use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use super::{Finding, Linted};
use crate::plan::{Place, Severity};

/// What `podturn lint --output json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this form: 1. Within a version members are only added.
    version: u32,
    /// How many pods with a plan were looked at.
    pods: usize,
    /// Each finding, by file and in the order of its text.
    findings: Vec<Item>,
    /// What the manifests silence.
    silenced: Vec<Item>,
    /// How many more there are: of what one room says of one file, a hundred are kept.
    more: usize,
}

/// One finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Item {
    /// Its code, for example `PT301`.
    code: &'static str,
    level: Level,
    /// What is wrong, in one line.
    message: String,
    /// What is said right at the place.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Where it is; missing for what has no place.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<Range>,
    /// The kind of the pod's object; missing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The containers that it is about; empty: it is about the pod.
    steps: Vec<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Level {
    /// It would be refused.
    Error,
    /// It will probably hurt.
    Warning,
    /// It is worth knowing, and often meant so.
    Info,
}

/// A range of a file. Lines and columns count from 1, columns in characters; the end is the first character after it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Range {
    /// The file's name as it was given; `<stdin>`.
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub end_line: usize,
    pub end_column: usize,
}

impl From<&Place> for Range {
    fn from(place: &Place) -> Self {
        let (line, column) = place.file.line_and_column(place.span.start);
        let (end_line, end_column) = place.file.line_and_column(place.span.end.max(place.span.start));
        Self { file: place.file.name().to_owned(), line, column, end_line, end_column }
    }
}

impl Report {
    /// The report on all files.
    #[must_use]
    pub fn of(all: &Linted) -> Self {
        let items = |findings: &[Finding]| findings.iter().map(Item::from).collect();
        Self {
            version: 1,
            pods: all.pods,
            findings: items(&all.findings),
            silenced: items(&all.silenced),
            more: all.more,
        }
    }
}

impl From<&Finding> for Item {
    fn from(finding: &Finding) -> Self {
        let told = &finding.diagnostic;
        let (kind, name) = finding.object.clone().unzip();
        Self {
            code: finding.rule.code,
            level: match told.severity {
                Severity::Error => Level::Error,
                Severity::Warning => Level::Warning,
                Severity::Info => Level::Info,
            },
            message: told.message.clone(),
            label: told.label.as_deref().map(str::to_owned),
            help: told.help.as_deref().map(str::to_owned),
            place: told.place.as_ref().map(Range::from),
            kind,
            name,
            steps: finding.steps.clone(),
        }
    }
}

/// The JSON Schema of the report.
#[must_use]
pub fn lint_schema() -> Schema {
    schema_for!(Report)
}
