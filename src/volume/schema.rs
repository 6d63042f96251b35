//! What crosses the volume as JSON Schemas: the turn, the report and the journal's lines.
//!
//! The turn and the report have a JSON form of their own in `wire`, which cannot allocate, and `turn` derives its
//! journal's form without a schema; the types here describe both. The tests below write one of everything with the real
//! code and hold it against the schema, in both directions. Within a version of the protocol members may be added, so the
//! schemas allow unknown ones.

#![expect(dead_code, reason = "only their schema is used")]

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};

use super::usage::Sample;

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

/// The JSON Schema of one line of `journal.jsonl`.
#[must_use]
pub fn journal_schema() -> Schema {
    schema_for!(JournalLine)
}

/// The JSON Schema of one line of the coordinator's log.
#[must_use]
pub fn log_schema() -> Schema {
    schema_for!(LogLine)
}

/// Sixteen lower-case hex digits.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^[0-9a-f]{16}$"))]
struct Id(String);

/// The version of the protocol.
#[derive(JsonSchema)]
#[schemars(extend("const" = 1))]
struct Version(u64);

/// A Linux signal number.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1, "maximum" = 64))]
struct Signal(u8);

/// The number of an attempt, from 1 within the run.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1))]
struct Attempt(u32);

/// A moment: nanoseconds of CLOCK_BOOTTIME (clock_gettime(2)).
#[derive(JsonSchema)]
struct Time(u64);

/// A duration in milliseconds.
#[derive(JsonSchema)]
struct Millis(u64);

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

/// The stage at which a command could not be started.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum StartStage {
    /// Ending what the attempt before left behind, or clearing its outputs.
    Clear,
    /// Making the child process.
    Fork,
    /// Giving the child its process group, signals and terminal.
    Prepare,
    /// Putting values in the place of references.
    Replace,
    /// execve(2).
    Exec,
    /// The step's `postStart` hook failed while the command ran.
    PostStart,
}

/// What an attempt used, from wait4(2).
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Usage {
    /// Processor time, user and system.
    cpu: Millis,
    /// The largest resident set of one process, in KiB.
    max_rss: u64,
}

/// One line of the coordinator's log, where that is JSON. Its first member, `podturn`, tells what it is.
#[derive(JsonSchema)]
#[schemars(
    title = "a line of the coordinator's log",
    tag = "podturn",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum LogLine {
    /// A coordinator begins. All events so far follow, so that the log of each container is whole.
    Run {
        /// When the line was written (RFC 3339).
        time: String,
        /// When the run's first coordinator started (RFC 3339).
        started_at: Option<String>,
        /// `run.json`: the run's id, its plan as it was checked, and how the pod is made.
        run: BTreeMap<String, serde_json::Value>,
    },
    /// An event: a line of the journal.
    Event {
        /// When the line was written (RFC 3339); `at` is when it happened.
        time: String,
        /// The name of the step that it is about; `step` is its place in the plan.
        name: Option<String>,
        #[schemars(flatten)]
        event: JournalLine,
    },
    /// What an attempt used, up to some moment of it: a line of usage.jsonl. May come again after a restart of the coordinator.
    Usage {
        /// When the line was written (RFC 3339).
        time: String,
        #[schemars(flatten)]
        sample: Sample,
    },
    /// Every step has ended. May come twice; the last one counts.
    Outcome {
        /// When the line was written (RFC 3339).
        time: String,
        /// Succeeded, Failed or Cancelled.
        outcome: String,
        /// When the first coordinator started (RFC 3339).
        started_at: Option<String>,
        /// When the last step had ended (RFC 3339).
        ended_at: Option<String>,
    },
    /// Something that a person should know.
    Message {
        /// When the line was written (RFC 3339).
        time: String,
        /// error, warn, info, debug or trace.
        level: String,
        /// What.
        message: String,
    },
    /// Nobody read the log, and it was not waited for: lines are missing.
    Lost {
        /// How many.
        lines: u64,
    },
}

/// One event that the coordinator acted on.
#[derive(JsonSchema)]
#[schemars(title = "a line of journal.jsonl")]
struct JournalLine {
    /// Counts from 1 without a gap.
    #[schemars(range(min = 1))]
    seq: u64,
    /// When the coordinator took notice.
    at: Time,
    #[schemars(flatten)]
    kind: Kind,
}

