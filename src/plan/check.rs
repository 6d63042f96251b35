//! The whole plan: its steps, the names in it, and what it becomes.
//!
//! Belongs here: the order of the questions. One pass reads everything that can be read, so that all errors come at once;
//! questions about the graph are asked only where the names are right. Does not belong here: what one field may be.

use std::collections::HashMap;

use podturn_turn::{Plan, Step, StepId, Use};

use super::diagnostic::{Diagnostics, Reporter, quote};
use super::facts::{ContainerFacts, PodFacts, RestartPolicy, TERMINATION_MESSAGE_PATH, TerminationMessagePolicy};
use super::fields::{unique, wrong};
use super::links::{self, Edge, Names};
use super::matrix::{Instance, Matrix, matrix};
use super::retry::for_ever;
use super::settings::{PLAN, defaults, settings, warn_of_grace};
use super::source::{Source, Span};
use super::steps::{Draft, chain, listed, step};
use super::template::Keys;
use super::yaml::{self, COPIES_MAX, Entry, Node, Value};
use super::{ends, graph, names};

/// The most steps of a plan. A pod of the API server's size limit holds fewer containers.
pub(super) const STEPS_MAX: usize = 10_000;

/// A plan without errors.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the core runs, with the instances of matrices as steps.
    pub plan: Plan,
    /// The steps that have a matrix, in plan order.
    pub matrices: Vec<Matrix>,
    /// What will surprise.
    pub warnings: Diagnostics,
}

impl Checked {
    /// The instance that a step of the plan is, if it is one.
    #[must_use]
    pub fn instance(&self, step: &str) -> Option<&Instance> {
        self.matrices.iter().flat_map(|matrix| &matrix.instances).find(|instance| instance.name == step)
    }

    /// The name of a step in the plan as it was written, and of its container in the manifest: for an instance of a matrix, that
    /// of its pattern.
    #[must_use]
    pub fn pattern_of<'s>(&'s self, step: &'s str) -> &'s str {
        let is_its = |matrix: &&Matrix| matrix.instances.iter().any(|instance| instance.name == step);
        self.matrices.iter().find(is_its).map_or(step, |matrix| &matrix.step)
    }

    /// Whether a container of the manifest is a step's, or the pattern of a matrix.
    #[must_use]
    pub fn manages(&self, container: &str) -> bool {
        self.plan.steps.iter().any(|step| step.name == container)
            || self.matrices.iter().any(|matrix| matrix.step == container)
    }
}

/// Reads and checks a plan whose pod is not wired yet, or not known. For a plan in a manifest `Manifest::check` does this,
/// and looks at the containers too.
///
/// # Errors
/// Everything that is wrong with it, warnings included. Never empty.
pub fn check(source: &Source, facts: &PodFacts) -> Result<Checked, Diagnostics> {
    checked(source, facts, false)
}

/// Reads and checks the plan of a pod that is wired: its containers are what they are, so that a matrix is refused.
///
/// # Errors
/// As [`check`].
pub fn check_wired(source: &Source, facts: &PodFacts) -> Result<Checked, Diagnostics> {
    checked(source, facts, true)
}

fn checked(source: &Source, facts: &PodFacts, is_wired: bool) -> Result<Checked, Diagnostics> {
    let documents = yaml::parse(source)?;
    let mut reporter = Reporter::new(source.outer());
    let mut reading = Reading { facts, is_wired, matrices: Vec::new(), copied: 0 };
    let plan = read(&documents, source, &mut reading, &mut reporter);
    let has_errors = reporter.has_errors();
    match plan {
        Some(plan) if !has_errors => Ok(Checked { plan, matrices: reading.matrices, warnings: reporter.finish() }),
        _ => Err(reporter.finish()),
    }
}

/// What a plan is read with, and what its matrices are.
struct Reading<'f> {
    facts: &'f PodFacts,
    /// Nobody can make containers any more.
    is_wired: bool,
    matrices: Vec<Matrix>,
    /// Bytes of steps that were copied for instances.
    copied: usize,
}

fn read(documents: &[Node], source: &Source, reading: &mut Reading<'_>, reporter: &mut Reporter) -> Option<Plan> {
    let facts = reading.facts;
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
            settings(&record, &mut plan, facts, reporter);
            if !record.has("steps") {
                reporter.error(start, "a plan needs steps").help("add `steps:` with a map or a list of containers");
                return None;
            }
            warn_of_grace(&record, &plan, facts, reporter);
            drafts(record.get("steps", reporter)?, reading, reporter)?
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
    resolve(with_all_wired(drafts, root, facts), &mut plan, reading, reporter)?;
    Some(plan)
}

/// The steps, and one for each container that is wired though the plan does not name it.
fn with_all_wired(mut drafts: Vec<Draft>, root: &Node, facts: &PodFacts) -> Vec<Draft> {
    for container in facts.containers.iter().filter(|_| facts.all_wired) {
        if drafts.iter().all(|draft| draft.container != container.name) {
            drafts.push(Draft::new(&container.name, root.span));
        }
    }
    drafts
}

fn empty(span: Span, reporter: &mut Reporter) {
    reporter.error(span, "the plan is empty").help("write `sequential`, or a map with `steps:`");
}

