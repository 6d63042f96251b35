//! The pods that people really write, in real containers: as they are, and with a failure, a kill, a cancel, a deletion in them. Not
//! `services-in-order.yaml`: under `restartPolicy: Always` podman 4 starts init containers again and again, too.

use serde_json::{Value, json};

use super::store::{Pod, Store};
use super::wired::wired;
use super::with;

const BUILD: &str = include_str!("../../manifests/build-scan-publish.yaml");
const DATABASE: &str = include_str!("../../manifests/database-test.yaml");
const PROXY: &str = include_str!("../../manifests/proxy-job.yaml");
const TRAIN: &str = include_str!("../../manifests/train-evaluate.yaml");

/// Plays the manifest with other words in one place.
fn play<'s>(store: &'s Store, pod: &str, manifest: &str, (from, to): (&str, &str)) -> Pod<'s> {
    store.play(pod, &wired(pod, &with(manifest, from, to), &[]))
}

const AS_IT_IS: (&str, &str) = ("kind: ", "kind: ");

/// Name, phase, reason and attempts of each step, once the coordinator has ended with this code and nothing of the pod runs.
fn ends(pod: &Pod<'_>, code: u8) -> Vec<String> {
    let coordinator = pod.exit_code("podturn");
    let told = steps(pod);
    assert_eq!(coordinator, code, "{told:?}\n{}", pod.errors("podturn"));
    let containers: Vec<String> = told.iter().map(|line| line.split(' ').next().expect("a name").to_owned()).collect();
    for (name, step) in containers.iter().zip(state(pod)["steps"].as_array().expect("a list")) {
        // A container that was killed shows that, and nothing that podturn could change.
        let wanted = if step["reason"] == "ShimLost" { json!(137) } else { step["containerExitCode"].clone() };
        assert_eq!(json!(pod.exit_code(name)), wanted, "{name} of {told:?}\n{}", pod.errors(name));
    }
    assert_eq!(pod.state(), "Exited");
    told
}

fn steps(pod: &Pod<'_>) -> Vec<String> {
    let word = |step: &Value, name: &str| step[name].as_str().unwrap_or("-").to_owned();
    let line = |step: &Value| {
        format!("{} {} {} {}", word(step, "name"), word(step, "phase"), word(step, "reason"), step["attempt"])
    };
    state(pod)["steps"].as_array().expect("a list").iter().map(line).collect()
}

/// What was published last.
fn state(pod: &Pod<'_>) -> Value {
    let text = std::fs::read_to_string(pod.own_volume("podturn").join("state.json")).expect("it is published");
    serde_json::from_str(&text).expect("JSON")
}