/// The kinds of events.
#[derive(JsonSchema)]
#[schemars(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Kind {
    /// A coordinator of this run starts.
    CoordinatorStarted {
        /// The node was rebooted since the start before.
        rebooted: bool,
    },
    /// A new instance of the step's shim is there.
    Arrived {
        step: Step,
        instance: Id,
        /// The `seq` of the report that says so.
        report: u64,
        /// The newest attempt of an earlier instance.
        last: Option<Last>,
        /// The `$(...)` references in the command line and environment of its container, without the brackets.
        #[schemars(default)]
        references: Vec<String>,
    },
    /// A report shows an attempt as begun.
    Begun {
        step: Step,
        instance: Id,
        /// The `seq` of the report that says so.
        report: u64,
        attempt: Attempt,
        /// When, by the shim's clock.
        started_at: Time,
    },
    /// A report shows an attempt as ended.
    Ended {
        step: Step,
        instance: Id,
        /// The `seq` of the report that says so.
        report: u64,
        attempt: Attempt,
        /// When it was begun.
        started_at: Time,
        /// When and how it ended.
        ended: Ended,
    },
    /// What a readiness probe of an attempt found.
    Probed {
        step: Step,
        instance: Id,
        /// The `seq` of the report that says so; 0: the coordinator tried it itself.
        report: u64,
        attempt: Attempt,
        /// When.
        probed_at: Time,
        readiness: Readiness,
        /// Why it is not ready, as far as that is known.
        #[schemars(default)]
        why: String,
    },
    /// What the command of an attempt left behind for others.
    Outputs {
        step: Step,
        attempt: Attempt,
        /// By key.
        values: BTreeMap<String, String>,
        /// What cannot be an output, and why.
        #[schemars(default)]
        refused: BTreeMap<String, String>,
    },
    /// A step's `when` was evaluated.
    Decided { step: Step, decision: Decided },
    /// A report shows a stop signal from outside the pod's process namespace.
    StopSignal {
        step: Step,
        instance: Id,
        /// The `seq` of the report that says so.
        report: u64,
        signal: Signal,
    },
    /// The instance is dead, and nothing of its process tree lives.
    Lost {
        step: Step,
        instance: Id,
        /// Something of its tree could not be seen to end, so its command may still run.
        survivors: bool,
    },
    /// Who the kernel says is at the other end of the instance's connection.
    Connected {
        step: Step,
        instance: Id,
        /// The process id, as the coordinator's process namespace counts.
        pid: u32,
        /// When it started, in clock ticks since boot.
        start_ticks: u64,
        /// Its session, where that is not the coordinator's own too.
        session: Option<u32>,
        /// Its control group, where that is not the coordinator's own too.
        cgroup: Option<String>,
    },
    /// The instance does not answer, and could not be ended either.
    Deaf { step: Step, instance: Id },
    /// The attempt was not begun before it was no longer wanted, and never will be.
    NotBegun { step: Step, instance: Id, attempt: Attempt },
    /// The time has come of at least one timer.
    Deadline,
    /// A person, or a signal to the coordinator, asks for something.
    Requested {
        /// For what.
        request: Request,
    },
    /// The volume has no room left for the journal.
    VolumeFull,
}

/// The place of a step in the plan, from 0.
#[derive(JsonSchema)]
struct Step(u32);

/// What can be asked for.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum Request {
    /// End the plan.
    Cancel,
    /// The pod is being deleted: everything has to be over in this time.
    Terminate { grace: Millis },
    /// Give no turn until `resume`.
    Pause,
    /// End a pause.
    Resume,
    /// Run a Paused step again.
    Retry { step: Step, attempt: u32 },
    /// Count a step that waits, or is Paused, as Skipped.
    Skip { step: Step, attempt: u32 },
    /// Let a step that needs an approval run.
    Approve { step: Step },
    /// End one step.
    Stop { step: Step, attempt: u32 },
}

/// What a readiness probe says of an attempt.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum Readiness {
    /// It is ready.
    Ready,
    /// It is not ready any more.
    Unready,
    /// It did not become ready in time.
    NotReady,
}

/// What came of a step's `when`.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
enum Decided {
    /// It is true.
    Run,
    /// It is false.
    Skip,
    /// It has no value, and why.
    Error(String),
}

