//! The state of a run and the one function that changes it.
//!
//! Belongs here: what the words of the core mean (phase, outcome, reason), the state's members, and the order in which
//! an event is taken in. Does not belong here: what each event does (`handle.rs`), how an attempt is judged
//! (`attempt.rs`), what follows from an end (`settle.rs`), what is told outside (`view.rs`, `words.rs`).

use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use podturn_wire::RunId;
use serde::{Deserialize, Serialize};

use crate::graph::{self, Graph};
use crate::slots::Slots;
use crate::timers::{Owner, Timers};
use crate::track::Track;
use crate::{Event, Millis, Plan, StepId, Time};

/// Where a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its dependencies, its container, or a slot.
    Pending,
    /// Waits for a person's approval.
    Awaiting,
    /// Has its turn; its shim has not reported the attempt as begun.
    Granted,
    /// Its command runs.
    Running,
    /// A service whose command runs and which is ready.
    Ready,
    /// Waits for its next attempt.
    Backoff,
    /// Failed, and waits for a person to retry it, to skip it, or to give up.
    Paused,
    /// On the way down: its attempt has been told to stop, or is being waited for.
    Stopping,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
    /// Did not have to run: its `when` was false, or a person skipped it.
    Skipped,
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
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Omitted | Self::Cancelled => true,
            Self::Pending | Self::Awaiting | Self::Granted | Self::Running | Self::Ready => false,
            Self::Backoff | Self::Paused | Self::Stopping => false,
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
    /// Succeeded: a service that nobody needed any more, or that a person stopped.
    Stopped,
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
    /// A service ended by itself while it was needed.
    EndedEarly,
    /// A service did not become ready.
    NotReady,
    /// Its turn was due and its container did not come.
    NeverArrived,
    /// Its command could not be started.
    StartError,
    /// Its container was stopped from outside, or its node rebooted.
    Interrupted,
    /// Its `when` was false.
    WhenFalse,
    /// Its `when` could not be evaluated.
    WhenError,
    /// A person skipped it.
    SkipRequested,
    /// A person stopped it.
    StopRequested,
    /// A dependency can no longer be met.
    DependencyLost,
    /// A service whose dependents all ended before it began.
    NotNeeded,
    /// A failure made the plan drain.
    Draining,
    /// `onFailure: Cancel` stopped it.
    FailureElsewhere,
    /// A person, or a signal to the coordinator, cancelled the plan.
    CancelRequested,
    /// The pod was deleted.
    PodDeleted,
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

/// A run: the plan and everything that has happened, ready to say what each step should do.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) plan: Plan,
    pub(crate) run: RunId,
    pub(crate) graph: Graph,
    pub(crate) tracks: Vec<Track>,
    pub(crate) timers: Timers,
    pub(crate) slots: Slots,
    /// The newest event's.
    pub(crate) seq: u64,
    /// The newest event's.
    pub(crate) now: Time,
    pub(crate) first_start: Option<Time>,
    pub(crate) halt: Halt,
    pub(crate) count: Count,
    /// The plan's timer, while it is set.
    pub(crate) plan_deadline: Option<Time>,
    /// Ends whose dependents have not been told yet.
    pub(crate) ends: VecDeque<StepId>,
    /// Services that may not be needed any more.
    pub(crate) unneeded: Vec<StepId>,
    /// Steps that may have their turn if their references have values.
    pub(crate) unresolved: Vec<StepId>,
    /// Steps whose `when` waits for its value.
    pub(crate) questions: BTreeSet<StepId>,
    /// Steps whose desired turn may have changed in this event.
    pub(crate) touched: Vec<StepId>,
    /// Changed turns that were not given out yet, grants first.
    pub(crate) granted: VecDeque<StepId>,
    pub(crate) changed: VecDeque<StepId>,
    /// Edges, lines and steps looked at so far: what the tests measure the cost of an event by.
    pub(crate) work: u64,
}

