//! `podturn coordinate`: the long-running program of the sidecar.

use std::any::Any;
use std::path::PathBuf;
use std::process::ExitCode;

use podturn_turn::Outcome;
use podturn_wire::exit;
use tokio::sync::mpsc::Receiver;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{podturn_failed, volume_error};
use crate::control;
use crate::coordinator::asked::Asked;
use crate::coordinator::{Finished, serve};
use crate::process;
use crate::view;
use crate::volume::{Placement, Volume};

/// Arguments of `podturn coordinate`.
#[derive(clap::Args)]
#[command(after_long_help = "\
It takes up the run where its journal ends, whoever wrote it: it may be killed and started again at any time. SIGTERM \
says that the pod is being deleted, as `podturn terminating` does; SIGINT cancels the plan, and a second one its finally \
steps as well. As a native sidecar it goes on until it gets SIGTERM after the end.

Logs go to stderr, warnings only. PODTURN_LOG=info shows each event as one structured line, PODTURN_LOG=debug more.

Exit codes: as an ordinary container 0 Succeeded, 1 Failed, 143 Cancelled; as a native sidecar always 0; 125 podturn \
itself failed.")]
pub(super) struct Arguments {
    /// The shared volume
    #[arg(long, value_name = "DIR", env = "PODTURN_VOLUME", default_value = podturn_wire::names::MOUNT)]
    volume: PathBuf,
    /// Print no table at the end
    #[arg(long)]
    quiet: bool,
}

/// Coordinates until the end, and prints the table.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    process::set_umask();
    start_log();
    if let Err(error) = process::make_non_dumpable() {
        tracing::warn!("this process can be looked into by others of its user: {error}");
    }
    let volume = match Volume::open(&arguments.volume) {
        Ok(volume) => volume,
        Err(error) => return volume_error(&error),
    };
    match serve(&volume, open_control) {
        Ok(finished) => tell(&finished, arguments.quiet),
        Err(error) => podturn_failed(&error),
    }
}

/// Without the socket nobody can say anything to the run, and it goes on all the same.
fn open_control(volume: &Volume) -> (Box<dyn Any>, Option<Receiver<Asked>>) {
    match control::listen(volume) {
        Ok((control, questions)) => (Box::new(control), Some(questions)),
        Err(error) => {
            tracing::warn!("the control socket cannot be opened: {error}");
            (Box::new(()), None)
        }
    }
}

fn tell(finished: &Finished, quiet: bool) -> ExitCode {
    if !quiet {
        anstream::print!("{}{}", view::table(&finished.state), view::sentences(&finished.state));
    }
    match (finished.placement, finished.outcome) {
        (Placement::Sidecar, _) | (_, Outcome::Succeeded) => ExitCode::SUCCESS,
        (Placement::Container, Outcome::Failed) => ExitCode::from(exit::FAILED),
        (Placement::Container, Outcome::Cancelled) => ExitCode::from(exit::CANCELLED),
    }
}

fn start_log() {
    let wanted = std::env::var("PODTURN_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let filter: Targets = wanted.unwrap_or_else(|| Targets::new().with_default(tracing::Level::WARN));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    tracing_subscriber::registry().with(log).with(filter).init();
}
