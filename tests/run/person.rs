//! A person in a second terminal, beside a run: looks, asks why, and takes the controls.

use nix::sys::signal::{Signal, kill};

use super::pod::Place;

/// `work` ends with a code of its own, so that its end is told: an ordinary one is not.
const PLAN: &str = "steps: {work: {successExitCodes: [3]}, after: {dependsOn: [work]}, last: {dependsOn: [after]}, \
                    cleanup: {finally: true}}";

fn steps(place: &Place) -> serde_json::Value {
    let (code, out, err) = place.ask(&["status", "--json"]);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("it is JSON")
}

fn scripts() -> [(&'static str, &'static str); 4] {
    [
        ("work", "echo begun; read _ < /notes/gate; exit 3"),
        ("after", "echo after runs"),
        ("last", "echo last runs"),
        ("cleanup", "echo cleaned"),
    ]
}

#[test]
fn sees_how_a_run_stands_and_why() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("gate");
        let mut run = place.start(&place.pod(PLAN, &scripts()), &[]);
        run.wait_said("work", "begun");
        let (code, out, err) = place.ask(&["status"]);
        assert_eq!(code, 0, "{err}");
        assert!(out.lines().any(|line| line.starts_with("work     Running")), "{out}");
        assert_eq!(steps(&place)["steps"][1]["waitsFor"], "Dependencies");

        let (code, out, err) = place.ask(&["why", "last"]);
        assert_eq!(code, 0, "{err}");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[..2], ["last waits for after to succeed", "  after waits for work to succeed"], "{out}");
        assert!(lines[2].starts_with("    work is Running (attempt 1), for "), "{out}");
        let (_, out, _) = place.ask(&["why", "cleanup"]);
        assert!(out.starts_with("cleanup is a finally step: it waits for work, after, last to end\n"), "{out}");
        let (code, _, err) = place.ask(&["why", "wrok"]);
        assert_eq!((code, err.as_str()), (2, "error: the plan has no step wrok; it has work, after, last, cleanup\n"));

        drop(place.open_gate("gate"));
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
    }
}

#[test]
fn pauses_resumes_skips_and_stops() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("gate");
        let mut run = place.start(&place.pod(PLAN, &scripts()), &["--json"]);
        run.wait_said("work", "begun");
        let said = |arguments: &[&str]| {
            let (code, out, err) = place.ask(arguments);
            (code, out + &err)
        };
        let paused = "no step gets a turn until `resume`; what runs goes on\n";
        assert_eq!(said(&["pause"]), (0, paused.to_owned()));
        assert_eq!(said(&["pause"]), (0, "nothing to do: the plan is paused\n".to_owned()));
        assert_eq!(said(&["skip", "after"]), (0, "after counts as Skipped\n".to_owned()));
        let runs = "no: work runs: `stop` ends it, and then it is Cancelled\n";
        assert_eq!(said(&["skip", "work"]), (1, runs.to_owned()));
        assert_eq!(said(&["approve", "last"]), (1, "no: last needs no approval\n".to_owned()));
        let unknown = "error: the plan has no step lats; it has work, after, last, cleanup\n";
        assert_eq!(said(&["stop", "lats"]), (2, unknown.to_owned()));
        drop(place.open_gate("gate"));
        run.wait_said("work", "Succeeded");
        let (_, why) = said(&["why", "last"]);
        assert_eq!(
            why,
            "last could run, and all turns are held back\n  a person has paused the plan: `podturn resume`\n"
        );
        assert_eq!(said(&["resume"]), (0, "turns are given again\n".to_owned()));
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!(
            ended.steps(),
            [
                "work Succeeded Completed 1",
                "after Skipped SkipRequested 0",
                "last Succeeded Completed 1",
                "cleanup Succeeded Completed 1"
            ]
        );
    }
}

