//! One coordinator at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use podturn_wire::names;

use super::{Volume, VolumeError};

/// Held as long as this lives, and by the kernel no longer than its process does (flock(2)).
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum Locked {
    /// Another coordinator holds it.
    Held,
    /// The file cannot be used.
    Failed(VolumeError),
}

impl Volume {
    /// Takes the lock of the one coordinator.
    ///
    /// # Errors
    /// [`Locked`], at once: it does not wait.
    pub fn lock(&self) -> Result<Lock, Locked> {
        let path = self.path.join(names::LOCK);
        let failed = |error: io::Error| Locked::Failed(VolumeError::new("cannot lock", &path, error));
        let file = open(&path).map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Lock { _file: file }),
            Err((_, Errno::EWOULDBLOCK)) => Err(Locked::Held),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).mode(0o600).open(path)
}
