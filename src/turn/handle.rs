//! What each kind of event does. Every `handle_*` takes one kind in; what follows for others is `settle.rs`.

use alloc::format;
use alloc::string::String;
use podturn_wire::{Ended, Exit, InstanceId, Last};

use crate::state::{Budget, Phase};
use crate::timers::{self, Owner, Timer};
use crate::track::{Detail, Verdict};
use crate::{Decision, Event, Impossible, Kind, Millis, Probed, Reason, Restarts, State, StepId, Time};

impl State {
    /// Refuses what cannot follow, before anything is changed.
    pub(crate) fn check(&self, event: &Event) -> Result<(), Impossible> {
        let refuse = |why| Err(Impossible { why });
        if Some(event.seq) != self.seq.checked_add(1) {
            return refuse(format!("event {} follows event {}: the journal has a gap", event.seq, self.seq));
        }
        let started = match event.kind {
            Kind::CoordinatorStarted { rebooted } => Some(rebooted),
            _ => None,
        };
        if self.seq == 0 && started.is_none() {
            return refuse(format!("event {} comes before the coordinator's start", event.seq));
        }
        if event.at < self.now && started != Some(true) {
            return refuse(format!(
                "event {}: time falls from {} to {} within one boot",
                event.seq, self.now, event.at
            ));
        }
        let step = match event.kind {
            Kind::Requested { request } => request.step(),
            _ => event.kind.step(),
        };
        let Some(step) = step else { return Ok(()) };
        if step.index() >= self.tracks.len() {
            return refuse(format!("event {}: the plan has no step number {}", event.seq, step.0));
        }
        let track = self.track(step);
        match event.kind {
            Kind::Arrived { instance, .. } if track.arrived && track.instance == Some(instance) => {
                let name = &self.step(step).name;
                refuse(format!("event {}: instance {instance} of step {name} arrives twice", event.seq))
            }
            Kind::NotBegun { instance, attempt, .. }
                if self.is_present(step, instance, attempt)
                    && (track.phase != Phase::Stopping || track.begun_at.is_some()) =>
            {
                let name = &self.step(step).name;
                let phase = track.phase;
                refuse(format!("event {}: attempt {attempt} of step {name} is {phase:?}, not called back", event.seq))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn handle(&mut self, kind: &Kind, before: Time) {
        match *kind {
            Kind::CoordinatorStarted { rebooted } => self.handle_start(rebooted, before),
            Kind::Arrived { step, instance, report, last, ref references } => {
                self.handle_arrival(step, instance, report, last, references);
            }
            Kind::Begun { step, instance, report, attempt, started_at } => {
                if self.takes_report(step, instance, report) && self.is_present(step, instance, attempt) {
                    self.handle_begun(step, started_at);
                }
            }
            Kind::Ended { step, instance, report, attempt, started_at, ended } => {
                if self.takes_report(step, instance, report) && self.is_present(step, instance, attempt) {
                    self.handle_end(step, started_at, ended);
                }
            }
            Kind::Probed { step, instance, report, attempt, probed_at, readiness, ref why } => {
                if self.takes_report(step, instance, report) && self.is_present(step, instance, attempt) {
                    self.handle_probe(step, probed_at, readiness, why);
                }
            }
            Kind::Outputs { step, attempt, ref outputs } => {
                if self.track(step).attempt == attempt && self.track(step).open {
                    self.track_mut(step).fresh = outputs.clone();
                }
            }
            Kind::Decided { step, ref decision } => self.handle_decision(step, decision),
            Kind::StopSignal { step, instance, report, signal } => {
                if self.takes_report(step, instance, report) {
                    self.handle_stop_signal(step, report, signal);
                }
            }
            Kind::Lost { step, instance, survivors } => {
                if self.is_alive(step, instance) {
                    self.handle_loss(step, survivors);
                }
            }
            Kind::Connected { .. } => {}
            Kind::Deaf { step, instance } => {
                if self.is_alive(step, instance) {
                    self.handle_deafness(step);
                }
            }
            Kind::NotBegun { step, instance, attempt } => {
                if self.is_present(step, instance, attempt) {
                    self.handle_call_back(step);
                }
            }
            Kind::Deadline => self.handle_deadline(),
            Kind::Requested { request } => self.handle_request(request),
            Kind::VolumeFull => self.handle_full_volume(),
        }
    }

    /// Whether the instance is the step's present one and lives (rule C5).
    fn is_alive(&self, step: StepId, instance: InstanceId) -> bool {
        let track = self.track(step);
        track.arrived && track.instance == Some(instance)
    }

    /// Whether the attempt is the step's present one, under way in this instance (rule C5).
    fn is_present(&self, step: StepId, instance: InstanceId, attempt: u32) -> bool {
        let track = self.track(step);
        self.is_alive(step, instance) && track.holds_slot() && track.attempt == attempt
    }

    /// Whether a report counts; if so the next turn acknowledges it.
    fn takes_report(&mut self, step: StepId, instance: InstanceId, report: u64) -> bool {
        let counts = self.is_alive(step, instance);
        if counts {
            let track = self.track_mut(step);
            track.ack = track.ack.max(report);
        }
        counts
    }

    fn handle_start(&mut self, rebooted: bool, before: Time) {
        if self.seq == 1 {
            self.first_start = Some(self.now);
            self.plan_deadline = self.plan.timeout.map(|timeout| timers::after(self.now, timeout));
            if let Some(at) = self.plan_deadline {
                self.timers.set(at, Owner::Plan);
            }
            self.main_may_be_over();
            for id in (0..self.tracks.len() as u32).map(StepId) {
                self.note_need(id);
                self.consider(id);
            }
        } else if rebooted {
            self.handle_reboot(before);
        }
    }

    /// No process of the run is left and the clock began anew. What was begun is Interrupted; what was not waits for a
    /// new instance, and whoever is due has the whole arrival timeout again, because the node has just come up.
    fn handle_reboot(&mut self, before: Time) {
        for id in (0..self.tracks.len() as u32).map(StepId) {
            self.take_held(id);
        }
        self.timers.rebase(before, self.now);
        self.plan_deadline = self.plan_deadline.map(|at| timers::rebased(at, before, self.now));
        if let Some(budget) = &mut self.halt.terminating {
            budget.finally_until = timers::rebased(budget.finally_until, before, self.now);
        }
        for id in (0..self.tracks.len() as u32).map(StepId) {
            let now = self.now;
            let track = self.track_mut(id);
            track.arrived = false;
            track.leaving = false;
            if let Some((at, _)) = &mut track.timer {
                *at = timers::rebased(*at, before, now);
            }
        }
        // Only now: what becomes of one step may touch the timers of others.
        for id in (0..self.tracks.len() as u32).map(StepId) {
            if matches!(self.track(id).timer, Some((_, Timer::Arrival))) {
                self.unset_timer(id);
            }
            if self.track(id).holds_slot() {
                if self.track(id).begun_at.is_some() {
                    self.attempt_cut_off(id, Verdict::Interrupted, Detail::Reboot, true);
                } else {
                    self.attempt_not_begun(id, Verdict::Interrupted, Detail::Reboot, true);
                }
            }
            self.consider(id);
        }
    }

    /// Rule C4: the old instance is dead, and its attempt is settled by what the new one remembers.
    fn handle_arrival(
        &mut self,
        step: StepId,
        instance: InstanceId,
        report: u64,
        last: Option<Last>,
        references: &[String],
    ) {
        let track = self.track_mut(step);
        if track.instance == Some(instance) {
            return; // given up as lost or deaf: it does not come back, its container may
        }
        self.take_held(step); // it was meant for the instance before
        let track = self.track_mut(step);
        track.instance = Some(instance);
        track.arrived = true;
        track.leaving = false;
        track.stays_after = 0;
        track.references = references.to_vec();
        track.ack = report;
        self.touched.push(step);
        let track = self.track(step);
        if track.open {
            let (held_slot, attempt) = (track.holds_slot(), track.attempt);
            // Called back in time, and given again since: nothing of it has happened.
            let is_unused =
                |last: &Last| track.verdict.is_none() && last.ended.is_some_and(|ended| ended.exit == Exit::NotStarted);
            match last.filter(|last| last.attempt == attempt && !is_unused(last)) {
                Some(Last { started_at, ended: Some(ended), .. }) => {
                    self.begin(step, started_at);
                    self.attempt_ended(step, ended);
                }
                Some(Last { started_at, ended: None, .. }) => {
                    self.begin(step, started_at);
                    self.attempt_cut_off(step, Verdict::ShimLost, Detail::None, true);
                }
                None if track.begun_at.is_some() => {
                    self.attempt_cut_off(step, Verdict::ShimLost, Detail::None, true);
                }
                None if held_slot => self.attempt_not_begun(step, Verdict::ShimLost, Detail::None, true),
                None => {}
            }
        }
        self.consider(step);
    }

    fn handle_begun(&mut self, step: StepId, started_at: Time) {
        if self.track(step).begun_at.is_some() {
            return;
        }
        self.begin(step, started_at);
        if self.track(step).phase == Phase::Granted {
            self.set_phase(step, Phase::Running);
            if let Some(limit) = self.attempt_limit(step) {
                self.set_timer(step, limit, Timer::Attempt);
            }
            if self.step(step).service && self.step(step).readiness.is_none() {
                self.become_ready(step, started_at);
            }
        }
    }

    fn handle_probe(&mut self, step: StepId, at: Time, readiness: Probed, why: &str) {
        match (readiness, self.track(step).phase) {
            (Probed::Ready, Phase::Running) => self.become_ready(step, at),
            (Probed::Unready, Phase::Ready) => self.set_phase(step, Phase::Running),
            (Probed::NotReady, Phase::Running) if self.track(step).ready_at.is_none() => {
                self.track_mut(step).note = why.into();
                self.stop(step, Verdict::NotReady, Detail::None);
            }
            _ => {} // said before, or of an attempt that is on its way down
        }
    }

    /// The answer to a question; to one that is asked no more it is none.
    fn handle_decision(&mut self, step: StepId, decision: &Decision) {
        if !self.questions.remove(&step) {
            return;
        }
        match decision {
            Decision::Run => {
                self.track_mut(step).decided = true;
                self.consider(step);
            }
            Decision::Skip => self.end(step, Phase::Skipped, Reason::WhenFalse, Detail::None),
            Decision::Error(why) => {
                self.track_mut(step).note.clone_from(why);
                self.fail(step, Reason::WhenError, Detail::Note);
            }
        }
    }

    fn handle_end(&mut self, step: StepId, started_at: Time, ended: Ended) {
        self.begin(step, started_at);
        self.attempt_ended(step, ended);
    }

    /// Somebody outside the pod stops a container: this one alone (a failed liveness probe, `podman kill`), or every one of them,
    /// because the pod is being deleted. The signal does not say which. A step that it would stop is told to hold it for a
    /// [`timers::MOMENT`], within which a deletion is known by its request; until then no attempt goes to the container.
    fn handle_stop_signal(&mut self, step: StepId, report: u64, signal: u8) {
        let finally = self.step(step).finally;
        let is_ordered = self.halt.terminating.is_some();
        match self.track(step).phase {
            // Everybody is told at once when a pod is deleted; who stops when is decided here.
            Phase::Granted | Phase::Running | Phase::Ready if is_ordered => {
                let track = self.track_mut(step);
                track.stays_after = report;
                track.leaving = true; // when it has ended, its container goes too
                self.touched.push(step);
            }
            Phase::Pending | Phase::Awaiting | Phase::Backoff if is_ordered => {
                self.track_mut(step).stays_after = report;
                self.touched.push(step);
            }
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Granted if finally => {
                // It stays for its turn, and has to be told so: a shim that hears nothing leaves.
                self.track_mut(step).stays_after = report;
                self.touched.push(step);
            }
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Paused if self.track(step).leaving => {} // said before
            Phase::Paused => self.give_up(step), // nobody can look into it any more
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Granted | Phase::Running | Phase::Ready => {
                let until = timers::after(self.now, timers::MOMENT);
                let track = self.track_mut(step);
                track.stays_after = report;
                if track.held.is_none() {
                    track.held = Some((signal, until));
                    self.timers.set(until, Owner::StopSignal(step));
                }
                self.touched.push(step);
                self.consider(step);
            }
            Phase::Stopping => self.track_mut(step).leaving = true,
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {
                self.track_mut(step).leaving = true; // it parks no longer
                self.touched.push(step);
            }
        }
    }

    /// The moment is over, and the pod is not being deleted: the signal was meant for this step.
    fn handle_stop_alone(&mut self, step: StepId) {
        let Some(signal) = self.take_held(step) else { return };
        match self.track(step).phase {
            Phase::Pending | Phase::Awaiting | Phase::Backoff => {
                self.end(step, Phase::Failed, Reason::Interrupted, Detail::Signal(signal));
            }
            Phase::Paused => self.give_up(step), // nobody can look into it any more
            Phase::Granted | Phase::Running | Phase::Ready => {
                self.track_mut(step).leaving = true;
                self.stop(step, Verdict::Interrupted, Detail::Signal(signal));
            }
            Phase::Stopping => {} // it was let go when it was told to stop
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }

    /// Takes away what the step holds.
    fn take_held(&mut self, step: StepId) -> Option<u8> {
        let (signal, until) = self.track_mut(step).held.take()?;
        self.timers.discard(until, Owner::StopSignal(step));
        Some(signal)
    }

    /// Its attempt is over, or told to stop, while it holds a stop signal: its container follows that, whomever it was meant for.
    pub(crate) fn let_leave(&mut self, step: StepId) {
        if self.take_held(step).is_some() {
            self.track_mut(step).leaving = true;
        }
    }

    fn handle_loss(&mut self, step: StepId, survivors: bool) {
        let returns = self.returns_when_killed(step);
        self.take_held(step);
        let detail = if survivors { Detail::Survivors } else { Detail::None };
        let track = self.track_mut(step);
        track.arrived = false;
        track.leaving = false;
        // No attempt starts beside what an earlier one left behind, whether that one had ended or not.
        let comes_back = returns && !(survivors && track.started_at.is_some());
        match track.phase {
            Phase::Pending | Phase::Backoff if comes_back => self.consider(step),
            Phase::Awaiting | Phase::Paused if comes_back => {}
            Phase::Pending | Phase::Awaiting | Phase::Backoff => {
                self.end(step, Phase::Failed, Reason::ShimLost, detail);
            }
            Phase::Paused => self.give_up(step),
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping if track.begun_at.is_some() => {
                self.attempt_cut_off(step, Verdict::ShimLost, detail, comes_back);
            }
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping => {
                self.attempt_not_begun(step, Verdict::ShimLost, detail, comes_back);
            }
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }

    /// Whether its container comes back when its shim dies. One that follows a stop signal ends with a code of its own.
    fn returns_when_killed(&self, step: StepId) -> bool {
        match self.step(step).restarts {
            Restarts::Never => false,
            Restarts::WhenKilled => self.track(step).has_container(),
            Restarts::Always => true,
        }
    }

    fn handle_deafness(&mut self, step: StepId) {
        match self.track(step).phase {
            Phase::Granted | Phase::Running | Phase::Ready => self.stop(step, Verdict::ShimLost, Detail::Deaf),
            Phase::Pending | Phase::Awaiting | Phase::Backoff | Phase::Paused => self.handle_loss(step, false),
            Phase::Stopping => {} // the first verdict stands
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }

    /// `NotBegun`: the attempt was called back in time.
    fn handle_call_back(&mut self, step: StepId) {
        let returns = self.returns_when_killed(step);
        let track = self.track_mut(step);
        if track.verdict == Some(Verdict::ShimLost) {
            track.arrived = false; // deaf: nothing more is given to it
        }
        self.attempt_not_begun(step, Verdict::ShimLost, Detail::None, returns);
    }

    /// What follows from an older timer is settled before a younger one goes off, so that a coordinator that comes late
    /// ends the plan as one that was there would have. Turns are given when all are through.
    fn handle_deadline(&mut self) {
        let mut moment = None;
        while let Some(at) = self.timers.next().filter(|at| *at <= self.now) {
            if moment.replace(at).is_some_and(|before| before < at) {
                self.settle_ends_and_needs();
            }
            // Settling may have taken it away.
            let Some((at, owner)) = self.timers.pop_due(at) else { continue };
            self.work += 1;
            let step = match owner {
                Owner::Step(step) => step,
                Owner::StopSignal(step) => {
                    self.handle_stop_alone(step);
                    continue;
                }
                Owner::Termination => {
                    self.stop_finally(Reason::PodDeleted);
                    continue;
                }
                Owner::Plan => {
                    self.plan_deadline = None;
                    self.halt.plan_timed_out = Some(at);
                    self.halt.paused = false; // finally steps run now
                    self.stop_main(Reason::PlanTimedOut);
                    continue;
                }
            };
            let Some((_, timer)) = self.track_mut(step).timer.take() else { continue };
            match timer {
                Timer::Arrival => self.fail(step, Reason::NeverArrived, Detail::None),
                Timer::Pause => self.give_up(step),
                Timer::Backoff => self.consider(step),
                Timer::Attempt => self.stop(step, Verdict::TimedOut, Detail::None),
            }
        }
    }

    /// The first one covers what is not finally; the second one the rest.
    pub(crate) fn handle_cancel(&mut self) {
        self.halt.paused = false;
        self.halt.cancels = self.halt.cancels.saturating_add(1);
        match self.halt.cancels {
            1 => self.stop_main(Reason::CancelRequested),
            _ => self.stop_finally(Reason::CancelRequested),
        }
    }

    /// The pod is being deleted. Tasks and each level of services have a quarter of the time to stop, if the plan's own grace
    /// is not shorter; finally steps have what is left, but for such a quarter at the end.
    pub(crate) fn handle_termination(&mut self, grace: Millis) {
        let stop = self.plan.grace_period.min(grace / 4);
        let finally_until = timers::after(self.now, grace - stop);
        self.halt.terminating = Some(Budget { stop, finally_until });
        self.halt.paused = false;
        self.halt.cancels = self.halt.cancels.max(1);
        self.timers.set(finally_until, Owner::Termination);
        self.shorten_the_way_down();
        self.stop_main(Reason::PodDeleted);
    }

    /// What runs, or is on its way down already, is told how long it may take, and what parks ends. The signals that were held were meant for
    /// everybody: who stops when is decided here.
    fn shorten_the_way_down(&mut self) {
        for id in (0..self.tracks.len() as u32).map(StepId) {
            self.work += 1;
            let parks = self.track(id).phase.is_end() && self.step(id).restarts == Restarts::Always;
            if parks || self.track(id).holds_slot() {
                self.touched.push(id);
            }
            if self.take_held(id).is_none() {
                continue;
            }
            if self.track(id).holds_slot() {
                self.track_mut(id).leaving = true; // when it has ended, its container goes too
            }
            self.consider(id);
        }
    }

    /// Nothing that follows could be journaled, so everything ends now.
    fn handle_full_volume(&mut self) {
        if self.count.open > 0 {
            self.halt.volume_full = true;
            self.stop_main(Reason::VolumeFull);
            self.stop_finally(Reason::VolumeFull);
        }
    }

    fn stop_main(&mut self, reason: Reason) {
        if self.count.open_main > 0 {
            if self.halt.main.is_none() {
                self.halt.main = Some(reason);
                self.release_what_the_pod_holds();
            }
            self.stop_all(false, reason);
        }
    }

    fn stop_finally(&mut self, reason: Reason) {
        self.halt.finally.get_or_insert(reason);
        self.stop_all(true, reason);
    }

    /// One walk over the plan: a change of the whole plan may cost that much.
    fn stop_all(&mut self, finally: bool, reason: Reason) {
        for id in (0..self.tracks.len() as u32).map(StepId) {
            self.work += 1;
            // Nobody is waited for any more: also not with what finally steps need.
            let waits_for_a_person = !finally && self.track(id).phase == Phase::Paused;
            if self.graph.is_late(id) != finally && !waits_for_a_person {
                continue;
            }
            let service = self.step(id).service;
            match self.track(id).phase {
                Phase::Paused => self.give_up(id),
                Phase::Pending | Phase::Awaiting | Phase::Backoff => self.end_halted(id, reason),
                Phase::Granted | Phase::Running | Phase::Ready if service => {} // once nobody needs it
                Phase::Granted | Phase::Running | Phase::Ready => {
                    self.stop(id, Verdict::Cancelled(reason), Detail::None);
                }
                Phase::Stopping => {} // the first verdict stands
                Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
            }
        }
    }
}
