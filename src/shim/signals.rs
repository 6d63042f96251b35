//! Stop signals that wait for an answer.
//!
//! A stop signal from outside the pod's process namespace comes from the container runtime. Whether it concerns this
//! step alone (a failed liveness probe) or the whole pod is for the coordinator to say, who stops dependents first.
//! So it is reported, and held for a while.

use crate::command::MILLISECOND;

/// SIGINT.
const INT: u8 = 2;
/// SIGQUIT.
const QUIT: u8 = 3;
/// SIGKILL.
pub(crate) const KILL: u8 = 9;
/// SIGTERM.
const TERM: u8 = 15;

/// How long a stop signal waits for an answer, in ns. Short against any grace period of a pod (30 s by default), long
/// against the coordinator's answer (well below a millisecond).
const ANSWER_WITHIN: u64 = 2_000 * MILLISECOND;

/// Whether a container runtime stops containers with `number`: its default, a terminal's, or the step's own.
pub(crate) fn is_stop(number: u8, own: u8) -> bool {
    matches!(number, TERM | INT | QUIT) || number == own
}

/// A stop signal that was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Linux signal number.
    pub(crate) number: u8,
    /// The `seq` of the report that says so: a turn with an `ack` of at least this answers it.
    report: u64,
    /// When waiting for an answer ends; `None`: it was answered, and is the coordinator's now.
    until: Option<u64>,
}

impl Held {
    /// Reported just now, in report `report`.
    pub(crate) fn new(number: u8, report: u64, now: u64) -> Self {
        Self { number, report, until: Some(now.saturating_add(ANSWER_WITHIN)) }
    }

    /// A turn with this `ack` has come.
    pub(crate) fn handle_ack(&mut self, ack: u64) {
        if ack >= self.report {
            self.until = None;
        }
    }

    /// When it has to be acted on without an answer.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_have_a_stop_signal_of_its_own() {
        assert!(is_stop(TERM, TERM) && is_stop(INT, TERM) && is_stop(QUIT, TERM));
        let winch = 28;
        assert!(is_stop(winch, winch), "as httpd's image has it");
        assert!(!is_stop(winch, TERM));
    }

    #[test]
    fn only_a_turn_that_knows_of_the_signal_answers_it() {
        let mut held = Held::new(TERM, 4, 100);
        held.handle_ack(3);
        assert_eq!(held.deadline(), Some(100 + ANSWER_WITHIN));
        held.handle_ack(4);
        assert_eq!(held.deadline(), None);
    }
}
