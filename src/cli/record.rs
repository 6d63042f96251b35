//! The record of a run: from its volume, a copy of one, or its coordinator's log; and which of them a command looks at.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use podturn_turn::Impossible;

use super::input::{self, BAD_INPUT};
use super::place::{self, Place, Seen};
use super::volume_error;
use crate::history::{History, Record};
use crate::view;
use crate::volume::usage;
use crate::volume::{Journal, Run, Volume};

/// Which run a command looks at: that of a volume, or the one that a coordinator's log tells of.
#[derive(clap::Args)]
pub(super) struct Lookup {
    /// The run that the coordinator's log tells of; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "volume")]
    pub(super) from_logs: Option<PathBuf>,
    #[command(flatten)]
    pub(super) place: Place,
}

/// What is said below the state at the end of a log.
const CUT: &str = "the log ends before the plan: this is how the run stood there";

impl Lookup {
    /// How the run stands.
    pub(super) fn look(&self) -> Result<Seen, ExitCode> {
        let Some(log) = &self.from_logs else { return place::read(&self.place.find()?) };
        let history = played(&of_log(log)?)?;
        let at = history.ends_at.unwrap_or_else(view::now);
        let doubt = history.state.outcome.is_none().then_some(CUT);
        Ok(Seen { state: history.state, at, doubt })
    }

    /// Everything that is known of the run.
    pub(super) fn record(&self) -> Result<Record, ExitCode> {
        match &self.from_logs {
            Some(log) => of_log(log),
            None => of_volume(&self.place.find()?),
        }
    }
}

/// The record, moment by moment.
pub(super) fn played(record: &Record) -> Result<History, ExitCode> {
    History::of(record).map_err(|impossible| not_whole(&impossible))
}

/// Says that a record cannot be played.
pub(super) fn not_whole(impossible: &Impossible) -> ExitCode {
    anstream::eprintln!("error: this is not one run, whole: {impossible}");
    ExitCode::from(BAD_INPUT)
}

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
    let name = input::name(log);
    let mut bytes = Vec::new();
    let read = match input::is_stdin(log) {
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
