//! The container of a step, alone in a pod.
//!
//! Belongs here: what stays of it, and the texts in it. Does not belong here: what a reference is in an engine.

use podturn_turn::{Probe, Readiness, Step};
use serde_json::{Map, Value, json};

use super::flow::{Flow, Unit};
use super::gaps::Spot;
use super::references::replaced;
use crate::inject::to_json;
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;

/// Where outputs are written in a pod of their own.
pub(super) const OUTPUTS: &str = "/podturn-outputs";

/// How the pod itself is called in a pod.
const SELF: [&str; 2] = ["localhost", "127.0.0.1"];

/// What an engine has in the place of texts.
pub(super) trait Words {
    /// What stands for a reference. An error says why nothing does, as a clause.
    fn reference(&mut self, inner: &str) -> Result<String, String>;

    /// What stands for the address of a service.
    fn host(&mut self, service: &str) -> String;

    /// The value of `PODTURN_ATTEMPT`; `None`: the engine does not tell a container.
    fn attempt(&self) -> Option<&'static str>;

    /// Whether `{{` begins something of the engine's own.
    fn has_braces(&self) -> bool;
}

/// Labels and annotations without podturn's.
pub(super) fn kept(metadata: &Node) -> Map<String, Value> {
    let mut kept = Map::new();
    for field in ["labels", "annotations"] {
        let entries = metadata.get(field).and_then(Node::entries).unwrap_or_default();
        let others = entries.iter().filter(|entry| !entry.key.starts_with("podturn.dev/"));
        let others: Map<String, Value> = others.map(|entry| (entry.key.clone(), to_json(&entry.value))).collect();
        if !others.is_empty() {
            kept.insert(field.to_owned(), json!(others));
        }
    }
    kept
}

/// The container with the engine's words in it. Its `name` is left out.
pub(super) fn container(flow: &mut Flow<'_>, unit: &Unit, words: &mut dyn Words) -> Map<String, Value> {
    let mut texts = Texts { services: flow.services_of(unit), flow, unit, words };
    let mut out = Map::new();
    for entry in unit.container.entries().unwrap_or_default() {
        let value = match entry.key.as_str() {
            // They are the pod's here.
            "name" | "restartPolicy" | "restartPolicyRules" => continue,
            "command" | "args" => entry.value.items().unwrap_or_default().iter().map(|word| texts.of(word)).collect(),
            "env" => entry.value.items().unwrap_or_default().iter().map(|variable| texts.variable(variable)).collect(),
            _ => to_json(&entry.value),
        };
        out.insert(entry.key.clone(), value);
    }
    if let Some(step) = flow.step_of(unit) {
        own_variables(flow, unit, words, &mut out);
        probe(flow, unit, step, &mut out);
    }
    out
}

/// Whether a container's command line speaks of this variable.
pub(super) fn mentions(unit: &Unit, variable: &str) -> bool {
    ["command", "args"].iter().any(|field| {
        let words = unit.container.list(field);
        words.iter().filter_map(Node::as_str).any(|word| word.contains(variable))
    })
}

/// The variables that podturn would give the command, where it speaks of them.
fn own_variables(flow: &mut Flow<'_>, unit: &Unit, words: &dyn Words, out: &mut Map<String, Value>) {
    let mut added = Vec::new();
    if mentions(unit, "PODTURN_STEP") {
        added.push(json!({ "name": "PODTURN_STEP", "value": unit.name }));
    }
    if mentions(unit, "PODTURN_ATTEMPT") {
        match words.attempt() {
            Some(value) => added.push(json!({ "name": "PODTURN_ATTEMPT", "value": value })),
            None => {
                let message = format!("step {} asks which attempt it is, and nobody says", quote(&unit.name));
                let place = Flow::place(unit, "args");
                let help = "do without $PODTURN_ATTEMPT";
                flow.gaps.add(Spot::Step(unit.name.clone()), place, message, help);
            }
        }
    }
    if flow.has_outputs(unit) {
        added.push(json!({ "name": "PODTURN_OUTPUTS", "value": OUTPUTS }));
        let mounts = out.entry("volumeMounts").or_insert_with(|| json!([]));
        if let Value::Array(mounts) = mounts {
            mounts.push(json!({ "name": "podturn-outputs", "mountPath": OUTPUTS }));
        }
    }
    if !added.is_empty()
        && let Value::Array(variables) = out.entry("env").or_insert_with(|| json!([]))
    {
        variables.extend(added);
    }
}

