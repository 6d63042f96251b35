//! A run as JUnit XML, which nearly every CI system reads: a case per step.
//!
//! The format has no standard. This follows the schema of Jenkins' xUnit plugin (`junit-10.xsd`), which describes what Maven Surefire
//! writes, retries included; a test holds it to that. There is a word for each end of a step:
//!
//! | step | case |
//! | --- | --- |
//! | Succeeded | passed; `flakyFailure` for each attempt before the one that succeeded |
//! | Failed by its command | `failure`; `rerunFailure` for each attempt after the first |
//! | Failed without its command's doing (lost, never arrived, ...); Cancelled by a full volume, which makes the outcome Failed | `error` |
//! | Failed with `allowFailure` | `skipped`, as an expected failure of other test tools |
//! | Cancelled by the plan's `timeout`, which makes the outcome Failed | `failure` |
//! | Skipped, Omitted, Cancelled, not ended yet | `skipped` |

use std::fmt::Write as _;

use super::escape::Escaped;
use super::table::{between, duration};
use crate::volume::published::{AttemptView, State, Step};

/// The suite's name, and the class of all its cases: what CI systems group by.
const SUITE: &str = "podturn";

/// What the case says that stands for the plan, where no step says why the outcome is Failed.
const PLAN_FAILED: &str = "the plan's time was over, or its volume full, and only services still ran";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failure,
    Error,
    Skipped,
}

impl Verdict {
    fn of(step: &Step) -> Self {
        match (step.phase.as_str(), step.reason.as_deref()) {
            ("Succeeded", _) => Self::Passed,
            ("Failed", _) if step.allow_failure => Self::Skipped,
            ("Failed", Some(reason)) if is_error(reason) => Self::Error,
            ("Cancelled", Some("VolumeFull")) => Self::Error,
            ("Failed", _) | ("Cancelled", Some("PlanTimedOut")) => Self::Failure,
            _ => Self::Skipped,
        }
    }
}

/// The command had no say in it.
pub(super) fn is_error(reason: &str) -> bool {
    matches!(reason, "ShimLost" | "NeverArrived" | "StartError" | "WhenError" | "Interrupted" | "VolumeFull")
}

/// The whole file.
#[must_use]
pub fn junit(state: &State) -> String {
    let verdicts: Vec<Verdict> = state.steps.iter().map(Verdict::of).collect();
    let count = |verdict| verdicts.iter().filter(|it| **it == verdict).count();
    let mut failures = count(Verdict::Failure);
    let is_unsaid = state.outcome.as_deref() == Some("Failed") && failures + count(Verdict::Error) == 0;
    failures += usize::from(is_unsaid);
    let took = state.started_at.as_deref().zip(state.ended_at.as_deref());
    let took = took.and_then(|(started, ended)| between(started, ended)).unwrap_or(0);
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{}\" time=\"{}\"",
        verdicts.len() + usize::from(is_unsaid),
        count(Verdict::Error),
        seconds(took)
    );
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"{SUITE}\" {counts}>\n\
         <testsuite name=\"{SUITE}\" id=\"{}\" {counts} skipped=\"{}\"",
        Escaped(&state.run),
        count(Verdict::Skipped)
    );
    if let Some(started) = &state.started_at {
        let _ = write!(xml, " timestamp=\"{}\"", Escaped(started));
    }
    let outcome = state.outcome.as_deref().unwrap_or("Running");
    let _ = write!(
        xml,
        ">\n<properties>\n<property name=\"run\" value=\"{}\"/>\n<property name=\"outcome\" value=\"{}\"/>\n\
         <property name=\"podturn\" value=\"{}\"/>\n</properties>\n",
        Escaped(&state.run),
        Escaped(outcome),
        env!("CARGO_PKG_VERSION")
    );
    for (step, verdict) in state.steps.iter().zip(verdicts) {
        write_case(step, verdict, &mut xml);
    }
    if is_unsaid {
        let _ = writeln!(
            xml,
            "<testcase classname=\"{SUITE}\" name=\"(the plan)\"><failure type=\"Failed\" message=\"{PLAN_FAILED}\"/></testcase>"
        );
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn write_case(step: &Step, verdict: Verdict, xml: &mut String) {
    let took = seconds(step.duration_ms.unwrap_or(0));
    let _ = write!(xml, "<testcase classname=\"{SUITE}\" name=\"{}\" time=\"{took}\"", Escaped(&step.name));
    let elements = elements(step, verdict);
    if elements.is_empty() {
        xml.push_str("/>\n");
        return;
    }
    xml.push_str(">\n");
    for Element { name, kind, message, text } in elements {
        let (kind, message, text) = (Escaped(kind), Escaped(message), Escaped(text));
        let _ = writeln!(xml, "<{name} type=\"{kind}\" message=\"{message}\">{text}</{name}>");
    }
    xml.push_str("</testcase>\n");
}

struct Element<'a> {
    name: &'static str,
    kind: &'a str,
    message: String,
    text: String,
}

fn elements<'a>(step: &'a Step, verdict: Verdict) -> Vec<Element<'a>> {
    let attempt_as = |name| {
        move |attempt: &'a AttemptView| Element {
            name,
            kind: attempt.reason.as_str(),
            message: words(attempt),
            text: String::new(),
        }
    };
    let kind = step.reason.as_deref().unwrap_or(&step.phase);
    let message = if step.message.is_empty() { step.phase.clone() } else { step.message.clone() };
    let verdict_as = |name, text| Element { name, kind, message: message.clone(), text };
    match verdict {
        Verdict::Passed => {
            let before = step.attempts.split_last().map_or(&[][..], |(_, before)| before);
            before.iter().map(attempt_as("flakyFailure")).collect()
        }
        Verdict::Failure | Verdict::Error => {
            let (name, again) =
                if verdict == Verdict::Error { ("error", "rerunError") } else { ("failure", "rerunFailure") };
            let first = step.attempts.first().map(words).unwrap_or_default();
            let again = step.attempts.iter().skip(1).map(attempt_as(again));
            std::iter::once(verdict_as(name, first)).chain(again).collect()
        }
        Verdict::Skipped => vec![verdict_as("skipped", String::new())],
    }
}

/// Such as `attempt 2: ExitCode, code 3, after 1.20s`.
fn words(attempt: &AttemptView) -> String {
    let mut words = format!("attempt {}: {}", attempt.attempt, attempt.reason);
    match (attempt.signal, attempt.exit_code) {
        (Some(signal), _) => words.push_str(&format!(", signal {signal}")),
        (None, Some(code)) => words.push_str(&format!(", code {code}")),
        (None, None) => {}
    }
    if let Some(ms) = attempt.started_at.as_deref().and_then(|started| between(started, &attempt.ended_at)) {
        words.push_str(&format!(", after {}", duration(ms)));
    }
    words
}

/// As the schema wants it: whole seconds and three more figures.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

#[cfg(test)]
mod tests;
