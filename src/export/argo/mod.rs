//! A plan as a Workflow of Argo Workflows: one template a step, and one DAG that names them all.
//!
//! The facts are from Argo's own documentation and code, version 4.1: docs/enhanced-depends-logic.md, docs/retries.md,
//! docs/variables.md, docs/walk-through/{dag,daemon-containers,exit-handlers,suspending,timeouts}.md, and
//! workflow/controller/dag.go for what makes a DAG fail. Three of them are not obvious:
//!
//! - A DAG fails by its *targets* alone, which are its leaves unless they are named. A step that failed and has a dependent
//!   that waits for that would be forgotten; so every task is named as a target.
//! - A Skipped or Omitted task takes the phase of the branch that it is in. A failure that is allowed therefore ends in a
//!   template of its own, whose last node has succeeded.
//! - A daemon that ends by itself is Failed whatever its code, as `EndedEarly` is.
//!
//! Belongs here: what a whole Workflow has. Does not belong here: one step (`template`), and the pod's fields (`pod`).

mod depends;
mod names;
mod pod;
mod template;
mod words;

use std::collections::BTreeMap;

use podturn_turn::{Condition, OnFailure, Step};
use serde_json::json;

use self::names::{Names, task_of};
use self::template::{Body, Template, go_on};
use super::flow::{Flow, Unit, seconds};
use super::gaps::Spot;
use super::page::{Map, Piece};
use super::volumes::{Volumes, divided};

/// The Workflow.
pub(super) fn workflow(flow: &mut Flow<'_>) -> Map {
    let volumes = divided(flow);
    plan_gaps(flow);
    let outputs = words::outputs(flow);
    flow.asked = outputs.keys().cloned().collect();
    let names = Names::of(flow);
    let units = flow.units.clone();
    let (finally, main): (Vec<&Unit>, Vec<&Unit>) =
        units.iter().partition(|unit| flow.step_of(unit).is_some_and(|step| step.finally));
    let mut bodies = BTreeMap::new();
    let mut templates: Vec<Piece> = vec![dag(flow, &names, &names.plan, &main, &mut bodies).into()];
    if !finally.is_empty() {
        templates.push(dag(flow, &names, &names.finally, &finally, &mut bodies).into());
    }
    for unit in &units {
        let body = bodies.remove(&unit.name).unwrap_or_default();
        let made = Template::new(flow, unit, body, &outputs, &volumes);
        templates.extend(made.pieces(&names));
    }
    templates.extend(helpers(flow, &names));

    let mut spec = Map::default();
    spec.put("entrypoint", names.plan.clone());
    spec.put_some("onExit", (!finally.is_empty()).then(|| names.finally.clone()));
    spec.put_some("activeDeadlineSeconds", deadline(flow).map(|seconds| Piece::Value(seconds.into())));
    // Of the whole Workflow: a template's own would not count what is wrapped (workflow/controller, checkParallelism).
    let limit = flow.plan().max_parallel.filter(|_| !has_services(flow));
    spec.put_some("parallelism", limit.map(|limit| Piece::Value(limit.into())));
    spec.put_some("suspend", flow.is_suspended().then_some(Piece::Value(true.into())));
    if let Some(ttl) = flow.job_number("ttlSecondsAfterFinished") {
        spec.put("ttlStrategy", json!({ "secondsAfterCompletion": ttl }));
    }
    let parameters = flow.plan().parameters.iter();
    let parameters: Vec<_> = parameters.map(|known| json!({ "name": known.name, "value": known.value })).collect();
    if !parameters.is_empty() {
        spec.put("arguments", json!({ "parameters": parameters }));
    }
    pod::fields(flow, &mut spec);
    volumes_of(volumes, &mut spec);
    spec.put("templates", templates);
    headed(flow, spec)
}

