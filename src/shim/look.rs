//! What a shim does where containers share no sockets (`--bell file`): it looks at the turn again and again, and holds a lock.
//!
//! Belongs here: what stands in for a packet, for the end of a connection, and for being there. Does not belong here: what
//! follows from them, which is the same as with a bell.

use podturn_wire::InstanceId;
use podturn_wire::alive::{BEAT_EVERY, LOOK_EVERY, SILENT_AFTER, lock_byte};

use crate::calls::{self, Fd, Stat, open};
use crate::{Errno, Received};

/// The turn that was looked at last, and when. All times as `calls::boot_time`.
pub(crate) struct Look {
    /// `in/alive`, which only the init container makes. It stays open: closing it would end the lock.
    file: Fd,
    /// The turn's `Stat::stamp`; 0: not known.
    seen: u64,
    /// Since when that is known.
    seen_at: u64,
    /// When to look again, at the latest; `None`: nobody is known to be there.
    pub(crate) due: Option<u64>,
    /// When the report is to be touched.
    beat_at: u64,
}

impl Look {
    /// `None`: this run has bells.
    pub(crate) fn find(inbox: Fd) -> Option<Self> {
        let file = calls::open_at(inbox, c"alive", open::READ, 0).ok()?;
        Some(Self { file, seen: 0, seen_at: 0, due: None, beat_at: 0 })
    }

    /// Shows that this instance lives, and looks whether a coordinator does.
    ///
    /// # Errors
    /// `ENOENT`: the turn was not touched since it was looked at last. Else those of fcntl(2).
    #[cold]
    #[inline(never)]
    pub(crate) fn begin(&mut self, inbox: Fd, instance: InstanceId) -> Result<(), Errno> {
        calls::lock_shared(self.file, lock_byte(instance))?;
        let before = self.seen;
        if !self.has_news(inbox) || before == 0 {
            return Err(Errno::ENOENT);
        }
        (self.seen, self.due) = (before, Some(0)); // what has come is a ring as well
        Ok(())
    }

    /// Looks: a turn that was changed or touched is a ring, and one that was not for long the end.
    #[cold]
    #[inline(never)]
    pub(crate) fn take(&mut self, inbox: Fd, outbox: Fd) -> Received {
        let now = calls::boot_time();
        self.due = Some(now + LOOK_EVERY);
        if now >= self.beat_at {
            self.beat_at = now + BEAT_EVERY;
            calls::touch_at(outbox, c"report.json");
        }
        if self.has_news(inbox) {
            self.seen_at = now;
            Received::Ring
        } else if now - self.seen_at > SILENT_AFTER {
            Received::Closed
        } else {
            Received::Nothing
        }
    }

    fn has_news(&mut self, inbox: Fd) -> bool {
        let seen = Stat::of(inbox, c"turn.json").map_or(self.seen, |stat| stat.stamp());
        core::mem::replace(&mut self.seen, seen) != seen
    }
}
