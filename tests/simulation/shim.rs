//! A shim's system calls in the simulated pod. Before each one everybody else may act, or the shim be killed.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use corosensei::Yielder;
use podturn_shim::{Errno, Found, Look, Notice, Ready, Reaped, Received, Registers, Schedule, StartFailure, Sys};
use podturn_wire::{Exit, InstanceId, Report, Strings, Usage};

use crate::case::{Hearing, Leaves};
use crate::play::Pause;
use crate::pod::{Connection, Pod, bytes_of_report, id};

/// The hands of one instance.
pub(crate) struct Hands<'a> {
    pub(crate) pod: Rc<RefCell<Pod>>,
    pub(crate) yielder: &'a Yielder<(), Pause>,
    pub(crate) step: usize,
    /// Its place in the process table.
    pub(crate) shim: usize,
    pub(crate) buffer: Vec<u8>,
    /// Instead of a bell.
    pub(crate) look: Option<Look<Glance<'a>>>,
}

/// What a look of the shim's sees and touches.
pub(crate) struct Glance<'a> {
    pod: Rc<RefCell<Pod>>,
    yielder: &'a Yielder<(), Pause>,
    step: usize,
    shim: usize,
}

impl<'a> Hands<'a> {
    pub(crate) fn new(pod: Rc<RefCell<Pod>>, yielder: &'a Yielder<(), Pause>, step: usize, shim: usize) -> Self {
        let has_bells = pod.borrow().case.has_bells();
        let look = (!has_bells).then(|| Look::new(Glance { pod: Rc::clone(&pod), yielder, step, shim }));
        Self { pod, yielder, step, shim, buffer: Vec::new(), look }
    }

    /// One step of the outside world that changes nothing.
    fn read(&mut self, what: &str) -> RefMut<'_, Pod> {
        self.yielder.suspend(Pause::Step);
        let mut pod = self.pod.borrow_mut();
        let (step, shim) = (self.step, self.shim);
        pod.say(|| format!("s{step}: shim {shim}: {what}"));
        pod
    }

    /// One step of the outside world.
    fn act(&mut self, what: &str) -> RefMut<'_, Pod> {
        let mut pod = self.read(what);
        pod.busy_at = pod.now;
        pod
    }
}

/// A touch and a stamp are no steps of their own: whoever looks for what is touched sees it now or 200 ms later, and between
/// a stamp and what is read for it there is the step of the reading.
impl Registers for Glance<'_> {
    fn now(&mut self) -> u64 {
        self.pod.borrow().now
    }

    fn lock(&mut self, byte: u64) -> Result<(), Errno> {
        if self.pod.borrow().containers[self.step].lock == Some((byte, self.shim)) {
            return Ok(());
        }
        self.yielder.suspend(Pause::Step);
        let mut pod = self.pod.borrow_mut();
        let (step, shim) = (self.step, self.shim);
        pod.say(|| format!("s{step}: shim {shim}: takes its lock"));
        pod.containers[step].lock = Some((byte, shim));
        pod.busy_at = pod.now;
        Ok(())
    }

    fn turn_stamp(&mut self) -> Option<u64> {
        let container = &mut self.pod.borrow_mut().containers[self.step];
        container.turn_seen = container.turn_stamp;
        Some(container.turn_stamp)
    }

    fn touch_report(&mut self) {
        self.pod.borrow_mut().touch_report(self.step);
    }
}

/// Whether [`Sys::wait`] would return: the connection's side, and the signals'.
pub(crate) fn readiness(pod: &Pod, step: usize) -> Ready {
    let container = &pod.containers[step];
    let bell = container.line.is_some_and(|line| {
        let connection = &pod.connections[line];
        connection.to_shim > 0 || !connection.coordinator_open
    });
    Ready { bell, signals: !container.signals.is_empty(), output: false }
}

/// Whether a look at the turn would show the shim nothing that it has not seen.
pub(crate) fn is_nothing_new(pod: &Pod, step: usize) -> bool {
    let container = &pod.containers[step];
    readiness(pod, step) == Ready::default() && container.turn_stamp == container.turn_seen
}

