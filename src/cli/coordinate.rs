//! `podturn coordinate`: the long-running program of the sidecar.

use std::any::Any;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use podturn_turn::Outcome;
use podturn_wire::exit;
use tokio::sync::mpsc::Receiver;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::listen::Listen;
use super::{archive, podturn_failed, trace, volume_error};
use crate::control;
use crate::coordinator::asked::Asked;
use crate::coordinator::log::{Log, Writer};
use crate::coordinator::{Finished, hold_signals, serve};
use crate::page;
use crate::process;
use crate::view;
use crate::volume::{Placement, Volume};

/// Where the events of the journal stand among what PODTURN_LOG can choose.
const EVENTS: &str = "podturn::events";

/// Arguments of `podturn coordinate`.
#[derive(clap::Args)]
#[command(after_long_help = "\
It takes up the run where its journal ends, whoever wrote it: it may be killed and started again at any time. SIGTERM \
says that the pod is being deleted, as `podturn terminating` does; SIGINT cancels the plan, and a second one its finally \
steps as well. As a native sidecar it goes on until it gets SIGTERM after the end.

Logs go to stderr. Where that is no terminal they are JSON: a line for the run, for every event and for the outcome, from which \
`podturn report --from-logs` makes the same page as from the volume (`podturn schema log`). Outputs of steps and parameters \
are in it. On a terminal they are text, warnings only. PODTURN_LOG=off, warn, info or debug says how much.

The OTEL_* variables of OpenTelemetry ask for a trace of the run: OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 is enough.

Exit codes: as an ordinary container 0 Succeeded, 1 Failed, 143 Cancelled; as a native sidecar always 0; 125 podturn \
itself failed.")]
pub(super) struct Arguments {
    /// The shared volume
    #[arg(long, value_name = "DIR", env = "PODTURN_VOLUME", default_value = podturn_wire::names::MOUNT)]
    volume: PathBuf,
    /// Print no table at the end
    #[arg(long)]
    quiet: bool,
    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", env = "PODTURN_LOG_FORMAT", default_value = "auto")]
    log: LogFormat,
    #[command(flatten)]
    listen: Listen,
    /// Keep state, journal and report in DIR/RUN at the end: on a volume that outlives the pod
    #[arg(long, value_name = "DIR", env = "PODTURN_ARCHIVE")]
    archive: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    /// JSON, but text on a terminal
    Auto,
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Coordinates until the end, and prints the table.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if let Err(error) = hold_signals() {
        return podturn_failed(&error);
    }
    process::set_umask();
    let (log, writer) = start_log(arguments.log);
    if let Err(error) = process::make_non_dumpable() {
        tracing::warn!("this process can be looked into by others of its user: {error}");
    }
    let volume = match Volume::open(&arguments.volume) {
        Ok(volume) => volume,
        Err(error) => return volume_error(&error),
    };
    let page = show(&arguments.listen, &volume);
    let traced = trace::asked(&volume);
    let served = serve(&volume, open_control, log, traced.as_ref().map(|traced| traced.context));
    let sending = traced.filter(|_| served.is_ok()).and_then(|traced| traced.send(&volume));
    if let (Ok(_), Some(archive)) = (&served, &arguments.archive) {
        archive::keep(&volume, archive);
    }
    let catch_up = || writer.iter().for_each(Writer::catch_up);
    catch_up(); // the table stands behind what it sums up
    let code = match served {
        Ok(finished) => tell(&finished, arguments.quiet),
        Err(error) => podturn_failed(&error),
    };
    if let Some(page) = page {
        page.finish();
    }
    if let Some(sending) = sending {
        let _ = sending.join();
    }
    catch_up();
    code
}

/// A page that cannot be shown is no reason not to run, and neither is a token that is none: then the page only shows.
fn show(listen: &Listen, volume: &Volume) -> Option<page::Served> {
    let address = listen.address?;
    let guard = listen.guard().unwrap_or_else(|why| {
        tracing::error!("nobody can act on the page: {why}");
        listen.read_only()
    });
    match page::listen(address, guard, volume) {
        Ok(served) => {
            tracing::info!("the page is at http://{}/", served.address);
            Some(served)
        }
        Err(error) => {
            tracing::error!("nobody can be shown the run at {address}: {error}");
            None
        }
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
        // Its reader may be gone: that changes nothing of how the plan ended.
        let _ = write!(anstream::stdout(), "{}{}", view::table(&finished.state), view::sentences(&finished.state));
    }
    match (finished.placement, finished.outcome) {
        (Placement::Sidecar, _) | (_, Outcome::Succeeded) => ExitCode::SUCCESS,
        (Placement::Container, Outcome::Failed) => ExitCode::from(exit::FAILED),
        (Placement::Container, Outcome::Cancelled) => ExitCode::from(exit::CANCELLED),
    }
}

/// The log of events, if it is wanted as JSON, and what waits for its last line.
fn start_log(format: LogFormat) -> (Option<Log>, Option<Writer>) {
    let is_json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let wanted: Option<Targets> = std::env::var("PODTURN_LOG").ok().and_then(|wanted| wanted.parse().ok());
    let with_events =
        is_json && wanted.as_ref().is_none_or(|wanted| wanted.would_enable(EVENTS, &tracing::Level::INFO));
    if wanted.as_ref() == Some(&Targets::new().with_default(tracing::level_filters::LevelFilter::OFF)) {
        return (None, None);
    }
    let filter = wanted.unwrap_or_else(|| Targets::new().with_default(tracing::Level::WARN));
    if !is_json {
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
        tracing_subscriber::registry().with(log).with(filter).init();
        return (None, None);
    }
    let Ok((log, writer)) = Log::start(std::io::stderr(), view::now) else { return (None, None) };
    tracing_subscriber::registry().with(Messages(log.clone())).with(filter).init();
    (with_events.then_some(log), Some(writer))
}

/// Messages as lines of the same log.
struct Messages(Log);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Messages {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        self.0.message(&level, words.0);
    }
}

/// The message, and behind it `name=value` for each of its other fields.
struct Words(String);

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => self.0.push_str(&format!(" {name}={value:?}")),
        }
    }
}
