//! The pod that is simulated: volume, connections, process table and clock, as shims and coordinator share them.
//!
//! Belongs here: what exists, and what the kernel and the kubelet do by themselves. Does not belong here: who acts next
//! (`play.rs`), and whether what happens is right (`judge.rs`).

use std::collections::VecDeque;

use podturn_shim::Notice;
use podturn_turn::{Event, Process, Restarts, StepId, Time};
use podturn_wire::{Ended, Exit, InstanceId, REPORT_MAX, Report, RunId, TURN_MAX, Text, Then, Turn, Usage};

use crate::case::{AtTerm, Case, Hearing, Leaves};
use crate::chooser::Chooser;
use crate::judge::Judge;

pub(crate) const MILLISECOND: Time = 1_000_000;
pub(crate) const SECOND: Time = 1_000_000_000;

pub(crate) const RUN: RunId = RunId(0x00c0_ffee);
pub(crate) const EARLIER_RUN: RunId = RunId(0x0dd);

/// From a container's end to its next start.
const RESTART_AFTER: Time = 50 * MILLISECOND;
/// A container that ends more often than this is left alone: where no coordinator ever comes, its shim gives up for ever.
const LIVES_MAX: u32 = 8;

const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;

/// What a container's main process, its command and its descendants are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    /// Still there, and gone at this time.
    DyingUntil(Time),
    Dead,
}

/// One process that ever was; its index is its start time, so that no two are the same though numbers are used again.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) step: usize,
    pub(crate) pid: u32,
    /// The shim at the root of its tree.
    pub(crate) shim: usize,
    /// The attempt that it belongs to; `None`: it is the shim itself.
    pub(crate) attempt: Option<u32>,
    life: Life,
    /// SIGKILL takes this long.
    dies_after: Time,
}

/// A command that was started, until its shim has reaped it.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) attempt: u32,
    pub(crate) entry: usize,
    pub(crate) ends_at: Time,
    pub(crate) exit: Exit,
    at_term: AtTerm,
    /// It has ended and nobody has asked how.
    pub(crate) zombie: Option<Exit>,
}

/// A connection between a shim and the coordinator, by its queue in either direction.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) step: usize,
    pub(crate) shim: usize,
    pub(crate) to_coordinator: VecDeque<Vec<u8>>,
    pub(crate) to_shim: u32,
    pub(crate) shim_open: bool,
    pub(crate) coordinator_open: bool,
    pub(crate) is_accepted: bool,
    /// The coordinator has seen its end, and keeps the witness.
    pub(crate) end_seen: bool,
    /// The coordinator has seen the death.
    pub(crate) hung_up: bool,
}

/// What stands for a connection where there are no bells, as the coordinator numbers them.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) step: usize,
    pub(crate) witness: Option<usize>,
    pub(crate) is_silent: bool,
    pub(crate) hung_up: bool,
}

/// One step's container, and its mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) turn: Vec<u8>,
    pub(crate) report: Option<Vec<u8>>,
    /// When turn and report came to be as they are: other numbers each time that they are written or touched.
    pub(crate) turn_stamp: u64,
    pub(crate) report_stamp: u64,
    /// Whoever holds a lock in `in/alive`, and on which byte. It ends with the process.
    pub(crate) lock: Option<(u64, usize)>,
    /// What the shim, and the coordinator, saw of these last.
    pub(crate) turn_seen: u64,
    pub(crate) report_seen: u64,
    pub(crate) holder_seen: Option<(u64, usize)>,
    /// The shim's entry in the process table, while it lives.
    pub(crate) shim: Option<usize>,
    pub(crate) line: Option<usize>,
    pub(crate) signals: VecDeque<Notice>,
    pub(crate) command: Option<Command>,
    /// When the kubelet starts it (again).
    pub(crate) comes_at: Option<Time>,
    /// When it was started last, and how often.
    pub(crate) began_at: Time,
    pub(crate) lives: u32,
    pub(crate) frozen_until: Time,
    /// The exit codes of its lives, and whether each was killed.
    pub(crate) exits: Vec<Option<u8>>,
}

