//! The checked plan in the plan's own language, as JSON: what `run` and `inject` hand on in `PODTURN_PLAN`.
//!
//! Reading it back gives the same plan: `sequential` and lists are written out, defaults that hold everywhere are left
//! out, and `coordinatorGrace` is always there, because its default depends on where the coordinator runs.

use podturn_turn::{Backoff, Cause, Condition, Plan, Probe, Readiness, Retry, Step};
use serde_json::{Map, Value, json};

use super::durations::write as duration;
use super::readiness::NUMBERS;
use super::retry::{CAUSES, DEFAULT_BACKOFF, for_ever, no_retry};
use super::settings::{DEFAULT_ARRIVAL, DEFAULT_GRACE, ON_FAILURE};
use super::signals;
use super::steps::{CONDITIONS, DEFAULT_STOP_SIGNAL, DEFAULT_SUCCESS};

/// Writes the plan. What came from the pod and not from the plan (`restarts`, `termination_log`) is not in it.
#[must_use]
pub fn canonical(plan: &Plan) -> String {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.to_owned(), value));
    put("maxParallel", plan.max_parallel.map(Value::from));
    let pools: Map<String, Value> = plan.pools.iter().map(|pool| (pool.name.clone(), pool.capacity.into())).collect();
    put("pools", (!pools.is_empty()).then_some(pools.into()));
    put("timeout", plan.timeout.map(|millis| duration(millis).into()));
    let on_failure = ON_FAILURE.iter().skip(1).find(|(_, mode)| *mode == plan.on_failure);
    put("onFailure", on_failure.map(|(name, _)| (*name).into()));
    put("gracePeriod", (plan.grace_period != DEFAULT_GRACE).then(|| duration(plan.grace_period).into()));
    put("arrivalTimeout", (plan.arrival_timeout != DEFAULT_ARRIVAL).then(|| duration(plan.arrival_timeout).into()));
    put("coordinatorGrace", Some(duration(plan.coordinator_grace).into()));
    put("pauseTimeout", plan.pause_timeout.map(|millis| duration(millis).into()));
    let parameters: Map<String, Value> =
        plan.parameters.iter().map(|known| (known.name.clone(), known.value.clone().into())).collect();
    put("parameters", (!parameters.is_empty()).then_some(parameters.into()));
    let steps: Map<String, Value> =
        plan.steps.iter().map(|written| (written.name.clone(), step(written, plan))).collect();
    put("steps", Some(steps.into()));
    Value::Object(fields).to_string()
}

fn step(step: &Step, plan: &Plan) -> Value {
    let mut fields = Map::new();
    let mut put = |key: &str, value: Option<Value>| value.map(|value| fields.insert(key.to_owned(), value));
    let dependencies: Vec<Value> = step
        .depends_on
        .iter()
        .map(|dependency| {
            let on = &plan.steps[dependency.step.index()];
            let by_default = if on.service { Condition::Ready } else { Condition::Succeeded };
            match CONDITIONS.iter().find(|(_, condition)| *condition == dependency.condition) {
                // A map with the one key "step" would be read as the long form.
                Some((word, condition)) if *condition != by_default => json!({ "step": on.name, "condition": word }),
                _ => on.name.as_str().into(),
            }
        })
        .collect();
    put("dependsOn", (!dependencies.is_empty()).then_some(dependencies.into()));
    put("when", step.when.clone().map(Value::from));
    put("service", step.service.then_some(true.into()));
    put("readiness", step.readiness.as_ref().map(readiness));
    let is_default = step.retry == if plan.long_running && step.service { for_ever() } else { no_retry() };
    put("retry", (!is_default).then(|| retry(&step.retry)));
    let is_default = step.success_exit_codes == [DEFAULT_SUCCESS];
    put("successExitCodes", (!is_default).then(|| step.success_exit_codes.clone().into()));
    put("timeout", step.timeout.map(|millis| duration(millis).into()));
    put("allowFailure", step.allow_failure.then_some(true.into()));
    put("finally", step.finally.then_some(true.into()));
    let message = |text: &String| if text.is_empty() { Value::from(true) } else { text.clone().into() };
    put("approval", step.approval.as_ref().map(message));
    let pool = |index: u32| plan.pools[index as usize].name.clone();
    let uses: Map<String, Value> = step.uses.iter().map(|used| (pool(used.pool), used.units.into())).collect();
    put("uses", (!uses.is_empty()).then_some(uses.into()));
    let is_default = step.stop_signal == DEFAULT_STOP_SIGNAL;
    put("stopSignal", (!is_default).then(|| signals::write(step.stop_signal).into()));
    Value::Object(fields)
}

fn readiness(readiness: &Readiness) -> Value {
    let mut fields = Map::new();
    let (name, probe) = probe(&readiness.probe);
    fields.insert(name.to_owned(), probe);
    let values = [
        readiness.initial_delay_seconds,
        readiness.period_seconds,
        readiness.timeout_seconds,
        readiness.success_threshold,
        readiness.failure_threshold,
    ];
    for ((name, default, _), value) in NUMBERS.iter().zip(values) {
        if value != *default {
            fields.insert((*name).to_owned(), value.into());
        }
    }
    Value::Object(fields)
}

fn probe(probe: &Probe) -> (&'static str, Value) {
    let written = |pairs: Vec<(&str, Value)>| {
        let is_there = |(_, value): &(&str, Value)| *value != json!("") && *value != json!([]);
        Value::Object(pairs.into_iter().filter(is_there).map(|(key, value)| (key.to_owned(), value)).collect())
    };
    match probe {
        Probe::Exec { command } => ("exec", json!({ "command": command })),
        Probe::HttpGet { host, port, path, https, headers } => {
            let headers: Vec<Value> =
                headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            let scheme = if *https { "HTTPS" } else { "" };
            let fields = vec![
                ("path", json!(path)),
                ("port", json!(port)),
                ("host", json!(host)),
                ("scheme", json!(scheme)),
                ("httpHeaders", json!(headers)),
            ];
            ("httpGet", written(fields))
        }
        Probe::TcpSocket { host, port } => ("tcpSocket", written(vec![("port", json!(port)), ("host", json!(host))])),
        Probe::Grpc { port, service } => ("grpc", written(vec![("port", json!(port)), ("service", json!(service))])),
        Probe::File { path } => ("file", json!({ "path": path })),
        Probe::Log { contains } => ("log", json!({ "contains": contains })),
    }
}

fn retry(retry: &Retry) -> Value {
    let mut fields = Map::new();
    fields.insert("limit".to_owned(), retry.limit.into());
    if retry.backoff != DEFAULT_BACKOFF {
        fields.insert("backoff".to_owned(), backoff(&retry.backoff));
    }
    if retry.causes != Cause::ALL {
        let names = retry.causes.iter().filter_map(|cause| CAUSES.iter().find(|(_, known)| known == cause));
        fields.insert("causes".to_owned(), names.map(|(name, _)| Value::from(*name)).collect());
    }
    if !retry.exit_codes.is_empty() {
        fields.insert("exitCodes".to_owned(), retry.exit_codes.clone().into());
    }
    Value::Object(fields)
}

fn backoff(backoff: &Backoff) -> Value {
    let mut fields = Map::new();
    fields.insert("duration".to_owned(), duration(backoff.duration).into());
    fields.insert("factor".to_owned(), (f64::from(backoff.factor_milli) / 1000.0).into());
    if let Some(cap) = backoff.cap {
        fields.insert("cap".to_owned(), duration(cap).into());
    }
    fields.insert("jitter".to_owned(), (f64::from(backoff.jitter_milli) / 1000.0).into());
    Value::Object(fields)
}
