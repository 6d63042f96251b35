//! What befalls the five pods that people really write while they run: something in them is killed, the plan is cancelled, the pod is
//! deleted. How each of them ends is in `docs/semantics.md`.

use nix::sys::signal::{Signal, kill};

use super::five::{BUILD, DATABASE, PROXY, SERVICES, TRAIN, start, with};
use super::pod::{Ended, Place};

#[derive(Clone, Copy, Debug)]
enum Blow {
    /// The step's container, as a whole.
    Kill(&'static str),
    /// `podturn cancel`.
    Cancel,
    /// Of the pod. Ctrl-C is one.
    Delete,
}

/// A pod, and the moment of its run that the blows come at.
struct Pod {
    manifest: String,
    /// This container has said this. It goes on for as long as it is let.
    moment: (&'static str, &'static str),
}

impl Pod {
    /// The manifest with something that hangs in one place.
    fn new(manifest: &str, hangs: (&str, &str), moment: (&'static str, &'static str)) -> Self {
        Self { manifest: with(manifest, hangs), moment }
    }

    /// Checks the exit code, and how each step ends.
    fn ends(&self, blow: Blow, code: i32, steps: &[&str]) -> Ended {
        let place = Place::new();
        let mut run = start(&place, &self.manifest, &["--json"]);
        run.wait_said(self.moment.0, self.moment.1);
        match blow {
            Blow::Kill(step) => {
                let shim = run.process(&format!("steps/{step}/in/podturn-shim"));
                kill(shim, Signal::SIGKILL).expect("it is ours");
            }
            Blow::Cancel => {
                let said = "what runs is stopped, what waits is Cancelled, then finally steps run\n";
                assert_eq!(place.ask(&["cancel"]), (0, said.to_owned(), String::new()));
            }
            Blow::Delete => {
                place.wait_arrived(); // what is not there by then is not created any more
                run.signal(Signal::SIGINT);
            }
        }
        let ended = run.end();
        assert_eq!(ended.steps(), steps, "{blow:?}: {}", ended.all());
        assert_eq!(ended.code, code, "{blow:?}: {}", ended.all());
        assert!(place.left().is_empty(), "{blow:?}: {:?}", place.left());
        ended
    }
}

/// The steps ended one after another, as they are listed.
fn assert_ended_in_order(ended: &Ended, order: &[&str]) {
    let state = ended.state();
    let steps = state["steps"].as_array().expect("a list");
    let time = |name: &&str| {
        let step = steps.iter().find(|step| step["name"] == **name).expect("a step");
        step["endedAt"].as_str().expect("it has ended").to_owned()
    };
    // RFC 3339 of one length and zone: their order is that of their letters.
    assert!(order.iter().map(time).is_sorted(), "{order:?}: {}", ended.all());
}

#[test]
fn a_build_that_is_ended_is_not_published_and_somebody_is_told() {
    let pod = Pod::new(BUILD, ("echo \"building\"", "echo building; exec sleep 1000"), ("build", "building"));
    let told = "notify Succeeded Completed 1";
    let lost =
        ["scan Omitted DependencyLost 0", "quality Omitted DependencyLost 0", "publish Omitted DependencyLost 0"];
    let killed = pod.ends(Blow::Kill("build"), 1, &["build Failed ShimLost 1", lost[0], lost[1], lost[2], told]);
    let steps = [
        "build Cancelled CancelRequested 1",
        "scan Cancelled CancelRequested 0",
        "quality Cancelled CancelRequested 0",
        "publish Cancelled CancelRequested 0",
        told,
    ];
    let cancelled = pod.ends(Blow::Cancel, 143, &steps);
    let steps = [
        "build Cancelled PodDeleted 1",
        "scan Cancelled PodDeleted 0",
        "quality Cancelled PodDeleted 0",
        "publish Cancelled PodDeleted 0",
        told,
    ];
    let deleted = pod.ends(Blow::Delete, 143, &steps);
    for ended in [killed, cancelled, deleted] {
        assert_eq!(ended.said_on_stderr("notify")[0], "there is no build", "{}", ended.all());
    }
}

/// The command, and not its container: that is what its `retry` is for.
#[test]
fn a_build_whose_command_is_killed_is_tried_once_more() {
    let once = ("echo \"building\"", "test $PODTURN_ATTEMPT = 2 || kill -9 $$$$");
    let ended = start(&Place::new(), &with(BUILD, once), &["--json"]).end();
    assert_eq!((ended.code, ended.steps()[0].as_str()), (0, "build Succeeded Completed 2"), "{}", ended.all());
    assert_eq!(ended.said_on_stderr("publish")[0], "publishing the application");
}

#[test]
fn a_database_is_stopped_after_the_test_that_is_cancelled() {
    let hangs = ("echo \"insert somebody\" > /run/database/requests", "echo testing; exec sleep 1000");
    let pod = Pod::new(DATABASE, hangs, ("itest", "testing"));
    let steps = ["database Succeeded Stopped 1", "migrate Succeeded Completed 1", "itest Cancelled CancelRequested 1"];
    assert_ended_in_order(&pod.ends(Blow::Cancel, 143, &steps), &["migrate", "itest", "database"]);
}

#[test]
fn a_proxy_is_stopped_after_the_job_that_is_ended() {
    let hangs = ("echo loading $(cat /run/proxy/transformed)", "echo loading; exec sleep 1000");
    let pod = Pod::new(PROXY, hangs, ("load", "loading"));
    for (blow, code, load) in [
        (Blow::Kill("load"), 1, "load Failed ShimLost 1"),
        (Blow::Cancel, 143, "load Cancelled CancelRequested 1"),
        (Blow::Delete, 143, "load Cancelled PodDeleted 1"),
    ] {
        let before = ["extract Succeeded Completed 1", "transform Succeeded Completed 1"];
        let ended = pod.ends(blow, code, &["proxy Succeeded Stopped 1", before[0], before[1], load]);
        assert_ended_in_order(&ended, &["transform", "load", "proxy"]);
    }
}

/// Who runs goes on, and nothing that needs it begins any more.
#[test]
fn a_proxy_that_is_killed_is_told_and_who_talks_through_it_goes_on() {
    let place = Place::new();
    place.gate("gate");
    let waits = with(PROXY, ("tr a-z A-Z <", "echo transforming; read _ < /run/proxy/gate; tr a-z A-Z <"));
    let shared = waits.replace("emptyDir: {}", &format!("hostPath: {{ path: {} }}", place.path("notes").display()));
    let mut run = start(&place, &shared, &["--json"]);
    run.wait_said("transform", "transforming");
    let mut seen = Place::start_command(place.podturn(&["status", "--follow"]));
    kill(run.process("steps/proxy/in/podturn-shim"), Signal::SIGKILL).expect("it is ours");
    seen.wait_line("proxy      Failed     ShimLost");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    let steps = [
        "proxy Failed ShimLost 1",
        "extract Succeeded Completed 1",
        "transform Succeeded Completed 1",
        "load Omitted DependencyLost 0",
    ];
    assert_eq!(ended.steps(), steps, "{}", ended.all());
    assert_eq!(ended.code, 1, "{}", ended.all());
}

#[test]
fn a_training_that_is_ended_uploads_nothing() {
    let hangs = ("cat /data/model /data/dataset > /data/trained", "echo training; exec sleep 1000");
    let pod = Pod::new(TRAIN, hangs, ("train", "training")); // the second attempt: the first one is killed
    let fetched = ["model Succeeded Completed 1", "dataset Succeeded Completed 1"];
    for (blow, code, rest) in [
        (
            // Tried again where its container comes back.
            Blow::Kill("train"),
            1,
            ["train Failed ShimLost 2", "evaluate Omitted DependencyLost 0", "upload Omitted DependencyLost 0"],
        ),
        (
            Blow::Cancel,
            143,
            [
                "train Cancelled CancelRequested 2",
                "evaluate Cancelled CancelRequested 0",
                "upload Cancelled CancelRequested 0",
            ],
        ),
        (
            Blow::Delete,
            143,
            ["train Cancelled PodDeleted 2", "evaluate Cancelled PodDeleted 0", "upload Cancelled PodDeleted 0"],
        ),
    ] {
        pod.ends(blow, code, &[&fetched[..], &rest].concat());
    }
}

/// The pod of services lives until it is deleted, however its plan has ended.
fn ends_and_is_deleted(manifest: &str, moment: (&str, &str), cancel: bool, code: i32, steps: &[&str]) -> Ended {
    let place = Place::new();
    let mut run = start(&place, manifest, &["--json"]);
    run.wait_said(moment.0, moment.1);
    if cancel {
        assert_eq!(place.ask(&["cancel"]).0, 0);
    }
    let (told, out, err) = place.ask(&["status", "--follow"]);
    assert_eq!(told, 0, "{out}{err}");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.steps(), steps, "{}", ended.all());
    assert_eq!(ended.code, code, "{}", ended.all());
    assert!(!ended.err.iter().any(|line| line.contains("started again")), "nobody ends before: {}", ended.all());
    ended
}

#[test]
fn services_begin_only_after_a_migration_that_succeeds() {
    let fails = ("echo migrating; echo once >> /run/app/migrations", "echo migrating; exit 3");
    let steps = [
        "cache Succeeded Stopped 1", // nobody needs it any more
        "migrate Failed ExitCode 1",
        "api Omitted DependencyLost 0",
        "web Omitted DependencyLost 0",
    ];
    ends_and_is_deleted(&with(SERVICES, fails), ("migrate", "migrating"), false, 1, &steps);
}

#[test]
fn services_that_are_cancelled_go_down_in_reverse_order_and_stay_down() {
    let steps = [
        "cache Succeeded Stopped 1",
        "migrate Succeeded Completed 1",
        "api Succeeded Stopped 1",
        "web Succeeded Stopped 1",
    ];
    let ended = ends_and_is_deleted(SERVICES, ("web", "answering"), true, 0, &steps);
    assert_ended_in_order(&ended, &["web", "api", "cache"]);
}