fn headed(flow: &Flow<'_>, spec: Map) -> Map {
    let mut page = Map::default();
    page.remark([format!("Made by `podturn export --to argo` of {} {}.", flow.manifest.kind, flow.manifest.name)]);
    page.remark(flow.gaps.remarks(&Spot::Head));
    page.put("apiVersion", "argoproj.io/v1alpha1").put("kind", "Workflow");
    page.put("metadata", pod::metadata(flow)).put("spec", spec);
    page
}

fn volumes_of(volumes: Volumes, spec: &mut Map) {
    let pieces = |values: Vec<serde_json::Value>| values.into_iter().map(Piece::from).collect::<Vec<_>>();
    spec.put_full("volumeClaimTemplates", pieces(volumes.claims)).put_full("volumes", pieces(volumes.common));
}

/// The Job's own deadline, or the plan's where that is earlier.
fn deadline(flow: &Flow<'_>) -> Option<u64> {
    let plan = flow.plan().timeout.map(seconds);
    [plan, flow.job_number("activeDeadlineSeconds")].into_iter().flatten().min()
}

/// A template of tasks that are all its targets. What their own templates have in them is left in `bodies`.
fn dag(flow: &mut Flow<'_>, names: &Names, name: &str, units: &[&Unit], bodies: &mut BTreeMap<String, Body>) -> Map {
    let mut tasks: Vec<Piece> = Vec::new();
    for unit in units {
        bodies.insert(unit.name.clone(), template::tasks(flow, names, unit, &mut tasks));
    }
    let target: Vec<String> = units.iter().map(|unit| task_of(flow, &unit.name)).collect();
    let mut inner = Map::default();
    inner.put("failFast", Piece::Value(false.into()));
    inner.put("target", target.join(" ")).put("tasks", tasks);
    let mut map = Map::default();
    map.put("name", name);
    map.put("dag", inner);
    map
}

fn has_services(flow: &Flow<'_>) -> bool {
    flow.plan().steps.iter().any(|step| step.service)
}

/// Templates that do nothing of the plan's own.
fn helpers(flow: &Flow<'_>, names: &Names) -> Vec<Piece> {
    let steps = &flow.plan().steps;
    let mut all = Vec::new();
    if steps.iter().any(|step| step.approval.is_some()) {
        all.push(json!({ "name": names.approve, "suspend": {} }).into());
    }
    if steps.iter().any(|step| step.allow_failure && !step.service) {
        all.push(go_on(&names.go_on));
    }
    all
}

/// What the plan as a whole says, and Argo cannot.
fn plan_gaps(flow: &mut Flow<'_>) {
    let plan = flow.plan();
    let is_last_word = |step: &Step| step.depends_on.iter().all(|on| on.condition != Condition::Completed);
    let is_chain = !flow.has_branches() && plan.steps.iter().all(is_last_word);
    match plan.on_failure {
        OnFailure::Continue => {}
        // Nothing is left that could go on.
        OnFailure::Drain | OnFailure::Cancel if is_chain => {}
        OnFailure::Drain | OnFailure::Cancel => {
            let message =
                format!("`onFailure: {:?}`: Argo lets what runs go on, and starts what can start", plan.on_failure);
            flow.plan_gap("onFailure", message, "leave it out").instead("each task decides by its own dependencies");
        }
        OnFailure::Pause => {
            let message = "`onFailure: Pause`: a task of Argo's that failed does not wait for a person";
            flow.plan_gap("onFailure", message, "leave it out; `argo retry` runs what failed again afterwards");
        }
    }
    if !plan.pools.is_empty() {
        let message = "pools: Argo counts by semaphores, whose sizes are in a ConfigMap";
        flow.plan_gap("pools", message, "make that ConfigMap, and give each template a `synchronization`");
    }
    if plan.max_parallel.is_some() && has_services(flow) {
        let message = "maxParallel: Argo would count the services, too";
        flow.plan_gap("maxParallel", message, "leave it out, and set `parallelism` of the Workflow by hand");
    }
}
