//! `podturn container`: the first process of a local pod's container. Not for people.

use std::path::PathBuf;
use std::process::ExitCode;

use podturn_wire::exit;

use crate::local::container;

/// What containerd's kubelet shows for a container that could not be started (StartError).
const START_ERROR: u8 = 128;

/// Arguments of `podturn container`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What the container is
    spec: PathBuf,
}

/// Only comes back if the container could not be started.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let error = container::enter(&arguments.spec);
    anstream::eprintln!("podturn: {error}");
    ExitCode::from(match error {
        container::EnterError::Exec(_, nix::errno::Errno::ENOENT) => exit::NOT_FOUND,
        _ => START_ERROR,
    })
}
