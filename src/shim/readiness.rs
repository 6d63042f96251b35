//! When a readiness probe is tried, and what its results mean, as Kubernetes has it ("Configure Liveness, Readiness and
//! Startup Probes"). Pure: time and results are arguments.

use podturn_wire::Probe;

use crate::command::after;

/// The numbers of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From the begin to the first try, in ms.
    initial_delay: u64,
    /// From one try to the next, in ms.
    period: u64,
    /// How long a try may take, in ms.
    timeout: u64,
    success_threshold: u32,
    failure_threshold: u32,
}

impl Schedule {
    /// Those of this probe.
    #[must_use]
    pub fn of(probe: &Probe<'_>) -> Self {
        Self {
            initial_delay: u64::from(probe.initial_delay_seconds) * 1000,
            period: u64::from(probe.period_seconds) * 1000,
            timeout: u64::from(probe.timeout_seconds) * 1000,
            success_threshold: probe.success_threshold,
            failure_threshold: probe.failure_threshold,
        }
    }
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Try it.
    Try,
    /// The try takes too long: it is a failure, and has to end.
    GiveUp,
}

/// What a result changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is ready from now on.
    Ready,
    /// It is not ready any more.
    Unready,
    /// It never became ready, and is not tried any more.
    NotReady,
}

/// The readiness of one attempt.
pub(crate) struct Readiness {
    schedule: Schedule,
    /// Before this nothing is tried.
    first_at: u64,
    /// When it is tried next; `None`: never again.
    next_at: Option<u64>,
    trying: Trying,
    /// Results in a row that were the same, and which.
    row: u32,
    row_of: bool,
    is_ready: bool,
    was_ready: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trying {
    No,
    /// A try runs, and has time until then.
    Until(u64),
    /// A try was given up, but has not ended yet.
    GivenUp,
}

impl Readiness {
    /// Of an attempt that was begun at `started_at`.
    pub(crate) fn new(schedule: Schedule, started_at: u64) -> Self {
        let first_at = after(started_at, schedule.initial_delay);
        Self {
            schedule,
            first_at,
            next_at: Some(first_at),
            trying: Trying::No,
            row: 0,
            row_of: false,
            is_ready: false,
            was_ready: false,
        }
    }

    /// When [`Readiness::poll_due`] has something.
    pub(crate) fn deadline(&self) -> Option<u64> {
        match self.trying {
            Trying::No => self.next_at,
            Trying::Until(at) => Some(at),
            Trying::GivenUp => None,
        }
    }

    /// The time is `now`.
    pub(crate) fn poll_due(&mut self, now: u64) -> Option<Due> {
        if self.deadline().is_none_or(|at| now < at) {
            return None;
        }
        match self.trying {
            Trying::Until(_) => {
                self.trying = Trying::GivenUp;
                Some(Due::GiveUp)
            }
            _ => {
                self.next_at = Some(after(now, self.schedule.period));
                Some(Due::Try)
            }
        }
    }

    /// The try that is due has begun, and its result will follow.
    pub(crate) fn handle_begun(&mut self, now: u64) {
        self.trying = Trying::Until(after(now, self.schedule.timeout));
    }

    /// The try that was begun has ended: whether its result counts.
    pub(crate) fn handle_over(&mut self) -> bool {
        core::mem::replace(&mut self.trying, Trying::No) != Trying::GivenUp
    }

    /// The result of a try.
    pub(crate) fn handle_result(&mut self, success: bool) -> Option<Change> {
        self.row = if self.row_of == success { self.row.saturating_add(1) } else { 1 };
        self.row_of = success;
        if success && !self.is_ready && self.row >= self.schedule.success_threshold {
            (self.is_ready, self.was_ready) = (true, true);
            return Some(Change::Ready);
        }
        if success || self.row < self.schedule.failure_threshold {
            return None;
        }
        if core::mem::replace(&mut self.is_ready, false) {
            return Some(Change::Unready);
        }
        if self.was_ready || self.next_at.take().is_none() {
            return None;
        }
        Some(Change::NotReady)
    }

    /// Something happened for which nobody has to wait until the next try.
    pub(crate) fn handle_hint(&mut self, now: u64) {
        if self.next_at.is_some() {
            self.next_at = Some(now.max(self.first_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const SCHEDULE: Schedule =
        Schedule { initial_delay: 5_000, period: 10_000, timeout: 1_000, success_threshold: 1, failure_threshold: 3 };

    #[test]
    fn the_first_try_comes_after_the_delay_and_the_next_ones_with_the_period() {
        let mut readiness = Readiness::new(SCHEDULE, SECOND);
        assert_eq!(readiness.deadline(), Some(6 * SECOND));
        assert_eq!(readiness.poll_due(6 * SECOND - 1), None);
        assert_eq!(readiness.poll_due(6 * SECOND), Some(Due::Try));
        assert_eq!(readiness.handle_result(false), None);
        assert_eq!(readiness.deadline(), Some(16 * SECOND));
    }

    #[test]
    fn failures_in_a_row_before_the_first_success_are_the_end_of_it() {
        let mut readiness = Readiness::new(SCHEDULE, 0);
        assert_eq!([false, false].map(|result| readiness.handle_result(result)), [None, None]);
        assert_eq!(readiness.handle_result(false), Some(Change::NotReady));
        assert_eq!(readiness.deadline(), None, "nothing is tried any more");
        readiness.handle_hint(1);
        assert_eq!(readiness.deadline(), None);
    }

    #[test]
    fn after_the_first_success_failures_only_unset_it() {
        let mut readiness = Readiness::new(SCHEDULE, 0);
        let told = [false, false, true, true, false, false, true, false, false, false, false, false, false, true];
        let told = told.map(|result| readiness.handle_result(result));
        assert_eq!(told[2], Some(Change::Ready));
        assert_eq!(told[9], Some(Change::Unready));
        assert_eq!(told[13], Some(Change::Ready));
        assert_eq!(told.iter().flatten().count(), 3);
        assert!(readiness.deadline().is_some());
    }

    #[test]
    fn successes_count_in_a_row_only() {
        let mut readiness = Readiness::new(Schedule { success_threshold: 2, ..SCHEDULE }, 0);
        let told = [true, false, true, true].map(|result| readiness.handle_result(result));
        assert_eq!(told, [None, None, None, Some(Change::Ready)]);
    }

    #[test]
    fn a_try_that_takes_too_long_is_given_up_and_the_next_waits_for_its_end() {
        let mut readiness = Readiness::new(SCHEDULE, 0);
        assert_eq!(readiness.poll_due(5 * SECOND), Some(Due::Try));
        readiness.handle_begun(5 * SECOND);
        assert_eq!(readiness.deadline(), Some(6 * SECOND));
        assert_eq!(readiness.poll_due(6 * SECOND), Some(Due::GiveUp));
        assert_eq!(readiness.poll_due(30 * SECOND), None, "it has not ended");
        assert!(!readiness.handle_over(), "it was counted when it was given up");
        assert_eq!(readiness.poll_due(30 * SECOND), Some(Due::Try));
        readiness.handle_begun(30 * SECOND);
        assert!(readiness.handle_over());
    }

    #[test]
    fn a_hint_brings_the_next_try_forward_but_not_before_the_delay() {
        let mut readiness = Readiness::new(SCHEDULE, 0);
        readiness.handle_hint(SECOND);
        assert_eq!(readiness.deadline(), Some(5 * SECOND));
        assert_eq!(readiness.poll_due(5 * SECOND), Some(Due::Try));
        readiness.handle_hint(7 * SECOND);
        assert_eq!(readiness.deadline(), Some(7 * SECOND));
    }
}
