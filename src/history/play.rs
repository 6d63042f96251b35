//! A run in virtual time: the core, and steps that follow a script.
//!
//! Belongs here: who arrives when, how long each attempt takes and how it ends. Does not belong here: any rule of the plan, all
//! of which are the core's, and where scripts come from.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use podturn_turn::{Answer, Decision, Event, Kind, Outputs, Phase, Plan, Probed, Request, State, StepId, Time};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};

/// What one attempt does. Lengths in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// From its turn to the begin of its command.
    pub handoff: Time,
    /// From the begin of its command to its end by itself; `None`: it only ends when it is told to stop.
    pub runs: Option<Time>,
    /// From the begin to what its readiness probe finds, and what; `None`: nothing, or without a probe.
    pub probed: Option<(Time, Probed)>,
    /// From being told to stop to its end.
    pub stops: Time,
    /// From its end until that is known.
    pub told: Time,
    /// How it ends by itself.
    pub exit: Exit,
    /// How it ends when it was told to stop.
    pub stopped: Exit,
    /// Its shim ends it, because its `timeout` is over.
    pub timed_out: bool,
    /// What it leaves for others.
    pub outputs: Outputs,
}

/// What one step does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// When its container is there; `None`: never.
    pub arrives: Option<Time>,
    /// The references of its command line.
    pub references: Vec<String>,
    /// Its attempts; a further one does as the last of them. None: it does not begin before it is called back.
    pub acts: Vec<Act>,
    /// How long a person takes to approve it; `None`: for ever.
    pub approval: Option<Time>,
    /// How long a person takes over the failure of an attempt, and then has it retried (`true`) or skipped.
    pub decisions: BTreeMap<u32, (Time, bool)>,
    /// What its `when` comes to; `None`: it is true.
    pub when: Option<Decision>,
}

/// What a whole run does.
#[derive(Clone, Debug, Default)]
pub struct Scripts {
    /// In the plan's order.
    pub steps: Vec<Script>,
    /// What people ask for besides, and when.
    pub requests: Vec<(Time, Request)>,
    /// Nothing happens after a step has begun so many attempts and is to begin another one; `None`: no limit.
    pub attempts_most: Option<u32>,
}

/// More events than any script of so many steps makes: whoever gets there never ends.
const EVENTS_FOR_A_STEP: usize = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Arrive(StepId),
    Begin(StepId, u32),
    Probe(StepId, u32),
    End(StepId, u32, Time),
    Approve(StepId),
    Decide(StepId, u32),
    Ask(usize),
}

struct Play<'a> {
    state: State,
    scripts: &'a Scripts,
    decide: Decide<'a>,
    events: Vec<Event>,
    now: Time,
    heap: BinaryHeap<Reverse<(Time, Next)>>,
    /// For each step, the end of its present attempt that counts.
    ends: Vec<Option<Time>>,
    /// Steps that people were asked about, by attempt: nobody is asked twice.
    asked: Vec<Option<(Phase, u32)>>,
    /// Steps whose approval or failure a person may be asked about.
    people: Vec<StepId>,
}

/// Whoever says what a step's `when` comes to.
type Decide<'a> = &'a dyn Fn(&State, StepId) -> Decision;

/// Plays a plan to its end. `None`: it has none with these scripts.
#[must_use]
pub fn play(plan: &Plan, run: RunId, scripts: &Scripts) -> Option<Vec<Event>> {
    let as_scripted = |_: &State, step: StepId| scripts.steps[step.index()].when.clone().unwrap_or(Decision::Run);
    let mut play = Play::new(plan, run, scripts, &as_scripted);
    play.go_on();
    play.state.outcome().map(|_| play.events)
}

/// Plays a plan as far as it goes with these scripts: to its end, or until nothing happens any more. `decide` says what each
/// `when` comes to, and [`Script::when`] is not looked at.
#[must_use]
pub fn play_on(plan: &Plan, run: RunId, scripts: &Scripts, decide: &dyn Fn(&State, StepId) -> Decision) -> Vec<Event> {
    let mut play = Play::new(plan, run, scripts, decide);
    play.go_on();
    play.events
}

