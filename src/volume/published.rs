//! `state.json`: the published view of a run, for people and programs. Rebuilt at will; nothing is decided by it.
//!
//! Belongs here: what is shown, and its JSON form (schema `state`). Times are wall-clock times here and nowhere else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use podturn_turn::{Attempt, Condition, Outcome, Phase, Probe, Reason, State as Core, StepId, StepView, Time, Waits};
use podturn_wire::{Ended, Exit, VERSION};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

use super::usage::Peaks;

/// The two clocks at one moment: what turns a time of the protocol into one for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// `CLOCK_BOOTTIME`, ns.
    pub boottime: Time,
    /// `CLOCK_REALTIME`, ns since 1970.
    pub realtime: u64,
}

impl WallClock {
    /// A time of the protocol as RFC 3339, to the millisecond.
    #[must_use]
    pub fn show(self, at: Time) -> String {
        let nanoseconds = i128::from(self.realtime) - i128::from(self.boottime) + i128::from(at);
        let milliseconds = i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(milliseconds).map(|at| format!("{at:.3}")).unwrap_or_default()
    }
}

/// The JSON Schema of `state.json`.
#[must_use]
pub fn state_schema() -> Schema {
    schema_for!(State)
}

/// A run as it stands: phases, turns, reasons, times. A view, whole each time it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "state.json")]
pub struct State {
    /// The version of the protocol.
    pub version: u64,
    /// The run's id: 16 hex digits.
    pub run: String,
    /// How many events of the journal this shows.
    pub seq: u64,
    /// How the plan ended: Succeeded, Failed or Cancelled; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// When the first coordinator started (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When the last step had ended (RFC 3339); absent while the plan runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// A person has paused the plan: no step gets a turn.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// The steps, in the plan's order.
    pub steps: Vec<Step>,
    /// How many tasks may run at once; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// The pools, in the plan's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
}

/// One step as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its name, which is its container's.
    pub name: String,
    /// Pending, Awaiting, Granted, Running, Ready, Backoff, Paused, Stopping, Succeeded, Failed, Skipped, Omitted or
    /// Cancelled.
    pub phase: String,
    /// Why, in one CamelCase word; absent while there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same as a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What it waits for before its turn: Dependencies, Others (every other step to end), When, Approval, Decision (a
    /// person's, about its failure), Container, Backoff, Hold (all turns are held back) or Slot; absent: for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What it waits or waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// It is a service.
    #[serde(default, skip_serializing_if = "is_false")]
    pub service: bool,
    /// How a service becomes ready, in short, such as `tcpSocket :5432`; absent: as soon as it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<String>,
    /// The failures of that probe since its last success; absent: there were none, or the coordinator does not try it (`exec`,
    /// `file`, `log`), or it has started since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_failures: Option<ProbeFailures>,
    /// Its `when`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What a person is asked before its turn; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// Units of pools that it holds while it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: BTreeMap<String, u32>,
    /// It is a finally step.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finally: bool,
    /// Its failure counts as success for others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub allow_failure: bool,
    /// Whether its container is there now.
    pub arrived: bool,
    /// The newest life of its shim: 16 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The number of its desired turn.
    pub turn: u64,
    /// Its newest attempt, granted or begun; 0: none yet.
    pub attempt: u32,
    /// What its newest attempt uses, while it runs; absent: nobody has looked yet, or its processes cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// It runs, and its processes cannot be seen: its container has a process namespace of its own. What it used is told at its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unseen: bool,
    /// When its conditions were met (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<String>,
    /// When its first attempt was begun (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When its newest attempt became ready for the first time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<String>,
    /// When it ended (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<String>,
    /// From its first begin to its end, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When its next attempt is due, in Backoff (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<String>,
    /// The exit code of its command's last attempt, 128 + n for a signal n; absent if it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The exit code that its container ends with, once the step has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_exit_code: Option<u8>,
    /// What its command left for others, by key; once it has succeeded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// What lay there and cannot be an output, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs_refused: BTreeMap<String, String>,
    /// Every attempt that is over, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
}

