//! `docs/recipes.md` and `manifests/start-order.yaml`: their examples do what they say.

use std::process::Command;

use nix::sys::signal::Signal;

use super::pod::Place;

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
