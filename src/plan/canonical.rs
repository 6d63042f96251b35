//! The checked plan in the plan's own language, as JSON: what `run` and `inject` hand on in `PODTURN_PLAN`.
//!
//! Reading it back gives the same plan: `sequential` and lists are written out, defaults that hold everywhere are left
//! out, and `coordinatorGrace` is always there, because its default depends on where the coordinator runs.

use podturn_turn::{Backoff, Cause, Condition, Plan, Retry, Step};
use serde_json::{Map, Value, json};

use super::check::{DEFAULT_ARRIVAL, DEFAULT_GRACE, ON_FAILURE};
use super::durations::write as duration;
use super::retry::{CAUSES, DEFAULT_BACKOFF, no_retry};
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
            let name = plan.steps[dependency.step.index()].name.as_str();
            match CONDITIONS.iter().find(|(_, condition)| *condition == dependency.condition) {
                // The name alone means Succeeded, and a map with the one key "step" would be read as the long form.
                None | Some((_, Condition::Succeeded)) => name.into(),
                Some((condition, _)) => json!({ "step": name, "condition": condition }),
            }
        })
        .collect();
    put("dependsOn", (!dependencies.is_empty()).then_some(dependencies.into()));
    put("retry", (step.retry != no_retry()).then(|| retry(&step.retry)));
    let is_default = step.success_exit_codes == [DEFAULT_SUCCESS];
    put("successExitCodes", (!is_default).then(|| step.success_exit_codes.clone().into()));
    put("timeout", step.timeout.map(|millis| duration(millis).into()));
    put("allowFailure", step.allow_failure.then_some(true.into()));
    put("finally", step.finally.then_some(true.into()));
    let pool = |index: u32| plan.pools[index as usize].name.clone();
    let uses: Map<String, Value> = step.uses.iter().map(|used| (pool(used.pool), used.units.into())).collect();
    put("uses", (!uses.is_empty()).then_some(uses.into()));
    let is_default = step.stop_signal == DEFAULT_STOP_SIGNAL;
    put("stopSignal", (!is_default).then(|| signals::write(step.stop_signal).into()));
    Value::Object(fields)
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
