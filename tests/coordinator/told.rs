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

/// The DAG of a run in this form.
fn graph(form: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new(PODTURN);
    command.args(["graph", "-o", form]).args(arguments).env_remove("PODTURN_VOLUME").env("LC_ALL", "C.UTF-8");
    let ended = command.output().expect("podturn is executable");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("it is UTF-8")
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

/// A whole run, and what its coordinator has said in this form.
fn told_as(form: &str) -> (Pod, String) {
    let mut pod = Pod::laid_out(PLAN, &scripts());
    let mut coordinator = pod.coordinator_command();
    coordinator.arg(form);
    pod.coordinator = Some(coordinator.spawn().expect("podturn is executable"));
    pod.start_all();
    let (_, code) = pod.end();
    assert_eq!(code, 1, "{}", pod.everything());
    let log = fs::read_to_string(pod.log("coordinator")).expect("it has said something");
    (pod, log)
}

/// What `kubectl logs` shows last, however much came before.
#[test]
fn the_log_ends_with_the_table_and_the_outcome() {
    for form in ["--log=text", "--log=json"] {
        let (_pod, log) = told_as(form);
        let lines: Vec<&str> = log.lines().collect();
        let header = lines.iter().rposition(|line| line.starts_with("STEP ")).expect("there is a table");
        let (before, table) = lines.split_at(header);
        assert_eq!(before.iter().any(|line| line.contains(r#""podturn":"outcome""#)), form == "--log=json", "{log}");
        let words = |line: &&str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        let rows: Vec<String> = table.iter().take(7).map(words).collect();
        let expected = [
            "STEP PHASE REASON ATTEMPTS",
            "build Succeeded Completed 1",
            "test Succeeded Completed 2",
            "lint Failed ExitCode 1",
            "publish Failed ExitCode 1",
            "rollback Succeeded Completed 1",
            "notify Succeeded Completed 1",
        ];
        assert_eq!(rows, expected, "{log}");
        let [test, lint, publish, outcome] = table[7..] else { panic!("four sentences: {log}") };
        assert_eq!(test, "test: Succeeded on attempt 2 (attempt 1: ExitCode 1)");
        assert_eq!(lint, "lint: Failed (ExitCode): its command ended with code 2");
        assert_eq!(publish, "publish: Failed (ExitCode): its command ended with code 7");
        assert!(outcome.starts_with("outcome: Failed after "), "{log}");
    }
}

/// The volume of a pod that has ended is gone; its log is there for as long as the pod is.
#[test]
fn status_and_why_tell_from_the_log_alone_what_they_tell_from_the_volume() {
    let (pod, log) = told_as("--log=json");
    let file = pod.log("coordinator");
    let of_log = |arguments: &[&str]| pod.ask(&[arguments, &["--from-logs", file.to_str().expect("UTF-8")]].concat());
    for step in ["publish", "lint", "rollback"] {
        assert_eq!(of_log(&["why", step]), pod.ask(&["why", step]));
    }
    // Times of the journal are shown by one reading of the clocks here, and by several there.
    let without_times = |(code, text): (i32, String)| {
        let words = |line: &str| line.split_whitespace().take(4).collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.rsplit_once(" after ").map_or_else(|| words(line), |(line, _)| line.to_owned()))
            .collect();
        (code, lines)
    };
    assert_eq!(without_times(of_log(&["status"])), without_times(pod.ask(&["status"])));
    let state = |(code, text): (i32, String)| (code, serde_json::from_str::<Value>(&text).expect("it is JSON"));
    let ((code, of_log_alone), (_, of_volume)) =
        (state(of_log(&["status", "--json"])), state(pod.ask(&["status", "--json"])));
    assert_eq!((code, &of_log_alone["run"], &of_log_alone["outcome"]), (0, &of_volume["run"], &"Failed".into()));
    let (code, said) = of_log(&["status", "--follow"]);
    assert!(code == 2 && said.contains("cannot be used with"), "{said}");
    let (code, said) = of_log(&["why", "nobody"]);
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");

    // What `kubectl logs` gives of a run that goes on, or of one whose node is gone.
    // Where the coordinator is late it hears of an attempt's begin and of its end at once.
    let is_of_attempt =
        |line: &str| [r#""event":"begun""#, r#""event":"ended""#].iter().any(|what| line.contains(what));
    let is_of_test = |line: &&str| line.contains(r#""name":"test""#) && is_of_attempt(line);
    let lines: Vec<&str> = log.lines().take_while(|line| !is_of_test(line)).collect();
    let cut = pod.notes("cut");
    fs::write(&cut, lines.join("\n")).expect("the file can be written");
    let of_cut = |arguments: &[&str]| pod.ask(&[arguments, &["--from-logs", cut.to_str().expect("UTF-8")]].concat());
    let ends = "the log ends before the plan: this is how the run stood there";
    for arguments in [&["status"][..], &["why", "publish"]] {
        let (code, said) = of_cut(arguments);
        assert_eq!((code, said.lines().last()), (0, Some(ends)), "{said}");
    }
    assert!(of_cut(&["why", "publish"]).1.starts_with("publish waits for test to succeed\n"), "{lines:#?}");
    // Nobody knows how long it ran on when the log was at its end, be that years ago.
    let begun = 1 + log.lines().position(|line| is_of_test(&line)).expect("it has begun");
    let lines: Vec<&str> = log.lines().take(begun).collect();
    let year = log.split_once(r#""startedAt":""#).map(|(_, at)| &at[..4]).expect("it is told");
    let old = lines.join("\n").replace(&format!(r#""startedAt":"{year}"#), r#""startedAt":"2001"#);
    fs::write(&cut, old).expect("the file can be written");
    let (code, said) = of_cut(&["why", "test"]);
    let (first, rest) = said.split_once('\n').expect("two lines");
    assert_eq!((code, rest), (0, format!("{ends}\n").as_str()), "{said}");
    assert!(first.starts_with("test is Running (attempt 1), for ") && !first.contains('h'), "not for years: {said}");
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

    for form in ["text", "mermaid", "dot", "svg"] {
        let of_volume = graph(form, &[Path::new("--volume"), &pod.volume("")]);
        for sign in ["✓", "✗"] {
            assert!(of_volume.contains(sign), "phases are signs: {of_volume}");
        }
        assert_eq!(graph(form, &[Path::new("--from-logs"), &pod.log("coordinator")]), of_volume);
        assert_eq!(graph(form, &[Path::new("--volume"), &kept]), of_volume, "the archive's");
    }
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