impl Sys for Hands<'_> {
    fn now(&mut self) -> u64 {
        self.pod.borrow().now
    }

    fn random(&mut self) -> u64 {
        self.pod.borrow_mut().next_instance(self.step, self.shim).0
    }

    fn pid(&mut self) -> u32 {
        1
    }

    fn read_turn(&mut self) -> Result<&[u8], Errno> {
        let step = self.step;
        let turn = self.read("reads turn.json").containers[step].turn.clone();
        self.buffer = turn;
        Ok(&self.buffer)
    }

    fn read_report(&mut self) -> Result<&[u8], Errno> {
        let step = self.step;
        let report = self.act("reads the old report.json").containers[step].report.clone();
        self.buffer = report.ok_or(Errno::ENOENT)?;
        Ok(&self.buffer)
    }

    fn references(&mut self) -> Strings<'static> {
        Strings::default()
    }

    fn write_report(&mut self, report: &Report, _references: Strings<'_>) -> Result<(), Errno> {
        let report = &bytes_of_report(report)[..];
        let (step, shim) = (self.step, self.shim);
        let mut pod = self.act("writes report.json");
        pod.say(|| format!("         {}", String::from_utf8_lossy(report)));
        pod.judge_report(step, shim, report);
        pod.containers[step].report = Some(report.to_vec());
        pod.touch_report(step);
        if matches!(pod.case.hearing, Hearing::Looks { early: true, .. }) && pod.listening {
            pod.arrivals.retain(|come| *come != id(step));
            pod.arrivals.push(id(step));
        }
        Ok(())
    }

    fn clear_outputs(&mut self) -> Result<(), Errno> {
        Ok(()) // nothing that anybody else looks at before the attempt has ended
    }

    fn make_outputs(&mut self) -> bool {
        false
    }

    fn connect(&mut self, instance: InstanceId) -> Result<(), Errno> {
        if let Some(look) = &mut self.look {
            look.give_up();
            return look.begin(instance);
        }
        let (step, shim) = (self.step, self.shim);
        let mut pod = self.act("connects");
        if let Some(old) = pod.containers[step].line.take() {
            pod.connections[old].shim_open = false;
        }
        if !pod.listening {
            return Err(Errno::ECONNREFUSED);
        }
        let line = pod.connections.len();
        pod.connections.push(Connection {
            step,
            shim,
            to_coordinator: Default::default(),
            to_shim: 0,
            shim_open: true,
            coordinator_open: true,
            is_accepted: false,
            end_seen: false,
            hung_up: false,
        });
        pod.containers[step].line = Some(line);
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Some(look) = &mut self.look {
            look.give_up();
        }
        let mut pod = self.pod.borrow_mut();
        if let Some(line) = pod.containers[self.step].line.take() {
            pod.connections[line].shim_open = false;
        }
    }

    fn send(&mut self, packet: &[u8]) {
        if self.look.is_some() {
            return;
        }
        let step = self.step;
        let mut pod = self.act("sends");
        let Some(line) = pod.containers[step].line else { return };
        // Only a full queue refuses a packet (EAGAIN), and then there are unread ones that wake the other side.
        let is_lost = !pod.connections[line].to_coordinator.is_empty() && pod.is_hit();
        if is_lost {
            pod.say(|| "         ... and the ring is lost".to_owned());
        }
        let connection = &mut pod.connections[line];
        if connection.coordinator_open && !is_lost {
            connection.to_coordinator.push_back(packet.to_vec());
        }
    }

    fn receive(&mut self) -> Received {
        if let Some(look) = &mut self.look {
            return look.take();
        }
        let step = self.step;
        let mut pod = self.act("receives");
        let Some(line) = pod.containers[step].line else { return Received::Nothing };
        let connection = &mut pod.connections[line];
        if connection.to_shim > 0 {
            connection.to_shim -= 1;
            Received::Ring
        } else if connection.coordinator_open {
            Received::Nothing
        } else {
            Received::Closed
        }
    }

    fn wait(&mut self, until: Option<u64>) -> Ready {
        let due = self.look.as_ref().and_then(Look::due);
        self.yielder.suspend(due.map_or(Pause::Wait(until), |due| Pause::Look(until, due)));
        let pod = self.pod.borrow();
        let ready = readiness(&pod, self.step);
        Ready { bell: ready.bell || due.is_some(), ..ready }
    }

    fn next_signal(&mut self) -> Option<Notice> {
        self.pod.borrow_mut().containers[self.step].signals.pop_front()
    }

    fn start(&mut self, attempt: u32) -> Result<Option<Schedule>, StartFailure> {
        let (step, shim) = (self.step, self.shim);
        let mut pod = self.act("starts the command");
        pod.judge_start(step, shim, attempt);
        if let Exit::StartError { stage, errno } = pod.case.script(step, attempt).exit {
            return Err(StartFailure { stage, errno: Errno(errno) });
        }
        pod.begin_command(step, shim, attempt);
        Ok(None)
    }

    /// No step of the simulation has hooks.
    fn start_pre_stop(&mut self) -> bool {
        false
    }

    /// No turn of the simulation asks for a probe of the shim's.
    fn probe(&mut self) -> Found {
        Found::Failure
    }

    fn end_probe(&mut self) {}

    fn pass_output_on(&mut self) -> bool {
        false
    }

    fn end_attempt(&mut self) -> bool {
        true
    }

    fn signal_command(&mut self, number: u8) {
        let step = self.step;
        self.act("signals the command").signal_command(step, number);
    }

    fn reap(&mut self) -> Reaped {
        let step = self.step;
        let mut pod = self.act("reaps");
        let ended = pod.containers[step].command.as_ref().and_then(|command| command.zombie);
        if ended.is_some() {
            pod.containers[step].command = None;
        }
        Reaped { command: ended.map(|exit| (exit, Usage::default())), probe: None, hooks: [None; 2] }
    }

    fn end_leftovers(&mut self) -> Result<(), Errno> {
        let shim = self.shim;
        let is_left = self.act("ends leftovers").kill_tree(shim);
        if !is_left || self.pod.borrow().descendants(shim).is_empty() {
            return Ok(());
        }
        // It waits a few seconds for them; those of a stuck disk take longer.
        let until = self.pod.borrow().now + 5 * crate::pod::SECOND;
        self.yielder.suspend(Pause::Leftovers(until));
        let pod = self.pod.borrow();
        let left = pod.descendants(shim);
        debug_assert!(
            left.is_empty() || pod.case.scripts.iter().flatten().any(|script| script.leaves == Leaves::Stuck)
        );
        if left.is_empty() { Ok(()) } else { Err(Errno::EBUSY) }
    }

    fn oom_kills(&mut self) -> Option<u64> {
        Some(0)
    }

    fn write_termination_log(&mut self, _path: &str, _line: &str) {}

    fn say(&mut self, line: &str) {
        let step = self.step;
        self.pod.borrow_mut().say(|| format!("s{step}: says: {line}"));
    }
}
