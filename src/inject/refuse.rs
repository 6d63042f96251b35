//! What cannot be wired, and what will surprise: each with its place, the reason and what to do.
//!
//! Belongs here: questions about one pod. Does not belong here: questions about the plan alone (`plan::check` has them).

use std::collections::BTreeMap;

use podturn_wire::names::MOUNT;

use super::handler::Finding;
use super::names::{PODTURN, PODTURN_INIT, PODTURN_SHIM, programs};
use super::options::{IMAGE_VOLUMES_SINCE, ImageConfig, Options, SIDECARS_SINCE, ShimFrom};
use super::probes::{share_of, turned};
use super::wire::job_of;
use crate::plan::diagnostic::quote;
use crate::plan::site::{at, below};
use crate::plan::yaml::{Entry, Node, Typed};
use crate::plan::{Checked, ContainerRestarts, Manifest, Placement, Reporter, RestartPolicy, Span};

/// Service meshes whose proxies were ordinary containers before there were native sidecars.
const PROXIES: [&str; 5] = ["istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane", "cloud-sql-proxy"];

/// Everything about a pod that was found with its document.
pub(super) struct Questions<'q> {
    pub document: &'q Node,
    pub manifest: &'q Manifest,
    pub checked: &'q Checked,
    pub options: &'q Options,
}

