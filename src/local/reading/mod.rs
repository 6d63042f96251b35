//! From a manifest to what this engine runs. Pure: no file is touched.
//!
//! ```text
//! manifest ─> read as it was written: what is to be said of it, with its places
//!     └─> inject::wired ─> read again ─> LocalPod
//! ```
//! Belongs here: a pod's containers, volumes, variables, hooks and probes, looked up. What the manifest asks for and this engine
//! cannot honour is refused where the run would not be what it says, and named where it only lacks something (limits). Nothing is
//! dropped in silence. Does not belong here: what podturn adds to a pod (`inject`).

mod config;
mod environment;
mod lifecycle;
mod volumes;

use std::path::{Path, PathBuf};

use podturn_wire::names;

use self::config::Configs;
use self::lifecycle::SIGTERM;
use super::expand::expand;
use super::pod::{Container, LocalPod, Mount, Program, Volume};
use crate::inject::{self, Deadline, Options, PODTURN, PODTURN_INIT};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::{Node, Typed, Value};
use crate::plan::{Checked, Diagnostic, Diagnostics, Manifest, PODTURN_POD_UID, Reporter, Span};

/// What Docker and the container runtimes give a container whose image says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Container fields that are honoured, or mean nothing where nothing is pulled or published.
const CONTAINER_FIELDS: [&str; 19] = [
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "args",
    "env",
    "envFrom",
    "workingDir",
    "volumeMounts",
    "securityContext",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "lifecycle",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "ports",
];

/// Fields of a mount that are honoured.
const MOUNT_FIELDS: [&str; 5] = ["name", "mountPath", "subPath", "subPathExpr", "readOnly"];

/// Pod fields that are honoured, or mean nothing on one machine.
const POD_FIELDS: [&str; 10] = [
    "containers",
    "initContainers",
    "volumes",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "shareProcessNamespace",
    "securityContext",
    "hostname",
    "imagePullSecrets",
];

/// A pod that can run here, and what has to be said about it.
#[derive(Clone, Debug)]
pub struct Runnable {
    /// The pod.
    pub pod: LocalPod,
    /// What will be different from a cluster.
    pub warnings: Diagnostics,
}

/// Reads a manifest's pod for this engine. One that is not wired yet is wired in memory, by [`inject::wired`] and with these
/// [`options`], so what runs here is what `inject` would write. `stand_ins`: directories of this machine that are used for these
/// volumes, of whatever kind.
///
/// # Errors
/// Everything that cannot be honoured or wired, each with its place.
pub fn runnable(
    manifest: &Manifest,
    checked: &Checked,
    options: &Options,
    stand_ins: &[(String, PathBuf)],
) -> Result<Runnable, Diagnostics> {
    refuse_unknown_volumes(manifest, stand_ins)?;
    // First as it was written, since that has the places of which something is to be said.
    let written = read(&manifest.expanded(checked), checked, stand_ins)?;
    if manifest.is_wired {
        return Ok(written);
    }
    let wired = inject::wired(manifest, checked, options).map_err(|wrong| {
        let mut told = written.warnings.clone();
        told.append(wrong);
        told
    })?;
    let Runnable { mut pod, .. } = read(&wired, checked, stand_ins)?;
    for container in &mut pod.init_containers {
        match &mut container.program {
            Program::Podturn(arguments) if container.name == PODTURN => {
                arguments.extend(["--quiet", "--log=text"].map(str::to_owned));
            }
            // The plan was checked already, and its warnings were told.
            Program::Podturn(_) if container.name == PODTURN_INIT => container.is_quiet = true,
            Program::Podturn(_) | Program::Command(_) => {}
        }
    }
    Ok(Runnable { pod, warnings: written.warnings })
}

/// How a pod is wired for this engine.
#[must_use]
pub fn options() -> Options {
    Options {
        // This program, with the rights of whoever runs it, and with no image that could be missing for ever.
        user: None,
        deadline: Deadline::Off,
        // All containers of a local pod are in one process namespace, whatever its manifest says.
        share_pid: false,
        // Nothing here kills a container as a whole.
        restart_rules: false,
        ..Options::default()
    }
}