/// Everything.
pub(crate) struct Pod {
    pub(crate) case: Case,
    pub(crate) now: Time,
    pub(crate) containers: Vec<Container>,
    pub(crate) processes: Vec<Entry>,
    pub(crate) connections: Vec<Connection>,
    /// Those of the coordinator that lives.
    pub(crate) sightings: Vec<Sighting>,
    /// Steps whose report was renamed in, and the coordinator has not heard of it.
    pub(crate) arrivals: Vec<StepId>,
    /// When anybody last did more than look and touch.
    pub(crate) busy_at: Time,
    pub(crate) journal: Vec<Event>,
    /// A coordinator listens.
    pub(crate) listening: bool,
    pub(crate) coordinator_frozen_until: Time,
    /// Somebody sent SIGTERM to the coordinator, and it has not looked.
    pub(crate) cancel_waits: bool,
    /// The whole pod is being deleted: nothing is started again.
    pub(crate) deleted: bool,
    pub(crate) chooser: Chooser,
    pub(crate) judge: Judge,
    /// What happened, for a person; only kept when a failure is told.
    pub(crate) trace: Option<Vec<String>>,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    instances: u64,
}

impl Pod {
    /// As the init container leaves it.
    pub(crate) fn new(case: Case, chooser: Chooser, tracing: bool) -> Self {
        let judge = Judge::new(&case.plan);
        let containers = (0..case.plan.steps.len()).map(|step| Container::new(&case, step)).collect();
        Self {
            case,
            now: SECOND,
            containers,
            processes: Vec::new(),
            connections: Vec::new(),
            sightings: Vec::new(),
            arrivals: Vec::new(),
            busy_at: SECOND,
            journal: Vec::new(),
            listening: false,
            coordinator_frozen_until: 0,
            cancel_waits: false,
            deleted: false,
            chooser,
            judge,
            trace: tracing.then(Vec::new),
            wrong: None,
            instances: 0,
        }
    }

