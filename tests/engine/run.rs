//! The same files in a "cluster", and they end as they do here.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use super::cluster::{Cluster, Running};

const QUICKSTART: &str = include_str!("../../manifests/quickstart.yaml");
const DATABASE: &str = include_str!("../../manifests/database-test.yaml");
const PROXY: &str = include_str!("../../manifests/proxy-job.yaml");

const KUBECTL: [&str; 2] = ["--engine", "kubectl"];

/// The test hangs, and takes a moment to stop.
pub(crate) fn hangs(trap: &str) -> String {
    let hangs = format!("trap '{trap}' TERM; echo testing; while :; do sleep 1000 & wait; done");
    with(DATABASE, "echo \"insert somebody\" > /run/database/requests", &hangs)
}

pub(crate) fn with(manifest: &str, from: &str, to: &str) -> String {
    assert_eq!(manifest.matches(from).count(), 1, "the manifest should have exactly one {from:?}");
    manifest.replace(from, to)
}

#[test]
fn a_manifest_runs_in_a_cluster_as_it_runs_here() {
    let Some(cluster) = Cluster::new() else { return };
    for (manifest, name) in [(QUICKSTART, "quickstart"), (PROXY, "proxy-job")] {
        let [here, there] = ["local", "kubectl"].map(|engine| cluster.run(manifest, &["--engine", engine, "--json"]));
        assert_eq!((here.code, there.code), (Some(0), Some(0)), "{there:#?}");
        assert_eq!(here.steps(), there.steps(), "{there:#?}");
        assert!(
            cluster.pods().iter().any(|pod| pod == name),
            "it stays, for whoever wants to look: {:?}",
            cluster.pods()
        );
    }
    assert!(cluster.was_called(&["--selector", "job-name=proxy-job"]), "{:?}", cluster.calls());
}

#[test]
fn what_a_step_says_and_how_a_failure_ends_are_the_same() {
    let Some(cluster) = Cluster::new() else { return };
    let failing = with(QUICKSTART, "echo \"compiling", "echo broken; exit 3; echo \"compiling");
    let failing = with(&failing, "name: quickstart", "generateName: quickstart-");
    let there = cluster.run(&failing, &[&KUBECTL[..], &["--rm", "-n", "ci", "--context", "test"]].concat());
    assert_eq!(there.code, Some(1), "{there:#?}");
    let lines = there.lines();
    for line in
        ["build   | broken", "build   | Failed (ExitCode): its command ended with code 3", "notify  | the plan is over"]
    {
        assert!(lines.contains(&line), "{line}: {there:#?}");
    }
    assert!(there.err.contains("pod quickstart-x7k2p in namespace ci\n"), "{there:#?}");
    assert!(there.err.contains("build: Failed (ExitCode): its command ended with code 3\n"), "{there:#?}");
    assert!(there.err.contains("\noutcome: Failed after "), "{there:#?}");
    assert_eq!(cluster.pods(), [""; 0], "--rm");
    let calls = cluster.calls();
    assert!(calls.iter().all(|call| call[..4] == ["--context", "test", "--namespace", "ci"]), "{calls:#?}");
}

/// The coordinator is where traces are sent from, so it has to be told; and a pod is no place for a password.
#[test]
fn a_run_elsewhere_is_a_trace_where_this_environment_asks_for_one() {
    let Some(cluster) = Cluster::new() else { return };
    let collector = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let endpoint = format!("http://{}", collector.local_addr().expect("it has one"));
    let taken = std::thread::spawn(move || {
        let mut stream = BufReader::new(collector.accept().expect("a connection").0);
        let mut head = String::new();
        stream.read_line(&mut head).expect("a request");
        let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"); // the rest is not read
        head
    });
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut run = cluster.run_command(QUICKSTART, &KUBECTL);
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("TRACEPARENT", parent);
    run.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hidden");
    let ended = Running::start(run).end();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(taken.join().expect("a collector").trim_end(), "POST /v1/traces HTTP/1.1");
    assert!(ended.err.contains("warning: OTEL_EXPORTER_OTLP_HEADERS is not put into the pod"), "{ended:#?}");

    let object = std::fs::read_to_string(cluster.path("cluster/quickstart.object")).expect("it stays");
    assert!(!object.contains("hidden"), "{object}");
    let object: Value = serde_json::from_str(&object).expect("an object is JSON");
    let containers = object["spec"]["initContainers"].as_array().expect("two of podturn's");
    let env = &containers.iter().find(|container| container["name"] == "podturn").expect("the coordinator")["env"];
    let told = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("TRACEPARENT", parent)];
    let told = told.map(|(name, value)| json!({ "name": name, "value": value }));
    for variable in &told {
        assert!(env.as_array().is_some_and(|env| env.contains(variable)), "{variable}: {env}");
    }
}

