//! The running command's limits: when it is stopped, and when it is killed. Pure: time is an argument.

use podturn_wire::Turn;

use crate::readiness::Readiness;
use crate::signals::KILL;

/// One millisecond in ns: the wire's durations are in the one, its times in the other.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// An attempt whose command runs.
pub(crate) struct Running {
    /// Its number.
    pub(crate) attempt: u32,
    /// It was stopped because its time was over, and for no other reason before.
    pub(crate) timed_out: bool,
    /// Its probe; `None`: there is none, or it does not matter any more.
    pub(crate) readiness: Option<Readiness>,
    /// It was stopped because its `postStart` hook had failed with this code.
    pub(crate) hook_failed: Option<u8>,
    /// Its `preStop` hook was started, and the signal that follows it; 0: it has ended.
    pub(crate) pre_stop: Option<u8>,
    started_at: u64,
    signal: u8,
    grace: u64,
    /// The stop signal was sent.
    is_stopping: bool,
    /// When it is stopped, or on the way down: killed. `None`: never, or that was done already, so that its end is
    /// certain and only its time is not.
    due: Option<u64>,
}

impl Running {
    /// Started by `turn` at `started_at`.
    pub(crate) fn new(attempt: u32, started_at: u64, turn: &Turn, readiness: Option<Readiness>) -> Self {
        let mut running = Self {
            attempt,
            timed_out: false,
            readiness,
            hook_failed: None,
            pre_stop: None,
            started_at,
            signal: 0,
            grace: 0,
            is_stopping: false,
            due: None,
        };
        running.take_limits(started_at, turn);
        running
    }

    /// Takes the newest limits. A time limit counts from the start, whenever it was set. The grace of a command that is on
    /// its way down already can only become shorter, as when its pod is deleted meanwhile.
    #[cold]
    pub(crate) fn take_limits(&mut self, now: u64, turn: &Turn) {
        self.signal = turn.signal;
        self.grace = turn.grace;
        self.due = if self.is_stopping {
            self.due.map(|at| at.min(after(now, turn.grace)))
        } else {
            turn.timeout.map(|timeout| after(self.started_at, timeout))
        };
    }

    /// The turn no longer wants it: the signal to send now, if the way down has not begun before.
    pub(crate) fn handle_unwanted(&mut self, now: u64) -> Option<u8> {
        if self.is_stopping {
            return None;
        }
        self.is_stopping = true;
        self.due = Some(after(now, self.grace));
        self.readiness = None;
        Some(self.signal)
    }

    /// The time is `now`: the signal to send, if one is due.
    pub(crate) fn handle_time(&mut self, now: u64) -> Option<u8> {
        if self.due.is_none_or(|at| now < at) {
            return None;
        }
        if self.is_stopping {
            self.due = None;
            return Some(KILL);
        }
        self.timed_out = true;
        self.handle_unwanted(now)
    }

    /// When [`Running::handle_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due
    }

    /// Whether the way down has begun.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping
    }
}

/// `duration` ms after `time`.
pub(crate) fn after(time: u64, duration: u64) -> u64 {
    time.saturating_add(duration.saturating_mul(MILLISECOND))
}

#[cfg(test)]
mod tests {
    use podturn_wire::{InstanceId, RunId, Text, Then};

    use super::*;

    const TERM: u8 = 15;

    fn turn(timeout: Option<u64>) -> Turn {
        Turn {
            run: RunId(1),
            instance: Some(InstanceId(1)),
            turn: 1,
            ack: 1,
            attempt: Some(1),
            then: Then::Stay,
            signal: TERM,
            grace: 10,
            timeout,
            coordinator_grace: 0,
            termination_log: Text::new(),
        }
    }

    #[test]
    fn time_over_means_stop_signal_then_grace_then_kill() {
        let mut running = Running::new(1, 0, &turn(Some(5)), None);
        let at = 5 * MILLISECOND;
        assert_eq!(running.deadline(), Some(at));
        assert_eq!(running.handle_time(at - 1), None);
        assert_eq!(running.handle_time(at), Some(TERM));
        assert!(running.timed_out);
        assert_eq!(running.deadline(), Some(after(at, 10)));
        assert_eq!(running.handle_time(after(at, 10)), Some(KILL));
        assert_eq!(running.deadline(), None);
        assert_eq!(running.handle_time(u64::MAX), None, "killed once");
    }

    #[test]
    fn a_command_that_is_being_stopped_does_not_time_out() {
        let mut running = Running::new(1, 0, &turn(Some(5)), None);
        assert_eq!(running.handle_unwanted(MILLISECOND), Some(TERM));
        assert_eq!(running.handle_unwanted(2 * MILLISECOND), None, "asked once");
        assert_eq!(running.handle_time(after(MILLISECOND, 10)), Some(KILL));
        assert!(!running.timed_out);
    }

    #[test]
    fn on_the_way_down_only_a_shorter_grace_counts_and_from_when_it_is_told() {
        let mut running = Running::new(1, 0, &turn(None), None);
        assert_eq!(running.handle_unwanted(MILLISECOND), Some(TERM));
        let now = 3 * MILLISECOND;
        for (grace, kill_at) in [(20, 11), (9, 11), (8, 11), (4, 7), (10, 7), (0, 3)] {
            running.take_limits(now, &Turn { grace, ..turn(None) });
            assert_eq!(running.deadline(), Some(kill_at * MILLISECOND), "grace {grace}");
        }
        assert_eq!(running.handle_time(now), Some(KILL));
        running.take_limits(now, &turn(None));
        assert_eq!(running.deadline(), None, "killed once");
    }

    #[test]
    fn endless_limits_do_not_overflow() {
        let mut running = Running::new(1, u64::MAX - 1, &Turn { grace: u64::MAX, ..turn(Some(u64::MAX)) }, None);
        assert_eq!(running.handle_unwanted(1), Some(TERM));
        assert_eq!(running.deadline(), Some(u64::MAX));
    }
}
