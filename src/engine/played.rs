//! What `podman kube play` is given: one pod of its own name, whatever kind of object it is a template of.
//!
//! Belongs here: what podman 4 and 5 know of a pod, and what they leave out. Does not belong here: wiring, calling podman.

use std::path::PathBuf;

use podturn_wire::names;
use serde_json::{Map, Value, json};

use crate::inject::{PODTURN, PODTURN_INIT, to_json};
use crate::plan::yaml::Node;
use crate::plan::{Checked, Diagnostics, Manifest, Reporter};

/// So many characters of a name are kept: with what is added it stays a host name.
const NAME_MAX: usize = 57;

/// The longest annotation that podman 4.3 takes, in bytes.
const ANNOTATION_MAX: usize = 63;

/// Init containers stay when they have ended, so that their logs can be read (podman-container-create, `--init-ctr`).
const KEEP_INIT: (&str, &str) = ("io.podman.annotations.init.container.type", "always");

/// Volumes that podman makes for the pod, and that end with it.
const OWN_VOLUMES: [&str; 3] = ["emptyDir", "configMap", "secret"];

/// A pod for podman.
#[derive(Clone, Debug)]
pub struct Play {
    /// Its name.
    pub name: String,
    /// What `podman kube play` reads.
    pub text: String,
    /// Its ordinary containers, the coordinator among them, in the manifest's order.
    pub containers: Vec<String>,
    /// Its init containers, podturn's among them.
    pub init_containers: Vec<String>,
    /// The volumes that have to go with it.
    pub volumes: Vec<String>,
    /// `terminationGracePeriodSeconds`.
    pub grace_seconds: u64,
    /// `activeDeadlineSeconds`, of the pod or of its Job, whichever comes first.
    pub active_deadline_seconds: Option<u64>,
}

/// What podman would not do as the manifest says: warnings, where the run only lacks something. `checked`: its plan.
///
/// # Errors
/// Where it would not be what the manifest says.
pub fn check(manifest: &Manifest, checked: &Checked) -> Result<Diagnostics, Diagnostics> {
    let mut reporter = Reporter::new(&manifest.file);
    let spec = &manifest.spec;
    if let Some(policy) = spec.get("restartPolicy").filter(|policy| policy.as_str() != Some("Never")) {
        let message = "podman starts init containers again and again in a pod whose containers restart";
        reporter.error(policy.span, message).help("--engine local and --engine kubectl run such a pod");
    }
    for container in spec.list("initContainers") {
        if is_sidecar(container) && !is_ours(container) {
            let message = "podman knows no native sidecars: it would wait for the end of this init container";
            let help = "make it an ordinary container, and a step with `service: true`; or --engine local, or kubectl";
            reporter.error(container.place(), message).help(help);
        }
    }
    for container in spec.list("initContainers").iter().chain(spec.list("containers")).filter(|one| !is_ours(one)) {
        left_out(manifest, checked, container, &mut reporter);
    }
    let is_wrong = reporter.has_errors();
    let told = reporter.finish();
    if is_wrong { Err(told) } else { Ok(told) }
}

fn left_out(manifest: &Manifest, checked: &Checked, container: &Node, reporter: &mut Reporter) {
    for mount in container.list("volumeMounts") {
        if reporter.has_errors() {
            return; // one is enough
        }
        let Some(path) = mount.get("subPath").or_else(|| mount.get("subPathExpr")) else { continue };
        let at = mount.get("mountPath").and_then(Node::as_str).unwrap_or_default();
        if manifest.is_wired && at.starts_with(names::MOUNT) {
            let message =
                "podman 4 mounts the whole volume, whatever subPath says: this step would not find its mailbox";
            reporter.error(path.span, message).help("put the plan into the annotation, and let podturn wire the pod");
        } else {
            reporter.warning(path.span, "podman 4 mounts the whole volume, whatever subPath says");
        }
    }
    for field in ["restartPolicy", "restartPolicyRules"] {
        if let Some(node) = container.get(field).filter(|_| !is_sidecar(container)) {
            reporter.warning(node.span, "podman starts no container again by its own policy");
        }
    }
    let name = container.get("name").and_then(Node::as_str).unwrap_or_default();
    if let Some(hooks) = container.get("lifecycle").filter(|_| !checked.manages(name)) {
        reporter.warning(hooks.span, "podman 4 runs no hooks of a container");
    }
}

