//! What follows from an event for the other steps: ends, then turns, to a fixed point and without recursion.

use alloc::vec::Vec;

use crate::timers::{self, Owner, Timer};
use crate::track::{Detail, Verdict};
use crate::{Condition, OnFailure, Phase, Reason, State, StepId, Time};

/// What has become of a condition when its dependency ended.
enum Fate {
    Met,
    Lost,
    /// It was met before the end.
    Old,
}

impl State {
    /// First all ends, then who is still needed, then turns, for whose references there have to be values.
    pub(crate) fn settle(&mut self) {
        self.settle_ends_and_needs();
        while self.fail_what_has_no_value() {
            self.settle_ends_and_needs();
        }
        self.give_turns();
        self.note_turns();
    }

    /// The ends, and what a first failure does to the rest of the plan.
    pub(crate) fn settle_all_ends(&mut self) {
        self.settle_ends();
        while core::mem::take(&mut self.halt.drain_is_due) {
            self.drain();
            self.settle_ends();
        }
    }

    /// Tells the dependents of everything that ended, and their dependents, until nobody is left to tell.
    fn settle_ends(&mut self) {
        while let Some(ended) = self.ends.pop_front() {
            self.tell_end(ended);
            if self.ends.is_empty() {
                self.main_may_be_over(); // which may end more
            }
        }
        self.main_may_be_over();
    }

    fn tell_end(&mut self, ended: StepId) {
        for index in 0..self.graph.dependents(ended).len() {
            self.work += 1;
            let edge = self.graph.dependents(ended)[index];
            match self.fate(ended, edge.condition) {
                Fate::Met => self.meet(edge.step),
                Fate::Lost => self.lose(edge.step, ended, edge.condition),
                Fate::Old => {}
            }
        }
    }

    /// The table of conditions (DESIGN of the plan, "Conditions"): an end leaves none undecided.
    fn fate(&self, ended: StepId, condition: Condition) -> Fate {
        let track = self.track(ended);
        if condition == Condition::Ready && self.step(ended).service {
            // Ready it was before, or never; after its end it is for none but those who count it as done.
            return if track.phase == Phase::Skipped { Fate::Met } else { Fate::Lost };
        }
        let met = match (condition, track.phase) {
            (Condition::Started, _) if track.started_at.is_some() => return Fate::Old,
            (Condition::Started, _) => false,
            (Condition::Completed, _) => true,
            (Condition::Succeeded | Condition::Ready, Phase::Skipped) => true,
            (Condition::Failed, Phase::Skipped) => false,
            (Condition::Succeeded | Condition::Ready, Phase::Succeeded) | (Condition::Failed, Phase::Failed) => true,
            (Condition::Succeeded | Condition::Ready, Phase::Failed) => self.step(ended).allow_failure,
            (Condition::Succeeded | Condition::Ready, Phase::Omitted | Phase::Cancelled) => false,
            (Condition::Failed, Phase::Succeeded | Phase::Omitted | Phase::Cancelled) => false,
            (
                Condition::Succeeded | Condition::Ready | Condition::Failed,
                Phase::Pending
                | Phase::Awaiting
                | Phase::Granted
                | Phase::Running
                | Phase::Ready
                | Phase::Backoff
                | Phase::Paused
                | Phase::Stopping,
            ) => {
                debug_assert!(false, "only ended steps are asked");
                return Fate::Old;
            }
        };
        if met { Fate::Met } else { Fate::Lost }
    }

    /// The step has begun an attempt for the first time.
    pub(crate) fn meet_started(&mut self, step: StepId) {
        for index in 0..self.graph.dependents(step).len() {
            self.work += 1;
            let edge = self.graph.dependents(step)[index];
            if edge.condition == Condition::Started {
                self.meet(edge.step);
            }
        }
    }

