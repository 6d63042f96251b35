//! One attempt: given, begun, told to stop, judged, and followed by another one or not.

use podturn_wire::{Ended, Exit, StartStage};

use crate::timers::{self, Timer};
use crate::track::{Attempt, Detail, Verdict};
use crate::{Backoff, Cause, Millis, Phase, Reason, Restarts, State, StepId, Time};

/// How an attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Succeeded(Reason),
    Cancelled(Reason),
    /// With the cause by which `retry` knows it; `None`: it is never retried.
    Failed(Reason, Option<Cause>),
}

impl Judged {
    const fn reason(self) -> Reason {
        match self {
            Self::Succeeded(reason) | Self::Cancelled(reason) | Self::Failed(reason, _) => reason,
        }
    }

    /// What a verdict makes of an attempt whose own end does not count.
    const fn by(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Cancelled(reason) => Self::Cancelled(reason),
            Verdict::TimedOut => Self::Failed(Reason::TimedOut, Some(Cause::TimedOut)),
            Verdict::Interrupted => Self::Failed(Reason::Interrupted, Some(Cause::Interrupted)),
            Verdict::ShimLost => Self::Failed(Reason::ShimLost, Some(Cause::ShimLost)),
            Verdict::NotReady => Self::Failed(Reason::NotReady, Some(Cause::NotReady)),
            Verdict::NotNeeded | Verdict::Stopped => Self::Succeeded(Reason::Stopped),
        }
    }
}

impl State {
    /// The step has a slot and a container: the attempt that waited to be given again, or the next one.
    pub(crate) fn grant(&mut self, step: StepId) {
        let track = self.track_mut(step);
        if !track.open {
            track.attempt = track.attempt.saturating_add(1);
            track.open = true;
        }
        track.begun_at = None;
        track.ready_at = None;
        track.verdict = None;
        track.reason = None;
        track.detail = Detail::None;
        self.set_phase(step, Phase::Granted);
    }

    /// A report showed the present attempt as begun. A step cannot move its begin into the future, or its time limit
    /// with it.
    pub(crate) fn begin(&mut self, step: StepId, started_at: Time) {
        let started_at = started_at.min(self.now);
        let track = self.track_mut(step);
        if track.begun_at.is_some() {
            return;
        }
        track.begun_at = Some(started_at);
        if track.started_at.is_none() {
            track.started_at = Some(started_at);
            self.meet_started(step);
        }
    }

    /// When the present attempt has run as long as it may.
    pub(crate) fn attempt_limit(&self, step: StepId) -> Option<Time> {
        let begun_at = self.track(step).begun_at?;
        self.step(step).timeout.map(|timeout| timers::after(begun_at, timeout))
    }

    /// The attempt is no longer wanted.
    pub(crate) fn stop(&mut self, step: StepId, verdict: Verdict, detail: Detail) {
        self.unset_timer(step);
        self.let_leave(step);
        let track = self.track_mut(step);
        debug_assert!(track.verdict.is_none(), "the first verdict stands");
        track.verdict = Some(verdict);
        track.reason = Some(verdict.reason());
        track.detail = detail;
        self.set_phase(step, Phase::Stopping);
    }

    /// The shim told how the attempt ended.
    pub(crate) fn attempt_ended(&mut self, step: StepId, ended: Ended) {
        let earliest = self.track(step).begun_at.unwrap_or(self.now);
        let ended = Ended { at: ended.at.clamp(earliest, self.now), ..ended }; // a step may tell any number
        let judged = self.judge(step, &ended);
        let can_go_on = self.track(step).has_container() || self.step(step).restarts == Restarts::Always;
        self.settle_attempt(step, judged, Some(ended), None, can_go_on);
    }

    /// The attempt was begun, and nobody can say any more how it ended.
    pub(crate) fn attempt_cut_off(&mut self, step: StepId, otherwise: Verdict, detail: Detail, can_come_back: bool) {
        let verdict = self.track(step).verdict.unwrap_or(otherwise);
        self.settle_attempt(step, Judged::by(verdict), None, Some(detail), can_come_back);
    }

    /// The attempt never began and never will in this instance. Nothing of it happened, so the same attempt may be given
    /// again where a container can come back (rule C7).
    pub(crate) fn attempt_not_begun(&mut self, step: StepId, otherwise: Verdict, detail: Detail, can_come_back: bool) {
        let verdict = self.track(step).verdict;
        let again = match verdict {
            None | Some(Verdict::ShimLost | Verdict::Interrupted) => can_come_back,
            Some(Verdict::Cancelled(_) | Verdict::TimedOut | Verdict::NotReady) => false,
            Some(Verdict::NotNeeded | Verdict::Stopped) => false,
        };
        let nothing_happened = self.track(step).attempts.is_empty();
        match verdict {
            Some(Verdict::NotNeeded) if nothing_happened => {
                return self.end(step, Phase::Omitted, Reason::NotNeeded, Detail::None);
            }
            Some(Verdict::Stopped) if nothing_happened => {
                return self.end(step, Phase::Cancelled, Reason::StopRequested, Detail::None);
            }
            _ => {}
        }
        if !again {
            let judged = Judged::by(verdict.unwrap_or(otherwise));
            self.settle_attempt(step, judged, None, Some(detail), false);
            return;
        }
        let track = self.track_mut(step);
        track.verdict = None;
        let (phase, reason) = match track.attempts.last() {
            Some(attempt) => (Phase::Backoff, Some(attempt.reason)),
            None => (Phase::Pending, None),
        };
        track.reason = reason;
        track.detail = Detail::None;
        self.set_phase(step, phase);
        // When the plan is about to be drained in this very event, that takes this step with the others.
        if self.is_halted(step) && !(self.halt.drain_is_due && self.halted_by(step).is_none()) {
            self.end_waiting(step);
        } else {
            self.consider(step);
        }
    }

