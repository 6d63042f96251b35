//! What the core remembers of one step.

use alloc::string::String;
use alloc::vec::Vec;
use podturn_wire::{Ended, InstanceId};

use crate::timers::Timer;
use crate::{Millis, Outputs, Phase, Reason, StepId, Time};

/// The changing half of a step; the unchanging one is [`crate::Step`].
#[derive(Clone, Debug)]
pub(crate) struct Track {
    pub(crate) phase: Phase,
    /// Why it ended, or why it is in `Backoff` or `Stopping`.
    pub(crate) reason: Option<Reason>,
    /// What `reason` does not say by itself.
    pub(crate) detail: Detail,
    /// Conditions that are not met yet.
    pub(crate) unmet: u32,
    /// A dependency that was lost after the step had its turn: no further turn follows. Its place in `dependsOn`.
    pub(crate) lost: Option<usize>,
    /// A service: how many that have not ended hold it up.
    pub(crate) holders: u32,
    /// Its `when` was true.
    pub(crate) decided: bool,
    /// A person approved it.
    pub(crate) approved: bool,
    /// When the present attempt became ready for the first time.
    pub(crate) ready_at: Option<Time>,
    /// What the present attempt left; it counts if that succeeds.
    pub(crate) fresh: Outputs,
    /// What its attempt left that succeeded.
    pub(crate) outputs: Outputs,
    /// The references of its newest instance.
    pub(crate) references: Vec<String>,
    /// What `detail` needs in words.
    pub(crate) note: String,
    pub(crate) due_at: Option<Time>,
    pub(crate) ended_at: Option<Time>,
    /// When its first attempt was begun: `Some` meets `Started`.
    pub(crate) started_at: Option<Time>,

    /// The newest instance; kept when it is gone, so that its late words can be told from a newcomer's.
    pub(crate) instance: Option<InstanceId>,
    /// Whether that instance lives, as far as is known.
    pub(crate) arrived: bool,
    /// The stop signal from outside that waits for the sign that it is meant for everybody, and until when.
    pub(crate) held: Option<(u8, Time)>,
    /// It was told from outside to end, so no attempt goes to it any more.
    pub(crate) leaving: bool,
    /// The report of its newest stop signal that was answered with 'stay'; 0: none.
    pub(crate) stays_after: u64,
    /// The newest report taken into account.
    pub(crate) ack: u64,

    /// The newest attempt's number; 0: none yet.
    pub(crate) attempt: u32,
    /// How many of the attempts `retry` does not count: a service came back with its container.
    pub(crate) comebacks: u32,
    /// That attempt is not settled: it is under way, or waits to be given to another instance (rule C7).
    pub(crate) open: bool,
    /// When that attempt was begun.
    pub(crate) begun_at: Option<Time>,
    /// Why it was told to stop.
    pub(crate) verdict: Option<Verdict>,
    /// Settled attempts.
    pub(crate) attempts: Vec<Attempt>,

    pub(crate) timer: Option<(Time, Timer)>,

    /// The number of the desired turn.
    pub(crate) turn: u64,
    /// What that number stands for.
    pub(crate) desired: Desired,
    /// The desired turn was not given out yet.
    pub(crate) changed: bool,
}

/// Why an attempt was told to stop. The first verdict stands, whatever comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The rest of the plan does not want it: its end is Cancelled.
    Cancelled(Reason),
    /// It ran longer than its `timeout`.
    TimedOut,
    /// Its container is being stopped from outside.
    Interrupted,
    /// Its shim does not answer.
    ShimLost,
    /// A service that did not become ready.
    NotReady,
    /// A service that nobody needs any more: whatever its end is, it has Succeeded.
    NotNeeded,
    /// A service that a person stopped: it has Succeeded as well, if it ever ran.
    Stopped,
}

impl Verdict {
    pub(crate) const fn reason(self) -> Reason {
        match self {
            Self::Cancelled(reason) => reason,
            Self::TimedOut => Reason::TimedOut,
            Self::Interrupted => Reason::Interrupted,
            Self::ShimLost => Reason::ShimLost,
            Self::NotReady => Reason::NotReady,
            Self::NotNeeded | Self::Stopped => Reason::Stopped,
        }
    }
}

