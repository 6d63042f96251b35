//! `journal.jsonl`: every event the coordinator acted on, one a line. What recovery reads.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use podturn_turn::Event;
use podturn_wire::names;

use super::{Durability, Volume, VolumeError};

/// The room that is kept for the last words of a run on a full volume, in bytes: some hundred events and turns.
const RESERVE: usize = 64 * 1024;

/// The file that holds that room.
const RESERVE_NAME: &str = ".journal.reserve";

/// The journal of a run, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    /// Up to here every line is whole.
    length: u64,
    reserve: PathBuf,
    durability: Durability,
    line: Vec<u8>,
}

impl Journal {
    /// Opens the journal and reads what is in it. A last line without its newline was never acted on and is cut off.
    ///
    /// # Errors
    /// When it cannot be read or made, or a line that is not the last one is damaged: then somebody else has written there,
    /// and nothing that follows can be trusted.
    pub fn open(volume: &Volume, durability: Durability) -> Result<(Self, Vec<Event>), VolumeError> {
        let path = volume.path().join(names::JOURNAL);
        let failed = |what: &'static str| {
            let path = path.clone();
            move |error: io::Error| VolumeError::new(what, &path, error)
        };
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.open(&path).map_err(failed("cannot open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("cannot read"))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let events = parse(&bytes[..whole]).map_err(failed("cannot understand"))?;
        let length = whole as u64;
        file.set_len(length).map_err(failed("cannot cut"))?;
        file.seek(SeekFrom::Start(length)).map_err(failed("cannot cut"))?;
        let reserve = volume.path().join(RESERVE_NAME);
        keep_room(&reserve);
        if durability == Durability::Node {
            File::open(volume.path()).and_then(|directory| directory.sync_all()).map_err(failed("cannot sync"))?;
        }
        Ok((Self { file, length, reserve, durability, line: Vec::new() }, events))
    }

    /// What is in the journal, for those who only look on. A last line without its newline is still being written.
    ///
    /// # Errors
    /// When it cannot be read, or a line is damaged.
    pub fn read(volume: &Volume) -> Result<Vec<Event>, VolumeError> {
        let path = volume.path().join(names::JOURNAL);
        let bytes = fs::read(&path).map_err(|error| VolumeError::new("cannot read", &path, error))?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        parse(&bytes[..whole]).map_err(|error| VolumeError::new("cannot understand", &path, error))
    }

    /// Appends the events by one write(2): all of them or none.
    ///
    /// # Errors
    /// Those of write(2) and fsync(2); `ENOSPC` and `EDQUOT` are for the caller to tell. The journal is as it was.
    pub fn append(&mut self, events: &[Event]) -> io::Result<()> {
        self.line.clear();
        for event in events {
            serde_json::to_writer(&mut self.line, event)?;
            self.line.push(b'\n');
        }
        let written = self.file.write_all(&self.line).and_then(|()| match self.durability {
            Durability::Process => Ok(()),
            Durability::Node => self.file.sync_data(),
        });
        if written.is_err() {
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
        } else {
            self.length += self.line.len() as u64;
        }
        written
    }

    /// Gives the kept room away.
    pub fn release_reserve(&mut self) {
        let _ = fs::remove_file(&self.reserve);
    }

    /// Removes a journal and its reserve: they belong to another run.
    pub(super) fn remove(volume: &Path) -> io::Result<()> {
        super::layout::remove_file(&volume.join(names::JOURNAL))?;
        super::layout::remove_file(&volume.join(RESERVE_NAME))
    }
}

/// A coordinator that was killed in the middle of this left less than that, so the length counts.
fn keep_room(reserve: &Path) {
    if fs::metadata(reserve).is_ok_and(|meta| meta.len() == RESERVE as u64) {
        return;
    }
    if let Err(error) = fs::write(reserve, [0; RESERVE]) {
        let _ = fs::remove_file(reserve);
        tracing::warn!("no room is kept for the end of the journal: {error}");
    }
}

fn parse(bytes: &[u8]) -> io::Result<Vec<Event>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines
        .map(|(index, line)| {
            serde_json::from_slice(line).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("line {} is damaged: {error}", index + 1))
            })
        })
        .collect()
}