    /// A service has become ready, or is no longer: a condition that can be met more than once.
    pub(crate) fn tell_readiness(&mut self, step: StepId, ready: bool) {
        for index in 0..self.graph.dependents(step).len() {
            self.work += 1;
            let edge = self.graph.dependents(step)[index];
            match (edge.condition, ready) {
                (Condition::Ready, true) => self.meet(edge.step),
                (Condition::Ready, false) => self.unmeet(edge.step),
                _ => {}
            }
        }
    }

    fn unmeet(&mut self, dependent: StepId) {
        self.track_mut(dependent).unmet += 1;
        self.consider(dependent);
    }

    fn meet(&mut self, dependent: StepId) {
        let track = self.track_mut(dependent);
        debug_assert!(track.unmet > 0, "no condition is met twice");
        track.unmet = track.unmet.saturating_sub(1);
        if track.unmet == 0 {
            self.consider(dependent);
        }
    }

    fn lose(&mut self, dependent: StepId, ended: StepId, condition: Condition) {
        let is_it = |d: &crate::Dependency| d.step == ended && d.condition == condition;
        let place = self.step(dependent).depends_on.iter().position(is_it).unwrap_or(0);
        match self.track(dependent).phase {
            Phase::Pending | Phase::Awaiting => {
                self.end(dependent, Phase::Omitted, Reason::DependencyLost, Detail::Dependency(place));
            }
            Phase::Paused => self.give_up(dependent), // nothing that a person repairs brings the service back
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Backoff | Phase::Stopping => {
                debug_assert!(condition == Condition::Ready, "a step had its turn before its conditions were met");
                self.track_mut(dependent).lost.get_or_insert(place);
                self.consider(dependent);
            }
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }

    /// Once every step that is not finally has ended, the plan's time limit is over too and finally steps may be due.
    pub(crate) fn main_may_be_over(&mut self) {
        if self.count.open_main > 0 {
            return;
        }
        if let Some(at) = self.plan_deadline.take() {
            self.timers.unset(at, Owner::Plan);
        }
        if self.halt.main_is_over {
            return;
        }
        self.halt.main_is_over = true;
        self.give_up_the_last();
        for index in 0..self.graph.finally().len() {
            self.work += 1;
            self.consider(self.graph.finally()[index]);
        }
    }

    /// `onFailure: Drain` and `Cancel`, at the first failure: nothing new starts, and with `Cancel` what runs is stopped.
    /// What failed goes first, so that a dependency it takes away is the reason, and not the draining.
    fn drain(&mut self) {
        let mut waiting = Vec::new();
        for id in (0..self.tracks.len() as u32).map(StepId) {
            self.work += 1;
            if self.graph.is_exempt(id) {
                continue;
            }
            match self.track(id).phase {
                Phase::Backoff => self.end_waiting(id),
                Phase::Pending | Phase::Awaiting => waiting.push(id),
                Phase::Paused => {} // `Pause` does not drain
                Phase::Granted | Phase::Running | Phase::Ready if self.step(id).service => {} // once nobody needs it
                Phase::Granted | Phase::Running | Phase::Ready => self.stop_with_the_rest(id),
                Phase::Stopping => {} // the first verdict stands
                Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
            }
        }
        self.settle_ends();
        for id in waiting {
            if matches!(self.track(id).phase, Phase::Pending | Phase::Awaiting) {
                self.end_waiting(id);
            }
        }
    }

    fn stop_with_the_rest(&mut self, step: StepId) {
        if let (OnFailure::Cancel, Some(culprit)) = (self.plan.on_failure, self.halt.drain) {
            self.stop(step, Verdict::Cancelled(Reason::FailureElsewhere), Detail::Culprit(culprit));
        }
    }

    /// Whether the step may not have another attempt.
    pub(crate) fn is_halted(&self, step: StepId) -> bool {
        self.halted_by(step).is_some() || (self.halt.drain.is_some() && !self.graph.is_exempt(step))
    }

    pub(crate) fn halted_by(&self, step: StepId) -> Option<Reason> {
        if self.graph.is_late(step) { self.halt.finally } else { self.halt.main }
    }

    /// Ends a step that waits although it is halted.
    pub(crate) fn end_waiting(&mut self, step: StepId) {
        if let Some(reason) = self.halted_by(step) {
            self.end_halted(step, reason);
            return;
        }
        let last = self.track(step).attempts.last().map(|attempt| attempt.reason);
        match (last, self.halt.drain) {
            (Some(reason), _) => self.end(step, Phase::Failed, reason, self.track(step).detail),
            (None, Some(culprit)) => self.end(step, Phase::Omitted, Reason::Draining, Detail::Culprit(culprit)),
            (None, None) => debug_assert!(false, "a step that is halted is halted by something"),
        }
    }

    /// What waits when the plan is ended before its time. A service that ran is one that was stopped.
    pub(crate) fn end_halted(&mut self, step: StepId, reason: Reason) {
        if self.step(step).service && !self.track(step).attempts.is_empty() {
            self.end(step, Phase::Succeeded, Reason::Stopped, Detail::None);
        } else {
            self.end(step, Phase::Cancelled, reason, Detail::None);
        }
    }

    /// An end. It is final: nothing changes an ended step's phase any more.
    pub(crate) fn end(&mut self, step: StepId, phase: Phase, reason: Reason, detail: Detail) {
        debug_assert!(phase.is_end());
        self.unset_timer(step);
        self.let_leave(step);
        self.set_phase(step, phase);
        let now = self.now;
        let track = self.track_mut(step);
        track.reason = Some(reason);
        track.detail = detail;
        track.ended_at = Some(now);
        track.open = false;
        self.questions.remove(&step);
        self.ends.push_back(step);
        self.count_end(step, phase);
        self.release(step);
    }

    fn count_end(&mut self, step: StepId, phase: Phase) {
        let (finally, allowed) = (self.step(step).finally, self.step(step).allow_failure);
        self.count.open -= 1;
        if let Some(budget) = self.halt.terminating.filter(|_| self.count.open == 0) {
            self.timers.discard(budget.finally_until, Owner::Termination);
        }
        if !self.graph.is_late(step) {
            self.count.open_main -= 1;
        }
        match phase {
            Phase::Failed if !allowed => {
                self.count.failed += 1;
                self.count.failed_main += usize::from(!finally);
                let drains = matches!(self.plan.on_failure, OnFailure::Drain | OnFailure::Cancel);
                if !finally && drains && self.halt.drain.is_none() {
                    self.halt.drain = Some(step);
                    self.halt.drain_is_due = true;
                }
            }
            Phase::Cancelled => {
                self.count.cancelled += 1;
                self.count.cancelled_main += usize::from(!finally);
            }
            Phase::Failed | Phase::Succeeded | Phase::Skipped | Phase::Omitted => {}
            Phase::Pending | Phase::Awaiting | Phase::Granted | Phase::Running | Phase::Ready => {}
            Phase::Backoff | Phase::Paused | Phase::Stopping => {}
        }
    }

    /// The one place where a phase changes: slots and lines follow it.
    pub(crate) fn set_phase(&mut self, step: StepId, phase: Phase) {
        let track = self.track_mut(step);
        debug_assert!(!track.phase.is_end(), "an end is final");
        let (before, held, waited) = (track.phase, track.holds_slot(), track.waits());
        track.phase = phase;
        let (holds, waits) = (track.holds_slot(), track.waits());
        if held && !holds {
            self.slots.give_back(step);
        }
        if waited && !waits {
            self.slots.set_waiting(step, false);
        }
        self.touched.push(step);
        self.count.paused += usize::from(phase == Phase::Paused);
        self.count.paused -= usize::from(before == Phase::Paused);
        if (before == Phase::Ready) != (phase == Phase::Ready) {
            self.tell_readiness(step, phase == Phase::Ready);
        }
    }

    /// Looks at a waiting step again: does it stand in line for a slot, or has it to wait for its container?
    pub(crate) fn consider(&mut self, step: StepId) {
        self.work += 1;
        let now = self.now;
        let main_is_over = self.halt.main_is_over || !self.step(step).finally;
        let track = self.track(step);
        if !track.waits() {
            return;
        }
        if let Some(place) = track.lost {
            self.end_lost(step, place);
            return;
        }
        if self.step(step).service && track.holders == 0 {
            self.note_need(step);
            return;
        }
        if track.unmet > 0 || !main_is_over {
            self.leave_line(step);
            return;
        }
        if !self.is_answered(step) {
            return;
        }
        self.track_mut(step).due_at.get_or_insert(now);
        if !self.track(step).references.is_empty() {
            self.unresolved.push(step);
        }
        let track = self.track(step);
        let timer = track.timer.map(|(_, timer)| timer);
        let here = track.has_container();
        match timer {
            Some(Timer::Arrival) if here => self.unset_timer(step),
            None if !here => self.set_timer(step, timers::after(now, self.plan.arrival_timeout), Timer::Arrival),
            Some(Timer::Arrival | Timer::Backoff | Timer::Attempt | Timer::Pause) | None => {}
        }
        self.slots.set_waiting(step, here && timer != Some(Timer::Backoff));
    }

    /// Steps that could have their turn, with references that have no value: they fail without an attempt. Whether there is one.
    fn fail_what_has_no_value(&mut self) -> bool {
        let mut failed = false;
        for step in core::mem::take(&mut self.unresolved) {
            let track = self.track(step);
            if !track.waits() || track.unmet > 0 {
                continue; // since then it has ended, or a service is not ready any more
            }
            if let Err(why) = self.replacements(step) {
                self.track_mut(step).note = why;
                self.fail(step, Reason::StartError, Detail::Note);
                failed = true;
            }
        }
        failed
    }

    /// It was in a line, or waited for its container, and a service it needs is not ready any more.
    fn leave_line(&mut self, step: StepId) {
        self.slots.set_waiting(step, false);
        if matches!(self.track(step).timer, Some((_, Timer::Arrival))) {
            self.unset_timer(step);
        }
    }

    /// It has no further turn to wait for: one that never had any is Omitted, and a failure is final.
    fn end_lost(&mut self, step: StepId, place: usize) {
        let last = self.track(step).attempts.last().map(|attempt| attempt.reason);
        match last {
            Some(reason) => self.end(step, Phase::Failed, reason, self.track(step).detail),
            None => self.end(step, Phase::Omitted, Reason::DependencyLost, Detail::Dependency(place)),
        }
    }

    /// The questions before a step's turn, in their order: `when`, then approval. Whether all are answered.
    fn is_answered(&mut self, step: StepId) -> bool {
        let (plan, track) = (self.step(step), self.track(step));
        if plan.when.is_some() && !track.decided {
            self.questions.insert(step);
            return false;
        }
        if plan.approval.is_some() && !track.approved {
            self.set_phase(step, Phase::Awaiting);
            return false;
        }
        true
    }

    fn give_turns(&mut self) {
        if self.is_held() {
            return;
        }
        loop {
            let (step, looks) = self.slots.take_next();
            self.work += looks;
            let Some(step) = step else { return };
            self.grant(step);
        }
    }

    pub(crate) fn set_timer(&mut self, step: StepId, at: Time, timer: Timer) {
        self.unset_timer(step);
        self.timers.set(at, Owner::Step(step));
        self.track_mut(step).timer = Some((at, timer));
    }

    pub(crate) fn unset_timer(&mut self, step: StepId) {
        if let Some((at, _)) = self.track_mut(step).timer.take() {
            self.timers.unset(at, Owner::Step(step));
        }
    }
}
