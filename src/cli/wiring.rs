//! The choices of `podturn inject`: from the command line, the environment and a file, in this order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;

use super::input;
use crate::inject::{Deadline, Medium, Options, ShimFrom, Version};
use crate::plan::yaml::{self, Node};
use crate::plan::{Diagnostic, Diagnostics, Placement, Source, SourceFile};

/// The file of defaults that is read where it is there.
const CONFIG: &str = ".podturn.yaml";

/// Everything that can be chosen, as long options: the same names are the keys of the file.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// podturn's own image, as the cluster pulls it [default: localhost/podturn:VERSION]
    #[arg(long, env = "PODTURN_IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    image: Option<String>,
    /// When it is pulled [default: as Kubernetes does]
    #[arg(long, value_name = "POLICY", env = "PODTURN_PULL_POLICY", value_parser = ["Always", "IfNotPresent", "Never"])]
    pull_policy: Option<String>,
    /// Where the coordinator runs: a native sidecar, or an ordinary container (podman, old clusters) [default: sidecar]
    #[arg(long, value_enum, env = "PODTURN_PLACEMENT")]
    placement: Option<PlacementName>,
    /// The oldest Kubernetes that has to accept the result [default: 1.35]
    #[arg(long, value_name = "VERSION", env = "PODTURN_KUBERNETES")]
    kubernetes: Option<Version>,
    /// Where turns and reports lie: memory, disk, or pvc:CLAIM where they have to outlive the node [default: memory]
    #[arg(long, value_name = "MEDIUM", env = "PODTURN_VOLUME_MEDIUM")]
    volume_medium: Option<Medium>,
    /// How large that volume may become [default: 64Mi]
    #[arg(long, value_name = "QUANTITY", env = "PODTURN_SIZE_LIMIT", value_parser = quantity)]
    size_limit: Option<String>,
    /// What has to survive: the death of any process, or of the node as well [default: process; node with pvc:CLAIM]
    #[arg(long, value_enum, env = "PODTURN_DURABILITY")]
    durability: Option<super::init::DurabilityName>,
    /// How shims and coordinator notice each other: by sockets, or by looking at files where the runtime lets containers share
    /// none, up to 0.2 s later each time [default: what the init container finds: files in gVisor, else sockets]
    #[arg(long, value_enum, env = "PODTURN_BELL")]
    pub(super) bell: Option<super::init::BellName>,
    /// Let the containers not share a process namespace: order is kept, usage and leftovers are not seen
    #[arg(long)]
    no_share_pid: bool,
    /// Mount the whole volume into each step, where subPath is not to be had (podman 4)
    #[arg(long)]
    whole_volume: bool,
    /// Where steps have the shim from: the volume, into which the init container puts it; or an image that is mounted as a volume
    /// (Kubernetes 1.35): image, which is podturn's own with `-shim` behind its name, or image:NAME [default: volume]
    #[arg(long, value_name = "SOURCE", env = "PODTURN_SHIM_FROM")]
    shim_from: Option<ShimFrom>,
    /// The user of podturn's own containers, or `none` for the pod's (OpenShift chooses one) [default: 65532]
    #[arg(long, value_name = "UID", env = "PODTURN_USER", value_parser = user)]
    user: Option<User>,
    /// activeDeadlineSeconds of Pods and Jobs: `plan` (its limits together, or a day), a time such as 2h, or `none`
    /// [default: plan]
    #[arg(long, value_name = "TIME", env = "PODTURN_ACTIVE_DEADLINE", value_parser = deadline)]
    active_deadline: Option<DeadlineName>,
    /// Write what keeps a Job from running a plan again: backoffLimit 0, podReplacementPolicy, podFailurePolicy
    #[arg(long)]
    job_defaults: bool,
    /// Write no restart rule for 137: a step that is retried, or may fail, does not come back when its container was killed as a whole
    /// (such as out of memory). The rules need Kubernetes 1.35
    #[arg(long)]
    no_restart_rules: bool,
    /// Let the pod ask for the CPU and memory that its steps need at the same moment, instead of the sum of all (Kubernetes 1.34
    /// and above)
    #[arg(long)]
    pod_resources: bool,
    /// Leave the plan out of the annotations, since podman 4 takes none of more than 63 bytes. The pod has no use for it, but
    /// `uninject` can take nothing back then
    #[arg(long)]
    drop_plan_annotation: bool,
    /// The value of a parameter of the plan; may be given several times
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE", value_parser = super::run::parameter)]
    parameters: Vec<(String, String)>,
    /// A variable of the coordinator's container, such as PODTURN_LISTEN or OTEL_EXPORTER_OTLP_ENDPOINT; NAME alone: with its value here. May
    /// be given several times
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    coordinator_env: Vec<(String, String)>,
    /// Where a kind that is not known has its pod template, such as Workflow=spec.podTemplate; may be given several times
    #[arg(long, value_name = "KIND=PATH")]
    template_path: Vec<String>,
    /// Read from their images what steps without a command run: from a registry, or another SOURCE as `podturn resolve`
    /// has it (engine, oci:DIR, docker-archive:FILE, map:FILE, ...); may be given several times
    #[cfg(feature = "resolve")]
    #[arg(long, value_name = "SOURCE", num_args = 0..=1, require_equals = true, default_missing_value = "registry")]
    pub(super) resolve: Vec<crate::images::Source>,
    /// Leave such an image as it is named, instead of writing its digest
    #[cfg(feature = "resolve")]
    #[arg(long)]
    pub(super) no_pin: bool,
    /// A file of defaults for these options [default: .podturn.yaml, if there is one]
    #[arg(long, value_name = "FILE", env = "PODTURN_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum PlacementName {
    Sidecar,
    Container,
}

