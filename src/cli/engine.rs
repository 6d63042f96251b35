//! `podturn run --engine podman | kubectl`: the same file elsewhere, shown as a local run is.

use std::process::ExitCode;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::run::{self, MESSAGES};
use super::screen::Screen;
use super::{input, podturn_failed, trace, wiring};
use crate::engine::kubectl::{Cluster, Kubectl};
use crate::engine::podman::{self, Podman};
use crate::engine::{self, EngineError};
use crate::inject::{self, Options, PODTURN, PODTURN_INIT, ShimFrom};
use crate::local::{End, Interrupt, Message, refuse_unknown_volumes};
use crate::plan::{Diagnostic, Diagnostics, Manifest, Placement, SourceFile};

/// Where a pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// On this machine, as processes of it, without images
    Local,
    /// On this machine, in containers of their images
    Podman,
    /// In a cluster
    Kubectl,
}

/// Where the pod runs, and what that needs.
#[derive(clap::Args)]
pub(super) struct Elsewhere {
    /// Where the pod runs
    #[arg(long, value_enum, default_value = "local")]
    engine: Engine,
    /// podturn's own image. Default with podman: made of this very program; with kubectl: that of `podturn inject`
    #[arg(long, value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    image: Option<String>,
    /// With kubectl: delete the pod, or the Job, when it has ended
    #[arg(long)]
    rm: bool,
    /// Read from their images what steps without a command run, as `podturn inject` does. With podman they are read anyway, from its
    /// own images
    #[cfg(feature = "resolve")]
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "registry")]
    resolve: Vec<crate::images::Source>,
    /// With kubectl: leave such an image as it is named, instead of writing its digest
    #[cfg(feature = "resolve")]
    #[arg(long)]
    no_pin: bool,
    #[command(flatten)]
    cluster: ClusterArguments,
}

impl Elsewhere {
    /// How images are read, where that is said.
    #[cfg(feature = "resolve")]
    fn resolving(&self, settings: &mut wiring::Settings) {
        if !self.resolve.is_empty() {
            settings.resolve.clone_from(&self.resolve);
        }
        settings.no_pin |= self.no_pin;
    }

    /// Which option of these was given.
    #[cfg(feature = "resolve")]
    fn resolving_option(&self) -> Option<&'static str> {
        let given = [("--resolve", !self.resolve.is_empty()), ("--no-pin", self.no_pin)];
        given.iter().find(|(_, is_given)| *is_given).map(|(option, _)| *option)
    }

    #[cfg(not(feature = "resolve"))]
    const fn resolving(&self, _: &mut wiring::Settings) {}

    #[cfg(not(feature = "resolve"))]
    const fn resolving_option(&self) -> Option<&'static str> {
        None
    }
}

/// Which cluster, and where in it, as kubectl has it.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ClusterArguments {
    /// With kubectl: the namespace
    #[arg(short, long, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// With kubectl: the context of its configuration
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// With kubectl: its configuration
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<std::ffi::OsString>,
}

impl ClusterArguments {
    pub(super) fn cluster(&self) -> Cluster {
        let Self { namespace, context, kubeconfig } = self.clone();
        Cluster { namespace, context, kubeconfig }
    }

    /// The first of these options that was given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let Self { namespace, context, kubeconfig } = self;
        let options = [
            ("--namespace", namespace.is_some()),
            ("--context", context.is_some()),
            ("--kubeconfig", kubeconfig.is_some()),
        ];
        options.iter().find(|(_, is_given)| *is_given).map(|(name, _)| *name)
    }
}

