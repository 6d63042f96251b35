//! A plan as a JobSet: one replicated Job a step, one `dependsOn` an edge.
//!
//! The facts are from JobSet's own documentation and code, version 0.12: api/jobset/v1alpha2/jobset_types.go,
//! pkg/webhooks/jobset_webhook.go (a Job depends on Jobs before it in the list, the first one on none; at most five), and
//! pkg/controllers/depends_on.go (`Complete`: all succeeded; `Ready`: ready, succeeded or failed).
//!
//! Belongs here: what a JobSet has. Does not belong here: what is the same for all engines (`flow`, `containers`, `volumes`).

use podturn_turn::{Condition, OnFailure, Step};
use serde_json::{Map as Json, Value, json};

use super::containers::{OUTPUTS, Words, container, kept};
use super::flow::{ALONE, Flow, Unit, seconds};
use super::gaps::Spot;
use super::page::{Map, Piece};
use super::references::Reference;
use super::volumes::{Volumes, divided};
use crate::inject::to_json;
use crate::plan::DEFAULT_STOP_SIGNAL;
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;

/// How many Jobs one may wait for.
const DEPENDS_MAX: usize = 5;

/// The pod's fields that each step's pod cannot have.
const NOT_KEPT: [&str; 6] =
    ["containers", "initContainers", "ephemeralContainers", "volumes", "restartPolicy", "activeDeadlineSeconds"];

/// The JobSet.
pub(super) fn job_set(flow: &mut Flow<'_>) -> Map {
    let volumes = divided(flow);
    plan_gaps(flow);
    let order = ordered(flow);
    let mut jobs: Vec<Piece> = Vec::new();
    for unit in &order {
        jobs.push(replicated(flow, unit, &volumes).into());
    }
    let mut spec = Map::default();
    if flow.plan().steps.iter().any(|step| step.service) {
        let is_task = |unit: &&Unit| !flow.step_of(unit).is_some_and(|step| step.service);
        let tasks: Vec<&str> = order.iter().filter(is_task).map(|unit| unit.name.as_str()).collect();
        spec.remark(["The services are stopped when all tasks have succeeded.".to_owned()]);
        spec.put("successPolicy", json!({ "operator": "All", "targetReplicatedJobs": tasks }));
    }
    spec.put_some("suspend", flow.is_suspended().then_some(Piece::Value(true.into())));
    if let Some(ttl) = flow.job_number("ttlSecondsAfterFinished") {
        spec.put("ttlSecondsAfterFinished", Piece::Value(ttl.into()));
    }
    if !volumes.claims.is_empty() {
        spec.put("volumeClaimPolicies", json!([{ "templates": volumes.claims }]));
    }
    spec.put("replicatedJobs", jobs);
    let mut page = Map::default();
    page.remark([format!("Made by `podturn export --to jobset` of {} {}.", flow.manifest.kind, flow.manifest.name)]);
    page.remark(flow.gaps.remarks(&Spot::Head));
    page.put("apiVersion", "jobset.x-k8s.io/v1alpha2").put("kind", "JobSet");
    let mut metadata = Map::default();
    metadata.put("name", flow.manifest.name.clone());
    let own = flow.manifest.object.get("metadata");
    metadata.put_some("namespace", own.and_then(|own| own.get("namespace")).map(to_json));
    for (key, value) in own.map(kept).unwrap_or_default() {
        metadata.put(&key, value);
    }
    page.put("metadata", metadata).put("spec", spec);
    page
}

/// Each unit behind those that it waits for: a JobSet knows no Job that comes later in its list.
fn ordered(flow: &Flow<'_>) -> Vec<Unit> {
    let mut done: Vec<Unit> = Vec::new();
    let mut left: Vec<_> = flow.units.iter().map(|unit| (unit.clone(), waited_for(flow, unit))).collect();
    // A checked plan has no cycle, so each round takes one at least.
    while !left.is_empty() {
        let is_done = |name: &String| done.iter().any(|known| known.name == *name);
        let at = left.iter().position(|(_, waits)| waits.iter().all(|(name, _)| is_done(name))).unwrap_or(0);
        done.push(left.remove(at).0);
    }
    done
}