fn drafts(node: &Node, reading: &mut Reading<'_>, reporter: &mut Reporter) -> Option<Vec<Draft>> {
    let drafts: Vec<Draft> = match &node.value {
        Value::Mapping(entries) => {
            unique(entries, reporter).into_iter().flat_map(|entry| reading.steps(entry, reporter)).collect()
        }
        Value::Sequence(items) => {
            let mut drafts = listed(items, reporter);
            if drafts.len() == items.len() {
                chain(&mut drafts);
            }
            drafts
        }
        Value::Scalar(scalar) if scalar.text.trim() == "sequential" => {
            return sequential(node, reading.facts, reporter);
        }
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

impl Reading<'_> {
    /// The step of an entry, or its instances.
    fn steps(&mut self, entry: &Entry, reporter: &mut Reporter) -> Vec<Draft> {
        let container = self.facts.container(&entry.key);
        let field = entry.value.entries().and_then(|fields| fields.iter().find(|field| field.key == "matrix"));
        let Some(field) = field else {
            Keys { step: &entry.key, keys: Vec::new() }.check(&entry.value, reporter);
            return vec![step(entry, container, reporter)];
        };
        let matrix = match self.is_wired {
            true => {
                reporter.error(field.key_span, "a matrix makes containers, and this pod's are already wired").help(
                    "write its steps and containers out, or leave the wiring to `podturn inject` or `podturn run`",
                );
                None
            }
            false => matrix(entry, field, reporter),
        };
        let Some(matrix) = matrix else { return vec![step(entry, container, reporter)] };
        // STEP.read sees copies without the field, and so no second one.
        unique(entry.value.entries().unwrap_or_default(), reporter);
        matrix.keys().check(&entry.value, reporter);
        let size = entry.value.size() - field.value.size();
        self.copied = self.copied.saturating_add(size.saturating_mul(matrix.instances.len()));
        if self.copied > COPIES_MAX {
            reporter.error(field.key_span, "matrices multiply this plan beyond any use");
            return Vec::new();
        }
        reporter.tell_once_within(Span { start: entry.key_span.start, end: entry.value.span.end });
        let instances = matrix.instances.iter().map(|instance| {
            let draft = step(&instance.step(entry), container, reporter);
            Draft { container: entry.key.clone(), ..draft }
        });
        let drafts = instances.collect();
        self.matrices.push(matrix);
        drafts
    }
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
fn resolve(drafts: Vec<Draft>, plan: &mut Plan, reading: &Reading<'_>, reporter: &mut Reporter) -> Option<()> {
    let facts = reading.facts;
    if drafts.len() > STEPS_MAX {
        reporter.error(drafts[STEPS_MAX].span, format!("a plan has at most {STEPS_MAX} steps"));
        return None;
    }
    let mut ids: HashMap<&str, StepId> = HashMap::with_capacity(drafts.len());
    for (id, draft) in (0..).map(StepId).zip(&drafts) {
        if let Some(before) = ids.insert(&draft.name, id) {
            links::same_name(&drafts[before.index()], draft, reporter);
        }
    }
    let is_unambiguous = ids.len() == drafts.len();
    links::container_names(&drafts, facts, reporter);
    let names = Names::new(&drafts, &ids, &reading.matrices);
    names.refuse_shadows(reporter);
    let edges = names.edges(reporter);
    if edges.len() < drafts.len() {
        return None;
    }
    let pools: HashMap<&str, u32> = plan.pools.iter().map(|pool| pool.name.as_str()).zip(0..).collect();
    let uses: Vec<Vec<Use>> = drafts.iter().map(|draft| links::uses(draft, &plan.pools, &pools, reporter)).collect();
    warn_of_approvals(&drafts, plan, reporter);
    let is_acyclic = is_unambiguous && graph::check(&drafts, &edges, reporter);
    if is_unambiguous {
        if is_acyclic {
            ends::check(&drafts, &edges, plan.long_running, reporter);
        }
        ends::check_pools(&drafts, &uses, &plan.pools, reporter);
    }
    let containers: HashMap<&str, &ContainerFacts> =
        facts.containers.iter().map(|container| (container.name.as_str(), container)).collect();
    let place = |(at, draft): (usize, &Draft)| draft.when.as_ref().map(|(_, span)| (at, *span));
    let whens: Vec<(usize, Span)> = drafts.iter().enumerate().filter_map(place).collect();
    let resolved = drafts.into_iter().zip(edges).zip(uses);
    plan.steps = resolved
        .map(|((draft, edges), uses)| {
            let container = containers.get(draft.container.as_str()).copied();
            finish(draft, &edges, uses, container, facts)
        })
        .collect();
    if is_acyclic {
        names::check(&names::Known::in_expressions(plan, &reading.matrices), &whens, reporter);
    }
    Some(())
}

/// The one wait without an end that podturn itself has. Only the plan's timeout counts while a step waits for a person: its own
/// begins with the attempt.
fn warn_of_approvals(drafts: &[Draft], plan: &Plan, reporter: &mut Reporter) {
    for draft in drafts {
        let Some((_, span)) = draft.approval.as_ref().filter(|_| plan.timeout.is_none() || draft.finally) else {
            continue;
        };
        let help = match draft.finally {
            true => "the plan's `timeout` does not cover finally steps: ask before the end, in a step of its own",
            false => "add `timeout: 24h` to the plan; a step's own `timeout` begins with its turn",
        };
        reporter
            .warning(*span, format!("step {} may wait for its approval for ever", quote(&draft.name)))
            .code("PT102")
            .about(&draft.container)
            .help(help);
    }
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
        restarts: restarts.unwrap_or(facts.restart_policy.of_containers()).as_step(),
        // Longer than the wire allows: no line at all rather than a file at a cut path.
        termination_log: if log.len() <= podturn_wire::TERMINATION_LOG_MAX { log } else { "" }.to_owned(),
        service: draft.service,
        readiness: draft.readiness,
        when: draft.when.map(|(expression, _)| expression),
        approval: draft.approval.map(|(message, _)| message),
    }
}
