//! Sentences for people: why a step is where it is. Pure readings of the state.
//!
//! A sentence that goes into a turn has at most [`podturn_wire::MESSAGE_MAX`] bytes, so what matters stands first and
//! nothing is said at length. Names of steps have at most 63 bytes.

use alloc::format;
use alloc::string::{String, ToString};
use podturn_wire::{Exit, StartStage};

use crate::track::Detail;
use crate::view::Waits;
use crate::{Condition, Millis, Phase, Reason, State, StepId};

/// What is said of a step whose first attempt ended with 0: that all is well, and nothing else.
pub const ORDINARY_SUCCESS: &str = "Succeeded: its command ended with code 0";

/// What a shim says that ends so that its container comes back.
pub(crate) const LEAVES: &str = "Stopped from outside: the step goes on when its container is back";

impl State {
    /// Such as `Omitted (DependencyLost): build Failed (ExitCode 3)`.
    pub(crate) fn message(&self, step: StepId) -> String {
        let track = self.track(step);
        let phase = track.phase;
        match (phase, track.reason) {
            (Phase::Succeeded, Some(reason)) => return format!("Succeeded: {}", self.because(step, reason)),
            (_, Some(reason)) => return format!("{phase:?} ({reason:?}): {}", self.because(step, reason)),
            (_, None) => {}
        }
        match phase {
            Phase::Pending => self.wait(step),
            Phase::Granted => format!("Granted: attempt {} may begin", track.attempt),
            Phase::Running => format!("Running: attempt {}", track.attempt),
            Phase::Ready => format!("Ready: attempt {}", track.attempt),
            Phase::Awaiting => match self.step(step).approval.as_deref() {
                None | Some("") => "Awaiting: a person has to approve it".to_string(),
                Some(message) => format!("Awaiting: a person has to approve it: {message}"),
            },
            Phase::Backoff | Phase::Paused | Phase::Stopping => format!("{phase:?}"),
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {
                format!("{phase:?}")
            }
        }
    }

    fn wait(&self, step: StepId) -> String {
        match self.waits_for(step) {
            Some(Waits::Dependencies(1)) => "Pending: 1 condition of its dependencies not met yet".to_string(),
            Some(Waits::Dependencies(count)) => {
                format!("Pending: {count} conditions of its dependencies not met yet")
            }
            Some(Waits::Others) => "Pending: waits for every other step to end".to_string(),
            Some(Waits::When) => "Pending: its `when` is being evaluated".to_string(),
            Some(Waits::Container) => "Pending: its container is not there yet".to_string(),
            Some(Waits::Hold) => "Pending: all turns are held back".to_string(),
            Some(Waits::Slot | Waits::Backoff | Waits::Approval | Waits::Decision) | None => {
                "Pending: waits for a slot".to_string()
            }
        }
    }

    fn because(&self, step: StepId, reason: Reason) -> String {
        let track = self.track(step);
        let exit = track.last_end().map(|ended| ended.exit);
        match reason {
            Reason::Completed | Reason::ExitCode => match exit {
                Some(Exit::Code(code)) => format!("its command ended with code {code}{}", self.on_attempt(step)),
                _ => "its command ended".to_string(),
            },
            Reason::Signal => match exit {
                Some(Exit::Signal { number, .. }) => {
                    format!("{} ended its command{}", signal(number), self.on_attempt(step))
                }
                _ => "a signal ended its command".to_string(),
            },
            Reason::OOMKilled => {
                format!("the kernel's out-of-memory killer ended its command{}", self.on_attempt(step))
            }
            Reason::TimedOut => match self.step(step).timeout {
                Some(limit) => format!("attempt {} ran longer than its timeout of {}", track.attempt, duration(limit)),
                None => format!("attempt {} ran longer than it may", track.attempt),
            },
            Reason::Stopped => match track.detail {
                Detail::Unneeded => "nobody needs it any more, so it was stopped".to_string(),
                _ => "it was stopped".to_string(),
            },
            Reason::EndedEarly => match exit {
                Some(Exit::Code(code)) => {
                    format!("it ended by itself with code {code} while it was needed{}", self.on_attempt(step))
                }
                Some(Exit::Signal { number, .. }) => {
                    format!("{} ended it while it was needed{}", signal(number), self.on_attempt(step))
                }
                _ => "it ended by itself while it was needed".to_string(),
            },
            Reason::NotReady if track.note.is_empty() => format!("it did not become ready{}", self.on_attempt(step)),
            Reason::NotReady => format!("it did not become ready{}: {}", self.on_attempt(step), track.note),
            Reason::WhenFalse => "its `when` is false".to_string(),
            Reason::WhenError => format!("its `when` has no value: {}", track.note),
            Reason::SkipRequested => "a person skipped it".to_string(),
            Reason::StopRequested => "a person stopped it".to_string(),
            Reason::NotNeeded => "all that need it ended before it began".to_string(),
            Reason::ShimLost => self.shim_lost(step),
            Reason::NeverArrived => {
                format!("its container was not there within {}", duration(self.plan.arrival_timeout))
            }
            Reason::StartError if track.detail == Detail::Note => track.note.clone(),
            Reason::StartError => match exit {
                Some(Exit::StartError { stage, errno }) => start_error(stage, errno),
                _ => "its command was not started".to_string(),
            },
            Reason::Interrupted => match track.detail {
                Detail::Reboot => "its node rebooted".to_string(),
                Detail::Signal(number) => format!("its container was stopped from outside by {}", signal(number)),
                _ => "its container was stopped from outside".to_string(),
            },
            Reason::DependencyLost => self.lost_dependency(step),
            Reason::Draining => format!("{} failed, so nothing new starts", self.culprit(step)),
            Reason::FailureElsewhere => format!("{} failed, so what ran was stopped", self.culprit(step)),
            Reason::CancelRequested => "the plan was cancelled".to_string(),
            Reason::PodDeleted => "its pod is being deleted".to_string(),
            Reason::PlanTimedOut => match self.plan.timeout {
                Some(limit) => format!("the plan ran longer than its timeout of {}", duration(limit)),
                None => "the plan ran longer than it may".to_string(),
            },
            Reason::VolumeFull => "the shared volume is full".to_string(),
        }
    }

