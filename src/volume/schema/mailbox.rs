//! The two files of a mailbox: `turn.json` and `report.json`.

use schemars::{JsonSchema, Schema, schema_for};

use super::{Attempt, Id, Millis, Signal, StartStage, Time, Usage, Version};

/// The JSON Schema of `turn.json`.
#[must_use]
pub fn turn_schema() -> Schema {
    schema_for!(TurnFile)
}

/// The JSON Schema of `report.json`.
#[must_use]
pub fn report_schema() -> Schema {
    schema_for!(ReportFile)
}

/// What the coordinator wants of one step: a whole desired state, not a command.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", title = "turn.json")]
struct TurnFile {
    version: Version,
    /// The run that this turn belongs to. A shim obeys no other.
    run: Id,
    /// The instance that it is addressed to; null only in the turn that the init container lays down.
    instance: Option<Id>,
    /// Grows with every change of the desired state, never falls within a run. 0 is the init container's.
    turn: u64,
    /// The `seq` of the newest report that this turn takes into account.
    ack: u64,
    /// The attempt that should be running; null: none should. From k to null means: stop attempt k.
    attempt: Option<Attempt>,
    #[schemars(flatten)]
    then: Then,
    /// What a stop sends first.
    signal: Signal,
    /// Between that signal and SIGKILL.
    grace: Millis,
    /// How long one attempt may take; null: no limit.
    timeout: Option<Millis>,
    /// How long a waiting shim outlives a lost coordinator.
    coordinator_grace: Millis,
    /// The file for the step's last line; empty: nowhere.
    #[schemars(length(max = 255))]
    termination_log: String,
    /// What the shim tries to find out whether the command is ready. Absent: nothing.
    probe: Option<TurnProbe>,
    /// The answers to the references that the instance's report listed, in their order. Absent: there were none, or no
    /// attempt is wanted.
    #[serde(default)]
    replace: Vec<String>,
}

/// A readiness probe, with Kubernetes' fields and meaning.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct TurnProbe {
    #[schemars(flatten)]
    kind: TurnProbeKind,
    /// From the attempt's begin to the first try.
    initial_delay_seconds: u32,
    /// From one try to the next.
    #[schemars(range(min = 1))]
    period_seconds: u32,
    /// How long one try may take.
    #[schemars(range(min = 1))]
    timeout_seconds: u32,
    /// Successes in a row that make it ready.
    #[schemars(range(min = 1))]
    success_threshold: u32,
    /// Failures in a row that mean 'never ready' before the first success, and 'not ready' after it.
    #[schemars(range(min = 1))]
    failure_threshold: u32,
}

/// What is tried.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum TurnProbeKind {
    /// A command and its arguments, at least one; code 0 is a success.
    Exec(Vec<String>),
    /// An absolute path: there is such a file, and it was not changed before the attempt's begin.
    File(String),
    /// A line of stdout or stderr contains this text.
    Log(String),
}

/// What a shim does while no attempt is wanted.
#[derive(JsonSchema)]
#[schemars(tag = "then", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Then {
    /// Wait for the next turn.
    Stay,
    /// End the container with this code.
    Exit {
        /// The container's exit code.
        exit_code: u8,
        /// One line for a person, at most 200 bytes. Empty: none.
        #[schemars(length(max = 200))]
        message: String,
    },
    /// Wait for ever, so that a kubelet that restarts what exits does not run the step again.
    Park,
}

/// Everything that one instance of a step's shim has to say, whole and monotone.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", title = "report.json")]
struct ReportFile {
    version: Version,
    /// The run that the shim belongs to.
    run: Id,
    /// The life of the shim that speaks.
    instance: Id,
    /// Counts this instance's reports from 1.
    #[schemars(range(min = 1))]
    seq: u64,
    /// The newest turn that the shim has acted on.
    turn: u64,
    /// The newest attempt that this instance has begun; null: none yet.
    attempt: Option<Attempt>,
    /// When it was begun, just before its command was started.
    started_at: Option<Time>,
    /// When it had ended; null while it runs.
    ended_at: Option<Time>,
    /// How it ended; null while it runs.
    exit: Option<ReportedExit>,
    /// The shim stopped it because the turn's `timeout` was over. With `exit` only.
    timed_out: Option<bool>,
    /// What it used. With `exit` only.
    usage: Option<Usage>,
    /// Since when that attempt is ready by the turn's probe. Absent: it is not, or there is no such probe.
    ready_at: Option<Time>,
    /// When that attempt's probe had failed `failureThreshold` times in a row before its first success.
    not_ready_at: Option<Time>,
    /// A stop signal from outside the pod's process namespace that waits for an answer.
    stop_signal: Option<Signal>,
    /// The shim's process id as it sees it, for people: nothing is decided by it.
    pid: u32,
    /// The newest attempt of an earlier instance, until a turn for this instance acknowledges it.
    last: Option<ReportedLast>,
    /// The distinct references of command line and environment, without their brackets, until a turn for this instance
    /// shows that they were read. Absent: there are none.
    #[serde(default)]
    references: Vec<String>,
}

