//! A simulated pod: containers that come or do not, shims that obey their turns as the protocol's rules S1 to S10 say, commands that
//! end well, badly or never, and a coordinator that is told of it late, in any order between steps, and dies in between.
//!
//! Belongs here: what happens. Does not belong here: what should follow from it (`judge.rs`, `rules.rs`). What is checked here is only
//! what the world itself sees: that commands run in order, one attempt at a time, within the limits.

mod faults;
mod person;
mod references;
mod shim;

use std::collections::{BTreeMap, VecDeque};

use podturn_turn::{Condition, Event, Kind, Outcome, Phase, Plan, Probed, State, StepId, StepView, Time};
use podturn_wire::{Exit, InstanceId, Last, RunId, Turn};

use crate::judge::Judge;
use crate::rules::Rules;
use crate::tape::Tape;

pub(crate) const MS: Time = 1_000_000;
const RUN: RunId = RunId(0x0dd5);

/// When a command ends that has to be stopped.
const FOR_EVER: Time = Time::MAX;

/// More actions than any fair world needs; beyond it the run counts as endless.
const ENDLESS: usize = 8_000;

/// The place of a step's container.
enum Container {
    /// Not there; comes at this time, or never.
    Absent(Option<Time>),
    Up(Shim),
    /// Ended, and nothing starts it again.
    Gone,
}

/// One life of a shim.
struct Shim {
    instance: InstanceId,
    /// The `seq` of its newest report.
    reports: u64,
    /// The newest turn it has acted on; `None`: it has to look again.
    read: Option<u64>,
    /// The newest attempt that it has begun.
    begun: u32,
    /// Begun is written, the turn not yet read once more (rule S6).
    about_to_start: bool,
    command: Option<Command>,
    /// What its readiness was found to be, in the present attempt.
    readiness: Option<Probed>,
}

struct Command {
    started_at: Time,
    ends_at: Time,
    exit: Exit,
    timed_out: bool,
}

/// What the step's report file says of attempts; it outlives the shim.
#[derive(Clone, Copy, Default)]
struct Report {
    own: Option<Last>,
    last: Option<Last>,
}

/// Everything of one step that the core cannot see directly.
struct Place {
    container: Container,
    report: Report,
    turn: Option<Turn>,
    /// Reported and not yet read by the coordinator, oldest first.
    mail: VecDeque<Kind>,
    /// The newest report that the coordinator has read.
    heard: Option<Kind>,
    /// Instances that were there before, for late words of the dead.
    dead: Vec<InstanceId>,
    /// Attempts whose command was started.
    started: Vec<u32>,
    /// Some shim has written that it begins an attempt.
    has_begun: bool,
    /// What its command line refers to.
    references: Vec<String>,
    /// What lies in its outputs directory.
    outputs: BTreeMap<String, String>,
    /// A turn took this attempt back; the report was not looked at since (rule C10).
    called_back: Option<(InstanceId, u32)>,
}

/// Something that can happen now.
#[derive(Clone, Copy, Debug)]
enum Action {
    Deliver(usize),
    Read(usize),
    Start(usize),
    End(usize),
    Create(usize),
    /// The report is read after an attempt was called back.
    LookBack(usize),
    /// The readiness of the command is found out.
    Probe(usize),
    /// The `when` that is asked for is evaluated.
    Decide(usize),
    /// A person is asked: for an approval, or what becomes of a failure.
    Person(usize),
    Deadline,
}

/// What the core said after one event: all that a replay has to repeat.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) turns: Vec<(StepId, Turn)>,
    /// For those of them that give an attempt: the values of the references.
    pub(crate) values: Vec<(StepId, Vec<String>)>,
    pub(crate) deadline: Option<Time>,
    pub(crate) question: Option<StepId>,
    pub(crate) views: Vec<StepView>,
}

/// A run: the world, the core in it, and those who watch.
pub(crate) struct World {
    plan: Plan,
    tape: Tape,
    now: Time,
    state: State,
    places: Vec<Place>,
    instances: u64,
    /// Half of the runs see few faults, so that plans also get to their end.
    is_calm: bool,
    /// A person looks on, and does something now and then.
    is_watched: bool,
    cancels: usize,
    is_full: bool,
    /// The pod is being deleted: no container comes back.
    is_deleted: bool,
    judge: Judge,
    rules: Rules,
    pub(crate) journal: Vec<Event>,
    pub(crate) answers: Vec<Answer>,
}