/// The readiness of the plan is the pod's: whoever waits for the service waits for its pod.
fn probe(flow: &mut Flow<'_>, unit: &Unit, step: &Step, out: &mut Map<String, Value>) {
    let Some(readiness) = &step.readiness else { return };
    match handler(&readiness.probe) {
        Some((kind, handler)) => {
            out.insert("readinessProbe".to_owned(), with_counts(kind, handler, readiness));
        }
        None => {
            let message =
                format!("service {} is ready by a line of its log, which no kubelet reads", quote(&unit.name));
            let help = "use one of Kubernetes' own probes";
            flow.step_gap(unit, "readiness", message, help).instead("it is ready when it has started");
        }
    }
}

fn handler(probe: &Probe) -> Option<(&'static str, Value)> {
    Some(match probe {
        Probe::Exec { command } => ("exec", json!({ "command": command })),
        Probe::File { path } => ("exec", json!({ "command": ["test", "-e", path] })),
        Probe::TcpSocket { host, port } => ("tcpSocket", with_host(json!({ "port": port }), host)),
        Probe::HttpGet { host, port, path, https, headers } => {
            let mut get = json!({ "path": path, "port": port });
            if *https {
                get["scheme"] = "HTTPS".into();
            }
            if !headers.is_empty() {
                get["httpHeaders"] =
                    headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            }
            ("httpGet", with_host(get, host))
        }
        Probe::Grpc { port, service } if service.is_empty() => ("grpc", json!({ "port": port })),
        Probe::Grpc { port, service } => ("grpc", json!({ "port": port, "service": service })),
        Probe::Log { .. } => return None,
    })
}

/// A host of another name than the pod's own.
fn with_host(mut value: Value, host: &str) -> Value {
    if !host.is_empty() && !SELF.contains(&host) {
        value["host"] = host.into();
    }
    value
}

/// The probe with all that is not Kubernetes' default.
fn with_counts(kind: &str, handler: Value, readiness: &Readiness) -> Value {
    let mut probe = json!({ kind: handler });
    for (name, value, default) in [
        ("initialDelaySeconds", readiness.initial_delay_seconds, 0),
        ("periodSeconds", readiness.period_seconds, 10),
        ("timeoutSeconds", readiness.timeout_seconds, 1),
        ("successThreshold", readiness.success_threshold, 1),
        ("failureThreshold", readiness.failure_threshold, 3),
    ] {
        if value != default {
            probe[name] = value.into();
        }
    }
    probe
}

/// The texts of one container.
struct Texts<'t, 'm> {
    flow: &'t mut Flow<'m>,
    unit: &'t Unit,
    words: &'t mut dyn Words,
    services: Vec<String>,
}

impl Texts<'_, '_> {
    /// A word of a command line.
    fn of(&mut self, word: &Node) -> Value {
        let text = word.as_str().unwrap_or_default();
        if !self.services.is_empty() && SELF.iter().any(|name| text.contains(name)) {
            self.no_network(word);
        }
        self.replaced(word, text)
    }

    /// A variable. One that is `localhost` and nothing else is the address of the one service that the step needs.
    fn variable(&mut self, variable: &Node) -> Value {
        let mut out = to_json(variable);
        let Some(value) = variable.get("value") else { return out };
        let text = value.as_str().unwrap_or_default();
        match self.services.as_slice() {
            [service] if SELF.contains(&text) => out["value"] = self.words.host(&service.clone()).into(),
            [] => out["value"] = self.replaced(value, text),
            _ => {
                if SELF.iter().any(|name| text.contains(name)) {
                    self.no_network(value);
                }
                out["value"] = self.replaced(value, text);
            }
        }
        out
    }

    fn no_network(&mut self, place: &Node) {
        let (step, services) = (quote(&self.unit.name), self.services.join(" or "));
        let message = format!("step {step} looks for {services} at localhost, and it is a pod of its own here");
        let help = "take the host from a variable of the container whose value is `localhost`: \
                    the export writes the address of the one service that the step waits for";
        self.flow.gaps.add(Spot::Step(self.unit.name.clone()), place.place(), message, help);
    }

    fn replaced(&mut self, place: &Node, text: &str) -> Value {
        let spot = Spot::Step(self.unit.name.clone());
        if self.words.has_braces() && text.contains("{{") {
            let message =
                format!("step {} has {{{{ in a text, where the engine's variables begin", quote(&self.unit.name));
            self.flow.gaps.add(spot.clone(), place.place(), message, "write it in another way, or put it into a file");
        }
        match replaced(text, &mut |inner| self.words.reference(inner)) {
            Ok(text) => text.into(),
            Err(why) => {
                let help = "do without this reference";
                self.flow.gaps.add(spot, place.place(), why, help).instead("the reference as it was");
                text.into()
            }
        }
    }
}
