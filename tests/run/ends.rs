//! How runs end: in order, with the outcome as exit code, whoever dies on the way, and with nothing left behind.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};

use super::pod::{Place, Watched, add, container};

#[test]
fn the_quickstart_succeeds_in_the_plans_order() {
    let place = Place::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/quickstart.yaml");
    let ended = place.start_file(&file, &["--json"]).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let state = ended.state();
    assert_eq!(state["outcome"], "Succeeded");
    let steps = state["steps"].as_array().expect("a list");
    let step = |name: &Value| steps.iter().find(|step| step["name"] == *name).expect("it is in the plan");
    for later in steps {
        for dependency in later["dependsOn"].as_array().into_iter().flatten() {
            let (end, begin) = (&step(&dependency["step"])["endedAt"], &later["startedAt"]);
            // RFC 3339 of one length and zone: their order is that of their letters.
            assert!(end.as_str().expect("it ended") <= begin.as_str().expect("it began"), "{later} before {end}");
        }
    }
    let retried = steps.iter().filter(|step| step["attempt"].as_u64() > Some(1)).count();
    assert!(retried > 0, "the first pod shows a retry");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn a_failed_step_is_the_runs_end_and_is_told() {
    let place = Place::new();
    let plan = "steps: {build: {}, test: {dependsOn: [build]}, publish: {dependsOn: [test]}, notify: {finally: true}}";
    let say = "echo $PODTURN_STEP >> /notes/witness";
    let pod =
        place.pod(plan, &[("publish", say), ("test", &format!("{say}; exit 3")), ("build", say), ("notify", say)]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(place.lines("witness"), ["build", "test", "notify"]);
    let stderr = ended.err.join("\n");
    for told in
        ["test: Failed (ExitCode): its command ended with code 3", "publish: Omitted (DependencyLost): test Failed"]
    {
        assert!(stderr.contains(told), "{told}\n{stderr}");
    }
    let row = |name: &str| ended.err.iter().find(|line| line.starts_with(name) && line.contains(" Omitted ")).cloned();
    assert!(row("publish").is_some(), "the table has its row: {stderr}");
    assert!(stderr.contains("outcome: Failed"), "{stderr}");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn init_containers_run_first_in_their_order_and_a_failed_one_ends_the_pod() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "echo a >> /notes/witness")]);
    let first = container("first", "echo first >> /notes/witness");
    pod["spec"]["initContainers"] = json!([first, container("second", "echo second >> /notes/witness")]);
    assert_eq!(place.run(&pod, &[]).code, 0);
    assert_eq!(place.lines("witness"), ["first", "second", "a"]);

    let place = Place::new();
    pod["spec"]["volumes"][0]["hostPath"]["path"] = json!(place.path("notes"));
    pod["spec"]["initContainers"][0]["command"] = json!(["sh", "-c", "echo no way; exit 7"]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.said("first"), ["no way"]);
    assert!(
        ended.err.iter().any(|line| line == "init container first ended with 7: nothing after it was started"),
        "{}",
        ended.all()
    );
    assert!(place.lines("witness").is_empty(), "nothing after it was started");
}

#[test]
fn a_container_that_the_plan_does_not_name_runs_as_ever_and_its_failure_is_the_pods() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {}}", &[("a", "echo a"), ("other", "echo free; exit 4")]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.said("other"), ["free"]);
    assert!(ended.err.iter().any(|line| line == "container other ended with 4"), "{}", ended.all());
}

#[test]
fn a_coordinator_that_is_killed_again_and_again_changes_nothing() {
    let place = Place::new();
    let script = "echo $PODTURN_STEP $PODTURN_ATTEMPT >> /notes/witness; echo begun; read _ < /notes/$PODTURN_STEP; \
                  test $PODTURN_STEP != b -o $PODTURN_ATTEMPT = 2";
    let names = ["a", "b", "c"];
    for name in names {
        place.gate(name);
    }
    let plan = "steps: {a: {}, b: {dependsOn: [a], retry: {limit: 3}}, c: {dependsOn: [b]}}";
    let mut run = place.start(&place.pod(plan, &names.map(|name| (name, script))), &["--json"]);
    let mut open = Vec::new();
    for name in names {
        run.wait_said(name, "begun");
        kill(run.process("coordinate"), Signal::SIGKILL).expect("it lives");
        open.push(place.open_gate(name));
    }
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let kills = ended.err.iter().filter(|line| line.contains("podturn ended with 137 and is started again")).count();
    assert_eq!(kills, 3, "{}", ended.all());
    assert_eq!(place.lines("witness"), ["a 1", "b 1", "b 2", "c 1"]);
    assert_eq!(ended.steps(), ["a Succeeded Completed 1", "b Succeeded Completed 2", "c Succeeded Completed 1"]);
}

