//! Failures and retries, timers, and the plan's end before its time.

use podturn_turn::{Cause, OnFailure, Phase, Reason, Restarts, Time};

use super::{At, Judge, Verdict};
use crate::world::MS;

impl Judge {
    /// An attempt has failed.
    pub(super) fn failed(&mut self, n: usize, reason: Reason, can_go_on: bool) -> Result<(), String> {
        let goes_on = can_go_on && self.records[n].open && self.may_go_on(n);
        let comes_back = goes_on && self.comes_back(n, reason);
        let retried = goes_on && self.may_retry(n, reason);
        self.records[n].open = false;
        self.records[n].failed = Some(reason);
        if self.records[n].held.take().is_some() {
            self.records[n].leaving = true; // its attempt is over: it follows the signal
        }
        if !comes_back && !retried {
            self.fail(n, reason);
            return Ok(());
        }
        let (shortest, longest) = if comes_back { (0, 0) } else { self.backoff(n) };
        self.records[n].comebacks += u32::from(comes_back);
        let seen = self.seen[n].next_attempt_at;
        let waits = (self.now + shortest..=self.now + longest).contains(&seen.unwrap_or(self.now));
        if !waits && !self.seen[n].phase.is_end() {
            return Err(format!("step {n}: the next attempt at {seen:?} is not {shortest} to {longest} ns from now"));
        }
        self.wait(n);
        if let Some(until) = seen {
            self.records[n].at = At::Backoff(until);
        }
        Ok(())
    }

    /// A failure that nothing follows by itself: "hold everything for a person", "bounded by `timeout` or `pauseTimeout`".
    pub(super) fn fail(&mut self, n: usize, reason: Reason) {
        let step = &self.plan.steps[n];
        // "failures that are allowed, or in finally steps never trigger `onFailure`"
        let pauses = self.plan.on_failure == OnFailure::Pause && !step.allow_failure && !step.finally;
        if !pauses || self.waits_for_nobody(n) || self.has_lost(n) {
            self.end_as(n, Phase::Failed, reason);
            return;
        }
        self.records[n].asked = false;
        self.records[n].at = At::Paused(reason, self.plan.pause_timeout.map(|limit| self.now + limit * MS));
    }

    /// Nothing of it starts any more, or it is what finally steps need and these are all that is left.
    pub(super) fn waits_for_nobody(&self, n: usize) -> bool {
        self.over[usize::from(self.late[n])].is_some()
            || (self.late[n] && (self.over[0].is_some() || self.tasks_are_over()))
    }

    pub(super) fn wait(&mut self, n: usize) {
        self.records[n].at = At::Waiting;
        if !self.has_container(n) {
            self.records[n].absent_since = self.now;
        }
    }

    fn may_retry(&self, n: usize, reason: Reason) -> bool {
        let (step, record) = (&self.plan.steps[n], &self.records[n]);
        let cause = match reason {
            Reason::ExitCode => Cause::ExitCode,
            Reason::Signal => Cause::Signal,
            Reason::OOMKilled => Cause::OOMKilled,
            Reason::TimedOut => Cause::TimedOut,
            Reason::ShimLost => Cause::ShimLost,
            Reason::Interrupted => Cause::Interrupted,
            Reason::EndedEarly => Cause::EndedEarly,
            Reason::NotReady => Cause::NotReady,
            _ => return false,
        };
        let code = record.codes.last();
        let code_counts = cause != Cause::ExitCode
            || step.retry.exit_codes.is_empty()
            || code.is_some_and(|c| step.retry.exit_codes.contains(c));
        step.retry.causes.contains(&cause) && code_counts && record.attempt - record.comebacks <= step.retry.limit
    }

    /// A service that was lost with its container, which the kubelet starts again: "gets its turn again as soon as its dependencies
    /// hold".
    fn comes_back(&self, n: usize, reason: Reason) -> bool {
        let step = &self.plan.steps[n];
        step.service && step.restarts != Restarts::Never && matches!(reason, Reason::ShimLost | Reason::Interrupted)
    }

    /// Whether any further attempt may follow.
    fn may_go_on(&self, n: usize) -> bool {
        // "cancel or time-out meets Stopping: the first verdict stands; no retry"
        self.over[usize::from(self.late[n])].is_none()
            // "no new attempt starts, so Backoff becomes Failed"
            && (!self.drains() || self.exempt[n])
            && !self.has_lost(n)
    }

    /// The shortest and longest wait before the next attempt, in ns: "duration * factor^(n-1), at most cap, then changed by up
    /// to jitter of itself in either direction".
    fn backoff(&self, n: usize) -> (Time, Time) {
        let backoff = self.plan.steps[n].retry.backoff;
        let mut wait = backoff.duration;
        for _ in 1..self.records[n].attempt - self.records[n].comebacks {
            wait = wait * u64::from(backoff.factor_milli) / 1_000;
        }
        let wait = wait.min(backoff.cap.unwrap_or(u64::MAX)) * MS;
        let jitter = wait / 1_000 * u64::from(backoff.jitter_milli);
        (wait - jitter, wait + jitter)
    }

    // ---- timers

