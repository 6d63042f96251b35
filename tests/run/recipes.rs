//! `docs/recipes.md` and `manifests/start-order.yaml`: their examples do what they say.

use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket};
use serde_json::{Value, json};

use super::pod::{Place, add, container};

const RECIPES: &str = include_str!("../../docs/recipes.md");
const START_ORDER: &str = include_str!("../../manifests/start-order.yaml");

/// The blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let blocks = RECIPES.split(opening.as_str()).skip(1);
    blocks.map(|rest| rest.split("```").next().expect("there is a first part")).collect()
}

#[test]
fn what_replaces_the_recipes_ends_well_and_ends_when_the_build_fails() {
    let whole: Vec<&str> = blocks("yaml").into_iter().filter(|block| block.starts_with("apiVersion")).collect();
    let [manifest] = whole[..] else { panic!("one whole pod: {whole:?}") };
    let run = |manifest: &str| {
        let place = Place::new();
        let file = place.path("pod.yaml");
        std::fs::write(&file, manifest).expect("it can be written");
        place.start_file(&file, &["--json"]).end()
    };
    let ended = run(manifest);
    assert_eq!(ended.steps(), ["build Succeeded Completed 1", "app Succeeded Completed 1"], "{}", ended.all());
    assert_eq!(ended.said_on_stderr("app")[0], "the application runs");

    let build = "echo 'echo the application runs' > /shared/app";
    assert_eq!(manifest.matches(build).count(), 1);
    let ended = run(&manifest.replace(build, "exit 3"));
    assert_eq!(ended.steps(), ["build Failed ExitCode 1", "app Omitted DependencyLost 0"], "{}", ended.all());
    let codes: Vec<_> = (0..2).map(|step| ended.state()["steps"][step]["containerExitCode"].clone()).collect();
    assert_eq!((ended.code, codes), (1, vec![3.into(), 0.into()]));
}

#[test]
fn every_example_is_yaml() {
    for block in blocks("yaml") {
        let source = podturn::plan::Source::file("recipes.md", block);
        assert!(podturn::plan::yaml::parse(&source).is_ok(), "{block}");
    }
}

#[test]
fn gates_say_what_the_page_says() {
    let place = Place::new();
    let volume = place.path("volume");
    std::fs::create_dir(&volume).expect("a fresh directory");
    let mut init = Command::new(place.program());
    init.args(["init", "--volume"]).arg(&volume).env("PODTURN_PLAN", "steps: [build]").env_remove("PODTURN_POD");
    assert!(init.output().expect("it starts").status.success());
    let [console] = blocks("console")[..] else { panic!("one console") };
    for exchange in console.split("$ podturn-shim ").skip(1) {
        let (arguments, said) = exchange.split_once('\n').expect("an answer");
        let mut gate = Command::new(volume.join("public/podturn-shim"));
        let output = gate.args(arguments.split(' ')).output().expect("it starts");
        let code = output.status.code().expect("it exits");
        assert_eq!(format!("{}[{code}]\n", String::from_utf8_lossy(&output.stderr)), said, "{arguments}");
    }
}

/// The manifest as it is. The migration fails if its container is created before the hook of the database has returned.
#[test]
fn containers_that_are_no_steps_start_in_order() {
    let place = Place::new();
    let file = place.path("pod.yaml");
    std::fs::write(&file, START_ORDER).expect("it can be written");
    let mut run = place.start_file(&file, &[]);
    run.wait_said("app", "answering");
    let (code, out, err) = place.ask(&["status"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.lines().any(|line| line.starts_with("migrate  Succeeded")), "{out}");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.said("database")[..1], ["starting"], "{}", ended.all());
    assert_eq!(ended.said("migrate"), ["migrating"], "{}", ended.all());
    let met = "podturn-shim: migrate=Succeeded is met"; // behind 'waiting for', if it was not met at once
    assert!(ended.said_on_stderr("app").contains(&met), "{}", ended.all());
}

/// An ordinary init container that is a gate, with the mount that the page shows.
fn gate(name: &str, command: Value) -> Value {
    let mut gate = container(name, "");
    gate["command"] = command;
    let public = json!({ "name": "podturn", "mountPath": "/podturn/public", "subPath": "public", "readOnly": true });
    add(&mut gate["volumeMounts"], public);
    gate
}

/// One in exec form, as for an image without a shell, and one in a script.
#[test]
fn init_containers_wait_for_a_file_and_for_a_port() {
    let place = Place::new();
    // A port of our own, at which nobody listens yet.
    let server = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("socket(2)");
    bind(server.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind(2)");
    let port = getsockname::<SockaddrIn>(server.as_raw_fd()).expect("getsockname(2)").port();

    let mut pod = place.pod("steps: [a]", &[("a", "echo a >> /notes/witness")]);
    let file = json!(["/podturn/public/podturn-shim", "wait", "--file", "/notes/ready", "--timeout", "10m"]);
    let script = format!(
        "/podturn/public/podturn-shim wait --tcp 127.0.0.1:{port} --timeout 10m || exit; echo port >> /notes/witness"
    );
    pod["spec"]["initContainers"] = json!([gate("file", file), gate("port", json!(["sh", "-c", script]))]);
    let mut run = place.start(&pod, &["--json"]);
    run.wait_said("file", "podturn-shim: waiting for /notes/ready");
    std::fs::write(place.notes("ready"), "").expect("it can be written");
    run.wait_said("port", &format!("podturn-shim: waiting for 127.0.0.1:{port}"));
    assert!(place.lines("witness").is_empty(), "nothing goes on before");
    listen(&server, Backlog::new(16).expect("a small number")).expect("listen(2)");
    let ended = run.end();
    assert_eq!((ended.code, ended.steps()), (0, vec!["a Succeeded Completed 1".to_owned()]), "{}", ended.all());
    assert_eq!(place.lines("witness"), ["port", "a"]);
    assert!(ended.said_on_stderr("file").contains(&"podturn-shim: /notes/ready is met"), "{}", ended.all());
}

#[test]
fn an_init_container_whose_gate_stays_shut_ends_the_pod() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "echo never")]);
    let file = json!(["/podturn/public/podturn-shim", "wait", "--file", "/notes/never", "--timeout", "100ms"]);
    pod["spec"]["initContainers"] = json!([gate("file", file)]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let told = "init container file ended with 124: nothing after it was started";
    assert!(ended.err.iter().any(|line| line == told), "{}", ended.all());
    let said = ["podturn-shim: waiting for /notes/never", "podturn-shim: timed out waiting for /notes/never"];
    assert_eq!([ended.said("file"), ended.said_on_stderr("file")].concat(), said, "{}", ended.all());
    assert!(ended.said("a").is_empty(), "{}", ended.all());
}
