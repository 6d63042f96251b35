//! One play: everybody acts in some order, and things go wrong in some places, until nobody has anything left to do.
//!
//! The coordinator and each shim are coroutines, which give control back before each of their system calls. Killing one
//! is dropping it there.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use corosensei::{Coroutine, CoroutineResult};
use podturn::coordinator::Failure;
use podturn_shim::{Notice, Ready};
use podturn_turn::{Outcome, Time};

use crate::broken::{Broken, Rule};
use crate::case::Case;
use crate::chooser::{Chooser, Schedule};
use crate::desk::{self, Desk};
use crate::pod::{MILLISECOND, Pod, SECOND};
use crate::quiet::Quiet;
use crate::shim::{self, Hands};

/// No play takes more steps, or more virtual time, unless somebody waits or runs for ever.
const STEPS_MAX: u32 = 60_000;
const TIME_MAX: Time = 3_600 * SECOND;

/// When a pod whose coordinator never comes back is deleted: every shim that may give up has, long before.
const ABANDONED_FOR: Time = 130 * SECOND;

/// How late somebody may be who has something to do.
const LATE_BY: Time = 5 * SECOND;

/// Why an actor gave control back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    /// It is about to change or read what others share.
    Step,
    /// It waits for its connections and signals, and this time.
    Wait(Option<Time>),
    /// As `Wait`, and for the time of its next look.
    Look(Option<Time>, Time),
    /// A shim waits for its leftovers to be gone.
    Leftovers(Time),
}

pub(crate) type Shim = Coroutine<(), Pause, u8>;
pub(crate) type Desktop = Coroutine<(), Pause, Result<Outcome, Failure>>;

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Coordinator,
    Shim(usize),
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    Go(Actor),
    CommandEnds(usize),
    /// Nobody acts before the next thing that time brings.
    TimePasses,
    // --- faults ---
    KillShim(usize),
    KillCoordinator(Option<Time>),
    Freeze(Actor, Time),
    Break(usize),
    Cancel,
    StopContainer(usize),
}

/// What became of a play.
pub(crate) struct Ending {
    pub(crate) wrong: Option<String>,
    pub(crate) taken: Schedule,
    pub(crate) widths: Vec<u8>,
    pub(crate) trace: Vec<String>,
    pub(crate) outcome: Option<Outcome>,
}

/// Plays a case.
pub(crate) fn play(case: &Case, chooser: Chooser, rule: Option<Rule>, tracing: bool) -> Ending {
    let pod = Rc::new(RefCell::new(Pod::new(case.clone(), chooser, tracing)));
    let mut play = Play::new(Rc::clone(&pod), rule);
    let played = catch_unwind(AssertUnwindSafe(|| play.run()));
    let outcome = play.outcome;
    drop(play); // unwinds whoever still waits
    let mut pod = pod.borrow_mut();
    if let Err(panic) = played {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let words = format!("a panic: {}", words.unwrap_or("without words"));
        pod.wrong.get_or_insert(words);
    }
    Ending {
        wrong: pod.wrong.take(),
        taken: std::mem::take(&mut pod.chooser.taken),
        widths: std::mem::take(&mut pod.chooser.widths),
        trace: pod.trace.take().unwrap_or_default(),
        outcome,
    }
}

pub(crate) struct Play {
    pub(crate) pod: Rc<RefCell<Pod>>,
    rule: Option<Rule>,
    pub(crate) coordinator: Option<(Desktop, Pause)>,
    /// When the next coordinator starts.
    coordinator_at: Option<Time>,
    /// When the pod is deleted, if no coordinator will come any more.
    deleted_at: Option<Time>,
    pub(crate) shims: Vec<Option<(Shim, Pause, usize)>>,
    /// Who acted last, and goes on by default.
    current: Actor,
    outcome: Option<Outcome>,
    moves: Vec<Move>,
    /// Somebody has done something since the last choice about time that passes.
    pub(crate) is_fresh: bool,
}

