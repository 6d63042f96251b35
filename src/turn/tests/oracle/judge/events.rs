//! What an event says by itself: of the step it is about, before anything follows for others.

use podturn_turn::{Decision, Event, Kind, Phase, Probed, Reason, Restarts, Time};
use podturn_wire::{Ended, Exit, InstanceId, Last, StartStage};

use super::{At, Judge, Verdict};
use crate::world::MS;

/// How long a stop signal waits for the sign that it is meant for everybody (docs/decisions.md).
const MOMENT: Time = 1_000 * MS;

impl Judge {
    pub(super) fn take(&mut self, event: &Event) -> Result<(), String> {
        match event.kind.clone() {
            Kind::CoordinatorStarted { rebooted } => self.coordinator_started(event, rebooted)?,
            Kind::Arrived { step, instance, last, references, .. } => {
                self.records[step.index()].references = references;
                self.arrived(step.index(), instance, last)?;
            }
            Kind::Begun { step, instance, attempt, started_at, .. } => {
                if self.is_current(step.index(), instance, attempt) {
                    self.begun(step.index(), started_at);
                    self.may_be_ready(step.index());
                }
            }
            Kind::Probed { step, instance, attempt, readiness, .. } => {
                if self.is_current(step.index(), instance, attempt) {
                    self.probed(step.index(), readiness);
                }
            }
            Kind::Decided { step, decision } => self.decided(step.index(), &decision),
            // "taken when an attempt has succeeded"
            Kind::Outputs { step, attempt, outputs } => {
                let record = &mut self.records[step.index()];
                if record.attempt == attempt && record.open {
                    record.left = outputs;
                }
            }
            Kind::Ended { step, instance, attempt, started_at, ended, .. } => {
                if self.is_current(step.index(), instance, attempt) {
                    if ended.exit == Exit::NotStarted {
                        self.never_started(step.index(), started_at)?;
                    } else {
                        self.begun(step.index(), started_at);
                    }
                    self.ended(step.index(), &ended)?;
                }
            }
            Kind::StopSignal { step, instance, .. } => {
                if self.records[step.index()].instance == Some(instance) {
                    self.stopped_from_outside(step.index());
                }
            }
            Kind::Lost { step, instance, survivors } => {
                if self.records[step.index()].instance == Some(instance) {
                    let returns = self.returns(step.index());
                    self.gone(step.index());
                    self.lost(step.index(), Reason::ShimLost, returns, !survivors)?;
                }
            }
            Kind::Deaf { step, instance } => {
                if self.records[step.index()].instance == Some(instance) {
                    self.deaf(step.index())?;
                }
            }
            Kind::NotBegun { step, instance, attempt } => {
                if self.is_current(step.index(), instance, attempt) {
                    self.not_begun(step.index())?;
                }
            }
            Kind::Deadline => self.deadline()?,
            Kind::Requested { request } => self.requested(request),
            Kind::Connected { .. } => {}
            Kind::VolumeFull => self.volume_full(),
        }
        Ok(())
    }

    fn coordinator_started(&mut self, event: &Event, rebooted: bool) -> Result<(), String> {
        if event.seq == 1 {
            // "plan `timeout` runs from the coordinator's start"
            self.plan_deadline = self.plan.timeout.map(|limit| self.now + limit * MS);
        }
        if rebooted {
            for n in 0..self.records.len() {
                // The node has just come up: whoever waits for a container has the whole time for it.
                self.gone(n);
                self.records[n].absent_since = self.now;
                // "steps that were running are `Interrupted`, and retried if they may be"; a node that comes back makes all containers anew
                self.lost(n, Reason::Interrupted, true, true)?;
            }
        }
        Ok(())
    }

    /// One that was told to leave has been missing since then.
    fn gone(&mut self, n: usize) {
        if self.has_container(n) {
            self.records[n].absent_since = self.now;
        }
        self.records[n].instance = None;
        self.records[n].leaving = false;
        self.records[n].held = None;
    }

    /// "Every deadline is moved so that what was left of it is left from `at` on": what was left at the newest event before.
    pub(super) fn move_clocks(&mut self, at: Time) {
        let before = self.now;
        let moved = |t: Time| at + t.saturating_sub(before);
        self.plan_deadline = self.plan_deadline.map(moved);
        self.deleted_until = self.deleted_until.map(moved);
        for record in &mut self.records {
            record.due_at = record.due_at.map(moved);
            if let At::Backoff(until) | At::Paused(_, Some(until)) = &mut record.at {
                *until = moved(*until);
            }
        }
    }