/// Who may not have another attempt, and why.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Halt {
    /// Steps that are not finally: a cancel, the plan's time limit, a full volume; the first one stands.
    pub(crate) main: Option<Reason>,
    /// Finally steps: a second cancel, a full volume.
    pub(crate) finally: Option<Reason>,
    /// Steps that are not exempt: the first failure under `Drain` or `Cancel`.
    pub(crate) drain: Option<StepId>,
    /// The failure is new: the plan was not drained yet.
    pub(crate) drain_is_due: bool,
    /// Every step that is not finally has ended.
    pub(crate) main_is_over: bool,
    /// The pod is being deleted, and how its time is shared.
    pub(crate) terminating: Option<Budget>,
    /// A person holds all turns back.
    pub(crate) paused: bool,
    /// How often somebody asked to cancel.
    pub(crate) cancels: u32,
    /// The plan's time ran out.
    pub(crate) plan_timed_out: Option<Time>,
    /// The volume was full before every step had ended.
    pub(crate) volume_full: bool,
}

/// How the time of a pod that is being deleted is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// How long a step may take between its stop signal and SIGKILL, in ms.
    pub(crate) stop: Millis,
    /// When finally steps are told to stop.
    pub(crate) finally_until: Time,
}

/// What is asked of all steps at once, kept as counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    /// Steps that are neither finally nor services of finally steps, and have not ended.
    pub(crate) open_main: usize,
    /// Steps that have not ended.
    pub(crate) open: usize,
    /// Failures that are not allowed.
    pub(crate) failed: usize,
    /// Steps that ended Cancelled.
    pub(crate) cancelled: usize,
    /// Failures that are not allowed, without those of finally steps.
    pub(crate) failed_main: usize,
    /// Steps that ended Cancelled, without finally steps.
    pub(crate) cancelled_main: usize,
    /// Steps that are Paused: while there is one, nothing gets a turn.
    pub(crate) paused: usize,
}

impl State {
    /// The state before the first event.
    #[must_use]
    pub fn new(plan: Plan, run: RunId) -> Self {
        let conditions = |step: &crate::Step| u32::try_from(step.depends_on.len()).unwrap_or(u32::MAX);
        let graph = Graph::new(&plan);
        let track = |(id, step)| Track::new(conditions(step), graph.holders(&plan, id), plan.grace_period);
        let tracks: Vec<Track> = graph::steps(&plan).map(track).collect();
        let open_main = graph::steps(&plan).filter(|(id, _)| !graph.is_late(*id)).count();
        Self {
            graph,
            slots: Slots::new(&plan),
            count: Count { open_main, open: tracks.len(), ..Count::default() },
            tracks,
            timers: Timers::default(),
            seq: 0,
            now: 0,
            first_start: None,
            halt: Halt::default(),
            plan_deadline: None,
            ends: VecDeque::new(),
            unneeded: Vec::new(),
            unresolved: Vec::new(),
            questions: BTreeSet::new(),
            touched: Vec::new(),
            granted: VecDeque::new(),
            changed: VecDeque::new(),
            work: 0,
            plan,
            run,
        }
    }

    /// Takes one event in and settles everything that follows from it: first all ends, then turns.
    ///
    /// # Errors
    /// [`Impossible`], and the state is unchanged, when the event cannot follow the ones before. What an instance or an
    /// attempt of the past still has to say is no error: it changes nothing (rule C5).
    pub fn next(&mut self, event: &Event) -> Result<(), Impossible> {
        self.check(event)?;
        let before = core::mem::replace(&mut self.now, event.at);
        self.seq = event.seq;
        self.handle(&event.kind, before);
        self.settle();
        #[cfg(debug_assertions)]
        self.assert_invariants();
        Ok(())
    }

