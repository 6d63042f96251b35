//! Who dies when, told one by one. `crash` and `chaos` do the same at every moment.

use std::collections::BTreeMap;
use std::fs;

use nix::sys::signal::Signal;
use podturn_turn::Kind;

use crate::pod::Pod;

/// The grace is long, because a machine may stand still for a minute just when no coordinator is there.
const PAIR: &str = "{coordinatorGrace: 10m, steps: {build: {}, test: {dependsOn: [build]}, notify: {finally: true}}}";

/// A pod of `PAIR` in which `build` waits at the gate `slow`.
fn building() -> Pod {
    let mut pod = Pod::laid_out(PAIR, &[("build", "gate slow"), ("test", ""), ("notify", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod
}

fn assert_all_well(pod: &mut Pod) {
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{containers:?}\n{}", pod.everything());
    let once = ["build", "test", "notify"].map(|step| [format!("{step} 1 begin"), format!("{step} 1 end 0")]);
    assert_eq!(pod.witness(), once.concat(), "each step ran once, in its order");
}

#[test]
fn a_coordinator_that_is_killed_while_a_step_runs_is_replaced_and_nothing_is_different() {
    let mut pod = building();
    pod.kill_coordinator();
    pod.coordinate();
    pod.open_gate("slow");
    assert_all_well(&mut pod);
}

#[test]
fn a_step_that_ends_while_no_coordinator_lives_is_read_by_the_next_one() {
    let mut pod = building();
    pod.kill_coordinator();
    pod.open_gate("slow");
    pod.wait_note("build 1 end 0");
    pod.coordinate();
    assert_all_well(&mut pod);
}

#[test]
fn a_coordinator_that_is_stopped_and_goes_on_later_has_missed_nothing() {
    let mut pod = building();
    pod.signal_coordinator(Signal::SIGSTOP);
    pod.open_gate("slow");
    pod.wait_note("build 1 end 0");
    let mut second = pod.coordinator_command().spawn().expect("podturn is executable");
    let code = second.wait().expect("it is our child").code();
    assert_eq!(code, Some(125), "a stopped coordinator lives, and there is one at a time");
    let log = fs::read_to_string(pod.log("coordinator")).expect("its log");
    assert!(log.contains("another coordinator is at work on this volume"), "{log}");
    pod.signal_coordinator(Signal::SIGCONT);
    assert_all_well(&mut pod);
}

#[test]
fn where_nothing_restarts_the_coordinator_what_runs_ends_on_its_own_and_what_waits_gives_up() {
    let plan = "coordinatorGrace: 500ms\nsteps: {build: {}, test: {dependsOn: [build]}}";
    let mut pod = Pod::laid_out(plan, &[("build", "gate slow; return 6"), ("test", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.kill_coordinator();
    assert_eq!(pod.container_end("test"), 125);
    let said = fs::read_to_string(pod.log("test")).expect("its log");
    assert!(said.contains("no coordinator for"), "{said}");
    assert!(pod.lives("build"), "what runs is not touched");
    pod.open_gate("slow");
    assert_eq!(pod.container_end("build"), 6);
    assert_eq!(pod.witness(), ["build 1 begin", "build 1 end 6"]);
}

#[test]
fn a_shim_that_is_killed_while_its_command_runs_is_lost_and_its_dependents_are_told() {
    let mut pod = building();
    pod.kill_shim("build");
    let ends = pod.container_ends();
    assert_eq!((ends["test"], ends["notify"], pod.coordinator_end()), (0, 0, 1), "{}", pod.everything());
    assert_eq!(pod.ends()["build"], "Failed ShimLost");
    assert_eq!(pod.ends()["test"], "Omitted DependencyLost");
    assert_eq!(pod.witness(), ["build 1 begin", "notify 1 begin", "notify 1 end 0"]);
}

#[test]
fn a_shim_that_is_killed_while_it_waits_is_lost_at_once() {
    let mut pod = building();
    pod.wait_event("test's arrival", |event| matches!(event.kind, Kind::Arrived { step, .. } if step.index() == 1));
    pod.kill_shim("test");
    pod.wait_event("test's loss", |event| matches!(event.kind, Kind::Lost { step, .. } if step.index() == 1));
    assert!(pod.lives("build"), "it is told long before the turn would have come");
    pod.open_gate("slow");
    let ends = pod.container_ends();
    assert_eq!((ends["build"], ends["notify"], pod.coordinator_end()), (0, 0, 1), "{}", pod.everything());
    assert_eq!(pod.ends()["test"], "Failed ShimLost");
}

/// No dependent begins beside what a dead shim left behind: a child in the shim's session that outlives its parents.
#[test]
fn what_a_killed_shim_leaves_behind_is_gone_before_anybody_goes_on() {
    let plan = "steps: {build: {}, clean: {dependsOn: [build: Completed]}}";
    let leave = "(trap '' TERM HUP; exec sleep 1000) & echo $! > \"$NOTES/left\"; gate never";
    let look = "read -r left < \"$NOTES/left\"; \
                if [ -e /proc/$left ] && ! grep -q ') Z ' /proc/$left/stat; then return 9; fi";
    let mut pod = Pod::laid_out(plan, &[("build", leave), ("clean", look)]);
    pod.gate("never");
    pod.coordinate();
    pod.start_all();
    let left = pod.notes("left");
    pod.wait_until("the leftover", || fs::read_to_string(&left).is_ok_and(|text| text.ends_with('\n')));
    pod.kill_shim("build");
    assert_eq!(pod.container_end("clean"), 0, "the leftover lived when the dependent began\n{}", pod.everything());
    assert_eq!(pod.coordinator_end(), 1);
    assert_eq!(pod.ends()["build"], "Failed ShimLost");
}

#[test]
fn a_shim_that_dies_while_no_coordinator_lives_is_found_out_by_the_next_one() {
    let mut pod = building();
    pod.kill_coordinator();
    pod.kill_shim("build");
    pod.coordinate();
    let ends = pod.container_ends();
    assert_eq!((ends["test"], ends["notify"], pod.coordinator_end()), (0, 0, 1), "{}", pod.everything());
    assert_eq!(pod.ends()["build"], "Failed ShimLost");
}

/// Its container is restarted meanwhile: the new instance hands on what the old one had begun.
#[test]
fn a_shim_that_is_killed_and_restarted_while_no_coordinator_lives_begins_no_attempt_again() {
    let mut pod = building();
    pod.kill_coordinator();
    pod.kill_shim("build");
    pod.start("build");
    let report = pod.volume("steps/build/out/report.json");
    pod.wait_until("the new instance's report", || {
        fs::read_to_string(&report).is_ok_and(|text| text.contains("\"turn\":0") && !text.contains("\"last\":null"))
    });
    pod.coordinate();
    pod.open_gate("slow");
    let ends = pod.container_ends();
    assert_eq!(pod.coordinator_end(), 1, "{}", pod.everything());
    assert_eq!(pod.ends()["build"], "Failed ShimLost", "{ends:?}");
    assert_eq!(ends["build"], 1, "a Failed step never exits 0");
    assert_eq!(pod.witness(), ["build 1 begin", "notify 1 begin", "notify 1 end 0"]);
}

/// Where the kubelet restarts containers, a lost attempt counts against `retry`, and the new instance runs the next one.
#[test]
fn a_restarted_container_runs_the_next_attempt_and_never_the_lost_one() {
    let plan = "steps: {build: {retry: {limit: 2}}, test: {dependsOn: [build]}}";
    let mut pod = Pod::planned(plan, &[("build", "[ \"$PODTURN_ATTEMPT\" -ge 2 ] || gate never"), ("test", "")]);
    pod.facts = r#"{"containers": [{"name": "build", "restarts": "Always"}, {"name": "test"}]}"#.to_owned();
    pod.gate("never");
    pod.init();
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.kill_shim("build");
    pod.start("build");
    assert_eq!(pod.container_end("test"), 0, "{}", pod.everything());
    let once = ["build 1 begin", "build 2 begin", "build 2 end 0", "test 1 begin", "test 1 end 0"];
    assert_eq!(pod.witness(), once);
    pod.wait_until("the end is published", || {
        pod.volume("state.json").exists() && pod.state()["outcome"] == "Succeeded"
    });
    assert!(pod.lives("build"), "it is parked: a kubelet would run the step again");
}

/// A frozen shim is not a dead one: what it was told waits for it, and nobody is told that it is lost.
#[test]
fn a_shim_that_is_frozen_for_a_while_obeys_late_and_once() {
    let mut pod = building();
    pod.wait_event("test's arrival", |event| matches!(event.kind, Kind::Arrived { step, .. } if step.index() == 1));
    nix::sys::signal::kill(pod.shim("test"), Signal::SIGSTOP).expect("it is our child");
    pod.open_gate("slow");
    let turn = pod.volume("steps/test/in/turn.json");
    pod.wait_until("test's turn", || fs::read_to_string(&turn).is_ok_and(|text| text.contains("\"attempt\":1")));
    pod.kill_coordinator();
    pod.coordinate();
    nix::sys::signal::kill(pod.shim("test"), Signal::SIGCONT).expect("it is our child");
    assert_all_well(&mut pod);
}

#[test]
fn a_cancel_that_one_coordinator_took_is_kept_by_the_next() {
    let mut pod = Pod::laid_out(PAIR, &[("build", "trap 'gate slow' TERM; gate never"), ("test", ""), ("notify", "")]);
    for gate in ["slow", "never"] {
        pod.gate(gate);
    }
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.signal_coordinator(Signal::SIGINT);
    pod.wait_event("the cancel", |event| matches!(event.kind, Kind::Requested { .. }));
    pod.kill_coordinator();
    pod.coordinate();
    pod.open_gate("slow");
    let expected = [("build", 143), ("notify", 0), ("test", 143)].map(|(name, code)| (name.to_owned(), code));
    assert_eq!(pod.end(), (BTreeMap::from(expected), 143), "{}", pod.everything());
}
