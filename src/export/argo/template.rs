//! One step: its task in the DAG, and its template.
//!
//! Belongs here: what a step says. Does not belong here: what its texts say (`words`), and what it waits for (`depends`).

use podturn_turn::{Backoff, Cause, Step};
use serde_json::{Map as Json, Value, json};

use super::depends;
use super::names::{Names, task_of};
use super::words::{self, ArgoWords, Input, Outputs};
use crate::export::containers::{OUTPUTS, container};
use crate::export::flow::{Flow, Unit, seconds};
use crate::export::gaps::Spot;
use crate::export::page::{Map, Piece};
use crate::export::volumes::Volumes;
use crate::plan::DEFAULT_STOP_SIGNAL;
use crate::plan::diagnostic::quote;

/// The template behind a failure that is allowed: it ends at once, and has succeeded.
pub(super) fn go_on(name: &str) -> Piece {
    json!({ "name": name, "suspend": { "duration": "0" } }).into()
}

/// The container of a unit in Argo's words, and the parameters that these are about: its task gives them, its template has them.
#[derive(Default)]
pub(super) struct Body {
    inputs: Vec<Input>,
    fields: Json<String, Value>,
}

/// The task of a unit, and before it that of its approval.
pub(super) fn tasks(flow: &mut Flow<'_>, names: &Names, unit: &Unit, tasks: &mut Vec<Piece>) -> Body {
    let when = words::when(flow, unit);
    let mut waits = depends::expression(flow, unit);
    let step = flow.step_of(unit);
    if let Some(message) = step.and_then(|step| step.approval.as_ref()) {
        let name = names.approval_of(&unit.name);
        let mut task = Map::default();
        task.remark((!message.is_empty()).then(|| format!("Asks: {message}")));
        task.put("name", name.clone()).put("template", names.approve.clone());
        task.put_some("depends", waits.replace(name)).put_some("when", when.clone());
        tasks.push(task.into());
    }
    let mut inputs = Vec::new();
    let mut words = ArgoWords::new(flow, unit, &mut inputs);
    let fields = container(flow, unit, &mut words);
    let arguments: Vec<Value> =
        inputs.iter().map(|input| json!({ "name": input.name, "value": input.value })).collect();
    let mut task = Map::default();
    task.put("name", task_of(flow, &unit.name)).put("template", unit.name.clone());
    task.put_some("depends", waits).put_some("when", when);
    if !arguments.is_empty() {
        task.put("arguments", json!({ "parameters": arguments }));
    }
    tasks.push(task.into());
    Body { inputs, fields }
}

/// The template of a unit.
pub(super) struct Template {
    name: String,
    /// It is the inner one of a failure that is allowed.
    is_wrapped: bool,
    inputs: Vec<Input>,
    map: Map,
}

impl Template {
    pub(super) fn new(flow: &mut Flow<'_>, unit: &Unit, body: Body, outputs: &Outputs, volumes: &Volumes) -> Self {
        let step = flow.step_of(unit);
        let Body { inputs, mut fields } = body;
        let mut own = volumes.of(&unit.name);
        let keys = outputs.get(&unit.name);
        if flow.has_outputs(unit) {
            own.push(json!({ "name": "podturn-outputs", "emptyDir": {} }));
        }
        if fields.is_empty() {
            fields.insert("image".to_owned(), Value::Null);
        }
        let is_wrapped = step.is_some_and(|step| step.allow_failure && !step.service);
        let retry = step.and_then(|step| retry(flow, unit, step));
        if let Some(step) = step {
            gaps(flow, unit, step);
        }
        let mut map = Map::default();
        map.remark(flow.gaps.remarks(&Spot::Step(unit.name.clone())));
        put_inputs(&inputs, &mut map);
        if let Some(keys) = keys {
            map.put("outputs", json!({ "parameters": words::outputs_of(OUTPUTS, keys) }));
        }
        if let Some(step) = step {
            map.put_some("daemon", step.service.then_some(Piece::Value(true.into())));
            let timeout = step.timeout.map(|limit| Piece::Value(seconds(limit).into()));
            map.put_some("activeDeadlineSeconds", timeout);
        }
        map.put_some("retryStrategy", retry);
        map.put_full("volumes", own.into_iter().map(Piece::from).collect::<Vec<_>>());
        map.put("container", Value::Object(fields));
        Self { name: unit.name.clone(), is_wrapped, inputs, map }
    }

    /// The template, and what is around it.
    pub(super) fn pieces(self, names: &Names) -> Vec<Piece> {
        let name = if self.is_wrapped { names.run_of(&self.name) } else { self.name.clone() };
        let mut own = Map::default();
        own.put("name", name.clone());
        own.extend(self.map);
        if !self.is_wrapped {
            return vec![own.into()];
        }
        let mut outer = Map::default();
        outer.put("name", self.name.clone());
        put_inputs(&self.inputs, &mut outer);
        let mut run = json!({
            "name": "run",
            "template": name,
            "continueOn": { "failed": true, "error": true },
        });
        if !self.inputs.is_empty() {
            let pass = |input: &Input| json!({ "name": input.name, "value": format!("{{{{inputs.parameters.{}}}}}", input.name) });
            run["arguments"] = json!({ "parameters": self.inputs.iter().map(pass).collect::<Vec<_>>() });
        }
        let go_on = json!({ "name": "go-on", "template": names.go_on });
        outer.put("steps", json!([[run], [go_on]]));
        vec![outer.into(), own.into()]
    }
}

