//! `podturn export`, case by case.
//!
//! A case is a `tests/export/NAME.report`: the command, and below it what a person sees on stderr and the exit code; and, where
//! something is written, `NAME.out.yaml` with stdout. `PODTURN_BLESS=1 cargo test --test export` writes them anew. Read the
//! difference before it is committed.
//!
//! Each output is also given to the projects' own models of their objects (`tests/export/validate.py`), as `.ci/run` installs
//! them.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/not_validated.rs"]
mod not_validated;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use not_validated::not_validated;
use podturn::plan::Source;
use podturn::plan::yaml::{Node, parse};

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

#[test]
fn the_projects_own_models_take_every_output() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    let mut validate = std::process::Command::new(&python);
    validate.arg(directory().join("validate.py")).args(files(".out.yaml"));
    let output = match validate.output() {
        Err(error) => return not_validated(&format!("{}: {error}", python.display())),
        Ok(output) => output,
    };
    let told = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        return not_validated(&told);
    }
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), files(".out.yaml").len(), "all were read");
    // A validator that takes anything would be no use.
    let scratch = tempfile::tempdir().expect("a directory");
    for (from, to) in [("failFast:", "failfast:"), ("dependsOn:", "depends:"), ("completions: 1", "completions: one")] {
        let source = files(".out.yaml").into_iter().find_map(|path| {
            let text = fs::read_to_string(path).expect("an output");
            text.contains(from).then_some(text)
        });
        let broken = scratch.path().join("broken.yaml");
        fs::write(&broken, source.expect("one has it").replacen(from, to, 1)).expect("it can be written");
        let mut validate = std::process::Command::new(&python);
        let ended = validate.arg(directory().join("validate.py")).arg(&broken).output().expect("it starts");
        assert_eq!(ended.status.code(), Some(1), "{to} is refused: {}", String::from_utf8_lossy(&ended.stderr));
    }
}