/// Runs the pod elsewhere and shows its end; `None`: it is to run here.
pub(super) fn run(arguments: &run::Arguments) -> Option<ExitCode> {
    let engine = arguments.elsewhere.engine;
    let done = match engine {
        Engine::Local | Engine::Podman if arguments.elsewhere.rm || arguments.elsewhere.cluster.given().is_some() => {
            let option = arguments.elsewhere.cluster.given().unwrap_or("--rm");
            Err(not_with(option, "local or podman", "it is for --engine kubectl").into())
        }
        Engine::Local => refuse_options(arguments).map(|()| None),
        Engine::Podman => on_podman(arguments).map(Some),
        Engine::Kubectl => in_a_cluster(arguments).map(Some),
    };
    match done {
        Ok(None) => None,
        Ok(Some(end)) => {
            let code = run::tell(&end, arguments.json);
            Some(run::write_down(end, &arguments.reports).unwrap_or(code))
        }
        Err(Failed::Input(diagnostics)) => Some(input::refuse(&diagnostics)),
        Err(Failed::Engine(error)) => Some(engine_failed(&error)),
    }
}

/// Says why an engine could not be used, and what may help; returns the exit code for it.
pub(super) fn engine_failed(error: &EngineError) -> ExitCode {
    let code = podturn_failed(error);
    if let Some(help) = error.help() {
        anstream::eprintln!("  help: {help}");
    }
    code
}

/// Why it did not run.
enum Failed {
    Input(Diagnostics),
    Engine(EngineError),
}

impl From<Diagnostics> for Failed {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Input(diagnostics)
    }
}

