//! The world as the coordinator sees it: the smallest set of calls that its logic needs.
//!
//! Each call is one observable step on what the coordinator shares with others (journal, mailboxes, bells, processes), so
//! that a simulation can let the other side act, or kill the coordinator, between any two of them. No call waits; nothing
//! here decides anything.

use std::fmt;

use podturn_turn::{Event, Outputs, Process, Readiness, StepId, Time};
use podturn_wire::{InstanceId, Report, Turn};

use crate::volume::alive::{Holder, Stamp};

/// A connection to a bell, or what stands for one where there are none, as its owner numbers them. A number is used again only after
/// [`World::hang_up`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u32);

/// Why something could not be written to the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// No room is left (`ENOSPC`, `EDQUOT`). What was there before still stands, whole.
    Full,
    /// Anything else, in words.
    Failed(String),
}

impl fmt::Display for WriteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => out.write_str(
                "the shared volume is full; a step has written too much into its outputs, or it needs more room (inject --size-limit)",
            ),
            Self::Failed(why) => out.write_str(why),
        }
    }
}

/// What an attempt's turn encloses; mostly nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enclosing {
    /// The probe that the shim tries.
    pub readiness: Option<Readiness>,
    /// The values of the references that it listed, in their order.
    pub values: Vec<String>,
    /// Those of them, by place, that are the attempt's trace context where traces are sent.
    pub contexts: Vec<usize>,
}

impl Enclosing {
    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.readiness.is_none() && self.values.is_empty()
    }
}

/// The system calls of one coordinator.
pub trait World {
    /// `CLOCK_BOOTTIME` in ns. Not shared with anybody, so no step of its own.
    fn now(&mut self) -> Time;

    /// Appends the events to the journal: all of them or none.
    ///
    /// # Errors
    /// Then the journal is as it was.
    fn append(&mut self, events: &[Event]) -> Result<(), WriteError>;

    /// Gives the room away that the journal kept for the last words of a run on a full volume.
    fn release_reserve(&mut self);

    /// The report of the step, if a whole one is there. It is hostile input.
    fn read_report(&mut self, step: StepId) -> Option<Report>;

    /// What the step's command left in its outputs directory. It is hostile input.
    fn read_outputs(&mut self, step: StepId) -> Outputs;

    /// The references that this instance of the step's shim lists. They are hostile input.
    fn read_references(&mut self, step: StepId, instance: InstanceId) -> Vec<String>;

    /// The turn that lies in the step's mailbox, if a whole one does.
    fn read_turn(&mut self, step: StepId) -> Option<Turn>;

    /// Writes the step's turn aside and renames it in.
    ///
    /// # Errors
    /// Then the old one stands.
    fn write_turn(&mut self, step: StepId, turn: &Turn, enclosing: &Enclosing) -> Result<(), WriteError>;

    /// Sends one packet, without waiting. Whether it arrives does not matter: a lost ring only delays.
    fn ring(&mut self, link: Link);

    /// Who the kernel says is at the other end of the connection; `None` when it does not say (another process
    /// namespace).
    fn peer(&mut self, link: Link) -> Option<Process>;

    /// Whether the process at the other end is dead by the kernel's word (its pidfd). `true` also when there never was such
    /// a witness: then the end of the connection is all that can be known, unless it was only a silence ([`Sight::note_silent`]).
    fn is_peer_dead(&mut self, link: Link) -> bool;

    /// Gives the connection up, and the witness with it.
    fn hang_up(&mut self, link: Link);

    /// Whether the process lives (the same one, not a later one with its number, and not a zombie).
    fn is_alive(&mut self, process: &Process) -> bool;

    /// Sends SIGKILL. `false`: it may not, or there is no such process.
    fn kill(&mut self, process: &Process) -> bool;

    /// Does for a dead shim what it would have done itself: SIGKILLs what it left behind. Returns whether any of that
    /// tree, the process itself included, still lives.
    fn sweep(&mut self, process: &Process) -> bool;
}

/// The further calls of a coordinator that has no bells.
pub trait Sight: World {
    /// What tells that a process is dead.
    type Witness;

    /// The steps whose report has come since this was asked last, where the kernel says so, each once.
    fn arrivals(&mut self) -> Vec<StepId>;

    /// When the step's report came to be as it is; `None`: there is none.
    fn stamp(&mut self, step: StepId) -> Option<Stamp>;

    /// Who holds the lock of this instance.
    fn holder(&mut self, step: StepId, instance: InstanceId) -> Holder;

    /// Touches every turn, and the phases.
    fn beat(&mut self);

    /// The witness of the process that has this number now, if there is one.
    fn witness(&mut self, pid: u32) -> Option<Self::Witness>;

    /// Keeps what stands for a connection: a shim that was seen, and its process if that is known.
    fn keep_seen(&mut self, step: StepId, process: Option<(u32, Self::Witness)>) -> Link;

    /// Why such a connection is about to end: because its shim is not seen any more, or because it is dead.
    fn note_silent(&mut self, link: Link, is_silent: bool);

    /// Whether the kernel will say when its process is dead.
    fn has_witness(&mut self, link: Link) -> bool;
}
