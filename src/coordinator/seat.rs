//! What the coordinator keeps of one step besides the core's state: its connections, and what it waits for.
//!
//! Belongs here: data, and the one alarm that follows from it. Nothing in here outlives a coordinator: after a restart it
//! is built again from journal, mailboxes and connections.

use podturn_turn::{Process, Time};
use podturn_wire::InstanceId;

use super::told::Told;
use super::world::Link;

/// One step, as the coordinator deals with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seat {
    pub(super) told: Told,
    /// Open connections, and those that have ended while their process lives.
    pub(super) lines: Vec<Line>,
    /// A turn that the shim has not answered.
    pub(super) unanswered: Option<Unanswered>,
    /// When an instance without a connection is examined (rule C9).
    pub(super) examine_at: Option<Time>,
    /// How often that was without a verdict.
    pub(super) windows: u32,
    /// A dead instance whose process tree is being waited for (rule C6).
    pub(super) burial: Option<Burial>,
    /// When an instance that neither answers nor can be ended is given up (rule C10).
    pub(super) give_up_at: Option<Time>,
    /// The `ack` of the turn that was written last.
    pub(super) written_ack: u64,
    /// When a turn that could not be written is tried again.
    pub(super) write_at: Option<Time>,
    /// The alarm that is set for this seat.
    pub(super) alarm: Option<Time>,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) link: Link,
    /// Who is at the other end; `None` before its hello.
    pub(super) instance: Option<InstanceId>,
    /// The connection has ended; its process had not, when that was looked at.
    pub(super) ended: bool,
}

/// A turn that was rung and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered {
    pub(super) turn: u64,
    /// How often it was rung again.
    pub(super) again: u32,
    pub(super) next_at: Time,
}

/// The wait for what a dead shim left behind.
#[derive(Clone, Debug)]
pub(super) struct Burial {
    pub(super) instance: InstanceId,
    pub(super) process: Process,
    /// After this it is said that something may still run.
    pub(super) until: Time,
    pub(super) next_at: Time,
    /// ns until the next look; doubles.
    pub(super) pause: Time,
}

impl Seat {
    /// The open connection of an instance: the newest one, where it connected again before the end of the old one came.
    pub(super) fn link(&self, instance: InstanceId) -> Option<Link> {
        self.lines.iter().rev().find(|line| line.instance == Some(instance) && !line.ended).map(|line| line.link)
    }

    /// The open connection of the present instance.
    pub(super) fn present_link(&self) -> Option<Link> {
        self.told.present().and_then(|instance| self.link(instance))
    }

    /// When something is due here.
    pub(super) fn next_alarm(&self) -> Option<Time> {
        let unanswered = self.unanswered.map(|unanswered| unanswered.next_at);
        let burial = self.burial.as_ref().map(|burial| burial.next_at);
        [unanswered, burial, self.examine_at, self.give_up_at, self.write_at].into_iter().flatten().min()
    }
}
