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
    /// First all ends, then (for services, later) who is still needed, then turns.
    pub(crate) fn settle(&mut self) {
        self.settle_all_ends();
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
        self.main_may_be_over();
    }

    /// The table of conditions (DESIGN of the plan, "Conditions"): an end leaves none undecided.
    fn fate(&self, ended: StepId, condition: Condition) -> Fate {
        let track = self.track(ended);
        let met = match (condition, track.phase) {
            (Condition::Started, _) if track.started_at.is_some() => return Fate::Old,
            (Condition::Started, _) => false,
            (Condition::Completed, _) => true,
            (Condition::Succeeded | Condition::Ready, Phase::Succeeded) | (Condition::Failed, Phase::Failed) => true,
            (Condition::Succeeded | Condition::Ready, Phase::Failed) => self.step(ended).allow_failure,
            (Condition::Succeeded | Condition::Ready, Phase::Omitted | Phase::Cancelled) => false,
            (Condition::Failed, Phase::Succeeded | Phase::Omitted | Phase::Cancelled) => false,
            (
                Condition::Succeeded | Condition::Ready | Condition::Failed,
                Phase::Pending | Phase::Granted | Phase::Running | Phase::Backoff | Phase::Stopping,
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

    fn meet(&mut self, dependent: StepId) {
        let track = self.track_mut(dependent);
        debug_assert!(track.unmet > 0, "no condition is met twice");
        track.unmet = track.unmet.saturating_sub(1);
        if track.unmet == 0 {
            self.consider(dependent);
        }
    }

    fn lose(&mut self, dependent: StepId, ended: StepId, condition: Condition) {
        match self.track(dependent).phase {
            Phase::Pending => {
                let is_it = |d: &crate::Dependency| d.step == ended && d.condition == condition;
                let place = self.step(dependent).depends_on.iter().position(is_it).unwrap_or(0);
                self.end(dependent, Phase::Omitted, Reason::DependencyLost, Detail::Dependency(place));
            }
            Phase::Granted | Phase::Running | Phase::Backoff | Phase::Stopping => {
                debug_assert!(false, "a step had its turn before its conditions were met");
            }
            Phase::Succeeded | Phase::Failed | Phase::Omitted | Phase::Cancelled => {}
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
                Phase::Pending => waiting.push(id),
                Phase::Granted | Phase::Running => self.stop_with_the_rest(id),
                Phase::Stopping => {} // the first verdict stands
                Phase::Succeeded | Phase::Failed | Phase::Omitted | Phase::Cancelled => {}
            }
        }
        self.settle_ends();
        for id in waiting {
            if self.track(id).phase == Phase::Pending {
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
        if self.step(step).finally { self.halt.finally } else { self.halt.main }
    }

    /// Ends a step that waits although it is halted.
    pub(crate) fn end_waiting(&mut self, step: StepId) {
        if let Some(reason) = self.halted_by(step) {
            self.end(step, Phase::Cancelled, reason, Detail::None);
            return;
        }
        let last = self.track(step).attempts.last().map(|attempt| attempt.reason);
        match (last, self.halt.drain) {
            (Some(reason), _) => self.end(step, Phase::Failed, reason, self.track(step).detail),
            (None, Some(culprit)) => self.end(step, Phase::Omitted, Reason::Draining, Detail::Culprit(culprit)),
            (None, None) => debug_assert!(false, "a step that is halted is halted by something"),
        }
    }

    /// An end. It is final: nothing changes an ended step's phase any more.
    pub(crate) fn end(&mut self, step: StepId, phase: Phase, reason: Reason, detail: Detail) {
        debug_assert!(phase.is_end());
        self.unset_timer(step);
        self.set_phase(step, phase);
        let now = self.now;
        let track = self.track_mut(step);
        track.reason = Some(reason);
        track.detail = detail;
        track.ended_at = Some(now);
        track.open = false;
        self.ends.push_back(step);
        self.count_end(step, phase);
    }

    fn count_end(&mut self, step: StepId, phase: Phase) {
        let (finally, allowed) = (self.step(step).finally, self.step(step).allow_failure);
        self.count.open -= 1;
        if !finally {
            self.count.open_main -= 1;
        }
        match phase {
            Phase::Failed if !allowed => {
                self.count.failed += 1;
                if !finally && self.plan.on_failure != OnFailure::Continue && self.halt.drain.is_none() {
                    self.halt.drain = Some(step);
                    self.halt.drain_is_due = true;
                }
            }
            Phase::Cancelled => self.count.cancelled += 1,
            Phase::Failed | Phase::Succeeded | Phase::Omitted => {}
            Phase::Pending | Phase::Granted | Phase::Running | Phase::Backoff | Phase::Stopping => {}
        }
    }

    /// The one place where a phase changes: slots and lines follow it.
    pub(crate) fn set_phase(&mut self, step: StepId, phase: Phase) {
        let track = self.track_mut(step);
        debug_assert!(!track.phase.is_end(), "an end is final");
        let (held, waited) = (track.holds_slot(), track.waits());
        track.phase = phase;
        let (holds, waits) = (track.holds_slot(), track.waits());
        if held && !holds {
            self.slots.give_back(step);
        }
        if waited && !waits {
            self.slots.set_waiting(step, false);
        }
        self.touched.push(step);
    }

    /// Looks at a waiting step again: does it stand in line for a slot, or has it to wait for its container?
    pub(crate) fn consider(&mut self, step: StepId) {
        self.work += 1;
        let now = self.now;
        let main_is_over = self.halt.main_is_over || !self.step(step).finally;
        let track = self.track_mut(step);
        if !track.waits() || track.unmet > 0 || !main_is_over {
            return;
        }
        track.due_at.get_or_insert(now);
        let timer = track.timer.map(|(_, timer)| timer);
        let here = track.has_container();
        match timer {
            Some(Timer::Arrival) if here => self.unset_timer(step),
            None if !here => self.set_timer(step, timers::after(now, self.plan.arrival_timeout), Timer::Arrival),
            Some(Timer::Arrival | Timer::Backoff | Timer::Attempt) | None => {}
        }
        self.slots.set_waiting(step, here && timer != Some(Timer::Backoff));
    }

    fn give_turns(&mut self) {
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