/// The pod under this name. `manifest`: wired for podman. `stand_ins`: directories of this machine in the place of volumes.
#[must_use]
pub fn play(manifest: &Manifest, name: &str, stand_ins: &[(String, PathBuf)]) -> Play {
    let mut spec = to_json(&manifest.spec);
    let mut own = Vec::new();
    for volume in list(&mut spec, "volumes") {
        let Some(known) = volume["name"].as_str().map(str::to_owned) else { continue };
        let new = format!("{name}-{known}");
        if let Some((_, directory)) = stand_ins.iter().find(|(stand_in, _)| *stand_in == known) {
            *volume = json!({ "hostPath": { "path": directory } });
        } else if OWN_VOLUMES.iter().any(|kind| volume.get(kind).is_some()) {
            own.push(new.clone());
        }
        volume["name"] = new.into(); // podman 4 knows a volume by its name alone, whichever pod it is of
    }
    let names_of = |spec: &mut Value, kind: &str| -> Vec<String> {
        let mut names = Vec::new();
        for container in list(spec, kind) {
            names.extend(container["name"].as_str().map(str::to_owned));
            for mount in list(container, "volumeMounts") {
                mount["name"] = format!("{name}-{}", mount["name"].as_str().unwrap_or_default()).into();
            }
        }
        names
    };
    let (init_containers, containers) = (names_of(&mut spec, "initContainers"), names_of(&mut spec, "containers"));
    let of_job = manifest.object.get("spec").and_then(|spec| spec.get("activeDeadlineSeconds"));
    let deadlines = [spec["activeDeadlineSeconds"].as_u64(), of_job.and_then(|seconds| to_json(seconds).as_u64())];
    let grace_seconds = spec["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata(manifest, name), "spec": spec });
    let beside = manifest.objects.iter().filter(|object| {
        matches!(object.get("kind").and_then(Node::as_str), Some("ConfigMap" | "Secret" | "PersistentVolumeClaim"))
    });
    let documents: Vec<String> = beside.map(to_json).chain([pod]).map(|object| format!("---\n{object}\n")).collect(); // JSON is YAML
    Play {
        name: name.to_owned(),
        text: documents.concat(),
        containers,
        init_containers,
        volumes: own,
        grace_seconds,
        active_deadline_seconds: deadlines.into_iter().flatten().min(),
    }
}

/// Labels and short annotations stay. Those of podturn have done what they are for: the pod is wired.
fn metadata(manifest: &Manifest, name: &str) -> Value {
    let map = |field: &str| match manifest.metadata.get(field).map(to_json) {
        Some(Value::Object(entries)) => entries,
        _ => Map::new(),
    };
    let mut annotations = map("annotations");
    annotations.retain(|key, value| {
        !key.starts_with("podturn.dev/") && value.as_str().is_some_and(|text| text.len() <= ANNOTATION_MAX)
    });
    annotations.insert(KEEP_INIT.0.to_owned(), KEEP_INIT.1.into());
    json!({ "name": name, "labels": map("labels"), "annotations": annotations })
}

fn is_sidecar(container: &Node) -> bool {
    container.get("restartPolicy").and_then(Node::as_str) == Some("Always")
}

/// podturn's own, of an earlier wiring that is done anew.
fn is_ours(container: &Node) -> bool {
    matches!(container.get("name").and_then(Node::as_str), Some(PODTURN | PODTURN_INIT))
}

fn list<'v>(value: &'v mut Value, key: &str) -> impl Iterator<Item = &'v mut Value> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The name of a pod of this run alone: two runs of one manifest may go on at once.
#[must_use]
pub fn name_of_a_run(manifest: &str) -> String {
    use std::hash::{BuildHasher, Hasher};
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789"; // none that looks like another
    let mut bits = std::hash::RandomState::new().build_hasher().finish(); // other keys each time
    let mut name: String = manifest.chars().take(NAME_MAX).collect();
    name.push('-');
    for _ in 0..5 {
        name.push(char::from(LETTERS[(bits % 32) as usize]));
        bits /= 32;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_of_two_deadlines_counts() {
        let text = "apiVersion: batch/v1\nkind: Job\nmetadata: { name: j }\nspec:\n  activeDeadlineSeconds: 5\n  template:\n    \
            metadata: { annotations: { podturn.dev/plan: sequential } }\n    spec:\n      restartPolicy: Never\n      \
            activeDeadlineSeconds: 60\n      containers: [{ name: a, image: i, command: [a] }]\n";
        let manifest = Manifest::read("j.yaml", text).expect("a manifest");
        assert_eq!(play(&manifest, "j-1", &[]).active_deadline_seconds, Some(5));
    }

    #[test]
    fn only_hooks_that_are_no_steps_are_warned_of() {
        let hooks = "lifecycle: { postStart: { exec: { command: [a] } } }";
        let warned = |plan: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Pod\nmetadata: {{ name: p, annotations: {{ podturn.dev/plan: '{plan}' }} }}\nspec:\n  \
                 restartPolicy: Never\n  containers:\n  - {{ name: build, image: i, command: [a], {hooks} }}\n  \
                 - {{ name: bu, image: i, command: [a], {hooks} }}\n"
            );
            let manifest = Manifest::read("p.yaml", text).expect("a manifest");
            let checked = manifest.check(&manifest.facts).expect("a plan");
            let told = check(&manifest, &checked).expect("nothing is refused").to_string();
            told.matches("podman 4 runs no hooks").count()
        };
        assert_eq!(warned("sequential"), 0, "the plan names no container, and all are steps");
        assert_eq!(warned("steps: { build: {} }"), 1, "bu is none, though the plan has these letters");
        assert_eq!(warned("steps: { build: { matrix: { of: [a, b] } }, bu: {} }"), 0);
    }
}
