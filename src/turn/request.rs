//! What a person can ask for: whether it applies now, and what it does then.
//!
//! Belongs here: the verbs, and one sentence for each answer. Does not belong here: who may ask, and how.

use alloc::format;
use alloc::string::String;

use crate::state::Phase;
use crate::track::{Detail, Verdict};
use crate::{Reason, Request, State, StepId, words};

/// The answer to a request. Only what `Does` something needs to be journaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It applies: what it does.
    Does(String),
    /// It was done before, so nothing is left to do.
    Done(String),
    /// It does not apply, and why.
    No(String),
}

impl State {
    /// What a request would do now, in a sentence. The state is not changed: the event `Requested` does it.
    #[must_use]
    pub fn answer(&self, request: Request) -> Answer {
        if self.outcome().is_some() {
            return Answer::No("the plan has ended".into());
        }
        match request {
            Request::Cancel => self.answer_cancel(),
            Request::Terminate { .. } if self.halt.terminating.is_some() => {
                Answer::Done("the pod is being deleted".into())
            }
            Request::Terminate { grace } => {
                let stop = self.plan.grace_period.min(grace / 4);
                Answer::Does(format!(
                    "the pod is being deleted, in {}: each step has {} to stop, finally steps have {}",
                    words::duration(grace),
                    words::duration(stop),
                    words::duration(grace - stop)
                ))
            }
            Request::Pause if self.halt.cancels > 0 => Answer::No("the plan is being cancelled".into()),
            Request::Pause if self.halt.paused => Answer::Done("the plan is paused".into()),
            Request::Pause => Answer::Does("no step gets a turn until `resume`; what runs goes on".into()),
            Request::Resume if self.halt.paused && self.count.paused > 0 => {
                Answer::Does("resumed, but a failed step still waits for `retry`, `skip` or `cancel`".into())
            }
            Request::Resume if self.halt.paused => Answer::Does("turns are given again".into()),
            Request::Resume if self.count.paused > 0 => {
                Answer::No("a failed step waits for `retry`, `skip` or `cancel`".into())
            }
            Request::Resume => Answer::Done("the plan is not paused".into()),
            Request::Retry { step, attempt } => self.answer_retry(step, attempt),
            Request::Skip { step, attempt } => self.answer_skip(step, attempt),
            Request::Approve { step } => self.answer_approve(step),
            Request::Stop { step, attempt } => self.answer_stop(step, attempt),
        }
    }

    fn answer_cancel(&self) -> Answer {
        match self.halt.cancels {
            0 if !self.halt.main_is_over => {
                Answer::Does("what runs is stopped, what waits is Cancelled, then finally steps run".into())
            }
            0 => Answer::Does("finally steps run to their end; a second `cancel` stops them".into()),
            1 => Answer::Does("finally steps are stopped too".into()),
            _ => Answer::Done("the plan is being cancelled".into()),
        }
    }

    fn answer_retry(&self, step: StepId, attempt: u32) -> Answer {
        let (name, track) = (&self.step(step).name, self.track(step));
        if attempt < track.attempt {
            return Answer::Done(format!("{name} is on attempt {} already", track.attempt));
        }
        match track.phase {
            Phase::Paused if attempt != track.attempt => {
                Answer::No(format!("{name} is on attempt {}, not {attempt}", track.attempt))
            }
            Phase::Paused if !track.has_container() => {
                Answer::No(format!("{name} cannot be retried: its container is gone; `skip` or `cancel`"))
            }
            Phase::Paused => Answer::Does(format!("{name} gets another attempt")),
            Phase::Backoff => Answer::No(format!("{name} is retried by itself")),
            phase if phase.is_end() => Answer::No(format!("{name} has ended: {}", self.message(step))),
            phase => Answer::No(format!("{name} is {phase:?}: only a Paused step can be retried")),
        }
    }