/// The newest attempt of an earlier instance, as a report has it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ReportedLast {
    /// Its number.
    attempt: Attempt,
    /// When it was begun.
    started_at: Time,
    /// When it had ended; null: nobody knows.
    ended_at: Option<Time>,
    /// How it ended; null: nobody knows.
    exit: Option<ReportedExit>,
    /// As in the report itself.
    timed_out: Option<bool>,
    /// As in the report itself.
    usage: Option<Usage>,
}

/// How a command ended, or why there was none, as a report has it.
#[derive(JsonSchema)]
#[schemars(untagged, rename_all_fields = "camelCase")]
enum ReportedExit {
    /// It exited.
    Code {
        /// With this code.
        code: u8,
    },
    /// A signal ended it.
    Signal {
        /// Which.
        signal: Signal,
        /// The kernel's out-of-memory killer sent it.
        oom: bool,
    },
    /// It could not be started.
    StartError {
        /// What failed.
        start_error: StartStage,
        /// Linux errno; with `postStart` the hook's exit code.
        errno: u16,
    },
    /// The attempt was begun, but no longer wanted before its command was started.
    NotStarted {
        /// Always true.
        #[schemars(extend("const" = true))]
        not_started: bool,
    },
}

#[cfg(test)]
mod tests {
    use podturn_wire as wire;
    use podturn_wire::{InstanceId, RunId};
    use serde_json::{Value, json};

    use crate::volume::schema::testing::{closed, end, exits, fits};

    #[test]
    fn every_turn_fits_its_schema() {
        let validator = closed(&super::turn_schema());
        let thens = [
            wire::Then::Stay,
            wire::Then::Park,
            wire::Then::Exit { code: 143, message: wire::Text::truncated("Cancelled") },
        ];
        for then in thens {
            let turn = wire::Turn {
                run: RunId(1),
                instance: (then != wire::Then::Stay).then_some(InstanceId(2)),
                turn: 7,
                ack: 3,
                attempt: (then == wire::Then::Stay).then_some(1),
                then,
                signal: 15,
                grace: 10_000,
                timeout: Some(5),
                coordinator_grace: 30_000,
                termination_log: wire::Text::new(),
            };
            for enclosed in enclosures() {
                let mut buffer = [0; wire::TURN_MAX];
                let length = turn.write_enclosing(&enclosed, &mut buffer).expect("it fits");
                let value: Value = serde_json::from_slice(&buffer[..length]).expect("a turn is JSON");
                fits_only(&validator, &value);
            }
        }
    }

    /// It fits, and with a number or a list of numbers in the place of any member it does not.
    fn fits_only(validator: &jsonschema::Validator, value: &Value) {
        fits(validator, value);
        for member in value.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let mut wrong = value.clone();
            wrong[member] = json!([1]);
            assert!(!validator.is_valid(&wrong), "{member} cannot be a list of numbers");
        }
    }

    fn enclosures() -> [wire::Enclosed<'static>; 4] {
        let kinds = [
            wire::ProbeKind::Exec(wire::Strings::new(&["pg_isready", "-q"])),
            wire::ProbeKind::File(wire::Quoted::new("/tmp/ready")),
            wire::ProbeKind::Log(wire::Quoted::new("ready")),
        ];
        let [exec, file, log] = kinds.map(|kind| wire::Enclosed {
            probe: Some(wire::Probe {
                kind,
                initial_delay_seconds: 0,
                period_seconds: 10,
                timeout_seconds: 1,
                success_threshold: 1,
                failure_threshold: 3,
            }),
            replace: wire::Strings::new(&["1.2.3", ""]),
        });
        [wire::Enclosed::default(), exec, file, log]
    }

    #[test]
    fn every_report_fits_its_schema() {
        let validator = closed(&super::report_schema());
        let arrival = wire::Report {
            run: RunId(1),
            instance: InstanceId(2),
            seq: 1,
            turn: 0,
            attempt: None,
            started_at: None,
            ended: None,
            ready_at: None,
            not_ready_at: None,
            stop_signal: None,
            pid: 42,
            last: None,
        };
        let mut reports = vec![arrival, wire::Report { attempt: Some(1), started_at: Some(5), ..arrival }];
        for exit in exits() {
            let last = Some(wire::Last { attempt: 1, started_at: 4, ended: Some(end(exit)) });
            let ended = wire::Report { attempt: Some(2), started_at: Some(5), ended: Some(end(exit)), ..arrival };
            let probed = wire::Report { ready_at: Some(6), not_ready_at: Some(7), ..ended };
            reports.extend([ended, probed, wire::Report { last, stop_signal: Some(15), ..arrival }]);
        }
        for report in reports {
            for references in [wire::Strings::default(), wire::Strings::new(&["plan.outcome"])] {
                let mut buffer = [0; wire::REPORT_MAX];
                let length = report.write_listing(references, &mut buffer).expect("it fits");
                let value: Value = serde_json::from_slice(&buffer[..length]).expect("a report is JSON");
                fits_only(&validator, &value);
            }
        }
    }
}