#[derive(Clone, Copy, Debug)]
struct User(Option<u32>);

#[derive(Clone, Copy, Debug)]
struct DeadlineName(Deadline);

/// The file's options, read by the same parser.
#[derive(clap::Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct File {
    #[command(flatten)]
    settings: Settings,
}

fn quantity(text: &str) -> Result<String, String> {
    match crate::inject::bytes(text) {
        Some(bytes) if bytes > 0 => Ok(text.to_owned()),
        _ => Err("it is a number of bytes such as 64Mi".to_owned()),
    }
}

fn user(text: &str) -> Result<User, String> {
    match text {
        "none" => Ok(User(None)),
        "0" => Err("podturn's containers never run as root; `none` leaves the user to the pod".to_owned()),
        text => text.parse().map(|uid| User(Some(uid))).map_err(|_| "it is a number, or none".to_owned()),
    }
}

/// Kubernetes takes any visible ASCII but `=` in a name.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it is NAME=VALUE, or NAME".to_owned());
    }
    let here = || std::env::var(name).map_err(|_| format!("{name} is not set here: NAME=VALUE gives it a value"));
    Ok((name.to_owned(), value.map_or_else(here, Ok)?))
}

fn deadline(text: &str) -> Result<DeadlineName, String> {
    Ok(DeadlineName(match text {
        "none" => Deadline::Off,
        "plan" => Deadline::OfPlan,
        text => match crate::plan::milliseconds(text).map(|millis| millis.div_ceil(1000)) {
            Some(seconds) if seconds > 0 => Deadline::Seconds(seconds),
            _ => return Err("it is a time such as 2h, `plan`, or `none`".to_owned()),
        },
    }))
}

impl Settings {
    /// The oldest Kubernetes that was asked for, if one was.
    pub(super) const fn kubernetes(&self) -> Option<Version> {
        self.kubernetes
    }

    /// Takes out what is about more than a pod as the API server sees it, for a command that cannot keep it, and says which options
    /// these were. `given`: what was asked for itself stays, to be refused.
    pub(super) fn leave_out_what_no_policy_keeps(&mut self, given: &Self) -> Vec<&'static str> {
        let mut left_out = Vec::new();
        if self.job_defaults && !given.job_defaults {
            self.job_defaults = false;
            left_out.push("job-defaults");
        }
        if self.pod_resources && !given.pod_resources {
            self.pod_resources = false;
            left_out.push("pod-resources");
        }
        #[cfg(feature = "resolve")]
        if !self.resolve.is_empty() && given.resolve.is_empty() {
            self.resolve.clear();
            left_out.push("resolve");
        }
        left_out
    }

    /// These, and what they leave open from `others`.
    fn or(self, others: Self) -> Self {
        Self {
            image: self.image.or(others.image),
            pull_policy: self.pull_policy.or(others.pull_policy),
            placement: self.placement.or(others.placement),
            kubernetes: self.kubernetes.or(others.kubernetes),
            volume_medium: self.volume_medium.or(others.volume_medium),
            size_limit: self.size_limit.or(others.size_limit),
            durability: self.durability.or(others.durability),
            bell: self.bell.or(others.bell),
            no_share_pid: self.no_share_pid || others.no_share_pid,
            whole_volume: self.whole_volume || others.whole_volume,
            shim_from: self.shim_from.or(others.shim_from),
            user: self.user.or(others.user),
            active_deadline: self.active_deadline.or(others.active_deadline),
            job_defaults: self.job_defaults || others.job_defaults,
            no_restart_rules: self.no_restart_rules || others.no_restart_rules,
            pod_resources: self.pod_resources || others.pod_resources,
            drop_plan_annotation: self.drop_plan_annotation || others.drop_plan_annotation,
            parameters: [others.parameters, self.parameters].concat(),
            coordinator_env: [others.coordinator_env, self.coordinator_env].concat(),
            template_path: [others.template_path, self.template_path].concat(),
            #[cfg(feature = "resolve")]
            resolve: if self.resolve.is_empty() { others.resolve } else { self.resolve },
            #[cfg(feature = "resolve")]
            no_pin: self.no_pin || others.no_pin,
            config: self.config,
        }
    }
}

