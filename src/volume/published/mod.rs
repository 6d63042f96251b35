//! `state.json`: the published view of a run, for people and programs. Rebuilt at will; nothing is decided by it.
//!
//! Belongs here: its JSON form (schema `state`). Times are wall-clock times here and nowhere else. Does not belong here: how it is made
//! (`of_core`).

mod of_core;

use std::collections::BTreeMap;

use jiff::Timestamp;
use podturn_turn::Time;
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize};

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
    /// It runs, and its processes cannot be seen: its container has a process namespace of its own, or a runtime that names no processes
    /// (gVisor). What it used is told at its end.
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