#[test]
fn nothing_of_the_pod_outlives_a_killed_run() {
    let place = Place::new();
    place.gate("gate");
    let wait = "sleep 1000 & setsid sleep 1000 & trap '' TERM; echo begun; read _ < /notes/gate";
    // Both containers are there once the second one, which is `a`, says something.
    let mut run = place.start(&place.pod("steps: {a: {}, b: {dependsOn: [a]}}", &[("b", wait), ("a", wait)]), &[]);
    run.wait_said("a", "begun");
    let pod: Vec<Watched> = run.pod().iter().filter_map(|member| Watched::new(member.pid)).collect();
    assert!(pod.len() >= 7, "pause, coordinator, two shims, a shell and two sleeps: {:#?}", run.pod());
    run.signal(Signal::SIGKILL);
    for process in &pod {
        process.wait_end();
    }
    assert_eq!(run.end().code, 137);
}

/// Whoever is killed removes nothing: the next run does, and takes neither what is to be kept nor what somebody works with.
#[test]
fn the_next_run_clears_away_what_a_killed_one_has_left() {
    let place = Place::new();
    ["gate", "never"].into_iter().for_each(|gate| place.gate(gate));
    let waiting = |gate: &str| place.pod("steps: [a]", &[("a", &format!("echo begun; read _ < /notes/{gate}"))]);
    assert_eq!(place.run(&place.pod("steps: [a]", &[("a", "true")]), &["--keep"]).code, 0);
    let kept = place.left();
    let mut living = place.start(&waiting("gate"), &[]);
    living.wait_said("a", "begun");
    let mut killed = place.start(&waiting("never"), &[]);
    killed.wait_said("a", "begun");
    let pod: Vec<Watched> = killed.pod().iter().filter_map(|member| Watched::new(member.pid)).collect();
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end().code, 137);
    pod.iter().for_each(Watched::wait_end);
    assert_eq!(place.left().len(), 3, "{:?}", place.left());

    assert_eq!(place.run(&place.pod("steps: [a]", &[("a", "true")]), &[]).code, 0);
    assert_eq!(place.left().len(), 2, "what was killed is gone: {:?}", place.left());
    let _gate = place.open_gate("gate");
    let ended = living.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(place.left(), kept);
}

#[test]
fn what_a_step_leaves_running_ends_with_the_run() {
    let place = Place::new();
    let leave = "setsid sh -c 'echo here > /notes/left; exec sleep 1000' & while ! test -s /notes/left; do :; done; \
                 echo begun; read _ < /notes/gate";
    place.gate("gate");
    let pod = place.pod("steps: {a: {}}", &[("a", "read _ < /notes/gate"), ("other", leave)]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("other", "begun");
    let left = Watched::new(run.process("sleep 1000").as_raw()).expect("it lives");
    let _gate = place.open_gate("gate");
    assert_eq!(run.end().code, 0);
    assert!(left.has_ended(), "not even what left its session");
}

#[test]
fn kept_volumes_are_where_the_run_says() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "echo made > /data/file")]);
    add(&mut pod["spec"]["volumes"], json!({ "name": "data", "emptyDir": { "medium": "Memory" } }));
    add(&mut pod["spec"]["containers"][0]["volumeMounts"], json!({ "name": "data", "mountPath": "/data" }));
    let ended = place.run(&pod, &["--keep"]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let said = "podturn: the volumes of this run are in ";
    let at = ended.err.iter().find_map(|line| line.strip_prefix(said)).expect("it says where");
    assert_eq!(fs::read_to_string(Path::new(at).join("data/file")).expect("it was kept"), "made\n");
    assert!(Path::new(at).join("podturn/journal.jsonl").exists(), "and so was the run's own");
}

#[test]
fn it_works_for_a_user_without_rights() {
    let place = Place::of_nobody();
    let pod =
        place.pod("steps: [a, b]", &[("a", "echo a $(id -u) >> /notes/witness"), ("b", "echo b >> /notes/witness")]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(place.lines("witness"), ["a 0", "b"], "root inside, nobody outside");
    assert!(place.left().is_empty(), "{:?}", place.left());
}
