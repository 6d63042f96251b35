//! The loop's body: what happened becomes events, events become turns.
//!
//! Whoever drives it calls [`Coordinator::start`] once, then for each thing that happened the method of its name, then
//! [`Coordinator::settle`], which journals, applies, writes and rings. Nothing is acted on before it is in the journal.

use std::collections::BTreeSet;

use podturn_turn::{Event, Impossible, Kind, Outcome, Phase, Reason, Request, State, StepId, Time};
use podturn_wire::{Exit, Last, MESSAGE_MAX, Packet, Report};

use super::probe::{Found, Probing};
use super::seat::{Line, Seat, Unanswered};
use crate::trace;
use crate::when;

use super::world::{Enclosing, Link, World, WriteError};

/// One second, in ns.
pub(super) const SECOND: Time = 1_000_000_000;

/// How long after a coordinator's start, or after the end of a connection, a shim is waited for: it tries every 100 ms.
pub(super) const RECONNECT_WINDOW: Time = 3 * SECOND;

/// How often an unanswered turn is rung again, after 1, 2, 4 and 8 s. Then its shim is deaf.
const RINGS_AGAIN: u32 = 4;

/// More connections than a step's shim ever has. Who opens more harms that step only.
const LINES_MAX: usize = 32;

/// How long until a turn that could not be written is tried again.
const WRITE_AGAIN: Time = SECOND;

/// Why a coordinator cannot go on. Another one may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The journal cannot be written, for another reason than a full volume.
    Journal(String),
    /// An event that cannot follow the ones before: a damaged journal, or a bug.
    Impossible(Impossible),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Journal(why) => write!(f, "the journal cannot be written: {why}"),
            Self::Impossible(impossible) => write!(f, "the journal does not fit the plan: {impossible}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Impossible> for Failure {
    fn from(impossible: Impossible) -> Self {
        Self::Impossible(impossible)
    }
}

/// A run under way.
pub struct Coordinator<W> {
    pub(super) world: W,
    pub(super) state: State,
    pub(super) seats: Vec<Seat>,
    /// Seats by the time of their alarm.
    alarms: BTreeSet<(Time, StepId)>,
    /// Told, and not yet in the journal.
    pub(super) queue: Vec<Event>,
    /// Steps whose stop signal was told: their turn has to say so, also where nothing of it but its `ack` has moved.
    acks: Vec<StepId>,
    /// The journal has no room left, reserve included: nothing is written to it any more, and nothing new begins.
    silent: bool,
    /// What was applied since it was last asked for.
    applied: Vec<Event>,
    /// When the plan's end was first seen by this coordinator.
    pub(super) decided_at: Option<Time>,
}

impl<W: World> Coordinator<W> {
    pub(super) fn new(world: W, state: State) -> Self {
        let seats = vec![Seat::default(); state.plan().steps.len()];
        Self {
            world,
            state,
            seats,
            alarms: BTreeSet::new(),
            queue: Vec::new(),
            acks: Vec::new(),
            silent: false,
            applied: Vec::new(),
            decided_at: None,
        }
    }

    /// The state of the run, for views.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The processes of the shims that are known by the kernel's word.
    pub fn shims(&self) -> impl Iterator<Item = u32> {
        let ids = (0..self.seats.len() as u32).map(StepId);
        let known = ids.zip(&self.seats).filter_map(|(step, seat)| seat.told.process(self.state.instance(step)?));
        known.map(|process| process.pid)
    }

    /// The world, for whoever drives it.
    pub fn world(&mut self) -> &mut W {
        &mut self.world
    }

