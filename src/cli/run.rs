//! `podturn run`: a pod with a plan, here and now, without a cluster.

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;

use podturn_wire::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::directory::Directory;
use super::init::BellName;
use super::listen::Listen;
use super::screen::{self, Screen};
use super::tail::Tails;
use super::written::{self, Format};
use super::{input, podturn_failed, trace};
use crate::history::Record;
use crate::inject::Options;
use crate::local::namespaces::Rights;
use crate::local::{
    self, End, Interrupt, Kubelet, KubeletError, LAST_WORDS, LocalPod, Message, Program, Runnable, runnable,
};
use crate::plan::{Checked, Diagnostic, Diagnostics, Manifest, Placement};
use crate::view;
use crate::volume::published::State;

/// How many messages may wait to be shown. Each is a few lines at most, so this bounds the memory; a container whose messages
/// nobody takes waits.
pub(super) const MESSAGES: usize = 32;

/// Arguments of `podturn run`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The containers' commands run as processes of this machine, with this machine's programs: images are not used. Each has its \
own root (this machine's, whose changes are forgotten at the end), its volumes where the manifest says, its own environment \
and its own session, in namespaces that end with the run. No root is needed where the kernel allows user namespaces.

Order is that of a kubelet: init containers, native sidecars, hooks, probes, restarts and the end. ConfigMaps and Secrets are \
looked up in the same file.

Ctrl-C ends the pod as a deletion does: tasks are stopped, then services, finally steps still run, all within the \
pod's grace. A second Ctrl-C kills everything. A pod whose \
containers restart (restartPolicy: Always) runs until then. `podturn status`, `why` and the verbs work beside it, in another \
terminal.

Where the OTEL_* variables of OpenTelemetry ask for traces (OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318), the run is one, a part of \
TRACEPARENT if that is set; with --engine local each command has its own TRACEPARENT. With another engine the coordinator's container gets \
these variables, so the endpoint is one that is reached from the pod.

Where GITHUB_STEP_SUMMARY names a file, as on GitHub's runners, a summary of the run is appended to it.

Examples:
  podturn run manifests/quickstart.yaml
  podturn run --report run.html --report junit.xml pod.yaml
  podturn run --json pod.yaml > state.json          the final state alone on stdout, logs on stderr
  kubectl kustomize overlays/ci | podturn run -
  podturn run --engine podman pod.yaml              in containers of their images, on this machine
  podturn run --engine kubectl -n ci pod.yaml       in a cluster

Exit codes: 0 Succeeded, 1 Failed, 2 the manifest or its plan cannot be used (nothing ran), 143 Cancelled, 125 podturn itself \
failed.")]
pub(super) struct Arguments {
    /// A manifest in which one pod has a plan; - for stdin
    pub(super) file: PathBuf,
    /// Print the final state as JSON on stdout; all logs go to stderr
    #[arg(long)]
    pub(super) json: bool,
    /// The value of a parameter of the plan; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = parameter)]
    pub(super) parameters: Vec<(String, String)>,
    /// A directory of this machine that stands in for a volume, as for a claim; may be given several times
    #[arg(long = "volume", value_name = "NAME=DIR", value_parser = stand_in)]
    pub(super) volumes: Vec<(String, PathBuf)>,
    /// How shims and coordinator notice each other: by sockets, or by looking at files, as in a runtime whose containers share no
    /// sockets, up to 0.2 s later each time. A pod that is wired already says so itself [default: socket]
    #[arg(long, value_enum, env = "PODTURN_BELL")]
    pub(super) bell: Option<BellName>,
    #[command(flatten)]
    pub(super) listen: Listen,
    /// Write the run down at its end: as FILE ends, .html for a page, .xml for JUnit XML, .md for Markdown; may be given several times
    #[arg(long = "report", value_name = "FILE", value_parser = report)]
    pub(super) reports: Vec<(Format, PathBuf)>,
    /// Keep the volumes of the run, and say where they are
    #[arg(long)]
    pub(super) keep: bool,
    #[command(flatten)]
    pub(super) elsewhere: super::engine::Elsewhere,
}

/// Runs the pod and shows its end.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(code) = super::engine::run(arguments) {
        return code;
    }
    let pod = match load(arguments) {
        Ok(Runnable { mut pod, warnings }) => {
            input::print(&warnings);
            if let Err(code) = listen(&mut pod, &arguments.listen) {
                return code;
            }
            pod
        }
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    let directory = match Directory::make(arguments.keep) {
        Ok(directory) => directory,
        Err(error) => return podturn_failed(&error),
    };
    match run_in(pod, arguments, &directory) {
        Ok(end) => {
            let code = tell(&end, arguments.json);
            write_down(end, &arguments.reports).unwrap_or(code)
        }
        Err(error @ KubeletError::NoHostPath(..)) => {
            say(&format!("error: {error}\n  help: make it first; nothing was started\n"));
            ExitCode::from(input::BAD_INPUT)
        }
        Err(error) => podturn_failed(&error),
    }
}

