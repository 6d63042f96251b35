//! `manifests/`: each goes in and comes back, is what the Kubernetes API takes, and does what its comment says.
//!
//! Belongs here: what holds for all of them. The Pods that people start from have stories of their own in `tests/run/five.rs`,
//! `tests/run/recipes.rs` and `tests/podman`.

#[path = "../support/crd.rs"]
mod crd;
#[path = "../support/not_validated.rs"]
mod not_validated;
#[path = "../support/objects.rs"]
mod objects;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use crd::Definition;
use not_validated::not_validated;
use objects::objects;
use podturn::inject::{Options, Version, inject, uninject};
use podturn::plan::SourceFile;
use serde_json::{Value, json};

/// Kubernetes versions whose schemas have to take the manifests, before and after `podturn inject`.
const VERSIONS: [&str; 9] = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

/// The first of them that serves MutatingAdmissionPolicies as v1.
const POLICIES_SINCE: &str = "1.36";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// All manifests, by name.
fn manifests() -> Vec<(String, String)> {
    let entries = fs::read_dir(directory()).expect("there are manifests").map(|entry| entry.expect("a file").path());
    let mut found: Vec<(String, String)> = entries
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("it can be read");
            (path.file_name().expect("a name").to_string_lossy().into_owned(), text)
        })
        .collect();
    found.sort();
    assert!(found.len() >= 18, "they are there");
    found
}

/// With native sidecars, for the oldest Kubernetes that has them.
fn wired(name: &str, text: &str) -> String {
    let options = Options { kubernetes: Version { major: 1, minor: 29 }, ..Options::default() };
    let done = inject(&SourceFile::new(name, text), &options);
    done.unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).text
}

#[test]
fn the_page_names_every_manifest_and_no_other() {
    let page = fs::read_to_string(directory().join("README.md")).expect("the page");
    let links = page.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap_or_default());
    let links: BTreeSet<&str> = links.collect();
    for link in &links {
        assert!(directory().join(link).exists(), "{link} is not there");
    }
    let named: BTreeSet<&str> = links.into_iter().filter(|link| link.ends_with(".yaml")).collect();
    let manifests = manifests();
    let there: BTreeSet<&str> = manifests.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(named, there);
    for (name, text) in &manifests {
        assert!(text.starts_with("# "), "{name} says at its top what it is");
        assert!(text.lines().count() <= 110 || name == "auto-inject.yaml", "{name} is small enough to read");
        let of_itself = format!("manifests/{name}");
        let is_shown = text.contains(&of_itself) || name == "auto-inject.yaml";
        assert!(is_shown, "{name} says how it is run");
    }
}

#[test]
fn every_manifest_goes_in_and_comes_back() {
    for (name, text) in manifests() {
        let out = wired(&name, &text);
        assert_eq!(wired(&name, &out), out, "{name}: a second time changes nothing");
        let back = uninject(&SourceFile::new(name.as_str(), out.as_str())).expect("it can be taken back");
        assert_eq!(back.text, text, "{name}");
        let is_left = name == "auto-inject.yaml" || text.contains("PODTURN_PLAN");
        assert_eq!(out == text, is_left, "{name}: those without a plan and those that are wired stay as they are");
    }
}

#[test]
fn jobsets_and_queues_are_what_their_own_schemas_take() {
    let mut seen = BTreeSet::new();
    for (name, text) in manifests() {
        for object in [objects(&text), objects(&wired(&name, &text))].concat() {
            let kind = object["kind"].as_str().expect("a kind").to_owned();
            if !is_custom(&object) {
                continue;
            }
            let definition = Definition::of(&object);
            let wrong = definition.wrong(&object);
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
            // And it does look: a slip would be found.
            let slip = object.to_string().replacen("\"spec\":{", "\"spec\":{\"slip\":1,", 1);
            if object.get("spec").is_some() {
                assert!(!definition.wrong(&serde_json::from_str(&slip).expect("JSON")).is_empty(), "{name}");
            }
            seen.insert(kind);
        }
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["ClusterQueue", "JobSet", "LocalQueue", "ResourceFlavor"]);
}

fn is_custom(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|text| text.contains(".x-k8s.io/"))
}

/// The objects that Kubernetes itself knows; of a JobSet, the Jobs that it makes.
fn known(object: Value) -> Vec<Value> {
    if !is_custom(&object) {
        return vec![object];
    }
    let jobs = object["spec"]["replicatedJobs"].as_array().cloned().unwrap_or_default();
    let job = |job: Value| json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": job["name"] }, "spec": job["template"]["spec"] });
    jobs.into_iter().map(job).collect()
}

