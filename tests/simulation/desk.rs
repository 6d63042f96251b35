//! The coordinator in the simulated pod: its system calls, and the loop that hands it what happened, as `serve.rs` does.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use corosensei::Yielder;
use podturn::coordinator::{Coordinator, Enclosing, Failure, Link, Looks, Sight, World, WriteError};
use podturn_turn::{Event, Outcome, Outputs, Process, Request, Restarts, StepId, Time};
use podturn_wire::{Packet, Report, Turn};

use crate::play::Pause;
use crate::pod::{Pod, RUN, bytes_of_turn, id};

/// The hands of one coordinator. A link's number is its connection's.
pub(crate) struct Desk<'a> {
    pub(crate) pod: Rc<RefCell<Pod>>,
    pub(crate) yielder: &'a Yielder<(), Pause>,
}

impl Desk<'_> {
    fn has_bells(&self) -> bool {
        self.pod.borrow().case.has_bells()
    }

    /// A step that changes nothing.
    fn see(&mut self, what: impl FnOnce() -> String) -> RefMut<'_, Pod> {
        self.yielder.suspend(Pause::Step);
        let mut pod = self.pod.borrow_mut();
        pod.say(|| format!("coordinator: {}", what()));
        pod
    }

    pub(crate) fn act(&mut self, what: impl FnOnce() -> String) -> RefMut<'_, Pod> {
        let mut pod = self.see(what);
        pod.busy_at = pod.now;
        pod
    }
}

impl World for Desk<'_> {
    fn now(&mut self) -> Time {
        self.pod.borrow().now
    }

    /// A coordinator may be killed in the middle: then the first of them are there.
    fn append(&mut self, events: &[Event]) -> Result<(), WriteError> {
        for event in events {
            let mut pod = self.act(|| format!("journals {} {:?}", event.seq, event.kind));
            pod.journal.push(event.clone());
            pod.judge_event(event);
        }
        Ok(())
    }

    fn release_reserve(&mut self) {}

    fn read_report(&mut self, step: StepId) -> Option<Report> {
        self.see(|| format!("reads the report of s{}", step.0)).report(step.index())
    }

    fn read_outputs(&mut self, _: StepId) -> Outputs {
        Outputs::default()
    }

    fn read_references(&mut self, _: StepId, _: podturn_wire::InstanceId) -> Vec<String> {
        Vec::new()
    }

    fn read_turn(&mut self, step: StepId) -> Option<Turn> {
        Some(self.act(|| format!("reads the turn of s{}", step.0)).turn(step.index()))
    }

    fn write_turn(&mut self, step: StepId, turn: &Turn, _: &Enclosing) -> Result<(), WriteError> {
        let what = || format!("writes turn {} of s{}: {:?} {:?}", turn.turn, step.0, turn.attempt, turn.then);
        let mut pod = self.act(what);
        pod.judge_turn(step.index(), turn);
        pod.containers[step.index()].turn = bytes_of_turn(turn);
        pod.touch_turn(step.index());
        Ok(())
    }

    fn ring(&mut self, link: Link) {
        if !self.has_bells() {
            return;
        }
        let mut pod = self.act(|| format!("rings {}", link.0));
        let is_lost = pod.is_hit();
        if is_lost {
            pod.say(|| "         ... and the ring is lost".to_owned());
        }
        let connection = &mut pod.connections[link.0 as usize];
        if connection.shim_open && !is_lost && connection.to_shim < 10 {
            connection.to_shim += 1;
        }
    }

    fn peer(&mut self, link: Link) -> Option<Process> {
        let pod = self.act(|| format!("examines the peer of {}", link.0));
        let shim = match pod.case.has_bells() {
            true => pod.connections[link.0 as usize].shim,
            false => pod.sightings[link.0 as usize].witness?,
        };
        (pod.case.visible && pod.exists(shim)).then(|| pod.identity(shim))
    }

    fn is_peer_dead(&mut self, link: Link) -> bool {
        let pod = self.act(|| format!("looks whether the peer of {} is dead", link.0));
        if !pod.case.has_bells() {
            let seen = &pod.sightings[link.0 as usize];
            return seen.hung_up || seen.witness.map_or(!seen.is_silent, |witness| !pod.exists(witness));
        }
        !pod.case.visible || !pod.exists(pod.connections[link.0 as usize].shim)
    }

    fn hang_up(&mut self, link: Link) {
        let mut pod = self.act(|| format!("hangs up {}", link.0));
        if !pod.case.has_bells() {
            pod.sightings[link.0 as usize].hung_up = true;
            return;
        }
        let connection = &mut pod.connections[link.0 as usize];
        (connection.coordinator_open, connection.hung_up) = (false, true);
    }

    fn is_alive(&mut self, process: &Process) -> bool {
        let pod = self.act(|| format!("looks whether {} lives", process.start_ticks));
        pod.exists(pod.entry_of(process))
    }

    fn kill(&mut self, process: &Process) -> bool {
        let mut pod = self.act(|| format!("kills {}", process.start_ticks));
        let entry = pod.entry_of(process);
        let may = pod.case.may_kill && pod.exists(entry);
        let step = pod.processes[entry].step;
        if may && pod.containers[step].shim == Some(entry) {
            pod.end_container(step, None);
        }
        may
    }

    fn sweep(&mut self, process: &Process) -> bool {
        let mut pod = self.act(|| format!("sweeps the tree of {}", process.start_ticks));
        let entry = pod.entry_of(process);
        pod.kill_tree(entry)
    }
}