fn replicated(flow: &mut Flow<'_>, unit: &Unit, volumes: &Volumes) -> Map {
    let depends = depends(flow, unit);
    let step = flow.step_of(unit);
    if let Some(step) = step {
        step_gaps(flow, unit, step);
    }
    let mut words = JobSetWords {
        parameters: flow.plan().parameters.iter().map(|known| (known.name.clone(), known.value.clone())).collect(),
        set: flow.manifest.name.clone(),
    };
    let mut body = Json::from_iter([("name".to_owned(), Value::from(unit.name.as_str()))]);
    body.extend(container(flow, unit, &mut words));
    let mut pod = Map::default();
    pod.put("restartPolicy", "Never");
    for entry in flow.manifest.spec.entries().unwrap_or_default() {
        if !NOT_KEPT.contains(&entry.key.as_str()) && !ALONE.iter().any(|(alone, _)| *alone == entry.key) {
            pod.put(&entry.key, to_json(&entry.value));
        }
    }
    let mut all: Vec<Value> = volumes.common.iter().filter(|volume| mounts(&body, volume)).cloned().collect();
    all.extend(volumes.of(&unit.name));
    if flow.has_outputs(unit) {
        all.push(json!({ "name": "podturn-outputs", "emptyDir": {} }));
        let message = format!("step {} leaves outputs, which nobody hands on ({OUTPUTS})", quote(&unit.name));
        let place = Flow::place(unit, "args");
        flow.gaps.add(Spot::Step(unit.name.clone()), place, message, "hand it on by a volume");
    }
    pod.put_full("volumes", all.into_iter().map(Piece::from).collect::<Vec<_>>());
    pod.put("containers", vec![Piece::from(Value::Object(body))]);
    let mut template = Map::default();
    let metadata = kept(&flow.manifest.metadata);
    if flow.manifest.kind != "Pod" && !metadata.is_empty() {
        template.put("metadata", Value::Object(metadata));
    }
    template.put("spec", pod);
    let mut job = Map::default();
    job.put("parallelism", number(1)).put("completions", number(1));
    job.put("backoffLimit", number(step.map_or(0, |step| step.retry.limit.into())));
    job.put_some("activeDeadlineSeconds", step.and_then(|step| step.timeout).map(|limit| number(seconds(limit))));
    job.put("template", template);
    let mut outer = Map::default();
    outer.put("spec", job);
    let mut map = Map::default();
    map.put("name", unit.name.clone());
    map.remark(flow.gaps.remarks(&Spot::Step(unit.name.clone())));
    map.put_full("dependsOn", depends).put("template", outer);
    map
}

fn number(value: u64) -> Piece {
    Piece::Value(value.into())
}

/// Whether a container mounts a volume.
fn mounts(body: &Json<String, Value>, volume: &Value) -> bool {
    ["volumeMounts", "volumeDevices"].iter().any(|list| {
        let mounts = body.get(*list).and_then(Value::as_array);
        mounts.is_some_and(|mounts| mounts.iter().any(|mount| mount["name"] == volume["name"]))
    })
}

fn depends(flow: &mut Flow<'_>, unit: &Unit) -> Vec<Piece> {
    let mut list = Vec::new();
    for (name, condition) in waited_for(flow, unit) {
        let on = flow.unit(&name).and_then(|on| flow.step_of(on));
        let is_service = on.is_some_and(|on| on.service);
        let status = match condition {
            Condition::Succeeded if !is_service => Some("Complete"),
            Condition::Ready => Some(if is_service { "Ready" } else { "Complete" }),
            Condition::Started if is_service && on.is_some_and(|on| on.readiness.is_none()) => Some("Ready"),
            _ => None,
        };
        match status {
            Some(status) => list.push(json!({ "name": name, "status": status }).into()),
            None => {
                let message = format!(
                    "step {} waits for {}: {condition:?}, and a JobSet knows Ready and Complete alone",
                    quote(&unit.name),
                    quote(&name)
                );
                flow.step_gap(unit, "dependsOn", message, "export it to Argo").instead("it does not wait for that");
            }
        }
    }
    if list.len() > DEPENDS_MAX {
        let message = format!("step {} waits for {} others, and five are the most", quote(&unit.name), list.len());
        flow.step_gap(unit, "dependsOn", message, "put a step between them");
        list.truncate(DEPENDS_MAX);
    }
    list
}

/// What a unit waits for here: a finally step first for the tasks that all others lead to.
fn waited_for(flow: &Flow<'_>, unit: &Unit) -> Vec<(String, Condition)> {
    let mut all: Vec<(String, Condition)> = Vec::new();
    if flow.step_of(unit).is_some_and(|step| step.finally) {
        all.extend(ends(flow).into_iter().map(|name| (name, Condition::Succeeded)));
    }
    for dependency in flow.dependencies(unit) {
        if all.iter().all(|(name, _)| *name != dependency.0) {
            all.push(dependency);
        }
    }
    all
}