    /// What an end that the shim told counts as.
    fn judge(&self, step: StepId, ended: &Ended) -> Judged {
        let overran = ended.timed_out || self.attempt_limit(step).is_some_and(|limit| ended.at > limit);
        let own = if overran { Judged::by(Verdict::TimedOut) } else { self.judge_exit(step, ended.exit) };
        let Some(verdict) = self.track(step).verdict else { return own };
        // An end that is not later than a deadline wins over it, also when it is read after it.
        let before_verdict = match verdict {
            Verdict::TimedOut => true,
            Verdict::Cancelled(Reason::PlanTimedOut) => self.halt.plan_timed_out.is_some_and(|at| ended.at <= at),
            Verdict::Cancelled(_) | Verdict::Interrupted | Verdict::ShimLost => false,
            Verdict::NotReady | Verdict::NotNeeded | Verdict::Stopped => false,
        };
        if before_verdict && ended.exit != Exit::NotStarted { own } else { Judged::by(verdict) }
    }

    fn judge_exit(&self, step: StepId, exit: Exit) -> Judged {
        match exit {
            Exit::Code(_) | Exit::Signal { .. } if self.step(step).service => {
                Judged::Failed(Reason::EndedEarly, Some(Cause::EndedEarly))
            }
            Exit::Code(code) if self.step(step).success_exit_codes.contains(&code) => {
                Judged::Succeeded(Reason::Completed)
            }
            Exit::Code(_) => Judged::Failed(Reason::ExitCode, Some(Cause::ExitCode)),
            Exit::Signal { oom: true, .. } => Judged::Failed(Reason::OOMKilled, Some(Cause::OOMKilled)),
            Exit::Signal { oom: false, .. } => Judged::Failed(Reason::Signal, Some(Cause::Signal)),
            // The command ran, and its start may go well the next time.
            Exit::StartError { stage: StartStage::PostStart, .. } => {
                Judged::Failed(Reason::StartError, Some(Cause::ExitCode))
            }
            // `NotStarted` though nobody called the attempt back: only a shim that does not keep rule S6 says so.
            Exit::StartError { .. } | Exit::NotStarted => Judged::Failed(Reason::StartError, None),
        }
    }

    fn settle_attempt(
        &mut self,
        step: StepId,
        judged: Judged,
        ended: Option<Ended>,
        detail: Option<Detail>,
        can_go_on: bool,
    ) {
        let now = self.now;
        let again = can_go_on && self.is_retried(step, judged, ended.as_ref());
        self.unset_timer(step);
        self.let_leave(step);
        let track = self.track_mut(step);
        let ended_at = ended.map_or(now, |ended| ended.at);
        track.attempts.push(Attempt {
            number: track.attempt,
            started_at: track.begun_at,
            ended_at,
            reason: judged.reason(),
            ended,
        });
        track.open = false;
        track.begun_at = None;
        let fresh = core::mem::take(&mut track.fresh);
        if let Judged::Succeeded(Reason::Completed) = judged {
            track.outputs = fresh;
        }
        // What was said when the attempt was told to stop is said of its end too, unless there is more to say.
        let detail = match (detail, track.verdict) {
            (Some(Detail::None) | None, Some(verdict)) if verdict.reason() == judged.reason() => track.detail,
            (detail, _) => detail.unwrap_or(Detail::None),
        };
        track.verdict = None;
        match judged {
            Judged::Failed(reason, _) if again => self.back_off(step, reason, detail),
            Judged::Succeeded(reason) => self.end(step, Phase::Succeeded, reason, detail),
            Judged::Cancelled(reason) => self.end(step, Phase::Cancelled, reason, detail),
            Judged::Failed(reason, _) => self.fail(step, reason, detail),
        }
        let track = self.track_mut(step);
        if track.phase.is_end() {
            track.ended_at = Some(ended_at);
        }
    }

    fn is_retried(&self, step: StepId, judged: Judged, ended: Option<&Ended>) -> bool {
        let Judged::Failed(_, Some(cause)) = judged else { return false };
        let retry = &self.step(step).retry;
        let code_fits = match (cause, ended.map(|ended| ended.exit)) {
            (Cause::ExitCode, Some(Exit::Code(code))) => {
                retry.exit_codes.is_empty() || retry.exit_codes.contains(&code)
            }
            _ => true,
        };
        if self.is_halted(step) || self.track(step).lost.is_some() {
            return false;
        }
        let counted = self.track(step).attempt - self.track(step).comebacks;
        let has_retry_left = counted <= retry.limit && retry.causes.contains(&cause) && code_fits;
        has_retry_left || self.comes_back(step, cause)
    }

