//! What lies on the volume besides this run's own files: another run's, a step's mischief, nothing but full blocks. And that
//! the files of a run are what `podturn schema` says.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use podturn_turn::Kind;
use serde_json::Value;

use crate::pod::{PODTURN, Pod};
use crate::small_volume::on_a_small_volume;

const PAIR: &str = "steps: {build: {}, test: {dependsOn: [build]}}";

#[test]
fn a_volume_with_another_run_on_it_gets_a_run_of_its_own() {
    let mut pod = Pod::running(PAIR, &[("build", ""), ("test", "")]);
    assert_eq!(pod.end().1, 0);
    let first = pod.state()["run"].clone();
    let reports = ["build", "test"].map(|step| fs::read(pod.volume("steps").join(step).join("out/report.json")));
    pod.init();
    // As if the old containers had said their last word only now.
    for (step, report) in ["build", "test"].iter().zip(reports) {
        fs::write(pod.volume("steps").join(step).join("out/report.json"), report.expect("it was written"))
            .expect("room");
    }
    pod.coordinate();
    pod.start_all();
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{}", pod.everything());
    assert_ne!(pod.state()["run"], first);
    let once = ["build 1 begin", "build 1 end 0", "test 1 begin", "test 1 end 0"];
    assert_eq!(pod.witness(), [once, once].concat(), "both runs ran everything, each once");
}

