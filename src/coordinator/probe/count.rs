//! Thresholds: what tries in a row come to. Pure.
//!
//! `NotReady` is podturn's own: a readiness that never comes has an end.

use podturn_turn::{Probed, Readiness};

use crate::probe::Row;

/// What is known of the readiness of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was never ready.
    Never,
    /// It is ready.
    Ready,
    /// It was ready, and is no longer.
    Lost,
}

/// The count of one attempt's tries.
#[derive(Clone, Debug)]
pub(super) struct Count {
    success_threshold: u32,
    failure_threshold: u32,
    known: Known,
    row: Row,
}

impl Count {
    /// Begins with an empty row: after a restart of the coordinator, too, whatever `known` is by then.
    pub(super) fn new(readiness: &Readiness, known: Known) -> Self {
        Self {
            success_threshold: readiness.success_threshold,
            failure_threshold: readiness.failure_threshold,
            known,
            row: Row::default(),
        }
    }

    /// Counts one try, and returns what it changes. After [`Probed::NotReady`] there is nothing more to try.
    pub(super) fn note(&mut self, succeeded: bool) -> Option<Probed> {
        let length = self.row.note(succeeded);
        let threshold = if succeeded { self.success_threshold } else { self.failure_threshold };
        if length < threshold {
            return None;
        }
        match (succeeded, self.known) {
            (true, Known::Never | Known::Lost) => {
                self.known = Known::Ready;
                Some(Probed::Ready)
            }
            (false, Known::Ready) => {
                self.known = Known::Lost;
                Some(Probed::Unready)
            }
            (false, Known::Never) => Some(Probed::NotReady),
            (true, Known::Ready) | (false, Known::Lost) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use podturn_turn::Probe;

    use super::*;

    /// Tries as `+` and `-`; what each of them changes as R(eady), U(nready), N(otReady) or `.`.
    fn play(success_threshold: u32, failure_threshold: u32, known: Known, tries: &str) -> String {
        let probe = Probe::TcpSocket { host: String::new(), port: 1 };
        let (initial_delay_seconds, period_seconds, timeout_seconds) = (0, 1, 1);
        let readiness = Readiness {
            probe,
            initial_delay_seconds,
            period_seconds,
            timeout_seconds,
            success_threshold,
            failure_threshold,
        };
        let mut count = Count::new(&readiness, known);
        let mark = |verdict| match verdict {
            None => '.',
            Some(Probed::Ready) => 'R',
            Some(Probed::Unready) => 'U',
            Some(Probed::NotReady) => 'N',
        };
        tries.chars().map(|attempt| mark(count.note(attempt == '+'))).collect()
    }

    #[test]
    fn rows_make_verdicts() {
        let table = [
            // successes, failures in a row that count; known; tries; verdicts
            (1, 3, Known::Never, "+++", "R.."),
            (1, 3, Known::Never, "--+", "..R"),
            (1, 3, Known::Never, "---", "..N"),
            (1, 1, Known::Never, "-", "N"),
            (3, 1, Known::Never, "+++", "..R"),
            (3, 3, Known::Never, "++-++-+++", "........R"), // a row that is broken begins anew
            (2, 3, Known::Never, "--+--+---", "........N"), // one success is no readiness
            (1, 3, Known::Never, "+--+---", "R.....U"),
            (1, 3, Known::Never, "+------", "R..U..."), // it was ready once: never NotReady any more
            (1, 2, Known::Never, "+--+--+", "R.UR.UR"),
            (2, 2, Known::Ready, "+-+--++", "....U.R"),
            (1, 2, Known::Ready, "---", ".U."),
            (1, 2, Known::Lost, "----+", "....R"),
        ];
        for (successes, failures, known, tries, verdicts) in table {
            let played = play(successes, failures, known, tries);
            assert_eq!(played, verdicts, "{tries} from {known:?} with {successes} and {failures}");
        }
    }
}