/// What an attempt uses: all processes that its command started, as `/proc` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Processor time so far, user and system, in ms.
    pub cpu_ms: u64,
    /// The sum of their resident sets now, in KiB. What they share is counted for each.
    pub rss_kib: u64,
    /// The largest such sum so far.
    pub peak_rss_kib: u64,
    /// The largest resident set that one of them ever had, in KiB.
    pub max_rss_kib: u64,
    /// How many processes there are now.
    pub processes: u32,
    /// Bytes fetched from storage; absent: the coordinator may not look (another user's processes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
}

/// Failures of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeFailures {
    /// How many in a row.
    pub in_a_row: u32,
    /// What was wrong at the last one.
    pub last: String,
}

/// What a step waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// On whom.
    pub step: String,
    /// Started, Ready, Succeeded, Failed or Completed.
    pub condition: String,
    /// Whether it is met now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub met: bool,
}

/// One attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// Its number, from 1.
    pub attempt: u32,
    /// How it counted, in one CamelCase word.
    pub reason: String,
    /// When it was begun (RFC 3339); absent: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it had ended, or was judged (RFC 3339).
    pub ended_at: String,
    /// The exit code of its command, 128 + n for a signal n; absent: nobody knows, or it never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal that ended its command (Linux number).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// Processor time of its command, user and system, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The largest resident set of one of its processes, in KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rss_kib: Option<u64>,
    /// The largest sum of the resident sets of its processes that was seen, in KiB; absent: nobody looked in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_kib: Option<u64>,
    /// The most processes at once that were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Bytes fetched from storage, when that was last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_bytes: Option<u64>,
}

/// A pool as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its units.
    pub capacity: u32,
    /// Those that are held now.
    pub in_use: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's interface")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl State {
    /// The view of a core's state.
    #[must_use]
    pub fn of(core: &Core, clock: WallClock) -> Self {
        let plan = core.plan();
        let steps: Vec<Step> = (0..plan.steps.len() as u32).map(|index| Step::of(core, StepId(index), clock)).collect();
        let ends = (0..plan.steps.len() as u32).filter_map(|index| core.ended_at(StepId(index)));
        let pools = plan.pools.iter().enumerate().map(|(index, pool)| Pool {
            name: pool.name.clone(),
            capacity: pool.capacity,
            in_use: core.pool_in_use(index),
        });
        Self {
            version: VERSION,
            run: core.run().to_string(),
            seq: core.seq(),
            outcome: core.outcome().map(outcome_word),
            started_at: core.first_start().map(|at| clock.show(at)),
            ended_at: core.outcome().and_then(|_| ends.max()).map(|at| clock.show(at)),
            paused: core.is_paused(),
            steps,
            max_parallel: plan.max_parallel,
            pools: pools.collect(),
        }
    }
}