impl Questions<'_> {
    /// Asks all of them.
    pub(super) fn ask(&self, reporter: &mut Reporter) {
        self.sidecars(reporter);
        self.shim_from(reporter);
        self.process_namespace(reporter);
        self.windows(reporter);
        super::sizing::ask(self.manifest, self.checked, self.options, reporter);
        self.names(reporter);
        for (name, container) in self.steps() {
            self.command(name, container, reporter);
            mount_points(name, container, reporter);
            self.restarts(name, container, reporter);
            self.probes_and_hooks(name, container, reporter);
        }
        self.unmanaged(reporter);
        self.never_completes(reporter);
        self.runs_again(reporter);
        self.users(reporter);
    }

    fn spec(&self) -> &Node {
        &self.manifest.spec
    }

    fn containers(&self) -> impl Iterator<Item = (&str, &Node)> {
        let items = self.spec().list("containers");
        items.iter().filter_map(|item| Some((item.get("name")?.as_str()?, item)))
    }

    fn steps(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.containers().filter(|(name, _)| self.checked.manages(name))
    }

    // --- refusals ---

    fn sidecars(&self, reporter: &mut Reporter) {
        let kubernetes = self.options.kubernetes;
        if self.options.placement == Placement::Sidecar && kubernetes < SIDECARS_SINCE {
            reporter
                .error(self.manifest.plan_key, format!("Kubernetes {kubernetes} has no native sidecars"))
                .help(format!("--placement container, or --kubernetes {SIDECARS_SINCE} and above"));
        }
    }

    fn shim_from(&self, reporter: &mut Reporter) {
        let Options { kubernetes, shim_from, .. } = self.options;
        let (message, help) = match self.options.shim_image() {
            _ if *shim_from == ShimFrom::Volume => return,
            _ if *kubernetes < IMAGE_VOLUMES_SINCE => (
                format!("Kubernetes {kubernetes} mounts no image as a volume, unless it is told to"),
                format!("leave --shim-from image out, or --kubernetes {IMAGE_VOLUMES_SINCE} and above"),
            ),
            _ if self.options.whole_volume => (
                "podman 4, which --whole-volume is for, mounts no image as a volume of a pod".to_owned(),
                "one of --shim-from image and --whole-volume".to_owned(),
            ),
            Err(help) => {
                ("podturn's own image is named by digest here, which tells nothing of the shim's".to_owned(), help)
            }
            Ok(_) => return,
        };
        reporter.error(self.manifest.plan_key, message).help(help);
    }

    fn process_namespace(&self, reporter: &mut Reporter) {
        let is_true = |key: &str| self.spec().get(key).filter(|node| node.typed() == Some(Typed::Bool(true)));
        if let Some(node) = is_true("hostPID").filter(|_| self.options.share_pid) {
            reporter
                .error(node.place(), "a pod with the host's process namespace cannot share one of its own")
                .help("leave hostPID out, or use --no-share-pid: order is kept, usage is not shown");
        }
    }

    fn windows(&self, reporter: &mut Reporter) {
        let os = self.spec().get("os").and_then(|os| os.get("name"));
        if let Some(node) = os.filter(|os| os.as_str() == Some("windows")) {
            reporter.error(node.place(), "podturn's shim is a Linux program").help("a pod of Windows has no plan");
        }
    }

    fn names(&self, reporter: &mut Reporter) {
        for list in ["containers", "initContainers", "volumes"] {
            // Whatever the shim comes from: `uninject` knows what is podturn's by these names.
            let ours: &[&str] = if list == "volumes" { &[PODTURN, PODTURN_SHIM] } else { &[PODTURN, PODTURN_INIT] };
            for item in self.spec().list(list) {
                let Some(node) = item.get("name") else { continue };
                let Some(name) = node.as_str().filter(|name| ours.contains(name)) else { continue };
                let what = if list == "volumes" { "volume" } else { "container" };
                reporter
                    .error(node.place(), format!("the name {} is taken: podturn's own {what} has it", quote(name)))
                    .help(format!("give this {what} another name"));
            }
        }
    }

    /// Without a command the shim has nothing to run: what the image says is not in the manifest.
    fn command(&self, name: &str, container: &Node, reporter: &mut Reporter) {
        if container.get("command").and_then(Node::items).is_some_and(|words| !words.is_empty()) {
            return;
        }
        let image = container.get("image");
        let text = image.and_then(Node::as_str).unwrap_or_default();
        let span = image.map_or(Span::empty(container.span.start), Node::place);
        let has_args = container.get("args").and_then(Node::items).is_some_and(|args| !args.is_empty());
        match (self.options.images.get(text), self.options.unread.get(text)) {
            (Some(config), _) if config.entrypoint.is_empty() && config.cmd.is_empty() && !has_args => {
                reporter
                    .error(span, format!("step {} has no command, and neither has its image", quote(name)))
                    .help("add `command: [...]`");
            }
            (Some(config), _) => self.image_user(name, container, config, reporter),
            (None, Some((why, help))) => {
                let error = reporter.error(span, format!("step {} has no command: {why}", quote(name)));
                if let Some(help) = help {
                    error.help(help.clone());
                }
            }
            (None, None) => {
                let what = format!("step {} has no command, and what its image runs is not known here", quote(name));
                reporter.error(span, what).help(
                    "--resolve reads it from the image; or add what its ENTRYPOINT says, such as \
                     `command: [sh, -c, \"...\"]`",
                );
            }
        }
    }

    /// A kubelet cannot tell whether a user that is named in the image is root.
    fn image_user(&self, name: &str, container: &Node, config: &ImageConfig, reporter: &mut Reporter) {
        let said = |field: &str| {
            let own = container.get("securityContext").and_then(|context| context.get(field));
            own.or_else(|| self.spec().get("securityContext").and_then(|context| context.get(field)))
        };
        let non_root = said("runAsNonRoot").filter(|node| node.typed() == Some(Typed::Bool(true)));
        if let (Some(node), None, Some(why)) = (non_root, said("runAsUser"), &config.refused_as_non_root) {
            reporter
                .warning(
                    node.place(),
                    format!("no kubelet starts step {}: runAsNonRoot is set, and {why}", quote(name)),
                )
                .help("add `runAsUser` with the user's number");
        }
    }

    fn probes_and_hooks(&self, name: &str, container: &Node, reporter: &mut Reporter) {
        let share = share_of(self.checked.plan.grace_period, self.manifest.facts.termination_grace_period_seconds);
        let programs = programs(name, &self.options.shim_from);
        for Finding { span, message, help, is_error } in turned(name, &programs, share, container).findings {
            if is_error { reporter.error(span, message) } else { reporter.warning(span, message) }.help(help);
        }
    }

    /// A step whose container the kubelet would start again waits for that after its end, so the pod would never complete.
    fn restarts(&self, name: &str, container: &Node, reporter: &mut Reporter) {
        if self.manifest.facts.restart_policy == RestartPolicy::Always {
            return;
        }
        // Only a sidecar is still there when it comes back.
        let restarts = self.manifest.facts.container(name).and_then(|container| container.restarts);
        if restarts == Some(ContainerRestarts::WhenKilled) && self.options.placement == Placement::Sidecar {
            return;
        }
        let is_own = |entry: &&Entry| match entry.key.as_str() {
            "restartPolicy" => entry.value.as_str() != Some("Never"),
            "restartPolicyRules" => entry.value.items().is_some_and(|rules| !rules.is_empty()),
            _ => false,
        };
        for entry in container.entries().unwrap_or_default().iter().filter(is_own) {
            let message = format!("step {} has a {} of its own: its container would never end", quote(name), entry.key);
            reporter.error(entry.key_span, message).help("leave it out; `retry` at the step tries its command again");
        }
    }

    // --- surprises ---

    fn unmanaged(&self, reporter: &mut Reporter) {
        if self.manifest.facts.restart_policy == RestartPolicy::Always {
            return;
        }
        for (name, container) in self.containers().filter(|(name, _)| !self.checked.manages(name)) {
            let span = container.get("name").map_or(container.place(), Node::place);
            if PROXIES.contains(&name) {
                reporter
                    .warning(span, format!("{} is an ordinary container here: it never ends, and so the pod never does", quote(name)))
                    .code("PT205")
                    .help("make it a native sidecar: an init container with `restartPolicy: Always`; meshes do that by a setting");
            } else {
                reporter
                    .warning(
                        span,
                        format!(
                            "{} is not in the plan: it starts at once, and the pod ends only when it does, too",
                            quote(name)
                        ),
                    )
                    .code("PT205")
                    .help("make it a step (with `service: true` where it never ends), or a native sidecar");
            }
        }
    }

    fn never_completes(&self, reporter: &mut Reporter) {
        let has_task = self.checked.plan.steps.iter().any(|step| !step.service);
        if self.manifest.kind == "Pod" && has_task && self.spec().get("restartPolicy").is_none() {
            reporter
                .warning(
                    self.manifest.plan_key,
                    "this pod has no restartPolicy, so it is Always: its containers restart, and it never completes",
                )
                .code("PT204")
                .help("write `restartPolicy: Never`");
        }
    }

    fn runs_again(&self, reporter: &mut Reporter) {
        let Some(job) = job_of(self.manifest).filter(|_| !self.options.job_defaults) else { return };
        let Some(spec) = at(self.document, &below(job, "spec")) else { return };
        let limit = spec.get("backoffLimit");
        if limit.is_some_and(|limit| limit.typed() == Some(Typed::Integer(0))) {
            return;
        }
        let again = limit.map_or("6 times".to_owned(), |limit| match limit.typed() {
            Some(Typed::Integer(times)) => format!("{times} times"),
            _ => "again".to_owned(),
        });
        reporter
            .warning(
                limit.map_or(self.manifest.plan_key, Node::place),
                format!("a failed pod of this Job is replaced up to {again}, and the whole plan runs again"),
            )
            .code("PT203")
            .help("--job-defaults writes `backoffLimit: 0`; `retry` at a step is what tries that step again");
    }

    /// Steps with one user of their own reach each other's files through /proc in a shared process namespace.
    fn users(&self, reporter: &mut Reporter) {
        if !self.options.share_pid {
            return;
        }
        let mut by_user: BTreeMap<i64, Vec<(&str, Span)>> = BTreeMap::new();
        for (name, container) in self.steps() {
            let user = container.get("securityContext").and_then(|context| context.get("runAsUser"));
            if let Some((Typed::Integer(uid), node)) = user.and_then(|user| Some((user.typed()?, user))) {
                by_user.entry(uid).or_default().push((name, node.place()));
            }
        }
        if by_user.len() < 2 {
            return; // nobody keeps them apart
        }
        for (uid, steps) in by_user.iter().filter(|(_, steps)| steps.len() > 1) {
            let names: Vec<&str> = steps.iter().map(|(name, _)| *name).collect();
            reporter
                .warning(
                    steps[1].1,
                    format!("{} run as the same user {uid}: each can reach the other's files", names.join(" and ")),
                )
                .code("PT208")
                .help("give them users of their own, or --no-share-pid");
        }
    }
}

/// A step that mounts something over its mailbox would wait for ever.
fn mount_points(name: &str, container: &Node, reporter: &mut Reporter) {
    for mount in container.list("volumeMounts") {
        let Some(path) = mount.get("mountPath") else { continue };
        let text = path.as_str().unwrap_or_default().trim_end_matches('/');
        if text == MOUNT || text.starts_with(&format!("{MOUNT}/")) {
            reporter
                .error(path.place(), format!("{MOUNT} is where step {} has its mailbox", quote(name)))
                .help("mount this volume somewhere else");
        }
    }
}
