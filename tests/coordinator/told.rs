//! What is left of a run when its volume is gone: the coordinator's log and the archive tell as much as the volume.

use std::fs;
use std::path::Path;
use std::process::Command;

use podturn::history::{History, Record};
use podturn::volume::{Journal, Volume};
use serde_json::Value;

use super::pod::{PODTURN, Pod};

const PLAN: &str = "\
maxParallel: 1
steps:
  build: {}
  test: { dependsOn: [build], retry: { limit: 1, backoff: { duration: 20ms } } }
  lint: { dependsOn: [build], allowFailure: true }
  publish: { dependsOn: [test] }
  rollback: { dependsOn: [{ step: publish, condition: Failed }] }
  notify: { finally: true }";

fn scripts<'a>() -> [(&'a str, &'a str); 6] {
    [
        ("build", "echo '<b>1.2.3</b>' > $PODTURN_OUTPUTS/version"),
        ("test", "test $PODTURN_ATTEMPT = 2"),
        ("lint", "exit 2"),
        ("publish", "exit 7"),
        ("rollback", ""),
        ("notify", ""),
    ]
}

fn report(arguments: &[&Path]) -> String {
    let mut command = Command::new(PODTURN);
    command.arg("report").args(["-o", "-"]).args(arguments).env_remove("PODTURN_VOLUME");
    let ended = command.output().expect("podturn is executable");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("a page is UTF-8")
}

/// Every phase, reason, code and output that `state.json` tells, the journal played again tells as well.
fn check_replay(pod: &Pod) {
    let volume = Volume::open(&pod.volume("")).expect("the volume");
    let run = volume.read_run().expect("run.json is sound").expect("it is laid out");
    let events = Journal::read(&volume).expect("the journal is sound");
    let state = pod.state();
    let usage = podturn::volume::usage::read(&volume);
    let history = History::of(&Record::new(run, events, state["startedAt"].as_str(), usage)).expect("it fits");
    let mut played = serde_json::to_value(&history.state).expect("a state is JSON");
    let mut published = state;
    for view in [&mut played, &mut published] {
        for step in view["steps"].as_array_mut().into_iter().flatten() {
            // Times of the journal are shown by one reading of the clocks here, and by several there.
            for time in ["dueAt", "startedAt", "readyAt", "endedAt", "attempts"] {
                step.as_object_mut().expect("a step").remove(time);
            }
        }
        view["endedAt"] = Value::Null;
    }
    assert_eq!(played, published);
}

#[test]
fn the_log_alone_and_the_archive_make_the_same_page_as_the_volume() {
    let mut pod = Pod::laid_out(PLAN, &scripts());
    let archive = pod.notes("archive");
    let mut coordinator = pod.coordinator_command();
    coordinator.arg("--archive").arg(&archive);
    pod.coordinator = Some(coordinator.spawn().expect("podturn is executable"));
    pod.start_all();
    let (_, code) = pod.end();
    assert_eq!(code, 1, "{}", pod.everything());

    let of_volume = report(&[Path::new("--volume"), &pod.volume("")]);
    assert!(of_volume.contains("&lt;b&gt;1.2.3&lt;/b&gt;") && of_volume.contains("back-off"), "{of_volume}");
    let of_log = report(&[Path::new("--from-logs"), &pod.log("coordinator")]);
    assert!(
        of_log == of_volume,
        "the log tells another story:\n{}",
        fs::read_to_string(pod.log("coordinator")).unwrap_or_default()
    );

    let run = pod.state()["run"].as_str().expect("a run has an id").to_owned();
    let kept = archive.join(run);
    assert_eq!(fs::read_to_string(kept.join("report.html")).expect("the page is kept"), of_volume);
    assert_eq!(report(&[Path::new("--volume"), &kept]), of_volume, "an archive is as good as the volume");
    check_replay(&pod);
}

/// The log of a container that was restarted is whole by itself, and both together are read as one.
#[test]
fn the_log_of_a_coordinator_that_took_over_is_whole() {
    let mut pod = Pod::laid_out(
        PLAN,
        &[("build", "read _ < $NOTES/gate"), scripts()[1], scripts()[2], scripts()[3], scripts()[4], scripts()[5]],
    );
    pod.gate("gate");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod.kill_coordinator();
    let first = fs::read_to_string(pod.log("coordinator")).expect("it has said something");
    pod.coordinate();
    pod.open_gate("gate");
    pod.end();
    let of_volume = report(&[Path::new("--volume"), &pod.volume("")]);
    let whole = fs::read_to_string(pod.log("coordinator")).expect("a log");
    let second = whole.strip_prefix(&first).expect("it goes on in the same file");
    for log in [whole.as_str(), second] {
        let file = pod.notes("log");
        // As `kubectl logs --prefix --timestamps` shows it, with lines of others between.
        let lines: Vec<String> =
            log.lines().map(|line| format!("[pod/x/podturn] 2026-11-24T10:00:00Z {line}\nanother line")).collect();
        fs::write(&file, lines.join("\n")).expect("the file can be written");
        assert!(report(&[Path::new("--from-logs"), &file]) == of_volume, "{log}");
    }
    check_replay(&pod);
}

#[test]
fn a_log_without_a_run_is_refused_in_words() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let log = directory.path().join("log");
    fs::write(&log, "STEP  PHASE\nbuild Succeeded\n").expect("the file can be written");
    let ended = Command::new(PODTURN).args(["report", "-o", "-", "--from-logs"]).arg(&log).output().expect("it runs");
    assert_eq!(ended.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("there is no run in it: is it the log of the coordinator's container"), "{stderr}");
}
