//! What is written line by line: the journal, and the coordinator's log, which has its events too.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, schema_for};

use super::{Attempt, Id, Millis, Signal, StartStage, Time, Usage};
use crate::volume::usage::Sample;

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
    use podturn_wire::InstanceId;
    use serde_json::{Value, json};

    use crate::volume::schema::testing::{closed, end, exits, fits};

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
