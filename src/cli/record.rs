//! The record of a run: from its volume, a copy of one, or its coordinator's log.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use super::input::BAD_INPUT;
use super::{place, volume_error};
use crate::history::Record;
use crate::volume::usage;
use crate::volume::{Journal, Run, Volume};

/// What the init container laid down; or says why there is none.
pub(super) fn read_run(volume: &Path) -> Result<Run, ExitCode> {
    let volume = Volume::open(volume).map_err(|error| volume_error(&error))?;
    match volume.read_run() {
        Ok(Some(run)) => Ok(run),
        Ok(None) => {
            anstream::eprintln!("error: {} holds no run: nobody has laid it out", volume.path().display());
            anstream::eprintln!(
                "  help: --volume names a run's shared volume (/podturn in a pod) or a copy of it; `podturn run --keep` keeps one"
            );
            Err(ExitCode::from(BAD_INPUT))
        }
        Err(error) => Err(volume_error(&error)),
    }
}

/// Everything that the files of a volume hold of the run, whoever looks after it.
///
/// # Errors
/// When there is no run, or a file cannot be read.
pub(super) fn of_files(volume: &Volume) -> io::Result<Record> {
    Record::of_volume(volume).map_err(io::Error::other)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Everything that a coordinator's log tells of the run; `-` for stdin.
pub(super) fn of_log(log: &Path) -> Result<Record, ExitCode> {
    let name = if log == Path::new("-") { "<stdin>".to_owned() } else { log.display().to_string() };
    let mut bytes = Vec::new();
    let read = match log == Path::new("-") {
        true => io::stdin().lock().read_to_end(&mut bytes),
        false => File::open(log).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    if let Err(error) = read {
        anstream::eprintln!("error: cannot read {name}: {error}");
        return Err(ExitCode::from(BAD_INPUT));
    }
    Record::from_log(&String::from_utf8_lossy(&bytes)).map_err(|error| {
        anstream::eprintln!("error: {name}: {error}");
        ExitCode::from(BAD_INPUT)
    })
}

/// Everything that the volume holds of the run.
pub(super) fn of_volume(volume: &Path) -> Result<Record, ExitCode> {
    let run = read_run(volume)?;
    let state = place::read(volume)?.state;
    let volume = Volume::open(volume).map_err(|error| volume_error(&error))?;
    let events = Journal::read(&volume).map_err(|error| volume_error(&error))?;
    Ok(Record::new(run, events, state.started_at.as_deref(), usage::read(&volume)))
}
