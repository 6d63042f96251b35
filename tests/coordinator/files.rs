//! Without bells (`podturn init --bell file`): the same runs, by looking at files. All other stories of this program are told so too
//! where `PODTURN_BELL=file` is set, as `.ci/nightly` does.

use std::collections::BTreeSet;
use std::fs;

use podturn_turn::Kind;

use crate::pod::{Pod, Scripts, check_witness};

const CHAIN: &str = "steps: {build: {}, test: {dependsOn: [build]}}";

/// Laid out for looking.
fn by_files(plan: &str, scripts: Scripts<'_>) -> Pod {
    let mut pod = Pod::planned(plan, scripts);
    pod.options = &["--bell", "file"];
    pod.init();
    pod
}

fn needs(step: &str) -> Vec<String> {
    if step == "test" { vec!["build".to_owned()] } else { vec![] }
}

/// As where each container has locks of its own (gVisor): the coordinator has opened one file, and the shims lock another.
fn hide_locks(pod: &Pod) {
    for step in ["build", "test"] {
        let (alive, aside) = (pod.volume("steps").join(step).join("in/alive"), pod.volume("aside"));
        fs::write(&aside, "").expect("a writable volume");
        fs::rename(&aside, &alive).expect("the same volume");
    }
}

#[test]
fn steps_run_in_their_order_where_there_are_no_sockets() {
    let mut pod = by_files(CHAIN, &[("build", ""), ("test", "")]);
    pod.coordinate();
    pod.start_all();
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{containers:?}\n{}", pod.everything());
    check_witness(&pod.witness(), needs).expect("the order is kept");
    for socket in ["public/bell", "steps/build/in/bell", "steps/test/in/bell"] {
        assert!(!pod.volume(socket).exists(), "{socket}");
    }
}

#[test]
fn a_killed_shim_is_known_by_its_lock_to_be_dead_and_its_process_with_it() {
    let mut pod = by_files(CHAIN, &[("build", "gate slow"), ("test", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    let shim = pod.shim("build").as_raw().unsigned_abs();
    pod.wait_event(
        "the shim's process",
        |event| matches!(&event.kind, Kind::Connected { process, .. } if process.pid == shim),
    );
    pod.kill_shim("build");
    let (_, coordinator) = pod.end();
    assert_eq!((coordinator, pod.ends()["build"].as_str()), (1, "Failed ShimLost"), "{}", pod.everything());
    assert_eq!(pod.witness(), ["build 1 begin"]);
}

#[test]
fn where_no_process_can_be_named_the_lock_alone_tells_of_a_death() {
    let mut pod = by_files(CHAIN, &[("build", "gate slow"), ("test", "")]);
    pod.gate("slow");
    if !pod.coordinate_apart() {
        return;
    }
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.wait_event("the attempt", |event| matches!(event.kind, Kind::Begun { .. }));
    pod.kill_shim("build");
    let (_, coordinator) = pod.end();
    assert_eq!((coordinator, pod.ends()["build"].as_str()), (1, "Failed ShimLost"), "{}", pod.everything());
    let journal = pod.journal();
    assert!(!journal.iter().any(|event| matches!(event.kind, Kind::Connected { .. })), "nobody's process is known");
    let is_sure = |event: &podturn_turn::Event| matches!(event.kind, Kind::Lost { survivors: false, .. });
    assert!(journal.iter().any(is_sure), "and yet it is known to be dead");
}

#[test]
fn where_no_lock_is_seen_a_shim_lives_as_long_as_it_touches_its_report() {
    let mut pod = by_files(CHAIN, &[("build", "gate slow"), ("test", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.wait_started(1);
    hide_locks(&pod);
    pod.start_all();
    pod.wait_note("build 1 begin");
    // Once a second: so many are more than the longest silence.
    let mut touches = BTreeSet::new();
    pod.wait_until("touches of the report", || {
        touches.extend(fs::metadata(pod.volume("steps/build/out/report.json")).and_then(|report| report.modified()));
        touches.len() > 5
    });
    pod.open_gate("slow");
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{containers:?}\n{}", pod.everything());
    let known = pod.journal().into_iter().any(|event| matches!(event.kind, Kind::Connected { .. }));
    assert!(!known, "nobody's process is known, since no lock names it");
    check_witness(&pod.witness(), needs).expect("the order is kept");
}

#[test]
#[ignore = "more than half a minute: .ci/nightly"]
fn where_no_lock_is_seen_a_silent_shim_is_given_up_after_a_while() {
    let mut pod = by_files(CHAIN, &[("build", "gate slow"), ("test", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.wait_started(1);
    hide_locks(&pod);
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.kill_shim("build");
    let (_, coordinator) = pod.end();
    assert_eq!((coordinator, pod.ends()["build"].as_str()), (1, "Failed ShimLost"), "{}", pod.everything());
}
