//! The real world: volume, bells, processes, clock.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use podturn_turn::{Event, Outputs, Probe, Process, StepId, Time};
use podturn_wire::{Enclosed, InstanceId, ProbeKind, Quoted, Report, Strings, Turn};

use super::world::{Enclosing, Link, Sight, World, WriteError};
use crate::process::{self, Pidfd};
use crate::trace::Context;
use crate::volume::alive::{Holder, Stamp, Watched};
use crate::volume::{Journal, Mailboxes, Spoilt, bell};

/// Everything one coordinator touches.
pub(super) struct Ground {
    pub(super) mailboxes: Mailboxes,
    journal: Journal,
    names: Vec<String>,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Steps whose report is none, so that this is said once.
    spoilt: Vec<bool>,
    owners: Owners,
    /// What the commands of this run are told to be a part of.
    trace: Option<Context>,
    /// Instead of bells.
    watched: Option<Watched>,
}

/// One shim's connection, and the witness of its death.
pub(super) struct Connection {
    pub(super) step: StepId,
    /// `None` once the connection has ended and only the witness is kept.
    pub(super) socket: Option<OwnedFd>,
    pub(super) pidfd: Option<Pidfd>,
    pid: u32,
    /// Nothing says that its process is dead, only that it is not seen any more.
    is_silent: bool,
}

/// Which step a session or a control group belongs to. One that two steps share tells nothing of a step's processes.
#[derive(Default)]
struct Owners {
    sessions: HashMap<u32, Option<StepId>>,
    cgroups: HashMap<String, Option<StepId>>,
}

impl Owners {
    fn note(&mut self, step: StepId, process: &Process) {
        if let Some(session) = process.session {
            claim(self.sessions.entry(session).or_insert(Some(step)), step);
        }
        if let Some(cgroup) = &process.cgroup {
            claim(self.cgroups.entry(cgroup.clone()).or_insert(Some(step)), step);
        }
    }

    /// The process without what it shares with another step's.
    fn purged(&self, process: &Process) -> Process {
        let is_shared = |owner: Option<&Option<StepId>>| matches!(owner, Some(None));
        Process {
            session: process.session.filter(|session| !is_shared(self.sessions.get(session))),
            cgroup: process.cgroup.clone().filter(|cgroup| !is_shared(self.cgroups.get(cgroup))),
            ..*process
        }
    }
}

fn claim(owner: &mut Option<StepId>, step: StepId) {
    *owner = owner.filter(|owner| *owner == step);
}

impl Ground {
    pub(super) fn new(mailboxes: Mailboxes, journal: Journal, names: Vec<String>, trace: Option<Context>) -> Self {
        let (spoilt, owners) = (vec![false; names.len()], Owners::default());
        let (connections, free, watched) = (Vec::new(), Vec::new(), None);
        Self { mailboxes, journal, names, connections, free, spoilt, owners, trace, watched }
    }

    /// There are no bells: this is looked at.
    pub(super) fn watch(&mut self, watched: Watched) {
        self.watched = Some(watched);
    }

    /// Keeps a new connection.
    pub(super) fn keep(&mut self, step: StepId, socket: OwnedFd) -> Link {
        let (pid, pidfd) = process::peer(socket.as_fd()).unwrap_or((0, None));
        self.add(Connection { step, socket: Some(socket), pidfd, pid, is_silent: false })
    }

    fn add(&mut self, connection: Connection) -> Link {
        let connection = Some(connection);
        if let Some(index) = self.free.pop() {
            self.connections[index as usize] = connection;
            return Link(index);
        }
        self.connections.push(connection);
        Link(self.connections.len() as u32 - 1)
    }

    pub(super) fn connection(&mut self, link: Link) -> Option<&mut Connection> {
        self.connections.get_mut(link.0 as usize)?.as_mut()
    }

    fn name(&self, step: StepId) -> &str {
        &self.names[step.index()]
    }

    fn note_spoilt(&mut self, step: StepId, spoilt: Option<&Spoilt>) {
        let was = std::mem::replace(&mut self.spoilt[step.index()], spoilt.is_some());
        if let Some(spoilt) = spoilt.filter(|_| !was) {
            tracing::warn!(step = self.name(step), "the report of this step is ignored: {spoilt}");
        }
    }
}

fn write_error(error: &io::Error) -> WriteError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => WriteError::Full,
        _ => WriteError::Failed(error.to_string()),
    }
}

impl World for Ground {
    fn now(&mut self) -> Time {
        process::now()
    }

    fn append(&mut self, events: &[Event]) -> Result<(), WriteError> {
        self.journal.append(events).map_err(|error| write_error(&error))
    }

    fn release_reserve(&mut self) {
        self.journal.release_reserve();
    }

    fn read_report(&mut self, step: StepId) -> Option<Report> {
        match self.mailboxes.read_report(step) {
            Ok(report) => {
                self.note_spoilt(step, None);
                report
            }
            Err(spoilt) => {
                self.note_spoilt(step, Some(&spoilt));
                None
            }
        }
    }

    fn read_outputs(&mut self, step: StepId) -> Outputs {
        let outputs = self.mailboxes.read_outputs(step);
        for (key, why) in &outputs.refused {
            tracing::warn!(step = self.name(step), output = key, "not taken as an output: {why}");
        }
        outputs
    }

    fn read_turn(&mut self, step: StepId) -> Option<Turn> {
        self.mailboxes.read_turn(step).unwrap_or_else(|spoilt| {
            tracing::warn!(step = self.name(step), "the turn that lies there is written anew: {spoilt}");
            None
        })
    }