/// What a sentence needs beside the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// The dependency that was lost: its place in the step's `dependsOn`.
    Dependency(usize),
    /// The step whose failure it was.
    Culprit(StepId),
    /// Its command may still run.
    Survivors,
    /// It did not answer, dead or not.
    Deaf,
    /// The signal that came from outside.
    Signal(u8),
    /// Nobody needs the service any more.
    Unneeded,
    /// The node rebooted.
    Reboot,
    /// What the track notes.
    Note,
}

/// What a turn asks for. Everything else in a turn follows from the plan, or from an end that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) attempt: Option<u32>,
    pub(crate) rest: Rest,
    /// Says no more than its number: a shim that holds a stop signal takes any newer turn for an answer.
    pub(crate) stays_after: u64,
    /// Between stop signal and SIGKILL, in ms: the deletion of the pod makes it shorter for what runs.
    pub(crate) grace: Millis,
}

/// What a shim does while no attempt is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Wait for the next turn.
    Stay,
    /// Its container was stopped from outside and comes back: end, so that it does.
    Leave,
    /// Its step has ended.
    Over {
        /// Its container was stopped from outside, or its pod is being deleted: end, whatever the kubelet makes of it.
        leaving: bool,
    },
}

/// One attempt that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it was begun; `None`: it never was.
    pub started_at: Option<Time>,
    /// When it had ended, or was judged.
    pub ended_at: Time,
    /// How it counted.
    pub reason: Reason,
    /// What its shim said of its end; `None`: nothing.
    pub ended: Option<Ended>,
}

impl Track {
    pub(crate) fn new(conditions: u32, holders: u32, grace: Millis) -> Self {
        Self {
            phase: Phase::Pending,
            reason: None,
            detail: Detail::None,
            unmet: conditions,
            lost: None,
            holders,
            decided: false,
            approved: false,
            ready_at: None,
            fresh: Outputs::default(),
            outputs: Outputs::default(),
            references: Vec::new(),
            note: String::new(),
            due_at: None,
            ended_at: None,
            started_at: None,
            instance: None,
            arrived: false,
            held: None,
            leaving: false,
            stays_after: 0,
            ack: 0,
            attempt: 0,
            comebacks: 0,
            open: false,
            begun_at: None,
            verdict: None,
            attempts: Vec::new(),
            timer: None,
            turn: 0,
            desired: Desired { instance: None, attempt: None, rest: Rest::Stay, stays_after: 0, grace },
            changed: false,
        }
    }

    /// Whether an attempt could be given to its container now.
    pub(crate) const fn has_container(&self) -> bool {
        self.arrived && !self.leaving && self.held.is_none()
    }

    /// Whether it waits for something: dependencies, a container, a slot, the next attempt.
    pub(crate) const fn waits(&self) -> bool {
        match self.phase {
            Phase::Pending | Phase::Backoff => true,
            Phase::Awaiting | Phase::Paused => false, // for a person first
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping => false,
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => false,
        }
    }

    /// Whether it holds a slot.
    pub(crate) const fn holds_slot(&self) -> bool {
        match self.phase {
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping => true,
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Paused => false,
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => false,
        }
    }

    /// The end of the last settled attempt, as its shim told it. One that was given and never begun counts for nothing.
    pub(crate) fn last_end(&self) -> Option<Ended> {
        let has_begun = |attempt: &&Attempt| attempt.started_at.is_some() || attempt.ended.is_some();
        self.attempts.iter().rev().find(has_begun).and_then(|attempt| attempt.ended)
    }

    /// What its turn should ask for. Without any instance there is nobody to ask, and `grace` is for who runs. In a pod that is being
    /// deleted nobody parks.
    pub(crate) fn wanted(&self, grace: Millis, deleted: bool) -> Desired {
        let attempt = match self.phase {
            Phase::Granted | Phase::Running | Phase::Ready => Some(self.attempt),
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Paused | Phase::Stopping => None,
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => None,
        };
        let rest = match self.instance {
            Some(_) if self.phase.is_end() => Rest::Over { leaving: self.leaving || deleted },
            Some(_) if self.leaving && (self.waits() || matches!(self.phase, Phase::Awaiting | Phase::Paused)) => {
                Rest::Leave
            }
            _ => Rest::Stay,
        };
        let grace = if self.holds_slot() { grace } else { self.desired.grace };
        Desired { instance: self.instance, attempt, rest, stays_after: self.stays_after, grace }
    }
}