#[test]
fn ctrl_c_deletes_the_pod_and_waits_for_its_way_down() {
    let Some(cluster) = Cluster::new() else { return };
    let mut run = Running::start(cluster.run_command(&hangs("echo stopping; exit 1"), &KUBECTL));
    run.wait_said("itest    | testing");
    run.interrupt();
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    for line in ["itest    | stopping", "database | shutting down"] {
        assert!(ended.lines().contains(&line), "{line}: {ended:#?}");
    }
    assert!(ended.err.contains("itest: Cancelled (PodDeleted)"), "{ended:#?}");
    assert!(ended.err.contains("\noutcome: Cancelled after "), "{ended:#?}");
    assert_eq!(cluster.pods(), [""; 0]);
}

#[test]
fn a_second_ctrl_c_waits_for_nothing() {
    let Some(cluster) = Cluster::new() else { return };
    let mut run = Running::start(cluster.run_command(&hangs("echo not yet"), &KUBECTL));
    run.wait_said("itest    | testing");
    run.interrupt();
    run.wait_said("itest    | not yet");
    run.interrupt();
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert!(ended.err.ends_with("everything was killed\n"), "{ended:#?}");
    assert!(cluster.was_called(&["delete", "pod", "database-test", "--now"]), "{:?}", cluster.calls());
}

#[test]
fn an_api_server_that_does_not_answer_is_left_when_that_is_asked_for() {
    let Some(cluster) = Cluster::new() else { return };
    let stuck = |verb: &str| cluster.path(&format!("cluster/hangs-{verb}"));
    let create = |name: &str| {
        std::fs::write(stuck("create"), "").expect("a fresh file");
        let lasting = hangs("exit 1"); // it does not end before it is deleted, however slow that is
        let run = Running::start(cluster.run_command(&with(&lasting, "name: database-test", name), &KUBECTL));
        cluster.wait_called(&["create"]);
        run
    };
    // Before it is there.
    let mut run = create("name: never");
    run.interrupt();
    run.wait_noted("ending, as soon as kubectl has answered");
    run.interrupt();
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert!(ended.err.contains("kubectl create has not answered: the pod may be there\n"), "{ended:#?}");
    assert!(ended.err.ends_with("cancelled before the plan began\n"), "{ended:#?}");
    std::fs::remove_file(cluster.path("cluster/calls")).expect("it was called");

    // Once is waited for, and what was created goes again.
    let mut run = create("name: late");
    run.interrupt();
    run.wait_noted("ending, as soon as kubectl has answered");
    std::fs::remove_file(stuck("create")).expect("it is there");
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert_eq!(cluster.pods(), [""; 0], "{ended:#?}");

    // While it goes down.
    let mut run = Running::start(cluster.run_command(&hangs("echo not yet"), &KUBECTL));
    run.wait_said("itest    | testing");
    std::fs::write(stuck("delete"), "").expect("a fresh file");
    run.interrupt();
    run.wait_noted("Once more kills everything at once");
    run.interrupt();
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert!(ended.err.ends_with("everything was killed\n"), "{ended:#?}");
}

/// What its image runs is known by --resolve, and nobody reads images here.
#[test]
fn a_step_without_a_command_runs_what_its_image_says() {
    let Some(cluster) = Cluster::new() else { return };
    let bare = with(QUICKSTART, "command: [sh, -c, \"echo the plan is over\"]", "args: [\"echo the plan is over\"]");
    let bare =
        with(&bare, "      image: busybox:1.37\n      args: [\"echo", "      image: notifier:1\n      args: [\"echo");
    let digest = format!("sha256:{}", "1".repeat(64));
    let map = format!("images: {{ 'notifier:1': {{ entrypoint: [sh, -c], cmd: ['false'], digest: '{digest}' }} }}");
    std::fs::write(cluster.path("tmp/images.yaml"), map).expect("it can be written");

    let refused = cluster.run(&bare, &KUBECTL);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.err.contains("step \"notify\" has no command"), "{refused:#?}");
    let done = cluster.run(&bare, &[&KUBECTL[..], &["--resolve=map:images.yaml"]].concat());
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.lines().contains(&"notify  | the plan is over"), "{done:#?}");
    let created = std::fs::read_to_string(cluster.path("cluster/quickstart.object")).expect("it was created");
    assert!(created.contains(&format!("notifier:1@{digest}")) || created.contains(&format!("notifier@{digest}")));

    // Here there are no images.
    let here = cluster.run(&bare, &["--resolve=map:images.yaml"]);
    assert_eq!(here.code, Some(2), "{here:#?}");
    assert!(here.err.contains("--resolve means nothing with --engine local"), "{here:#?}");
    let here = cluster.run(&bare, &[]);
    assert!(here.code == Some(2) && here.err.contains("--engine kubectl --resolve"), "{here:#?}");
}

