//! What a person asks for: whether it applies, and what it does.

use podturn_turn::{Millis, Phase, Reason, Request};

use super::{At, Judge, Verdict};
use crate::world::MS;

impl Judge {
    /// "carries the attempt it means; repeated, it does nothing"
    pub(crate) fn applies(&self, request: Request) -> bool {
        if (0..self.records.len()).all(|n| self.end(n).is_some()) {
            return false;
        }
        let is_meant = |n: usize, attempt: u32| self.end(n).is_none() && self.records[n].attempt == attempt;
        match request {
            Request::Cancel => self.cancels < 2,
            Request::Terminate { .. } => !self.is_deleted,
            Request::Pause => !self.paused && self.cancels == 0,
            Request::Resume => self.paused,
            // "a step that lost its container cannot be retried"
            Request::Retry { step, attempt } => {
                let (n, paused) = (step.index(), matches!(self.records[step.index()].at, At::Paused(..)));
                paused && is_meant(n, attempt) && self.has_container(n)
            }
            Request::Skip { step, attempt } => is_meant(step.index(), attempt) && !self.has_attempt(step.index()),
            Request::Approve { step } => {
                let record = &self.records[step.index()];
                let wanted = self.plan.steps[step.index()].approval.is_some();
                wanted && !record.approved && self.end(step.index()).is_none()
            }
            Request::Stop { step, attempt } => {
                is_meant(step.index(), attempt) && !matches!(self.records[step.index()].at, At::Stopping(_))
            }
        }
    }

    pub(super) fn requested(&mut self, request: Request) {
        if !self.applies(request) {
            return;
        }
        match request {
            Request::Cancel => {
                self.cancels += 1;
                self.paused = false;
                self.cancel();
            }
            Request::Terminate { grace } => self.terminated(grace),
            Request::Pause => self.paused = true,
            Request::Resume => self.paused = false,
            // "new attempt in place". A `when` without a value is asked for again.
            Request::Retry { step, .. } => self.wait(step.index()),
            Request::Skip { step, .. } => self.end_as(step.index(), Phase::Skipped, Reason::SkipRequested),
            Request::Approve { step } => {
                self.records[step.index()].approved = true;
                self.records[step.index()].awaits = false;
            }
            Request::Stop { step, .. } => self.stop_one(step.index()),
        }
    }

    /// "finally steps as far as the grace reaches": tasks and services have a quarter of it each at most, what is left is theirs, but for
    /// such a quarter at the end. Otherwise it is as a cancel.
    fn terminated(&mut self, grace: Millis) {
        self.is_deleted = true;
        let stop = self.plan.grace_period.min(grace / 4);
        self.deleted_until = Some(self.now + (grace - stop) * MS);
        self.paused = false;
        self.cancels = self.cancels.max(1);
        for n in 0..self.records.len() {
            // What was held was meant for everybody.
            if self.records[n].held.take().is_some() && self.has_attempt(n) {
                self.records[n].leaving = true;
            }
        }
        self.stop_all(false, Reason::PodDeleted);
    }

    /// "A service that podturn stopped has Succeeded, `Stopped`; a task that a person stopped is Cancelled"; what never ran, too.
    fn stop_one(&mut self, n: usize) {
        let service = self.plan.steps[n].service;
        let reason = Reason::StopRequested;
        match self.records[n].at {
            At::Granted | At::Running | At::Ready if service => {
                self.records[n].at = At::Stopping(Verdict::Stopped(Phase::Cancelled, reason));
            }
            At::Granted | At::Running | At::Ready => self.records[n].at = At::Stopping(Verdict::Cancelled(reason)),
            At::Waiting | At::Backoff(_) if service && self.records[n].failed.is_some() => {
                self.end_as(n, Phase::Succeeded, Reason::Stopped);
            }
            At::Waiting | At::Backoff(_) | At::Paused(..) => self.end_as(n, Phase::Cancelled, reason),
            At::Stopping(_) | At::End(..) => {}
        }
    }
}
