//! What `podturn inject` has written, played: every output of its cases (`tests/inject/*.out.*`), by `podturn run`, with real shims
//! and a real coordinator. Only what the containers' images would bring is not there: `stand_ins` has what stands in its place.

mod cluster;
mod listener;
mod outputs;
mod questions;
mod stand_ins;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use nix::sys::signal::Signal;
use podturn::plan::Manifest;
use podturn_turn::{Condition, Dependency, Plan};
use serde_json::Value;

use self::outputs::{Output, outputs};
use self::questions::Questions;
use super::pod::{Ended, Place, Run};

/// Outputs that have no pod to play, and why.
const NOT_PLAYED: [(&str, &str); 4] = [
    ("diff.out.yaml", "a difference and no manifest; that of pod.out.yaml is the same"),
    ("krm-refused.out.yaml", "its plan is refused, so nothing in it is wired"),
    ("no-plan.out.yaml", "none of its pods has a plan, so nothing in it is wired"),
    ("wired-by-hand.out.yaml", "inject leaves it alone as it is, and it has no coordinator"),
];

/// Those that only root can play here, and why.
const OF_ROOT: [(&str, &str); 1] =
    [("stranger-lifecycle.out.yaml", "its hook writes into a directory that is root's on this machine")];

/// Two cores have work for more than two runs: each waits for processes most of the time.
const AT_ONCE: usize = 6;

/// Those that are played.
fn playable() -> Vec<Output> {
    outputs().into_iter().filter(|output| output.pods() > 0).collect()
}

#[test]
fn what_is_not_played_is_known_with_its_reason() {
    let others: Vec<String> =
        outputs().into_iter().filter(|output| output.pods() == 0).map(|output| output.file).collect();
    assert_eq!(others, NOT_PLAYED.map(|(file, _)| file));
    for output in playable() {
        assert_eq!(output.pods(), output.plans(), "{}: each of its pods is played", output.file);
    }
}

/// So that the plays are judged by what somebody asked for.
#[test]
fn an_output_has_the_order_of_its_input() {
    let playable = playable();
    let asked: Vec<(&Output, Plan)> =
        playable.iter().filter_map(|output| Some((output, output.plan_of_input()?))).collect();
    assert!(asked.len() + 6 > playable.len(), "nearly every input has one plan, and is not wired yet: {}", asked.len());
    for (output, asked) in asked {
        assert_eq!(edges(&asked), edges(&plan_of(&read(&output.file, &output.with_one(0)))), "{}", output.file);
    }
}

#[test]
fn every_output_is_played_to_its_end() {
    let mut playable = playable();
    if !nix::unistd::geteuid().is_root() {
        for (file, why) in OF_ROOT {
            let before = playable.len();
            playable.retain(|output| output.file != file);
            assert!(playable.len() < before, "{file} is there");
            eprintln!("SKIPPED: {file}: {why}");
        }
    }
    let pods = playable.iter().flat_map(|output| (0..output.pods()).map(move |pod| (output, pod)));
    let waiting = Mutex::new(pods.collect::<Vec<_>>());
    let next = || waiting.lock().expect("nobody panics with it").pop();
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((output, pod)) = next() {
                    if let Err(wrong) = catch_unwind(AssertUnwindSafe(|| play(&output.file, output.with_one(pod)))) {
                        let wrong = wrong.downcast_ref::<String>().map_or("it panicked", String::as_str).to_owned();
                        failed.lock().expect("nobody panics with it").push(format!("{} {pod}: {wrong}", output.file));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    assert!(failed.is_empty(), "{} of them failed:\n{}", failed.len(), failed.join("\n\n"));
}

fn read(file: &str, root: &Value) -> Manifest {
    Manifest::read(file, root.to_string()).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)))
}

fn plan_of(manifest: &Manifest) -> Plan {
    manifest.check(&manifest.facts).unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).plan
}

/// Each step, whether it is a service, and what it comes after.
fn edges(plan: &Plan) -> Vec<(&str, bool, &[Dependency])> {
    plan.steps.iter().map(|step| (step.name.as_str(), step.service, step.depends_on.as_slice())).collect()
}