/// What was given, with what the file says where nothing else does. Before the file comes what a KRM function's
/// `functionConfig` says: the `data` of a ConfigMap, or the `spec` of any other object.
pub(super) fn settings(given: &Settings, function: Option<(&Arc<SourceFile>, &Node)>) -> Result<Settings, Diagnostics> {
    let default = Path::new(CONFIG);
    let file = given.config.as_deref().or_else(|| default.exists().then_some(default));
    let mut settings = given.clone();
    if let Some((file, config)) = function
        && let Some(map) = config.get("data").or_else(|| config.get("spec"))
    {
        settings = settings.or(from_map(file, map)?);
    }
    if let Some(path) = file {
        settings = settings.or(from_file(path)?);
    }
    Ok(settings)
}

/// What the environment and the file of defaults say, for a command that has few of these options itself.
pub(super) fn defaults() -> Result<Settings, Diagnostics> {
    let from_environment = File::try_parse_from([] as [&str; 0]);
    let given = from_environment.map_err(|error| Diagnostic::error(error.render().to_string()))?;
    settings(&given.settings, None)
}

/// What podman runs, its own images say.
#[cfg(feature = "resolve")]
pub(super) fn for_podman(settings: &mut Settings) {
    settings.resolve = vec![crate::images::Source::Engine(Some("podman".to_owned()))];
    settings.no_pin = true;
}

/// Without that feature no image is read.
#[cfg(not(feature = "resolve"))]
pub(super) const fn for_podman(_: &mut Settings) {}

/// The options that settings stand for. What images run is not in them.
pub(super) fn options(settings: Settings) -> Result<Options, Diagnostics> {
    let mut options = Options::default();
    let medium = settings.volume_medium.unwrap_or(Medium::Memory);
    let outlives_node = matches!(medium, Medium::Claim(_));
    options.durable = settings.durability.map_or(outlives_node, super::init::DurabilityName::is_node);
    options.medium = medium;
    options.image = settings.image.unwrap_or(options.image);
    options.pull_policy = settings.pull_policy;
    options.placement = match settings.placement {
        Some(PlacementName::Container) => Placement::Container,
        Some(PlacementName::Sidecar) | None => Placement::Sidecar,
    };
    options.kubernetes = settings.kubernetes.unwrap_or(options.kubernetes);
    options.size_limit = settings.size_limit.unwrap_or(options.size_limit);
    options.by_files = settings.bell.is_some_and(super::init::BellName::is_file);
    options.share_pid = !settings.no_share_pid;
    options.whole_volume = settings.whole_volume;
    options.shim_from = settings.shim_from.unwrap_or_default();
    options.user = settings.user.map_or(options.user, |User(uid)| uid);
    options.deadline = settings.active_deadline.map_or(options.deadline, |DeadlineName(deadline)| deadline);
    options.job_defaults = settings.job_defaults;
    options.restart_rules = !settings.no_restart_rules;
    options.pod_resources = settings.pod_resources;
    options.drop_plan = settings.drop_plan_annotation;
    options.parameters = settings.parameters.into_iter().collect();
    options.coordinator_env = settings.coordinator_env.into_iter().collect();
    for path in &settings.template_path {
        options.templates.add(path).map_err(|why| Diagnostic::error(format!("--template-path: {why}")))?;
    }
    Ok(options)
}

fn from_file(path: &Path) -> Result<Settings, Diagnostics> {
    let input::Text { name, text } = input::read(path)?;
    let file = SourceFile::new(name, text);
    match yaml::parse(&Source::whole(Arc::clone(&file)))?.into_iter().next().filter(|root| !root.is_null()) {
        Some(root) => from_map(&file, &root),
        None => Ok(Settings::default()),
    }
}

/// Each key of the map is a long option; `true` switches it on, and a list gives it several times.
fn from_map(file: &Arc<SourceFile>, map: &Node) -> Result<Settings, Diagnostics> {
    let wrong = |node: &Node, why: &str| -> Diagnostics {
        let mut diagnostic = Diagnostic::error(why.to_owned());
        diagnostic.at(file, node.place()).help("a line is a long option and its value: `image: NAME`");
        diagnostic.into()
    };
    let mut settings = Settings::default();
    for entry in map.entries().ok_or_else(|| wrong(map, "this is a map of options"))? {
        let values: Vec<&Node> = entry.value.items().map_or_else(|| vec![&entry.value], |items| items.iter().collect());
        let mut words = Vec::new();
        for value in values {
            let yaml::Value::Scalar(scalar) = &value.value else {
                return Err(wrong(value, "an option has one value, or a list of them"));
            };
            match scalar.text.as_str() {
                "true" => words.push(format!("--{}", entry.key)),
                "false" => {}
                "" => return Err(wrong(value, "an option's value is missing here")),
                text => words.push(format!("--{}={text}", entry.key)),
            }
        }
        let parsed = File::try_parse_from(words).map_err(|error| {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            wrong(&entry.value, first)
        })?;
        settings = parsed.settings.or(settings);
    }
    Ok(settings)
}
