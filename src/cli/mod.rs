//! Arguments, printing and exit codes. One file a command; the only room that prints or ends the process.

#[cfg(feature = "tools")]
mod advise;
mod alive;
mod archive;
mod check;
#[cfg(feature = "tools")]
mod complete;
#[cfg(feature = "tools")]
mod completions;
#[cfg(feature = "tools")]
mod container;
mod coordinate;
#[cfg(feature = "tools")]
mod difference;
#[cfg(feature = "tools")]
mod directory;
#[cfg(feature = "tools")]
mod engine;
#[cfg(feature = "tools")]
mod export;
mod graph;
mod init;
#[cfg(feature = "tools")]
mod inject;
mod input;
#[cfg(feature = "tools")]
mod lint;
mod listen;
#[cfg(feature = "tools")]
mod man;
#[cfg(feature = "tools")]
mod manifests;
mod place;
#[cfg(feature = "tools")]
mod policy;
mod record;
#[cfg(feature = "tools")]
mod rehearse;
#[cfg(feature = "tools")]
mod remote;
mod report;
#[cfg(feature = "resolve")]
mod resolve;
#[cfg(feature = "tools")]
mod run;
#[cfg(feature = "tools")]
mod schema;
#[cfg(feature = "tools")]
mod screen;
#[cfg(feature = "tools")]
mod spool;
mod status;
mod tail;
mod trace;
mod verbs;
mod watch;
#[cfg(feature = "tools")]
mod wiring;
mod written;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use podturn_wire::exit;

use crate::coordinator::asked::Verb;
use crate::volume::VolumeError;

/// Runs the containers of one Kubernetes pod in the order of a DAG.
#[derive(Parser)]
#[command(name = "podturn", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    color: colorchoice_clap::Color,
    #[cfg(feature = "tools")]
    #[command(flatten)]
    remote: remote::Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check a plan, and show how podturn understands it
    Check(check::Arguments),
    /// Print what images run: entrypoint, command, user, working directory, digest
    #[cfg(feature = "resolve")]
    Resolve(resolve::Arguments),
    /// Run a pod with a plan here and now, without a cluster
    #[cfg(feature = "tools")]
    Run(run::Arguments),
    /// Say what would be refused, and what will probably hurt: findings with codes, for people and for CI
    #[cfg(feature = "tools")]
    Lint(Box<lint::Arguments>),
    /// Wire pods that have a plan: manifests in, manifests for a cluster out
    #[cfg(feature = "tools")]
    Inject(Box<inject::Arguments>),
    /// Take out again what `inject` has added
    #[cfg(feature = "tools")]
    Uninject(inject::Undo),
    /// Write what wires pods with a plan at their creation: a policy of the API server, without a webhook
    #[cfg(feature = "tools")]
    Policy(Box<policy::Arguments>),
    /// Write a plan down for an engine whose steps are pods of their own: Argo Workflows, JobSet
    #[cfg(feature = "tools")]
    Export(export::Arguments),
    /// The init container: check the plan, lay the shared volume out
    Init(init::Arguments),
    /// The coordinator: hand out the turns until the plan has ended
    Coordinate(coordinate::Arguments),
    /// The coordinator's liveness probe: whether it answers
    Alive(alive::Arguments),
    /// Show how a run stands
    Status(status::Arguments),
    /// Show a run on the whole terminal, as it goes on, with keys for its verbs
    Watch(watch::Arguments),
    /// Show why a step is where it is, down to the cause
    Why(status::WhyArguments),
    /// Play a plan in virtual time, without running anything: what would run when, how would it end
    #[cfg(feature = "tools")]
    Rehearse(rehearse::Arguments),
    /// Draw the plan of a manifest, or of a run
    Graph(graph::Arguments),
    /// Compare what steps ask for with what runs used, and write what they should ask for
    #[cfg(feature = "tools")]
    Advise(advise::Arguments),
    /// Write a run down: as one HTML page, as JUnit XML, as Markdown
    Report(report::Arguments),
    /// End the plan: what runs is stopped, then finally steps run; a second one stops those too
    #[command(after_long_help = verbs::HELP)]
    Cancel(verbs::PlanArguments),
    /// The `preStop` hook of the coordinator: the pod is being deleted, all has to be over within its grace period
    Terminating(verbs::PlanArguments),
    /// Give no turn until `resume`; what runs goes on, and so do all time limits
    #[command(after_long_help = verbs::HELP)]
    Pause(verbs::PlanArguments),
    /// End a pause
    #[command(after_long_help = verbs::HELP)]
    Resume(verbs::PlanArguments),
    /// Run a Paused step again, in place
    #[command(after_long_help = verbs::HELP)]
    Retry(verbs::StepArguments),
    /// Count a step that waits, or is Paused, as Skipped: done, for all that depends on it
    #[command(after_long_help = verbs::HELP)]
    Skip(verbs::StepArguments),
    /// Let a step that needs an approval run
    #[command(after_long_help = verbs::HELP)]
    Approve(verbs::StepArguments),
    /// End one step: a task is Cancelled, a service has Succeeded
    #[command(after_long_help = verbs::HELP)]
    Stop(verbs::StepArguments),
    /// Print the JSON Schema of what podturn reads or writes
    #[cfg(feature = "tools")]
    Schema(schema::Arguments),
    #[cfg(feature = "tools")]
    #[command(hide = true)]
    Container(container::Arguments),
    /// Print the completion script of a shell
    #[cfg(feature = "tools")]
    Completions(completions::Arguments),
    /// Write the man pages of all commands
    #[cfg(feature = "tools")]
    Man(man::Arguments),
}