/// Writes the run into the files that are asked for. Whoever asked for a report relies on it, so that one cannot be written is a failure;
/// a summary that cannot is none.
pub(super) fn write_down(end: End, reports: &[(Format, PathBuf)]) -> Option<ExitCode> {
    let started = end.state.as_ref().and_then(|state| state.started_at.as_deref());
    let Some(record) = end.journal.map(|(run, events, usage)| Record::new(run, events, started, usage)) else {
        let (_, file) = reports.first()?;
        say(&format!("error: {} is not written: the plan never began\n", file.display()));
        return None; // whatever kept it from beginning is the exit code
    };
    if let Err(error) = written::append_summary(&record) {
        say(&format!("warning: {error}\n"));
    }
    let mut failed = None;
    for (format, file) in reports {
        let text = format.write(&record).map_err(std::io::Error::other);
        if let Err(error) = text.and_then(|text| written::put(file, &text)) {
            failed = Some(podturn_failed(&error));
        }
    }
    failed
}

/// The coordinator serves the page. Its containers share this machine's network.
fn listen(pod: &mut LocalPod, listen: &Listen) -> Result<(), ExitCode> {
    let Some(address) = listen.address else { return Ok(()) };
    let variables = listen.variables().map_err(|why| {
        say(&format!("error: {why}\n"));
        ExitCode::from(input::BAD_INPUT)
    })?;
    // Whether it can be had, and which port it is.
    let address = TcpListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| podturn_failed(&std::io::Error::other(format!("cannot listen on {address}: {error}"))))?;
    for container in pod.init_containers.iter_mut().chain(&mut pod.containers) {
        if let Program::Podturn(arguments) = &mut container.program
            && arguments.first().is_some_and(|verb| verb == "coordinate")
        {
            arguments.push(format!("--listen={address}"));
            container.env.extend(variables.clone());
        }
    }
    say(&format!("podturn: the page of this run is at http://{address}/\n"));
    Ok(())
}

/// The manifest as it was written, and its plan. `placement`: where the coordinator of a pod will be that is not wired yet.
pub(super) fn read(arguments: &Arguments, placement: Placement) -> Result<(Manifest, Checked), Diagnostics> {
    let input::Text { name, text } = input::read(&arguments.file)?;
    let mut manifest = Manifest::read(&name, text)?;
    if !manifest.is_wired {
        manifest.facts.placement = placement;
    }
    manifest.facts.parameters.extend(arguments.parameters.iter().cloned());
    let checked = manifest.check(&manifest.facts)?;
    refuse_unknown(&arguments.parameters, &checked)?;
    Ok((manifest, checked))
}

fn load(arguments: &Arguments) -> Result<Runnable, Diagnostics> {
    let (manifest, mut checked) = read(arguments, Placement::Sidecar)?;
    input::print(&checked.warnings);
    let mut options = Options { by_files: arguments.bell.is_some_and(BellName::is_file), ..local::options() };
    let traced = trace::variables().filter(|_| !manifest.is_wired);
    if let Some(variables) = &traced {
        options.coordinator_env.extend(variables.iter().cloned());
        trace::add_parameter(&mut checked.plan);
    }
    let mut found = runnable(&manifest, &checked, &options, &arguments.volumes)?;
    if traced.is_some() {
        trace::hand_on(&mut found.pod, &checked.plan);
    }
    Ok(found)
}

fn report(text: &str) -> Result<(Format, PathBuf), String> {
    let file = PathBuf::from(text);
    let format = Format::of_name(&file).ok_or("it ends with none of .html, .xml and .md")?;
    Ok((format, file))
}

fn stand_in(text: &str) -> Result<(String, PathBuf), String> {
    let (name, directory) = text.split_once('=').ok_or("it is NAME=DIR")?;
    let directory = std::path::absolute(directory).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), directory))
}

/// `NAME=VALUE`.
pub(super) fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A misspelt parameter would silently leave its default in place.
pub(super) fn refuse_unknown(given: &[(String, String)], checked: &Checked) -> Result<(), Diagnostics> {
    let known: Vec<&str> = checked.plan.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let Some((name, _)) = given.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let mut diagnostic = Diagnostic::error(format!("the plan has no parameter {name}"));
    diagnostic.help(match known.as_slice() {
        [] => "it has none".to_owned(),
        known => format!("it has {}", known.join(", ")),
    });
    Err(diagnostic.into())
}

