//! Ctrl-C: the first one ends the pod as a deletion does, the second one an end at once.

use nix::sys::signal::Signal;

use super::pod::{Place, Watched, container};

const PLAN: &str = "steps: {work: {}, after: {dependsOn: [work]}, cleanup: {finally: true}}";

#[test]
fn the_first_one_stops_what_runs_and_finally_steps_still_run() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let place = Place::new();
        place.gate("gate");
        let pod = place.pod(
            PLAN,
            &[("work", "echo begun; read _ < /notes/gate"), ("after", "echo never"), ("cleanup", "echo cleaned")],
        );
        let mut run = place.start(&pod, &["--json"]);
        run.wait_said("work", "begun");
        place.wait_arrived(); // a container that is not there when the pod is deleted is not created any more
        let members: Vec<Watched> = run.pod().iter().filter_map(|member| Watched::new(member.pid)).collect();
        run.signal(signal);
        let ended = run.end();
        assert_eq!(ended.code, 143, "{signal}: {}", ended.all());
        assert_eq!(
            ended.steps(),
            ["work Cancelled PodDeleted 1", "after Cancelled PodDeleted 0", "cleanup Succeeded Completed 1"],
            "{signal}"
        );
        assert!(ended.said_on_stderr("cleanup").contains(&"cleaned"), "{}", ended.all());
        assert!(members.iter().all(Watched::has_ended), "{signal}");
        assert!(place.left().is_empty(), "{:?}", place.left());
    }
}

#[test]
fn the_second_one_ends_even_what_will_not() {
    let place = Place::new();
    place.gate("gate");
    let stubborn = "trap '' TERM; echo begun; while :; do read _ < /notes/gate; done";
    let pod = place.pod(PLAN, &[("work", stubborn), ("after", "echo never"), ("cleanup", "echo never")]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("work", "begun");
    let members: Vec<Watched> = run.pod().iter().filter_map(|member| Watched::new(member.pid)).collect();
    run.signal(Signal::SIGINT);
    run.wait_said("podturn", "ending the pod within 30 s");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert!(ended.err.iter().any(|line| line == "everything was killed"), "{}", ended.all());
    assert!(!ended.out.iter().any(|line| line.contains("never")), "{}", ended.all());
    assert!(members.iter().all(Watched::has_ended));
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// A signal while init containers run asks them to end, and nothing after them begins.
#[test]
fn one_before_the_plan_begins_ends_the_run() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "echo never"), ("other", "echo never")]);
    let setup = "trap 'echo tidying; exit 9' TERM; echo begun; sleep 1000 & wait";
    pod["spec"]["initContainers"] = serde_json::json!([container("setup", setup), container("next", "echo never")]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("setup", "begun");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert_eq!(ended.said("setup"), ["begun", "tidying"], "{}", ended.all());
    assert!(!ended.out.iter().any(|line| line.contains("never")), "{}", ended.all());
    assert!(ended.err.iter().any(|line| line == "cancelled before the plan began"), "{}", ended.all());
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// As in a pod that is deleted. `other` may be the first to speak, when the coordinator is not there yet: it must not miss
/// the order.
#[test]
fn it_reaches_containers_without_a_turn_too() {
    let place = Place::new();
    place.gate("gate");
    let other = "trap 'echo leaving; exit 0' TERM; echo begun; sleep 1000 & wait";
    let pod = place.pod("steps: [a]", &[("other", other), ("a", "read _ < /notes/gate")]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("other", "begun");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert_eq!(ended.said("other"), ["begun", "leaving"], "{}", ended.all());
    assert!(!ended.err.iter().any(|line| line.contains("started again")), "{}", ended.all());
}

/// A pod that is deleted while its containers are created: none is created any more, and nobody waits for those that never come,
/// however long the grace is.
#[test]
fn while_containers_are_created_it_creates_no_more_and_ends() {
    let place = Place::new();
    place.gate("gate");
    let mut pod =
        place.pod(PLAN, &[("work", "echo begun; sleep 1000"), ("other", "sleep 1000"), ("after", ""), ("cleanup", "")]);
    pod["spec"]["terminationGracePeriodSeconds"] = serde_json::json!(7200);
    let hook = serde_json::json!({ "exec": { "command": ["sh", "-c", "read _ < /notes/gate"] } });
    pod["spec"]["containers"][1]["lifecycle"] = serde_json::json!({ "postStart": hook });
    let mut run = place.start(&pod, &["--json"]);
    run.wait_said("work", "begun");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    let steps = ["work Cancelled PodDeleted 1", "after Cancelled PodDeleted 0", "cleanup Cancelled CancelRequested 0"];
    assert_eq!(ended.steps(), steps, "{}", ended.all());
}

/// As the kubelet does it: `SIGTERM` to every container at once, the coordinator's hook beside it.
#[test]
fn a_pod_that_is_wired_by_hand_goes_down_in_order_too() {
    for place in [Place::new(), Place::of_nobody()] {
        let work = "trap 'echo stopping; exit 1' TERM; echo begun; sleep 1000 & wait";
        let steps = [("cleanup", "echo cleaned"), ("work", work), ("after", "echo never")];
        let mut pod = super::pods::wired(&place, PLAN, &steps);
        let coordinator = pod["spec"]["containers"].as_array_mut().expect("a list").last_mut().expect("it is there");
        let hook = serde_json::json!({ "exec": { "command": ["podturn", "terminating"] } });
        coordinator["lifecycle"] = serde_json::json!({ "preStop": hook });
        let mut run = place.start(&pod, &["--json"]);
        run.wait_said("work", "begun");
        place.wait_arrived();
        run.signal(Signal::SIGINT);
        let ended = run.end();
        assert_eq!(ended.code, 143, "{}", ended.all());
        let steps = ["work Cancelled PodDeleted 1", "after Cancelled PodDeleted 0", "cleanup Succeeded Completed 1"];
        assert_eq!(ended.steps(), steps, "{}", ended.all());
        assert!(ended.said_on_stderr("cleanup").contains(&"cleaned"), "{}", ended.all());
    }
}
