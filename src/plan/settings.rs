//! What a plan says besides its steps: limits, pools, parameters, and what a failure does.
//!
//! Belongs here: what each of these fields may be, and its default. Does not belong here: the steps, and the order of the questions
//! (`check`).

use podturn_turn::{Millis, OnFailure, Parameter, Plan, Pool};

use super::diagnostic::{Reporter, quote};
use super::durations::duration;
use super::facts::{Placement, PodFacts, RestartPolicy};
use super::fields::{Fields, Record, integer, unique, word, wrong};
use super::readiness::string;
use super::yaml::Node;

/// Between stop signal and SIGKILL, by default.
pub(super) const DEFAULT_GRACE: Millis = 10_000;

/// How long a step that is due may be without its container, by default.
pub(super) const DEFAULT_ARRIVAL: Millis = 10 * 60_000;

/// What `onFailure` may be.
pub(super) const ON_FAILURE: [(&str, OnFailure); 4] = [
    ("Continue", OnFailure::Continue),
    ("Drain", OnFailure::Drain),
    ("Cancel", OnFailure::Cancel),
    ("Pause", OnFailure::Pause),
];

pub(super) const PLAN: Fields = Fields {
    what: "a plan",
    known: &[
        "steps",
        "maxParallel",
        "pools",
        "timeout",
        "onFailure",
        "gracePeriod",
        "arrivalTimeout",
        "coordinatorGrace",
        "pauseTimeout",
        "parameters",
    ],
};

/// A plan without steps, in which nothing else is said.
pub(super) fn defaults(facts: &PodFacts) -> Plan {
    Plan {
        steps: Vec::new(),
        max_parallel: None,
        pools: Vec::new(),
        timeout: None,
        on_failure: OnFailure::Continue,
        grace_period: DEFAULT_GRACE,
        arrival_timeout: DEFAULT_ARRIVAL,
        coordinator_grace: default_coordinator_grace(facts.placement),
        pause_timeout: None,
        long_running: facts.restart_policy == RestartPolicy::Always,
        parameters: Vec::new(),
    }
}

/// A sidecar comes back, and the kubelet's back-off for it goes up to 5 minutes; an ordinary container never does.
fn default_coordinator_grace(placement: Placement) -> Millis {
    match placement {
        Placement::Sidecar => 15 * 60_000,
        Placement::Container => 30_000,
    }
}

/// Reads all fields but the steps, each into its place.
pub(super) fn settings(record: &Record<'_>, plan: &mut Plan, facts: &PodFacts, reporter: &mut Reporter) {
    if let Some(node) = record.get("maxParallel", reporter) {
        plan.max_parallel = integer(node, "maxParallel", 1..=u32::MAX, reporter);
    }
    if let Some(node) = record.get("pools", reporter) {
        plan.pools = pools(node, reporter);
    }
    if let Some(node) = record.get("timeout", reporter) {
        plan.timeout = duration(node, "timeout", false, reporter);
    }
    if let Some(node) = record.get("onFailure", reporter) {
        plan.on_failure = word(node, "onFailure", &ON_FAILURE, reporter).unwrap_or(plan.on_failure);
    }
    let durations = [
        ("gracePeriod", true, &mut plan.grace_period),
        ("arrivalTimeout", false, &mut plan.arrival_timeout),
        ("coordinatorGrace", false, &mut plan.coordinator_grace),
    ];
    for (key, zero, field) in durations {
        if let Some(node) = record.get(key, reporter) {
            *field = duration(node, key, zero, reporter).unwrap_or(*field);
        }
    }
    if let Some(node) = record.get("pauseTimeout", reporter) {
        plan.pause_timeout = duration(node, "pauseTimeout", false, reporter);
    }
    if let Some(node) = record.get("parameters", reporter) {
        plan.parameters = parameters(node, facts, reporter);
    }
    pause(record, plan, reporter);
}

/// A failure must not wait for a person for ever.
fn pause(record: &Record<'_>, plan: &Plan, reporter: &mut Reporter) {
    match plan.on_failure {
        OnFailure::Pause if !record.has("timeout") && !record.has("pauseTimeout") => {
            reporter
                .error(
                    record.key_span("onFailure"),
                    "with `onFailure: Pause` a failure could wait for a person for ever",
                )
                .help("add `pauseTimeout: 2h`, or a `timeout` for the plan");
        }
        OnFailure::Pause => {}
        OnFailure::Continue | OnFailure::Drain | OnFailure::Cancel if record.has("pauseTimeout") => {
            reporter
                .error(record.key_span("pauseTimeout"), "nothing waits for a person here")
                .help("pauseTimeout goes with `onFailure: Pause`");
        }
        OnFailure::Continue | OnFailure::Drain | OnFailure::Cancel => {}
    }
}

/// Names and their defaults; a value in the pod's facts comes before a default.
fn parameters(node: &Node, facts: &PodFacts, reporter: &mut Reporter) -> Vec<Parameter> {
    let Some(entries) = node.entries() else {
        wrong(node, "parameters", reporter).help("it is a map: write { NAME: DEFAULT }");
        return Vec::new();
    };
    let mut parameters = Vec::with_capacity(entries.len());
    for entry in unique(entries, reporter) {
        let name = &entry.key;
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if !is_name || name.is_empty() {
            reporter
                .error(entry.key_span, format!("{} cannot be the name of a parameter", quote(name)))
                .help("it is the name of an environment variable: letters, digits and underscores");
            continue;
        }
        let default = match entry.value.is_null() {
            true => Some(String::new()),
            false => string(&entry.value, "a parameter's default", reporter),
        };
        let given = facts.parameters.get(name).cloned();
        parameters.extend(given.or(default).map(|value| Parameter { name: name.clone(), value }));
    }
    parameters
}

/// A grace that the kubelet would cut short.
pub(super) fn warn_of_grace(record: &Record<'_>, plan: &Plan, facts: &PodFacts, reporter: &mut Reporter) {
    let kubelet = facts.termination_grace_period_seconds.saturating_mul(1000);
    if record.has("gracePeriod") && plan.grace_period > kubelet {
        let seconds = facts.termination_grace_period_seconds;
        reporter
            .warning(record.key_span("gracePeriod"), "gracePeriod is longer than the pod's own grace period")
            .code("PT206")
            .help(format!(
                "when the pod is deleted, the kubelet kills it after {seconds} s (terminationGracePeriodSeconds)"
            ));
    }
}

fn pools(node: &Node, reporter: &mut Reporter) -> Vec<Pool> {
    let Some(entries) = node.entries() else {
        wrong(node, "pools", reporter).help("it is a map of capacities: write { NAME: UNITS }");
        return Vec::new();
    };
    let mut pools = Vec::with_capacity(entries.len());
    for entry in unique(entries, reporter) {
        let what = format!("the capacity of pool {}", quote(&entry.key));
        // A wrong capacity still makes a pool, so that its users are not called wrong too.
        let capacity = integer(&entry.value, &what, 1..=u32::MAX, reporter).unwrap_or(u32::MAX);
        pools.push(Pool { name: entry.key.clone(), capacity });
    }
    pools
}
