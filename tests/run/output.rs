//! What the containers say, and how it is shown.

use std::io::{BufRead, BufReader};
use std::process::Command;

use super::pod::Place;

#[test]
fn lines_carry_their_steps_name_and_keep_their_stream() {
    let place = Place::new();
    let pod =
        place.pod("steps: [a, second]", &[("a", "echo one; echo two >&2; printf three"), ("second", "printf '\\n'")]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.said("a"), ["one", "three"], "a last line without its end is a line: {}", ended.all());
    assert_eq!(ended.said("second"), [""]);
    assert_eq!(ended.said_on_stderr("a").first(), Some(&"two"), "{}", ended.all());
    let width = "podturn-init".len();
    assert!(ended.out.iter().all(|line| line.get(width..width + 3) == Some(" | ")), "one column: {}", ended.all());
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
        if let Some(text) = line.strip_prefix("loud         | ") {
            if text == "the end\n" {
                let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
                let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
                let kib: u32 = most.trim().trim_end_matches(" kB").parse().expect("a number");
                assert!(kib < 48 * 1024, "{kib} KiB");
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

#[test]
fn a_reader_that_goes_away_ends_the_run() {
    let place = Place::new();
    let file = place.write(&place.pod("steps: [loud]", &[("loud", "yes")]));
    let mut child = place.command(&file, &[]).spawn().expect("podturn is executable");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.ends_with("| y\n") {
        line.clear();
        assert!(lines.read_line(&mut line).expect("UTF-8") > 0, "it says y");
    }
    drop(lines);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
}