fn read(manifest: &Manifest, checked: &Checked, stand_ins: &[(String, PathBuf)]) -> Result<Runnable, Diagnostics> {
    let mut reporter = Reporter::new(&manifest.file);
    let configs = Configs::of(&manifest.objects, &mut reporter);
    let mut reading = Reading { manifest, reporter, configs, stand_ins };
    let pod = reading.pod(checked);
    let failed = reading.reporter.has_errors();
    let told = reading.reporter.finish();
    if failed { Err(told) } else { Ok(Runnable { pod, warnings: told }) }
}

struct Reading<'m> {
    manifest: &'m Manifest,
    reporter: Reporter,
    configs: Configs,
    stand_ins: &'m [(String, PathBuf)],
}

/// A misspelt name would leave the volume as it is.
///
/// # Errors
/// When the pod has none of such a name.
pub fn refuse_unknown_volumes(manifest: &Manifest, stand_ins: &[(String, PathBuf)]) -> Result<(), Diagnostics> {
    let known: Vec<&str> =
        manifest.spec.list("volumes").iter().filter_map(|volume| volume.get("name").and_then(Node::as_str)).collect();
    let Some((name, _)) = stand_ins.iter().find(|(name, _)| !known.contains(&name.as_str())) else { return Ok(()) };
    let mut diagnostic = Diagnostic::error(format!("the pod has no volume {name}"));
    diagnostic.help(match known.as_slice() {
        [] => "it has none".to_owned(),
        known => format!("it has {}", known.join(", ")),
    });
    Err(diagnostic.into())
}

