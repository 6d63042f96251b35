//! One small run as metrics, the table of the documentation, and the bound on series.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use podturn_turn::{Event, Kind, Plan, StepId};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};
use prometheus_client::metrics::MetricType::{Counter, Gauge, Info};

use super::{FAMILIES, Family, PREFIX, metrics};
use crate::history::Record;
use crate::plan::{PodFacts, Source, check};

const SECOND: u64 = 1_000_000_000;

/// What `docs/operations.md` promises: no more series than so many.
const SERIES: [(&str, usize); 3] = [("step", 20), ("pool", 2), ("run", 25)];

/// A run that began at 1,000 s: `build` took from its second 2 to 3, the coordinator was replaced at 5, and `test` has run since 7;
/// now it is 9.
fn record(plan: &str) -> Record {
    let source = Source::file("plan.yaml".to_owned(), plan.to_owned());
    let plan: Plan = check(&source, &PodFacts::default()).expect("the plan is right").plan;
    let (build, test) = (StepId(0), StepId(1));
    let (instance, references) = (InstanceId(9), Vec::new);
    let usage = Usage { cpu: 1_500, max_rss: 2_048 };
    let ended = Ended { at: 3 * SECOND, exit: Exit::Code(0), timed_out: false, usage };
    let kinds = [
        (1, Kind::CoordinatorStarted { rebooted: false }),
        (1, Kind::Arrived { step: build, instance, report: 1, last: None, references: references() }),
        (2, Kind::Begun { step: build, instance, report: 2, attempt: 1, started_at: 2 * SECOND }),
        (3, Kind::Ended { step: build, instance, report: 3, attempt: 1, started_at: 2 * SECOND, ended }),
        (5, Kind::CoordinatorStarted { rebooted: false }),
        (6, Kind::Arrived { step: test, instance, report: 1, last: None, references: references() }),
        (7, Kind::Begun { step: test, instance, report: 2, attempt: 1, started_at: 7 * SECOND }),
    ];
    let events = kinds.into_iter().zip(1..).map(|((at, kind), seq)| Event { seq, at: at * SECOND, kind });
    Record {
        run: RunId(0xab),
        plan,
        events: events.collect(),
        started: Some(1_000_000),
        usage: Vec::new(),
        resources: Default::default(),
        until: Some(9 * SECOND),
        is_rehearsal: false,
    }
}

const PLAN: &str = "\
pools: { licences: 3 }
steps:
  build: {}
  test: { dependsOn: [build], uses: { licences: 2 } }
";

/// Both forms, without what is said of each metric, and without the phases that a step is not in.
fn values(text: &str) -> Vec<&str> {
    let is_left_out = |line: &str| line.starts_with('#') || (line.contains("phase=") && line.ends_with(" 0.0"));
    text.lines().filter(|line| !is_left_out(line)).collect()
}

