//! What the containers say, and how it is shown.

use std::fs;
use std::io::{BufRead, BufReader, Read, pipe};
use std::process::Command;

use nix::sys::signal::Signal;

use super::pod::{Place, Run};

#[test]
fn lines_carry_their_steps_name_and_keep_their_stream() {
    let place = Place::new();
    let pod =
        place.pod("steps: [a, second]", &[("a", "echo one; echo two >&2; printf three"), ("second", "printf '\\n'")]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.said("a"), ["one", "three"], "a last line without its end is a line: {}", ended.all());
    assert_eq!(ended.said("second"), [""]);
    assert_eq!(ended.said_on_stderr("a").first(), Some(&"two"), "{}", ended.all());
    let width = "podturn".len();
    assert!(ended.out.iter().all(|line| line.get(width..width + 3) == Some(" | ")), "one column: {}", ended.all());
}

/// The line that each shim writes to stderr and to the termination log: an ordinary success would be every second line.
#[test]
fn an_ordinary_success_is_not_told_and_every_other_end_is() {
    let place = Place::new();
    let plan = "steps: {a: {}, b: {retry: {limit: 1}}, c: {successExitCodes: [3]}, d: {allowFailure: true}, \
                e: {when: 'false'}}";
    let again = "[ $PODTURN_ATTEMPT = 2 ]";
    let pod = place.pod(plan, &[("a", "echo last >&2"), ("b", again), ("c", "exit 3"), ("d", "exit 4"), ("e", "true")]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.said_on_stderr("a"), ["last"]);
    for (step, line) in [
        ("b", "Succeeded: its command ended with code 0, on attempt 2"),
        ("c", "Succeeded: its command ended with code 3"),
        ("d", "Failed (ExitCode): its command ended with code 4"),
        ("e", "Skipped (WhenFalse): its `when` is false"),
    ] {
        assert_eq!(ended.said_on_stderr(step), [line], "{}", ended.all());
    }
}

#[test]
fn a_line_without_end_is_shown_in_parts() {
    let place = Place::new();
    let pod = place.pod("steps: [a]", &[("a", "head -c 40000 /dev/zero | tr '\\0' x")]);
    let ended = place.run(&pod, &[]);
    let lengths: Vec<usize> = ended.said("a").iter().map(|line| line.len()).collect();
    assert_eq!(lengths, [16384, 16384, 40000 - 2 * 16384]);
}