impl World {
    pub(crate) fn new(plan: &Plan, tape: Tape) -> Self {
        let mut tape = tape;
        let is_calm = tape.draw(2) == 0;
        let is_watched = tape.chance(2);
        let places = (0..plan.steps.len()).map(|n| Place::new(plan, n, &mut tape, is_calm)).collect();
        Self {
            plan: plan.clone(),
            tape,
            now: 1_000 * MS,
            state: State::new(plan.clone(), RUN),
            places,
            instances: 0,
            is_calm,
            is_watched,
            cancels: 0,
            is_full: false,
            is_deleted: false,
            judge: Judge::new(plan),
            rules: Rules::new(plan),
            journal: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Plays the run to its end, or to the first thing that is wrong.
    pub(crate) fn play(&mut self) -> Result<(), String> {
        self.tell(Kind::CoordinatorStarted { rebooted: false })?;
        for _ in 0..ENDLESS {
            if self.tape.chance(if self.is_calm { 120 } else { 12 }) {
                self.fault()?;
                continue;
            }
            if self.is_watched && self.tape.chance(30) {
                self.ask_for_something()?;
                continue;
            }
            let possible = self.possible();
            if let Some(action) = possible.get(self.tape.draw(possible.len().max(1))) {
                self.now += self.tape.draw(20) as Time * MS;
                self.act(*action)?;
            } else if !self.wait() {
                match self.last_resort() {
                    Some(request) => self.request(request)?,
                    None => return self.finish(),
                }
            }
        }
        Err("the run does not end".into())
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.state.outcome()
    }

    fn finish(&self) -> Result<(), String> {
        if self.state.outcome().is_some() {
            return Ok(());
        }
        let waiting = (0..self.plan.steps.len()).map(|n| (n, self.state.phase(id(n)))).filter(|(_, p)| !p.is_end());
        Err(format!("nothing can happen any more, and these have not ended: {:?}", waiting.collect::<Vec<_>>()))
    }

    /// What can happen at this moment without a fault.
    fn possible(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (n, place) in self.places.iter().enumerate() {
            if !place.mail.is_empty() {
                actions.push(Action::Deliver(n));
            }
            if place.called_back.is_some() {
                actions.push(Action::LookBack(n));
            }
            match &place.container {
                Container::Up(shim) => {
                    let turn = place.turn.as_ref().map(|t| t.turn);
                    if shim.about_to_start {
                        actions.push(Action::Start(n));
                    } else if turn.is_some() && turn != shim.read {
                        actions.push(Action::Read(n));
                    }
                    if shim.command.as_ref().is_some_and(|c| c.ends_at <= self.now) {
                        actions.push(Action::End(n));
                    } else if self.can_probe(n, shim) {
                        actions.push(Action::Probe(n));
                    }
                }
                Container::Absent(Some(comes)) if *comes <= self.now => actions.push(Action::Create(n)),
                Container::Absent(_) | Container::Gone => {}
            }
        }
        actions.extend(self.state.question().map(|step| Action::Decide(step.index())));
        for n in 0..self.places.len() {
            match self.state.phase(id(n)) {
                Phase::Awaiting => actions.push(Action::Person(n)),
                // Where nobody looks on, its time limit has to end it.
                Phase::Paused if self.is_watched => actions.push(Action::Person(n)),
                _ => {}
            }
        }
        if self.state.next_deadline().is_some_and(|t| t <= self.now) {
            actions.push(Action::Deadline);
        }
        actions
    }

    /// Jumps to the next moment at which something can happen; `false` when there is none.
    fn wait(&mut self) -> bool {
        let of_places = self.places.iter().filter_map(|place| match &place.container {
            Container::Up(shim) => shim.command.as_ref().map(|c| c.ends_at).filter(|at| *at < FOR_EVER),
            Container::Absent(comes) => *comes,
            Container::Gone => None,
        });
        let next = of_places.chain(self.state.next_deadline()).min();
        if let Some(next) = next {
            // A timer may be noticed late, and then several are due at once.
            let late = if self.tape.chance(8) { self.tape.draw(60_000) as Time * MS } else { 0 };
            self.now = self.now.max(next) + late;
        }
        next.is_some()
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Deliver(n) => self.deliver(n),
            Action::Read(n) => self.read(n),
            Action::Start(n) => self.start(n),
            Action::LookBack(n) => self.look_back(n),
            Action::End(n) => {
                self.end(n);
                Ok(())
            }
            Action::Create(n) => {
                self.create(n);
                Ok(())
            }
            Action::Probe(n) => self.probe(n),
            Action::Decide(n) => self.decide(n),
            Action::Person(n) => self.ask_a_person(n),
            Action::Deadline => self.tell(Kind::Deadline),
        }
    }

    /// The coordinator reads the step's report. A register is read as it is: an end may be seen before its begin was.
    fn deliver(&mut self, n: usize) -> Result<(), String> {
        let mail = &mut self.places[n].mail;
        if let (Some(Kind::Begun { .. }), Some(Kind::Ended { .. })) = (mail.front(), mail.get(1))
            && self.tape.chance(2)
        {
            mail.pop_front();
        }
        let kind = mail.pop_front().ok_or("no mail")?;
        self.places[n].heard = Some(kind.clone());
        self.tell_outputs(n, &kind)?;
        self.tell(kind)
    }

    /// Rule C10: the turn without attempt is written, then the report is read. What it does not show as begun never will be.
    fn look_back(&mut self, n: usize) -> Result<(), String> {
        let place = &mut self.places[n];
        let Some((instance, attempt)) = place.called_back.take() else { return Ok(()) };
        let begun = place.report.own.is_some_and(|own| own.attempt >= attempt);
        // A report of another instance is an arrival, which says more than this.
        if begun || place.newest_instance() != Some(instance) || self.state.phase(id(n)) != Phase::Stopping {
            return Ok(());
        }
        self.tell(Kind::NotBegun { step: id(n), instance, attempt })?;
        if !self.state.view(id(n)).arrived {
            // It was called back because it was deaf: nothing is given to it any more.
            self.kill(n, false);
        }
        Ok(())
    }

    /// Journals an event, applies it, writes the turns that follow, and lets the watchers judge.
    pub(super) fn tell(&mut self, kind: Kind) -> Result<(), String> {
        let event = Event { seq: self.journal.len() as u64 + 1, at: self.now, kind };
        self.journal.push(event.clone());
        self.state.next(&event).map_err(|e| format!("event {} is refused: {e}", event.seq))?;
        let answer = answer(&mut self.state);
        self.rules.check(&event, &answer, &self.state)?;
        self.judge.check(&event, &answer, self.state.outcome())?;
        for (step, turn) in &answer.turns {
            let place = &mut self.places[step.index()];
            let before = place.turn.replace(turn.clone()).filter(|before| before.instance == turn.instance);
            if let (Some(attempt), None) = (before.and_then(|before| before.attempt), turn.attempt) {
                place.called_back = turn.instance.map(|instance| (instance, attempt));
            }
        }
        self.answers.push(answer);
        Ok(())
    }

    /// Seen from the processes: whoever starts may start, and no more run than may. A command that nobody could see the end of
    /// (`survivors`) is beyond anyone's power.
    pub(super) fn check_start(&self, n: usize) -> Result<(), String> {
        let runs = |m: &usize| {
            let place = &self.places[*m];
            matches!(&place.container, Container::Up(shim) if shim.command.is_some() || shim.about_to_start)
        };
        for dependency in &self.plan.steps[n].depends_on {
            let on = dependency.step.index();
            let ready = dependency.condition == Condition::Ready && self.plan.steps[on].service;
            if ready && self.state.phase(dependency.step) == Phase::Skipped {
                continue;
            }
            if ready || dependency.condition == Condition::Started {
                if !self.places[on].has_begun {
                    return Err(format!("the command of step {n} starts before step {on} has begun"));
                }
            } else if runs(&on) {
                return Err(format!("the command of step {n} starts while that of step {on} runs"));
            }
        }
        let running: Vec<usize> = (0..self.places.len()).filter(runs).collect();
        let tasks = running.iter().filter(|m| !self.plan.steps[**m].service).count();
        if self.plan.max_parallel.is_some_and(|most| tasks > most as usize) {
            return Err(format!("more commands run than maxParallel: {running:?}"));
        }
        for (pool, capacity) in self.plan.pools.iter().enumerate() {
            let uses = running.iter().flat_map(|m| &self.plan.steps[*m].uses).filter(|u| u.pool as usize == pool);
            if uses.map(|u| u.units).sum::<u32>() > capacity.capacity {
                return Err(format!("pool {pool} is overdrawn by {running:?}"));
            }
        }
        Ok(())
    }
}

impl Place {
    fn new(plan: &Plan, n: usize, tape: &mut Tape, is_calm: bool) -> Self {
        let comes = match tape.draw(if is_calm { 10 } else { 12 }) {
            11 => None,
            9 | 10 => Some(tape.draw(60_000) as Time * 3 * MS),
            _ => Some(tape.draw(2_000) as Time * MS),
        };
        Self {
            container: Container::Absent(comes),
            report: Report::default(),
            turn: None,
            mail: VecDeque::new(),
            heard: None,
            dead: Vec::new(),
            started: Vec::new(),
            has_begun: false,
            references: references::draw(plan, n, tape),
            outputs: BTreeMap::new(),
            called_back: None,
        }
    }

