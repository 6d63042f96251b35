//! Timers as data: what becomes due when. The caller owns the clock.

use alloc::collections::BTreeSet;

use crate::{Millis, StepId, Time};

/// What a step's one timer is for. A step never needs two at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Set when a step could have its turn and no container of it is there, `arrivalTimeout` later. Then: Failed,
    /// `NeverArrived`.
    Arrival,
    /// Set when an attempt failed and another one may follow, `backoff` later. Then: it may have its next turn.
    Backoff,
    /// Set when an attempt was begun, the step's `timeout` after its begin. Then: it is told to stop. The shim keeps the
    /// same limit; this one is for a shim that does not.
    Attempt,
    /// Set when a step is Paused, `pauseTimeout` later. Then: Failed.
    Pause,
}

/// How long a stop signal that reached one step waits for the sign that the whole pod is being deleted, in ms. A kubelet sends
/// every ordinary container its signal at once and runs the coordinator's `preStop` hook at the same time, but the hook has to be
/// started first: measured 54 ms on an idle node. A step that is stopped alone is told so much later.
pub(crate) const MOMENT: Millis = 1_000;

/// Who a timer belongs to. At the same moment a step's own timer goes first: its reason says more than the plan's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A step's [`Timer`].
    Step(StepId),
    /// The stop signal from outside that a step holds. Set when it is told, [`MOMENT`] later; taken away when the step's attempt
    /// ends, or the pod is being deleted. Then: the signal was meant for this step alone.
    StopSignal(StepId),
    /// The plan's `timeout`. Set at the coordinator's first start, taken away when the last step that is not finally has
    /// ended. Then: those steps are stopped or Cancelled, and the outcome is Failed.
    Plan,
    /// The share that finally steps have of the time of a pod that is being deleted. Then: they are stopped too.
    Termination,
}

/// All timers that are set, in the order in which they go off.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Time, Owner)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, owner: Owner) {
        self.queue.insert((at, owner));
    }

    pub(crate) fn unset(&mut self, at: Time, owner: Owner) {
        let was_set = self.queue.remove(&(at, owner));
        debug_assert!(was_set, "a timer that is unset had been set");
    }

    /// Takes away a timer that may have gone off before.
    pub(crate) fn discard(&mut self, at: Time, owner: Owner) {
        self.queue.remove(&(at, owner));
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Whose timers are due at `now`.
    pub(crate) fn due(&self, now: Time) -> impl Iterator<Item = Owner> {
        self.queue.iter().take_while(move |(at, _)| *at <= now).map(|(_, owner)| *owner)
    }

    /// Takes the oldest timer that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Owner)> {
        self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.pop_first()
    }

    /// After a reboot the clock began anew: what was left of each timer at `before` is left from `now` on.
    pub(crate) fn rebase(&mut self, before: Time, now: Time) {
        self.queue = self.queue.iter().map(|(at, owner)| (rebased(*at, before, now), *owner)).collect();
    }
}

/// `deadline` of a clock that showed `before`, on a clock that shows `now`.
pub(crate) const fn rebased(deadline: Time, before: Time, now: Time) -> Time {
    now.saturating_add(deadline.saturating_sub(before))
}

/// `from` and a duration later. A sum that no clock reaches is the end of time.
pub(crate) const fn after(from: Time, duration: Millis) -> Time {
    const NANOSECONDS: u64 = 1_000_000;
    from.saturating_add(duration.saturating_mul(NANOSECONDS))
}
