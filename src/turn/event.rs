//! What can happen: the events that the coordinator journals and the core is told, in order.
//!
//! The JSON form of an [`Event`] is one line of the journal. Whoever adds a kind adds it to `docs/protocol.md` too.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use podturn_wire::{Ended, InstanceId, Last};
use serde::{Deserialize, Serialize};

use crate::{Millis, StepId, Time};

/// One thing that happened, with its place in the journal and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts from 1 without a gap.
    pub seq: u64,
    /// When the coordinator took notice. Never falls within one boot.
    pub at: Time,
    /// What.
    #[serde(flatten)]
    pub kind: Kind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Kind {
    /// A coordinator of this run starts: the first event of a journal, and again after each restart. The plan's
    /// `timeout` runs from the first one.
    CoordinatorStarted {
        /// The boot id differs from that of the start before: the node was rebooted, no process of the run is left,
        /// and the clock began anew. Every deadline is moved so that what was left of it is left from `at` on. What
        /// the mailboxes still tell of before the reboot is told before this, at the time of the event before: after it
        /// every earlier instance is forgotten, and what was begun counts as `Interrupted`.
        rebooted: bool,
    },
    /// A new instance of the step's shim is there (rule C4). It proves that the one before is dead: that one's
    /// attempt is settled first, by `last`.
    Arrived {
        /// Whose.
        step: StepId,
        /// Which life of its shim.
        instance: InstanceId,
        /// The `seq` of the report that says so.
        report: u64,
        /// The newest attempt of an earlier instance.
        last: Option<Last>,
        /// The `$(...)` references in the command line and environment of its container, without the brackets.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        references: Vec<String>,
    },
    /// A report shows an attempt as begun.
    Begun {
        /// Whose.
        step: StepId,
        /// By which instance.
        instance: InstanceId,
        /// The `seq` of the report that says so.
        report: u64,
        /// Which attempt.
        attempt: u32,
        /// When, by the shim's clock, which is the same clock.
        started_at: Time,
    },
    /// A report shows an attempt as ended. If its begin was not journaled before, this says it too.
    Ended {
        /// Whose.
        step: StepId,
        /// By which instance.
        instance: InstanceId,
        /// The `seq` of the report that says so.
        report: u64,
        /// Which attempt.
        attempt: u32,
        /// When it was begun.
        started_at: Time,
        /// When and how it ended.
        ended: Ended,
    },
    /// What a readiness probe of the present attempt found: the shim's (in a report) or the coordinator's own.
    Probed {
        /// Whose.
        step: StepId,
        /// Of which instance.
        instance: InstanceId,
        /// The `seq` of the report that says so; 0: the coordinator tried it itself.
        report: u64,
        /// Which attempt.
        attempt: u32,
        /// When it was found.
        probed_at: Time,
        /// What.
        readiness: Probed,
        /// Why it is not ready, as far as that is known, in a few words; empty: nothing is.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
    /// What the command of an attempt left behind for others; told before the end of that attempt, and only if there is
    /// something.
    Outputs {
        /// Whose.
        step: StepId,
        /// Which attempt.
        attempt: u32,
        /// What.
        #[serde(flatten)]
        outputs: Outputs,
    },
    /// A step's `when` was evaluated: the answer to [`crate::State::question`].
    Decided {
        /// Whose.
        step: StepId,
        /// What came of it.
        decision: Decision,
    },
    /// A report shows a stop signal from outside the pod's process namespace that waits for an answer.
    StopSignal {
        /// Whose.
        step: StepId,
        /// By which instance.
        instance: InstanceId,
        /// The `seq` of the report that says so.
        report: u64,
        /// Linux signal number.
        signal: u8,
    },
    /// The instance is dead, nothing of its process tree lives, and its last report was read and told before (rule
    /// C6).
    Lost {
        /// Whose.
        step: StepId,
        /// Which life of its shim.
        instance: InstanceId,
        /// Something of its tree could not be seen to end within the grace period, so its command may still run.
        survivors: bool,
    },
    /// Who the kernel says is at the other end of the instance's connection. The core keeps nothing of it: it is in the
    /// journal so that a later coordinator can examine a process that no connection names any more (rule C9).
    Connected {
        /// Whose.
        step: StepId,
        /// Which life of its shim.
        instance: InstanceId,
        /// The process, as the coordinator's process namespace counts.
        #[serde(flatten)]
        process: Process,
    },
    /// The instance does not answer, and could not be ended either (rule C10): its attempt is no longer wanted, with the
    /// verdict `ShimLost`. A turn without attempt follows, then `NotBegun`, `Ended` or `Lost`. Without an attempt in
    /// hand it counts as `Lost`.
    Deaf {
        /// Whose.
        step: StepId,
        /// Which life of its shim.
        instance: InstanceId,
    },
    /// A turn without attempt was written after one with this attempt, and the report that was read after that does not
    /// show it as begun: by rule S6 it never will be (rule C10). It may be judged at once.
    NotBegun {
        /// Whose.
        step: StepId,
        /// By which instance.
        instance: InstanceId,
        /// Which attempt.
        attempt: u32,
    },
    /// The time has come of at least one timer: every timer that is due at `at` goes off, oldest first.
    Deadline,
    /// A person, or a signal to the coordinator, asks for something.
    Requested {
        /// For what.
        request: Request,
    },
    /// The volume has no room left for the journal. The last event that the reserve was kept for.
    VolumeFull,
}

impl Kind {
    /// The step that it is about; `None`: it is about the whole run.
    #[must_use]
    pub const fn step(&self) -> Option<StepId> {
        match *self {
            Self::Arrived { step, .. }
            | Self::Begun { step, .. }
            | Self::Ended { step, .. }
            | Self::Probed { step, .. }
            | Self::Decided { step, .. }
            | Self::Outputs { step, .. }
            | Self::StopSignal { step, .. }
            | Self::Lost { step, .. }
            | Self::Connected { step, .. }
            | Self::Deaf { step, .. }
            | Self::NotBegun { step, .. } => Some(step),
            Self::CoordinatorStarted { .. } | Self::Deadline | Self::Requested { .. } | Self::VolumeFull => None,
        }
    }
}

/// What a readiness probe says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probed {
    /// `successThreshold` successes in a row.
    Ready,
    /// `failureThreshold` failures in a row after it had been ready.
    Unready,
    /// `failureThreshold` failures in a row before it was ready for the first time.
    NotReady,
}

