//! A run as metrics, in Prometheus' text format and in OpenMetrics.
//!
//! Belongs here: which metrics there are, and their values. Does not belong here: what happened (`history`), who asks for them and how often.
//!
//! Metrics are for what is compared over time and between runs, so each has a bounded number of series: a step's name, a phase and a
//! pool may be labels; a message, an output or the number of an attempt may not. What one run was in detail is on the page.

use std::collections::BTreeMap;
use std::sync::Arc;

use podturn_turn::{Impossible, Kind, Outcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge, Info};
use prometheus_client::registry::{Registry, Unit};

use super::signs::PHASES;
use crate::history::{History, Record, Span, StepHistory, What};
use crate::volume::published::{Pool, Step};

/// `Content-Type` of [`Metrics::openmetrics`].
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `Content-Type` of [`Metrics::prometheus`].
pub const PROMETHEUS: &str = prometheus_text::CONTENT_TYPE;

/// What stands before every name.
const PREFIX: &str = "podturn";

const OUTCOMES: [Outcome; 3] = [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled];

/// What all values are made from.
#[derive(Debug)]
struct Seen {
    history: Arc<History>,
    /// When the first coordinator started: ms since 1970.
    started: Option<i64>,
    /// Coordinators that took over.
    restarts: u64,
}

/// Of each series, the values of its family's labels, and its own.
type Samples = Vec<(Vec<String>, f64)>;

/// One metric, and all of its series.
struct Family {
    /// Without prefix, unit, `_total` and `_info`, which the format adds.
    name: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Seen) -> Samples,
}

const fn family(
    name: &'static str,
    unit: Option<Unit>,
    kind: MetricType,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Seen) -> Samples,
) -> Family {
    Family { name, unit, kind, labels, help, samples }
}

const SECONDS: Option<Unit> = Some(Unit::Seconds);
const BYTES: Option<Unit> = Some(Unit::Bytes);

/// Every metric. `docs/operations.md` shows this table, and a test holds it to it.
static FAMILIES: &[Family] = &[
    family("run", None, Info, &["run", "version"], "The run, and the version of podturn that tells of it.", |seen| {
        vec![(vec![seen.history.state.run.clone(), env!("CARGO_PKG_VERSION").to_owned()], 1.0)]
    }),
    family("run_start_timestamp", SECONDS, Gauge, &[], "When the run began, since 1970.", |seen| {
        whole(seen.started.map(|ms| ms as f64 / 1e3))
    }),
    family("run_duration", SECONDS, Gauge, &[], "How long the run has taken, to its end or to now.", |seen| {
        whole(Some(in_seconds(seen.history.end)))
    }),
    family(
        "outcome",
        None,
        Gauge,
        &["outcome"],
        "1 for the outcome that the plan has ended with, 0 for the others; all 0 while it runs.",
        |seen| {
            let has_ended = |outcome: &str| seen.history.state.outcome.as_deref() == Some(outcome);
            set(OUTCOMES.map(|outcome| format!("{outcome:?}")), has_ended)
                .map(|(word, value)| (vec![word], value))
                .collect()
        },
    ),
    family("paused", None, Gauge, &[], "1 while a person has paused the plan.", |seen| {
        whole(Some(f64::from(u8::from(seen.history.state.paused))))
    }),
    family("events", None, Counter, &[], "Events in the journal.", |seen| whole(Some(seen.history.state.seq as f64))),
    family("coordinator_restarts", None, Counter, &[], "Coordinators that took over from one that had gone.", |seen| {
        whole(Some(seen.restarts as f64))
    }),
    family(
        "waiting",
        SECONDS,
        Gauge,
        &["waits_for"],
        "How long steps have waited in all, by what for. Handoff is podturn's own time.",
        waits,
    ),
    family("pool_units", None, Gauge, &["pool"], "Units of a pool.", |seen| pools(seen, |pool| pool.capacity)),
    family("pool_units_in_use", None, Gauge, &["pool"], "Units of a pool that steps hold.", |seen| {
        pools(seen, |pool| pool.in_use)
    }),
    family(
        "step_phase",
        None,
        Gauge,
        &["step", "phase"],
        "1 for the phase that a step is in, 0 for the others.",
        |seen| {
            let steps = seen.history.state.steps.iter();
            steps.flat_map(phases).collect()
        },
    ),
    family("step_attempts", None, Counter, &["step"], "Attempts that were begun.", |seen| {
        each(seen, |_, step| Some(step.attempts.len() as f64))
    }),
    family(
        "step_attempt_duration",
        SECONDS,
        Gauge,
        &["step"],
        "How long the newest attempt has run, to its end or to now. Absent until there is one.",
        |seen| each(seen, |_, step| newest_attempt(step).map(in_seconds)),
    ),
    family("step_waiting", SECONDS, Gauge, &["step"], "How long a step has not run: all but its attempts.", |seen| {
        each(seen, |_, step| Some(in_seconds(step.spans.iter().filter(|span| !runs(span)).map(Span::length).sum())))
    }),
    family(
        "step_cpu",
        SECONDS,
        Counter,
        &["step"],
        "Processor time of the attempts that have ended, user and system.",
        |seen| {
            each(seen, |step, _| {
                let ms = step.attempts.iter().filter_map(|attempt| attempt.cpu_ms).fold(0, u64::saturating_add);
                Some(ms as f64 / 1e3)
            })
        },
    ),
    family(
        "step_memory_peak",
        BYTES,
        Gauge,
        &["step"],
        "The largest resident set of one process in an attempt that has ended. Absent until one has.",
        |seen| {
            each(seen, |step, _| {
                let kib = step.attempts.iter().filter_map(|attempt| attempt.max_rss_kib).max()?;
                Some(kib as f64 * 1024.0)
            })
        },
    ),
    family(
        "step_exit_code",
        None,
        Gauge,
        &["step"],
        "The exit code of the last attempt, 128 + n for a signal n. Absent if there is none.",
        |seen| each(seen, |step, _| step.exit_code.map(f64::from)),
    ),
];