impl<'a> Play<'a> {
    fn new(plan: &Plan, run: RunId, scripts: &'a Scripts, decide: Decide<'a>) -> Self {
        let asks =
            |step: &podturn_turn::Step| step.approval.is_some() || plan.on_failure == podturn_turn::OnFailure::Pause;
        let ids = (0..plan.steps.len() as u32).map(StepId);
        let mut play = Self {
            state: State::new(plan.clone(), run),
            scripts,
            decide,
            events: Vec::new(),
            now: 0,
            heap: BinaryHeap::new(),
            ends: vec![None; plan.steps.len()],
            asked: vec![None; plan.steps.len()],
            people: ids.clone().filter(|id| asks(&plan.steps[id.index()])).collect(),
        };
        for step in ids {
            play.heap.extend(scripts.steps[step.index()].arrives.map(|at| Reverse((at, Next::Arrive(step)))));
        }
        play.heap.extend(scripts.requests.iter().enumerate().map(|(index, (at, _))| Reverse((*at, Next::Ask(index)))));
        play
    }

    /// Until the plan has ended, or nothing happens any more.
    fn go_on(&mut self) {
        let most = EVENTS_FOR_A_STEP * self.state.plan().steps.len().max(1);
        let mut goes_on = self.tell(Kind::CoordinatorStarted { rebooted: false });
        while goes_on.is_some() && self.state.outcome().is_none() && self.events.len() <= most {
            goes_on = self.advance();
        }
    }
}

