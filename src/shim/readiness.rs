//! When the step's probe is tried, and what a row of tries says. Pure: time is an argument.
//!
//! Belongs here: Kubernetes' periods and thresholds, as far as a shim needs them, and the form in which the init container lays
//! them down (`in/readiness`). Does not belong here: trying.

use podturn_wire::json::decimal;

use crate::command::after;

const SECOND: u64 = 1_000; // ms

/// What the init container laid down: fields that each end with a NUL. The kind (`exec` or `file`), five numbers, and then the
/// path, or the command and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// A command is tried, and not a file looked for.
    pub is_exec: bool,
    initial_delay: u64,
    period: u64,
    timeout: u64,
    success_threshold: u64,
    failure_threshold: u64,
}

impl Readiness {
    /// Reads it, and where in `bytes` the path or command begins.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut at = 0;
        let mut field = || {
            let rest = bytes.get(at..)?;
            let length = rest.iter().position(|byte| *byte == 0)?;
            at += length + 1;
            Some(&rest[..length])
        };
        let is_exec = match field()? {
            b"exec" => true,
            b"file" => false,
            _ => return None,
        };
        let mut number = || field().and_then(decimal);
        let readiness = Self {
            is_exec,
            initial_delay: number()?,
            period: number()?.max(1),
            timeout: number()?.max(1),
            success_threshold: number()?,
            failure_threshold: number()?,
        };
        (bytes.len() > at).then_some((readiness, at))
    }
}

/// What has become of the readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Successes enough in a row.
    Ready,
    /// Failures enough in a row after that.
    Unready,
    /// Failures enough in a row before it was ever ready: nothing is tried any more.
    NotReady,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A try.
    Try,
    /// The end of one that takes too long: it has failed.
    Kill,
}

/// The tries of one attempt.
pub(crate) struct Probing {
    plan: Readiness,
    next_at: u64,
    /// A try is under way, and has this long.
    until: Option<u64>,
    successes: u64,
    failures: u64,
    is_ready: bool,
    was_ready: bool,
    is_over: bool,
}

impl Probing {
    pub(crate) fn new(plan: Readiness, begun_at: u64) -> Self {
        Self {
            plan,
            next_at: after(begun_at, plan.initial_delay.saturating_mul(SECOND)),
            until: None,
            successes: 0,
            failures: 0,
            is_ready: false,
            was_ready: false,
            is_over: false,
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Option<u64> {
        (!self.is_over).then(|| self.until.unwrap_or(self.next_at))
    }

    /// What is due now. A try begins with this.
    pub(crate) fn due(&mut self, now: u64) -> Option<Due> {
        if self.deadline().is_none_or(|at| now < at) {
            return None;
        }
        if self.until.is_some() {
            return Some(Due::Kill);
        }
        self.until = Some(after(now, self.plan.timeout.saturating_mul(SECOND)));
        self.next_at = after(now, self.plan.period.saturating_mul(SECOND));
        Some(Due::Try)
    }

    /// A try has ended.
    pub(crate) fn add(&mut self, success: bool) -> Option<Change> {
        self.until = None;
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
            let becomes = !self.is_ready && self.successes >= self.plan.success_threshold;
            self.is_ready |= becomes;
            self.was_ready |= becomes;
            return becomes.then_some(Change::Ready);
        }
        (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        if self.failures < self.plan.failure_threshold {
            return None;
        }
        match (self.was_ready, core::mem::replace(&mut self.is_ready, false)) {
            (true, true) => Some(Change::Unready),
            (true, false) => None,
            (false, _) => {
                self.is_over = true;
                Some(Change::NotReady)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::command::MILLISECOND;

    const SECONDS: u64 = 1000 * MILLISECOND;

    fn laid_down(numbers: &str) -> Readiness {
        let mut bytes = std::format!("exec {numbers} true ").into_bytes();
        bytes.iter_mut().filter(|byte| **byte == b' ').for_each(|byte| *byte = 0);
        Readiness::parse(&bytes).expect("it is whole").0
    }

    #[test]
    fn a_torn_or_foreign_file_is_no_readiness() {
        let whole = b"file\x000\x0010\x001\x001\x003\x00/ready\x00";
        let (read, at) = Readiness::parse(whole).expect("it is whole");
        assert!(!read.is_exec);
        assert_eq!(&whole[at..], b"/ready\x00");
        for length in 0..whole.len() - b"/ready\x00".len() {
            assert_eq!(Readiness::parse(&whole[..length + 1 - 1]), None, "{length}");
        }
        assert_eq!(Readiness::parse(b"http\x000\x0010\x001\x001\x003\x00/\x00"), None);
    }

    #[test]
    fn tries_come_after_the_delay_and_then_every_period() {
        let mut probing = Probing::new(laid_down("5 10 2 1 3"), 0);
        assert_eq!(probing.deadline(), Some(5 * SECONDS));
        assert_eq!(probing.due(5 * SECONDS - 1), None);
        assert_eq!(probing.due(5 * SECONDS), Some(Due::Try));
        assert_eq!(probing.deadline(), Some(7 * SECONDS), "its time limit");
        assert_eq!(probing.due(7 * SECONDS), Some(Due::Kill));
        assert_eq!(probing.add(false), None);
        assert_eq!(probing.deadline(), Some(15 * SECONDS), "the next one");
    }

    #[test]
    fn a_row_says_what_kubernetes_says() {
        let table = [("0 1 1 1 3", "--+---+", "  R  UR"), ("0 1 1 2 2", "+-++", "   R"), ("0 1 1 1 3", "---", "  N")];
        for (numbers, tries, expected) in table {
            let mut probing = Probing::new(laid_down(numbers), 0);
            for (one, say) in tries.bytes().zip(expected.bytes()) {
                let said = match probing.add(one == b'+') {
                    Some(Change::Ready) => b'R',
                    Some(Change::Unready) => b'U',
                    Some(Change::NotReady) => b'N',
                    None => b' ',
                };
                assert_eq!(said as char, say as char, "{numbers} {tries}");
            }
        }
        let mut probing = Probing::new(laid_down("0 1 1 1 1"), 0);
        assert_eq!(probing.add(false), Some(Change::NotReady));
        assert_eq!(probing.deadline(), None, "nothing is tried any more");
    }
}