impl Play {
    fn new(pod: Rc<RefCell<Pod>>, rule: Option<Rule>) -> Self {
        let shims = pod.borrow().containers.iter().map(|_| None).collect();
        Self {
            pod,
            rule,
            coordinator: None,
            coordinator_at: Some(SECOND),
            deleted_at: None,
            shims,
            current: Actor::Coordinator,
            outcome: None,
            moves: Vec::new(),
            is_fresh: true,
        }
    }

    fn run(&mut self) {
        let mut steps = 0;
        while steps < STEPS_MAX && self.pod.borrow().now <= TIME_MAX {
            self.keep_up();
            if self.pod.borrow().wrong.is_some() {
                return;
            }
            let is_still = match self.quiet() {
                Quiet::Look(actor) => {
                    self.resume(actor);
                    continue;
                }
                Quiet::Time => {
                    self.pass_time();
                    continue;
                }
                Quiet::Still => true,
                Quiet::No => false,
            };
            steps += 1;
            let faults = if is_still { 0 } else { self.list_moves() };
            if is_still || self.moves.is_empty() {
                if self.is_over() {
                    self.pod.borrow_mut().judge_end(self.outcome);
                    return;
                }
                continue;
            }
            let choice = self.pod.borrow_mut().chooser.choose(self.moves.len(), faults);
            self.is_fresh = !matches!(self.moves[choice], Move::TimePasses);
            self.perform(self.moves[choice]);
        }
        let mut pod = self.pod.borrow_mut();
        pod.wrong.get_or_insert("it does not end".to_owned());
    }

    /// What the kubelet does, and the deaths that others caused.
    fn keep_up(&mut self) {
        for step in 0..self.shims.len() {
            let alive = self.pod.borrow().containers[step].shim;
            if self.shims[step].as_ref().is_some_and(|(_, _, shim)| alive != Some(*shim)) {
                self.shims[step] = None;
            }
            let is_due = self.pod.borrow().containers[step].comes_at.is_some_and(|at| at <= self.pod.borrow().now);
            if is_due {
                let shim = self.pod.borrow_mut().begin_container(step);
                self.shims[step] = Some((self.new_shim(step, shim), Pause::Step, shim));
            }
        }
        if self.deleted_at.take_if(|at| *at <= self.pod.borrow().now).is_some() {
            self.is_over();
        }
        if self.coordinator_at.is_some_and(|at| at <= self.pod.borrow().now) {
            self.coordinator_at = None;
            self.coordinator = Some((self.new_coordinator(), Pause::Step));
        }
    }

    fn new_shim(&self, step: usize, shim: usize) -> Shim {
        let (pod, rule) = (Rc::clone(&self.pod), self.rule);
        Coroutine::new(move |yielder, ()| {
            let hands = Hands::new(pod, yielder, step, shim);
            podturn_shim::run(&mut Broken::new(hands, rule))
        })
    }

    fn new_coordinator(&self) -> Desktop {
        let (pod, rule) = (Rc::clone(&self.pod), self.rule);
        Coroutine::new(move |yielder, ()| {
            let world = Desk { pod: Rc::clone(&pod), yielder };
            desk::coordinate(Broken::new(world, rule), &pod, yielder)
        })
    }

    // --- what may happen ---

    /// Fills `moves`, the default first and faults last, and returns how many are faults.
    fn list_moves(&mut self) -> usize {
        let mut moves = std::mem::take(&mut self.moves);
        moves.clear();
        let pod = self.pod.borrow();
        let actors = std::iter::once(Actor::Coordinator).chain((0..self.shims.len()).map(Actor::Shim));
        if self.can_go(&pod, self.current) {
            moves.push(Move::Go(self.current));
        }
        moves.extend(actors.filter(|actor| *actor != self.current && self.can_go(&pod, *actor)).map(Move::Go));
        if let Some(step) = pod.due_command() {
            moves.insert(0, Move::CommandEnds(step));
        }
        let is_looked = moves.is_empty() && self.next_look(&pod).is_some();
        if is_looked || self.next_time(&pod).is_some() {
            moves.push(Move::TimePasses);
        }
        if moves.is_empty() {
            drop(pod);
            self.moves = moves;
            return 0;
        }
        let running = (0..self.shims.len()).filter(|step| {
            pod.containers[*step].command.as_ref().is_some_and(|c| c.zombie.is_none() && c.ends_at > pod.now)
        });
        moves.extend(running.map(Move::CommandEnds));
        let plain = moves.len();
        self.list_faults(&pod, &mut moves);
        drop(pod);
        self.moves = moves;
        self.moves.len() - plain
    }