    /// When [`Coordinator::wake`] has something to do, if nothing else happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Time> {
        let seat = self.alarms.first().map(|(at, _)| *at);
        [seat, self.state.next_deadline()].into_iter().flatten().min()
    }

    // --- what happens ---

    /// A connection was accepted on the step's bell.
    pub fn connected(&mut self, step: StepId, link: Link) {
        let lines = &mut self.seats[step.index()].lines;
        if lines.len() < LINES_MAX {
            lines.push(Line { link, instance: None, ended: false });
        } else {
            self.world.hang_up(link);
        }
    }

    /// A packet came. It was consumed before, and is read for now (rule C3): the file is the truth.
    pub fn packet(&mut self, step: StepId, link: Link, packet: Packet) {
        let Some(line) = self.seats[step.index()].lines.iter_mut().find(|line| line.link == link) else { return };
        let is_hello = line.instance.is_none();
        line.instance = Some(packet.instance);
        if is_hello {
            self.handle_hello(step, link, packet);
        }
        self.read(step);
        self.rearm(step);
    }

    /// Something is new in the mailbox, where nobody rings.
    pub(super) fn looked(&mut self, step: StepId) {
        self.read(step);
        self.rearm(step);
    }

    /// A connection ended. Every packet before that was handed in.
    pub fn ended(&mut self, step: StepId, link: Link) {
        self.handle_end_of_line(step, link);
        self.rearm(step);
    }

    /// The process of a connection that had ended before is dead now.
    pub fn died(&mut self, step: StepId, link: Link) {
        self.handle_death(step, link);
        self.rearm(step);
    }

    /// The tries of a network probe have come to something. What the mailbox says of the attempt comes first: it may have ended.
    pub(super) fn probed(&mut self, found: Found) {
        let Probing { step, instance, attempt } = found.of;
        let name = &self.state.plan().steps[step.index()].name;
        if let Some(why) = &found.why {
            tracing::warn!(step = name, attempt, "{:?}: {why}", found.readiness);
        }
        self.read(step);
        self.rearm(step);
        let probed_at = self.world.now();
        let mut why = found.why.unwrap_or_default();
        why.truncate(why.floor_char_boundary(MESSAGE_MAX));
        self.tell(Kind::Probed { step, instance, report: 0, attempt, probed_at, readiness: found.readiness, why });
    }

    /// A person, or a signal to this process, asks for something.
    pub fn requested(&mut self, request: Request) {
        self.tell(Kind::Requested { request });
    }

    /// Time has passed. Whoever drives it hands in first what else has happened: a report wins over a deadline.
    pub fn wake(&mut self) {
        let now = self.world.now();
        while let Some((_, step)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.handle_alarm(step, now);
            self.rearm(step);
        }
        if self.state.next_deadline().is_some_and(|at| at <= now) {
            self.handle_deadline(now);
        }
    }

    // --- taking in ---

    /// A hello is answered by one ring: that is what stops the shim's grace clock (rule S4).
    fn handle_hello(&mut self, step: StepId, link: Link, packet: Packet) {
        if let Some(process) = self.world.peer(link) {
            let known = self.seats[step.index()].told.process(packet.instance);
            if known != Some(&process) {
                self.tell(Kind::Connected { step, instance: packet.instance, process });
            }
        }
        let seat = &mut self.seats[step.index()];
        // The same instance on a new connection: the old one broke, and its process lives.
        let stale: Vec<Link> = seat
            .lines
            .iter()
            .filter(|line| line.instance == Some(packet.instance) && line.link != link)
            .map(|line| line.link)
            .collect();
        seat.lines.retain(|line| !stale.contains(&line.link));
        if seat.told.present() == Some(packet.instance) {
            (seat.examine_at, seat.windows) = (None, 0);
            self.world.ring(link);
        }
        stale.into_iter().for_each(|link| self.world.hang_up(link));
    }

    /// The step's report, if it is one of this run.
    pub(super) fn read_report(&mut self, step: StepId) -> Option<Report> {
        self.world.read_report(step).filter(|report| report.run == self.state.run())
    }

    /// Reads the mailbox and tells what is new in it.
    pub(super) fn read(&mut self, step: StepId) {
        let report = self.read_report(step);
        if !report.is_some_and(|report| self.is_held_up(step, &report)) {
            self.take(step, report);
        }
    }

    /// As `read`, when nobody has to be waited for any more.
    pub(super) fn take_in(&mut self, step: StepId) {
        let report = self.read_report(step);
        self.take(step, report);
    }

    fn take(&mut self, step: StepId, report: Option<Report>) {
        let Some(report) = report else { return };
        self.take_answer(step, &report);
        let attempt = self.state.attempt(step);
        for kind in self.seats[step.index()].told.news(step, &report, attempt) {
            self.take_outputs(step, &kind);
            let kind = self.with_references(kind);
            match kind {
                Kind::StopSignal { .. } => self.acks.push(step),
                Kind::Arrived { .. } => self.handle_newcomer(step, &report),
                _ => {}
            }
            self.tell(kind);
        }
    }

    /// A newcomer lists its references in the report by which it arrives.
    fn with_references(&mut self, kind: Kind) -> Kind {
        match kind {
            Kind::Arrived { step, instance, report, last, .. } => {
                let references = self.world.read_references(step, instance);
                Kind::Arrived { step, instance, report, last, references }
            }
            other => other,
        }
    }

    /// Before the end of an attempt that may have succeeded: what it left.
    fn take_outputs(&mut self, step: StepId, kind: &Kind) {
        let (attempt, ended) = match *kind {
            Kind::Ended { attempt, ended, .. } => (attempt, ended),
            Kind::Arrived { last: Some(Last { attempt, ended: Some(ended), .. }), .. } => (attempt, ended),
            _ => return,
        };
        let plan = &self.state.plan().steps[step.index()];
        let is_success = matches!(ended.exit, Exit::Code(code) if plan.success_exit_codes.contains(&code));
        if !is_success || plan.service || attempt != self.state.attempt(step) {
            return;
        }
        let outputs = self.world.read_outputs(step);
        if !outputs.is_empty() {
            self.tell(Kind::Outputs { step, attempt, outputs });
        }
    }

    fn take_answer(&mut self, step: StepId, report: &Report) {
        let seat = &mut self.seats[step.index()];
        if seat.told.present() == Some(report.instance) && seat.unanswered.is_some_and(|open| report.turn >= open.turn)
        {
            seat.unanswered = None;
        }
    }

    /// What was waited for of the instance before is over.
    fn handle_newcomer(&mut self, step: StepId, report: &Report) {
        let now = self.world.now();
        let seat = &mut self.seats[step.index()];
        (seat.unanswered, seat.give_up_at, seat.windows) = (None, None, 0);
        seat.examine_at = seat.link(report.instance).is_none().then(|| now + RECONNECT_WINDOW);
    }

    /// Puts an event in line for the journal.
    pub(super) fn tell(&mut self, kind: Kind) {
        let before = self.queue.last().map_or(self.state.now(), |event| event.at);
        let now = self.world.now();
        self.tell_at(kind, now.max(before));
    }

    pub(super) fn tell_at(&mut self, kind: Kind, at: Time) {
        self.note(&kind);
        let seq = self.queue.last().map_or(self.state.seq(), |event| event.seq) + 1;
        self.queue.push(Event { seq, at, kind });
    }

    /// Remembers what was told: live and in replay alike.
    pub(super) fn note(&mut self, kind: &Kind) {
        match kind.step() {
            Some(step) => self.seats[step.index()].told.note(kind),
            None if matches!(kind, Kind::CoordinatorStarted { .. }) => {
                self.seats.iter_mut().for_each(|seat| seat.told.note(kind));
            }
            None => {}
        }
    }

    // --- acting ---

    /// Journals what was told, applies it, writes the turns that follow, and rings; until nothing new comes of it.
    ///
    /// # Errors
    /// A [`Failure`] after which this coordinator must end: what it did not journal it has not acted on.
    pub fn settle(&mut self) -> Result<(), Failure> {
        while self.apply()? {
            while let Some(step) = self.state.poll_turn() {
                self.deliver(step);
            }
            for step in std::mem::take(&mut self.acks) {
                if self.seats[step.index()].written_ack != self.state.turn_for(step).ack {
                    self.deliver(step);
                }
            }
            self.decide();
        }
        Ok(())
    }

    /// Answers what the core asks: the value of a step's `when`.
    fn decide(&mut self) {
        let Some(step) = self.state.question() else { return };
        let decision = when::decide(&self.state, step);
        self.tell(Kind::Decided { step, decision });
    }

    /// Journals and applies what was told. `false`: there was nothing.
    pub(super) fn apply(&mut self) -> Result<bool, Failure> {
        if self.queue.is_empty() {
            return Ok(false);
        }
        self.journal()?;
        for event in std::mem::take(&mut self.queue) {
            self.state.next(&event)?;
            self.applied.push(event);
        }
        if self.decided_at.is_none() && self.state.outcome().is_some() {
            self.decided_at = Some(self.world.now());
        }
        Ok(true)
    }

    /// The events that were applied since this was last called, for the log.
    pub fn take_applied(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.applied)
    }

    /// Makes what was told durable. A volume without room is an event too: the reserve is kept for it and what follows.
    fn journal(&mut self) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        match self.world.append(&self.queue) {
            Ok(()) => return Ok(()),
            Err(WriteError::Failed(why)) => return Err(Failure::Journal(why)),
            Err(full @ WriteError::Full) => tracing::error!("everything ends: {full}"),
        }
        self.world.release_reserve();
        self.tell(Kind::VolumeFull);
        // Without the reserve nothing more can be kept, but nothing new can begin either: all that follows are ends, and
        // whoever takes over reads them in the mailboxes.
        self.silent = self.world.append(&self.queue).is_err();
        Ok(())
    }

    /// What the turn of an attempt needs besides. That every reference has a value was seen before the grant.
    fn enclosing(&self, step: StepId) -> Enclosing {
        let readiness = self.state.plan().steps[step.index()].readiness.as_ref();
        Enclosing {
            readiness: readiness.filter(|readiness| !readiness.probe.is_network()).cloned(),
            values: self.state.replacements(step).unwrap_or_default(),
            contexts: trace::places(self.state.references(step)),
        }
    }

    /// Writes a step's turn and rings.
    pub(super) fn deliver(&mut self, step: StepId) {
        let turn = self.state.turn_for(step);
        let now = self.world.now();
        let enclosing = if turn.attempt.is_some() { self.enclosing(step) } else { Enclosing::default() };
        if let Err(error) = self.world.write_turn(step, &turn, &enclosing) {
            self.handle_unwritten(step, &error, now);
            return;
        }
        let seat = &mut self.seats[step.index()];
        (seat.write_at, seat.written_ack) = (None, turn.ack);
        if let Some(link) = seat.present_link() {
            seat.unanswered = Some(Unanswered { turn: turn.turn, again: 0, next_at: now + SECOND });
            self.world.ring(link);
        }
        self.call_back(step);
        self.rearm(step);
    }

    fn handle_unwritten(&mut self, step: StepId, error: &WriteError, now: Time) {
        let name = &self.state.plan().steps[step.index()].name;
        tracing::error!(step = name, "a turn cannot be written: {error}");
        self.seats[step.index()].write_at = Some(now + WRITE_AGAIN);
        if *error == WriteError::Full && !self.state.is_volume_full() {
            self.world.release_reserve();
            self.tell(Kind::VolumeFull);
        }
        self.rearm(step);
    }

    /// An attempt that was granted is no longer wanted (rule C10). The turn that says so is written, so a report that is
    /// read now and does not show it as begun never will.
    pub(super) fn call_back(&mut self, step: StepId) {
        let attempt = self.state.attempt(step);
        let seat = &self.seats[step.index()];
        if self.state.phase(step) != Phase::Stopping || seat.told.has_begun(attempt) {
            return;
        }
        // Whoever arrived after the newest event that was applied was never given it.
        let Some(instance) = seat.told.present().filter(|present| self.state.turn_for(step).instance == Some(*present))
        else {
            return;
        };
        self.read(step);
        let seat = &self.seats[step.index()];
        // Where it is waited for what a dead instance left behind, the report may be the next one's, and not be told yet.
        if seat.told.present() == Some(instance) && !seat.told.has_begun(attempt) && seat.burial.is_none() {
            self.tell(Kind::NotBegun { step, instance, attempt });
        }
    }

    // --- time ---

    fn handle_alarm(&mut self, step: StepId, now: Time) {
        let seat = &mut self.seats[step.index()];
        if seat.write_at.is_some_and(|at| at <= now) {
            self.deliver(step);
        }
        self.handle_burial(step, now);
        self.handle_missing(step, now);
        self.handle_silence(step, now);
        self.handle_hopeless(step, now);
    }

    /// A turn is not answered: its ring may be lost, or its shim deaf.
    fn handle_silence(&mut self, step: StepId, now: Time) {
        let is_due = |seat: &Seat| seat.unanswered.is_some_and(|open| open.next_at <= now);
        if !is_due(&self.seats[step.index()]) {
            return;
        }
        self.read(step); // its own ring may be lost, too
        let seat = &mut self.seats[step.index()];
        let Some(open) = seat.unanswered.as_mut().filter(|open| open.next_at <= now) else { return };
        if open.again < RINGS_AGAIN {
            open.again += 1;
            open.next_at = now + (SECOND << open.again);
            if let Some(link) = seat.present_link() {
                self.world.ring(link);
            }
        } else {
            seat.unanswered = None;
            self.handle_deafness(step, now);
        }
    }

    /// A deadline of the core is due. What the mailboxes say comes first (rule C11): an end that was stamped in time wins.
    fn handle_deadline(&mut self, now: Time) {
        for step in self.state.concerned_by_deadline(now) {
            self.read(step);
            self.rearm(step);
        }
        self.tell(Kind::Deadline);
    }

    pub(super) fn rearm(&mut self, step: StepId) {
        let seat = &mut self.seats[step.index()];
        let next = seat.next_alarm();
        if seat.alarm == next {
            return;
        }
        if let Some(old) = std::mem::replace(&mut seat.alarm, next) {
            self.alarms.remove(&(old, step));
        }
        self.alarms.extend(next.map(|at| (at, step)));
    }

    // --- the end ---

    /// How the plan ended, once every shim that ever came has its last turn and is gone (rule C12).
    #[must_use]
    pub fn finished(&self) -> Option<Outcome> {
        let outcome = self.state.outcome()?;
        self.seats.iter().all(|seat| seat.told.present().is_none()).then_some(outcome)
    }

    /// As `finished`, for a coordinator that nobody starts again: containers that are still to come (their images are
    /// being pulled) would find nobody, so they are waited for, but not longer than a step that is due.
    pub fn finished_for_good(&mut self) -> Option<Outcome> {
        let outcome = self.finished()?;
        let absent = self.seats.iter().enumerate().filter(|(_, seat)| !seat.told.has_arrived());
        let absent: Vec<StepId> = absent.map(|(index, _)| StepId(index as u32)).collect();
        let is_awaited = |step: &StepId| self.state.reason(*step) != Some(Reason::NeverArrived);
        if absent.iter().any(is_awaited) {
            let now = self.world.now();
            self.last_call().filter(|at| *at <= now)?;
        }
        for step in absent {
            self.read(step); // as before `NeverArrived` (rule C11): its ring may be unread
            self.rearm(step);
        }
        self.queue.is_empty().then_some(outcome)
    }

    /// Whether something was told that [`Coordinator::settle`] has not acted on yet.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When [`Coordinator::finished_for_good`] stops waiting for containers that never came.
    #[must_use]
    pub fn last_call(&self) -> Option<Time> {
        let wait = self.state.plan().arrival_timeout.saturating_mul(1_000_000);
        self.decided_at.map(|at| at.saturating_add(wait))
    }
}