/// Plays the one pod of this manifest, and compares what happened with what its plan says.
fn play(file: &str, mut root: Value) {
    let place = Place::new();
    // For containers that run as other users, and for services that somebody connects to.
    fs::set_permissions(place.path("notes"), fs::Permissions::from_mode(0o777)).expect("it is ours");
    fs::write(place.notes("played"), "").expect("a fresh name");
    fs::set_permissions(place.notes("played"), fs::Permissions::from_mode(0o666)).expect("it is ours");

    let plan = plan_of(&read(file, &root));
    let mut questions = Questions::of(file, &place);
    let inits = stand_ins::put(&mut root, &place, file, &plan);
    listener::listen(&mut root, &place, file);
    let arguments = cluster::stand_ins(&mut root, &place);

    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut run = place.start(&root, &[&["--json"][..], &arguments].concat());
    let have_come = questions.have_come();
    let _gate = place.open_gate(stand_ins::ASKED);
    if !have_come {
        run.signal(Signal::SIGINT);
        panic!("nobody has asked: {questions:?}\n{}", run.end().all());
    }
    if plan.long_running {
        end_when_ready(&place, &mut run);
    }
    let ended = run.end();
    assert!(questions.have_all_come(), "nobody has asked: {questions:?}\n{}", ended.all());
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.state()["outcome"], "Succeeded", "{}", ended.all());
    assert_eq!(ended.steps(), expected(&plan), "{}", ended.all());
    judge(&plan, &inits, &place.lines("played"), &ended);
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// A pod whose containers restart has no end of its own. It gets one once every step has done what it is for.
fn end_when_ready(place: &Place, run: &mut Run) {
    let mut last = String::new();
    let is_ready = |step: &Value| step["phase"] == "Ready" || step["endedAt"].is_string();
    let all_ready = (0..2_000).any(|_| {
        last = place.ask(&["status", "--json"]).1;
        let state: Value = serde_json::from_str(&last).unwrap_or_default();
        state["steps"].as_array().is_some_and(|steps| !steps.is_empty() && steps.iter().all(is_ready))
    });
    assert!(all_ready, "{last}");
    run.signal(Signal::SIGINT);
}

/// How the steps end: none of these plans has one that does not run.
fn expected(plan: &Plan) -> Vec<String> {
    let reason = |service: bool| if service { "Stopped" } else { "Completed" };
    plan.steps.iter().map(|step| format!("{} Succeeded {} 1", step.name, reason(step.service))).collect()
}

/// What the stand-ins have noted, each with one write(2) to one file: who was there, how often, and in which order.
fn judge(plan: &Plan, inits: &[String], lines: &[String], ended: &Ended) {
    let told = || format!("{lines:#?}\n{}", ended.all());
    let at = |line: String| {
        let places: Vec<usize> = lines.iter().enumerate().filter(|(_, at)| **at == line).map(|(at, _)| at).collect();
        let [place] = places[..] else { panic!("{line:?} is there {} times: {}", places.len(), told()) };
        place
    };
    let initialised = inits.iter().map(|name| at(format!("{name} initialises"))).max();
    for step in &plan.steps {
        let begin = at(format!("{} begins", step.name));
        assert!(initialised.is_none_or(|last| last < begin), "{} waits for init containers: {}", step.name, told());
        if !step.service {
            at(format!("{} ends", step.name));
        }
        let done = [Condition::Succeeded, Condition::Ready, Condition::Completed];
        for on in step.depends_on.iter().filter(|on| done.contains(&on.condition)) {
            let on = &plan.steps[on.step.index()];
            // A service that has no readiness is ready as soon as it has begun, maybe before it has noted anything.
            let before = match (on.service, &on.readiness) {
                (true, None) => continue,
                (true, Some(_)) => at(format!("{} begins", on.name)),
                (false, _) => at(format!("{} ends", on.name)),
            };
            assert!(before < begin, "{} comes after {}: {}", step.name, on.name, told());
        }
    }
}
