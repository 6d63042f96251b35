//! A copy of a volume, made of what its run's log tells: for whoever looks on when the volume is gone.

use std::fs;
use std::io;
use std::path::Path;

use podturn_turn::Event;
use podturn_wire::names;

use super::Run;
use super::published::State;

/// Writes the files that views read into a directory. There are no mailboxes in it, and nobody can go on with it.
///
/// # Errors
/// Those of writing.
pub fn write_copy(directory: &Path, run: &Run, events: &[Event], state: &State) -> io::Result<()> {
    let mut journal = Vec::new();
    for event in events {
        serde_json::to_writer(&mut journal, event)?;
        journal.push(b'\n');
    }
    fs::write(directory.join(names::RUN), serde_json::to_vec(run)?)?;
    fs::write(directory.join(names::JOURNAL), journal)?;
    fs::write(directory.join(names::STATE), serde_json::to_vec(state)?)
}
