//! Where everything of a `podturn run` lies: a directory that goes with it.
//!
//! Whoever is killed removes nothing. So a run holds a lock in its directory (flock(2)), which the kernel takes from the dead, and the next
//! run removes the directories of those who held one. A directory that is to be kept has no lock, and nobody takes it for left behind.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::unistd::geteuid;

use super::place::RUN;
use super::run::say;

/// The lock.
const OWNER: &str = "owner";

/// How the lock is called until it is held.
const NEW_OWNER: &str = "owner.new";

/// One run's directory.
pub(super) struct Directory {
    path: PathBuf,
    /// `None`: it is to be kept.
    owner: Option<Flock<File>>,
}

impl Directory {
    /// Makes one, after those that are left behind are gone. `keep`: it stays at the end.
    ///
    /// # Errors
    /// When none can be made in the directory for temporary files.
    pub(super) fn make(keep: bool) -> io::Result<Self> {
        let place = std::env::temp_dir();
        let failed = |error: io::Error| {
            let why = format!("cannot make a directory for the run in {} (TMPDIR): {error}", place.display());
            io::Error::new(error.kind(), why)
        };
        let whole = place.canonicalize().map_err(failed)?;
        sweep(&whole);
        let mut private = fs::DirBuilder::new();
        private.mode(0o700); // a pod's volumes are open to all of its users, and to nobody else of this machine
        for number in 0..1000 {
            let path = whole.join(format!("{RUN}{}-{number}", std::process::id()));
            match private.create(&path) {
                Ok(()) if keep => return Ok(Self { path, owner: None }),
                Ok(()) => {
                    let owner = own(&path).map_err(failed)?;
                    return Ok(Self { path, owner: Some(owner) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.owner.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        } else {
            say(&format!("podturn: the volumes of this run are in {}\n", self.path.join("volumes").display()));
        }
    }
}

/// Takes the lock, which has its name only once it is held: nobody finds one that is not held yet.
fn own(directory: &Path) -> io::Result<Flock<File>> {
    let new = directory.join(NEW_OWNER);
    let file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
    let owner = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
    fs::rename(&new, directory.join(OWNER))?;
    Ok(owner)
}

/// Removes what runs of this user have left that were killed. What cannot be removed is the next one's to try again.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_run = entry.file_name().to_str().is_some_and(|name| name.starts_with(RUN));
        let is_own = |known: fs::Metadata| known.is_dir() && known.uid() == geteuid().as_raw();
        if is_run && entry.metadata().is_ok_and(is_own) {
            let path = entry.path();
            if let Some(_owner) = take_over(&path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// The lock of a run that is gone; `None`: it lives, or nobody can say.
fn take_over(directory: &Path) -> Option<Flock<File>> {
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(directory.join(OWNER)).ok()?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).ok()
}
