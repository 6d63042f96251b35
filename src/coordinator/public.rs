//! `public/`: the phases for whoever looks on, and the bell that says that they have changed.
//!
//! Belongs here: who listens, and ringing for them. Does not belong here: what is in the file (`volume::phases`), and when it is
//! written (the loop). Nobody here has any say, and nothing waits for anybody here.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use podturn_turn::State;

use crate::volume::bell::{self, Received};
use crate::volume::phases::Phases;
use crate::volume::{Bell, Volume, VolumeError};

/// How many may listen. Who finds no room is let go at once and comes back every 100 ms, reading the file each time.
const LISTENERS: usize = 256;

/// The listeners of one coordinator.
pub(super) struct Public {
    /// `None`: containers share no sockets, and whoever looks on has to look again.
    bell: Option<OwnedFd>,
    listeners: BTreeMap<u32, OwnedFd>,
    next: u32,
    /// What was written last.
    shown: Option<Phases>,
}

impl Public {
    /// Hangs the bell up, if there is to be one.
    ///
    /// # Errors
    /// Those of bind(2).
    pub(super) fn open(volume: &Volume, bell: Bell) -> Result<Self, VolumeError> {
        let bell = if bell == Bell::Socket { Some(volume.listen_in_public()?) } else { None };
        Ok(Self { bell, listeners: BTreeMap::new(), next: 0, shown: None })
    }

    /// What has to be watched for somebody who comes.
    pub(super) const fn bell(&self) -> Option<&OwnedFd> {
        self.bell.as_ref()
    }

    /// Takes one listener who waits, and rings once: a coordinator is there. `None`: nobody waits.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(super) fn accept(&mut self) -> std::io::Result<Option<Option<(u32, &OwnedFd)>>> {
        let Some(listening) = &self.bell else { return Ok(None) };
        let Some(socket) = bell::accept(listening.as_fd())? else { return Ok(None) };
        bell::ring(&socket);
        if self.listeners.len() == LISTENERS {
            return Ok(Some(None));
        }
        let name = self.next;
        self.next = self.next.wrapping_add(1);
        Ok(Some(Some((name, self.listeners.entry(name).insert_entry(socket).into_mut()))))
    }

    /// A listener has said something, which means nothing, or is gone.
    pub(super) fn hear(&mut self, name: u32) {
        let Some(socket) = self.listeners.get(&name) else { return };
        if bell::receive(socket.as_fd()) == Received::Ended {
            self.listeners.remove(&name); // closed, and so no longer watched
        }
    }

    /// Writes the phases if they have changed, and rings.
    pub(super) fn show(&mut self, volume: &Volume, state: &State) -> Result<(), VolumeError> {
        let phases = Phases::of(state);
        if self.shown.as_ref() == Some(&phases) {
            return Ok(());
        }
        volume.publish_phases(&phases)?;
        self.shown = Some(phases);
        self.listeners.values().for_each(bell::ring);
        Ok(())
    }
}
