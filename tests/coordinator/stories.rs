//! Whole runs, from the init container to the last exit code.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;
use podturn_turn::Kind;

use crate::pod::{Pod, check_witness};

/// A diamond: what every step needs.
fn diamond(step: &str) -> Vec<String> {
    match step {
        "unit" | "lint" => vec!["build".to_owned()],
        "publish" => vec!["unit".to_owned(), "lint".to_owned()],
        _ => vec![],
    }
}

const DIAMOND: &str = "steps:\n  build: {}\n  unit: {dependsOn: [build]}\n  lint: {dependsOn: [build]}\n  \
                       publish: {dependsOn: [unit, lint]}";

fn codes(codes: &[(&str, i32)]) -> BTreeMap<String, i32> {
    codes.iter().map(|(name, code)| ((*name).to_owned(), *code)).collect()
}

fn ends(ends: &[(&str, &str)]) -> BTreeMap<String, String> {
    ends.iter().map(|(name, end)| ((*name).to_owned(), (*end).to_owned())).collect()
}

#[test]
fn a_diamond_runs_in_its_order_and_the_coordinator_ends_last_with_the_outcome() {
    let mut pod = Pod::running(DIAMOND, &[("build", ""), ("unit", ""), ("lint", ""), ("publish", "")]);
    let (containers, coordinator) = pod.end();
    assert_eq!(containers, codes(&[("build", 0), ("lint", 0), ("publish", 0), ("unit", 0)]), "{}", pod.everything());
    assert_eq!((coordinator, pod.outcome().as_str()), (0, "Succeeded"));
    let witness = pod.witness();
    assert_eq!(witness.len(), 8, "each step ran once: {witness:?}");
    check_witness(&witness, diamond).expect("the order is kept");
}

#[test]
fn a_failure_is_told_by_the_culprit_alone_and_its_dependents_are_omitted() {
    let mut pod = Pod::running(DIAMOND, &[("build", ""), ("unit", "return 3"), ("lint", ""), ("publish", "")]);
    let (containers, coordinator) = pod.end();
    assert_eq!(containers, codes(&[("build", 0), ("lint", 0), ("publish", 0), ("unit", 3)]), "{}", pod.everything());
    assert_eq!((coordinator, pod.outcome().as_str()), (1, "Failed"));
    assert_eq!(pod.ends()["unit"], "Failed ExitCode");
    assert_eq!(pod.ends()["publish"], "Omitted DependencyLost");
    let said = std::fs::read_to_string(pod.log("publish")).expect("its log");
    assert!(said.contains("unit Failed (ExitCode 3)"), "the omitted one says why: {said}");
}

#[test]
fn a_retry_runs_in_the_same_container_until_it_succeeds() {
    let plan = "steps: {flaky: {retry: {limit: 4}}, next: {dependsOn: [flaky]}}";
    let script = "[ \"$PODTURN_ATTEMPT\" -ge 3 ] || return 9";
    let mut pod = Pod::running(plan, &[("flaky", script), ("next", "")]);
    assert_eq!(pod.end(), (codes(&[("flaky", 0), ("next", 0)]), 0), "{}", pod.everything());
    let witness = pod.witness();
    assert_eq!(
        witness,
        [
            "flaky 1 begin",
            "flaky 1 end 9",
            "flaky 2 begin",
            "flaky 2 end 9",
            "flaky 3 begin",
            "flaky 3 end 0",
            "next 1 begin",
            "next 1 end 0"
        ]
    );
    let attempts = &pod.state()["steps"][0]["attempts"];
    assert_eq!(attempts.as_array().map(Vec::len), Some(3), "{attempts}");
}

#[test]
fn a_cancel_stops_what_runs_and_runs_the_finally_steps() {
    let plan = "steps: {build: {}, test: {dependsOn: [build]}, notify: {finally: true}}";
    let mut pod = Pod::laid_out(plan, &[("build", "gate never"), ("test", ""), ("notify", "")]);
    pod.gate("never");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.signal_coordinator(Signal::SIGINT);
    assert_eq!(pod.end(), (codes(&[("build", 143), ("notify", 0), ("test", 143)]), 143), "{}", pod.everything());
    let expected = [
        ("build", "Cancelled CancelRequested"),
        ("notify", "Succeeded Completed"),
        ("test", "Cancelled CancelRequested"),
    ];
    assert_eq!(pod.ends(), ends(&expected));
    assert_eq!(pod.witness(), ["build 1 begin", "notify 1 begin", "notify 1 end 0"]);
}