    /// C5: "Results count only for the current instance and the current attempt."
    fn is_current(&self, n: usize, instance: InstanceId, attempt: u32) -> bool {
        let record = &self.records[n];
        record.instance == Some(instance) && record.attempt == attempt && self.has_attempt(n)
    }

    pub(super) fn has_attempt(&self, n: usize) -> bool {
        matches!(self.records[n].at, At::Granted | At::Running | At::Ready | At::Stopping(_))
    }

    /// C4: "The old attempt is settled first: a result is that end; begun is lost; nothing is not begun."
    fn arrived(&mut self, n: usize, instance: InstanceId, last: Option<Last>) -> Result<(), String> {
        self.records[n].instance = Some(instance);
        self.records[n].leaving = false;
        self.records[n].held = None;
        if !self.records[n].open || self.end(n).is_some() {
            return Ok(());
        }
        // "the same attempt again": it was called back, and what its old instance says of that changes nothing.
        let is_stopping = matches!(self.records[n].at, At::Stopping(_));
        let counts = |last: &Last| is_stopping || last.ended.is_none_or(|ended| ended.exit != Exit::NotStarted);
        match last.filter(|last| last.attempt == self.records[n].attempt && counts(last)) {
            Some(Last { ended: Some(ended), started_at, .. }) => {
                if ended.exit == Exit::NotStarted {
                    self.never_started(n, started_at)?;
                } else {
                    self.begun(n, started_at);
                }
                self.ended(n, &ended)
            }
            // The container did come back, whatever its policy says.
            Some(Last { started_at, .. }) => {
                self.begun(n, started_at);
                self.cut_off(n, Reason::ShimLost, true)
            }
            None if self.has_attempt(n) => self.lost(n, Reason::ShimLost, true, true),
            None => Ok(()),
        }
    }

    fn begun(&mut self, n: usize, started_at: Time) {
        let record = &mut self.records[n];
        record.ever_begun = true;
        if !std::mem::replace(&mut record.begun, true) {
            record.started_at = started_at.min(self.now);
        }
        if record.at == At::Granted {
            record.at = At::Running;
        }
    }

    /// "none: ready when started"
    fn may_be_ready(&mut self, n: usize) {
        let step = &self.plan.steps[n];
        if step.service && step.readiness.is_none() && self.records[n].at == At::Running {
            self.records[n].at = At::Ready;
        }
    }

    /// "`failureThreshold` failures in a row before the first success are `NotReady`, later ones only unset Ready"
    fn probed(&mut self, n: usize, readiness: Probed) {
        let record = &mut self.records[n];
        match (readiness, record.at) {
            (Probed::Ready, At::Running) => {
                record.at = At::Ready;
                record.was_ready = true;
            }
            (Probed::Unready, At::Ready) => record.at = At::Running,
            (Probed::NotReady, At::Running) if !record.was_ready => {
                record.at = At::Stopping(Verdict::Failed(Reason::NotReady));
            }
            _ => {}
        }
    }

    /// "order of questions to a step: dependencies, then `when`": only one that was asked has an answer.
    fn decided(&mut self, n: usize, decision: &Decision) {
        if !std::mem::replace(&mut self.records[n].asked, false) {
            return;
        }
        match decision {
            Decision::Run => self.records[n].decided = true,
            Decision::Skip => self.end_as(n, Phase::Skipped, Reason::WhenFalse),
            Decision::Error(_) => self.fail(n, Reason::WhenError),
        }
    }

    /// Begun was written, the command was not started. Whether that is "has begun an attempt" when nobody read the begin before is
    /// open; either way the number is used up.
    fn never_started(&mut self, n: usize, started_at: Time) -> Result<(), String> {
        let ever = self.records[n].ever_begun || self.seen[n].started_at.is_some();
        self.begun(n, started_at);
        self.records[n].ever_begun = ever;
        match self.records[n].at {
            At::Stopping(_) => Ok(()),
            _ => Err(format!("the world is wrong: step {n} was not started, though it was wanted")),
        }
    }