fn put_inputs(inputs: &[Input], map: &mut Map) {
    let parameter = |input: &Input| match &input.default {
        Some(default) => json!({ "name": input.name, "default": default }),
        None => json!({ "name": input.name }),
    };
    if !inputs.is_empty() {
        map.put("inputs", json!({ "parameters": inputs.iter().map(parameter).collect::<Vec<_>>() }));
    }
}

/// What the step says, and Argo cannot.
fn gaps(flow: &mut Flow<'_>, unit: &Unit, step: &Step) {
    let name = quote(&unit.name);
    if step.success_exit_codes != [0] {
        let message = format!("step {name} succeeds with other codes than 0");
        flow.step_gap(unit, "successExitCodes", message, "let the command end with 0");
    }
    if !step.uses.is_empty() {
        let message = format!("step {name} takes units of a pool");
        flow.step_gap(unit, "uses", message, "give its template a `synchronization`");
    }
    if step.stop_signal != DEFAULT_STOP_SIGNAL {
        let message = format!("step {name} has a stop signal of its own, and Argo sends SIGTERM");
        flow.step_gap(unit, "stopSignal", message, "let the command end on SIGTERM");
    }
    if step.allow_failure && step.service {
        let message = format!("service {name} may fail: a daemon of Argo's that ends is a failure");
        flow.step_gap(unit, "allowFailure", message, "give it a `retry`");
    }
}

/// The retry strategy of a step.
fn retry(flow: &mut Flow<'_>, unit: &Unit, step: &Step) -> Option<Map> {
    let retry = &step.retry;
    if retry.limit == 0 {
        return None;
    }
    let mut map = Map::default();
    map.put("limit", retry.limit.to_string()).put("retryPolicy", "Always");
    map.put_some("backoff", backoff(flow, unit, &retry.backoff));
    let is_all = Cause::ALL.iter().all(|cause| retry.causes.contains(cause));
    if !is_all || !retry.exit_codes.is_empty() {
        let causes: Vec<String> = retry.causes.iter().filter_map(|cause| asked(*cause, step)).collect();
        if causes.is_empty() {
            let message = format!("step {} is tried again for causes that Argo does not tell apart", quote(&unit.name));
            flow.step_gap(unit, "retry", message, "leave `causes` out").instead("it is tried again whatever happened");
        } else {
            map.put("expression", causes.join(" || "));
        }
    }
    Some(map)
}

/// A cause as Argo's expression asks for it (docs/retries.md): the code is a text, and "-1" where there is none. The messages
/// are those of the kubelet, which Argo passes on.
fn asked(cause: Cause, step: &Step) -> Option<String> {
    let code = "asInt(lastRetry.exitCode)";
    let killed = format!("{code} > 128");
    let is_oom = "lastRetry.message contains 'OOMKilled'";
    let has = |cause: Cause| step.retry.causes.contains(&cause);
    match cause {
        Cause::ExitCode if step.retry.exit_codes.is_empty() => Some(format!("({code} > 0 && {code} <= 128)")),
        Cause::ExitCode => {
            let codes: Vec<String> = step.retry.exit_codes.iter().map(|code| format!("'{code}'")).collect();
            Some(format!("lastRetry.exitCode in [{}]", codes.join(", ")))
        }
        Cause::Signal if has(Cause::OOMKilled) => Some(killed),
        Cause::Signal => Some(format!("({killed} && !({is_oom}))")),
        Cause::OOMKilled if has(Cause::Signal) => None, // it is among the signals
        Cause::OOMKilled => Some(is_oom.to_owned()),
        Cause::TimedOut => Some("lastRetry.message contains 'deadline'".to_owned()),
        Cause::ShimLost => Some("lastRetry.status == 'Error'".to_owned()),
        Cause::Interrupted if has(Cause::ShimLost) => None, // the same for Argo
        Cause::Interrupted => Some("lastRetry.status == 'Error'".to_owned()),
        Cause::EndedEarly | Cause::NotReady => step.service.then(|| "lastRetry.status == 'Failed'".to_owned()),
    }
}

fn backoff(flow: &mut Flow<'_>, unit: &Unit, backoff: &Backoff) -> Option<Value> {
    if backoff.duration == 0 {
        return None;
    }
    if backoff.jitter_milli != 0 {
        let message = format!("the retries of step {} have a jitter", quote(&unit.name));
        flow.step_gap(unit, "retry", message, "leave it out");
    }
    if !backoff.factor_milli.is_multiple_of(1000) {
        let message = format!("the retries of step {} grow by a factor that is no whole number", quote(&unit.name));
        flow.step_gap(unit, "retry", message, "take a whole number").instead("it is rounded up");
    }
    let mut value = json!({
        "duration": in_words(backoff.duration),
        "factor": backoff.factor_milli.div_ceil(1000),
    });
    if let Some(cap) = backoff.cap {
        value["cap"] = in_words(cap).into();
    }
    Some(value)
}

/// A duration as Go reads it.
fn in_words(milliseconds: u64) -> String {
    match milliseconds {
        whole if whole.is_multiple_of(1000) => format!("{}s", whole / 1000),
        other => format!("{other}ms"),
    }
}