    /// "every timer that is due at `at` goes off, oldest first": what follows from the older one is settled before the younger one.
    pub(super) fn deadline(&mut self) -> Result<(), String> {
        while let Some(time) = self.next_timer().filter(|time| *time <= self.now) {
            let now = self.timers().into_iter().filter(|(t, _)| *t == time).map(|(_, who)| who).collect::<Vec<_>>();
            for n in now.iter().flatten() {
                self.timer_of(*n)?;
            }
            for n in 0..self.records.len() {
                if self.held_until(n) == Some(time) {
                    self.stopped_alone(n);
                }
            }
            if now.contains(&None) {
                self.plan_deadline = None;
                self.plan_timed_out = Some(time);
                // "then finally steps run"
                self.paused = false;
                self.stop_all(false, Reason::PlanTimedOut);
            }
            if self.deletion_timer() == Some(time) {
                self.deleted_until = None;
                self.stop_all(true, Reason::PodDeleted);
            }
            self.settle();
            self.follow_held();
        }
        Ok(())
    }

    /// The next timer, of whatever.
    pub(super) fn next_timer(&self) -> Option<Time> {
        let held = (0..self.records.len()).filter_map(|n| self.held_until(n));
        self.timers().into_iter().map(|(time, _)| time).chain(held).chain(self.deletion_timer()).min()
    }

    fn deletion_timer(&self) -> Option<Time> {
        self.deleted_until.filter(|_| (0..self.records.len()).any(|n| self.end(n).is_none()))
    }

    fn held_until(&self, n: usize) -> Option<Time> {
        self.records[n].held.filter(|_| !matches!(self.records[n].at, At::Stopping(_) | At::End(..)))
    }

    fn timer_of(&mut self, n: usize) -> Result<(), String> {
        match self.records[n].at {
            At::Backoff(_) => {
                self.records[n].at = At::Waiting;
                self.records[n].due_at = None;
            }
            At::Running | At::Ready => self.records[n].at = At::Stopping(Verdict::Failed(Reason::TimedOut)),
            // "before it is Failed, `NeverArrived`"
            At::Waiting => self.fail(n, Reason::NeverArrived),
            At::Paused(why, _) => self.end_as(n, Phase::Failed, why),
            At::Granted | At::Stopping(_) | At::End(..) => return Err(format!("step {n} has no timer")),
        }
        Ok(())
    }

    /// Time, and whose: of the plan where nobody's.
    pub(super) fn timers(&self) -> Vec<(Time, Option<usize>)> {
        let mut timers = Vec::new();
        // "until the last step that is not `finally` has ended"
        if let Some(deadline) = self.plan_deadline.filter(|_| !self.tasks_are_over()) {
            timers.push((deadline, None));
        }
        for (n, record) in self.records.iter().enumerate() {
            let limit = self.plan.steps[n].timeout;
            match (record.at, record.due_at, limit) {
                (At::Backoff(until), ..) => timers.push((until, Some(n))),
                (At::Paused(_, Some(until)), ..) => timers.push((until, Some(n))),
                (At::Running | At::Ready, _, Some(limit)) => timers.push((record.started_at + limit * MS, Some(n))),
                (At::Waiting, Some(due), _) if !self.has_container(n) => {
                    let since = due.max(record.absent_since);
                    timers.push((since + self.plan.arrival_timeout * MS, Some(n)));
                }
                _ => {}
            }
        }
        timers
    }

    // ---- the plan's end before its time

    /// "cover the steps that are not `finally` ...; then finally steps run; a second cancel stops those too"
    pub(super) fn cancel(&mut self) {
        self.stop_all(false, Reason::CancelRequested);
        if self.cancels > 1 {
            self.stop_all(true, Reason::CancelRequested);
        }
    }

    /// "running ones are stopped ..., pending ones Cancelled", Backoff too; "services Succeeded `Stopped`, dependents first; services
    /// that finally steps need are kept".
    pub(super) fn stop_all(&mut self, late: bool, reason: Reason) {
        if !late && self.tasks_are_over() {
            return;
        }
        self.over[usize::from(late)].get_or_insert(reason);
        for n in 0..self.records.len() {
            if self.late[n] != late {
                continue;
            }
            match self.records[n].at {
                // "until a person retries, skips or cancels"
                At::Paused(why, _) => self.end_as(n, Phase::Failed, why),
                At::Waiting | At::Backoff(_) => self.end_waiting(n, reason),
                // Once nobody needs it.
                At::Granted | At::Running | At::Ready if self.plan.steps[n].service => {}
                At::Granted | At::Running | At::Ready => self.records[n].at = At::Stopping(Verdict::Cancelled(reason)),
                // "the first verdict stands"
                At::Stopping(_) | At::End(..) => {}
            }
        }
    }

    pub(super) fn end_waiting(&mut self, n: usize, reason: Reason) {
        if self.plan.steps[n].service && self.records[n].failed.is_some() {
            self.end_as(n, Phase::Succeeded, Reason::Stopped);
        } else {
            self.end_as(n, Phase::Cancelled, reason);
        }
    }

    /// Whether a failure has made the plan drain: "failures that are allowed, or in finally steps never trigger `onFailure`".
    pub(super) fn drains(&self) -> bool {
        matches!(self.plan.on_failure, OnFailure::Drain | OnFailure::Cancel)
            && self.plan.steps.iter().zip(&self.records).any(|(step, record)| {
                matches!(record.at, At::End(Phase::Failed, _)) && !step.allow_failure && !step.finally
            })
    }
}
