//! The plan's language as a JSON Schema, for editors, other programs, and the plan reference.
//!
//! Belongs here: types whose doc comments, ranges and patterns become the schema. Nothing reads a plan through them: the
//! check has to point at places and to tell all errors at once, which a derived reader cannot. The tests below and
//! `tests/plan_schema.rs` hold the two together.

#![expect(dead_code, reason = "only their schema is used")]

mod readiness;

use std::collections::BTreeMap;

use schemars::transform::transform_subschemas;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::{Map, Value};

use readiness::Readiness;

/// The JSON Schema of a plan (draft 2020-12).
#[must_use]
pub fn plan_schema() -> Schema {
    let mut schema = schema_for!(PlanDocument);
    transform_subschemas(&mut fields_have_values, &mut schema);
    schema
}

/// A field that may be left out is no field that may be null: `timeout:` with nothing behind it is an error.
fn fields_have_values(schema: &mut Schema) {
    for field in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        let Some(field) = field.as_object_mut() else { continue };
        if let Some(Value::Array(kinds)) = field.get_mut("type") {
            let kind = kinds[0].take();
            field.insert("type".to_owned(), kind);
        }
        if let Some(Value::Array(variants)) = field.remove("anyOf") {
            let kind = variants.into_iter().find(|variant| variant["type"] != "null");
            field.extend(kind.and_then(|kind| kind.as_object().cloned()).unwrap_or_default());
        }
    }
    transform_subschemas(&mut fields_have_values, schema);
}

/// The JSON Schema of `PODTURN_POD`.
#[must_use]
pub fn pod_schema() -> Schema {
    schema_for!(super::PodFacts)
}

/// A plan: the annotation `podturn.dev/plan` of a pod, or the variable `PODTURN_PLAN` of its init container. YAML or JSON.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "PlanDocument", title = "podturn plan")]
#[expect(clippy::large_enum_variant, reason = "only its schema is used")]
enum PlanDocument {
    /// All containers of the pod, one after another, in the order of its list.
    Sequential(Sequential),
    /// A map.
    Plan(Plan),
}

/// All containers of the pod, one after another. Needs `podturn inject` or `podturn run`, which see the containers.
#[derive(JsonSchema)]
enum Sequential {
    #[schemars(rename = "sequential")]
    Sequential,
}

/// What runs, and the rules for the whole.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Plan {
    /// The steps: a map from the container's name to the step; or a list of names, one after another; or `sequential`.
    steps: Steps,
    /// How many attempts may run at once. Without it there is no limit.
    #[schemars(range(min = 1))]
    max_parallel: Option<u32>,
    /// Named capacities, such as `{ gpu: 1, mem: 8 }`, of which steps use units.
    pools: Option<BTreeMap<String, Units>>,
    /// For the whole plan, from the coordinator's start on. When it is over, running steps are stopped, pending ones are
    /// Cancelled, the outcome is Failed, and the finally steps run. Without it there is no limit.
    timeout: Option<Duration>,
    /// What a failure does to the rest of the plan.
    #[schemars(extend("default" = "Continue"))]
    on_failure: Option<OnFailure>,
    /// Between the stop signal and SIGKILL. `0s` kills at once.
    #[schemars(extend("default" = "10s"))]
    grace_period: Option<Duration>,
    /// How long a step whose turn is due may be without its container (image not pulled, ...) before it is Failed,
    /// `NeverArrived`.
    #[schemars(extend("default" = "10m"))]
    arrival_timeout: Option<Duration>,
    /// How long a waiting shim outlives a lost coordinator. By default `15m` where the coordinator is a sidecar, which the
    /// kubelet starts again, and `30s` where it is an ordinary container.
    coordinator_grace: Option<Duration>,
    /// How long a failure waits for a person with `onFailure: Pause`; then it is final.
    pause_timeout: Option<Duration>,
    /// Names and their defaults. A value comes from the init container's environment variable of that name; it is
    /// `params.NAME` in `when` and `$(params.NAME)` in a container's `command`, `args` and `env`.
    #[schemars(extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
    parameters: Option<BTreeMap<String, Option<String>>>,
}