    fn ended(&mut self, n: usize, ended: &Ended) -> Result<(), String> {
        // Stamps of a step are "held between the attempt's begin and now" (docs/decisions.md).
        let ended = &Ended { at: ended.at.clamp(self.records[n].started_at, self.now), ..*ended };
        let code = match ended.exit {
            Exit::Code(code) => code,
            Exit::Signal { number, .. } => 128 + number,
            Exit::StartError { stage: StartStage::Exec, errno: 2 | 20 } => 127,
            Exit::StartError { .. } => 126,
            Exit::NotStarted => 143,
        };
        self.records[n].codes.push(code);
        self.records[n].own_code = Some(code);
        if let At::Stopping(verdict) = self.records[n].at
            && !self.was_in_time(n, verdict, ended)
        {
            return self.stopped(n, verdict, self.can_go_on(n));
        }
        let step = &self.plan.steps[n];
        let limit = step.timeout.map(|limit| self.records[n].started_at + limit * MS);
        let reason = if ended.timed_out || limit.is_some_and(|limit| ended.at > limit) {
            Reason::TimedOut
        } else {
            match ended.exit {
                // "`EndedEarly` whatever the code or signal"
                Exit::Code(_) | Exit::Signal { .. } if step.service => Reason::EndedEarly,
                Exit::Code(code) if step.success_exit_codes.contains(&code) => {
                    self.records[n].outputs = self.records[n].left.clone();
                    self.end_as(n, Phase::Succeeded, Reason::Completed);
                    return Ok(());
                }
                Exit::Code(_) => Reason::ExitCode,
                Exit::Signal { oom: true, .. } => Reason::OOMKilled,
                Exit::Signal { .. } => Reason::Signal,
                Exit::StartError { .. } => Reason::StartError,
                Exit::NotStarted => return Err("the world is wrong: not started, not stopping".into()),
            }
        };
        self.failed(n, reason, self.can_go_on(n))
    }

    /// "a report whose end stamp is not later than a deadline wins over that deadline"
    fn was_in_time(&self, n: usize, verdict: Verdict, ended: &Ended) -> bool {
        let limit = match verdict {
            Verdict::Failed(Reason::TimedOut) => {
                self.plan.steps[n].timeout.map(|limit| self.records[n].started_at + limit * MS)
            }
            Verdict::Cancelled(Reason::PlanTimedOut) => self.plan_timed_out,
            _ => None,
        };
        ended.exit != Exit::NotStarted && limit.is_some_and(|limit| ended.at <= limit)
    }

    /// An attempt that was told to stop has ended, in whatever way: the verdict that stopped it holds.
    fn stopped(&mut self, n: usize, verdict: Verdict, can_go_on: bool) -> Result<(), String> {
        match verdict {
            Verdict::Cancelled(reason) => {
                self.end_as(n, Phase::Cancelled, reason);
                Ok(())
            }
            Verdict::Failed(reason) => self.failed(n, reason, can_go_on),
            // "after podturn stopped it its code does not count"
            Verdict::Stopped(..) => {
                self.end_as(n, Phase::Succeeded, Reason::Stopped);
                Ok(())
            }
        }
    }

    pub(super) fn end_as(&mut self, n: usize, phase: Phase, reason: Reason) {
        self.records[n].at = At::End(phase, reason);
        self.records[n].open = false;
        self.records[n].asked = false;
    }

    /// Whether another attempt would find a container: this one, or one that comes back.
    fn can_go_on(&self, n: usize) -> bool {
        self.has_container(n) || self.plan.steps[n].restarts == Restarts::Always
    }

    /// "Where the container may restart": always, or by a rule for 137, which is the code of one that was killed. One that was told to
    /// follow a stop signal ends with another.
    fn returns(&self, n: usize) -> bool {
        match self.plan.steps[n].restarts {
            Restarts::Always => true,
            Restarts::WhenKilled => self.has_container(n),
            Restarts::Never => false,
        }
    }

    pub(super) fn has_container(&self, n: usize) -> bool {
        self.records[n].instance.is_some() && !self.records[n].leaving && self.records[n].held.is_none()
    }

    /// The shim is gone (its instance is already forgotten or replaced). `returns`: another one comes, or is there. `clean`:
    /// nothing of it lives.
    fn lost(&mut self, n: usize, reason: Reason, returns: bool, clean: bool) -> Result<(), String> {
        // "no attempt starts beside leftovers of the one before"
        let returns = returns && (clean || !self.records[n].ever_begun);
        match self.records[n].at {
            At::End(..) => Ok(()),
            _ if self.has_attempt(n) && self.records[n].begun => self.cut_off(n, reason, returns),
            _ if self.has_attempt(n) => self.never_begun(n, reason, returns),
            _ if returns => Ok(()),
            At::Paused(why, _) => {
                self.end_as(n, Phase::Failed, why);
                Ok(())
            }
            // "a lost shim is final: `ShimLost`, at once"
            _ => {
                self.end_as(n, Phase::Failed, reason);
                Ok(())
            }
        }
    }

    /// The attempt was begun, and nobody can say any more how it ended.
    fn cut_off(&mut self, n: usize, reason: Reason, can_go_on: bool) -> Result<(), String> {
        self.records[n].codes.push(0);
        self.records[n].own_code = None;
        match self.records[n].at {
            At::Stopping(verdict) => self.stopped(n, verdict, can_go_on),
            _ => self.failed(n, reason, can_go_on),
        }
    }

