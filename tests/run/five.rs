//! The pods that people really write (`manifests/`): as they are, and with a failure, a kill, a cancel in them. `struck` has what befalls
//! them while they run.

use nix::sys::signal::{Signal, kill};

use super::pod::{Ended, Place, Run};

pub(super) const BUILD: &str = include_str!("../../manifests/build-scan-publish.yaml");
pub(super) const DATABASE: &str = include_str!("../../manifests/database-test.yaml");
const MATRIX: &str = include_str!("../../manifests/matrix.yaml");
pub(super) const PROXY: &str = include_str!("../../manifests/proxy-job.yaml");
pub(super) const SERVICES: &str = include_str!("../../manifests/services-in-order.yaml");
pub(super) const TRAIN: &str = include_str!("../../manifests/train-evaluate.yaml");

pub(super) fn start(place: &Place, manifest: &str, arguments: &[&str]) -> Run {
    let file = place.path("manifest.yaml");
    std::fs::write(&file, manifest).expect("it can be written");
    place.start_file(&file, arguments)
}

/// The manifest with something else in one place.
pub(super) fn with(manifest: &str, (from, to): (&str, &str)) -> String {
    assert_eq!(manifest.matches(from).count(), 1, "the manifest should have exactly one {from:?}");
    manifest.replace(from, to)
}

/// Runs the manifest with something else in one place, and checks code and steps.
fn ends(manifest: &str, change: (&str, &str), arguments: &[&str], code: i32, steps: &[&str]) -> Ended {
    let place = Place::new();
    let ended = start(&place, &with(manifest, change), &[&["--json"], arguments].concat()).end();
    assert_eq!(ended.steps(), steps, "{change:?} {arguments:?}\n{}", ended.all());
    assert_eq!(ended.code, code, "{change:?} {arguments:?}\n{}", ended.all());
    ended
}

const AS_IT_IS: (&str, &str) = ("apiVersion", "apiVersion");

#[test]
fn a_build_is_published_only_when_it_is_safe_and_good_and_somebody_is_told_anyway() {
    let done = ["build Succeeded Completed 1", "scan Succeeded Completed 1", "quality Succeeded Completed 1"];
    let all = |publish: &'static str| [done[0], done[1], done[2], publish, "notify Succeeded Completed 1"];
    let ended = ends(BUILD, AS_IT_IS, &[], 0, &all("publish Succeeded Completed 1"));
    assert_eq!(ended.said_on_stderr("publish")[0], "publishing the application");
    assert_eq!(ended.state()["steps"][1]["outputs"]["severity"], "low");

    ends(BUILD, AS_IT_IS, &["--param", "BRANCH=feature"], 0, &all("publish Skipped WhenFalse 0"));
    let unsafe_build = ("echo \"the application\"", "echo \"the password\"");
    ends(BUILD, unsafe_build, &[], 0, &all("publish Skipped WhenFalse 0"));

    let poor = ("echo \"the application\" > app", "echo short > app");
    let failed = [
        "build Succeeded Completed 1",
        "scan Succeeded Completed 1",
        "quality Failed ExitCode 1",
        "publish Omitted DependencyLost 0",
        "notify Succeeded Completed 1",
    ];
    let ended = ends(BUILD, poor, &[], 1, &failed);
    assert_eq!(ended.said_on_stderr("notify")[0], "there is a build");

    let broken = ("echo \"building\"", "exit 3");
    let failed = [
        "build Failed ExitCode 1",
        "scan Omitted DependencyLost 0",
        "quality Omitted DependencyLost 0",
        "publish Omitted DependencyLost 0",
        "notify Succeeded Completed 1",
    ];
    let ended = ends(BUILD, broken, &[], 1, &failed);
    assert_eq!(ended.said_on_stderr("notify")[0], "there is no build");
}

