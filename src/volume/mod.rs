//! Mailboxes, bells, journal, published state: all that touches the shared volume.
//!
//! Belongs here: how each file of `docs/protocol.md` is read and written, and the defence against what a step puts into its
//! own `out/`. Does not belong here: what is in a plan, what follows from a report, and when to write.

pub mod alive;
pub mod bell;
#[cfg(feature = "tools")]
mod copy;
mod journal;
mod layout;
mod lock;
pub mod log;
mod mailbox;
pub mod news;
mod outputs;
pub mod phases;
pub mod published;
mod removal;
mod run;
pub mod schema;
mod shim;
pub mod usage;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[cfg(feature = "tools")]
pub use copy::write_copy;
pub use journal::Journal;
pub use layout::{lay_out, lay_out_without_shim};
pub use lock::{Lock, Locked};
pub use mailbox::{Mailboxes, Spoilt};
pub use outputs::{OUTPUT_MAX, OUTPUTS_MAX};
pub use run::{Bell, Durability, Placement, Resources, Run};
pub use shim::{GATE, PROBE, SHIM};

use podturn_wire::names;

/// The shared volume, seen whole.
#[derive(Clone, Debug)]
pub struct Volume {
    path: PathBuf,
}

/// Why the volume could not be used: what was tried, where, and what the kernel said.
#[derive(Debug)]
pub struct VolumeError {
    /// What was tried, for a person: "cannot read".
    pub what: String,
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

impl VolumeError {
    fn new(what: &str, path: &Path, error: impl Into<io::Error>) -> Self {
        Self { what: what.to_owned(), path: path.to_owned(), error: error.into() }
    }
}

impl std::fmt::Display for VolumeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.what, self.path.display(), self.error)
    }
}

impl std::error::Error for VolumeError {}

impl Volume {
    /// The volume that is mounted here.
    ///
    /// # Errors
    /// When it is no directory.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        let meta =
            fs::metadata(path).map_err(|error| VolumeError::new("cannot open the shared volume", path, error))?;
        if !meta.is_dir() {
            return Err(VolumeError::new("cannot open the shared volume", path, io::ErrorKind::NotADirectory));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The init container's stamp; `None`: nobody has laid this volume out yet.
    ///
    /// # Errors
    /// When it cannot be read, or is not one of this version.
    pub fn read_run(&self) -> Result<Option<Run>, VolumeError> {
        let path = self.path.join(names::RUN);
        match fs::read(&path) {
            Ok(bytes) => {
                let run = serde_json::from_slice(&bytes);
                run.map(Some).map_err(|error| VolumeError::new("cannot understand", &path, error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VolumeError::new("cannot read", &path, error)),
        }
    }

    /// Stamps the run: whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written. Then the old one stands.
    pub fn write_run(&self, run: &Run) -> Result<(), VolumeError> {
        let bytes = serde_json::to_vec_pretty(run).unwrap_or_default();
        self.replace(names::RUN, &bytes, run.durability)
    }

    /// Publishes the view of the run: whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written. Then the old one stands.
    pub fn publish(&self, state: &published::State) -> Result<(), VolumeError> {
        let mut bytes = serde_json::to_vec_pretty(state).unwrap_or_default();
        bytes.push(b'\n');
        self.replace(names::STATE, &bytes, Durability::Process) // a view: it can be made again
    }

    /// What was published last.
    ///
    /// # Errors
    /// When there is nothing yet, or it cannot be read.
    pub fn read_state(&self) -> Result<published::State, VolumeError> {
        let path = self.path.join(names::STATE);
        let bytes = fs::read(&path).map_err(|error| VolumeError::new("cannot read", &path, error))?;
        serde_json::from_slice(&bytes).map_err(|error| VolumeError::new("cannot understand", &path, error))
    }

    /// Publishes the phases for whoever looks on: whole or not at all.
    ///
    /// # Errors
    /// When they cannot be written. Then the old ones stand.
    pub fn publish_phases(&self, phases: &phases::Phases) -> Result<(), VolumeError> {
        let mut bytes = serde_json::to_vec(phases).unwrap_or_default();
        bytes.push(b'\n');
        self.replace(&format!("{}/{}", names::PUBLIC, names::PHASES), &bytes, Durability::Process)
    }

    /// Listens on the bell of `public/`. A socket that an earlier coordinator left is removed first.
    ///
    /// # Errors
    /// Those of bind(2).
    pub fn listen_in_public(&self) -> Result<std::os::fd::OwnedFd, VolumeError> {
        let path = self.path.join(names::PUBLIC);
        let listening = File::open(&path).and_then(|directory| bell::listen_at(&directory, names::BELL));
        listening.map_err(|error| VolumeError::new("cannot listen in", &path, error))
    }

    /// Writes a file aside and renames it in. What did not fit is removed: its room may be what the journal needs next.
    fn replace(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), VolumeError> {
        let (path, aside) = (self.path.join(name), self.path.join(format!(".{}.new", name.replace('/', "-"))));
        let written = write_aside(&aside, bytes, durability).and_then(|()| fs::rename(&aside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        let synced = written.and_then(|()| match durability {
            Durability::Process => Ok(()),
            Durability::Node => File::open(&self.path)?.sync_all(),
        });
        synced.map_err(|error| VolumeError::new("cannot write", &path, error))
    }
}

fn write_aside(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o644))?; // whatever the umask
    file.write_all(bytes)?;
    match durability {
        Durability::Process => Ok(()),
        Durability::Node => file.sync_data(),
    }
}