/// The pod has ended, and its logs do not come.
#[test]
fn an_api_server_that_does_not_answer_at_the_end_is_left_too() {
    let Some(cluster) = Cluster::new() else { return };
    std::fs::write(cluster.path("cluster/hangs-logs"), "").expect("a fresh file");
    let run = Running::start(cluster.run_command(QUICKSTART, &KUBECTL));
    cluster.wait_called(&["logs", "quickstart", "--container", "podturn"]); // what was followed has not told the end
    run.interrupt();
    let ended = run.end();
    assert_eq!(ended.code, Some(125), "what became of it is not known: {ended:#?}");
}

/// Its log is followed, and read once more at the end, since it has told no outcome.
#[test]
fn what_a_coordinator_in_trouble_says_is_heard_once() {
    let Some(cluster) = Cluster::new() else { return };
    std::fs::write(cluster.path("cluster/answer-logs-podturn"), "this is no volume\n").expect("a fresh file");
    let ended = cluster.run(QUICKSTART, &KUBECTL);
    assert_eq!(ended.code, Some(125), "what became of it is not known: {ended:#?}");
    assert_eq!(ended.err.matches("this is no volume").count(), 1, "{ended:#?}");
}

#[test]
fn what_kubectl_creates_has_a_name() {
    let Some(cluster) = Cluster::new() else { return };
    let answers = ["", "pod/quickstart created\n", "{\"kind\": \"Pod\", \"metadata\": {\"name\": \"\"}}"];
    for (answer, name) in answers.iter().zip(["name: first", "name: second", "name: third"]) {
        std::fs::write(cluster.path("cluster/answer-create"), answer).expect("it can be written");
        let ended = cluster.run(&with(QUICKSTART, "name: quickstart", name), &KUBECTL);
        assert_eq!(ended.code, Some(125), "{ended:#?}");
        assert!(ended.err.contains("kubectl create: its answer names no object; the pod may be there"), "{ended:#?}");
    }
}

#[test]
fn what_cannot_be_run_in_a_cluster_is_refused_before_anything_is_created() {
    let Some(cluster) = Cluster::new() else { return };
    let deployment = include_str!("../../manifests/services-in-order.yaml");
    let refused = cluster.run(deployment, &KUBECTL);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.err.contains("a Deployment has no end to wait for"), "{refused:#?}");
    let several = with(PROXY, "  template:", "  completions: 3\n  template:");
    let refused = cluster.run(&several, &KUBECTL);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.err.contains("a Job of more than one pod"), "{refused:#?}");
    assert_eq!(cluster.run(QUICKSTART, &["--rm"]).code, Some(2), "an option that would do nothing");
    assert_eq!(cluster.calls(), Vec::<Vec<String>>::new());

    // What kubectl refuses is told in its words, and a missing kubectl with the fix.
    assert_eq!(cluster.run(QUICKSTART, &KUBECTL).code, Some(0));
    let again = cluster.run(QUICKSTART, &KUBECTL);
    assert_eq!(again.code, Some(125), "{again:#?}");
    assert!(again.err.contains("already exists"), "{again:#?}");
    let mut missing = cluster.run_command(QUICKSTART, &KUBECTL);
    let missing = missing.env("PATH", cluster.path("tmp")).output().expect("podturn starts");
    let said = String::from_utf8_lossy(&missing.stderr);
    assert_eq!(missing.status.code(), Some(125), "{said}");
    assert!(said.contains("error: kubectl is not installed: there is none on PATH\n  help: "), "{said}");
}
