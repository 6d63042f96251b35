//! The record of a run: from its volume, or a copy of one.

use std::path::Path;
use std::process::ExitCode;

use super::input::BAD_INPUT;
use super::volume_error;
use crate::volume::{Run, Volume};

/// What the init container laid down; or says why there is none.
pub(super) fn read_run(volume: &Path) -> Result<Run, ExitCode> {
    let volume = Volume::open(volume).map_err(|error| volume_error(&error))?;
    match volume.read_run() {
        Ok(Some(run)) => Ok(run),
        Ok(None) => {
            anstream::eprintln!("error: nobody has laid {} out", volume.path().display());
            Err(ExitCode::from(BAD_INPUT))
        }
        Err(error) => Err(volume_error(&error)),
    }
}