#[test]
fn the_api_takes_every_manifest_before_and_after() {
    let validate = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/kubernetes-validate");
    if !validate.exists() {
        return not_validated(&format!("{} is not there (.ci/run installs it)", validate.display()));
    }
    let scratch = tempfile::tempdir().expect("a directory for the test");
    let (mut files, mut policies) = (Vec::new(), Vec::new());
    for (name, text) in manifests() {
        for (state, text) in [("before", text.clone()), ("after", wired(&name, &text))] {
            let objects: Vec<String> = objects(&text).into_iter().flat_map(known).map(named).collect();
            let path = scratch.path().join(format!("{state}-{name}"));
            fs::write(&path, objects.join("\n---\n")).expect("it can be written");
            if name == "auto-inject.yaml" { policies.push(path) } else { files.push(path) }
        }
    }
    for version in VERSIONS {
        let mut command = std::process::Command::new(&validate);
        command.args(["--strict", "-k", version]).args(&files);
        if version >= POLICIES_SINCE {
            command.args(&policies);
        }
        let output = match command.output() {
            // Its Python may be root's own, where this runs as another user after root has.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return not_validated(&format!("this user cannot run {}", validate.display()));
            }
            output => output.expect("the validator starts"),
        };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "Kubernetes {version}:\n{}", String::from_utf8_lossy(&said));
    }
}

/// The validator wants a name where the API server makes one.
fn named(mut object: Value) -> String {
    if let Some(prefix) = object["metadata"].as_object_mut().and_then(|metadata| metadata.remove("generateName")) {
        object["metadata"]["name"] = format!("{}x", prefix.as_str().expect("a text")).into();
    }
    object.to_string()
}

/// Runs a manifest as its comment says; its output, and the phases of its steps in the order of the plan.
fn played(arguments: &[&str]) -> (String, Vec<String>) {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PODTURN_")) {
        command.env_remove(name);
    }
    let output = command.current_dir(directory()).args(["run", "--json"]).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    let phase =
        |step: &Value| format!("{} {}", step["name"].as_str().unwrap_or("?"), step["phase"].as_str().unwrap_or("?"));
    (said, state["steps"].as_array().expect("steps").iter().map(phase).collect())
}

/// What comes first has to stand before what comes next.
fn in_order(said: &str, words: &[&str]) {
    let places: Vec<usize> =
        words.iter().map(|word| said.find(word).unwrap_or_else(|| panic!("{word}: {said}"))).collect();
    assert!(places.is_sorted(), "{words:?} in\n{said}");
}

#[test]
fn one_night_of_the_cronjob_prunes_at_the_end() {
    let (said, phases) = played(&["cronjob.yaml"]);
    assert_eq!(phases, ["dump Succeeded", "verify Succeeded", "upload Succeeded", "prune Succeeded"]);
    in_order(&said, &["dumped", "it is complete", "uploading", "removing"]);
}

#[test]
fn each_pod_of_the_indexed_job_has_the_whole_plan() {
    let (said, phases) = played(&["indexed-job.yaml"]);
    assert_eq!(phases, ["fetch Succeeded", "convert Succeeded", "store Succeeded"]);
    in_order(&said, &["part 0 of 4", "PART 0 OF 4", "storing PART 0 OF 4"]);
}

#[test]
fn a_worker_of_the_jobset_runs_its_steps_in_order() {
    in_order(&played(&["jobset.yaml"]).0, &["pulled", "training on shard 0", "pushing weights"]);
}

#[test]
fn the_queued_job_is_a_pod_like_any_other() {
    in_order(&played(&["kueue.yaml"]).0, &["built", "tested", "told"]);
}

#[test]
fn airflow_sees_in_base_how_the_steps_before_it_ended() {
    in_order(&played(&["airflow.yaml"]).0, &["extracted", "transformed", "loading ROWS"]);
    let text = fs::read_to_string(directory().join("airflow.yaml")).expect("it can be read");
    let scratch = tempfile::tempdir().expect("a directory for the test");
    let broken = scratch.path().join("airflow.yaml");
    fs::write(&broken, text.replace("echo 'extracted'", "exit 3").replace("limit: 2", "limit: 0")).expect("room");
    let (said, phases) = played(&[broken.to_str().expect("a path")]);
    assert_eq!(phases, ["extract Failed", "transform Omitted", "base Failed"], "{said}");
    in_order(&said, &["transform: Omitted"]);
}

#[test]
fn the_training_keeps_its_tensorboard_until_it_is_over() {
    let (said, phases) = played(&["gpu-training.yaml"]);
    assert_eq!(phases, ["data Succeeded", "tensorboard Succeeded", "train Succeeded", "export Succeeded"]);
    in_order(&said, &["watching /runs", "attempt 1, from checkpoint 0", "exporting checkpoint 1000"]);
}

#[test]
fn a_ci_job_pushes_its_image_only_when_the_runner_says_so() {
    let (said, phases) = played(&["ci-runner.yaml"]);
    assert!(phases.contains(&"image Skipped".to_owned()) && phases.contains(&"reports Succeeded".to_owned()), "{said}");
    in_order(&said, &["checked out", "built", "integration:3 tests"]);
    let (said, phases) = played(&["--param", "DEPLOY=yes", "ci-runner.yaml"]);
    assert!(phases.contains(&"image Succeeded".to_owned()), "{said}");
}