    /// Who wrote the report.
    fn newest_instance(&self) -> Option<InstanceId> {
        match &self.container {
            Container::Up(shim) => Some(shim.instance),
            Container::Absent(_) | Container::Gone => self.dead.last().copied(),
        }
    }
}

/// Everything the core says after an event.
pub(crate) fn answer(state: &mut State) -> Answer {
    let mut turns = Vec::new();
    let mut values = Vec::new();
    while let Some(step) = state.poll_turn() {
        let turn = state.turn_for(step);
        if turn.attempt.is_some() {
            values.push((step, state.replacements(step).unwrap_or_else(|why| vec![why])));
        }
        turns.push((step, turn));
    }
    let views = (0..state.plan().steps.len()).map(|n| state.view(id(n))).collect();
    Answer { turns, values, deadline: state.next_deadline(), question: state.question(), views }
}

/// Runs a journal through a fresh core.
pub(crate) fn replay(plan: &Plan, journal: &[Event]) -> Result<Vec<Answer>, String> {
    let mut state = State::new(plan.clone(), RUN);
    let mut answers = Vec::new();
    for event in journal {
        state.next(event).map_err(|e| format!("replay refuses event {}: {e}", event.seq))?;
        answers.push(answer(&mut state));
    }
    Ok(answers)
}

pub(crate) fn id(n: usize) -> StepId {
    StepId(u32::try_from(n).expect("a small plan"))
}