#[test]
fn a_database_is_ready_before_its_users_and_stopped_after_them() {
    let ended = ends(
        DATABASE,
        AS_IT_IS,
        &[],
        0,
        &["database Succeeded Stopped 1", "migrate Succeeded Completed 1", "itest Succeeded Completed 1"],
    );
    assert_eq!(ended.said_on_stderr("itest")[0], "all tests pass");
    let state = ended.state();
    assert_eq!(state["steps"][0]["exitCode"], 2, "its code after the stop does not count");
    assert_eq!(state["steps"][0]["containerExitCode"], 0);
    let time = |step: usize, what: &str| state["steps"][step][what].as_str().expect("a time").to_owned();
    assert!(time(0, "readyAt") <= time(1, "startedAt"), "ready before anything needs it");
    assert!(time(2, "endedAt") <= time(0, "endedAt"), "ended after the last that needs it");

    // Its users go on with what they do, and nothing that needs it begins any more.
    let crash = ("exec 3<>/run/database/requests\n", "exec 3<>/run/database/requests; sleep 1.5; exit 0\n");
    let crashed = ends(
        &DATABASE.replace("echo \"migrated\"", "sleep 4"),
        crash,
        &[],
        1,
        &["database Failed EndedEarly 1", "migrate Succeeded Completed 1", "itest Omitted DependencyLost 0"],
    );
    assert_eq!(crashed.state()["steps"][0]["containerExitCode"], 1, "a failure never exits 0");

    let slow = ("periodSeconds: 1, failureThreshold: 30", "periodSeconds: 1, failureThreshold: 1");
    ends(
        DATABASE,
        slow,
        &[],
        1,
        &["database Failed NotReady 1", "migrate Omitted DependencyLost 0", "itest Omitted DependencyLost 0"],
    );
}

#[test]
fn a_cancelled_test_ends_before_its_database_and_a_killed_database_is_told() {
    let hangs = DATABASE.replace("echo \"insert somebody\" > /run/database/requests", "echo testing; sleep 1000");
    let place = Place::new();
    let mut run = start(&place, &hangs, &["--json"]);
    run.wait_said("itest", "testing");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    let expected = ["database Succeeded Stopped 1", "migrate Succeeded Completed 1", "itest Cancelled PodDeleted 1"];
    assert_eq!(ended.steps(), expected);
    let state = ended.state();
    assert!(state["steps"][2]["endedAt"].as_str() <= state["steps"][0]["endedAt"].as_str());

    let place = Place::new();
    let mut run = start(&place, &hangs, &["--json"]);
    run.wait_said("itest", "testing");
    kill(run.process("steps/database/in/podturn-shim"), Signal::SIGKILL).expect("it is ours");
    let is_told = || place.ask(&["why", "database"]).1.contains("Failed (ShimLost)");
    assert!((0..1000).any(|_| is_told()), "its death is told while the test still runs");
    assert_eq!(place.ask(&["stop", "itest"]).0, 0);
    let ended = run.end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.steps()[0], "database Failed ShimLost 1");
    assert_eq!(ended.steps()[2], "itest Cancelled StopRequested 1");
}

#[test]
fn a_proxy_does_not_keep_a_job_that_is_done() {
    let ended = ends(
        PROXY,
        AS_IT_IS,
        &[],
        0,
        &[
            "proxy Succeeded Stopped 1",
            "extract Succeeded Completed 1",
            "transform Succeeded Completed 1",
            "load Succeeded Completed 1",
        ],
    );
    assert_eq!(ended.said_on_stderr("load")[0], "loading EXTRACTING");
    let broken = ("tr a-z A-Z < /run/proxy/data | tee /run/proxy/transformed", "exit 9");
    ends(
        &PROXY.replace("backoff: { duration: 1s }", "backoff: { duration: 10ms }"),
        broken,
        &[],
        1,
        &[
            "proxy Succeeded Stopped 1",
            "extract Succeeded Completed 1",
            "transform Failed ExitCode 3",
            "load Omitted DependencyLost 0",
        ],
    );
}