/// What was asked is in the journal before it is answered.
#[test]
fn is_not_forgotten_by_a_coordinator_that_is_killed() {
    let place = Place::new();
    place.gate("gate");
    let mut run = place.start(&place.pod(PLAN, &scripts()), &["--json"]);
    run.wait_said("work", "begun");
    assert_eq!(place.ask(&["pause"]).0, 0);
    assert_eq!(place.ask(&["skip", "after"]).0, 0);
    kill(run.process("coordinate"), Signal::SIGKILL).expect("it is ours");
    drop(place.open_gate("gate"));
    run.wait_said("work", "Succeeded"); // told by the next coordinator
    let again = (0, "nothing to do: after is Skipped\n".to_owned(), String::new());
    assert_eq!(place.ask(&["skip", "after", "--attempt", "0"]), again);
    assert_eq!(place.ask(&["resume"]).0, 0);
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.steps()[1..3], ["after Skipped SkipRequested 0", "last Succeeded Completed 1"]);
}

#[test]
fn cancels_and_later_finds_no_run() {
    let place = Place::new();
    place.gate("gate");
    let mut run = place.start(&place.pod(PLAN, &scripts()), &["--json"]);
    run.wait_said("work", "begun");
    assert_eq!(place.ask(&["cancel"]).0, 0);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    let (code, _, err) = place.ask(&["resume"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("error: there is no run here"), "{err}");
}

/// The failed step's container is still there with its files: a person repairs, and the step goes on in place.
#[test]
fn repairs_a_failure_in_place_and_approves_what_follows() {
    let plan = "{onFailure: Pause, pauseTimeout: 1h, steps: {build: {}, deploy: {dependsOn: [build], approval: to production?}, \
                after: {dependsOn: [deploy]}}}";
    for place in [Place::new(), Place::of_nobody()] {
        let scripts = [
            (
                "build",
                "test -e /notes/repaired || { echo broken; touch /tmp/left; exit 4; }; test -e /tmp/left && echo built",
            ),
            ("deploy", "echo deploying"),
            ("after", "echo done"),
        ];
        let mut run = place.start(&place.pod(plan, &scripts), &["--json"]);
        run.wait_said("build", "broken");
        let said = |arguments: &[&str]| {
            let (code, out, err) = place.ask(arguments);
            (code, out + &err)
        };
        let until = |arguments: &[&str], wanted: &str| {
            assert!((0..1000).any(|_| said(arguments).1.contains(wanted)), "{:?}", said(arguments));
        };
        until(&["why", "build"], "build waits for a person: its command ended with code 4; `podturn retry build`");
        kill(run.process("coordinate"), Signal::SIGKILL).expect("it is ours");
        until(
            &["why", "after"],
            "after waits for deploy to succeed\n  deploy waits for build to succeed\n    build waits for a person",
        );
        std::fs::write(place.notes("repaired"), "").expect("it can be written");
        until(&["retry", "build", "--attempt", "1"], "build");
        assert_eq!(said(&["retry", "build", "--attempt", "1"]).0, 0, "the same request again does nothing");
        run.wait_said("build", "built");
        until(&["why", "after"], "deploy waits for a person (to production?): `podturn approve deploy`");
        assert_eq!(said(&["approve", "deploy"]), (0, "deploy may run\n".to_owned()));
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
        let steps = ["build Succeeded Completed 2", "deploy Succeeded Completed 1", "after Succeeded Completed 1"];
        assert_eq!(ended.steps(), steps);
    }
}

/// Steps do not see the socket. One that gets to it all the same, through the coordinator's process, may not use it.
#[test]
fn no_step_takes_the_controls() {
    for place in [Place::new(), Place::of_nobody()] {
        std::fs::copy(place.program(), place.notes("podturn")).expect("a copy");
        let tries = "for process in /proc/[0-9]*; do for volume in /podturn $process/root/podturn; do
            /notes/podturn cancel --volume $volume 2>&1; done; done | sort -u; test ! -e /podturn/control.sock";
        let pod = place.pod("steps: {evil: {}, good: {dependsOn: [evil]}}", &[("evil", tries), ("good", "")]);
        let ended = place.run(&pod, &["--json"]);
        let refused = "error: a step may not control the run that it belongs to";
        assert!(ended.said_on_stderr("evil").contains(&refused), "{}", ended.all());
        assert_eq!(ended.steps(), ["evil Succeeded Completed 1", "good Succeeded Completed 1"], "{}", ended.all());
    }
}
