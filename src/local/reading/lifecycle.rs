//! What a kubelet does beside running a container: hooks, probes, and starting it again.

use super::Reading;
use crate::local::pod::{ContainerProbe, Hook, Policy, Program, Restarts, Rule, Try};
use crate::plan::yaml::{Entry, Node, Typed};
use crate::plan::{PortFacts, RestartPolicy, Span, container_hook, container_ports, container_probe, stop_signal};

/// What asks a container to end, where nothing else is said. An image's own STOPSIGNAL is not known here.
pub(super) const SIGTERM: i32 = 15;

/// Hooks and probes of a container.
#[derive(Default)]
pub(super) struct Lifecycle {
    pub(super) post_start: Option<Hook>,
    pub(super) pre_stop: Option<Hook>,
    pub(super) stop_signal: Option<i32>,
    pub(super) startup: Option<ContainerProbe>,
    pub(super) liveness: Option<ContainerProbe>,
    pub(super) readiness: Option<ContainerProbe>,
}

/// The three probes of a container.
const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];

impl Reading<'_> {
    /// `is_podturn`: it runs this program, which is what `podturn` means in its commands.
    pub(super) fn lifecycle(&mut self, node: &Node, name: &str, is_podturn: bool) -> Lifecycle {
        let ports = container_ports(node);
        let [startup, liveness, readiness] = PROBES.map(|key| self.probe(entry(node, key)?, &ports, is_podturn));
        let mut lifecycle = Lifecycle { startup, liveness, readiness, ..Lifecycle::default() };
        let Some(hooks) = entry(node, "lifecycle") else { return lifecycle };
        self.name_unhonoured(
            &hooks.value,
            &["postStart", "preStop", "stopSignal"],
            &format!("the lifecycle of container {name}"),
        );
        for hook in hooks.value.entries().unwrap_or_default().iter().filter(|hook| !hook.value.is_null()) {
            match hook.key.as_str() {
                "postStart" => lifecycle.post_start = self.hook(hook, &ports, is_podturn),
                "preStop" => lifecycle.pre_stop = self.hook(hook, &ports, is_podturn),
                "stopSignal" => lifecycle.stop_signal = stop_signal(&hook.value, &mut self.reporter).map(i32::from),
                _ => {}
            }
        }
        lifecycle
    }

    fn probe(&mut self, entry: &Entry, ports: &[PortFacts], is_podturn: bool) -> Option<ContainerProbe> {
        let read = container_probe(&entry.value, ports, &mut self.reporter)?;
        let what = match read.probe {
            podturn_turn::Probe::Exec { command } => Try::Exec(program(command, is_podturn)),
            network => Try::Network(network),
        };
        let grace = entry.value.get("terminationGracePeriodSeconds");
        let grace_seconds = match grace.map(|node| (node, node.typed())) {
            None => None,
            Some((_, Some(Typed::Integer(seconds)))) if seconds >= 0 => Some(seconds.unsigned_abs()),
            Some((node, _)) => {
                self.reporter.error(node.span, format!("a number of seconds is wanted here, not {}", node.describe()));
                None
            }
        };
        Some(ContainerProbe {
            what,
            initial_delay_seconds: read.initial_delay_seconds,
            period_seconds: read.period_seconds,
            timeout_seconds: read.timeout_seconds,
            success_threshold: read.success_threshold,
            failure_threshold: read.failure_threshold,
            grace_seconds,
        })
    }

    /// A hook. The API takes `tcpSocket` too, and no kubelet runs it: the hook fails.
    fn hook(&mut self, hook: &Entry, ports: &[PortFacts], is_podturn: bool) -> Option<Hook> {
        let [entry] = hook.value.entries().unwrap_or_default() else {
            let message = format!("a {} hook does one thing", hook.key);
            self.reporter.error(hook.key_span, message).help("write one of exec, httpGet, sleep");
            return None;
        };
        match entry.key.as_str() {
            "exec" | "httpGet" => {
                let read = container_hook(&entry.key, &entry.value, ports, &mut self.reporter)?;
                Some(match read {
                    podturn_turn::Probe::Exec { command } => Hook::Exec(program(command, is_podturn)),
                    network => Hook::Network(network),
                })
            }
            "sleep" => match entry.value.get("seconds").and_then(Node::typed) {
                Some(Typed::Integer(seconds)) if seconds >= 0 => Some(Hook::Sleep(seconds.unsigned_abs())),
                _ => {
                    self.reporter.error(entry.key_span, "sleep has a number of `seconds`");
                    None
                }
            },
            other => {
                self.reporter
                    .error(entry.key_span, format!("a hook cannot be {other}"))
                    .help("write one of exec, httpGet, sleep");
                None
            }
        }
    }

    // --- starting again ---

    /// When the container is started again: by its own rules and policy, else by the pod's. An init container that has succeeded
    /// is over.
    pub(super) fn restarts(&mut self, node: &Node, is_init: bool) -> Restarts {
        let pod = match self.manifest.facts.restart_policy {
            RestartPolicy::Never => Policy::Never,
            RestartPolicy::OnFailure => Policy::OnFailure,
            RestartPolicy::Always if is_init => Policy::OnFailure,
            RestartPolicy::Always => Policy::Always,
        };
        let own = entry(node, "restartPolicy");
        let policy = match own.map(|entry| (entry, entry.value.as_str())) {
            None => pod,
            Some((_, Some("Never"))) => Policy::Never,
            Some((_, Some("OnFailure"))) => Policy::OnFailure,
            Some((_, Some("Always"))) => Policy::Always,
            Some((entry, _)) => {
                let message = format!("restartPolicy cannot be {}", entry.value.describe());
                self.reporter.error(entry.value.span, message).help("write Never, OnFailure or Always");
                pod
            }
        };
        let rules = entry(node, "restartPolicyRules");
        let listed = rules.and_then(|rules| rules.value.items()).unwrap_or_default();
        if let (Some(rules), None, false) = (rules, own, listed.is_empty()) {
            self.reporter
                .error(rules.key_span, "restartPolicyRules need the container's own restartPolicy, for all other ends")
                .help("add `restartPolicy: Never` to this container");
        }
        Restarts { rules: listed.iter().filter_map(|rule| self.rule(rule)).collect(), policy }
    }

    fn rule(&mut self, node: &Node) -> Option<Rule> {
        let mut wrong = |node: Option<&Node>, message: &str, help: &str, at: Span| {
            self.reporter.error(node.map_or(at, |node| node.span), message).help(help);
        };
        let action = node.get("action");
        let is_for_all = match action.and_then(Node::as_str) {
            Some("Restart") => false,
            Some("RestartAllContainers") => true,
            _ => {
                wrong(
                    action,
                    "this is no action of a restart rule",
                    "write Restart or RestartAllContainers",
                    node.span,
                );
                return None;
            }
        };
        let codes = node.get("exitCodes");
        let operator = codes.and_then(|codes| codes.get("operator"));
        let is_in = match operator.and_then(Node::as_str) {
            Some("In") => true,
            Some("NotIn") => false,
            _ => {
                wrong(
                    operator,
                    "exitCodes have an operator",
                    "write In or NotIn",
                    codes.map_or(node.span, |it| it.span),
                );
                return None;
            }
        };
        let values = codes.map(|codes| codes.list("values")).unwrap_or_default();
        let code = |node: &Node| match node.typed() {
            Some(Typed::Integer(code)) => i32::try_from(code).ok().filter(|code| (0..=255).contains(code)),
            _ => None,
        };
        let read: Option<Vec<i32>> = values.iter().map(code).collect();
        match read.filter(|codes| !codes.is_empty()) {
            Some(codes) => Some(Rule { codes, is_in, is_for_all }),
            None => {
                wrong(codes.and_then(|codes| codes.get("values")), "values are exit codes", "as in [137]", node.span);
                None
            }
        }
    }
}

fn program(command: Vec<String>, is_podturn: bool) -> Program {
    match command.split_first() {
        Some((first, arguments)) if is_podturn && first == "podturn" => Program::Podturn(arguments.to_vec()),
        _ => Program::Command(command),
    }
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Entry> {
    node.entries()?.iter().rev().find(|entry| entry.key == key && !entry.value.is_null())
}
