//! `podturn export`, case by case.
//!
//! A case is a `tests/export/NAME.report`: the command, and below it what a person sees on stderr and the exit code; and, where
//! something is written, `NAME.out.yaml` with stdout. `PODTURN_BLESS=1 cargo test --test export` writes them anew. Read the
//! difference before it is committed.
//!
//! Each output is also held against the CustomResourceDefinitions of the projects (`tests/support/crd.rs`).

#[path = "support/cases.rs"]
mod cases;
#[path = "support/crd.rs"]
mod crd;
#[path = "support/objects.rs"]
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use crd::Definition;
use objects::objects;
use podturn::plan::Source;
use podturn::plan::yaml::{Node, parse};
use serde_json::{Value, json};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export")
}

fn files(end: &str) -> Vec<PathBuf> {
    cases::files(&directory(), end)
}

/// What the command of a case prints: stdout where it is done, and the report.
fn told(command: &str) -> (Option<String>, String) {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["$", "podturn", "export", arguments @ ..] = words.as_slice() else {
        panic!("the first line is `$ podturn export ...`: {command}")
    };
    let mut podturn = Command::new(env!("CARGO_BIN_EXE_podturn"));
    let ended = podturn.current_dir(directory()).arg("export").args(arguments).output().expect("podturn runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is UTF-8");
    let code = ended.status.code().expect("it ends by itself");
    let report = format!("{command}\n{}exit code {code}\n", text(ended.stderr));
    let stdout = text(ended.stdout);
    assert_eq!(code == 0, !stdout.is_empty(), "something is written exactly when it is done: {command}");
    ((code == 0).then_some(stdout), report)
}