impl From<EngineError> for Failed {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

fn not_with(option: &str, engine: &str, help: &str) -> Diagnostics {
    let mut diagnostic = Diagnostic::error(format!("{option} means nothing with --engine {engine}"));
    diagnostic.help(help);
    diagnostic.into()
}

/// An option that would do nothing is a mistake.
fn refuse_options(arguments: &run::Arguments) -> Result<(), Failed> {
    if arguments.elsewhere.image.is_some() {
        return Err(not_with("--image", "local", "no images are used: containers are processes of this machine").into());
    }
    if let Some(option) = arguments.elsewhere.resolving_option() {
        let help = "what an image runs is not on this machine; --engine podman and --engine kubectl run it";
        return Err(not_with(option, "local", help).into());
    }
    Ok(())
}

// --- podman ---

fn on_podman(arguments: &run::Arguments) -> Result<End, Failed> {
    if arguments.listen.address.is_some() || arguments.keep {
        let option = if arguments.keep { "--keep" } else { "--listen" };
        return Err(
            not_with(option, "podman", "nothing of the pod is left at the end, and its network is its own").into()
        );
    }
    let mut settings = wiring::defaults()?;
    settings.bell = arguments.bell.or(settings.bell);
    wiring::for_podman(&mut settings);
    arguments.elsewhere.resolving(&mut settings);
    let (original, checked) = run::read(arguments, Placement::Container)?;
    refuse_unknown_volumes(&original, &arguments.volumes)?;
    input::print(&engine::check(&original, &checked)?);
    let mut options = wiring::options(settings.clone())?;
    options.placement = Placement::Container;
    options.whole_volume = true;
    options.shim_from = ShimFrom::Volume; // podman 4 plays no volume that is an image
    let own = match &arguments.elsewhere.image {
        Some(image) => {
            options.image.clone_from(image);
            None
        }
        None => {
            let own = podman::own_image()?;
            options.image.clone_from(&own.name);
            options.pull_policy = Some("Never".to_owned());
            Some(own)
        }
    };
    hand_on(trace::for_pod(), &mut options);
    resolve(settings, &original.file, &mut options)?;
    let manifest = wire(arguments, &original.file, options)?;
    let name = engine::name_of_a_run(&original.name);
    let play = engine::play(&manifest, &name, &arguments.volumes);
    let end = shown(arguments, &manifest, async move |tell, interrupts| Podman::new(play, tell).run(interrupts).await);
    drop(own); // it stays until then
    end
}

// --- a cluster ---

fn in_a_cluster(arguments: &run::Arguments) -> Result<End, Failed> {
    let given = [
        (arguments.keep, "--keep", "the pod stays in the cluster at its end, unless --rm is given"),
        (
            arguments.listen.address.is_some(),
            "--listen",
            "`podturn inject --coordinator-env PODTURN_LISTEN=127.0.0.1:8080` and `kubectl port-forward` show the page",
        ),
        (!arguments.volumes.is_empty(), "--volume", "the cluster has the volumes of the manifest"),
    ];
    if let Some((_, option, help)) = given.iter().find(|(is_given, ..)| *is_given) {
        return Err(not_with(option, "kubectl", help).into());
    }
    let mut settings = wiring::defaults()?;
    arguments.elsewhere.resolving(&mut settings);
    settings.bell = arguments.bell.or(settings.bell);
    let mut options = wiring::options(settings.clone())?;
    options.job_defaults = true; // the plan retries, and the Job must not run it again behind this command's back
    if let Some(image) = &arguments.elsewhere.image {
        options.image.clone_from(image);
    }
    let (original, _) = run::read(arguments, options.placement)?;
    engine::create(&original)?;
    hand_on(shown_in_a_cluster(trace::for_pod()), &mut options);
    resolve(settings, &original.file, &mut options)?;
    let manifest = wire(arguments, &original.file, options)?;
    let create = engine::create(&manifest)?;
    let (cluster, rm) = (arguments.elsewhere.cluster.cluster(), arguments.elsewhere.rm);
    shown(arguments, &manifest, async move |tell, interrupts| {
        Kubectl::new(create, &cluster, rm, tell).run(interrupts).await
    })
}

// --- for every engine ---

/// Gives the coordinator these variables, but for those that it is given already.
fn hand_on(variables: Vec<(String, String)>, options: &mut Options) {
    for (name, value) in variables {
        options.coordinator_env.entry(name).or_insert(value);
    }
}

/// Headers have passwords in them, and whoever may look at a pod of a cluster reads its variables.
fn shown_in_a_cluster(mut variables: Vec<(String, String)>) -> Vec<(String, String)> {
    let is_secret = |name: &str| name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("HEADERS");
    for (name, _) in variables.iter().filter(|(name, _)| is_secret(name)) {
        run::say(&format!(
            "warning: {name} is not put into the pod, where it would be shown; `coordinator-env: [{name}]` in .podturn.yaml does\n"
        ));
    }
    variables.retain(|(name, _)| !is_secret(name));
    variables
}

/// Reads what images run whose containers have no command.
#[cfg(feature = "resolve")]
fn resolve(
    settings: wiring::Settings,
    file: &std::sync::Arc<SourceFile>,
    options: &mut Options,
) -> Result<(), Diagnostics> {
    if settings.resolve.is_empty() {
        return Ok(());
    }
    let how = super::resolve::How::default();
    super::resolve::into_options(&how, &settings.resolve, settings.no_pin, [std::sync::Arc::clone(file)], options)
}

#[cfg(not(feature = "resolve"))]
fn resolve(_: wiring::Settings, _: &std::sync::Arc<SourceFile>, _: &mut Options) -> Result<(), Diagnostics> {
    Ok(())
}

/// Wires the pod.
fn wire(
    arguments: &run::Arguments,
    file: &std::sync::Arc<SourceFile>,
    mut options: Options,
) -> Result<Manifest, Diagnostics> {
    options.parameters.extend(arguments.parameters.iter().cloned());
    let injected = inject::inject(file, &options)?;
    input::print(&injected.warnings);
    Manifest::read(file.name(), injected.text)
}

/// Shows a pod that `live` runs.
fn shown<F>(arguments: &run::Arguments, manifest: &Manifest, live: F) -> Result<End, Failed>
where
    F: AsyncFnOnce(Sender<Message>, &mut Receiver<Interrupt>) -> Result<End, EngineError>,
{
    let system = |what: &str| {
        let what = what.to_owned();
        move |error| EngineError::System(what, error)
    };
    let kinds =
        [&manifest.facts.init_containers, &manifest.facts.containers.iter().map(|one| one.name.clone()).collect()];
    let names = kinds.into_iter().flatten().filter(|name| *name != PODTURN && *name != PODTURN_INIT).cloned();
    let names: Vec<String> = names.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system("starting the runtime"))?.block_on(async {
        let screen = Screen::new(&names, arguments.json).map_err(system("opening the output"))?;
        let (messages, received) = channel(MESSAGES);
        Ok(run::live(screen, received, async move |interrupts| live(messages, interrupts).await).await?)
    })
}