impl Step {
    fn of(core: &Core, id: StepId, clock: WallClock) -> Self {
        let (plan, view) = (core.plan(), core.view(id));
        let step = &plan.steps[id.index()];
        let depends_on = step.depends_on.iter().map(|dependency| Dependency {
            step: plan.steps[dependency.step.index()].name.clone(),
            condition: condition_word(dependency.condition),
            met: core.is_met(*dependency),
        });
        let uses = step.uses.iter().map(|wanted| (plan.pools[wanted.pool as usize].name.clone(), wanted.units));
        let show = |at: Option<Time>| at.map(|at| clock.show(at));
        Self {
            name: step.name.clone(),
            phase: phase_word(view.phase),
            reason: view.reason.map(reason_word),
            waits_for: core.waits_for(id).map(waits_word),
            depends_on: depends_on.collect(),
            service: step.service,
            readiness: step.readiness.as_ref().map(|readiness| probe_words(&readiness.probe)),
            probe_failures: None,
            when: step.when.clone(),
            approval: step.approval.clone(),
            uses: uses.collect(),
            finally: step.finally,
            allow_failure: step.allow_failure,
            arrived: view.arrived,
            instance: view.instance.map(|instance| instance.to_string()),
            turn: core.turn_for(id).turn,
            attempt: view.attempts,
            usage: None,
            unseen: false,
            due_at: show(view.due_at),
            started_at: show(view.started_at),
            ready_at: show(view.ready_at),
            ended_at: show(view.ended_at),
            duration_ms: duration(&view),
            next_attempt_at: show(view.next_attempt_at),
            exit_code: view.last_end.and_then(exit_code),
            container_exit_code: view.container_exit_code,
            attempts: view.history.iter().map(|attempt| AttemptView::of(attempt, clock)).collect(),
            message: view.message,
            outputs: view.outputs.values,
            outputs_refused: view.outputs.refused,
        }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt, clock: WallClock) -> Self {
        let signal = attempt.ended.and_then(|ended| match ended.exit {
            Exit::Signal { number, .. } => Some(number),
            _ => None,
        });
        Self {
            attempt: attempt.number,
            reason: reason_word(attempt.reason),
            started_at: attempt.started_at.map(|at| clock.show(at)),
            ended_at: clock.show(attempt.ended_at),
            exit_code: attempt.ended.and_then(exit_code),
            signal,
            cpu_ms: attempt.ended.map(|ended| ended.usage.cpu),
            max_rss_kib: attempt.ended.map(|ended| ended.usage.max_rss),
            peak_rss_kib: None,
            processes: None,
            read_bytes: None,
            write_bytes: None,
        }
    }

    /// What was seen while it ran, beside what its shim said at its end.
    pub fn add_usage(&mut self, peaks: &Peaks) {
        self.peak_rss_kib = Some(peaks.rss_kib);
        self.processes = Some(peaks.processes);
        self.read_bytes = peaks.read_bytes;
        self.write_bytes = peaks.write_bytes;
    }
}

fn duration(view: &StepView) -> Option<u64> {
    let (started, ended) = (view.started_at?, view.ended_at?);
    Some(ended.saturating_sub(started) / 1_000_000)
}

/// An attempt that was called back before its command was started has none.
fn exit_code(ended: Ended) -> Option<u8> {
    (ended.exit != Exit::NotStarted).then(|| ended.exit.code())
}

/// As a manifest says it, in one line. Without a host it is the pod itself.
fn probe_words(probe: &Probe) -> String {
    match probe {
        Probe::Exec { command } => format!("exec {}", in_short(&command.join(" "))),
        Probe::HttpGet { host, port, path, https: _, headers: _ } => format!("httpGet {host}:{port}{path}"),
        Probe::TcpSocket { host, port } => format!("tcpSocket {host}:{port}"),
        Probe::Grpc { port, service } if service.is_empty() => format!("grpc :{port}"),
        Probe::Grpc { port, service } => format!("grpc :{port} {service}"),
        Probe::File { path } => format!("file {path}"),
        Probe::Log { contains } => format!("log {}", in_short(contains)),
    }
}

/// The beginning of what may be a whole script: its first line.
fn in_short(text: &str) -> String {
    const LONGEST: usize = 60;
    let line = text.trim_start().lines().next().unwrap_or_default();
    let short = &line[..line.floor_char_boundary(LONGEST)];
    if short.len() == text.len() { short.to_owned() } else { format!("{} ...", short.trim_end()) }
}

// The words are the names of the variants: the same as in the journal and in messages.
fn phase_word(phase: Phase) -> String {
    format!("{phase:?}")
}

fn waits_word(waits: Waits) -> String {
    match waits {
        Waits::Dependencies(_) => "Dependencies".to_owned(),
        other => format!("{other:?}"),
    }
}

fn reason_word(reason: Reason) -> String {
    format!("{reason:?}")
}

fn condition_word(condition: Condition) -> String {
    format!("{condition:?}")
}

fn outcome_word(outcome: Outcome) -> String {
    format!("{outcome:?}")
}
