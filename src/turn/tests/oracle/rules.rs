//! Rules that hold at every moment of every run, each checked by itself on nothing but what the core shows: a second pair of eyes
//! beside the judge, which would miss what it got wrong in the same way as the core.

use std::collections::HashMap;

use podturn_turn::{
    Condition, Event, Kind, Millis, OnFailure, Phase, Plan, Request, Restarts, State, StepId, StepView, Time,
};
use podturn_wire::{InstanceId, Then, Turn};

use crate::judge;
use crate::world::{Answer, id};

pub(crate) struct Rules {
    plan: Plan,
    /// Finally steps and the services they need.
    late: Vec<bool>,
    views: Vec<StepView>,
    turns: Vec<Option<Turn>>,
    /// The newest attempt granted of each step, and whether it was ever seen as begun.
    granted: Vec<(u32, bool)>,
    /// The newest report of each instance.
    reports: HashMap<InstanceId, u64>,
    /// Instances that were stopped from outside.
    stopped: Vec<InstanceId>,
    /// Between stop signal and SIGKILL.
    grace: Millis,
    is_deleted: bool,
}

impl Rules {
    pub(crate) fn new(plan: &Plan) -> Self {
        let steps = plan.steps.len();
        Self {
            plan: plan.clone(),
            late: judge::late(plan),
            views: Vec::new(),
            turns: vec![None; steps],
            granted: vec![(0, false); steps],
            reports: HashMap::new(),
            stopped: Vec::new(),
            grace: plan.grace_period,
            is_deleted: false,
        }
    }

    pub(crate) fn check(&mut self, event: &Event, answer: &Answer, state: &State) -> Result<(), String> {
        self.listen(event);
        let views = &answer.views;
        let checks = [
            self.the_ended_stay_ended(views),
            limits_are_kept(&self.plan, views),
            ends_are_told(views),
            deadlines_lie_ahead(event, answer),
            self.turns_are_what_they_should_be(answer, state),
            self.a_stop_signal_is_answered(event, answer),
        ];
        for check in checks {
            check.map_err(|e| format!("event {}: {e}", event.seq))?;
        }
        for (n, view) in views.iter().enumerate() {
            if state.phase(id(n)) != view.phase || state.seq() != event.seq {
                return Err(format!("event {}: phase, view and seq of step {n} do not agree", event.seq));
            }
        }
        for (step, turn) in &answer.turns {
            self.grants_are_in_order(step.index(), turn, views)
                .map_err(|e| format!("event {}: step {}: {e}", event.seq, step.0))?;
            self.turns[step.index()] = Some(turn.clone());
        }
        self.who_runs_knows_its_grace(views).map_err(|e| format!("event {}: {e}", event.seq))?;
        self.views.clone_from(views);
        Ok(())
    }

    /// Keeps what the shims have said so far.
    fn listen(&mut self, event: &Event) {
        match &event.kind {
            Kind::Arrived { step, instance, report, last, .. } => {
                self.reports.insert(*instance, *report);
                let granted = &mut self.granted[step.index()];
                granted.1 |= last.is_some_and(|last| last.attempt == granted.0);
            }
            Kind::Begun { step, instance, report, attempt, .. }
            | Kind::Ended { step, instance, report, attempt, .. }
            | Kind::Probed { step, instance, report, attempt, .. } => {
                let newest = self.reports.entry(*instance).or_default();
                *newest = (*newest).max(*report);
                let granted = &mut self.granted[step.index()];
                granted.1 |= granted.0 == *attempt && !matches!(event.kind, Kind::Probed { .. });
            }
            Kind::StopSignal { instance, report, .. } => {
                self.reports.insert(*instance, *report);
                self.stopped.push(*instance);
            }
            // "a quarter of the time to stop, if the plan's own grace is not shorter" (docs/decisions.md)
            Kind::Requested { request: Request::Terminate { grace } } if !self.is_deleted && !self.is_over() => {
                self.is_deleted = true;
                self.grace = self.plan.grace_period.min(grace / 4);
            }
            _ => {}
        }
    }

    fn is_over(&self) -> bool {
        self.views.iter().all(|v| v.phase.is_end()) && !self.views.is_empty()
    }

    /// "all planned within `terminationGracePeriodSeconds`": also for a shim whose coordinator is gone by then.
    fn who_runs_knows_its_grace(&self, views: &[StepView]) -> Result<(), String> {
        for (n, (view, turn)) in views.iter().zip(&self.turns).enumerate() {
            let runs = matches!(view.phase, Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping);
            let grace = turn.as_ref().map(|turn| turn.grace);
            if runs && grace != Some(self.grace) {
                return Err(format!("step {n} runs with a grace of {grace:?} instead of {}", self.grace));
            }
        }
        Ok(())
    }