    pub(crate) fn say(&mut self, who: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now as f64 / SECOND as f64;
            trace.push(format!("{at:9.3}  {}", who()));
        }
    }

    /// Whether a fault happens here; only if somebody chose it.
    pub(crate) fn is_hit(&mut self) -> bool {
        self.chooser.choose(2, 1) == 1
    }

    // --- processes ---

    pub(crate) fn exists(&self, entry: usize) -> bool {
        match self.processes[entry].life {
            Life::Alive => true,
            Life::DyingUntil(at) => self.now < at,
            Life::Dead => false,
        }
    }

    fn is_dying(&self, entry: usize) -> bool {
        matches!(self.processes[entry].life, Life::DyingUntil(_))
    }

    /// How the coordinator knows a process: numbers are used again.
    pub(crate) fn identity(&self, entry: usize) -> Process {
        let pid = self.processes[entry].pid;
        Process { pid, start_ticks: entry as u64, session: None, cgroup: None }
    }

    pub(crate) fn entry_of(&self, process: &Process) -> usize {
        process.start_ticks as usize
    }

    fn add(&mut self, step: usize, shim: Option<usize>, attempt: Option<u32>, dies_after: Time) -> usize {
        let entry = self.processes.len();
        // The lowest number that is free: nowhere are they used again sooner.
        let is_free = |pid: &u32| !(0..entry).any(|other| self.processes[other].pid == *pid && self.exists(other));
        let pid = (100..).find(is_free).unwrap_or(0);
        self.processes.push(Entry { step, pid, shim: shim.unwrap_or(entry), attempt, life: Life::Alive, dies_after });
        entry
    }

    /// SIGKILL: gone a little later, or much later.
    fn kill_entry(&mut self, entry: usize, extra: Time) {
        let now = self.now;
        let process = &mut self.processes[entry];
        if process.life == Life::Alive {
            process.life = Life::DyingUntil(now + process.dies_after + extra);
        }
    }

    /// What the tree of this shim still has of descendants.
    pub(crate) fn descendants(&self, shim: usize) -> Vec<usize> {
        let is_one = |entry: &usize| self.processes[*entry].shim == shim && *entry != shim && self.exists(*entry);
        (0..self.processes.len()).filter(is_one).collect()
    }

    /// What lives of any attempt of this step.
    pub(crate) fn of_attempts(&self, step: usize) -> Vec<usize> {
        let is_one = |entry: &usize| self.processes[*entry].step == step && self.processes[*entry].attempt.is_some();
        (0..self.processes.len()).filter(is_one).filter(|entry| self.exists(*entry)).collect()
    }

    pub(crate) fn kill_tree(&mut self, shim: usize) -> bool {
        let members = self.descendants(shim);
        members.iter().for_each(|entry| self.kill_entry(*entry, 0));
        !members.is_empty() || self.exists(shim)
    }

    // --- containers ---

    /// The kubelet starts the container.
    pub(crate) fn begin_container(&mut self, step: usize) -> usize {
        let shim = self.add(step, None, None, MILLISECOND);
        let now = self.now;
        let container = &mut self.containers[step];
        container.began_at = now;
        container.comes_at = None;
        container.shim = Some(shim);
        container.lives += 1;
        container.frozen_until = 0;
        container.signals.clear();
        container.turn_seen = 0;
        self.busy_at = now;
        self.say(|| format!("s{step}: container starts, process {shim}"));
        shim
    }

    pub(crate) fn next_instance(&mut self, step: usize, shim: usize) -> InstanceId {
        self.instances += 1;
        let instance = InstanceId(0xa000 + self.instances);
        self.judge.note_instance(step, instance, shim);
        instance
    }

    /// The shim's process has ended, with this code or by SIGKILL. Its connection ends before it is dead, and it is dead
    /// before its command is.
    pub(crate) fn end_container(&mut self, step: usize, code: Option<u8>) {
        let by_policy = match self.case.plan.steps[step].restarts {
            Restarts::Always => true,
            Restarts::WhenKilled => code.is_none_or(|code| code == 137),
            Restarts::Never => false,
        };
        let restarts = by_policy && !self.deleted;
        let now = self.now;
        let container = &mut self.containers[step];
        let Some(shim) = container.shim.take() else { return };
        container.exits.push(code);
        let line = container.line.take();
        container.lock = None;
        container.signals.clear();
        self.busy_at = now;
        let container = &mut self.containers[step];
        let command = container.command.take();
        if restarts && container.lives < LIVES_MAX {
            container.comes_at = Some(now + RESTART_AFTER);
        }
        self.say(|| format!("s{step}: shim {shim} ends: {code:?}"));
        if let Some(line) = line {
            self.connections[line].shim_open = false;
        }
        match code {
            Some(_) => self.processes[shim].life = Life::Dead,
            None => self.kill_entry(shim, 0),
        }
        if let Some(command) = command.filter(|command| command.zombie.is_none()) {
            self.kill_entry(command.entry, MILLISECOND); // PR_SET_PDEATHSIG(2const)
        }
        // A process namespace ends with its first process; one that the pod shares does not.
        if !self.case.visible {
            self.processes[shim].life = Life::Dead;
            for entry in self.descendants(shim) {
                self.processes[entry].life = Life::Dead;
            }
        }
    }

    // --- commands ---

    pub(crate) fn begin_command(&mut self, step: usize, shim: usize, attempt: u32) {
        let script = self.case.script(step, attempt);
        let entry = self.add(step, Some(shim), Some(attempt), MILLISECOND);
        match script.leaves {
            Leaves::Nothing => {}
            Leaves::Daemon => drop(self.add(step, Some(shim), Some(attempt), 3 * MILLISECOND)),
            Leaves::Stuck => drop(self.add(step, Some(shim), Some(attempt), 100 * SECOND)),
        }
        let ends_at = self.now + script.takes;
        let command = Command { attempt, entry, ends_at, exit: script.exit, at_term: script.at_term, zombie: None };
        self.containers[step].command = Some(command);
    }

    /// The command ends, and waits to be reaped.
    pub(crate) fn end_command(&mut self, step: usize, exit: Exit) {
        let Some(command) = self.containers[step].command.as_mut().filter(|command| command.zombie.is_none()) else {
            return;
        };
        command.zombie = Some(exit);
        let (entry, attempt) = (command.entry, command.attempt);
        self.containers[step].signals.push_back(Notice::Child);
        self.processes[entry].life = Life::Dead;
        self.judge.note_command_end(step, attempt, exit);
        self.say(|| format!("s{step}: command of attempt {attempt} ends: {exit:?}"));
    }

    pub(crate) fn signal_command(&mut self, step: usize, number: u8) {
        let at_term = match &self.containers[step].command {
            Some(command) if command.zombie.is_none() => command.at_term,
            _ => return,
        };
        match (number, at_term) {
            (SIGKILL, _) | (_, AtTerm::Dies) => self.end_command(step, Exit::Signal { number, oom: false }),
            (SIGTERM, AtTerm::EndsWell) => self.end_command(step, Exit::Code(0)),
            _ => {}
        }
    }

    /// The commands whose time has come.
    pub(crate) fn due_command(&self) -> Option<usize> {
        let is_due = |container: &Container| {
            container.command.as_ref().is_some_and(|command| command.zombie.is_none() && command.ends_at <= self.now)
        };
        self.containers.iter().position(is_due)
    }

    // --- connections ---

    /// What a shim's or coordinator's write, or touch, makes of a file's times.
    pub(crate) fn touch_turn(&mut self, step: usize) {
        self.containers[step].turn_stamp += 1;
    }

    pub(crate) fn touch_report(&mut self, step: usize) {
        self.containers[step].report_stamp += 1;
    }

    /// The lock that the coordinator sees.
    pub(crate) fn lock(&self, step: usize) -> Option<(u64, usize)> {
        let sees = matches!(self.case.hearing, Hearing::Looks { locks: true, .. });
        self.containers[step].lock.filter(|_| sees)
    }

    /// A new coordinator finds none of the old one's connections.
    pub(crate) fn end_coordinator(&mut self) {
        self.busy_at = self.now;
        self.sightings.clear();
        self.arrivals.clear();
        for container in &mut self.containers {
            (container.report_seen, container.holder_seen) = (0, None);
        }
        self.listening = false;
        self.coordinator_frozen_until = 0;
        for connection in &mut self.connections {
            connection.coordinator_open = false;
            connection.hung_up = true;
        }
    }

    pub(crate) fn turn(&self, step: usize) -> Turn {
        Turn::parse(&self.containers[step].turn).expect("turns are written whole")
    }

    pub(crate) fn report(&self, step: usize) -> Option<Report> {
        self.containers[step].report.as_deref().and_then(|bytes| Report::parse(bytes).ok())
    }

    // --- time ---

    /// When something happens by itself.
    pub(crate) fn next_time(&self) -> Option<Time> {
        let commands = self.containers.iter().filter_map(|container| {
            container.command.as_ref().filter(|command| command.zombie.is_none()).map(|command| command.ends_at)
        });
        let comes = self.containers.iter().filter_map(|container| container.comes_at);
        let thaws = self.containers.iter().map(|container| container.frozen_until);
        let deaths = (0..self.processes.len()).filter(|entry| self.is_dying(*entry)).filter_map(|entry| {
            match self.processes[entry].life {
                Life::DyingUntil(at) => Some(at),
                Life::Alive | Life::Dead => None,
            }
        });
        let all = commands.chain(comes).chain(thaws).chain(deaths).chain([self.coordinator_frozen_until]);
        all.filter(|at| *at > self.now).min()
    }
}