    fn answer_skip(&self, step: StepId, attempt: u32) -> Answer {
        let (name, track) = (&self.step(step).name, self.track(step));
        match track.phase {
            Phase::Skipped => Answer::Done(format!("{name} is Skipped")),
            phase if phase.is_end() => Answer::No(format!("{name} has ended: {}", self.message(step))),
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping => {
                Answer::No(format!("{name} runs: `stop` ends it, and then it is Cancelled"))
            }
            _ if attempt != track.attempt => {
                Answer::No(format!("{name} is on attempt {}, not {attempt}", track.attempt))
            }
            _ => Answer::Does(format!("{name} counts as Skipped")),
        }
    }

    fn answer_approve(&self, step: StepId) -> Answer {
        let (name, track) = (&self.step(step).name, self.track(step));
        match track.phase {
            _ if self.step(step).approval.is_none() => Answer::No(format!("{name} needs no approval")),
            _ if track.approved => Answer::Done(format!("{name} is approved")),
            phase if phase.is_end() => Answer::No(format!("{name} has ended: {}", self.message(step))),
            Phase::Awaiting => Answer::Does(format!("{name} may run")),
            _ => Answer::Does(format!("{name} may run once what it depends on is met")),
        }
    }

    fn answer_stop(&self, step: StepId, attempt: u32) -> Answer {
        let (name, track) = (&self.step(step).name, self.track(step));
        match track.phase {
            phase if phase.is_end() => Answer::Done(format!("{name} has ended: {}", self.message(step))),
            Phase::Stopping => Answer::Done(format!("{name} is being stopped")),
            _ if attempt != track.attempt => {
                Answer::No(format!("{name} is on attempt {}, not {attempt}", track.attempt))
            }
            Phase::Granted | Phase::Running | Phase::Ready => Answer::Does(format!("{name} is told to stop")),
            Phase::Backoff if self.step(step).service => Answer::Does(format!("{name} is not run again")),
            _ => Answer::Does(format!("{name} is Cancelled")),
        }
    }

    /// Does what [`Self::answer`] says. What does not apply changes nothing: also in a replay.
    pub(crate) fn handle_request(&mut self, request: Request) {
        if !matches!(self.answer(request), Answer::Does(_)) {
            return;
        }
        match request {
            Request::Cancel => self.handle_cancel(),
            Request::Terminate { grace } => self.handle_termination(grace),
            Request::Pause => self.halt.paused = true,
            Request::Resume => self.halt.paused = false,
            Request::Retry { step, .. } => {
                self.unset_timer(step);
                let never_ran = self.track(step).attempts.is_empty();
                if never_ran {
                    let track = self.track_mut(step); // what it waits for now is no failure
                    (track.reason, track.detail) = (None, Detail::None);
                }
                self.set_phase(step, if never_ran { Phase::Pending } else { Phase::Backoff });
                self.consider(step);
            }
            Request::Skip { step, .. } => self.end(step, Phase::Skipped, Reason::SkipRequested, Detail::None),
            Request::Approve { step } => {
                self.track_mut(step).approved = true;
                if self.track(step).phase == Phase::Awaiting {
                    self.set_phase(step, Phase::Pending);
                    self.consider(step);
                }
            }
            Request::Stop { step, .. } => self.handle_stop(step),
        }
    }

    fn handle_stop(&mut self, step: StepId) {
        let reason = Reason::StopRequested;
        match (self.track(step).phase, self.step(step).service) {
            (Phase::Granted | Phase::Running | Phase::Ready, true) => self.stop(step, Verdict::Stopped, Detail::None),
            (Phase::Granted | Phase::Running | Phase::Ready, false) => {
                self.stop(step, Verdict::Cancelled(reason), Detail::None);
            }
            (Phase::Backoff, true) => self.end(step, Phase::Succeeded, Reason::Stopped, Detail::None),
            _ => self.end(step, Phase::Cancelled, reason, Detail::None),
        }
    }
}
