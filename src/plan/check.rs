//! The whole plan: its fields, the names in it, and what it becomes.
//!
//! Belongs here: the order of the questions. One pass reads everything that can be read, so that all errors come at once;
//! questions about the graph are asked only where the names are right.

use std::collections::HashMap;

use podturn_turn::{Condition, Dependency, Millis, OnFailure, Parameter, Plan, Pool, Step, StepId, Use};
use podturn_wire::names::is_container_name;

use super::diagnostic::{Diagnostics, Reporter, quote};
use super::durations::duration;
use super::facts::{
    ContainerFacts, Placement, PodFacts, RestartPolicy, TERMINATION_MESSAGE_PATH, TerminationMessagePolicy,
};
use super::fields::{Fields, Record, integer, unique, word, wrong};
use super::readiness::string;
use super::retry::for_ever;
use super::source::{Source, Span};
use super::steps::{Draft, chain, listed, step};
use super::yaml::{self, Node, Value};
use super::{ends, graph, names};

/// The most steps of a plan. A pod of the API server's size limit holds fewer containers.
pub(super) const STEPS_MAX: usize = 10_000;

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
    later: &[],
};

/// A plan without errors.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the core runs.
    pub plan: Plan,
    /// What will surprise.
    pub warnings: Diagnostics,
}

/// Reads and checks a plan.
///
/// # Errors
/// Everything that is wrong with it, warnings included. Never empty.
pub fn check(source: &Source, facts: &PodFacts) -> Result<Checked, Diagnostics> {
    let documents = yaml::parse(source)?;
    let mut reporter = Reporter::new(source.outer());
    let plan = read(&documents, source, facts, &mut reporter);
    let has_errors = reporter.has_errors();
    match plan {
        Some(plan) if !has_errors => Ok(Checked { plan, warnings: reporter.finish() }),
        _ => Err(reporter.finish()),
    }
}

fn read(documents: &[Node], source: &Source, facts: &PodFacts, reporter: &mut Reporter) -> Option<Plan> {
    let start = source.place(Span::empty(0));
    let [root] = documents else {
        if let Some(second) = documents.get(1) {
            reporter.error(Span::empty(second.span.start), "a plan is one document, and here begins a second one");
        } else {
            empty(start, reporter);
        }
        return None;
    };
    if root.is_null() {
        empty(start, reporter);
        return None;
    }
    if facts.restart_policy == RestartPolicy::OnFailure {
        let message = "restartPolicy OnFailure would run failed steps again behind podturn's back";
        let help = "write `restartPolicy: Never`, and `retry: { limit: N }` at the steps that may be tried again";
        reporter.error(start, message).help(help);
    }
    let mut plan = defaults(facts);
    let drafts = match &root.value {
        Value::Scalar(scalar) if scalar.text.trim() == "sequential" => sequential(root, facts, reporter)?,
        Value::Mapping(_) => {
            let record = PLAN.read(root, reporter)?;
            options(&record, &mut plan, facts, reporter);
            if !record.has("steps") {
                reporter.error(start, "a plan needs steps").help("add `steps:` with a map or a list of containers");
                return None;
            }
            warn_of_grace(&record, &plan, facts, reporter);
            drafts(record.get("steps", reporter)?, facts, reporter)?
        }
        Value::Sequence(_) => {
            reporter.error(Span::empty(root.span.start), "a plan is a map").help("write `steps:` before this list");
            return None;
        }
        Value::Scalar(scalar) => {
            let nearest = reporter.nearest(scalar.text.trim(), ["sequential"]);
            let diagnostic = wrong(root, "a plan", reporter).did_you_mean(nearest);
            diagnostic.help("write `sequential`, or a map with `steps:`");
            return None;
        }
    };
    resolve(drafts, &mut plan, facts, reporter)?;
    Some(plan)
}

fn empty(span: Span, reporter: &mut Reporter) {
    reporter.error(span, "the plan is empty").help("write `sequential`, or a map with `steps:`");
}