/// The newest attempt of an earlier instance.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Last {
    /// Its number.
    attempt: Attempt,
    /// When it was begun.
    started_at: Time,
    /// Its end; null: begun, and nobody knows how it ended.
    ended: Option<Ended>,
}

/// The end of an attempt.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Ended {
    /// When it had ended.
    at: Time,
    /// How.
    exit: Exit,
    /// The shim stopped it because the turn's `timeout` was over.
    timed_out: bool,
    /// What it used.
    usage: Usage,
}

/// How a command ended, or why there was none.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Exit {
    /// It exited with this code.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// Which.
        number: Signal,
        /// The kernel's out-of-memory killer sent it.
        oom: bool,
    },
    /// It could not be started.
    StartError {
        /// What failed.
        stage: StartStage,
        /// Linux errno; with `postStart` the hook's exit code.
        errno: u16,
    },
    /// The attempt was begun, but no longer wanted before its command was started.
    NotStarted,
}

#[cfg(test)]
mod tests {
    use podturn_turn::{Decision, Event, Kind, Outputs, Probed, Process, Request, StepId};
    use podturn_wire as wire;
    use podturn_wire::{InstanceId, RunId};
    use serde_json::{Value, json};

    /// The schema with every object closed: so that a member that it does not know is an error here.
    fn closed(schema: &schemars::Schema) -> jsonschema::Validator {
        let mut schema = schema.clone().to_value();
        schema["unevaluatedProperties"] = json!(false);
        for definition in schema["$defs"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            if definition.get("type") == Some(&json!("object")) || definition.get("oneOf").is_some() {
                definition["unevaluatedProperties"] = json!(false);
            }
        }
        jsonschema::validator_for(&schema).expect("the schema is one")
    }

    fn fits(validator: &jsonschema::Validator, value: &Value) {
        let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{value}\n{}", errors.join("\n"));
        let mut more = value.clone();
        more["noSuchMember"] = json!(1);
        assert!(!validator.is_valid(&more), "a member that the schema does not know is seen");
    }

    fn exits() -> [wire::Exit; 6] {
        [
            wire::Exit::Code(3),
            wire::Exit::Signal { number: 9, oom: true },
            wire::Exit::StartError { stage: wire::StartStage::Prepare, errno: 13 },
            wire::Exit::StartError { stage: wire::StartStage::Clear, errno: 5 },
            wire::Exit::StartError { stage: wire::StartStage::PostStart, errno: 3 },
            wire::Exit::NotStarted,
        ]
    }

    fn end(exit: wire::Exit) -> wire::Ended {
        wire::Ended { at: 9, exit, timed_out: false, usage: wire::Usage { cpu: 12, max_rss: 3400 } }
    }

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

    /// The kinds after `kind` in the order below. A new kind does not compile until it has its place here.
    fn after(kind: Option<&Kind>) -> Option<Kind> {
        let (step, instance, report, attempt, started_at) = (StepId(4), InstanceId(2), 1, 1, 5);
        Some(match kind {
            None => Kind::CoordinatorStarted { rebooted: false },
            Some(Kind::CoordinatorStarted { .. }) => {
                let last = Some(wire::Last { attempt, started_at, ended: Some(end(wire::Exit::Code(1))) });
                Kind::Arrived { step, instance, report, last, references: vec!["steps.a.phase".to_owned()] }
            }
            Some(Kind::Arrived { .. }) => Kind::Begun { step, instance, report, attempt, started_at },
            Some(Kind::Begun { .. }) => {
                let ended = end(wire::Exit::Signal { number: 9, oom: false });
                Kind::Ended { step, instance, report, attempt, started_at, ended }
            }
            Some(Kind::Ended { .. }) => Kind::Probed {
                step,
                instance,
                report,
                attempt,
                probed_at: 7,
                readiness: Probed::Unready,
                why: "refused".to_owned(),
            },
            Some(Kind::Probed { .. }) => Kind::Decided { step, decision: Decision::Error("no such key".to_owned()) },
            Some(Kind::Decided { .. }) => {
                let both = || [("key".to_owned(), "value".to_owned())].into();
                Kind::Outputs { step, attempt, outputs: Outputs { values: both(), refused: both() } }
            }
            Some(Kind::Outputs { .. }) => Kind::StopSignal { step, instance, report, signal: 15 },
            Some(Kind::StopSignal { .. }) => Kind::Lost { step, instance, survivors: true },
            Some(Kind::Lost { .. }) => {
                let process = Process { pid: 7, start_ticks: 8, session: Some(9), cgroup: Some("/x".to_owned()) };
                Kind::Connected { step, instance, process }
            }
            Some(Kind::Connected { .. }) => Kind::Deaf { step, instance },
            Some(Kind::Deaf { .. }) => Kind::NotBegun { step, instance, attempt },
            Some(Kind::NotBegun { .. }) => Kind::Deadline,
            Some(Kind::Deadline) => Kind::Requested { request: Request::Cancel },
            Some(Kind::Requested { .. }) => Kind::VolumeFull,
            Some(Kind::VolumeFull) => return None,
        })
    }

