//! Ctrl-C: the first one is an order to cancel, the second one an end at once.

use nix::sys::signal::Signal;

use super::pod::{Place, Watched};

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
        let members: Vec<Watched> = run.pod().iter().filter_map(|member| Watched::new(member.pid)).collect();
        run.signal(signal);
        let ended = run.end();
        assert_eq!(ended.code, 143, "{signal}: {}", ended.all());
        assert_eq!(
            ended.steps(),
            ["work Cancelled CancelRequested 1", "after Cancelled CancelRequested 0", "cleanup Succeeded Completed 1"],
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
    run.wait_said("podturn", "cancelling; finally steps still run");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert!(ended.err.iter().any(|line| line == "everything was killed"), "{}", ended.all());
    assert!(!ended.out.iter().any(|line| line.contains("never")), "{}", ended.all());
    assert!(members.iter().all(Watched::has_ended));
    assert!(place.left().is_empty(), "{:?}", place.left());
}
