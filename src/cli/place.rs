//! Which run a command is about: the volume of this pod, a copy of one, or that of a `podturn run` on this machine.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use podturn_wire::names;

use super::input::BAD_INPUT;
use super::podturn_failed;
use crate::control::{self, AskError};
use crate::view;
use crate::volume::published::State;

/// What the name of the directory of a `podturn run` begins with. Its process id follows, and a number.
pub(super) const RUN: &str = "podturn-run-";

/// The variable that names the shared volume.
const VOLUME: &str = "PODTURN_VOLUME";

/// Where the run is.
#[derive(Default, clap::Args)]
pub(super) struct Place {
    /// The shared volume, or a copy of it. Default: what PODTURN_VOLUME says, else /podturn, else that of the one `podturn run` of
    /// yours on this machine
    // Not read by clap: a variable that is always there must not stand against a FILE or a log that somebody names.
    #[arg(long, value_name = "DIR")]
    volume: Option<PathBuf>,
}

impl Place {
    /// The directory; or why there is none, said already.
    pub(super) fn find(&self) -> Result<PathBuf, ExitCode> {
        let by_variable = || std::env::var_os(VOLUME).filter(|name| !name.is_empty()).map(PathBuf::from);
        if let Some(volume) = self.volume.clone().or_else(by_variable) {
            return Ok(volume);
        }
        let mount = Path::new(names::MOUNT);
        if mount.join(names::RUN).exists() {
            return Ok(mount.to_owned());
        }
        let mut local = runs();
        match local.len() {
            1 => Ok(local.remove(0)),
            0 => {
                anstream::eprintln!(
                    "error: there is no run here: {} has none, and no `podturn run` is under way",
                    mount.display()
                );
                anstream::eprintln!("  help: --volume DIR names the shared volume, or a copy of it");
                Err(ExitCode::from(BAD_INPUT))
            }
            _ => {
                anstream::eprintln!("error: more than one `podturn run` is under way");
                local.iter().for_each(|run| anstream::eprintln!("  help: --volume {}", run.display()));
                Err(ExitCode::from(BAD_INPUT))
            }
        }
    }

    /// The run's volume, and its published state.
    pub(super) fn state(&self) -> Result<(PathBuf, State), ExitCode> {
        let volume = self.find()?;
        let state = read(&volume)?.state;
        Ok((volume, state))
    }
}

/// The volume of a run that goes on, kept there while somebody looks at it: that of a `podturn run` is seen through one of its
/// processes, and goes with the last one that has it.
pub(super) struct Held {
    found: PathBuf,
    /// The same, however long the run's processes live.
    volume: PathBuf,
    _directory: File,
}

impl Held {
    /// Keeps it there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn of(found: PathBuf) -> io::Result<Self> {
        let directory = File::open(&found)?;
        let through = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let volume = if through.join(names::RUN).exists() { through } else { found.clone() };
        Ok(Self { found, volume, _directory: directory })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.volume
    }

    /// Whether anybody has published on it how the run stands.
    pub(super) fn has_state(&self) -> bool {
        self.volume.join(names::STATE).exists()
    }

    /// Whether the run that it was found through has it still: nothing is published on it after that.
    pub(super) fn is_in_use(&self) -> bool {
        self.found.exists()
    }
}

/// How a run stands.
pub(super) struct Seen {
    /// How.
    pub(super) state: State,
    /// Up to when it is known (RFC 3339).
    pub(super) at: String,
    /// Why it may stand otherwise by now: nobody was there to say how a plan that had not ended has gone on.
    pub(super) doubt: Option<&'static str>,
}

/// What is said below the state that the last coordinator has published.
const STALE: &str = "no coordinator answers here: this is how the run stood when the last one published it";

/// How the run on a volume stands: by the coordinator's word, or where none is there by what it has published; or says why
/// that cannot be told.
pub(super) fn read(volume: &Path) -> Result<Seen, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(control::state(volume))) {
        Ok(Ok(state)) => Ok(Seen { state, at: view::now(), doubt: None }),
        Ok(Err(late @ AskError::Late(_))) => {
            anstream::eprintln!("warning: {late}");
            read_file(volume)
        }
        Ok(Err(_)) | Err(_) => read_file(volume),
    }
}

/// How the plan of a run on this volume has ended, if it has.
pub(super) fn outcome(volume: &Path) -> Option<String> {
    let state: State = serde_json::from_slice(&fs::read(volume.join(names::STATE)).ok()?).ok()?;
    state.outcome
}

fn read_file(volume: &Path) -> Result<Seen, ExitCode> {
    let path = volume.join(names::STATE);
    let bytes = fs::read(&path).map_err(|error| {
        anstream::eprintln!("error: cannot read {}: {error}", path.display());
        anstream::eprintln!("  help: --volume names a volume on which a coordinator has begun, or a copy of it");
        ExitCode::from(BAD_INPUT)
    })?;
    let state: State = serde_json::from_slice(&bytes).map_err(|error| {
        podturn_failed(&std::io::Error::other(format!("{} is no state of podturn: {error}", path.display())))
    })?;
    // Nothing is known of the time after the file was written.
    let published = fs::metadata(&path).and_then(|file| file.modified());
    let at = published.map_or_else(|_| view::now(), view::at);
    let doubt = state.outcome.is_none().then_some(STALE);
    Ok(Seen { state, at, doubt })
}

/// The volumes of the `podturn run`s on this machine that this user may look into. Such a volume is mounted where only the run's
/// own processes see it, so the way leads through one of them (`/proc/PID/root`, proc(5)).
fn runs() -> Vec<PathBuf> {
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let seen_from_inside = |run: PathBuf| {
        let pid = run.file_name()?.to_str()?.strip_prefix(RUN)?.split('-').next()?.to_owned();
        Some(Path::new("/proc").join(pid).join("root").join(run.strip_prefix("/").ok()?))
    };
    list(&std::env::temp_dir())
        .filter_map(seen_from_inside)
        .flat_map(|run| list(&run.join("volumes")).collect::<Vec<_>>())
        .filter(|volume| volume.join(names::RUN).exists())
        .collect()
}