    fn the_ended_stay_ended(&self, views: &[StepView]) -> Result<(), String> {
        let told = |v: &StepView| {
            (v.phase, v.reason, v.message.clone(), v.attempts, v.ended_at, v.container_exit_code, v.outputs.clone())
        };
        for (before, after) in self.views.iter().zip(views) {
            if before.phase.is_end() && told(before) != told(after) {
                return Err(format!("a step that had ended changes: {:?} to {:?}", told(before), told(after)));
            }
        }
        Ok(())
    }

    /// A turn's number grows with its content, never without; who is not given out is unchanged; grants come first.
    fn turns_are_what_they_should_be(&self, answer: &Answer, state: &State) -> Result<(), String> {
        let mut asked = vec![false; self.plan.steps.len()];
        let mut others = false;
        for (step, turn) in &answer.turns {
            let n = step.index();
            if std::mem::replace(&mut asked[n], true) {
                return Err(format!("the turn of step {n} is given out twice"));
            }
            let before = self.turns[n].as_ref();
            if before.is_some_and(|b| turn.turn <= b.turn) {
                return Err(format!("the turn number of step {n} does not grow"));
            }
            // One that was given and is not known to have begun is as urgent when its turn is written again.
            let grant = answer.views[n].phase == Phase::Granted
                || (turn.attempt.is_some() && before.is_none_or(|b| b.attempt != turn.attempt));
            if grant && others {
                return Err(format!("the grant of step {n} comes after another turn"));
            }
            others |= !grant;
            self.one_turn(n, turn, &answer.views[n]).map_err(|e| format!("the turn of step {n} {e}: {turn:?}"))?;
        }
        for (n, turn) in self.turns.iter().enumerate() {
            // A report that changes nothing else needs no turn of its own: it is acknowledged by the next one.
            let now = state.turn_for(id(n));
            let same = turn.as_ref().is_none_or(|t| Turn { ack: now.ack, ..t.clone() } == now);
            if !asked[n] && !same {
                return Err(format!("the turn of step {n} has changed and is not given out"));
            }
        }
        Ok(())
    }