    fn on_attempt(&self, step: StepId) -> String {
        match self.track(step).attempt {
            0 | 1 => String::new(),
            attempt => format!(", on attempt {attempt}"),
        }
    }

    fn shim_lost(&self, step: StepId) -> String {
        let track = self.track(step);
        let mut text = match track.attempts.last() {
            // An attempt is settled with the loss; one before it that had an end of its own was not lost.
            _ if track.detail == Detail::Deaf => "its shim did not answer".to_string(),
            Some(last) if last.reason == Reason::ShimLost && last.started_at.is_some() => {
                format!("its shim died while attempt {} ran", last.number)
            }
            Some(last) if last.reason == Reason::ShimLost => {
                format!("its shim died before it began attempt {}", last.number)
            }
            Some(_) => "its shim died between two attempts".to_string(),
            None => "its shim died while it waited".to_string(),
        };
        if track.detail == Detail::Survivors {
            text.push_str("; its command may still run");
        }
        text
    }

    fn lost_dependency(&self, step: StepId) -> String {
        let Detail::Dependency(place) = self.track(step).detail else { return "a dependency".to_string() };
        let dependency = self.step(step).depends_on[place];
        let (name, ended) = (&self.step(dependency.step).name, self.track(dependency.step));
        let phase = ended.phase;
        match dependency.condition {
            Condition::Failed => format!("it waits for {name} to fail, and {name} {}", became(phase)),
            Condition::Started => format!("{name} {} without ever beginning", became(phase)),
            Condition::Succeeded | Condition::Ready | Condition::Completed => {
                format!("{name} {} ({})", became(phase), self.in_short(dependency.step))
            }
        }
    }

    /// Such as `ExitCode 3`.
    fn in_short(&self, step: StepId) -> String {
        let track = self.track(step);
        let Some(reason) = track.reason else { return String::new() };
        match (reason, track.last_end().map(|ended| ended.exit)) {
            (Reason::ExitCode, Some(Exit::Code(code))) => format!("ExitCode {code}"),
            (Reason::Signal, Some(Exit::Signal { number, .. })) => format!("Signal {number}"),
            _ => format!("{reason:?}"),
        }
    }

    fn culprit(&self, step: StepId) -> &str {
        match self.track(step).detail {
            Detail::Culprit(culprit) => &self.step(culprit).name,
            _ => "another step",
        }
    }
}

/// The phase as a predicate: `build was Omitted`.
fn became(phase: Phase) -> String {
    match phase {
        Phase::Skipped | Phase::Omitted | Phase::Cancelled => format!("was {phase:?}"),
        Phase::Succeeded | Phase::Failed => format!("{phase:?}"),
        Phase::Pending | Phase::Awaiting | Phase::Granted | Phase::Running | Phase::Ready => format!("is {phase:?}"),
        Phase::Backoff | Phase::Paused | Phase::Stopping => format!("is {phase:?}"),
    }
}

fn start_error(stage: StartStage, errno: u16) -> String {
    match (stage, errno) {
        (StartStage::Exec, 2 | 20) => "its command was not found".to_string(),
        (StartStage::Exec, 13) => "its command may not be executed (permission denied)".to_string(),
        (StartStage::Exec, 8) => "its command is not a program of this machine (exec format error)".to_string(),
        (StartStage::Exec, _) => format!("its command could not be executed (errno {errno})"),
        (StartStage::Clear, _) => format!("what the attempt before left could not be cleared (errno {errno})"),
        (StartStage::Fork, _) => format!("no process could be made for its command (errno {errno})"),
        (StartStage::Replace, 7) => {
            "with the values of its references its command line is longer than the kernel takes \
            (128 KiB an argument)"
                .to_string()
        }
        (StartStage::Replace, 61) => "its turn had no values for the references in its command line".to_string(),
        (StartStage::Replace, _) => format!("the references in its command line could not be replaced (errno {errno})"),
        (StartStage::PostStart, code) => format!("its postStart hook ended with code {code}"),
        (StartStage::Prepare, _) => format!("the process for its command could not be prepared (errno {errno})"),
    }
}

/// Names of the signals that people meet, from signal(7); the numbers are the same on x86-64 and arm64.
fn signal(number: u8) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}

/// As a plan would say it: `1h30m`, `15m`, `1s500ms`.
pub(crate) fn duration(millis: Millis) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let mut text = String::new();
    let mut rest = millis;
    for (size, unit) in units {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_a_plan_says_them() {
        for (millis, text) in [(0, "0s"), (500, "500ms"), (90_000, "1m30s"), (5_400_000, "1h30m"), (1_500, "1s500ms")] {
            assert_eq!(duration(millis), text);
        }
    }
}
