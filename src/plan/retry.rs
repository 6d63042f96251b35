//! `retry`: how often, after how long, and after which failures.

use podturn_turn::{Backoff, Cause, Retry};

use super::diagnostic::Reporter;
use super::durations::duration;
use super::fields::{Fields, exit_codes, integer, list, thousandths, word};
use super::source::Span;
use super::yaml::Node;

/// The most attempts after the first one. Whoever needs more needs a loop in the step.
pub(super) const LIMIT_MAX: u32 = 1000;

pub(super) const RETRY: Fields = Fields { what: "retry", known: &["limit", "backoff", "causes", "exitCodes"] };

pub(super) const BACKOFF: Fields = Fields { what: "backoff", known: &["duration", "factor", "cap", "jitter"] };

/// The names of the causes.
pub(super) const CAUSES: [(&str, Cause); 8] = [
    ("ExitCode", Cause::ExitCode),
    ("Signal", Cause::Signal),
    ("OOMKilled", Cause::OOMKilled),
    ("TimedOut", Cause::TimedOut),
    ("ShimLost", Cause::ShimLost),
    ("EndedEarly", Cause::EndedEarly),
    ("NotReady", Cause::NotReady),
    ("Interrupted", Cause::Interrupted),
];

/// The wait between attempts by default: none; and it doubles where there is one.
pub(super) const DEFAULT_BACKOFF: Backoff = Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 };

/// A step that is not tried again.
pub(super) fn no_retry() -> Retry {
    Retry { limit: 0, backoff: DEFAULT_BACKOFF, causes: Cause::ALL.to_vec(), exit_codes: Vec::new() }
}

/// How a service is tried again in a pod whose containers restart: as the kubelet does it, for ever.
/// (<https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>)
pub(super) fn for_ever() -> Retry {
    let backoff = Backoff { duration: 10_000, factor_milli: 2000, cap: Some(300_000), jitter_milli: 0 };
    Retry { limit: u32::MAX, backoff, ..no_retry() }
}

/// Reads `retry`; the codes that count as success can never be a reason for it.
pub(super) fn retry(node: &Node, successes: &[u8], reporter: &mut Reporter) -> Retry {
    let mut retry = no_retry();
    if matches!(node.typed(), Some(super::yaml::Typed::Integer(_))) {
        let help = format!("write retry: {{ limit: {} }}", node.describe().trim_start_matches("the number "));
        super::fields::wrong(node, "retry", reporter).help(help);
        return retry;
    }
    let Some(record) = RETRY.read(node, reporter) else { return retry };
    match record.get("limit", reporter) {
        Some(node) => retry.limit = integer(node, "retry.limit", 0..=LIMIT_MAX, reporter).unwrap_or_default(),
        None if record.has("limit") => {}
        None => {
            reporter
                .error(Span::empty(node.span.start), "retry has no limit")
                .help("add `limit: N`, the number of attempts after the first one");
        }
    }
    if let Some(node) = record.get("backoff", reporter) {
        retry.backoff = backoff(node, reporter);
    }
    if let Some(node) = record.get("causes", reporter) {
        retry.causes = causes(node, reporter);
    }
    if let Some(node) = record.get("exitCodes", reporter) {
        let codes = exit_codes(node, "exitCodes", reporter);
        if !retry.causes.contains(&Cause::ExitCode) {
            reporter
                .error(
                    record.key_span("exitCodes"),
                    "exitCodes narrow the cause ExitCode, which is not among the causes",
                )
                .help("add ExitCode to the causes, or leave exitCodes out");
        }
        for (code, span) in codes.iter().filter(|(code, _)| successes.contains(code)) {
            reporter
                .error(*span, format!("the exit code {code} counts as success, so it is never retried"))
                .help("take it out here, or out of successExitCodes");
        }
        retry.exit_codes = codes.iter().map(|(code, _)| *code).collect();
    }
    retry
}

fn causes(node: &Node, reporter: &mut Reporter) -> Vec<Cause> {
    let mut causes = Vec::new();
    let Some(items) = list(node, "causes", reporter) else { return Cause::ALL.to_vec() };
    if items.is_empty() {
        reporter.error(node.span, "causes cannot be empty").help("leave the field out for all causes");
    }
    for item in items {
        let Some(cause) = word(item, "a cause", &CAUSES, reporter) else { continue };
        if causes.contains(&cause) {
            reporter.error(item.span, format!("the cause {cause:?} is here twice"));
        } else {
            causes.push(cause);
        }
    }
    // Where every cause was wrong, that is said already: no error about `exitCodes` on top.
    if causes.is_empty() { Cause::ALL.to_vec() } else { causes }
}

fn backoff(node: &Node, reporter: &mut Reporter) -> Backoff {
    let mut backoff = DEFAULT_BACKOFF;
    let Some(record) = BACKOFF.read(node, reporter) else { return backoff };
    if let Some(node) = record.get("duration", reporter) {
        backoff.duration = duration(node, "backoff.duration", true, reporter).unwrap_or_default();
    }
    if let Some(node) = record.get("factor", reporter) {
        backoff.factor_milli =
            thousandths(node, "backoff.factor", 1000..=1_000_000, reporter).unwrap_or(DEFAULT_BACKOFF.factor_milli);
    }
    if let Some(node) = record.get("cap", reporter) {
        backoff.cap = duration(node, "backoff.cap", false, reporter);
        if backoff.cap.is_some_and(|cap| cap < backoff.duration) {
            reporter
                .error(node.span, "backoff.cap is below backoff.duration")
                .help("the first wait is the shortest one");
        }
    }
    if let Some(node) = record.get("jitter", reporter) {
        backoff.jitter_milli = thousandths(node, "backoff.jitter", 0..=1000, reporter).unwrap_or_default();
    }
    backoff
}