#[test]
fn a_second_cancel_stops_the_finally_steps_too() {
    let plan = "steps: {build: {}, notify: {finally: true}}";
    let mut pod = Pod::laid_out(plan, &[("build", "gate never"), ("notify", "gate never")]);
    pod.gate("never");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.signal_coordinator(Signal::SIGINT);
    pod.wait_note("notify 1 begin");
    pod.signal_coordinator(Signal::SIGINT);
    assert_eq!(pod.end(), (codes(&[("build", 143), ("notify", 143)]), 143), "{}", pod.everything());
    assert_eq!(pod.ends()["notify"], "Cancelled CancelRequested");
}

#[test]
fn a_sidecar_goes_on_until_it_is_told_and_always_ends_with_0() {
    let mut pod = Pod::planned("sequential", &[("one", "return 7"), ("two", "")]);
    pod.facts = r#"{"placement": "sidecar", "containers": [{"name": "one"}, {"name": "two"}]}"#.to_owned();
    pod.init();
    pod.coordinate();
    pod.start_all();
    assert_eq!(pod.container_ends(), codes(&[("one", 7), ("two", 0)]));
    pod.wait_outcome("Failed");
    assert!(pod.has_coordinator(), "nobody has told it to end");
    pod.signal_coordinator(Signal::SIGTERM);
    assert_eq!(pod.coordinator_end(), 0, "its code does not count for the pod, so it must not look like a failure");
    assert_eq!(pod.outcome(), "Failed", "a stop after the end cancels nothing");
}

#[test]
fn shims_that_come_before_any_coordinator_wait_for_it() {
    let mut pod = Pod::laid_out(DIAMOND, &[("build", ""), ("unit", ""), ("lint", ""), ("publish", "")]);
    pod.start_all();
    for step in ["build", "unit", "lint", "publish"] {
        let report = pod.volume("steps").join(step).join("out/report.json");
        pod.wait_until("its arrival", || report.exists());
    }
    pod.coordinate();
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{}", pod.everything());
    check_witness(&pod.witness(), diamond).expect("the order is kept");
}

/// Rule C12: a coordinator that nobody restarts waits for containers that are still to come, each of which gets its end.
#[test]
fn an_ordinary_coordinator_waits_for_a_container_that_comes_after_the_end() {
    let plan = "steps: {build: {}, late: {dependsOn: [build]}}";
    let mut pod = Pod::laid_out(plan, &[("build", "return 1"), ("late", "")]);
    pod.coordinate();
    pod.start("build");
    assert_eq!(pod.container_end("build"), 1);
    pod.wait_outcome("Failed");
    assert!(pod.has_coordinator(), "one container has not come yet");
    pod.start("late");
    assert_eq!(pod.end(), (codes(&[("late", 0)]), 1), "{}", pod.everything());
    assert_eq!(pod.ends()["late"], "Omitted DependencyLost");
}

#[test]
fn a_container_that_never_comes_is_a_failure_with_that_name() {
    let plan = "arrivalTimeout: 300ms\nsteps: {build: {}, never: {dependsOn: [build]}, notify: {finally: true}}";
    let mut pod = Pod::laid_out(plan, &[("build", ""), ("never", ""), ("notify", "")]);
    pod.coordinate();
    pod.start("build");
    pod.start("notify");
    assert_eq!(pod.end(), (codes(&[("build", 0), ("notify", 0)]), 1), "{}", pod.everything());
    assert_eq!(pod.ends()["never"], "Failed NeverArrived");
    assert_eq!(pod.witness().len(), 4, "the finally step ran all the same");
}

/// The container of a step that ended comes late, or again: it gets its end at once and runs nothing.
#[test]
fn a_container_that_comes_back_after_its_step_ended_runs_nothing() {
    let plan = "steps: {build: {}, test: {dependsOn: [build]}}";
    let mut pod = Pod::laid_out(plan, &[("build", ""), ("test", "gate slow")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("test 1 begin");
    assert_eq!(pod.container_end("build"), 0);
    pod.start("build");
    assert_eq!(pod.container_end("build"), 0);
    pod.open_gate("slow");
    assert_eq!(pod.end(), (codes(&[("test", 0)]), 0), "{}", pod.everything());
    assert_eq!(pod.witness().len(), 4, "each step ran once");
    let arrivals = pod.journal().iter().filter(|event| matches!(event.kind, Kind::Arrived { .. })).count();
    assert_eq!(arrivals, 3);
}