/// What one round of waiting may find.
#[derive(Clone, Copy, Debug)]
enum Found {
    Bell(usize),
    Packet(usize),
    End(usize),
    Death(usize),
    /// Where there are no bells.
    Arrivals,
    DeathOf(usize),
    Signal,
}

/// A coordinator's life: until the run has ended, or it cannot go on.
pub(crate) fn coordinate<W: Sight>(
    world: W,
    pod: &Rc<RefCell<Pod>>,
    yielder: &Yielder<(), Pause>,
) -> Result<Outcome, Failure> {
    let (plan, journal) = {
        let mut pod = pod.borrow_mut();
        pod.listening = true;
        pod.say(|| "coordinator: starts".to_owned());
        (pod.case.plan.clone(), pod.journal.clone())
    };
    let is_sidecar = plan.steps.iter().any(|step| step.restarts != Restarts::Never);
    let mut told_to_end = false;
    let mut looks = (!pod.borrow().case.has_bells()).then(|| Looks::new(plan.steps.len()));
    let mut coordinator = Coordinator::start(world, plan, RUN, &journal, false)?;
    loop {
        coordinator.settle()?;
        let finished = match is_sidecar {
            true => coordinator.finished().filter(|_| told_to_end),
            false if told_to_end => coordinator.finished(),
            false => coordinator.finished_for_good(),
        };
        if let Some(outcome) = finished {
            return Ok(outcome);
        }
        let now = pod.borrow().now;
        let last_call = coordinator.last_call().filter(|at| !is_sidecar && *at > now);
        let until = [coordinator.next_wake(), last_call].into_iter().flatten().min();
        let due = looks.as_ref().map(Looks::next_at);
        yielder.suspend(due.map_or(Pause::Wait(until), |due| Pause::Look(until, due)));
        let found = findings(&mut pod.borrow_mut());
        for found in found {
            hand_in(&mut coordinator, looks.as_mut(), pod, found, &mut told_to_end);
        }
        if let Some(looks) = looks.as_mut().filter(|looks| looks.next_at() <= pod.borrow().now) {
            looks.look(&mut coordinator);
        }
        if until.is_some_and(|at| at <= pod.borrow().now) {
            coordinator.wake();
        }
    }
}