/// A shim of the run before that still waits, and connects to the new coordinator, is obeyed in nothing and given nothing.
#[test]
fn a_shim_of_the_run_before_takes_no_part_in_the_next() {
    let mut pod = Pod::laid_out(PAIR, &[("build", "gate slow"), ("test", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start("build");
    pod.start("test");
    pod.wait_note("build 1 begin");
    pod.kill_coordinator();
    let left = [pod.leave("build"), pod.leave("test")];
    pod.init();
    pod.coordinate();
    pod.start_all();
    pod.wait_until("the new run's begin", || pod.witness().iter().filter(|line| *line == "build 1 begin").count() == 2);
    pod.open_gate("slow");
    let (containers, coordinator) = pod.end();
    assert!(containers.values().all(|code| *code == 0) && coordinator == 0, "{}", pod.everything());
    let count = |note: &str| pod.witness().iter().filter(|line| *line == note).count();
    assert_eq!((count("build 1 begin"), count("test 1 begin")), (2, 1), "{}", pod.everything());
    for mut child in left {
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
}

/// The shim replaces what its command left in the report's place.
const UNHARMED: &str = "Succeeded Completed";

/// Whatever a step makes of its `out/`, the others run as always. Where its shim cannot write there any more, here because
/// of a directory under the name that reports are written under, it ends with 125, and its death is told.
#[test]
fn a_step_that_spoils_its_own_mailbox_harms_nobody_else() {
    let tricks = [
        ("link", UNHARMED, "rm -f $M/report.json; ln -s /etc/passwd $M/report.json"),
        ("fifo", UNHARMED, "rm -f $M/report.json; mkfifo $M/report.json"),
        ("directory", UNHARMED, "rm -f $M/report.json; mkdir -p $M/report.json/x"),
        // What stood in the report's place may still be there: the shim removes it once nobody waits for it.
        ("occupied", "Failed ShimLost", "rm -f $M/.report.json.new; mkdir -p $M/.report.json.new/x"),
        ("huge", UNHARMED, "head -c 3000000 /dev/zero > $M/report.json"),
        ("torn", UNHARMED, "head -c 40 $M/report.json > $M/half; mv $M/half $M/report.json"),
        ("foreign", UNHARMED, "echo '{\"version\":1,\"run\":\"00000000000000ff\"}' > $M/report.json"),
        ("forged", UNHARMED, "sed 's/\"attempt\":1/\"attempt\":99/' $M/report.json > $M/f; mv $M/f $M/report.json"),
    ];
    for (trick, expected, script) in tricks {
        let plan = "steps: {evil: {}, good: {}, after: {dependsOn: [evil: Completed, good]}}";
        let script = format!("M=${{PODTURN_OUTPUTS%/outputs}}; {script}");
        let mut pod = Pod::running(plan, &[("evil", &script), ("good", ""), ("after", "")]);
        let (containers, _) = pod.end();
        assert_eq!((containers["good"], containers["after"]), (0, 0), "{trick}: {}", pod.everything());
        assert_eq!(pod.ends()["evil"], expected, "{trick}: {}", pod.everything());
        let witness = pod.witness();
        assert_eq!(witness.iter().filter(|line| line.ends_with("begin")).count(), 3, "{trick}: {witness:?}");
        assert!(fs::symlink_metadata("/etc/passwd").expect("it is there").is_file());
    }
}

/// A report for a file that is not its own: a symbolic link to a sibling's mailbox is not followed.
#[test]
fn a_step_cannot_speak_for_another_by_a_link() {
    let plan = "steps: {evil: {}, good: {}}";
    let script = "M=${PODTURN_OUTPUTS%/outputs}; rm -rf $M/report.json; ln -s ../../good/out/report.json $M/report.json; \
                  gate slow";
    let mut pod = Pod::laid_out(plan, &[("evil", script), ("good", "")]);
    pod.gate("slow");
    pod.coordinate();
    pod.start_all();
    assert_eq!(pod.container_end("good"), 0);
    let link = pod.volume("steps/evil/out/report.json");
    pod.wait_until("the link", || fs::symlink_metadata(&link).is_ok_and(|meta| meta.is_symlink()));
    pod.open_gate("slow");
    pod.container_end("evil");
    pod.coordinator_end();
    assert_eq!(pod.ends()["good"], "Succeeded Completed");
    let arrivals = pod.journal().iter().filter(|event| matches!(event.kind, Kind::Arrived { .. })).count();
    assert_eq!(arrivals, 2, "{}", pod.everything());
}

/// A full volume is a defined end: everything ends, and nothing ends well that did not.
#[test]
fn a_volume_that_is_full_ends_the_run() {
    on_a_small_volume("1m", |root| {
        let outside = tempfile::tempdir().expect("a temporary directory");
        let mut pod = Pod::planned_in(root, PAIR, &[("build", "gate slow"), ("test", "")]);
        pod.keep_logs_in(outside.path());
        pod.gate("slow");
        pod.init();
        pod.coordinate();
        pod.start_all();
        pod.wait_note("build 1 begin");
        let answer = pod.volume("steps/test/out/report.json");
        pod.wait_until("test's answer to its turn", || {
            fs::read_to_string(&answer).is_ok_and(|report| report.contains("\"turn\":1"))
        });
        // The room of the report before is given back after the new one is there.
        let aside = ["build/out/.report", "test/out/.report", "build/.turn", "test/.turn"]
            .map(|file| pod.volume(&format!("steps/{file}.json.new")));
        pod.wait_until("the end of what was replaced", || aside.iter().all(|path| !path.exists()));
        // And that of the state before, once the newest one is published: from then on nobody frees anything.
        pod.wait_until("the newest state", || {
            let newest = pod.journal().last().map(|event| event.seq);
            pod.published().and_then(|state| state["seq"].as_u64()) == newest
        });
        let mut ballast = File::create(root.join("ballast")).expect("an inode is free");
        while ballast.write(&[1; 512]).is_ok() {}
        pod.open_gate("slow");
        let (containers, coordinator) = pod.end();
        assert_eq!(coordinator, 1, "{}", pod.everything());
        // Its shim could not report the end of its command, and nobody can vouch for what nobody could write down.
        assert_eq!((containers["build"], containers["test"]), (125, 0), "{}", pod.everything());
        assert_eq!(pod.ends()["build"], "Failed ShimLost");
        assert!(pod.journal().iter().any(|event| event.kind == Kind::VolumeFull), "{}", pod.everything());
        let begun = pod.journal().iter().filter(|event| matches!(event.kind, Kind::Begun { .. })).count();
        assert_eq!(begun, 1, "nothing began after the volume was full: {}", pod.everything());
    });
}

/// What `podturn schema` prints.
pub(crate) fn validator(document: &str) -> jsonschema::Validator {
    let printed = Command::new(PODTURN).args(["schema", document]).output().expect("podturn is executable");
    let schema: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// Every file that a run with a retry, a failure, a cancel and a killed shim left fits its schema.
#[test]
fn the_files_of_real_runs_fit_their_schemas() {
    let plan =
        "steps: {flaky: {retry: {limit: 1}}, lost: {}, slow: {}, after: {dependsOn: [lost]}, last: {finally: true}}";
    let scripts = [("flaky", "return 9"), ("lost", "gate never"), ("slow", "gate never"), ("after", ""), ("last", "")];
    let mut pod = Pod::laid_out(plan, &scripts);
    pod.gate("never");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("lost 1 begin");
    pod.wait_note("slow 1 begin");
    pod.kill_shim("lost");
    pod.kill_coordinator();
    pod.coordinate();
    pod.wait_note("flaky 2 end 9");
    pod.wait_event("the loss", |event| matches!(event.kind, Kind::Lost { step, .. } if step.index() == 1));
    pod.wait_started(2); // the first one may have done all that before it was killed
    pod.signal_coordinator(nix::sys::signal::Signal::SIGTERM);
    pod.end();
    let parse = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let check = |document: &str, texts: Vec<String>| {
        let validator = validator(document);
        assert!(!texts.is_empty());
        for text in texts {
            let errors: Vec<String> = validator.iter_errors(&parse(&text)).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{document}: {text}");
        }
    };
    let read = |path: &str| fs::read_to_string(pod.volume(path)).expect("it is there");
    let of_steps = |path: &str| scripts.map(|(name, _)| read(&format!("steps/{name}/{path}"))).to_vec();
    check("turn", of_steps("in/turn.json"));
    check("report", of_steps("out/report.json"));
    check("journal", read("journal.jsonl").lines().map(str::to_owned).collect());
    check("state", vec![read("state.json")]);
}
