//! What a shim does where containers share no sockets (`--bell file`): it looks at the turn again and again, and holds a lock.
//!
//! Belongs here: what stands in for a packet, for the end of a connection, and for being there. Does not belong here: what
//! follows from them, which is the same as with a bell.

use podturn_wire::InstanceId;
use podturn_wire::alive::{BEAT_EVERY, LOOK_EVERY, SILENT_AFTER, lock_byte};

use crate::calls::{self, Fd, Stat, open};
use crate::{Errno, Received};

/// The calls of a look: each is one observable step, as those of [`crate::Sys`] are.
pub trait Registers {
    /// As [`crate::Sys::now`].
    fn now(&mut self) -> u64;

    /// Takes a shared lock on this byte of `in/alive`. It is there until the process ends.
    ///
    /// # Errors
    /// Those of fcntl(2).
    fn lock(&mut self, byte: u64) -> Result<(), Errno>;

    /// A number that is another one when `turn.json` was changed, touched or replaced, and never 0; `None`: it cannot be told.
    fn turn_stamp(&mut self) -> Option<u64>;

    /// Sets the times of `report.json` to the present.
    fn touch_report(&mut self);
}

/// The turn that was looked at last, and when. All times as [`Registers::now`].
pub struct Look<R> {
    registers: R,
    /// The turn's stamp; 0: not known.
    seen: u64,
    /// Since when that is known.
    seen_at: u64,
    due: Option<u64>,
    /// When the report is to be touched.
    beat_at: u64,
}

impl<R: Registers> Look<R> {
    /// Nothing was looked at yet.
    pub const fn new(registers: R) -> Self {
        Self { registers, seen: 0, seen_at: 0, due: None, beat_at: 0 }
    }

    /// When to look again, at the latest; `None`: nobody is known to be there.
    pub const fn due(&self) -> Option<u64> {
        self.due
    }

    /// Nobody is known to be there any more.
    pub const fn give_up(&mut self) {
        self.due = None;
    }

    /// Shows that this instance lives, and looks whether a coordinator does.
    ///
    /// # Errors
    /// `ENOENT`: the turn was not touched since it was looked at last. Else those of fcntl(2).
    #[cold]
    #[inline(never)]
    pub fn begin(&mut self, instance: InstanceId) -> Result<(), Errno> {
        self.registers.lock(lock_byte(instance))?;
        let before = self.seen;
        if !self.has_news() || before == 0 {
            return Err(Errno::ENOENT);
        }
        (self.seen, self.due) = (before, Some(0)); // what has come is a ring as well
        Ok(())
    }

    /// Looks: a turn that was changed or touched is a ring, and one that was not for long the end.
    #[cold]
    #[inline(never)]
    pub fn take(&mut self) -> Received {
        let now = self.registers.now();
        self.due = Some(now + LOOK_EVERY);
        if now >= self.beat_at {
            self.beat_at = now + BEAT_EVERY;
            self.registers.touch_report();
        }
        if self.has_news() {
            self.seen_at = now;
            Received::Ring
        } else if now - self.seen_at > SILENT_AFTER {
            Received::Closed
        } else {
            Received::Nothing
        }
    }

    fn has_news(&mut self) -> bool {
        let seen = self.registers.turn_stamp().unwrap_or(self.seen);
        core::mem::replace(&mut self.seen, seen) != seen
    }
}

/// The two halves of the mailbox, and what lies in it for the lock.
pub(crate) struct Files {
    /// `in/alive`, which only the init container makes. It stays open: closing it would end the lock.
    alive: Fd,
    inbox: Fd,
    outbox: Fd,
}

impl Files {
    /// `None`: this run has bells.
    pub(crate) fn find(inbox: Fd, outbox: Fd) -> Option<Self> {
        let alive = calls::open_at(inbox, c"alive", open::READ, 0).ok()?;
        Some(Self { alive, inbox, outbox })
    }
}

impl Registers for Files {
    fn now(&mut self) -> u64 {
        calls::boot_time()
    }

    fn lock(&mut self, byte: u64) -> Result<(), Errno> {
        calls::lock_shared(self.alive, byte)
    }

    fn turn_stamp(&mut self) -> Option<u64> {
        Stat::of(self.inbox, c"turn.json").ok().map(|stat| stat.stamp())
    }

    fn touch_report(&mut self) {
        calls::touch_at(self.outbox, c"report.json");
    }
}
