//! `podturn alive`: the coordinator's liveness probe.

use std::process::ExitCode;
use std::time::Duration;

use podturn_wire::exit;

use super::place::Place;
use super::podturn_failed;
use crate::control;

/// Longer than any answer takes on a machine that works, and shorter than the `timeoutSeconds` that `inject` writes.
const PATIENCE: Duration = Duration::from_secs(8);

/// Arguments of `podturn alive`.
#[derive(clap::Args)]
#[command(after_long_help = "\
A coordinator that has died is started again by the kubelet anyway; this tells of one that is there and does nothing.

Exit codes: 0 it answers, 1 it does not, 2 there is no run, 125 podturn itself failed.")]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
}

/// Asks the coordinator how the run stands, and shows nothing of it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let volume = match arguments.place.find() {
        Ok(volume) => volume,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return podturn_failed(&error),
    };
    match runtime.block_on(async { tokio::time::timeout(PATIENCE, control::state(&volume)).await }) {
        Ok(Ok(_)) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            anstream::eprintln!("no: {error}");
            ExitCode::from(exit::FAILED)
        }
        Err(_) => {
            anstream::eprintln!("no: the coordinator has not answered for {} s", PATIENCE.as_secs());
            ExitCode::from(exit::FAILED)
        }
    }
}