    fn one_turn(&self, n: usize, turn: &Turn, view: &StepView) -> Result<(), &'static str> {
        let (plan, step) = (&self.plan, &self.plan.steps[n]);
        let constants = (turn.signal, turn.timeout, turn.coordinator_grace);
        if constants != (step.stop_signal, step.timeout, plan.coordinator_grace) {
            return Err("has other limits than the plan");
        }
        let wanted = matches!(view.phase, Phase::Granted | Phase::Running | Phase::Ready).then_some(view.attempts);
        if turn.attempt != wanted {
            return Err("wants another attempt than the step's phase");
        }
        if view.arrived && turn.instance != view.instance {
            return Err("is not for the present instance");
        }
        let newest = turn.instance.and_then(|i| self.reports.get(&i)).copied().unwrap_or(0);
        if view.arrived && !(1..=newest).contains(&turn.ack) {
            return Err("acknowledges a report that was not read");
        }
        let stopped = turn.instance.is_some_and(|i| self.stopped.contains(&i));
        let told = match turn.then {
            Then::Stay => !view.phase.is_end(),
            // Where everybody has to go nobody parks.
            Then::Park => view.phase.is_end() && step.restarts == Restarts::Always && !self.is_deleted,
            Then::Exit { code, .. } if view.phase.is_end() => {
                view.container_exit_code == Some(code)
                    && (step.restarts != Restarts::Always || stopped || self.is_deleted)
            }
            Then::Exit { .. } => stopped || view.phase == Phase::Stopping,
        };
        if told || !view.arrived { Ok(()) } else { Err("tells the shim the wrong way on") }
    }

    /// Order, numbers and addresses of what is granted.
    fn grants_are_in_order(&mut self, n: usize, turn: &Turn, views: &[StepView]) -> Result<(), String> {
        let Some(attempt) = turn.attempt else { return Ok(()) };
        let before = self.turns[n].as_ref().filter(|t| t.instance == turn.instance).and_then(|t| t.attempt);
        if before == Some(attempt) {
            return Ok(());
        }
        let (newest, begun) = self.granted[n];
        if attempt != newest + 1 && (attempt != newest || begun) {
            return Err(format!("attempt {attempt} is granted after {newest} (begun: {begun})"));
        }
        // A person may ask for more, and a service may come back with its container.
        let (step, paused) = (&self.plan.steps[n], self.plan.on_failure == OnFailure::Pause);
        if attempt > step.retry.limit + 1 && !paused && !(step.service && step.restarts != Restarts::Never) {
            return Err(format!("attempt {attempt} is more than retry allows"));
        }
        if !views[n].arrived {
            return Err("is granted without its container".into());
        }
        if attempt != newest {
            self.granted[n] = (attempt, false);
        }
        for dependency in &self.plan.steps[n].depends_on {
            let (on, allowed) =
                (&views[dependency.step.index()], self.plan.steps[dependency.step.index()].allow_failure);
            let met = match dependency.condition {
                Condition::Started => on.started_at.is_some(),
                Condition::Ready if self.plan.steps[dependency.step.index()].service => {
                    matches!(on.phase, Phase::Ready | Phase::Skipped)
                }
                Condition::Succeeded | Condition::Ready => {
                    matches!(on.phase, Phase::Succeeded | Phase::Skipped) || (on.phase == Phase::Failed && allowed)
                }
                Condition::Failed => on.phase == Phase::Failed,
                Condition::Completed => on.phase.is_end(),
            };
            if !met {
                return Err(format!("is granted, though {dependency:?} is {:?}", on.phase));
            }
        }
        let others = self.late.iter().zip(views).filter(|(late, _)| !**late);
        if self.plan.steps[n].finally && !others.map(|(_, v)| v.phase).all(Phase::is_end) {
            return Err("is a finally step and is granted before the others have ended".into());
        }
        Ok(())
    }

    /// The shim holds the signal until a turn that takes the report into account answers.
    fn a_stop_signal_is_answered(&self, event: &Event, answer: &Answer) -> Result<(), String> {
        let Kind::StopSignal { step, instance, report, .. } = event.kind else { return Ok(()) };
        let waited = |v: &StepView| !v.phase.is_end() && !matches!(v.phase, Phase::Stopping);
        if !self.views.get(step.index()).is_some_and(waited)
            || self.stopped.iter().filter(|i| **i == instance).count() > 1
        {
            return Ok(()); // it is on its way down already
        }
        let present = answer.views[step.index()].instance == Some(instance) && answer.views[step.index()].arrived;
        let answers = |(to, turn): &(StepId, Turn)| *to == step && turn.ack >= report;
        if !present || answer.turns.iter().any(answers) {
            Ok(())
        } else {
            Err(format!("the stop signal of step {} gets no answer", step.0))
        }
    }
}

/// "how many task attempts may run at once", and "units of pools held while running".
fn limits_are_kept(plan: &Plan, views: &[StepView]) -> Result<(), String> {
    let holds = |n: &usize| {
        matches!(views[*n].phase, Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping)
            && !plan.steps[*n].service
    };
    let holders: Vec<usize> = (0..views.len()).filter(holds).collect();
    if plan.max_parallel.is_some_and(|most| holders.len() > most as usize) {
        return Err(format!("more steps hold a slot than maxParallel: {holders:?}"));
    }
    // "a service's units are reserved for the whole run"
    let takers = |n: &usize| plan.steps[*n].service || holds(n);
    for (pool, capacity) in plan.pools.iter().enumerate() {
        let steps = (0..views.len()).filter(takers);
        let uses = steps.flat_map(|n| &plan.steps[n].uses).filter(|u| u.pool as usize == pool);
        if uses.map(|u| u.units).sum::<u32>() > capacity.capacity {
            return Err(format!("pool {pool} is overdrawn by {holders:?}"));
        }
    }
    Ok(())
}

/// "Every end carries a CamelCase `reason` and a sentence a person understands."
fn ends_are_told(views: &[StepView]) -> Result<(), String> {
    for (n, view) in views.iter().enumerate() {
        let told = (view.reason.is_some(), !view.message.is_empty(), view.ended_at.is_some());
        if view.phase.is_end() && told != (true, true, true) {
            return Err(format!("step {n} has ended without (reason, message, time): {told:?}"));
        }
    }
    Ok(())
}

/// A timer that went off is gone, and when all is over none is left: nobody wakes up for nothing.
fn deadlines_lie_ahead(event: &Event, answer: &Answer) -> Result<(), String> {
    let past = |t: Time| t <= event.at;
    if event.kind == Kind::Deadline && answer.deadline.is_some_and(past) {
        return Err(format!("the deadline {:?} stays after it went off", answer.deadline));
    }
    if answer.deadline.is_some() && answer.views.iter().all(|v| v.phase.is_end()) {
        return Err("a deadline pends though every step has ended".into());
    }
    Ok(())
}