/// Files that a command left in its outputs directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outputs {
    /// By key. One newline at the end is not part of a value.
    pub values: BTreeMap<String, String>,
    /// What cannot be an output, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
}

impl Outputs {
    /// Whether there is nothing, good or bad.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.refused.is_empty()
    }
}

/// What came of a step's `when`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// It is true.
    Run,
    /// It is false.
    Skip,
    /// It has no truth value, and why.
    Error(String),
}

/// A process that no other one can be mistaken for, and what tells its offspring (proc_pid_stat(5), cgroups(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: a process id is used again, the pair of both is not.
    pub start_ticks: u64,
    /// Its session, where that is not the coordinator's own too.
    pub session: Option<u32>,
    /// Its control group, where that is not the coordinator's own too.
    pub cgroup: Option<String>,
}

/// What can be asked for. A request that is about an attempt names it: repeated, or come too late, it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// End the plan: running steps are stopped, pending ones Cancelled, then finally steps run. A second one stops
    /// those too.
    Cancel,
    /// The pod is being deleted: everything has to be over in this time. As `Cancel`, but what is told to stop, finally steps
    /// too, shares that time.
    Terminate {
        /// The pod's grace, in ms.
        grace: Millis,
    },
    /// No step gets a turn until `Resume` or `Cancel`; what runs goes on, and so do all timers.
    Pause,
    /// Ends a `Pause`.
    Resume,
    /// Run a Paused step again, in place.
    Retry {
        /// Which step.
        step: StepId,
        /// The attempt that failed.
        attempt: u32,
    },
    /// Let a step that waits, or is Paused, count as Skipped.
    Skip {
        /// Which step.
        step: StepId,
        /// Its newest attempt; 0: none.
        attempt: u32,
    },
    /// Let a step that needs an approval run.
    Approve {
        /// Which step.
        step: StepId,
    },
    /// End this step: a task is Cancelled, a service has Succeeded.
    Stop {
        /// Which step.
        step: StepId,
        /// Its newest attempt; 0: none.
        attempt: u32,
    },
}

impl Request {
    /// The step that it is about; `None`: the whole plan.
    #[must_use]
    pub const fn step(self) -> Option<StepId> {
        match self {
            Self::Cancel | Self::Terminate { .. } | Self::Pause | Self::Resume => None,
            Self::Retry { step, .. } | Self::Skip { step, .. } | Self::Approve { step } | Self::Stop { step, .. } => {
                Some(step)
            }
        }
    }
}