    fn read_references(&mut self, step: StepId, instance: InstanceId) -> Vec<String> {
        match self.mailboxes.read_references(step, instance) {
            Ok(references) => references.unwrap_or_default(),
            Err(spoilt) => {
                tracing::warn!(step = self.name(step), "its references are not known: {spoilt}");
                Vec::new()
            }
        }
    }

    fn write_turn(&mut self, step: StepId, turn: &Turn, enclosing: &Enclosing) -> Result<(), WriteError> {
        let written = match enclosing.is_empty() {
            true => self.mailboxes.write_turn(step, turn),
            false => write_enclosing(&self.mailboxes, step, turn, enclosing, self.trace.as_ref()),
        };
        written.map_err(|error| write_error(&error))
    }

    fn ring(&mut self, link: Link) {
        if let Some(socket) = self.connection(link).and_then(|connection| connection.socket.as_ref()) {
            bell::ring(socket);
        }
    }

    fn peer(&mut self, link: Link) -> Option<Process> {
        let connection = self.connection(link)?;
        let (step, pid) = (connection.step, connection.pid);
        let process = process::examine(pid)?;
        // It may be gone, and its number used again, since it connected.
        if connection.pidfd.as_ref().is_none_or(Pidfd::is_dead) {
            return None;
        }
        self.owners.note(step, &process);
        Some(process)
    }

    fn is_peer_dead(&mut self, link: Link) -> bool {
        let Some(connection) = self.connection(link) else { return true };
        connection.pidfd.as_ref().map_or(!connection.is_silent, Pidfd::is_dead)
    }

    fn hang_up(&mut self, link: Link) {
        if self.connections.get_mut(link.0 as usize).and_then(Option::take).is_some() {
            self.free.push(link.0);
        }
    }

    fn is_alive(&mut self, process: &Process) -> bool {
        process::is_alive(process)
    }

    fn kill(&mut self, process: &Process) -> bool {
        process::kill(process).is_ok()
    }

    fn sweep(&mut self, process: &Process) -> bool {
        process::sweep(&self.owners.purged(process))
    }
}

/// Without anything to look at nothing is seen.
impl Sight for Ground {
    type Witness = Pidfd;

    fn arrivals(&mut self) -> Vec<StepId> {
        self.watched.as_ref().map(Watched::take_arrivals).unwrap_or_default()
    }

    fn stamp(&mut self, step: StepId) -> Option<Stamp> {
        self.watched.as_ref()?.stamp(&self.mailboxes, step)
    }

    fn holder(&mut self, step: StepId, instance: InstanceId) -> Holder {
        self.watched.as_ref().map_or(Holder::Nobody, |watched| watched.holder(step, instance))
    }

    fn beat(&mut self) {
        if let Some(watched) = &self.watched {
            watched.beat(&self.mailboxes);
        }
    }

    fn witness(&mut self, pid: u32) -> Option<Pidfd> {
        Pidfd::open(pid).ok()
    }

    fn keep_seen(&mut self, step: StepId, process: Option<(u32, Pidfd)>) -> Link {
        let (pid, pidfd) = process.map_or((0, None), |(pid, pidfd)| (pid, Some(pidfd)));
        self.add(Connection { step, socket: None, pidfd, pid, is_silent: false })
    }

    fn note_silent(&mut self, link: Link, is_silent: bool) {
        if let Some(connection) = self.connection(link) {
            connection.is_silent = is_silent;
        }
    }

    fn has_witness(&mut self, link: Link) -> bool {
        self.connection(link).is_some_and(|connection| connection.pidfd.is_some())
    }
}

/// Writes a turn with what its attempt needs, in the form of the wire.
fn write_enclosing(
    mailboxes: &Mailboxes,
    step: StepId,
    turn: &Turn,
    enclosing: &Enclosing,
    trace: Option<&Context>,
) -> io::Result<()> {
    let mut values = references_to(&enclosing.values);
    let context = trace.zip(turn.attempt).map(|(trace, attempt)| trace.of_attempt(step, attempt).to_string());
    for place in &enclosing.contexts {
        if let (Some(value), Some(context)) = (values.get_mut(*place), &context) {
            *value = context;
        }
    }
    let command = match enclosing.readiness.as_ref().map(|readiness| &readiness.probe) {
        Some(Probe::Exec { command }) => references_to(command),
        _ => Vec::new(),
    };
    let probe = enclosing.readiness.as_ref().and_then(|readiness| {
        let kind = match &readiness.probe {
            Probe::Exec { .. } => ProbeKind::Exec(Strings::new(&command)),
            Probe::File { path } => ProbeKind::File(Quoted::new(path)),
            Probe::Log { contains } => ProbeKind::Log(Quoted::new(contains)),
            Probe::HttpGet { .. } | Probe::TcpSocket { .. } | Probe::Grpc { .. } => return None,
        };
        Some(podturn_wire::Probe {
            kind,
            initial_delay_seconds: readiness.initial_delay_seconds,
            period_seconds: readiness.period_seconds,
            timeout_seconds: readiness.timeout_seconds,
            success_threshold: readiness.success_threshold,
            failure_threshold: readiness.failure_threshold,
        })
    });
    mailboxes.write_turn_enclosing(step, turn, &Enclosed { probe, replace: Strings::new(&values) })
}

fn references_to(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}