impl Reading<'_> {
    fn pod(&mut self, checked: &Checked) -> LocalPod {
        let spec = &self.manifest.spec;
        self.name_unhonoured(spec, &POD_FIELDS, "this pod");
        self.name_unhonoured_in(spec, "securityContext", &["runAsUser", "runAsGroup"], "this pod's securityContext");
        let volumes: Vec<Volume> = spec.list("volumes").iter().filter_map(|volume| self.volume(volume)).collect();
        let init_containers: Vec<Container> =
            spec.list("initContainers").iter().filter_map(|node| self.container(node, true)).collect();
        for copy in spec.list("containers").iter().filter(|_| !checked.matrices.is_empty()) {
            self.reporter.tell_once_within(copy.span); // the copies of one container stand in one place
        }
        let containers: Vec<Container> =
            spec.list("containers").iter().filter_map(|node| self.container(node, false)).collect();
        // The volume that wiring adds may be mounted as it was written: by a gate of an ordinary container.
        let is_known = |name: &str| {
            volumes.iter().any(|volume| volume.name == name) || (name == PODTURN && !self.manifest.is_wired)
        };
        for mount in init_containers.iter().chain(&containers).flat_map(|container| &container.mounts) {
            if !is_known(&mount.volume) && !self.reporter.has_errors() {
                let message = format!("a container mounts {}, and the pod has no such volume", quote(&mount.volume));
                self.reporter.error(Span::empty(spec.span.start), message);
            }
        }
        let turns = if self.manifest.is_wired { self.turns(&init_containers) } else { String::new() };
        LocalPod {
            name: self.host_name(),
            grace_seconds: self.manifest.facts.termination_grace_period_seconds,
            active_deadline_seconds: self.active_deadline(),
            volumes,
            init_containers,
            containers,
            turns,
        }
    }

    /// The pod's own, or that of its Job: whichever comes first.
    fn active_deadline(&mut self) -> Option<u64> {
        let job = self.manifest.object.get("spec").filter(|_| self.manifest.kind == "Job");
        let nodes = [Some(&self.manifest.spec), job].into_iter().flatten();
        let nodes: Vec<Node> = nodes.filter_map(|node| node.get("activeDeadlineSeconds")).cloned().collect();
        let seconds = nodes.iter().filter(|node| !node.is_null()).filter_map(|node| match node.typed() {
            Some(Typed::Integer(seconds)) if seconds > 0 => Some(seconds.unsigned_abs()),
            _ => {
                let message = format!("activeDeadlineSeconds cannot be {}", node.describe());
                self.reporter.error(node.span, message).help("it is a number of seconds, from 1 on");
                None
            }
        });
        seconds.min()
    }

    /// Where a pod that is wired has its turns: on the volume that the init container sees at `/podturn`.
    fn turns(&mut self, init_containers: &[Container]) -> String {
        let mounts = init_containers.iter().flat_map(|container| &container.mounts);
        let found = mounts.into_iter().find(|mount| mount.path == Path::new(names::MOUNT));
        found.map_or_else(
            || {
                let span = Span::empty(self.manifest.spec.span.start);
                self.reporter
                    .error(span, "this pod is wired by hand, and no init container mounts a volume at /podturn");
                String::new()
            },
            |mount| mount.volume.clone(),
        )
    }

    // --- containers ---

    fn container(&mut self, node: &Node, is_init: bool) -> Option<Container> {
        let name = self.text(node, "name")?;
        // Limits and probes of podturn's own containers are of no interest where nothing is at their mercy.
        let is_ours = self.manifest.is_wired && node.get("image").and_then(Node::as_str).is_some_and(is_podturn);
        if !is_ours {
            self.name_unhonoured(node, &CONTAINER_FIELDS, &format!("container {name}"));
            let whose = format!("the securityContext of container {name}");
            self.name_unhonoured_in(node, "securityContext", &["runAsUser", "runAsGroup"], &whose);
        }
        let mut env = self.environment(node);
        let program = self.program(node, &name, &env)?;
        if matches!(program, Program::Podturn(_)) {
            // By its uid a run goes on after a reboot. A pod of this engine does not outlive one: on a volume that does, it begins anew.
            env.retain(|(name, _)| name != PODTURN_POD_UID);
        }
        let lifecycle = self.lifecycle(node, &name, matches!(program, Program::Podturn(_)));
        let is_sidecar = is_init && node.get("restartPolicy").and_then(Node::as_str) == Some("Always");
        let termination_log =
            node.get("terminationMessagePath").and_then(Node::as_str).unwrap_or("/dev/termination-log");
        Some(Container {
            program,
            working_dir: node.get("workingDir").and_then(Node::as_str).unwrap_or("/").into(),
            mounts: node.list("volumeMounts").iter().filter_map(|mount| self.mount(mount, &env)).collect(),
            user: self.id(node, "runAsUser"),
            group: self.id(node, "runAsGroup"),
            termination_log: termination_log.into(),
            is_sidecar,
            restarts: self.restarts(node, is_init),
            post_start: lifecycle.post_start,
            pre_stop: lifecycle.pre_stop,
            stop_signal: lifecycle.stop_signal.unwrap_or(SIGTERM),
            startup_probe: lifecycle.startup,
            liveness_probe: lifecycle.liveness,
            readiness_probe: lifecycle.readiness,
            is_quiet: false,
            env,
            name,
        })
    }

    fn program(&mut self, node: &Node, name: &str, env: &[(String, String)]) -> Option<Program> {
        let words = |key: &str| -> Vec<String> {
            node.list(key).iter().filter_map(Node::as_str).map(|word| expand(word, env)).collect()
        };
        let (mut command, args) = (words("command"), words("args"));
        if !command.is_empty() {
            command.extend(args);
            return Some(Program::Command(command));
        }
        let image = node.get("image").and_then(Node::as_str).unwrap_or_default();
        if self.manifest.is_wired && is_podturn(image) {
            return Some(Program::Podturn(args));
        }
        let span = node.get("image").map_or(node.span, |image| image.span);
        self.reporter
            .error(span, format!("container {name} has no command, and what its image would run is not known here"))
            .help(
                "add what the image's ENTRYPOINT says, for example `command: [sh, -c, \"...\"]`; --engine podman, and --engine kubectl \
                 --resolve, run what the image says",
            );
        None
    }

    fn mount(&mut self, node: &Node, env: &[(String, String)]) -> Option<Mount> {
        let volume = self.text(node, "name")?;
        let path = PathBuf::from(self.text(node, "mountPath")?);
        let sub_path = node.get("subPath").and_then(Node::as_str).map(str::to_owned);
        let expression = node.get("subPathExpr").filter(|expression| !expression.is_null());
        let expanded = expression.and_then(Node::as_str).map(|text| expand(text, env));
        if let (Some(expression), Some(true)) = (expression, expanded.as_ref().map(|text| text.contains("$("))) {
            let message = "subPathExpr names a variable that the container does not have";
            self.reporter.error(expression.span, message).help("a kubelet would not create the container");
            return None;
        }
        let sub_path = PathBuf::from(sub_path.or(expanded).unwrap_or_default());
        let is_inside = !sub_path.is_absolute() && !sub_path.components().any(|part| part.as_os_str() == "..");
        if !is_inside || !path.is_absolute() {
            self.reporter
                .error(node.span, "mountPath is an absolute path, and subPath one inside the volume (without `..`)");
            return None;
        }
        self.name_unhonoured(node, &MOUNT_FIELDS, &format!("a mount of volume {volume}"));
        let read_only = match node.get("readOnly").map(|read_only| (read_only, read_only.typed())) {
            None => false,
            Some((_, Some(Typed::Bool(read_only)))) => read_only,
            Some((wrong, _)) => {
                self.reporter.error(wrong.span, format!("readOnly is true or false, not {}", wrong.describe()));
                return None;
            }
        };
        Some(Mount { volume, path, sub_path, read_only })
    }

    /// A security context's id, the container's before the pod's.
    fn id(&mut self, container: &Node, key: &str) -> Option<u32> {
        let of = |node: &Node| node.get("securityContext").and_then(|context| context.get(key)).cloned();
        let node = of(container).or_else(|| of(&self.manifest.spec))?;
        match node.typed() {
            Some(Typed::Integer(id)) if u32::try_from(id).is_ok() => u32::try_from(id).ok(),
            _ => {
                self.reporter.error(node.span, format!("{key} is a number, not {}", node.describe()));
                None
            }
        }
    }

    fn host_name(&self) -> String {
        let own = self.manifest.spec.get("hostname").and_then(Node::as_str);
        own.unwrap_or(&self.manifest.name).to_owned()
    }

    // --- what cannot be ---

    fn name_unhonoured_in(&mut self, node: &Node, key: &str, known: &[&str], whose: &str) {
        if let Some(inner) = node.get(key) {
            self.name_unhonoured(inner, known, whose);
        }
    }

    fn name_unhonoured(&mut self, node: &Node, known: &[&str], whose: &str) {
        let others = node.entries().into_iter().flatten();
        let others: Vec<_> = others.filter(|entry| !known.contains(&entry.key.as_str())).collect();
        if let Some(first) = others.first() {
            let names: Vec<&str> = others.iter().map(|entry| entry.key.as_str()).collect();
            self.reporter
                .warning(first.key_span, format!("podturn run does without {} of {whose}", names.join(", ")))
                .help("a cluster honours it");
        }
    }

    /// A string that has to be there.
    fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        let found = node.get(key);
        if let Some(text) = found.and_then(Node::as_str) {
            return Some(text.to_owned());
        }
        let span = found.map_or(Span::empty(node.span.start), |found| found.span);
        self.reporter.error(span, format!("{key} is missing here, or not a string"));
        None
    }
}

/// A scalar as it is written: a quantity may look like a number.
fn text_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => Some(&scalar.text),
        Value::Scalar(_) | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// Whether an image is podturn's own, by whatever registry and tag.
fn is_podturn(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split([':', '@']).next() == Some(PODTURN)
}