/// The steps of a plan.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Steps {
    /// By container name. A step without a value (`build:`) has every default.
    Map(StepMap),
    /// In this order, each after the one before has Succeeded. Names only.
    List(StepList),
    /// All containers of the pod in this order.
    Sequential(Sequential),
}

/// Steps by the name of their container.
#[derive(JsonSchema)]
#[schemars(extend(
    "minProperties" = 1,
    "maxProperties" = 10_000,
    "propertyNames" = { "$ref": "#/$defs/ContainerName" },
))]
struct StepMap(BTreeMap<String, Option<Step>>);

/// Names, each of them once.
#[derive(JsonSchema)]
#[schemars(extend("minItems" = 1, "maxItems" = 10_000, "uniqueItems" = true))]
struct StepList(Vec<ContainerName>);

/// The name of a container of the pod: at most 63 lower-case letters, digits and dashes, with no dash at either end.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))]
struct ContainerName(String);

/// One container that takes part in the plan.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    /// What has to be met before its turn. The same step only once.
    #[schemars(extend("default" = []))]
    depends_on: Option<Vec<Dependency>>,
    /// A CEL expression over `steps.NAME.phase`, `.exitCode`, `.outputs.KEY` and `params.NAME`, asked once its dependencies
    /// are met. False: the step is Skipped, which counts as done. A name with a dash is written `steps['unit-test']`; outputs
    /// are strings (`double(...)` converts); what a step did not leave is tested with `has()`.
    when: Option<String>,
    /// Long-running: ready by probe, and stopped once nobody needs it any more. While it is needed every end of it is a failure,
    /// `EndedEarly`. In a pod whose containers restart (`restartPolicy: Always`) a service that nothing depends on runs until
    /// the pod is deleted, and one without `retry` is tried again for ever, after 10 s, 20 s, ... 5 minutes, as the kubelet does.
    #[schemars(extend("default" = false))]
    service: Option<bool>,
    /// When a service is ready. Without it: as soon as it has begun.
    readiness: Option<Readiness>,
    /// When an attempt that failed is followed by another one. Without it, never.
    retry: Option<Retry>,
    /// Exit codes that count as success.
    #[schemars(length(min = 1), extend("default" = [0], "uniqueItems" = true))]
    success_exit_codes: Option<Vec<u8>>,
    /// For one attempt: then it is stopped, with the reason `TimedOut`. Without it there is no limit.
    timeout: Option<Duration>,
    /// A failure is recorded, but counts as success for dependents and the outcome.
    #[schemars(extend("default" = false))]
    allow_failure: Option<bool>,
    /// Runs once every other step has ended, whatever happened, cancellation included. May depend on steps of both kinds;
    /// only finally steps may depend on it.
    #[schemars(extend("default" = false))]
    finally: Option<bool>,
    /// Wait for `podturn approve STEP` before the turn: `true`, or what the person who approves is asked.
    approval: Option<Approval>,
    /// Units of pools that an attempt holds while it runs.
    #[schemars(extend("default" = {}))]
    uses: Option<BTreeMap<String, Units>>,
    /// What a stop sends first.
    #[schemars(extend("default" = "SIGTERM"))]
    stop_signal: Option<StopSignal>,
    /// One instance of the step, with a container of its own, for each combination of these values.
    matrix: Option<Matrix>,
}

