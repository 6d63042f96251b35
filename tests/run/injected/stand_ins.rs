//! Shell scripts in the place of what images would bring: behind the shim's `--`, and for every other container. Where podturn asks
//! a program (`--exec`) that no machine has, a script answers. Everything else stays as `inject` has written it.

use podturn_turn::Plan;
use serde_json::{Value, json};

use super::outputs::spec_of;
use super::questions::QUESTIONS;
use crate::pod::{Place, add};

/// What a service has to do so that its probes, which stay as they are, find it well.
const DUTIES: [(&str, &str, &str); 2] = [
    // As many files as its readiness counts.
    ("dollars.out.yaml", "db", "cd /alone && : > file"),
    ("stranger-exec-liveness.out.yaml", "liveness", ": > /tmp/healthy"),
];

/// The gate at which those wait that use a service: until it was asked what it has to be asked.
pub(super) const ASKED: &str = "asked";

/// Longer than any test, and ended by a stop.
const LASTS: &str = "exec sleep 100000";

/// Programs of questions that this machine has.
const KNOWN: [&str; 2] = ["cat", "sh"];

/// Puts a script into every container but podturn's own. Each notes in `/notes/played` what it does. Returns the init containers that
/// are no sidecars.
pub(super) fn put(root: &mut Value, place: &Place, file: &str, plan: &Plan) -> Vec<String> {
    place.gate(ASKED);
    let spec = spec_of(root);
    let mut inits = Vec::new();
    for (list, is_init) in [("initContainers", true), ("containers", false)] {
        for container in spec[list].as_array_mut().expect("a list") {
            let name = container["name"].as_str().expect("a name").to_owned();
            let is_ours = container["command"].is_null()
                && ["init", "coordinate"].iter().any(|verb| container["args"][0] == *verb);
            if is_ours {
                continue;
            }
            let step = plan.steps.iter().find(|step| step.name == name);
            let lasts =
                if is_init { container["restartPolicy"] == "Always" } else { step.is_some_and(|step| step.service) };
            let duty =
                DUTIES.iter().find(|(of, step, _)| (*of, *step) == (file, &name)).map_or(":", |(_, _, duty)| duty);
            let script = match (lasts, is_init) {
                (true, _) => format!("{duty} && echo {name} begins >> /notes/played && {LASTS}"),
                (false, true) => {
                    inits.push(name.clone());
                    format!("echo {name} initialises >> /notes/played")
                }
                (false, false) => {
                    let on = step.map_or(&[][..], |step| &step.depends_on);
                    let uses = on.iter().any(|on| plan.steps[on.step.index()].service);
                    let work = if uses { format!("read _ < /notes/{ASKED}") } else { ":".to_owned() };
                    format!("echo {name} begins >> /notes/played && {work} && echo {name} ends >> /notes/played")
                }
            };
            replace(container, step.is_some(), script);
            if file == "dollars.out.yaml" && name == "db" {
                container["workingDir"] = json!("/alone");
            }
            ask_often(container);
            answer(container, &name);
        }
    }
    add_to(spec, "volumes", json!({ "name": "notes", "hostPath": { "path": place.path("notes") } }));
    inits
}

/// The command that the shim gets, or the container's own.
fn replace(container: &mut Value, is_step: bool, script: String) {
    let words = container["command"].as_array().cloned().unwrap_or_default();
    let head = words.iter().position(|word| word == "--").map_or(&[][..], |end| &words[..=end]);
    let is_shim = |word: &Value| word.as_str().is_some_and(|word| word.ends_with("/podturn-shim"));
    assert_eq!(head.first().is_some_and(is_shim), is_step, "the shim stands before steps alone: {container:#}");
    let command = [head, &[json!("sh"), json!("-c"), json!(script)]].concat();
    container["command"] = Value::Array(command);
    container.as_object_mut().expect("a map").remove("args");
    add_to(container, "volumeMounts", json!({ "name": "notes", "mountPath": "/notes" }));
}

/// Every second, since nobody waits ten for the next time.
fn ask_often(container: &mut Value) {
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if let Some(probe) = container.get_mut(probe) {
            probe["periodSeconds"] = json!(1);
        }
    }
}

/// A program that a probe asks (`--exec COUNT WORD...`).
fn answer(container: &mut Value, name: &str) {
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let Some(words) = container.pointer_mut(&format!("/{probe}/exec/command")).and_then(Value::as_array_mut) else {
            continue;
        };
        let Some(at) = words.iter().position(|word| word == "--exec") else { continue };
        let count: usize = words[at + 1].as_str().and_then(|count| count.parse().ok()).expect("how many words follow");
        let question = at + 2..at + 2 + count;
        if !KNOWN.contains(&words[question.start].as_str().expect("a word")) {
            words[at + 1] = json!("3");
            words
                .splice(question, [json!("sh"), json!("-c"), json!(format!("echo {name}: runs > /notes/{QUESTIONS}"))]);
        }
    }
}

fn add_to(parent: &mut Value, list: &str, item: Value) {
    if parent[list].is_null() {
        parent[list] = json!([]);
    }
    add(&mut parent[list], item);
}