    /// A service whose container was lost, and which the kubelet starts again, is simply due again.
    fn comes_back(&self, step: StepId, cause: Cause) -> bool {
        let plan = self.step(step);
        plan.service && plan.restarts != Restarts::Never && matches!(cause, Cause::ShimLost | Cause::Interrupted)
    }

    fn back_off(&mut self, step: StepId, reason: Reason, detail: Detail) {
        let attempt = self.track(step).attempt;
        let lost = matches!(reason, Reason::ShimLost | Reason::Interrupted);
        let wait = match self.step(step).service && self.step(step).restarts != Restarts::Never && lost {
            true => {
                self.track_mut(step).comebacks += 1;
                0 // the kubelet has waited before it started the container again
            }
            false => {
                let counted = attempt - self.track(step).comebacks;
                backoff(&self.step(step).retry.backoff, counted, hash(self.run.0, step, attempt))
            }
        };
        let track = self.track_mut(step);
        track.reason = Some(reason);
        track.detail = detail;
        self.set_phase(step, Phase::Backoff);
        if wait > 0 {
            self.set_timer(step, timers::after(self.now, wait), Timer::Backoff);
        }
        self.consider(step);
    }
}

/// The wait after attempt `attempt`, which is before retry `attempt`. Counted in nanoseconds, so that a factor does not
/// lose what it adds to a short wait; the answer is in whole milliseconds.
fn backoff(backoff: &Backoff, attempt: u32, hash: u64) -> Millis {
    const NANOSECONDS: u128 = 1_000_000;
    let cap = u128::from(backoff.cap.unwrap_or(Millis::MAX)) * NANOSECONDS;
    let mut wait = (u128::from(backoff.duration) * NANOSECONDS).min(cap);
    for _ in 1..attempt {
        let next = (wait * u128::from(backoff.factor_milli) / 1000).min(cap);
        if next == wait {
            break; // at the cap, at 0, or a factor of 1: it stays so
        }
        wait = next;
    }
    let wait = u64::try_from(wait / NANOSECONDS).unwrap_or(Millis::MAX);
    let span = u128::from(wait) * u128::from(backoff.jitter_milli.min(1000)) / 1000;
    let moved = u128::from(wait) - span + u128::from(hash) % (2 * span + 1);
    Millis::try_from(moved).unwrap_or(Millis::MAX)
}

/// Spreads (run, step, attempt) over 64 bits: the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast Splittable
/// Pseudorandom Number Generators", 2014), once for each part.
fn hash(run: u64, step: StepId, attempt: u32) -> u64 {
    let mix = |seed: u64, part: u64| {
        let mut z = seed.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(mix(mix(0, run), u64::from(step.0)), u64::from(attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_SECONDS: Backoff = Backoff { duration: 10_000, factor_milli: 2000, cap: None, jitter_milli: 0 };

    #[test]
    fn the_wait_grows_by_its_factor_up_to_its_cap() {
        let table: [(Backoff, [Millis; 4]); 5] = [
            (TEN_SECONDS, [10_000, 20_000, 40_000, 80_000]),
            (Backoff { factor_milli: 1500, ..TEN_SECONDS }, [10_000, 15_000, 22_500, 33_750]),
            (Backoff { factor_milli: 1000, ..TEN_SECONDS }, [10_000; 4]),
            (Backoff { cap: Some(25_000), ..TEN_SECONDS }, [10_000, 20_000, 25_000, 25_000]),
            (Backoff { duration: 0, ..TEN_SECONDS }, [0; 4]),
        ];
        for (plan, expected) in table {
            let waits = [1, 2, 3, 4].map(|attempt| backoff(&plan, attempt, 0));
            assert_eq!(waits, expected, "{plan:?}");
        }
    }

    #[test]
    fn no_number_overflows_the_wait_or_keeps_it_counting() {
        let huge = Backoff { duration: u64::MAX, factor_milli: u32::MAX, cap: None, jitter_milli: 1000 };
        assert_eq!(backoff(&huge, u32::MAX, u64::MAX), u64::MAX);
        let slow = Backoff { duration: 1, factor_milli: 1001, cap: None, jitter_milli: 0 };
        assert_eq!(backoff(&slow, u32::MAX, 0), u64::MAX, "slow growth ends as well, and soon");
    }

    #[test]
    fn jitter_stays_in_its_span_and_differs_between_runs_steps_and_attempts() {
        let plan = Backoff { jitter_milli: 250, ..TEN_SECONDS };
        let mut seen = alloc::collections::BTreeSet::new();
        for run in 0..4 {
            for step in 0..4 {
                let wait = backoff(&plan, 1, hash(run, StepId(step), 1));
                assert!((7_500..=12_500).contains(&wait), "{wait}");
                seen.insert(wait);
            }
        }
        assert!(seen.len() > 10, "{seen:?}");
        assert_ne!(hash(1, StepId(2), 3), hash(1, StepId(3), 2));
    }
}