    /// How the plan ended; `None` until every step has.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        if self.count.open > 0 {
            return None;
        }
        Some(self.outcome_by(self.count.failed, self.count.cancelled))
    }

    pub(crate) const fn outcome_by(&self, failed: usize, cancelled: usize) -> Outcome {
        if failed > 0 || self.halt.plan_timed_out.is_some() || self.halt.volume_full {
            Outcome::Failed
        } else if cancelled > 0 {
            Outcome::Cancelled
        } else {
            Outcome::Succeeded
        }
    }

    /// The moment of the next timer. A `Kind::Deadline` event at or after it makes it go off.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The present phase of a step (cheap).
    #[must_use]
    pub fn phase(&self, step: StepId) -> Phase {
        self.track(step).phase
    }

    /// Why the step ended, or why it is in `Backoff` or `Stopping` (cheap).
    #[must_use]
    pub fn reason(&self, step: StepId) -> Option<Reason> {
        self.track(step).reason
    }

    /// The number of the step's newest attempt, granted or begun; 0: none yet (cheap).
    #[must_use]
    pub fn attempt(&self, step: StepId) -> u32 {
        self.track(step).attempt
    }

    /// When the present attempt was begun (cheap).
    #[must_use]
    pub fn begun_at(&self, step: StepId) -> Option<Time> {
        self.track(step).begun_at
    }

    /// When the newest attempt became ready for the first time (cheap).
    #[must_use]
    pub fn ready_at(&self, step: StepId) -> Option<Time> {
        self.track(step).ready_at
    }

    /// The newest life of the step's shim (cheap).
    #[must_use]
    pub fn instance(&self, step: StepId) -> Option<podturn_wire::InstanceId> {
        self.track(step).instance
    }

    /// The first step in plan order whose `when` waits for its value: a `Kind::Decided` answers it. Asked for as long as
    /// it is not answered, so also after a replay.
    #[must_use]
    pub fn question(&self) -> Option<StepId> {
        self.questions.first().copied()
    }

    /// Whether an attempt of the step is under way: it was granted, and is not judged (cheap).
    #[must_use]
    pub fn holds_slot(&self, step: StepId) -> bool {
        self.track(step).holds_slot()
    }

    /// Whether the run was told that the volume is full.
    #[must_use]
    pub const fn is_volume_full(&self) -> bool {
        self.halt.volume_full
    }

    /// The steps of whose mailboxes a `Kind::Deadline` at `now` may judge: whoever sends it reads them before.
    #[must_use]
    pub fn concerned_by_deadline(&self, now: Time) -> Vec<StepId> {
        let mut steps = Vec::new();
        for owner in self.timers.due(now) {
            match owner {
                Owner::Step(step) | Owner::StopSignal(step) => steps.push(step),
                Owner::Plan | Owner::Termination => return graph::steps(&self.plan).map(|(id, _)| id).collect(),
            }
        }
        steps
    }

    /// When the first coordinator started; `None` before that.
    #[must_use]
    pub const fn first_start(&self) -> Option<Time> {
        self.first_start
    }

    /// When the step ended (cheap).
    #[must_use]
    pub fn ended_at(&self, step: StepId) -> Option<Time> {
        self.track(step).ended_at
    }

    /// The time of the newest event applied; 0 before the first.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The `seq` of the newest event applied; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Edges, lines and steps looked at so far: a measure of cost that is the same on every machine.
    #[doc(hidden)]
    #[must_use]
    pub const fn work(&self) -> u64 {
        self.work
    }

    pub(crate) fn track(&self, step: StepId) -> &Track {
        &self.tracks[step.index()]
    }

    pub(crate) fn track_mut(&mut self, step: StepId) -> &mut Track {
        &mut self.tracks[step.index()]
    }

    pub(crate) fn step(&self, step: StepId) -> &crate::Step {
        &self.plan.steps[step.index()]
    }

    /// What has to hold after every event, whatever it was.
    #[cfg(debug_assertions)]
    fn assert_invariants(&self) {
        let settled = self.ends.is_empty() && self.unneeded.is_empty() && self.touched.is_empty();
        assert!(settled && self.unresolved.is_empty() && !self.halt.drain_is_due, "settled to a fixed point");
        let mut used = alloc::vec![0u32; self.plan.pools.len()];
        let mut attempts = 0u32;
        for (id, step) in graph::steps(&self.plan) {
            let track = self.track(id);
            if step.service || track.holds_slot() {
                step.uses.iter().for_each(|wanted| used[wanted.pool as usize] += wanted.units);
            }
            if track.holds_slot() {
                attempts += u32::from(!step.service);
                assert!(track.open && track.arrived, "{}: an attempt has a container", step.name);
            }
            if track.phase.is_end() {
                assert!(track.timer.is_none() && !track.open, "{}: an end is an end", step.name);
            }
            assert!(step.service || track.phase != Phase::Ready, "{}: a task is never Ready", step.name);
            assert!(!self.slots.is_waiting(id) || track.waits(), "{}: only who waits stands in a line", step.name);
        }
        assert!(self.plan.max_parallel.is_none_or(|limit| attempts <= limit), "maxParallel");
        for (index, pool) in self.plan.pools.iter().enumerate() {
            assert!(self.slots.free_units(index) + used[index] == pool.capacity, "pool {}", pool.name);
        }
    }
}