    #[test]
    fn every_line_of_the_log_fits_its_schema() {
        use crate::volume::log::Line;
        use crate::volume::usage::Sample;
        let validator = jsonschema::validator_for(&super::log_schema().to_value()).expect("the schema is one");
        let time = || "2026-11-24T10:00:00.000Z".to_owned();
        let run = serde_json::from_value(json!({
            "version": 1, "run": "0123456789abcdef", "bootId": "b", "placement": "sidecar", "durability": "process",
            "plan": { "steps": [], "maxParallel": null, "pools": [], "timeout": null, "onFailure": "Continue", "gracePeriod": 1,
                "arrivalTimeout": 1, "coordinatorGrace": 1, "pauseTimeout": null, "longRunning": false, "parameters": [] },
        }));
        let mut lines = vec![
            Line::Run { time: time(), started_at: Some(time()), run: run.expect("a run") },
            Line::Outcome { time: time(), outcome: "Failed".to_owned(), started_at: Some(time()), ended_at: None },
            Line::Message { time: time(), level: "warn".to_owned(), message: "full".to_owned() },
            Line::Lost { lines: 3 },
            Line::Usage {
                time: time(),
                sample: Sample {
                    step: "build".to_owned(),
                    attempt: 1,
                    after_ms: 1_000,
                    cpu_ms: 900,
                    rss_kib: 4_096,
                    max_rss_kib: 4_096,
                    processes: 2,
                    read_bytes: Some(0),
                    write_bytes: Some(512),
                },
            },
        ];
        let kinds = std::iter::successors(after(None), |kind| after(Some(kind)));
        lines.extend(kinds.map(|kind| {
            let name = kind.step().map(|_| "build".to_owned());
            Line::Event { time: time(), name, event: Event { seq: 1, at: 2, kind } }
        }));
        for line in lines {
            let mut written = Vec::new();
            line.write(&mut written);
            assert!(written.starts_with(Line::START.as_bytes()), "{line:?}");
            let mut value: Value = serde_json::from_slice(&written).expect("a line is JSON");
            let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{value}\n{}", errors.join("\n"));
            let read: Line = serde_json::from_value(value.clone()).expect("it comes back");
            assert_eq!(read, line);
            value["podturn"] = json!("noSuchLine");
            assert!(!validator.is_valid(&value), "{value}");
        }
    }

    #[test]
    fn every_line_of_the_journal_fits_its_schema() {
        let validator = closed(&super::journal_schema());
        let mut kinds: Vec<Kind> = std::iter::successors(after(None), |kind| after(Some(kind))).collect();
        kinds.extend(exits().map(|exit| Kind::Ended {
            step: StepId(0),
            instance: InstanceId(1),
            report: 2,
            attempt: 1,
            started_at: 3,
            ended: end(exit),
        }));
        let (step, attempt) = (StepId(4), 0);
        let requests = [
            Request::Terminate { grace: 30_000 },
            Request::Pause,
            Request::Resume,
            Request::Retry { step, attempt },
            Request::Skip { step, attempt },
            Request::Approve { step },
            Request::Stop { step, attempt },
        ];
        kinds.extend(requests.map(|request| Kind::Requested { request }));
        kinds.extend([Decision::Run, Decision::Skip].map(|decision| Kind::Decided { step, decision }));
        for kind in kinds {
            let event = Event { seq: 1, at: 2, kind };
            let mut value = serde_json::to_value(&event).expect("an event is JSON");
            fits(&validator, &value);
            value["event"] = json!("noSuchEvent");
            assert!(!validator.is_valid(&value), "{value}");
        }
    }
}
