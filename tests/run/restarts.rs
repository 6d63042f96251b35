//! Containers that are started again, and a pod that takes too long.

use nix::sys::signal::Signal;
use serde_json::json;

use super::pod::{Place, container};

/// Ends with this code the first time, and with the other one from then on.
fn first_then(first: i32, then: i32) -> String {
    format!("echo x >> /notes/starts; test $(wc -l < /notes/starts) -gt 1 && exit {then}; exit {first}")
}

#[test]
fn a_rule_starts_a_container_again_and_any_other_code_is_final() {
    for place in [Place::new(), Place::of_nobody()] {
        let mut pod = place.pod("steps: [a]", &[("a", ""), ("other", &first_then(42, 3))]);
        let other = &mut pod["spec"]["containers"][1];
        other["restartPolicy"] = json!("Never");
        other["restartPolicyRules"] =
            json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }]);
        let ended = place.run(&pod, &[]);
        assert_eq!((ended.code, place.lines("starts").len()), (1, 2), "{}", ended.all());
        let told = ["other ended with 42 and is started again, as a kubelet would"];
        assert_eq!(ended.said_on_stderr("podturn"), told, "{}", ended.all());
        assert!(ended.err.iter().any(|line| line == "container other ended with 3"), "{}", ended.all());
    }
}

#[test]
fn on_failure_a_container_and_an_init_container_are_tried_until_they_succeed() {
    let place = Place::new();
    let script = first_then(1, 0);
    let mut pod = place.pod("steps: [a]", &[("a", ""), ("other", &script)]);
    pod["spec"]["containers"][1]["restartPolicy"] = json!("OnFailure");
    let mut setup = container("setup", &script.replace("starts", "setups"));
    setup["restartPolicy"] = json!("OnFailure");
    pod["spec"]["initContainers"] = json!([setup]);
    let ended = place.run(&pod, &[]);
    let counts = (place.lines("starts").len(), place.lines("setups").len());
    assert_eq!((ended.code, counts), (0, (2, 2)), "{}", ended.all());
}

/// As in a cluster: the pod lives until it is deleted.
#[test]
fn a_container_that_always_restarts_keeps_the_pod_until_ctrl_c() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", ""), ("other", "echo x >> /notes/starts; echo round")]);
    pod["spec"]["containers"][1]["restartPolicy"] = json!("Always");
    let mut run = place.start(&pod, &["--json"]);
    assert!((0..10_000_000).any(|_| place.lines("starts").len() == 3), "it comes back again and again");
    run.wait_said("podturn", "other ended with 0 and is started again");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 0, "its plan had succeeded: {}", ended.all());
    assert_eq!(ended.steps(), ["a Succeeded Completed 1"]);
}

/// KEP-5532: init containers run again, so it is another run of the plan; what is in the volumes stays.
#[test]
fn a_rule_can_start_all_containers_again() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("gate");
        let note = "echo $PODTURN_STEP >> /notes/witness";
        let mut pod = place.pod("steps: [a, b]", &[("a", note), ("other", &first_then(42, 0)), ("b", note)]);
        let other = &mut pod["spec"]["containers"][1];
        other["restartPolicy"] = json!("Never");
        let rule = json!({ "action": "RestartAllContainers", "exitCodes": { "operator": "In", "values": [42] } });
        other["restartPolicyRules"] = json!([rule]);
        pod["spec"]["initContainers"] = json!([container("setup", "echo setup >> /notes/witness")]);
        let ended = place.run(&pod, &["--json"]);
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!(ended.steps(), ["a Succeeded Completed 1", "b Succeeded Completed 1"]);
        let told = "other ended with 42: all containers are started again, as a kubelet would";
        assert!(ended.said_on_stderr("podturn").contains(&told), "{}", ended.all());
        let setups = place.lines("witness").iter().filter(|line| *line == "setup").count();
        assert_eq!(setups, 2, "{}", ended.all());
    }
}

#[test]
fn a_pod_that_takes_too_long_ends_as_a_deleted_one_and_has_failed() {
    let place = Place::new();
    let plan = "steps: {work: {}, after: {dependsOn: [work]}, cleanup: {finally: true}}";
    let scripts = [("work", "echo begun; sleep 1000"), ("after", "echo never"), ("cleanup", "echo cleaned")];
    let mut pod = place.pod(plan, &scripts);
    pod["spec"]["activeDeadlineSeconds"] = json!(2);
    let ended = place.run(&pod, &["--json"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let steps = ["work Cancelled PodDeleted 1", "after Cancelled PodDeleted 0", "cleanup Succeeded Completed 1"];
    assert_eq!(ended.steps(), steps, "{}", ended.all());
    let told = "the pod's activeDeadlineSeconds (2) are over: it ends within 30 s, as a deletion does";
    assert!(ended.said_on_stderr("podturn").contains(&told), "{}", ended.all());
    assert!(
        ended.err.iter().any(|line| line == "the pod took longer than its activeDeadlineSeconds"),
        "{}",
        ended.all()
    );
}

/// An out-of-memory kill of a whole container takes the shim too; here the step does it itself. By the rule that `inject` wrote the
/// container comes back: the one that is retried succeeds, the failure of the other is allowed, and both show 0.
#[test]
fn a_container_that_was_killed_as_a_whole_comes_back_by_the_rule_that_inject_wrote() {
    let place = Place::new();
    let once = "test -e /notes/killed || { touch /notes/killed; kill -9 $PPID; }";
    let steps = [("train", once), ("lint", "kill -9 $PPID"), ("score", "")];
    let plan = "steps: {train: {retry: {limit: 1}}, lint: {allowFailure: true}, score: {dependsOn: [train, lint]}}";
    let (code, wired, err) = place.ask(&["inject", &place.write(&place.pod(plan, &steps)).display().to_string()]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("restartPolicyRules of train") && err.contains("restartPolicyRules of lint"), "{err}");
    let wired = serde_json::from_str(&wired).expect("it is JSON, as what was given");
    let ended = place.start(&wired, &["--json"]).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(
        ended.steps(),
        ["train Succeeded Completed 2", "lint Failed ShimLost 1", "score Succeeded Completed 1"],
        "{}",
        ended.all()
    );
}