fn hand_in<W: Sight>(
    coordinator: &mut Coordinator<W>,
    looks: Option<&mut Looks>,
    pod: &Rc<RefCell<Pod>>,
    found: Found,
    told_to_end: &mut bool,
) {
    let step_of = |line: usize| id(pod.borrow().connections[line].step);
    match found {
        Found::Bell(line) => {
            pod.borrow_mut().connections[line].is_accepted = true;
            coordinator.connected(step_of(line), Link(line as u32));
        }
        Found::Packet(line) => {
            let packet = pod.borrow_mut().connections[line].to_coordinator.pop_front();
            let Some(packet) = packet.as_deref().and_then(Packet::parse) else { return };
            coordinator.packet(step_of(line), Link(line as u32), packet);
        }
        Found::End(line) => {
            // An earlier finding of this round may have hung it up.
            if pod.borrow().connections[line].hung_up {
                return;
            }
            pod.borrow_mut().connections[line].end_seen = true;
            coordinator.ended(step_of(line), Link(line as u32));
        }
        Found::Death(line) => {
            if !pod.borrow().connections[line].hung_up {
                coordinator.died(step_of(line), Link(line as u32));
            }
        }
        Found::Arrivals => {
            if let Some(looks) = looks {
                looks.look_early(coordinator);
            }
        }
        Found::DeathOf(sighting) => {
            let seen = pod.borrow().sightings[sighting].clone();
            if let Some(looks) = looks.filter(|_| !seen.hung_up) {
                looks.died(id(seen.step), Link(sighting as u32), coordinator);
                let mut pod = pod.borrow_mut();
                pod.containers[seen.step].holder_seen = pod.lock(seen.step);
            }
        }
        Found::Signal => {
            pod.borrow_mut().cancel_waits = false;
            if coordinator.state().outcome().is_none() {
                coordinator.requested(Request::Cancel);
            }
            *told_to_end = true;
        }
    }
}

/// What the coordinator's poll would show for a connection.
fn finding(pod: &Pod, line: usize) -> Option<Found> {
    let connection = &pod.connections[line];
    if connection.hung_up {
        None
    } else if !connection.is_accepted {
        Some(Found::Bell(line))
    } else if connection.end_seen {
        (pod.case.visible && !pod.exists(connection.shim)).then_some(Found::Death(line))
    } else if !connection.to_coordinator.is_empty() {
        Some(Found::Packet(line))
    } else {
        (!connection.shim_open).then_some(Found::End(line))
    }
}

/// Whether the coordinator would wake up now.
pub(crate) fn is_called(pod: &Pod) -> bool {
    pod.cancel_waits
        || !pod.arrivals.is_empty()
        || (0..pod.connections.len()).any(|line| finding(pod, line).is_some())
        || (0..pod.sightings.len()).any(|sighting| is_death(pod, sighting))
}

/// What the witness of a shim shows that was seen.
fn is_death(pod: &Pod, sighting: usize) -> bool {
    let seen = &pod.sightings[sighting];
    !seen.hung_up && seen.witness.is_some_and(|witness| !pod.exists(witness))
}

/// Whether a look would show the coordinator nothing that it has not seen.
pub(crate) fn is_nothing_new(pod: &Pod) -> bool {
    !is_called(pod)
        && (0..pod.containers.len()).all(|step| {
            let container = &pod.containers[step];
            container.report_stamp == container.report_seen && pod.lock(step) == container.holder_seen
        })
}

/// All of that, in an order that is anybody's guess.
fn findings(pod: &mut Pod) -> Vec<Found> {
    let signal = pod.cancel_waits.then_some(Found::Signal);
    let mut found: Vec<Found> =
        (0..pod.connections.len()).filter_map(|line| finding(pod, line)).chain(signal).collect();
    found.extend((0..pod.sightings.len()).filter(|seen| is_death(pod, *seen)).map(Found::DeathOf));
    found.extend((!pod.arrivals.is_empty()).then_some(Found::Arrivals));
    if found.len() > 1 {
        let first = pod.chooser.choose(found.len(), 0);
        found.rotate_left(first);
    }
    found
}