/// Reads the arguments, runs the command and returns its exit code. A misuse of the command line is 2, as bad input is.
#[must_use]
pub fn main() -> ExitCode {
    #[cfg(feature = "tools")]
    if let Some(code) = complete::answer(std::env::args_os()).or_else(|| remote::plugin(std::env::args_os())) {
        return code;
    }
    obey(std::env::args_os().collect())
}

/// Does what these words say, the program's name first.
fn obey(words: Vec<OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(&words) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print(); // help and the version, too
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(input::BAD_INPUT));
        }
    };
    arguments.color.write_global();
    #[cfg(feature = "tools")]
    if let Some(code) = arguments.remote.run(words.into_iter()) {
        return code;
    }
    run(arguments.command)
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Check(arguments) => check::run(&arguments),
        #[cfg(feature = "resolve")]
        Command::Resolve(arguments) => resolve::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Container(arguments) => container::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Lint(arguments) => lint::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Inject(arguments) => inject::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Uninject(arguments) => inject::undo(&arguments),
        #[cfg(feature = "tools")]
        Command::Policy(arguments) => policy::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Export(arguments) => export::run(&arguments),
        Command::Alive(arguments) => alive::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Coordinate(arguments) => coordinate::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Watch(arguments) => watch::run(&arguments),
        Command::Why(arguments) => status::why(&arguments),
        #[cfg(feature = "tools")]
        Command::Rehearse(arguments) => rehearse::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Advise(arguments) => advise::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Cancel(arguments) => verbs::plan(Verb::Cancel, &arguments),
        Command::Terminating(arguments) => verbs::terminating(&arguments),
        Command::Pause(arguments) => verbs::plan(Verb::Pause, &arguments),
        Command::Resume(arguments) => verbs::plan(Verb::Resume, &arguments),
        Command::Retry(arguments) => verbs::step(Verb::Retry, &arguments),
        Command::Skip(arguments) => verbs::step(Verb::Skip, &arguments),
        Command::Approve(arguments) => verbs::step(Verb::Approve, &arguments),
        Command::Stop(arguments) => verbs::step(Verb::Stop, &arguments),
        #[cfg(feature = "tools")]
        Command::Schema(arguments) => schema::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Completions(arguments) => completions::run(&arguments),
        #[cfg(feature = "tools")]
        Command::Man(arguments) => man::run(&arguments),
    }
}

/// Says that the volume cannot be used, and what may help; returns the exit code for it.
fn volume_error(error: &VolumeError) -> ExitCode {
    let help = match error.error.kind() {
        ErrorKind::NotFound => "is the volume mounted there? --volume or PODTURN_VOLUME names another place",
        ErrorKind::PermissionDenied => "the init container and the coordinator need the same user, or fsGroup",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the volume needs a larger sizeLimit",
        ErrorKind::ReadOnlyFilesystem => "the volume has to be mounted read-write here",
        _ => return podturn_failed(error),
    };
    let code = podturn_failed(error);
    anstream::eprintln!("  help: {help}");
    code
}

/// Prints on stdout, in colour where that is a terminal.
fn out(text: std::fmt::Arguments<'_>) {
    let mut stdout = anstream::stdout().lock();
    if let Err(error) = stdout.write_fmt(text).and_then(|()| stdout.flush()) {
        not_printed(&error);
    }
}

/// Prints a document on stdout, byte for byte.
fn out_as_it_is(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        not_printed(&error);
    }
}

/// Prints all of a reader on stdout, by the way that is given.
#[cfg(feature = "tools")]
fn copy_out(from: &mut impl std::io::Read, stdout: &mut impl Write) {
    if let Err(error) = std::io::copy(from, stdout).and_then(|_| stdout.flush()) {
        not_printed(&error);
    }
}

/// Stdout takes nothing (a full disk, a closed pipe), and a command that shows something has nothing left to do: it ends with 125, and
/// not in a panic.
#[expect(clippy::disallowed_methods, reason = "this is the command line, and it ends by its exit code")]
fn not_printed(error: &std::io::Error) -> ! {
    if error.kind() != std::io::ErrorKind::BrokenPipe {
        podturn_failed(&std::io::Error::new(error.kind(), format!("cannot write to stdout: {error}")));
    } // whoever closes a pipe (`| head`) has read enough, and needs no word
    #[cfg(feature = "tools")]
    remote::clear_away();
    std::process::exit(exit::SHIM_FAILED.into());
}

/// As `print!`, by [`out`].
macro_rules! show {
    ($($text:tt)*) => { $crate::cli::out(format_args!($($text)*)) };
}

/// As `println!`, by [`out`].
macro_rules! showln {
    () => { $crate::cli::out(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::out(format_args!("{}\n", format_args!($($text)*))) };
}

use {show, showln};

/// Says that podturn itself failed; returns the exit code for it.
fn podturn_failed(error: &dyn std::error::Error) -> ExitCode {
    let _ = writeln!(anstream::stderr(), "error: {error}"); // which may be closed
    ExitCode::from(exit::SHIM_FAILED)
}