#[test]
fn the_state_alone_is_on_stdout_when_json_is_asked_for() {
    let place = Place::new();
    let pod = place.pod("steps: [a, b]", &[("a", "echo on stdout; echo on stderr >&2"), ("b", "exit 5")]);
    let ended = place.run(&pod, &["--json"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let state = ended.state();
    let schema = Command::new(env!("CARGO_BIN_EXE_podturn")).args(["schema", "state"]).output().expect("it starts");
    let schema = serde_json::from_slice(&schema.stdout).expect("a schema");
    jsonschema::validate(&schema, &state).expect("it is what the schema says");
    assert_eq!(state["outcome"], "Failed");
    assert_eq!(state["steps"][1]["exitCode"], 5);
    assert_eq!(ended.said_on_stderr("a")[..2], ["on stdout", "on stderr"]);
}

/// 1,000,000 lines of 100 bytes each. The step says its last line only then.
#[test]
fn a_hundred_megabytes_arrive_whole_and_are_not_held() {
    const LINES: u32 = 1_000_000;
    let place = Place::new();
    place.gate("gate");
    let filler = "x".repeat(99 - 8);
    let script = format!("seq -f '%08.0f{filler}' 1 {LINES}; echo the end; read _ < /notes/gate");
    let file = place.write(&place.pod("steps: [loud]", &[("loud", &script)]));
    let mut command = place.command(&file, &[]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("podturn is executable");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut line, mut number) = (String::new(), 0);
    let mut gate = None;
    while lines.read_line(&mut line).expect("UTF-8") > 0 {
        if let Some(text) = line.strip_prefix("loud    | ") {
            if text == "the end\n" {
                assert!(most_memory(child.id()) < 48 * 1024, "{} KiB", most_memory(child.id()));
                gate = Some(place.open_gate("gate"));
            } else {
                number += 1;
                assert_eq!(text.strip_suffix('\n'), Some(format!("{number:08}{filler}").as_str()));
            }
        }
        line.clear();
    }
    assert_eq!(number, LINES);
    assert!(gate.is_some(), "and the last line came");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

/// As in `podturn run pod.yaml | head`, with and without `2>&1`: nobody knows that it is over but by writing. The plan is
/// cancelled in order, so that its finally steps can clean up.
#[test]
fn a_reader_that_goes_away_ends_the_run() {
    for both in [false, true] {
        let place = Place::new();
        let plan = "steps: {loud: {}, after: {dependsOn: [loud]}, cleanup: {finally: true}}";
        let note = "echo $PODTURN_STEP >> /notes/witness";
        let file = place.write(&place.pod(plan, &[("loud", "yes"), ("after", note), ("cleanup", note)]));
        let (reader, writer) = pipe().expect("pipe(2)");
        let mut command = place.command(&file, &[]);
        if both {
            command.stderr(writer.try_clone().expect("a descriptor"));
        }
        let mut child = command.stdout(writer).spawn().expect("podturn is executable");
        drop(command);
        let mut lines = BufReader::new(reader);
        let mut line = String::new();
        while !line.ends_with("| y\n") {
            line.clear();
            assert!(lines.read_line(&mut line).expect("UTF-8") > 0, "it says y");
        }
        place.wait_arrived(); // a container that is not there when the pod is ended is not created any more
        drop(lines);
        let mut told = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut told).expect("UTF-8");
        }
        assert_eq!(child.wait().expect("our child").code(), Some(143), "both: {both}\n{told}");
        assert_eq!(place.lines("witness"), ["cleanup"], "both: {both}\n{told}");
        assert!(place.left().is_empty(), "{:?}", place.left());
    }
}

/// A reader that sleeps (a stopped pager, a terminal with ^S) must not keep a run from being ended.
#[test]
fn a_reader_that_sleeps_cannot_hold_up_the_end() {
    let place = Place::new();
    let stubborn = "trap '' TERM; echo begun >&2; while :; do echo more; done";
    let file = place.write(&place.pod("steps: [loud]", &[("loud", stubborn)]));
    let (_reader, writer) = pipe().expect("pipe(2)");
    let mut command = place.command(&file, &[]);
    command.stdout(writer);
    let mut run: Run = Place::start_command(command);
    run.wait_said("loud", "begun");
    run.signal(Signal::SIGINT);
    run.signal(Signal::SIGTERM);
    let ended = run.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// A line of 100 MB is shown in parts, and nothing of it is held or lost.
#[test]
fn a_line_of_a_hundred_megabytes_arrives_whole_and_is_not_held() {
    const LENGTH: usize = 100_000_000;
    let place = Place::new();
    place.gate("gate");
    let script = format!("head -c {LENGTH} /dev/zero | tr '\\0' x; echo; echo the end; read _ < /notes/gate");
    let file = place.write(&place.pod("steps: [loud]", &[("loud", &script)]));
    let mut command = place.command(&file, &[]);
    let mut child = command.stderr(std::process::Stdio::null()).spawn().expect("podturn is executable");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let (mut line, mut length, mut gate) = (String::new(), 0, None);
    while lines.read_line(&mut line).expect("UTF-8") > 0 {
        let text = line.strip_prefix("loud    | ").expect("a prefix").trim_end();
        if text == "the end" {
            assert!(most_memory(child.id()) < 48 * 1024, "{} KiB", most_memory(child.id()));
            gate = Some(place.open_gate("gate"));
        } else {
            length += text.len();
        }
        line.clear();
    }
    assert_eq!((length, gate.is_some()), (LENGTH, true));
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

/// The most that a process has ever had in memory, in KiB (proc_pid_status(5), VmHWM).
fn most_memory(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
    most.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a job of a CI system does: it runs the pod, and keeps what came of it.
#[test]
fn the_end_is_written_down_in_each_form_that_is_asked_for() {
    let place = Place::new();
    let plan = "steps: {build: {}, test: {dependsOn: [build]}}";
    let file = place.write(&place.pod(plan, &[("build", "true"), ("test", "exit 3")]));
    let files = ["run.html", "junit.xml", "run.md"].map(|name| place.path(name));
    let arguments = files.clone().map(|file| format!("--report={}", file.display()));
    let summary = place.path("summary");
    fs::write(&summary, "from the step before\n").expect("it can be written");
    let mut command = place.command(&file, &arguments.each_ref().map(String::as_str));
    command.env("GITHUB_STEP_SUMMARY", &summary);
    let ended = Place::start_command(command).end();
    assert_eq!(ended.code, 1, "the outcome's: {}", ended.all());
    let [html, junit, markdown] = files.map(|file| fs::read_to_string(file).expect("it was written"));
    assert!(html.contains("<title>Failed - podturn run "), "{html}");
    assert!(junit.contains("name=\"test\"") && junit.contains("<failure type=\"ExitCode\""), "{junit}");
    assert!(markdown.contains("| test | ✗ Failed | ExitCode | 1 |"), "{markdown}");
    let summary = fs::read_to_string(summary).expect("it is there");
    assert_eq!(summary, format!("from the step before\n{markdown}"), "appended: others write into it too");
}

#[test]
fn a_report_that_cannot_be_written_is_a_failure_and_a_summary_that_cannot_is_none() {
    let place = Place::new();
    let file = place.write(&place.pod("steps: [a]", &[("a", "true")]));
    let nowhere = place.path("nowhere").join("run.md");
    let mut command = place.command(&file, &[]);
    command.env("GITHUB_STEP_SUMMARY", &nowhere);
    let ended = Place::start_command(command).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.err.iter().any(|line| line.starts_with("warning: cannot append the summary to ")), "{}", ended.all());
    let report = format!("--report={}", nowhere.display());
    let ended = Place::start_command(place.command(&file, &[&report])).end();
    assert_eq!(ended.code, 125, "{}", ended.all());
    let (code, _, said) = place.ask(&["run", "--report=run.pdf", &file.display().to_string()]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("it ends with none of .html, .xml and .md"), "{said}");
}

#[test]
fn a_run_without_a_place_for_its_files_says_where_there_is_none() {
    let place = Place::new();
    let file = place.write(&place.pod("steps: [a]", &[("a", "true")]));
    let nowhere = place.path("nowhere");
    let mut command = place.command(&file, &[]);
    command.env("TMPDIR", &nowhere);
    let ended = Place::start_command(command).end();
    assert_eq!(ended.code, 125, "{}", ended.all());
    let said = format!("error: cannot make a directory for the run in {} (TMPDIR): ", nowhere.display());
    assert!(ended.err.iter().any(|line| line.starts_with(&said)), "{}", ended.all());
}
