//! From events to spans: after each event, what does each open step do now?
//!
//! The core says what a step does from when the coordinator took notice; its shim's stamps say when a command really began and
//! ended. What lies between the two is podturn's own time.

use podturn_turn::{Impossible, Kind, Phase, Plan, State, StepId, Time, Waits};

use super::{AttemptHistory, History, Moment, Record, Span, StepHistory, What};
use crate::volume::published::{self, WallClock};

/// What a step is doing, before it is known for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Wait(What),
    /// It holds a slot with this attempt: granted, running, or on its way down.
    Attempt(u32),
    Nothing,
}

/// One step under replay.
#[derive(Clone, Debug)]
struct Open {
    doing: Doing,
    since: Moment,
    begun: Option<Moment>,
    ready: Option<Moment>,
    stopping: Option<Moment>,
    phase: Phase,
}

struct Replay {
    state: State,
    open: Vec<Open>,
    /// Steps that have not ended, in the plan's order.
    running: Vec<StepId>,
    steps: Vec<StepHistory>,
    /// From the coordinator's clock to moments: changes with each reboot.
    shift: i128,
    now: Moment,
    /// Who gave a slot back in this event.
    released: Vec<StepId>,
    /// By step, those that depend on it, and every finally step, which waits for all.
    dependents: Vec<Vec<StepId>>,
}

/// Plays every event; `critical` is left empty.
pub(super) fn replay(record: &Record) -> Result<History, Impossible> {
    let count = record.plan.steps.len();
    let first =
        Open { doing: Doing::Nothing, since: 0, begun: None, ready: None, stopping: None, phase: Phase::Pending };
    let mut replay = Replay {
        state: State::new(record.plan.clone(), record.run),
        open: vec![first; count],
        running: (0..count as u32).map(StepId).collect(),
        steps: vec![StepHistory::default(); count],
        shift: -i128::from(record.events.first().map_or(0, |event| event.at)),
        now: 0,
        released: Vec::new(),
        dependents: dependents(&record.plan),
    };
    for event in &record.events {
        if matches!(event.kind, Kind::CoordinatorStarted { rebooted: true }) {
            replay.shift = i128::from(replay.now) - i128::from(event.at); // the clock began anew
        }
        replay.state.next(event)?;
        while replay.state.poll_turn().is_some() {} // nobody writes them
        replay.now = replay.moment(event.at);
        replay.look(&event.kind);
    }
    if let (None, Some(until)) = (replay.state.outcome(), record.until) {
        replay.now = replay.now.max(replay.moment(until));
    }
    let end = replay.finish();
    let clock = WallClock {
        boottime: replay.state.first_start().unwrap_or(0),
        realtime: u64::try_from(record.started.unwrap_or(0)).unwrap_or(0).saturating_mul(1_000_000),
    };
    let state = published::State::of(&replay.state, clock);
    let ends_at = record.started.map(|_| clock.show(clock.boottime.saturating_add(end)));
    Ok(History { state, plan: record.plan.clone(), end, ends_at, steps: replay.steps, critical: Vec::new() })
}

fn dependents(plan: &Plan) -> Vec<Vec<StepId>> {
    let finally: Vec<StepId> =
        plan.steps.iter().zip(0u32..).filter(|(step, _)| step.finally).map(|(_, index)| StepId(index)).collect();
    let mut dependents = vec![finally; plan.steps.len()];
    for (step, index) in plan.steps.iter().zip(0u32..) {
        for dependency in &step.depends_on {
            dependents[dependency.step.index()].push(StepId(index));
        }
    }
    dependents
}

impl Replay {
    fn moment(&self, at: Time) -> Moment {
        u64::try_from(i128::from(at) + self.shift).unwrap_or(0)
    }

    /// Closes and opens what this event has changed.
    fn look(&mut self, kind: &Kind) {
        if let Kind::Connected { step, .. } = kind {
            self.steps[step.index()].seen = true;
            return; // nothing else has changed
        }
        self.released.clear();
        let touched = self.touched(kind);
        let mut changed = Vec::new();
        for step in &touched {
            let doing = self.doing(*step);
            let open = &self.open[step.index()];
            if doing != open.doing {
                if matches!(open.doing, Doing::Attempt(_)) {
                    self.released.push(*step);
                }
                changed.push((*step, doing));
            }
        }
        for (step, doing) in changed {
            let now = self.now;
            self.close(step, now);
            let open = &mut self.open[step.index()];
            (open.doing, open.since) = (doing, now);
            (open.begun, open.ready, open.stopping) = (None, None, None);
        }
        for step in &touched {
            self.note(*step);
        }
        let state = &self.state;
        if touched.iter().any(|step| state.phase(*step).is_end()) {
            self.running.retain(|step| !state.phase(*step).is_end());
        }
        let is_as_told = |step: &StepId| self.doing(*step) == self.open[step.index()].doing;
        debug_assert!(self.running.iter().all(is_as_told), "what a step does has changed unseen by {kind:?}");
    }

    /// The steps that this event may have something new of, in the plan's order: its own, those whose phase has changed, and those that
    /// may have waited for one of these. To look at all of them each time would take as many looks as there are steps, squared.
    fn touched(&self, kind: &Kind) -> Vec<StepId> {
        let mut is_touched = vec![false; self.open.len()];
        let mut holds = false;
        for step in &self.running {
            let (phase, before) = (self.state.phase(*step), self.open[step.index()].phase);
            if phase != before {
                holds |= phase == Phase::Paused || before == Phase::Paused;
                is_touched[step.index()] = true;
                self.dependents[step.index()].iter().for_each(|dependent| is_touched[dependent.index()] = true);
            }
        }
        let has_pools = !self.state.plan().pools.is_empty(); // whoever takes units may change what others wait for
        match kind.step() {
            Some(step) if !has_pools && !holds => is_touched[step.index()] = true,
            _ => return self.running.clone(),
        }
        self.running.iter().filter(|step| is_touched[step.index()]).copied().collect()
    }