/// Keys and their values, such as `{ python: ["3.12", "3.13"], os: [linux] }`; values are strings, so a number is written in
/// quotes. `podturn inject` and `podturn run` make a step and a container of each of the at most 256 combinations, in the place
/// of the one that is their pattern, and put the values in the place of `$(matrix.KEY)` in all of its strings; in the step's own
/// fields too. An instance is called `<step>-<values in the order of the keys>`, in lower case and with dashes for all but letters
/// and digits: `test-3-12-linux`. In `dependsOn` the step's name means all instances, and an instance's name that one; in `when`
/// and `$(steps.NAME...)` instances have their own names. `build-$(matrix.python)` is, in both, the instance of `build` with the
/// same value. A pod that is wired by hand has no matrix.
#[derive(JsonSchema)]
#[schemars(extend("minProperties" = 1, "propertyNames" = { "pattern": "^[A-Za-z0-9_-]+$" }))]
struct Matrix(BTreeMap<String, MatrixValues>);

/// The values of a key, each of them once.
#[derive(JsonSchema)]
#[schemars(extend("minItems" = 1, "maxItems" = 256, "uniqueItems" = true))]
struct MatrixValues(Vec<MatrixValue>);

/// A value, with at least one letter or digit.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "[A-Za-z0-9]"))]
struct MatrixValue(String);

/// One thing that a step waits for, in one of three spellings.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Dependency {
    /// `build`: the task with this name has Succeeded, or the service is Ready.
    Name(ContainerName),
    /// `build: Failed`
    Short(ShortDependency),
    /// `{ step: build, condition: Failed }`
    Long(LongDependency),
}

/// A name and a condition.
#[derive(JsonSchema)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
struct ShortDependency(BTreeMap<String, Condition>);

/// The long form.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct LongDependency {
    /// On whom.
    step: ContainerName,
    /// For what. By default Ready for a service, Succeeded for a task.
    condition: Option<Condition>,
}

/// When a dependency is met. One that has ended leaves no condition undecided; a lost condition makes the dependent Omitted.
#[derive(JsonSchema)]
enum Condition {
    /// It has begun an attempt. Lost when it ended without ever beginning.
    Started,
    /// It Succeeded, was Skipped, or Failed with `allowFailure`. Lost when it Failed, was Omitted or Cancelled.
    Succeeded,
    /// It is Failed for good, `allowFailure` or not. Lost when it ended any other way.
    Failed,
    /// It has ended, in whatever way. Never lost.
    Completed,
    /// A service: it is ready at the moment its dependent gets its turn, or was Skipped. Lost when it ended otherwise. For a
    /// task the same as `Succeeded`.
    Ready,
}

/// When an attempt that failed is followed by another one, in the same container.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Retry {
    /// Attempts after the first one.
    #[schemars(range(max = 1000))]
    limit: u32,
    /// How long to wait between attempts. Without it, not at all.
    backoff: Option<Backoff>,
    /// Which failures are followed by another attempt. By default all of them.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    causes: Option<Vec<Cause>>,
    /// Narrows the cause `ExitCode` to these codes, none of which may count as success. Without it, all codes.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    exit_codes: Option<Vec<u8>>,
}

/// The wait before retry n (from 1): `duration * factor^(n-1)`, at most `cap`, then changed by up to `jitter` of itself in
/// either direction.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Backoff {
    /// Before the first retry.
    #[schemars(extend("default" = "0s"))]
    duration: Option<Duration>,
    /// By how much each wait is longer than the one before. At most three decimals.
    #[schemars(range(min = 1, max = 1000), extend("default" = 2))]
    factor: Option<f64>,
    /// The longest wait. Without it there is no limit.
    cap: Option<Duration>,
    /// As a fraction of the wait, so that many steps do not try again in one moment. At most three decimals.
    #[schemars(range(min = 0, max = 1), extend("default" = 0))]
    jitter: Option<f64>,
}

/// Why an attempt failed.
#[derive(JsonSchema)]
enum Cause {
    /// The command ended with a code that is not a success.
    ExitCode,
    /// A signal ended the command.
    Signal,
    /// The kernel's out-of-memory killer ended the command.
    OOMKilled,
    /// The attempt ran longer than the step's `timeout`.
    TimedOut,
    /// The shim died with the attempt begun.
    ShimLost,
    /// A service ended by itself while it was needed.
    EndedEarly,
    /// A service did not become ready.
    NotReady,
    /// The step's container was stopped from outside, or its node rebooted.
    Interrupted,
}