    /// C7: "Granted, not begun, dead: ShimLost where the container cannot come back; the same attempt again where it can."
    fn never_begun(&mut self, n: usize, reason: Reason, returns: bool) -> Result<(), String> {
        match self.records[n].at {
            At::Stopping(Verdict::Cancelled(why)) => self.end_as(n, Phase::Cancelled, why),
            At::Stopping(Verdict::Stopped(phase, why)) => match self.records[n].failed {
                Some(_) => self.end_as(n, Phase::Succeeded, Reason::Stopped),
                None => self.end_as(n, phase, why),
            },
            At::Stopping(Verdict::Failed(why)) if !returns => return self.failed(n, why, false),
            _ if !returns => return self.failed(n, reason, false),
            _ => self.wait(n),
        }
        Ok(())
    }

    /// C10: "its attempt is no longer wanted, with the verdict `ShimLost`. Without an attempt in hand it counts as `Lost`."
    fn deaf(&mut self, n: usize) -> Result<(), String> {
        match self.records[n].at {
            At::Granted | At::Running | At::Ready => {
                self.records[n].at = At::Stopping(Verdict::Failed(Reason::ShimLost));
            }
            At::Stopping(_) | At::End(..) => {}
            At::Waiting | At::Backoff(_) | At::Paused(..) => {
                let returns = self.returns(n);
                self.gone(n);
                self.lost(n, Reason::ShimLost, returns, true)?;
            }
        }
        Ok(())
    }

    /// C10: "Not begun: judge."
    fn not_begun(&mut self, n: usize) -> Result<(), String> {
        let returns = self.returns(n);
        match self.records[n].at {
            At::Stopping(Verdict::Failed(Reason::ShimLost)) => self.gone(n),
            At::Stopping(_) => {}
            _ => return Err("the world is wrong: not begun, not stopping".into()),
        }
        self.never_begun(n, Reason::ShimLost, returns)
    }

    /// "a step whose shim was stopped from outside is Failed, `Interrupted`, whatever its code"; "a waiting finally step stays for
    /// its turn".
    fn stopped_from_outside(&mut self, n: usize) {
        let finally = self.plan.steps[n].finally;
        match self.records[n].at {
            // "On deletion the way down is ordered": who stops when is not the signal's to say, but no further attempt follows here.
            At::Granted | At::Running | At::Ready if self.is_deleted => self.records[n].leaving = true,
            At::Waiting | At::Backoff(_) if self.is_deleted => {}
            At::Waiting | At::Backoff(_) | At::Granted if finally => {}
            At::Stopping(_) => {
                self.records[n].leaving = true;
            }
            At::Waiting | At::Backoff(_) | At::Paused(..) if self.records[n].leaving => {}
            // Nobody can look into it any more.
            At::Paused(why, _) => self.end_as(n, Phase::Failed, why),
            At::Waiting | At::Backoff(_) | At::Granted | At::Running | At::Ready => {
                if self.has_container(n) {
                    self.records[n].absent_since = self.now;
                }
                self.records[n].held.get_or_insert(self.now + MOMENT);
            }
            At::End(..) => {}
        }
    }

    /// Nobody said in time that the pod is being deleted: it was meant for this step.
    pub(super) fn stopped_alone(&mut self, n: usize) {
        if self.records[n].held.take().is_none() {
            return;
        }
        match self.records[n].at {
            At::Waiting | At::Backoff(_) => self.end_as(n, Phase::Failed, Reason::Interrupted),
            At::Granted | At::Running | At::Ready => {
                self.records[n].leaving = true;
                self.records[n].at = At::Stopping(Verdict::Failed(Reason::Interrupted));
            }
            At::Paused(why, _) => self.end_as(n, Phase::Failed, why),
            At::Stopping(_) | At::End(..) => self.records[n].leaving = true,
        }
    }

    /// What has ended, or was told to stop for another reason, leaves when it is over.
    pub(super) fn follow_held(&mut self) {
        for record in &mut self.records {
            if matches!(record.at, At::Stopping(_) | At::End(..)) && record.held.take().is_some() {
                record.leaving = true;
            }
        }
    }

    /// "a volume that is full all the same is a defined end (`VolumeFull`)": nothing starts any more.
    fn volume_full(&mut self) {
        if (0..self.records.len()).any(|n| self.end(n).is_none()) {
            self.volume_full = true;
            self.stop_all(false, Reason::VolumeFull);
            self.stop_all(true, Reason::VolumeFull);
        }
    }
}