    fn list_faults(&self, pod: &Pod, moves: &mut Vec<Move>) {
        if pod.deleted {
            return;
        }
        if self.coordinator.is_some() {
            moves.push(Move::KillCoordinator(Some(20 * MILLISECOND)));
            moves.push(Move::KillCoordinator(Some(8 * SECOND)));
            moves.push(Move::KillCoordinator(None));
            moves.push(Move::Freeze(Actor::Coordinator, 2 * SECOND));
            if !pod.cancel_waits && self.outcome.is_none() {
                moves.push(Move::Cancel);
            }
        }
        for (step, container) in pod.containers.iter().enumerate() {
            if container.shim.is_none() {
                continue;
            }
            moves.push(Move::KillShim(step));
            moves.push(Move::StopContainer(step));
            if container.frozen_until <= pod.now {
                moves.push(Move::Freeze(Actor::Shim(step), 2 * SECOND));
                moves.push(Move::Freeze(Actor::Shim(step), 90 * SECOND));
            }
            if pod.case.visible && container.line.is_some_and(|line| pod.connections[line].coordinator_open) {
                moves.push(Move::Break(step));
            }
        }
    }

    pub(crate) fn can_go(&self, pod: &Pod, actor: Actor) -> bool {
        let is_over = |until: Option<Time>| until.is_some_and(|at| at <= pod.now);
        match actor {
            Actor::Coordinator => match &self.coordinator {
                None => false,
                Some(_) if pod.coordinator_frozen_until > pod.now => false,
                Some((_, Pause::Wait(until))) => desk::is_called(pod) || is_over(*until),
                Some((_, Pause::Look(until, due))) => desk::is_called(pod) || is_over(*until) || *due <= pod.now,
                Some(_) => true,
            },
            Actor::Shim(step) => match &self.shims[step] {
                None => false,
                Some(_) if pod.containers[step].frozen_until > pod.now => false,
                Some((_, Pause::Wait(until), _)) => shim::readiness(pod, step) != Ready::default() || is_over(*until),
                Some((_, Pause::Look(until, due), _)) => {
                    shim::readiness(pod, step) != Ready::default() || is_over(*until) || *due <= pod.now
                }
                Some((_, Pause::Leftovers(until), shim)) => *until <= pod.now || pod.descendants(*shim).is_empty(),
                Some((_, Pause::Step, _)) => true,
            },
        }
    }

    pub(crate) fn next_time(&self, pod: &Pod) -> Option<Time> {
        let wait = |pause: &Pause| match pause {
            Pause::Step => None,
            Pause::Wait(until) | Pause::Look(until, _) => *until,
            Pause::Leftovers(until) => Some(*until),
        };
        let shims = self.shims.iter().flatten().filter_map(|(_, pause, _)| wait(pause));
        let coordinator = self.coordinator.iter().filter_map(|(_, pause)| wait(pause));
        let all = shims.chain(coordinator).chain(self.coordinator_at).chain(self.deleted_at).chain(pod.next_time());
        all.filter(|at| *at > pod.now).min()
    }

    /// Nothing moves any more. If the run is decided and somebody is parked, the pod is deleted, and that is the last act.
    fn is_over(&mut self) -> bool {
        let mut pod = self.pod.borrow_mut();
        if pod.deleted || (self.coordinator.is_none() && self.shims.iter().all(Option::is_none)) {
            return true;
        }
        pod.say(|| "the pod is deleted".to_owned());
        pod.deleted = true;
        pod.judge_still(self.coordinator.is_some());
        pod.cancel_waits = self.coordinator.is_some();
        for container in &mut pod.containers {
            container.comes_at = None;
            if container.shim.is_some() {
                container.signals.push_back(Notice::Signal { number: 15, outside: true });
            }
        }
        false
    }

    // --- what happens ---