#[test]
fn a_model_is_trained_again_when_it_was_killed_and_uploaded_when_it_is_good_enough() {
    let all = |train: &'static str, evaluate: &'static str, upload: &'static str| {
        ["model Succeeded Completed 1", "dataset Succeeded Completed 1", train, evaluate, upload]
    };
    let (trained, evaluated) = ("train Succeeded Completed 2", "evaluate Succeeded Completed 1");
    let ended = ends(TRAIN, AS_IT_IS, &[], 0, &all(trained, evaluated, "upload Succeeded Completed 1"));
    assert_eq!(ended.state()["steps"][3]["outputs"]["accuracy"], "0.91");
    let strict = ["--param", "MIN_ACCURACY=0.99"];
    ends(TRAIN, AS_IT_IS, &strict, 0, &all(trained, evaluated, "upload Skipped WhenFalse 0"));
    let bug = ("sh -c 'kill -9 \"$PPID\"'", "exit 1");
    let lost = "evaluate Omitted DependencyLost 0";
    ends(TRAIN, bug, &[], 1, &all("train Failed ExitCode 1", lost, "upload Omitted DependencyLost 0"));
    let silent = ("> \"$PODTURN_OUTPUTS/accuracy\"", "> /dev/null");
    let silent_too = TRAIN.replace("echo \"accuracy: $(cat \"$PODTURN_OUTPUTS/accuracy\")\"", "true");
    let ended = ends(&silent_too, silent, &[], 1, &all(trained, evaluated, "upload Failed WhenError 0"));
    let why = ended.state()["steps"][4]["message"].as_str().expect("a sentence").to_owned();
    assert!(why.contains("`accuracy` is not there (test it with `has()`)"), "{why}");
}

#[test]
fn a_matrix_is_built_and_tested_side_by_side() {
    let all = |test: &'static str, publish: &'static str| {
        let builds =
            ["source Succeeded Completed 1", "build-3-12 Succeeded Completed 1", "build-3-13 Succeeded Completed 1"];
        let after = [test, "test-3-13 Succeeded Completed 1", "docs Succeeded Completed 1", publish];
        [&builds[..], &after].concat()
    };
    let passes = "test-3-12 Succeeded Completed 1";
    let ended = ends(MATRIX, AS_IT_IS, &[], 0, &all(passes, "publish Succeeded Completed 1"));
    assert_eq!(ended.said_on_stderr("build-3-12")[0], "built for Python 3.12");
    assert_eq!(ended.said_on_stderr("test-3-13")[0], "/work/3.13/app.whl passes");
    assert_eq!(ended.said_on_stderr("docs")[0], "documenting /work/3.13/app.whl");
    assert_eq!(ended.said_on_stderr("publish")[..2], ["/work/3.12/app.whl", "/work/3.13/app.whl"]);

    let broken = ("echo \"built for", "[ $(matrix.python) = 3.13 ] || : > /work/3.12/app.whl; echo \"built for");
    ends(MATRIX, broken, &[], 1, &all("test-3-12 Failed ExitCode 1", "publish Omitted DependencyLost 0"));
}