fn whole(value: Option<f64>) -> Samples {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

fn each(seen: &Seen, value: impl Fn(&Step, &StepHistory) -> Option<f64>) -> Samples {
    let steps = seen.history.state.steps.iter().zip(&seen.history.steps);
    steps.filter_map(|(step, history)| Some((vec![step.name.clone()], value(step, history)?))).collect()
}

/// One series for each word, of which one at most is 1: what OpenMetrics calls a state set.
fn set<const N: usize>(words: [String; N], is: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, f64)> {
    words.into_iter().map(move |word| {
        let value = f64::from(u8::from(is(&word)));
        (word, value)
    })
}

fn phases(step: &Step) -> impl Iterator<Item = (Vec<String>, f64)> {
    let series = set(PHASES.map(str::to_owned), |phase| step.phase == phase);
    series.map(|(phase, value)| (vec![step.name.clone(), phase], value))
}

fn pools(seen: &Seen, value: fn(&Pool) -> u32) -> Samples {
    let pools = seen.history.state.pools.iter();
    pools.map(|pool| (vec![pool.name.clone()], f64::from(value(pool)))).collect()
}

fn waits(seen: &Seen) -> Samples {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (what, length) in seen.history.waits() {
        let sum = sums.entry(word(what)).or_default();
        *sum = sum.saturating_add(length);
    }
    sums.into_iter().map(|(what, length)| (vec![what.to_owned()], in_seconds(length))).collect()
}

/// As `waitsFor` of the published state says it.
const fn word(what: What) -> &'static str {
    match what {
        What::Attempt(_) => "Attempt",
        What::Dependencies => "Dependencies",
        What::Others => "Others",
        What::When => "When",
        What::Approval => "Approval",
        What::Container => "Container",
        What::Slot(_) | What::Pool(..) => "Slot",
        What::Backoff => "Backoff",
        What::Decision => "Decision",
        What::Hold => "Hold",
        What::Handoff => "Handoff",
    }
}

const fn runs(span: &Span) -> bool {
    matches!(span.what, What::Attempt(_))
}

fn newest_attempt(step: &StepHistory) -> Option<u64> {
    let newest = step.attempts.len().checked_sub(1)?;
    Some(step.spans.iter().filter(|span| span.what == What::Attempt(newest)).map(Span::length).sum())
}

fn in_seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for family in FAMILIES {
            let samples = (family.samples)(self);
            if samples.is_empty() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            for (values, value) in &samples {
                debug_assert_eq!(values.len(), family.labels.len(), "{}", family.name);
                let labels: Vec<(&str, &str)> =
                    family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
                match family.kind {
                    Info => metric.encode_info(&labels)?,
                    Counter if labels.is_empty() => metric.encode_counter::<NoLabelSet, f64, f64>(value, None)?,
                    Counter => metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(value, None)?,
                    _ if labels.is_empty() => metric.encode_gauge(value)?,
                    _ => metric.encode_family(&labels)?.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

/// The metrics of a run at one moment.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

/// The metrics of a run.
///
/// # Errors
/// When the record is damaged.
pub fn metrics(record: &Record) -> Result<Metrics, Impossible> {
    Ok(of(record, Arc::new(History::of(record)?)))
}

/// The same, where the record's history is known already.
#[must_use]
pub fn of(record: &Record, history: Arc<History>) -> Metrics {
    let starts = record.events.iter().filter(|event| matches!(event.kind, Kind::CoordinatorStarted { .. })).count();
    let restarts = starts.saturating_sub(1) as u64;
    let seen = Seen { history, started: record.started, restarts };
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(seen));
    Metrics { registry }
}

impl Metrics {
    /// As [`OPENMETRICS`].
    #[must_use]
    pub fn openmetrics(&self) -> String {
        written(|to| text::encode(to, &self.registry))
    }

    /// As [`PROMETHEUS`].
    #[must_use]
    pub fn prometheus(&self) -> String {
        written(|to| prometheus_text::encode(to, &self.registry))
    }
}

/// Writing to a string does not fail.
fn written(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut text = String::new();
    let _ = write(&mut text);
    text
}

#[cfg(test)]
mod tests;