/// Runs the pod in the directory, and shows what it says.
fn run_in(pod: LocalPod, arguments: &Arguments, directory: &Directory) -> Result<End, KubeletError> {
    let containers = || pod.init_containers.iter().chain(&pod.containers);
    let names: Vec<String> =
        containers().filter(|container| !container.is_quiet).map(|container| container.name.clone()).collect();
    let has_users = containers().any(|container| container.user.or(container.group).is_some_and(|id| id != 0));
    let (messages, received) = mpsc::channel(MESSAGES);
    let mut kubelet = Kubelet::new(pod, directory.path(), messages, arguments.keep)?;
    if has_users && kubelet.rights() == Rights::OneUser {
        say("podturn: every container runs as you: runAsUser and runAsGroup need root here\n");
    }
    let system = |what: &str, error| KubeletError::System(what.to_owned(), error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| system("starting the runtime", error))?;
    runtime.block_on(async {
        let screen = Screen::new(&names, arguments.json).map_err(|error| system("opening the output", error))?;
        let screen = screen.with_tails(Tails::in_run(directory.path()));
        if screen.has_live_line() {
            kubelet.tell_state();
        }
        live(screen, received, async move |interrupts| kubelet.run(interrupts).await).await
    })
}

/// Has a pod run, and shows what it says meanwhile. Whoever has asked for the end twice does not wait for a reader that sleeps.
pub(super) async fn live<E>(
    screen: Screen,
    received: mpsc::Receiver<Message>,
    run: impl AsyncFnOnce(&mut mpsc::Receiver<Interrupt>) -> Result<End, E>,
) -> Result<End, E> {
    let (interrupt, mut interrupts) = mpsc::channel(2);
    let watcher = tokio::spawn(watch_signals(interrupt.clone()));
    let show = tokio::spawn(show(screen, received, interrupt));
    let end = run(&mut interrupts).await;
    let is_killed = end.as_ref().is_ok_and(|end| end.killed);
    tokio::select! {
        _ = show => {}
        Some(Interrupt::Asked) = interrupts.recv() => {}
        () = tokio::time::sleep(LAST_WORDS), if is_killed => {}
    }
    watcher.abort();
    end
}

/// Shows what the containers say until nobody can say anything more, or until nobody reads it.
async fn show(mut screen: Screen, mut shown: mpsc::Receiver<Message>, interrupt: mpsc::Sender<Interrupt>) {
    if !screen.show(&mut shown).await {
        let _ = interrupt.send(Interrupt::Unread).await;
        while shown.recv().await.is_some() {}
    }
}

/// Ctrl-C, a closed terminal and a polite kill mean the same at first. A terminal that is gone also fails every write: both
/// together are one reason to end.
async fn watch_signals(interrupt: mpsc::Sender<Interrupt>) {
    let (Ok(mut int), Ok(mut term), Ok(mut hup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    loop {
        let interrupt_by = tokio::select! {
            _ = int.recv() => Interrupt::Asked,
            _ = term.recv() => Interrupt::Asked,
            _ = hup.recv() => Interrupt::Unread,
        };
        if interrupt.send(interrupt_by).await.is_err() {
            return;
        }
    }
}

/// Prints the end, and returns the code that says it.
pub(super) fn tell(end: &End, json: bool) -> ExitCode {
    let mut text = String::new();
    if let Some(state) = &end.state {
        text.push_str(&format!("\n{}{}", view::table(state), view::sentences(state)));
    }
    let is_step = |name: &str| end.state.as_ref().is_some_and(|state| state.steps.iter().any(|step| step.name == name));
    let mut others = false; // their ends count for the pod's phase, as they always did
    for (name, code) in end.failed.iter().filter(|(name, _)| !is_step(name) && !end.never_began) {
        text.push_str(&if end.init_failed.as_ref() == Some(name) {
            format!("init container {name} ended with {code}: nothing after it was started\n")
        } else {
            format!("container {name} ended with {code}\n")
        });
        others = true;
    }
    let (code, why) = exit_code(end, others);
    text.push_str(why);
    if end.killed {
        screen::say_in_time(&text, LAST_WORDS);
    } else {
        say(&text);
    }
    if let (Some(state), true) = (&end.state, json)
        && let Err(error) = print_json(state)
    {
        return podturn_failed(&error);
    }
    ExitCode::from(code)
}

fn print_json(state: &State) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, state)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The exit code, and what has to be said of it.
fn exit_code(end: &End, others_failed: bool) -> (u8, &'static str) {
    let outcome = end.state.as_ref().and_then(|state| state.outcome.as_deref());
    match outcome {
        _ if end.killed => (exit::CANCELLED, "everything was killed\n"),
        _ if end.never_began => (exit::CANCELLED, "cancelled before the plan began\n"),
        _ if end.deadline_exceeded.is_some() => (exit::FAILED, "the pod took longer than its activeDeadlineSeconds\n"),
        Some("Cancelled") => (exit::CANCELLED, ""),
        _ if end.init_failed.is_some() || others_failed => (exit::FAILED, ""),
        Some("Succeeded") => (exit::OK, ""),
        Some(_) => (exit::FAILED, ""),
        None if end.cancelled => (exit::CANCELLED, "the pod was ended, and no coordinator told how the plan ended\n"),
        None => (exit::SHIM_FAILED, "error: every container has ended, and the plan has no outcome\n"),
    }
}

/// To stderr, which may be closed: whoever does not read must not turn a run into a failure.
pub(super) fn say(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