#[test]
fn services_start_in_order_and_a_crash_disturbs_nobody_else() {
    let place = Place::new();
    // What the containers share is seen by the test.
    let shared = SERVICES.replace("emptyDir: {}", &format!("hostPath: {{ path: {} }}", place.path("notes").display()));
    let mut run = start(&place, &shared, &["--json"]);
    run.wait_said("web", "answering");
    let state = |name: &str| -> serde_json::Value {
        let (code, out, err) = place.ask(&["status", "--json"]);
        assert_eq!(code, 0, "{err}");
        let state: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
        let steps = state["steps"].as_array().expect("a list").clone();
        steps.into_iter().find(|step| step["name"] == name).expect("a step")
    };
    assert_eq!(state("migrate")["phase"], "Succeeded");
    assert_eq!(state("cache")["phase"], "Ready");
    std::fs::write(place.notes("crash"), "").expect("it can be written");
    run.wait_said("api", "crashing");
    run.wait_said("api", "serving, attempt 2, after 1 migration");
    assert_eq!((&state("cache")["attempt"], &state("web")["attempt"]), (&1.into(), &1.into()), "not disturbed");
    assert_eq!(place.lines("migrations"), ["once"]);
    // A container that is killed comes back as well, and the task's is not run again.
    kill(run.process("steps/migrate/in/podturn-shim"), Signal::SIGKILL).expect("it is ours");
    run.wait_said("podturn", "migrate ended with 137 and is started again");
    kill(run.process("steps/cache/in/podturn-shim"), Signal::SIGKILL).expect("it is ours");
    run.wait_said("podturn", "cache ended with 137 and is started again");
    assert!((0..1000).any(|_| state("cache")["attempt"] == 2 && state("cache")["phase"] == "Ready"), "it is back");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(place.lines("migrations"), ["once"]);
    assert_eq!(
        ended.steps(),
        [
            "cache Succeeded Stopped 2",
            "migrate Succeeded Completed 1",
            "api Succeeded Stopped 2",
            "web Succeeded Stopped 1"
        ],
        "{}",
        ended.all()
    );
    let state = ended.state();
    let time = |step: usize| state["steps"][step]["endedAt"].as_str().expect("a time").to_owned();
    assert!(time(3) <= time(2) && time(2) <= time(0), "web, then api, then cache");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// What a kubelet does: SIGTERM to every container at once, and the coordinator's `preStop` hook only after that. On a machine
/// that stands still between the two for longer than the coordinator waits, the signals look like those of single containers:
/// then once more.
#[test]
fn a_deleted_pod_goes_down_in_order_within_its_grace() {
    let finally = DATABASE.replace(
        "itest:   { dependsOn: [database, migrate], timeout: 15m }",
        "itest:   { dependsOn: [database, migrate] }\n        report:  { finally: true }",
    );
    let container = "    - { name: report, image: busybox:1.37, command: [sh, -c, echo reporting] }\n";
    let hangs = "trap 'echo stopping; sleep 0.3; exit 1' TERM; echo testing; sleep 1000 & wait";
    let finally = finally.replace("echo \"insert somebody\" > /run/database/requests", hangs) + container;
    let ended = (0..5).map(|_| delete(&finally)).find(|ended| !ended.steps().join(" ").contains("Interrupted"));
    let ended = ended.expect("the hook comes in time at least once in five deletions");
    let expected = [
        "database Succeeded Stopped 1",
        "migrate Succeeded Completed 1",
        "itest Cancelled PodDeleted 1",
        "report Succeeded Completed 1",
    ];
    assert_eq!(ended.steps(), expected, "{}", ended.all());
    assert_eq!(ended.code, 143, "{}", ended.all());
    let state = ended.state();
    assert!(state["steps"][2]["endedAt"].as_str() <= state["steps"][0]["endedAt"].as_str(), "the database is last");
    assert_eq!(ended.said_on_stderr("itest")[..2], ["testing", "stopping"]);
}

fn delete(manifest: &str) -> Ended {
    let place = Place::new();
    let mut run = start(&place, manifest, &["--json"]);
    run.wait_said("itest", "testing");
    let volumes = place.volumes(&run);
    let journal = || -> String {
        let volumes = std::fs::read_dir(&volumes).expect("the run is under way").flatten();
        volumes.filter_map(|volume| std::fs::read_to_string(volume.path().join("journal.jsonl")).ok()).collect()
    };
    for step in ["database", "itest", "report"] {
        kill(run.process(&format!("steps/{step}/in/podturn-shim")), Signal::SIGTERM).expect("it is ours");
    }
    let reported = |_: &u32| journal().matches("\"stopSignal\"").count() >= 3;
    assert!((0..1_000_000).any(|n| reported(&n)), "every shim reports the signal: {}", journal());
    let (code, out, err) = place.ask(&["terminating"]);
    assert_eq!(code, 0, "{err}");
    let budget = "the pod is being deleted, in 29s: each step has 7s250ms to stop, finally steps have 21s750ms\n";
    assert_eq!(out, budget, "{err}");
    run.end()
}