/// The order in which these steps ended.
fn order<'s>(pod: &Pod<'_>, names: &[&'s str]) -> Vec<&'s str> {
    let state = state(pod);
    let end = |name: &str| {
        let step = state["steps"].as_array().expect("a list").iter().find(|step| step["name"] == name);
        step.expect("a step")["endedAt"].as_str().expect("it has ended").to_owned()
    };
    let mut names = names.to_vec();
    names.sort_by_key(|name| end(name));
    names
}

/// The test hangs, and takes a moment to stop.
const HANGS: (&str, &str) = (
    "echo \"insert somebody\" > /run/database/requests",
    "trap 'echo stopping; exit 1' TERM; echo testing; sleep 1000 & wait",
);

#[test]
fn a_database_lives_as_long_as_its_tests() {
    let Some(store) = Store::new() else { return };
    let pod = play(&store, "database", DATABASE, AS_IT_IS);
    let good = ["database Succeeded Stopped 1", "migrate Succeeded Completed 1", "itest Succeeded Completed 1"];
    assert_eq!(ends(&pod, 0), good);
    assert_eq!(pod.output("database"), "ready for requests\nshutting down\n");
    assert_eq!(pod.output("itest"), "all tests pass\n");
    assert_eq!(state(&pod)["steps"][0]["exitCode"], 2, "its own code after the stop, which does not count");

    let pod = play(&store, "never-ready", DATABASE, ("failureThreshold: 30", "failureThreshold: 1"));
    let omitted = ["migrate Omitted DependencyLost 0", "itest Omitted DependencyLost 0"];
    assert_eq!(ends(&pod, 1), [["database Failed NotReady 1"].as_slice(), &omitted].concat());

    let pod = play(&store, "killed", DATABASE, HANGS);
    pod.wait_for_line("itest", "testing");
    pod.kill("database");
    pod.wait_for_why("database", "Failed (ShimLost)");
    assert_eq!(pod.podturn(&["stop", "itest"]), "itest is told to stop\n");
    let killed = ["database Failed ShimLost 1", "migrate Succeeded Completed 1", "itest Cancelled StopRequested 1"];
    assert_eq!(ends(&pod, 1), killed);
}

/// What a kubelet does: SIGTERM to all containers. The tests end before the database that they use.
#[test]
fn a_deleted_pod_goes_down_in_order() {
    let Some(store) = Store::new() else { return };
    let pod = play(&store, "deleted", DATABASE, HANGS);
    pod.wait_for_line("itest", "testing");
    pod.terminate(&["podturn", "database", "itest"]);
    assert_goes_down_in_order(&pod);
}

/// `podman pod stop` sends SIGTERM too, but ends the pod's first container with the rest, and a process namespace that is shared
/// ends with it. Without one, everybody has their time.
#[test]
fn a_pod_that_podman_stops_goes_down_in_order_where_processes_are_not_shared() {
    let Some(store) = Store::new() else { return };
    let alone = wired("stopped", &with(DATABASE, HANGS.0, HANGS.1), &["--no-share-pid"]);
    let pod = store.play("stopped", &alone);
    pod.wait_for_line("itest", "testing");
    pod.stop();
    assert_goes_down_in_order(&pod);
}

fn assert_goes_down_in_order(pod: &Pod<'_>) {
    let deleted = ["database Succeeded Stopped 1", "migrate Succeeded Completed 1", "itest Cancelled PodDeleted 1"];
    assert_eq!(ends(pod, 143), deleted);
    assert_eq!(order(pod, &["database", "itest"]), ["itest", "database"]);
    assert_eq!(pod.output("itest"), "testing\nstopping\n");
    assert_eq!(pod.output("database"), "ready for requests\nshutting down\n");
}

#[test]
fn a_proxy_does_not_keep_a_job_that_is_done() {
    let Some(store) = Store::new() else { return };
    let pod = play(&store, "proxy", PROXY, AS_IT_IS);
    let all = |transform: &str, load: &str| {
        ["proxy Succeeded Stopped 1", "extract Succeeded Completed 1", transform, load].map(str::to_owned)
    };
    assert_eq!(ends(&pod, 0), all("transform Succeeded Completed 1", "load Succeeded Completed 1"));
    assert_eq!(pod.output("load"), "loading EXTRACTING\n");
    assert_eq!(pod.output("proxy"), "listening\nclosing\n");

    let broken = ("tr a-z A-Z < /run/proxy/data | tee /run/proxy/transformed", "exit 9");
    let hasty = PROXY.replace("backoff: { duration: 1s }", "backoff: { duration: 10ms }");
    let pod = play(&store, "broken", &hasty, broken);
    assert_eq!(ends(&pod, 1), all("transform Failed ExitCode 3", "load Omitted DependencyLost 0"));

    let hangs = ("echo loading $(cat /run/proxy/transformed)", "echo loading; exec sleep 1000");
    let pod = play(&store, "deleted", PROXY, hangs);
    pod.wait_for_line("load", "loading");
    pod.terminate(&["podturn", "proxy", "load"]);
    assert_eq!(ends(&pod, 143), all("transform Succeeded Completed 1", "load Cancelled PodDeleted 1"));
    assert_eq!(order(&pod, &["proxy", "load"]), ["load", "proxy"]);
}

#[test]
fn a_build_is_published_only_when_it_is_good_and_somebody_is_told_anyway() {
    let Some(store) = Store::new() else { return };
    let good = ["build Succeeded Completed 1", "scan Succeeded Completed 1", "quality Succeeded Completed 1"];
    let told = "notify Succeeded Completed 1";
    let pod = play(&store, "build", BUILD, AS_IT_IS);
    assert_eq!(ends(&pod, 0), [good.as_slice(), &["publish Succeeded Completed 1", told]].concat());
    assert_eq!(pod.output("publish"), "publishing the application\n");

    let pod = play(&store, "poor", BUILD, ("echo \"the application\" > app", "echo short > app"));
    let poor = [good[0], good[1], "quality Failed ExitCode 1", "publish Omitted DependencyLost 0", told];
    assert_eq!(ends(&pod, 1), poor);
    assert_eq!(pod.output("notify"), "there is a build\n");

    let pod = play(&store, "cancelled", BUILD, ("echo \"building\"", "echo building; exec sleep 1000"));
    pod.wait_for_line("build", "building");
    assert_eq!(pod.podturn(&["cancel"]), "what runs is stopped, what waits is Cancelled, then finally steps run\n");
    let cancelled = ["build", "scan", "quality", "publish"].map(|step| format!("{step} Cancelled CancelRequested"));
    let ended = ends(&pod, 143);
    assert!(ended.iter().zip(&cancelled).all(|(ended, wanted)| ended.starts_with(wanted)), "{ended:?}");
    assert_eq!(ended[4], told);
    assert_eq!(pod.output("notify"), "there is no build\n");
}

#[test]
fn a_model_is_trained_again_when_it_was_killed() {
    let Some(store) = Store::new() else { return };
    let pod = play(&store, "train", TRAIN, AS_IT_IS);
    let fetched = ["model Succeeded Completed 1", "dataset Succeeded Completed 1"];
    let all = |rest: [&'static str; 3]| [fetched.as_slice(), &rest].concat();
    let good = ["train Succeeded Completed 2", "evaluate Succeeded Completed 1", "upload Succeeded Completed 1"];
    assert_eq!(ends(&pod, 0), all(good));
    assert_eq!(pod.output("train"), "attempt 1\nattempt 2\n");
    assert_eq!(state(&pod)["steps"][3]["outputs"]["accuracy"], "0.91");

    let strict = TRAIN.replace("MIN_ACCURACY: \"0.9\"", "MIN_ACCURACY: \"0.99\"");
    let pod = play(&store, "strict", &strict, AS_IT_IS);
    assert_eq!(ends(&pod, 0), all([good[0], good[1], "upload Skipped WhenFalse 0"]));

    let pod = play(&store, "bug", TRAIN, ("sh -c 'kill -9 \"$PPID\"'", "exit 1"));
    let lost = ["train Failed ExitCode 1", "evaluate Omitted DependencyLost 0", "upload Omitted DependencyLost 0"];
    assert_eq!(ends(&pod, 1), all(lost));
}