#[test]
fn every_case_comes_out_as_expected() {
    let is_blessed = std::env::var_os("PODTURN_BLESS").is_some();
    let cases = files(".report");
    assert!(cases.len() >= 20, "they are there: {cases:?}");
    let mut wrong = Vec::new();
    for case in cases {
        let wanted = fs::read_to_string(&case).expect("a case");
        let (stdout, report) = told(wanted.lines().next().expect("a command"));
        let out = case.with_extension("out.yaml");
        let wanted_out = fs::read_to_string(&out).ok();
        if is_blessed {
            fs::write(&case, &report).expect("the case can be written");
            match &stdout {
                Some(text) => fs::write(&out, text).expect("the case can be written"),
                None => drop(fs::remove_file(&out)),
            }
        } else if wanted != report || wanted_out != stdout {
            wrong.push(format!("{}\n{report}{}", case.display(), stdout.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_manifest_of_ours_is_exported_or_refused_with_a_reason() {
    let reports: Vec<String> = files(".report").iter().map(|path| fs::read_to_string(path).expect("a case")).collect();
    for name in ["build-scan-publish", "database-test", "proxy-job", "train-evaluate", "services-in-order"] {
        for engine in ["argo", "jobset"] {
            let is_asked = |report: &&String| {
                let command = report.lines().next().unwrap_or_default();
                command.contains(&format!("manifests/{name}.yaml")) && command.contains(&format!("--to {engine}"))
            };
            assert!(reports.iter().any(|report| is_asked(&report)), "{name} to {engine}");
        }
    }
}

/// The rules of the engines that no schema has.
#[test]
fn what_an_output_names_is_there() {
    for path in files(".out.yaml") {
        let text = fs::read_to_string(&path).expect("an output");
        let documents = parse(&Source::file("out", text)).expect("it is YAML");
        let Some(document) = documents.last() else { panic!("{}: a document", path.display()) };
        let spec = document.get("spec").expect("a spec");
        match document.get("kind").and_then(Node::as_str) {
            Some("Workflow") => workflow(&path, spec),
            Some("JobSet") => job_set(&path, spec),
            other => panic!("{}: {other:?}", path.display()),
        }
    }
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).and_then(Node::items).unwrap_or_default()
}

fn names(items: &[Node]) -> Vec<&str> {
    items.iter().filter_map(|item| item.get("name")?.as_str()).collect()
}

/// Every template that is named is there, every task of an expression, target and variable too, and volumes are mounted that
/// are there.
fn workflow(path: &Path, spec: &Node) {
    let templates = items(spec, "templates");
    let known = names(templates);
    let shared: Vec<&str> = names(items(spec, "volumes"));
    let claims: Vec<&str> = items(spec, "volumeClaimTemplates")
        .iter()
        .filter_map(|claim| claim.get("metadata")?.get("name")?.as_str())
        .collect();
    for entry in ["entrypoint", "onExit"].iter().filter_map(|key| spec.get(key)?.as_str()) {
        assert!(known.contains(&entry), "{}: {entry}", path.display());
    }
    for template in templates {
        let tasks = template.get("dag").map(|dag| items(dag, "tasks")).unwrap_or_default();
        let here = names(tasks);
        for task in tasks {
            let name = task.get("template").and_then(Node::as_str).expect("a template");
            assert!(known.contains(&name), "{}: {name}", path.display());
            let depends = task.get("depends").and_then(Node::as_str).unwrap_or_default();
            for word in depends.split([' ', '(', ')', '|', '&']).filter(|word| !word.is_empty()) {
                let (on, result) = word.split_once('.').unwrap_or((word, "Succeeded"));
                let results = ["Succeeded", "Failed", "Errored", "Skipped", "Omitted", "Daemoned"];
                assert!(here.contains(&on) && results.contains(&result), "{}: {word}", path.display());
            }
        }
        let target = template.get("dag").and_then(|dag| dag.get("target")).and_then(Node::as_str).unwrap_or_default();
        assert!(target.split_whitespace().all(|name| here.contains(&name)), "{}: {target}", path.display());
        let own = names(items(template, "volumes"));
        if let Some(container) = template.get("container") {
            for mount in names(items(container, "volumeMounts")) {
                let is_there = own.contains(&mount) || shared.contains(&mount) || claims.contains(&mount);
                assert!(is_there, "{}: the volume {mount}", path.display());
            }
        }
    }
}

/// A Job waits for Jobs before it in the list alone, the first one for none, and none for more than five.
fn job_set(path: &Path, spec: &Node) {
    let mut before: Vec<&str> = Vec::new();
    for job in items(spec, "replicatedJobs") {
        let on = names(items(job, "dependsOn"));
        assert!(on.len() <= 5 && on.iter().all(|name| before.contains(name)), "{}: {on:?}", path.display());
        before.extend(job.get("name").and_then(Node::as_str));
    }
    let policy = spec.get("successPolicy").map(|policy| items(policy, "targetReplicatedJobs")).unwrap_or_default();
    for name in policy.iter().filter_map(Node::as_str) {
        assert!(before.contains(&name), "{}: {name}", path.display());
    }
}

/// What an API server with the projects' CRDs would say.
#[test]
fn the_projects_own_definitions_take_every_output() {
    let mut seen = BTreeMap::new();
    for (path, object) in outputs() {
        let wrong = definition(&mut seen, &object).wrong(&object);
        assert!(wrong.is_empty(), "{}: {wrong:#?}", path.display());
        // Of the pod's fields in a patch no Workflow's definition knows; a JobSet's has all of a pod.
        if let Some(patch) = object["spec"]["podSpecPatch"].as_str() {
            let mut pod: Value = serde_json::from_str(patch).expect("it is JSON");
            pod["containers"] = json!([]);
            let job = json!({ "name": "patched", "template": { "spec": { "template": { "spec": pod } } } });
            let set = json!({ "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": { "replicatedJobs": [job] } });
            let wrong = definition(&mut seen, &set).wrong(&set);
            assert!(wrong.is_empty(), "{}: podSpecPatch: {wrong:#?}", path.display());
        }
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), ["JobSet", "Workflow"]);
}

/// A check that takes anything would be no use: no field of any output can be misspelt, or be of another type.
#[test]
fn the_projects_own_definitions_refuse_every_slip() {
    // Of these, people choose the keys.
    let open = ["labels", "annotations", "nodeSelector", "limits", "requests", "matchLabels"];
    let (mut seen, mut tried) = (BTreeMap::new(), BTreeSet::new());
    for (path, object) in outputs() {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        let definition = definition(&mut seen, &object);
        for place in places(&object, "") {
            let (parent, key) = place.rsplit_once('/').expect("a key");
            // One of each field is enough.
            let field = place.split('/').filter(|part| part.parse::<usize>().is_err()).collect::<Vec<_>>().join("/");
            if !tried.insert(format!("{kind} {field}")) {
                continue;
            }
            let mut other = object.clone();
            *other.pointer_mut(&place).expect("it is there") = json!([[[[]]]]);
            assert!(!definition.wrong(&other).is_empty(), "{}: {place}, a list of lists", path.display());
            let is_open = open.contains(&parent.rsplit('/').next().unwrap_or_default());
            let mut other = object.clone();
            let within = other.pointer_mut(parent).expect("it is there").as_object_mut();
            if let Some(within) = within.filter(|_| !is_open) {
                let value = within.remove(key).expect("it is there");
                within.insert(format!("{key}x"), value);
                assert!(!definition.wrong(&other).is_empty(), "{}: {place}, misspelt", path.display());
            }
        }
    }
    assert!(tried.len() > 200, "they were tried: {}", tried.len());
}

/// What the definitions say in CEL, and of lists whose items have names, is asked, too.
#[test]
fn the_projects_own_definitions_refuse_what_does_not_go_together() {
    let ports = "[{\"containerPort\":80},{\"containerPort\":80}]";
    let cases = [
        ("Workflow", "\"depends\":", "\"dependencies\":[\"a\"],\"depends\":", "cannot use both"),
        ("Workflow", "\"container\":", "\"suspend\":{},\"container\":", "at most one template type"),
        (
            "Workflow",
            "\"tasks\":[",
            "\"tasks\":[{\"name\":\"1st\",\"template\":\"a\",\"depends\":\"a\"},",
            "begin with a digit",
        ),
        (
            "JobSet",
            "\"dependsOn\":",
            "\"dependsOn\":[{\"name\":\"a\",\"status\":\"Over\"}],\"is\":",
            "\"Over\" is not one of",
        ),
        (
            "JobSet",
            "\"replicatedJobs\":",
            "\"startupPolicy\":{\"startupPolicyOrder\":\"InOrder\"},\"replicatedJobs\":",
            "mutually exclusive",
        ),
        ("JobSet", "\"image\":", &format!("\"ports\":{ports},\"image\":"), "is there twice"),
    ];
    for (kind, from, to, said) in cases {
        let texts = outputs().into_iter().filter(|(_, object)| object["kind"] == kind);
        let text = texts.map(|(_, object)| object.to_string()).find(|text| text.contains(from)).expect("one has it");
        let object: Value = serde_json::from_str(&text.replacen(from, to, 1)).expect("JSON");
        let wrong = Definition::of(&object).wrong(&object);
        assert!(wrong.iter().any(|line| line.contains(said)), "{said}: {wrong:#?}");
    }
}

/// What is written, without the objects that went along.
fn outputs() -> Vec<(PathBuf, Value)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("an output");
        (path, objects(&text).pop().expect("an object"))
    };
    files(".out.yaml").into_iter().map(read).collect()
}

fn definition<'s>(seen: &'s mut BTreeMap<String, Definition>, object: &Value) -> &'s Definition {
    let kind = object["kind"].as_str().expect("a kind");
    seen.entry(kind.to_owned()).or_insert_with(|| Definition::of(object))
}

/// All fields of a value, as JSON pointers.
fn places(value: &Value, at: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (key, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        all.extend(places(inner, &place));
        all.push(place);
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        all.extend(places(inner, &format!("{at}/{index}")));
    }
    all
}