impl Container {
    fn new(case: &Case, step: usize) -> Self {
        let turn = Turn {
            run: RUN,
            instance: None,
            turn: 0,
            ack: 0,
            attempt: None,
            then: Then::Stay,
            signal: SIGTERM,
            grace: case.plan.grace_period,
            timeout: None,
            coordinator_grace: case.plan.coordinator_grace,
            termination_log: Text::new(),
        };
        Self {
            turn: bytes_of_turn(&turn),
            report: case.leftovers.then(report_of_an_earlier_run),
            turn_stamp: 1,
            report_stamp: 1,
            lock: None,
            turn_seen: 0,
            report_seen: 0,
            holder_seen: None,
            shim: None,
            line: None,
            signals: VecDeque::new(),
            command: None,
            comes_at: Some(case.comes_at[step] + SECOND),
            began_at: 0,
            lives: 0,
            frozen_until: 0,
            exits: Vec::new(),
        }
    }
}

pub(crate) fn bytes_of_turn(turn: &Turn) -> Vec<u8> {
    let mut buffer = vec![0; TURN_MAX];
    let length = turn.write(&mut buffer).expect("turns fit");
    buffer.truncate(length);
    buffer
}

/// Whoever takes it believes that attempt 1 has run, and well.
fn report_of_an_earlier_run() -> Vec<u8> {
    let ended = Some(Ended { at: 9, exit: Exit::Code(0), timed_out: false, usage: Usage::default() });
    bytes_of_report(&Report {
        run: EARLIER_RUN,
        instance: InstanceId(7),
        seq: 5,
        turn: 4,
        attempt: Some(1),
        started_at: Some(3),
        ended,
        ready_at: None,
        not_ready_at: None,
        stop_signal: None,
        pid: 1,
        last: None,
    })
}

pub(crate) fn bytes_of_report(report: &Report) -> Vec<u8> {
    let mut buffer = vec![0; REPORT_MAX];
    let length = report.write(&mut buffer).expect("reports fit");
    buffer.truncate(length);
    buffer
}

pub(crate) const fn id(step: usize) -> StepId {
    StepId(step as u32)
}
