//! Who needs whom, and who needs a person: services that nobody needs any more, and failures that wait.
//!
//! Belongs here: the counter of those that hold a service up, and what becomes of a service when it falls to 0; the way
//! of a failure under `onFailure: Pause`. Does not belong here: which edges hold a service up (`graph.rs`).

use crate::state::Phase;
use crate::timers::{self, Timer};
use crate::track::{Detail, Verdict};
use crate::{OnFailure, Reason, State, StepId, Time};

impl State {
    /// First all ends, then who is still needed; that makes new ends, until nothing follows any more.
    pub(crate) fn settle_ends_and_needs(&mut self) {
        loop {
            self.settle_all_ends();
            let unneeded = core::mem::take(&mut self.unneeded);
            if unneeded.is_empty() {
                return;
            }
            unneeded.into_iter().for_each(|service| self.let_go(service));
        }
    }

    /// The step has ended: the services that it held up are held by one less.
    pub(crate) fn release(&mut self, step: StepId) {
        let (graph, plan, tracks) = (&self.graph, &self.plan, &mut self.tracks);
        for service in graph.held_by(plan, step) {
            self.work += 1;
            let holders = &mut tracks[service.index()].holders;
            debug_assert!(*holders > 0, "nobody lets go twice");
            *holders = holders.saturating_sub(1);
            if *holders == 0 {
                self.unneeded.push(service);
            }
        }
    }

    /// A pod whose containers restart for ever keeps its services until it is told to end.
    pub(crate) fn release_what_the_pod_holds(&mut self) {
        for service in self.graph.held_by_pod(&self.plan) {
            let track = &mut self.tracks[service.index()];
            track.holders = track.holders.saturating_sub(1);
            if track.holders == 0 {
                self.unneeded.push(service);
            }
        }
    }

    /// Takes note of a service that nobody needs.
    pub(crate) fn note_need(&mut self, step: StepId) {
        if self.step(step).service && self.track(step).holders == 0 {
            self.unneeded.push(step);
        }
    }

    /// A service that nobody needs any more.
    fn let_go(&mut self, service: StepId) {
        self.work += 1;
        let track = self.track(service);
        // What is said of an end must not change with what happens later.
        let detail = if self.halt.cancels > 0 { Detail::None } else { Detail::Unneeded };
        match track.phase {
            Phase::Pending | Phase::Awaiting if track.attempts.is_empty() => {
                self.end(service, Phase::Omitted, Reason::NotNeeded, Detail::None);
            }
            Phase::Paused => self.give_up(service), // a failure stays one: Pause only delayed it
            Phase::Pending | Phase::Awaiting | Phase::Backoff => {
                self.end(service, Phase::Succeeded, Reason::Stopped, detail);
            }
            Phase::Granted | Phase::Running | Phase::Ready => self.stop(service, Verdict::NotNeeded, detail),
            Phase::Stopping => {} // the first verdict stands
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }

    /// The present attempt is ready.
    pub(crate) fn become_ready(&mut self, step: StepId, at: Time) {
        let at = at.min(self.now); // a step may tell any number
        self.track_mut(step).ready_at.get_or_insert(at);
        self.set_phase(step, Phase::Ready);
    }

    /// A failure that no retry follows: it is final, or waits for a person.
    pub(crate) fn fail(&mut self, step: StepId, reason: Reason, detail: Detail) {
        let plan = self.step(step);
        let waits = self.plan.on_failure == OnFailure::Pause && !plan.allow_failure && !plan.finally;
        let unneeded = plan.service && self.track(step).holders == 0; // since it was told to stop
        if !waits || unneeded || self.is_halted(step) || self.is_last(step) || self.track(step).lost.is_some() {
            self.end(step, Phase::Failed, reason, detail);
            return;
        }
        let track = self.track_mut(step);
        track.reason = Some(reason);
        track.detail = detail;
        self.unset_timer(step);
        self.set_phase(step, Phase::Paused);
        if let Some(limit) = self.plan.pause_timeout {
            self.set_timer(step, timers::after(self.now, limit), Timer::Pause);
        }
    }

    /// Whether it is needed by finally steps alone, since all others have ended or are being ended: no time limit of the
    /// plan would end the wait for a person.
    fn is_last(&self, step: StepId) -> bool {
        self.graph.is_late(step) && (self.halt.main_is_over || self.halt.main.is_some())
    }

    /// Every other step has ended: of those that are left, none waits for a person.
    pub(crate) fn give_up_the_last(&mut self) {
        if self.count.paused == 0 {
            return;
        }
        for id in (0..self.tracks.len() as u32).map(StepId) {
            self.work += 1;
            if self.graph.is_late(id) && self.track(id).phase == Phase::Paused {
                self.give_up(id);
            }
        }
    }

    /// A Paused step that nobody can or will repair: its failure is final.
    pub(crate) fn give_up(&mut self, step: StepId) {
        let track = self.track(step);
        let (reason, detail) = (track.reason.unwrap_or(Reason::ExitCode), track.detail);
        self.end(step, Phase::Failed, reason, detail);
    }

    /// Whether a person is waited for before anything gets a turn.
    pub(crate) const fn is_held(&self) -> bool {
        self.halt.paused || self.count.paused > 0
    }
}