fn defaults(facts: &PodFacts) -> Plan {
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
pub(super) fn default_coordinator_grace(placement: Placement) -> Millis {
    match placement {
        Placement::Sidecar => 15 * 60_000,
        Placement::Container => 30_000,
    }
}

fn options(record: &Record<'_>, plan: &mut Plan, facts: &PodFacts, reporter: &mut Reporter) {
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

fn warn_of_grace(record: &Record<'_>, plan: &Plan, facts: &PodFacts, reporter: &mut Reporter) {
    let kubelet = facts.termination_grace_period_seconds.saturating_mul(1000);
    if record.has("gracePeriod") && plan.grace_period > kubelet {
        let seconds = facts.termination_grace_period_seconds;
        reporter.warning(record.key_span("gracePeriod"), "gracePeriod is longer than the pod's own grace period").help(
            format!("when the pod is deleted, the kubelet kills it after {seconds} s (terminationGracePeriodSeconds)"),
        );
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

fn drafts(node: &Node, facts: &PodFacts, reporter: &mut Reporter) -> Option<Vec<Draft>> {
    let drafts: Vec<Draft> = match &node.value {
        Value::Mapping(entries) => {
            unique(entries, reporter).into_iter().map(|entry| step(entry, facts, reporter)).collect()
        }
        Value::Sequence(items) => {
            let mut drafts = listed(items, reporter);
            if drafts.len() == items.len() {
                chain(&mut drafts);
            }
            drafts
        }
        Value::Scalar(scalar) if scalar.text.trim() == "sequential" => return sequential(node, facts, reporter),
        Value::Scalar(_) => {
            wrong(node, "steps", reporter).help("it is a map, a list of names, or `sequential`");
            return None;
        }
    };
    if drafts.is_empty() && !reporter.has_errors() {
        reporter.error(node.span, "a plan needs at least one step").help("name a container of the pod");
    }
    Some(drafts)
}

fn sequential(node: &Node, facts: &PodFacts, reporter: &mut Reporter) -> Option<Vec<Draft>> {
    if facts.containers.is_empty() {
        reporter
            .error(node.span, "`sequential` means all containers of the pod, and they are not known here")
            .help("name them: steps: [build, test]; `podturn inject` and `podturn run` see the pod and need no names");
        return None;
    }
    let mut drafts: Vec<Draft> =
        facts.containers.iter().map(|container| Draft::new(&container.name, node.span)).collect();
    chain(&mut drafts);
    Some(drafts)
}

/// Looks up every name, asks the questions about the graph, and fills `plan`.
fn resolve(drafts: Vec<Draft>, plan: &mut Plan, facts: &PodFacts, reporter: &mut Reporter) -> Option<()> {
    if drafts.len() > STEPS_MAX {
        reporter.error(drafts[STEPS_MAX].span, format!("a plan has at most {STEPS_MAX} steps"));
        return None;
    }
    let mut ids: HashMap<&str, StepId> = HashMap::with_capacity(drafts.len());
    for (id, draft) in (0..).map(StepId).zip(&drafts) {
        if ids.insert(&draft.name, id).is_some() {
            reporter.error(draft.span, format!("the step {} is here twice", quote(&draft.name)));
        }
    }
    let is_unambiguous = ids.len() == drafts.len();
    container_names(&drafts, facts, reporter);
    let edges: Vec<Vec<Edge>> = drafts.iter().map(|draft| edges(draft, &drafts, &ids, reporter)).collect();
    let pools: HashMap<&str, u32> = plan.pools.iter().map(|pool| pool.name.as_str()).zip(0..).collect();
    let uses: Vec<Vec<Use>> = drafts.iter().map(|draft| uses(draft, &plan.pools, &pools, reporter)).collect();
    if is_unambiguous {
        let is_acyclic = graph::check(&drafts, &edges, reporter);
        if is_acyclic {
            let known = names::Known { drafts: &drafts, ids: &ids, edges: &edges, parameters: &plan.parameters };
            names::check(&known, reporter);
            ends::check(&drafts, &edges, plan.long_running, reporter);
        }
        ends::check_pools(&drafts, &uses, &plan.pools, reporter);
    }
    let containers: HashMap<&str, &ContainerFacts> =
        facts.containers.iter().map(|container| (container.name.as_str(), container)).collect();
    let resolved = drafts.into_iter().zip(edges).zip(uses);
    plan.steps = resolved
        .map(|((draft, edges), uses)| {
            let container = containers.get(draft.name.as_str()).copied();
            finish(draft, &edges, uses, container, facts)
        })
        .collect();
    Some(())
}

/// The step as the core takes it, with what the pod says of its container.
fn finish(draft: Draft, edges: &[Edge], uses: Vec<Use>, container: Option<&ContainerFacts>, facts: &PodFacts) -> Step {
    let restarts = container.and_then(|container| container.restarts);
    let log = match container {
        None => TERMINATION_MESSAGE_PATH,
        Some(known) if known.termination_message_policy == TerminationMessagePolicy::File => {
            &known.termination_message_path
        }
        Some(_) => "",
    };
    let is_kept = draft.service && !draft.has_retry && facts.restart_policy == RestartPolicy::Always;
    Step {
        name: draft.name,
        depends_on: edges.iter().map(|edge| edge.dependency).collect(),
        retry: if is_kept { for_ever() } else { draft.retry },
        success_exit_codes: draft.success_exit_codes,
        timeout: draft.timeout,
        allow_failure: draft.allow_failure,
        finally: draft.finally,
        uses,
        stop_signal: draft.stop_signal,
        restarts: restarts.unwrap_or(facts.restart_policy == RestartPolicy::Always),
        // Longer than the wire allows: no line at all rather than a file at a cut path.
        termination_log: if log.len() <= podturn_wire::TERMINATION_LOG_MAX { log } else { "" }.to_owned(),
        service: draft.service,
        readiness: draft.readiness,
        when: draft.when.map(|(expression, _)| expression),
        approval: draft.approval,
    }
}

/// A dependency whose step exists, and its place.
pub(super) struct Edge {
    pub dependency: Dependency,
    pub span: Span,
}

fn container_names(drafts: &[Draft], facts: &PodFacts, reporter: &mut Reporter) {
    let containers: std::collections::HashSet<&str> =
        facts.containers.iter().map(|container| container.name.as_str()).collect();
    for draft in drafts {
        let name = draft.name.as_str();
        if !is_container_name(name) {
            reporter
                .error(draft.span, format!("{} cannot be the name of a container", quote(name)))
                .help("at most 63 lower-case letters, digits and dashes, with no dash at either end");
        } else if facts.init_containers.iter().any(|init| init == name) {
            reporter
                .error(draft.span, format!("the step {} names an init container", quote(name)))
                .help("init containers are over before the first turn: take it out, or make it an ordinary container");
        } else if !containers.is_empty() && !containers.contains(name) {
            let nearest = reporter.nearest(name, containers.iter().copied());
            let diagnostic = reporter.error(draft.span, format!("the pod has no container {}", quote(name)));
            match nearest {
                Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                None => {
                    let known = some_of(facts.containers.iter().map(|container| &container.name));
                    diagnostic.help(format!("its containers are {known}"))
                }
            };
        }
    }
}

/// The first names of a list that may be long.
fn some_of<'n>(names: impl ExactSizeIterator<Item = &'n String>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).map(|name| super::diagnostic::shorten(name)).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn edges(draft: &Draft, drafts: &[Draft], ids: &HashMap<&str, StepId>, reporter: &mut Reporter) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::with_capacity(draft.depends_on.len());
    let mut seen = std::collections::HashSet::with_capacity(draft.depends_on.len());
    let this = quote(&draft.name);
    for dependency in &draft.depends_on {
        let other = quote(&dependency.step);
        if dependency.step == draft.name {
            reporter.error(dependency.span, format!("step {this} depends on itself"));
            continue;
        }
        let Some(id) = ids.get(dependency.step.as_str()) else {
            let nearest = reporter.nearest(&dependency.step, drafts.iter().map(|draft| draft.name.as_str()));
            let message = format!("step {this} depends on {other}, which is not a step");
            let diagnostic = reporter.error(dependency.span, message);
            match nearest {
                Some(name) => diagnostic.did_you_mean(Some(name)),
                None => diagnostic.help(format!("the steps are {}", some_of(drafts.iter().map(|draft| &draft.name)))),
            };
            continue;
        };
        if !seen.insert(*id) {
            reporter
                .error(dependency.span, format!("step {this} depends on {other} twice"))
                .help("one condition a dependency: `Completed` waits for either end");
            continue;
        }
        if drafts[id.index()].finally && !draft.finally {
            reporter.error(dependency.span, format!("step {this} depends on {other}, a finally step")).help(format!(
                "a finally step waits for all others, so this is a circle: {0} -> {1} -> {0}",
                draft.name, dependency.step
            ));
            continue;
        }
        let service = drafts[id.index()].service;
        let condition = match dependency.condition {
            None | Some(Condition::Ready) if service => Condition::Ready,
            None | Some(Condition::Ready) => Condition::Succeeded, // a task is never ready but by succeeding
            Some(condition) => condition,
        };
        edges.push(Edge { dependency: Dependency { step: *id, condition }, span: dependency.span });
    }
    edges
}

fn uses(draft: &Draft, pools: &[Pool], indices: &HashMap<&str, u32>, reporter: &mut Reporter) -> Vec<Use> {
    let mut uses = Vec::with_capacity(draft.uses.len());
    for wanted in &draft.uses {
        let name = quote(&wanted.pool);
        let Some(pool) = indices.get(wanted.pool.as_str()) else {
            let nearest = reporter.nearest(&wanted.pool, indices.keys().copied());
            let message = format!("step {} uses {name}, which is not a pool of this plan", quote(&draft.name));
            let diagnostic = reporter.error(wanted.key_span, message).did_you_mean(nearest);
            if nearest.is_none() {
                diagnostic.help(format!("add it:  pools: {{ {}: UNITS }}", super::diagnostic::shorten(&wanted.pool)));
            }
            continue;
        };
        let capacity = pools[*pool as usize].capacity;
        if wanted.units > capacity {
            let message =
                format!("step {} uses {} of pool {name}, which has {capacity}", quote(&draft.name), wanted.units);
            reporter.error(wanted.span, message).label("it could never run");
            continue;
        }
        uses.push(Use { pool: *pool, units: wanted.units });
    }
    uses
}