    fn perform(&mut self, chosen: Move) {
        match chosen {
            Move::Go(actor) => {
                self.current = actor;
                self.resume(actor);
                return;
            }
            Move::TimePasses => {
                self.pass_time();
                return;
            }
            Move::CommandEnds(step) => {
                let mut pod = self.pod.borrow_mut();
                if let Some(exit) = pod.containers[step].command.as_ref().map(|command| command.exit) {
                    pod.end_command(step, exit);
                }
                return;
            }
            _ => {}
        }
        let mut pod = self.pod.borrow_mut();
        pod.say(|| format!("FAULT {chosen:?}"));
        pod.busy_at = pod.now;
        match chosen {
            Move::KillShim(step) => pod.end_container(step, None),
            Move::KillCoordinator(back) => {
                pod.end_coordinator();
                pod.judge.note_coordinator_gone(back.is_none());
                self.coordinator_at = back.map(|after| pod.now + after);
                self.deleted_at = back.is_none().then(|| pod.now + ABANDONED_FOR);
                drop(pod);
                self.coordinator = None;
            }
            Move::Freeze(Actor::Coordinator, long) => pod.coordinator_frozen_until = pod.now + long,
            Move::Freeze(Actor::Shim(step), long) => {
                pod.containers[step].frozen_until = pod.now + long;
            }
            Move::Break(step) => {
                if let Some(line) = pod.containers[step].line {
                    pod.connections[line].coordinator_open = false;
                    pod.connections[line].shim_open = false;
                }
            }
            Move::Cancel => {
                pod.cancel_waits = true;
                pod.judge.note_cancel();
            }
            Move::StopContainer(step) => {
                pod.containers[step].signals.push_back(Notice::Signal { number: 15, outside: true });
                pod.judge.note_stop(step);
            }
            Move::Go(_) | Move::TimePasses | Move::CommandEnds(_) => {}
        }
    }

    fn pass_time(&mut self) {
        let mut pod = self.pod.borrow_mut();
        let waits = |shim: usize| self.can_go(&pod, Actor::Shim(shim));
        let is_late = self.can_go(&pod, Actor::Coordinator) || (0..self.shims.len()).any(waits);
        // Whoever is late is so by more than a look.
        let look = self.next_look(&pod).filter(|_| !is_late);
        let Some(mut next) = self.next_time(&pod).into_iter().chain(look).min() else { return };
        if is_late {
            next = next.min(pod.now + LATE_BY);
        }
        let long = next - pod.now;
        for step in 0..self.shims.len() {
            if pod.containers[step].frozen_until > pod.now || self.can_go(&pod, Actor::Shim(step)) {
                pod.judge.note_idle(step, long);
            }
        }
        pod.now = next;
    }

    fn resume(&mut self, actor: Actor) {
        match actor {
            Actor::Coordinator => self.resume_coordinator(),
            Actor::Shim(step) => self.resume_shim(step),
        }
    }

    fn resume_shim(&mut self, step: usize) {
        let Some((coroutine, pause, _)) = &mut self.shims[step] else { return };
        match coroutine.resume(()) {
            CoroutineResult::Yield(next) => *pause = next,
            CoroutineResult::Return(code) => {
                self.shims[step] = None;
                let mut pod = self.pod.borrow_mut();
                pod.judge_exit(step, code);
                pod.end_container(step, Some(code));
            }
        }
    }

    fn resume_coordinator(&mut self) {
        let Some((coroutine, pause)) = &mut self.coordinator else { return };
        if matches!(pause, Pause::Wait(_) | Pause::Look(..)) {
            self.pod.borrow_mut().judge.note_wake();
        }
        match coroutine.resume(()) {
            CoroutineResult::Yield(next) => *pause = next,
            CoroutineResult::Return(ended) => {
                self.coordinator = None;
                let mut pod = self.pod.borrow_mut();
                pod.end_coordinator();
                match ended {
                    Ok(outcome) => {
                        self.outcome = Some(outcome);
                        self.deleted_at = Some(pod.now + ABANDONED_FOR); // somebody may have been given up, and parked
                        pod.judge_finish(outcome);
                    }
                    Err(failure) => {
                        pod.wrong.get_or_insert(format!("the coordinator cannot go on: {failure}"));
                    }
                }
            }
        }
    }
}
