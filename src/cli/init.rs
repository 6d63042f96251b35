//! `podturn init`: the init container. Checks the plan, lays the volume out, stamps the run.

use std::collections::BTreeMap;
use std::env::{self, VarError};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use podturn_wire::{RunId, VERSION};

use super::{input, volume_error};
use crate::inject::{bytes, millicores};
use crate::plan::{
    Amounts, Checked, Diagnostic, Diagnostics, PODTURN_PLAN, PODTURN_POD, PODTURN_POD_UID, Placement as PodPlacement,
    PodFacts, Source, check_wired,
};
use crate::process;
use crate::volume::alive::suitable_bell;
use crate::volume::{Bell, Durability, Placement, Resources, Run, Volume, VolumeError, lay_out, lay_out_without_shim};

/// Arguments of `podturn init`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The plan comes from --plan, or from the environment variable PODTURN_PLAN (YAML). What has to be known of the pod comes \
from PODTURN_POD (JSON, see `podturn schema pod`); without it the pod has restartPolicy Never, the coordinator is an \
ordinary container, and the grace period is 30 s. PODTURN_POD_UID (fieldRef: metadata.uid) lets a run go on after the \
node was rebooted.

Exit codes: 0 the volume is laid out, 2 the plan cannot run (every error is printed), 125 the volume cannot be used.")]
pub(super) struct Arguments {
    /// The shared volume
    #[arg(long, value_name = "DIR", env = "PODTURN_VOLUME", default_value = podturn_wire::names::MOUNT)]
    volume: PathBuf,
    /// A file with the plan, instead of the environment variable PODTURN_PLAN
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// What has to survive: the death of any process, or of the node as well (journal and turns are synced to the disk)
    #[arg(long, value_enum, default_value = "process")]
    durability: DurabilityName,
    /// Where the steps have the shim from: their mailboxes, or an image that is mounted beside them
    #[arg(long, value_enum, default_value = "volume")]
    shim_from: ShimFromName,
    /// How shims and coordinator notice each other: by sockets, or by looking at files, where the runtime lets containers share no
    /// sockets: up to 0.2 s later each time [default: file on a 9p file system, as gVisor's, else socket]
    #[arg(long, value_enum, env = "PODTURN_BELL")]
    bell: Option<BellName>,
}

/// Where the steps have the shim from.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ShimFromName {
    Volume,
    Image,
}

/// What has to survive.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum DurabilityName {
    Process,
    Node,
}

#[cfg(feature = "tools")]
impl DurabilityName {
    pub(super) fn is_node(self) -> bool {
        matches!(self, Self::Node)
    }
}

/// How shims and coordinator notice each other.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum BellName {
    Socket,
    File,
}

#[cfg(feature = "tools")]
impl BellName {
    pub(super) const fn is_file(self) -> bool {
        matches!(self, Self::File)
    }
}

/// Prints one line on stdout, and another if files were chosen here, or what is wrong on stderr.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    process::set_umask();
    let (checked, facts) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    input::print(&checked.warnings);
    match lay_out_for(arguments, checked, &facts) {
        Ok(run) => {
            let count = run.plan.steps.len();
            let volume = arguments.volume.display();
            let _ = writeln!(
                anstream::stdout(), // whose reader may be gone
                "podturn: run {} of {count} step{} in {volume}",
                run.run,
                if count == 1 { "" } else { "s" }
            );
            if run.bell == Bell::File && arguments.bell.is_none() {
                let why = "the volume is a 9p file system, as in gVisor, where containers share no sockets";
                let _ =
                    writeln!(anstream::stdout(), "podturn: shims and coordinator look at files (--bell file): {why}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => volume_error(&error),
    }
}

fn load(arguments: &Arguments) -> Result<(Checked, PodFacts), Diagnostics> {
    let facts = match variable(PODTURN_POD)? {
        Some(json) => PodFacts::parse(&json)?,
        None => PodFacts::default(),
    };
    let mut facts = facts;
    for (name, value) in
        env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok()))
    {
        facts.parameters.entry(name).or_insert(value); // the plan takes those that it names
    }
    let source = match &arguments.plan {
        Some(path) => input::read(path).map(|input::Text { name, text }| Source::file(name, text))?,
        None => match variable(PODTURN_PLAN)? {
            Some(text) => Source::file(PODTURN_PLAN, text),
            None => {
                let mut diagnostic = Diagnostic::error(format!("there is no plan: {PODTURN_PLAN} is not set"));
                diagnostic.help("set it in the init container's `env`, or give a file with --plan");
                return Err(diagnostic.into());
            }
        },
    };
    Ok((check_wired(&source, &facts)?, facts))
}

fn variable(name: &str) -> Result<Option<String>, Diagnostics> {
    match env::var(name) {
        Ok(text) => Ok(Some(text)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Diagnostic::error(format!("{name} is not UTF-8")).into()),
    }
}

fn lay_out_for(arguments: &Arguments, checked: Checked, facts: &PodFacts) -> Result<Run, VolumeError> {
    let volume = Volume::open(&arguments.volume)?;
    let system = |error| VolumeError { what: "cannot read".to_owned(), path: "/proc and /dev/urandom".into(), error };
    let wanted = Run {
        version: VERSION,
        run: RunId(process::random().map_err(system)?),
        boot_id: process::boot_id().map_err(system)?,
        pod_uid: env::var(PODTURN_POD_UID).ok().filter(|uid| !uid.is_empty()),
        placement: match facts.placement {
            PodPlacement::Sidecar => Placement::Sidecar,
            PodPlacement::Container => Placement::Container,
        },
        durability: match arguments.durability {
            DurabilityName::Process => Durability::Process,
            DurabilityName::Node => Durability::Node,
        },
        bell: match arguments.bell {
            Some(BellName::Socket) => Bell::Socket,
            Some(BellName::File) => Bell::File,
            None => suitable_bell(&volume)?,
        },
        resources: resources(&checked, facts),
        plan: checked.plan,
        termination_grace_seconds: facts.termination_grace_period_seconds,
    };
    match arguments.shim_from {
        ShimFromName::Volume => lay_out(&volume, wanted),
        ShimFromName::Image => lay_out_without_shim(&volume, wanted),
    }
}

/// Of the steps' containers, for reports. What is no quantity is left out: the API server has refused it, where there is one.
fn resources(checked: &Checked, facts: &PodFacts) -> BTreeMap<String, Resources> {
    let of = |name: &str| {
        let resources = &facts.container(name).filter(|container| !container.resources.is_empty())?.resources;
        let cpu = |amounts: &Amounts| millicores(amounts.cpu.as_deref()?);
        let memory = |amounts: &Amounts| bytes(amounts.memory.as_deref()?);
        Some(Resources {
            cpu_request: cpu(&resources.requests),
            cpu_limit: cpu(&resources.limits),
            memory_request: memory(&resources.requests),
            memory_limit: memory(&resources.limits),
        })
    };
    let names = checked.plan.steps.iter().map(|step| step.name.as_str());
    names.filter_map(|name| Some((name.to_owned(), of(name)?))).collect()
}
