//! Why a pod could not be run.

use std::io;
use std::path::PathBuf;

use super::mounts::MountError;
use super::namespaces::NamespaceError;

/// Why a pod could not be run.
#[derive(Debug)]
pub enum KubeletError {
    /// This machine does not allow it.
    Namespaces(NamespaceError),
    /// A mount failed.
    Mount(MountError),
    /// Another system call failed.
    System(String, io::Error),
    /// A volume's path of this machine is not there.
    NoHostPath(String, PathBuf),
}

impl std::fmt::Display for KubeletError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespaces(error) => error.fmt(f),
            Self::Mount(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::NoHostPath(volume, path) => write!(f, "volume {volume}: this machine has no {}", path.display()),
        }
    }
}

impl std::error::Error for KubeletError {}

impl From<NamespaceError> for KubeletError {
    fn from(error: NamespaceError) -> Self {
        Self::Namespaces(error)
    }
}

impl From<MountError> for KubeletError {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

pub(super) fn system(what: &str) -> impl FnOnce(io::Error) -> KubeletError {
    let what = what.to_owned();
    move |error| KubeletError::System(what, error)
}
