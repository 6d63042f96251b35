//! A person in a second terminal, beside a run: looks, asks why, and takes the controls.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};

use super::changes;
use super::pod::{PIECE, PIECES, Place, of_podturn};

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
fn follows_a_run_state_by_state_to_its_end() {
    for place in [Place::new(), Place::of_nobody()] {
        ["gate", "second"].into_iter().for_each(|gate| place.gate(gate));
        let mut scripts = scripts();
        scripts[1].1 = "read _ < /notes/second";
        let mut run = place.start(&place.pod(PLAN, &scripts), &[]);
        run.wait_said("work", "begun");
        let mut table = Place::start_command(place.podturn(&["status", "--follow"]));
        let mut states = Place::start_command(place.podturn(&["status", "--follow", "--json"]));
        table.wait_line("work     Running");
        states.wait_line("{");
        let _gate = place.open_gate("gate");
        table.wait_line("after    Running");
        let _second = place.open_gate("second");
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());

        let ended = table.end();
        assert_eq!((ended.code, ended.err.len()), (0, 0), "{}", ended.all());
        let first = |line: &str| ended.out.iter().position(|known| known.starts_with(line));
        let order =
            ["work     Running", "work     Succeeded", "after    Running", "after    Succeeded", "outcome: Succeeded"];
        let order = order.map(|line| first(line).unwrap_or_else(|| panic!("{line}: {}", ended.all())));
        assert!(order.is_sorted(), "{}", ended.all());
        assert_eq!(order[4] + 1, ended.out.len(), "the end is the last that it says: {}", ended.all());

        let ended = states.end();
        assert_eq!((ended.code, ended.err.len()), (0, 0), "{}", ended.all());
        let states: Vec<serde_json::Value> =
            ended.out.iter().map(|line| serde_json::from_str(line).expect("a state each")).collect();
        assert!(states.is_sorted_by(|one, next| one["seq"].as_u64() < next["seq"].as_u64()), "{}", ended.all());
        let (last, before) = states.split_last().expect("there is one");
        assert_eq!(last["outcome"], "Succeeded");
        assert!(before.iter().all(|state| state["outcome"].is_null()), "{}", ended.all());
    }
}

/// Nobody says how it ended, and nobody ever will.
#[test]
fn does_not_follow_a_run_that_was_killed_for_ever() {
    let place = Place::new();
    place.gate("gate");
    let mut run = place.start(&place.pod(PLAN, &scripts()), &[]);
    run.wait_said("work", "begun");
    let mut table = Place::start_command(place.podturn(&["status", "--follow"]));
    table.wait_line("work     Running");
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().code, 137);
    let ended = table.end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert_eq!(ended.err, ["error: the run is gone, and nobody has said how its plan ended"]);
}

fn copy(volume: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([volume, to]).status().expect("cp is here");
    assert!(copied.success(), "{} can be copied", volume.display());
}

/// A copy has no coordinator, and no place of its run's around it.
#[test]
fn asks_a_copy_of_the_volume() {
    let place = Place::new();
    place.gate("gate");
    let plan = "steps: {build: {}, test: {dependsOn: [build]}, publish: {dependsOn: [test]}, notify: {finally: true}}";
    let scripts = [("build", "echo begun; read _ < /notes/gate"), ("test", "exit 3"), ("publish", ""), ("notify", "")];
    let mut run = place.start(&place.pod(plan, &scripts), &["--keep"]);
    run.wait_said("build", "begun");
    let ask = |copied: &str, arguments: &[&str]| {
        let volume = place.path(copied);
        place.ask(&[arguments, &["--volume", volume.to_str().expect("UTF-8")]].concat())
    };
    let volume = of_podturn(&place.volumes(&run));
    let (_watcher, changes) = changes::of(&[&volume]);
    while !std::fs::read_to_string(volume.join("state.json")).is_ok_and(|state| state.contains("\"Running\"")) {
        changes.recv_timeout(PIECE * PIECES).expect("its state is published");
    }
    copy(&volume, &place.path("early"));
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    copy(&ended.kept(), &place.path("late"));
    std::fs::remove_dir_all(ended.kept()).expect("it is ours");

    let old = "no coordinator answers here: this is how the run stood when the last one published it";
    let (code, out, err) = ask("early", &["status"]);
    assert_eq!((code, err.as_str(), out.lines().last()), (0, "", Some(old)), "{out}");
    assert!(out.lines().any(|line| line.starts_with("build    Running")), "{out}");
    let (_, why, _) = ask("early", &["why", "publish"]);
    let lines: Vec<&str> = why.lines().collect();
    assert_eq!(lines[..2], ["publish waits for test to succeed", "  test waits for build to succeed"], "{why}");
    assert_eq!(lines.last(), Some(&old), "{why}");
    // Nobody knows how long it runs by now, but for how long it did when that was published.
    let state = place.path("early").join("state.json");
    let text = std::fs::read_to_string(&state).expect("it is there");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    json["steps"][0]["startedAt"] = "2001-01-01T00:00:00.000Z".into();
    std::fs::write(&state, json.to_string()).expect("it is ours");
    let published = std::time::UNIX_EPOCH + std::time::Duration::from_secs(978_307_202);
    std::fs::File::options()
        .write(true)
        .open(&state)
        .and_then(|file| file.set_modified(published))
        .expect("it is ours");
    let (_, why, _) = ask("early", &["why", "build"]);
    assert!(why.starts_with("build is Running (attempt 1), for 2.00s now\n"), "{why}");

    let failed = "test: Failed (ExitCode): its command ended with code 3\n";
    let (code, out, err) = ask("late", &["status"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in
        ["build    Succeeded  Completed ", "test     Failed     ExitCode ", "publish  Omitted    DependencyLost "]
    {
        assert!(out.lines().any(|known| known.starts_with(line)), "{line}: {out}");
    }
    assert!(
        out.contains(failed) && out.lines().last().is_some_and(|line| line.starts_with("outcome: Failed")),
        "{out}"
    );
    let (code, followed, _) = ask("late", &["status", "--follow"]);
    assert_eq!((code, followed), (0, out), "there is nothing to wait for");
    let (code, json, _) = ask("late", &["status", "--json"]);
    let state: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!((code, &state["outcome"], &state["steps"][1]["exitCode"]), (0, &"Failed".into(), &3.into()));
    assert_eq!(ask("late", &["why", "test"]), (0, failed.to_owned(), String::new()));
    let omitted = format!("publish: Omitted (DependencyLost): test Failed (ExitCode 3)\n  {failed}");
    assert_eq!(ask("late", &["why", "publish"]), (0, omitted, String::new()));
    assert_eq!(ask("late", &["cancel"]).0, 1, "the plan has ended");
    let (code, _, said) = ask("early", &["cancel"]);
    assert!(code == 125 && said.starts_with("error: no coordinator answers at "), "{said}");
}

#[test]
fn pauses_resumes_skips_and_stops() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("gate");
        let mut run = place.start(&place.pod(PLAN, &scripts()), &["--json"]);
        run.wait_said("work", "begun");
        place.wait_arrived(); // where a container is still missing, that is what its step waits for
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