impl Play<'_> {
    /// The next thing that happens.
    fn advance(&mut self) -> Option<()> {
        let next = self.heap.peek().map(|Reverse((at, _))| *at);
        let deadline = self.state.next_deadline();
        match (next, deadline) {
            (None, None) => None,
            (next, Some(deadline)) if next.is_none_or(|next| next > deadline) => {
                self.now = self.now.max(deadline);
                self.tell(Kind::Deadline)
            }
            _ => {
                let Reverse((at, next)) = self.heap.pop()?;
                self.now = self.now.max(at);
                self.happen(next)
            }
        }
    }

    fn happen(&mut self, next: Next) -> Option<()> {
        match next {
            Next::Arrive(step) => {
                let references = self.scripts.steps[step.index()].references.clone();
                let instance = instance(step);
                self.tell(Kind::Arrived { step, instance, report: 1, last: None, references })
            }
            Next::Begin(step, attempt) => self.begin(step, attempt),
            Next::Probe(step, attempt) => {
                if !self.runs(step, attempt) {
                    return Some(());
                }
                let (_, readiness) = self.act(step)?.probed?;
                let (instance, probed_at) = (instance(step), self.now);
                self.tell(Kind::Probed { step, instance, report: 0, attempt, probed_at, readiness, why: String::new() })
            }
            Next::End(step, attempt, at) => {
                if self.ends[step.index()] != Some(at) || self.state.attempt(step) != attempt {
                    return Some(()); // another end came in its place
                }
                self.end(step, attempt, at)
            }
            Next::Approve(step) => self.request(Request::Approve { step }),
            Next::Decide(step, attempt) => {
                let (_, retry) = *self.scripts.steps[step.index()].decisions.get(&attempt)?;
                let request = if retry { Request::Retry { step, attempt } } else { Request::Skip { step, attempt } };
                self.request(request)
            }
            Next::Ask(index) => self.request(self.scripts.requests[index].1),
        }
    }

    /// As the coordinator does: only what does something is an event.
    fn request(&mut self, request: Request) -> Option<()> {
        match self.state.answer(request) {
            Answer::Does(_) => self.tell(Kind::Requested { request }),
            Answer::Done(_) | Answer::No(_) => Some(()),
        }
    }

    fn runs(&self, step: StepId, attempt: u32) -> bool {
        self.state.holds_slot(step) && self.state.attempt(step) == attempt
    }

    fn begin(&mut self, step: StepId, attempt: u32) -> Option<()> {
        if self.state.phase(step) != Phase::Granted || !self.runs(step, attempt) {
            return Some(());
        }
        if self.scripts.attempts_most.is_some_and(|most| attempt > most) {
            return None;
        }
        let started_at = self.now;
        let act = self.act(step)?;
        let (runs, probed, told) = (act.runs, act.probed, act.told);
        self.ends[step.index()] = None;
        if let Some(runs) = runs {
            self.end_at(step, attempt, started_at.saturating_add(runs), told);
        }
        let probe = |(after, _)| Reverse((started_at.saturating_add(after), Next::Probe(step, attempt)));
        self.heap.extend(probed.map(probe));
        self.tell(Kind::Begun { step, instance: instance(step), report: 1, attempt, started_at })
    }

    fn end_at(&mut self, step: StepId, attempt: u32, at: Time, told: Time) {
        self.ends[step.index()] = Some(at);
        self.heap.push(Reverse((at.saturating_add(told), Next::End(step, attempt, at))));
    }

    fn end(&mut self, step: StepId, attempt: u32, at: Time) -> Option<()> {
        let act = self.act(step)?;
        let exit = if self.state.phase(step) == Phase::Stopping { act.stopped } else { act.exit };
        let (timed_out, outputs) = (act.timed_out, act.outputs.clone());
        if !outputs.is_empty() {
            self.tell(Kind::Outputs { step, attempt, outputs })?;
        }
        let started_at = self.state.begun_at(step)?;
        let ended = Ended { at, exit, timed_out, usage: Usage::default() };
        self.tell(Kind::Ended { step, instance: instance(step), report: 1, attempt, started_at, ended })
    }

    fn act(&self, step: StepId) -> Option<&Act> {
        let acts = &self.scripts.steps[step.index()].acts;
        acts.get(self.state.attempt(step) as usize - 1).or(acts.last())
    }

    /// Takes an event in, and does what the turns that follow from it say.
    fn tell(&mut self, kind: Kind) -> Option<()> {
        let event = Event { seq: self.state.seq() + 1, at: self.now, kind };
        self.state.next(&event).ok()?;
        self.events.push(event);
        while let Some(step) = self.state.poll_turn() {
            self.obey(step)?;
        }
        for index in 0..self.people.len() {
            self.ask(self.people[index]);
        }
        match self.state.question() {
            Some(step) => {
                let decision = (self.decide)(&self.state, step);
                self.tell(Kind::Decided { step, decision })
            }
            None => Some(()),
        }
    }

    fn obey(&mut self, step: StepId) -> Option<()> {
        let attempt = self.state.attempt(step);
        match self.state.phase(step) {
            Phase::Granted => {
                // A step without any act never begins: it was called back in time.
                let begins = self.act(step).map(|act| self.now.saturating_add(act.handoff));
                self.heap.extend(begins.map(|at| Reverse((at, Next::Begin(step, attempt)))));
                Some(())
            }
            Phase::Stopping if self.state.begun_at(step).is_none() => {
                self.tell(Kind::NotBegun { step, instance: instance(step), attempt })
            }
            Phase::Stopping => {
                let (stops, told) = (self.act(step)?.stops, self.act(step)?.told);
                self.end_at(step, attempt, self.now.saturating_add(stops), told);
                Some(())
            }
            Phase::Pending | Phase::Awaiting | Phase::Running | Phase::Ready | Phase::Backoff | Phase::Paused => {
                Some(())
            }
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => Some(()),
        }
    }

    /// A person is asked as soon as there is something to say.
    fn ask(&mut self, step: StepId) {
        let (phase, attempt) = (self.state.phase(step), self.state.attempt(step));
        if !matches!(phase, Phase::Awaiting | Phase::Paused) || self.asked[step.index()] == Some((phase, attempt)) {
            return;
        }
        self.asked[step.index()] = Some((phase, attempt));
        let script = &self.scripts.steps[step.index()];
        let next = match phase {
            Phase::Awaiting => script.approval.map(|wait| (wait, Next::Approve(step))),
            _ => script.decisions.get(&attempt).map(|(wait, _)| (*wait, Next::Decide(step, attempt))),
        };
        let now = self.now;
        self.heap.extend(next.map(|(wait, next)| Reverse((now.saturating_add(wait), next))));
    }
}

const fn instance(step: StepId) -> InstanceId {
    InstanceId(step.0 as u64 + 1)
}
