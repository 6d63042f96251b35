//! What was done, for a person: one line a change, with its reason.

use std::fmt::Write as _;

/// A change of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What is there now.
    pub what: String,
    /// What for.
    pub why: String,
}

/// What was done to one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// The file, or `<stdin>`.
    pub file: String,
    /// The object's `apiVersion`.
    pub api_version: String,
    /// The object's kind.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// In one line.
    pub summary: String,
    /// Each change. Empty: nothing had to be done.
    pub changes: Vec<Change>,
}

/// The longest name that the reasons are aligned behind.
const COLUMN_MAX: usize = 32;

impl PodReport {
    /// As text, ending with a newline.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("{}: {} {}: {}\n", self.file, self.kind, self.name, self.summary);
        let widths = self.changes.iter().map(|change| change.what.chars().count());
        let width = widths.filter(|width| *width <= COLUMN_MAX).max().unwrap_or(0);
        for change in &self.changes {
            let _ = writeln!(text, "  {:width$}  {}", change.what, change.why);
        }
        text
    }
}
