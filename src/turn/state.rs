//! The state of a run and the one function that changes it.

use alloc::string::String;
use podturn_wire::{Ended, InstanceId, RunId, Turn};
use serde::{Deserialize, Serialize};

use crate::{Event, Plan, StepId, Time};

/// Where a step is. `Skipped`, `Ready`, `Awaiting` and `Paused` come with services, `when`, approvals and `Pause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its dependencies, its container, or a slot.
    Pending,
    /// Has its turn; its shim has not reported the attempt as begun.
    Granted,
    /// Its command runs.
    Running,
    /// Waits for its next attempt.
    Backoff,
    /// On the way down: its attempt has been told to stop, or is being waited for.
    Stopping,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Never ran: a dependency can no longer be met, or nothing needs it.
    Omitted,
    /// Ended by a request, a time limit of the plan, or `onFailure: Cancel`.
    Cancelled,
}

impl Phase {
    /// Whether nothing can happen to the step any more.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Omitted | Self::Cancelled => true,
            Self::Pending | Self::Granted | Self::Running | Self::Backoff | Self::Stopping => false,
        }
    }
}

/// How the whole plan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Nothing failed.
    Succeeded,
    /// A step without `allowFailure` Failed, or the plan's time ran out.
    Failed,
    /// Nothing failed, but some step ended Cancelled.
    Cancelled,
}

/// Why a step ended as it did, in one CamelCase word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Succeeded: its command ended with a code that counts as success.
    Completed,
    /// Its command ended with a code that does not count as success.
    ExitCode,
    /// A signal ended its command.
    Signal,
    /// The out-of-memory killer ended its command.
    OOMKilled,
    /// An attempt ran longer than its `timeout`.
    TimedOut,
    /// Its shim died.
    ShimLost,
    /// Its turn was due and its container did not come.
    NeverArrived,
    /// Its command could not be started.
    StartError,
    /// Its container was stopped from outside, or its node rebooted.
    Interrupted,
    /// A dependency can no longer be met.
    DependencyLost,
    /// A failure made the plan drain.
    Draining,
    /// `onFailure: Cancel` stopped it.
    FailureElsewhere,
    /// A person, or a signal to the coordinator, cancelled the plan.
    CancelRequested,
    /// The plan's `timeout` was over.
    PlanTimedOut,
    /// The shared volume was full.
    VolumeFull,
}

/// An event that cannot follow the ones before: a damaged journal, or a bug of the caller. The state is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// What does not fit, for a person.
    pub why: String,
}

impl core::fmt::Display for Impossible {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.why)
    }
}

impl core::error::Error for Impossible {}

/// What can be told of a step. Everything a view shows comes from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Where it is.
    pub phase: Phase,
    /// Why it is there, for steps that have ended (and for `Backoff` and `Stopping`: why).
    pub reason: Option<Reason>,
    /// The same as a sentence that a person understands.
    pub message: String,
    /// Attempts begun or granted so far.
    pub attempts: u32,
    /// The present instance of its shim.
    pub instance: Option<InstanceId>,
    /// Whether a container of this step is there now.
    pub arrived: bool,
    /// When its conditions were met.
    pub due_at: Option<Time>,
    /// When its first attempt was begun.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// The last attempt's end.
    pub last_end: Option<Ended>,
    /// The code that its container ends with, once it has ended.
    pub container_exit_code: Option<u8>,
    /// When its next attempt is due, in `Backoff`.
    pub next_attempt_at: Option<Time>,
}

/// A run: the plan and everything that has happened, ready to say what each step should do.
#[derive(Clone, Debug)]
pub struct State {
    plan: Plan,
    run: RunId,
}

#[expect(clippy::todo, unused_variables, missing_docs)]
impl State {
    /// The state before the first event.
    pub fn new(plan: Plan, run: RunId) -> Self {
        Self { plan, run }
    }
    /// Takes one event in and settles everything that follows from it.
    pub fn next(&mut self, event: &Event) -> Result<(), Impossible> {
        todo!()
    }
    /// A step whose desired turn changed since it was last asked for here; grants first. Each is given out once.
    pub fn poll_turn(&mut self) -> Option<StepId> {
        todo!()
    }
    /// The desired content of the step's turn file.
    pub fn turn_for(&self, step: StepId) -> Turn {
        todo!()
    }
    /// Makes sure that the step's next turn number is above `turn` (found in a turn file or report that the journal does not know).
    pub fn raise_turn(&mut self, step: StepId, turn: u64) {
        todo!()
    }
    /// The moment of the next timer. A `Kind::Deadline` event at or after it makes it go off.
    pub fn next_deadline(&self) -> Option<Time> {
        todo!()
    }
    /// How the plan ended; `None` until every step has.
    pub fn outcome(&self) -> Option<Outcome> {
        todo!()
    }
    /// What can be told of a step.
    pub fn view(&self, step: StepId) -> StepView {
        todo!()
    }
    /// The present phase of a step (cheap).
    pub fn phase(&self, step: StepId) -> Phase {
        todo!()
    }
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// The run.
    pub fn run(&self) -> RunId {
        self.run
    }
    /// The `seq` of the newest event applied; 0 before the first.
    pub fn seq(&self) -> u64 {
        todo!()
    }
}