#[test]
fn a_run_as_metrics() {
    let metrics = metrics(&record(PLAN)).expect("the record is sound");
    let version = env!("CARGO_PKG_VERSION");
    let run = format!("podturn_run_info{{run=\"00000000000000ab\",version=\"{version}\"}} 1");
    let expected = [
        run.as_str(),
        "podturn_run_start_timestamp_seconds 1000.0",
        "podturn_run_duration_seconds 8.0",
        "podturn_outcome{outcome=\"Succeeded\"} 0.0",
        "podturn_outcome{outcome=\"Failed\"} 0.0",
        "podturn_outcome{outcome=\"Cancelled\"} 0.0",
        "podturn_paused 0.0",
        "podturn_events_total 7.0",
        "podturn_coordinator_restarts_total 1.0",
        "podturn_waiting_seconds{waits_for=\"Container\"} 3.0",
        "podturn_waiting_seconds{waits_for=\"Dependencies\"} 2.0",
        "podturn_waiting_seconds{waits_for=\"Handoff\"} 2.0",
        "podturn_pool_units{pool=\"licences\"} 3.0",
        "podturn_pool_units_in_use{pool=\"licences\"} 2.0",
        "podturn_step_phase{step=\"build\",phase=\"Succeeded\"} 1.0",
        "podturn_step_phase{step=\"test\",phase=\"Running\"} 1.0",
        "podturn_step_attempts_total{step=\"build\"} 1.0",
        "podturn_step_attempts_total{step=\"test\"} 1.0",
        "podturn_step_attempt_duration_seconds{step=\"build\"} 1.0",
        "podturn_step_attempt_duration_seconds{step=\"test\"} 2.0",
        "podturn_step_waiting_seconds{step=\"build\"} 1.0",
        "podturn_step_waiting_seconds{step=\"test\"} 6.0",
        "podturn_step_cpu_seconds_total{step=\"build\"} 1.5",
        "podturn_step_cpu_seconds_total{step=\"test\"} 0.0",
        "podturn_step_memory_peak_bytes{step=\"build\"} 2097152.0",
        "podturn_step_exit_code{step=\"build\"} 0.0",
    ];
    let (openmetrics, prometheus) = (metrics.openmetrics(), metrics.prometheus());
    assert_eq!(values(&openmetrics), expected, "OpenMetrics");
    assert_eq!(values(&prometheus), expected, "Prometheus' text format");
    assert!(openmetrics.ends_with("\n# EOF\n") && !prometheus.contains("# EOF"), "only one form says where it ends");
    assert!(openmetrics.contains("# UNIT podturn_step_cpu_seconds seconds\n"), "{openmetrics}");
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let mut record = record(PLAN);
    record.plan.steps[0].name = "a\"} 1\nb\\".to_owned();
    let text = metrics(&record).expect("the record is sound").prometheus();
    assert!(text.contains("podturn_step_cpu_seconds_total{step=\"a\\\"} 1\\nb\\\\\"} 1.5\n"), "{text}");
}

/// As a scraper knows it.
fn full_name(family: &Family) -> String {
    let unit = family.unit.as_ref().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
    let end = match family.kind {
        Counter => "_total",
        Info => "_info",
        _ => "",
    };
    format!("{PREFIX}_{}{unit}{end}", family.name)
}

#[test]
fn the_documentation_has_every_metric() {
    let mut table = "| metric | kind | labels | |\n| --- | --- | --- | --- |\n".to_owned();
    for family in FAMILIES {
        let kind = match family.kind {
            Counter => "counter",
            Gauge => "gauge",
            Info => "info",
            other => panic!("a kind that has no word here: {other:?}"),
        };
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(table, "| `{}` | {kind} | {} | {} |", full_name(family), labels.join(", "), family.help);
    }
    let page = include_str!("../../../docs/operations.md");
    assert!(page.contains(&table), "docs/operations.md should have this table:\n{table}");
}

#[test]
fn a_metric_has_the_labels_that_are_documented() {
    let text = metrics(&record(PLAN)).expect("the record is sound").prometheus();
    for family in FAMILIES {
        let name = full_name(family);
        let line = text.lines().find(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let line = line.unwrap_or_else(|| panic!("{name} is in no answer:\n{text}"));
        let labels: Vec<&str> = line.split('"').step_by(2).filter_map(|part| part.strip_suffix('=')).collect();
        let labels: Vec<&str> = labels.into_iter().filter_map(|part| part.rsplit(['{', ',']).next()).collect();
        assert_eq!(labels, family.labels, "{line}");
    }
}

#[test]
fn the_number_of_series_is_bounded() {
    let text = metrics(&record(PLAN)).expect("the record is sound").prometheus();
    let mut counts = BTreeMap::<&str, usize>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let whose = if line.contains("pool=") {
            "pool"
        } else if line.contains("step=") {
            if !line.contains("\"build\"") {
                continue; // one of them is counted: one that has ended has them all
            }
            "step"
        } else {
            "run"
        };
        *counts.entry(whose).or_default() += 1;
    }
    for (whose, most) in SERIES {
        assert!(counts[whose] <= most, "{whose}: {}", counts[whose]);
    }
    let steps = 1_000;
    let mut large = PLAN.to_owned();
    for step in 2..steps {
        let _ = writeln!(large, "  s{step}: {{ dependsOn: [build] }}");
    }
    let text = metrics(&record(&large)).expect("the record is sound").prometheus();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    let [step, pool, run] = SERIES.map(|(_, most)| most);
    assert!(series <= steps * step + pool + run, "{series}");
}