/// The tasks that nobody but finally steps waits for.
fn ends(flow: &Flow<'_>) -> Vec<String> {
    let is_main = |unit: &&Unit| !flow.step_of(unit).is_some_and(|step| step.finally);
    let main: Vec<&Unit> = flow.units.iter().filter(is_main).collect();
    let waited: Vec<String> = main.iter().flat_map(|unit| flow.dependencies(unit)).map(|(name, _)| name).collect();
    let is_end = |unit: &&&Unit| !flow.step_of(unit).is_some_and(|step| step.service) && !waited.contains(&unit.name);
    main.iter().filter(is_end).map(|unit| unit.name.clone()).collect()
}

/// What the plan as a whole says, and a JobSet cannot.
fn plan_gaps(flow: &mut Flow<'_>) {
    let plan = flow.plan();
    if plan.on_failure != OnFailure::Cancel && flow.has_branches() {
        let message =
            format!("`onFailure: {:?}`: a JobSet ends everything once a Job of it has failed", plan.on_failure);
        flow.plan_gap("onFailure", message, "write `onFailure: Cancel`");
    }
    for (field, is_there) in [
        ("timeout", plan.timeout.is_some()),
        ("maxParallel", plan.max_parallel.is_some()),
        ("pools", !plan.pools.is_empty()),
    ] {
        if is_there {
            let message = format!("`{field}` of the plan: a JobSet has none");
            flow.plan_gap(field, message, "export it to Argo, or leave it out");
        }
    }
    if let Some(place) = flow.job_field("activeDeadlineSeconds").map(Node::place) {
        let message = "activeDeadlineSeconds of the Job: a JobSet has none for all of it";
        flow.gaps.add(Spot::Head, place, message, "give the steps a `timeout`");
    }
}

/// What a step says, and a Job cannot.
fn step_gaps(flow: &mut Flow<'_>, unit: &Unit, step: &Step) {
    let name = quote(&unit.name);
    let has_backoff = step.retry.limit > 0 && step.retry.backoff.duration > 0;
    let has_codes = step.success_exit_codes != [0];
    let is_narrow = step.retry.limit > 0
        && (step.retry.causes.len() < podturn_turn::Cause::ALL.len() || !step.retry.exit_codes.is_empty());
    let is_timed = step.timeout.is_some() && step.retry.limit > 0;
    let elsewhere = "export it to Argo";
    for (field, is_there, what, help, instead) in [
        ("when", step.when.is_some(), "runs only when an expression is true", elsewhere, "it always runs"),
        ("finally", step.finally, "runs whatever happened", elsewhere, "it runs when all others have succeeded"),
        ("approval", step.approval.is_some(), "waits for a person", elsewhere, "nobody is asked"),
        ("allowFailure", step.allow_failure, "may fail", "let the command end with 0", "it may not"),
        ("uses", !step.uses.is_empty(), "takes units of a pool", "let Kueue count", "nobody counts"),
        ("successExitCodes", has_codes, "succeeds with other codes than 0", "let it end with 0", "0 alone counts"),
        (
            "stopSignal",
            step.stop_signal != DEFAULT_STOP_SIGNAL,
            "has a stop signal of its own",
            "let it end on SIGTERM",
            "SIGTERM",
        ),
        ("retry", has_backoff, "has a backoff of its own", "leave `backoff` out", "the Job's (10s, 20s, up to 6m)"),
        ("retry", is_narrow, "is tried again for some causes alone", "write a podFailurePolicy", "for any"),
        ("timeout", is_timed, "has a time for one attempt", "leave `retry` or `timeout` out", "it is for all of them"),
    ] {
        if is_there {
            let message = format!("step {name} {what}, which a Job of a JobSet cannot");
            flow.step_gap(unit, field, message, help).instead(instead);
        }
    }
}

/// What stands in the texts of a Job's container.
struct JobSetWords {
    parameters: Vec<(String, String)>,
    set: String,
}

impl Words for JobSetWords {
    fn reference(&mut self, inner: &str) -> Result<String, String> {
        match Reference::read(inner) {
            Some(Reference::Parameter(name)) => {
                let known = self.parameters.iter().find(|(known, _)| known == name);
                known.map(|(_, value)| value.clone()).ok_or_else(|| format!("$({inner})"))
            }
            _ => Err(format!("$({inner}): a Job hands nothing on to another one")),
        }
    }

    /// A pod of a JobSet has a name in the network (`spec.network.enableDNSHostnames`, on by default).
    fn host(&mut self, service: &str) -> String {
        format!("{0}-{service}-0-0.{0}", self.set)
    }

    fn attempt(&self) -> Option<&'static str> {
        None
    }

    fn has_braces(&self) -> bool {
        false
    }
}