    /// What is to be remembered of a step that has not changed what it does.
    fn note(&mut self, step: StepId) {
        let (phase, now) = (self.state.phase(step), self.now);
        let begun = self.state.begun_at(step).map(|at| self.moment(at));
        let ready = self.state.ready_at(step).map(|at| self.moment(at));
        let (open, history) = (&mut self.open[step.index()], &mut self.steps[step.index()]);
        if let (Doing::Attempt(_), Some(begun)) = (open.doing, begun) {
            history.begun.get_or_insert(now);
            open.begun.get_or_insert(begun.clamp(open.since, now));
            open.ready = open.ready.or(ready.map(|at| at.clamp(open.since, now)));
        }
        if phase == Phase::Ready && open.phase != Phase::Ready {
            history.ready.push(now);
        }
        if phase == Phase::Stopping {
            open.stopping.get_or_insert(now);
        }
        if history.arrived.is_none() && self.state.instance(step).is_some() {
            history.arrived = Some(now);
        }
        if phase.is_end() {
            history.ended = Some(now);
        }
        open.phase = phase;
    }

    fn doing(&self, step: StepId) -> Doing {
        if self.state.holds_slot(step) {
            return Doing::Attempt(self.state.attempt(step));
        }
        let Some(waits) = self.state.waits_for(step) else { return Doing::Nothing };
        Doing::Wait(match waits {
            Waits::Dependencies(_) => What::Dependencies,
            Waits::Others => What::Others,
            Waits::When => What::When,
            Waits::Approval => What::Approval,
            Waits::Decision => What::Decision,
            Waits::Container => What::Container,
            Waits::Backoff => What::Backoff,
            Waits::Hold => What::Hold,
            Waits::Slot => match self.full_pool(step) {
                Some(pool) => What::Pool(pool, None),
                None => What::Slot(None),
            },
        })
    }

    /// The first pool that has not what the step needs.
    fn full_pool(&self, step: StepId) -> Option<u32> {
        let plan = self.state.plan();
        let is_full = |wanted: &&podturn_turn::Use| {
            let pool = wanted.pool as usize;
            self.state.pool_in_use(pool) + wanted.units > plan.pools[pool].capacity
        };
        plan.steps[step.index()].uses.iter().find(is_full).map(|wanted| wanted.pool)
    }

    /// Who gave free what the step had waited for.
    fn giver(&self, pool: Option<u32>) -> Option<StepId> {
        let plan = self.state.plan();
        let gave = |step: &&StepId| {
            let uses = &plan.steps[step.index()].uses;
            pool.is_none_or(|pool| uses.iter().any(|used| used.pool == pool))
        };
        self.released.iter().find(gave).copied()
    }

    /// Ends what a step was doing.
    fn close(&mut self, step: StepId, now: Moment) {
        let open = self.open[step.index()].clone();
        match open.doing {
            Doing::Nothing => {}
            Doing::Wait(what) => {
                let what = match what {
                    What::Slot(_) => What::Slot(self.giver(None)),
                    What::Pool(pool, _) => What::Pool(pool, self.giver(Some(pool))),
                    other => other,
                };
                self.push(step, open.since, now, what);
            }
            Doing::Attempt(number) => {
                let is_it = |attempt: &podturn_turn::Attempt| attempt.number == number;
                let settled = self.state.view(step).history.into_iter().rev().find(is_it);
                let begun = settled.as_ref().and_then(|attempt| attempt.started_at).map(|at| self.moment(at));
                self.close_attempt(step, number, begun, settled.as_ref(), now);
            }
        }
    }

    /// `settled`: what the core keeps of the attempt; `None`: it goes on, or was called back before it began.
    fn close_attempt(
        &mut self,
        step: StepId,
        number: u32,
        begun: Option<Moment>,
        settled: Option<&podturn_turn::Attempt>,
        now: Moment,
    ) {
        let open = self.open[step.index()].clone();
        let Some(begun) = open.begun.or(begun.map(|at| at.clamp(open.since, now))) else {
            self.push(step, open.since, now, What::Handoff);
            return;
        };
        let ended = settled.map(|attempt| self.moment(attempt.ended_at).clamp(begun, now));
        let history = &mut self.steps[step.index()];
        let index = history.attempts.len();
        history.begun.get_or_insert(now);
        history.attempts.push(AttemptHistory {
            number,
            begun,
            ready: open.ready,
            stopping: open.stopping.filter(|at| ended.is_none_or(|ended| *at <= ended)),
            ended,
            reason: settled.map(|attempt| attempt.reason),
            end: settled.and_then(|attempt| attempt.ended),
            samples: Vec::new(),
        });
        self.push(step, open.since, begun, What::Handoff);
        self.push(step, begun, ended.unwrap_or(now), What::Attempt(index));
        self.push(step, ended.unwrap_or(now), now, What::Handoff);
    }

    fn push(&mut self, step: StepId, from: Moment, to: Moment, what: What) {
        if from < to || matches!(what, What::Attempt(_)) {
            self.steps[step.index()].spans.push(Span { from, to, what });
        }
    }

    /// Ends what is still under way at the last event; returns the end of the run.
    fn finish(&mut self) -> Moment {
        let now = self.now;
        for step in std::mem::take(&mut self.running) {
            self.close(step, now);
        }
        match self.state.outcome() {
            Some(_) => self.steps.iter().filter_map(|step| step.ended).max().unwrap_or(now),
            None => now,
        }
    }
}