/// What a failure of a step does to the rest, if the step is no finally step and has no `allowFailure`.
#[derive(JsonSchema)]
enum OnFailure {
    /// Each step decides by its own dependencies.
    Continue,
    /// Nothing new starts but finally steps and those that wait for a failure (condition `Failed`) or for such a step.
    Drain,
    /// As Drain, and running tasks are stopped at once, with the same exceptions.
    Cancel,
    /// Nothing new starts until a person has looked at the failed step and said `podturn retry`, `skip` or `cancel`. Needs
    /// `pauseTimeout` or `timeout`.
    Pause,
}

/// What stands before a turn.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Approval {
    /// Whether a person is asked.
    Asked(bool),
    /// What the person is asked.
    Message(String),
}

/// Whole numbers with units, the larger ones first: `500ms`, `90s`, `15m`, `1h30m`. A number without a unit is an error.
/// At most `8760h`.
#[derive(JsonSchema)]
#[schemars(extend("minLength" = 2, "pattern" = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"))]
struct Duration(String);

/// Units of a pool.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1))]
struct Units(u32);

/// A signal of Linux by name or number: `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`. Not one that only suspends.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum StopSignal {
    /// By name, with or without `SIG`.
    Name(SignalName),
    /// By number.
    Number(SignalNumber),
}

/// The name of a signal.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^(SIG)?([A-Z][A-Z0-9]*|RTMIN(\\+[0-9]+)?|RTMAX(-[0-9]+)?)$"))]
struct SignalName(String);

/// The number of a signal.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1, "maximum" = 64))]
struct SignalNumber(u8);

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::plan_schema;
    use crate::plan::{readiness, retry, settings, steps};

    fn members(definition: &str, member: &str) -> Vec<String> {
        let schema = plan_schema().to_value();
        let found = &schema["$defs"][definition][member];
        match found {
            Value::Object(properties) => properties.keys().cloned().collect(),
            Value::Array(words) => words.iter().filter_map(|word| Some(word["const"].as_str()?.to_owned())).collect(),
            other => panic!("{definition} has no {member}: {other}"),
        }
    }

    fn sorted<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    }

    #[test]
    fn the_schema_and_the_check_know_the_same_fields() {
        let fields = [
            ("Plan", settings::PLAN.known),
            ("Step", steps::STEP.known),
            ("LongDependency", steps::DEPENDENCY.known),
            ("Retry", retry::RETRY.known),
            ("Backoff", retry::BACKOFF.known),
            ("Readiness", readiness::READINESS.known),
            ("Exec", readiness::EXEC.known),
            ("HttpGet", readiness::HTTP_GET.known),
            ("Header", readiness::HEADER.known),
            ("TcpSocket", readiness::TCP_SOCKET.known),
            ("Grpc", readiness::GRPC.known),
            ("FileProbe", readiness::FILE.known),
            ("LogProbe", readiness::LOG.known),
        ];
        for (definition, known) in fields {
            let described = members(definition, "properties");
            assert_eq!(sorted(described.iter().map(String::as_str)), sorted(known.iter().copied()), "{definition}");
        }
    }

    #[test]
    fn the_schema_and_the_check_know_the_same_words() {
        let words = [
            ("Condition", sorted(steps::CONDITIONS.map(|(word, _)| word))),
            ("Cause", sorted(retry::CAUSES.map(|(word, _)| word))),
            ("OnFailure", sorted(settings::ON_FAILURE.map(|(word, _)| word))),
        ];
        for (definition, known) in words {
            let described = members(definition, "oneOf");
            assert_eq!(sorted(described.iter().map(String::as_str)), known, "{definition}");
        }
    }
}
