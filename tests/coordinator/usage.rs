//! What steps use: that what is shown while they run and what is told at their end agree with what the kernel says elsewhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::pod::{PODTURN, Pod};
use super::witness::witness;

const CPU: u64 = 600;
/// `/proc` counts in ticks of 10 ms, each of four numbers a process rounded down.
const TICKS: u64 = 40;
const MEMORY: u64 = 96;

/// `known` to within five percent, and what a shell and a clock tick are.
fn is_about(shown: u64, known: u64, slack: u64) -> bool {
    shown.abs_diff(known) <= known / 20 + slack
}

/// What the loads of a step have told of themselves, by getrusage(2), in ms: what they burned, and what the kernel took for giving them
/// their memory, which on a busy machine is more than a twentieth; `in all` also what it took for taking that back.
fn told(pod: &Pod, name: &str) -> Vec<u64> {
    let log = fs::read_to_string(pod.log("work")).unwrap_or_default();
    let told = log.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    told.collect()
}

/// What is shown of a load that has told this of itself: less by what `/proc` rounds down, or more by five percent and what a shell is.
fn is_of_the_load(shown: &Value, known: u64, shell: u64) -> bool {
    shown.as_u64().is_some_and(|shown| (known - TICKS..=known + known / 20 + shell).contains(&shown))
}

/// Waits until all is shown of the load that a step's newest attempt is: what that is, and what is shown.
fn wait_for_the_load(pod: &Pod, attempt: usize) -> (u64, Value) {
    pod.wait_until("the whole load is shown", || {
        let Some(used) = told(pod, "used").get(attempt - 1).copied() else { return false };
        pod.published().is_some_and(|state| {
            let step = &state["steps"][0];
            step["attempt"] == attempt && step["usage"]["cpuMs"].as_u64() >= Some(used - TICKS)
        })
    });
    (told(pod, "used")[attempt - 1], pod.state()["steps"][0]["usage"].clone())
}

fn samples(pod: &Pod) -> Vec<Value> {
    let text = fs::read_to_string(pod.volume("usage.jsonl")).expect("there are samples");
    text.lines().map(|line| serde_json::from_str(line).expect("a sample is JSON")).collect()
}

#[test]
fn a_known_load_is_shown_while_it_runs_and_told_at_its_end() {
    let load = format!("{} load {CPU} {MEMORY} $NOTES/gate & wait", witness().display());
    let mut pod = Pod::laid_out("steps: { work: {} }", &[("work", &load)]);
    pod.gate("gate");
    pod.coordinate();
    pod.start_all();
    let (used, shown) = wait_for_the_load(&pod, 1);
    assert_eq!(shown["processes"], 2, "a shell and the load: {shown}");
    assert!(is_of_the_load(&shown["cpuMs"], used, 40), "{used}: {shown}");
    for memory in ["rssKib", "peakRssKib", "maxRssKib"] {
        assert!(is_about(shown[memory].as_u64().expect("a number"), MEMORY * 1024, 8 * 1024), "{memory}: {shown}");
    }
    pod.open_gate("gate");
    pod.end();

    let state = pod.state();
    assert!(state["steps"][0].get("usage").is_none(), "nothing runs: {state}");
    let attempt = &state["steps"][0]["attempts"][0];
    let [in_all] = told(&pod, "used in all")[..] else { panic!("one load: {}", pod.everything()) };
    assert!(is_of_the_load(&attempt["cpuMs"], in_all, 40), "{in_all}: {attempt}");
    for name in ["maxRssKib", "peakRssKib"] {
        assert!(is_about(attempt[name].as_u64().unwrap_or(0), MEMORY * 1024, 8 * 1024), "{name}: {attempt}");
    }
    let samples = samples(&pod);
    let last = samples.last().expect("at least one");
    let known = last["cpuMs"].as_u64().unwrap_or(0).clamp(used, in_all); // it may have been giving its memory back
    assert!(is_of_the_load(&last["cpuMs"], known, 40), "from {used} to {in_all}: {last}");
    let schema = Command::new(PODTURN).args(["schema", "usage"]).output().expect("it runs").stdout;
    let schema = serde_json::from_slice(&schema).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("it is one");
    assert!(samples.iter().all(|sample| validator.is_valid(sample)), "{samples:?}");
}

/// GNU time 1.9 (Debian's package `time`) asks wait4(2) as the shim does, but for its own child.
#[test]
fn the_shims_account_agrees_with_that_of_gnu_time() {
    if !Path::new("/usr/bin/time").exists() {
        println!("skipped: no /usr/bin/time");
        return;
    }
    let load = format!("/usr/bin/time -v -o $NOTES/time {} load {CPU} {MEMORY}", witness().display());
    let mut pod = Pod::running("steps: { work: {} }", &[("work", &load)]);
    pod.end();
    let told = fs::read_to_string(pod.notes("time")).expect("it was told");
    let value = |name: &str| -> f64 {
        let line = told.lines().find_map(|line| line.trim().strip_prefix(name)).expect("GNU time says so");
        line.trim_start_matches([':', ' ']).parse().expect("a number")
    };
    let cpu = (value("User time (seconds)") + value("System time (seconds)")) * 1000.0;
    let memory = value("Maximum resident set size (kbytes)");
    let attempt = pod.state()["steps"][0]["attempts"][0].clone();
    assert!(is_about(attempt["cpuMs"].as_u64().expect("a number"), cpu as u64, 30), "{attempt} {told}");
    assert!(is_about(attempt["maxRssKib"].as_u64().expect("a number"), memory as u64, 1024), "{attempt} {told}");
}

/// What a step sends to its storage is told in bytes: as proc_pid_io(5) has them, so where the file system counts them.
#[test]
fn what_a_step_writes_is_shown_while_it_runs_and_told_at_its_end() {
    const WRITTEN: u64 = 8 << 20;
    let load = "dd if=/dev/zero of=$NOTES/written bs=1048576 count=8 conv=fsync 2> $NOTES/dd; gate gate";
    let mut pod = Pod::laid_out("steps: { work: {} }", &[("work", load)]);
    pod.gate("gate");
    let counted = || {
        let io = fs::read_to_string("/proc/thread-self/io").ok()?;
        io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse::<u64>().ok())
    };
    let before = counted();
    fs::write(pod.notes("ours"), [1; 1 << 16]).expect("the directory is writable");
    if counted() == before {
        println!("skipped: /proc/self/io counts no bytes that are written to {}", pod.notes("").display());
        return;
    }
    pod.coordinate();
    pod.start_all();
    pod.wait_until("what was written is shown", || {
        pod.published().is_some_and(|state| state["steps"][0]["usage"]["writeBytes"].as_u64() >= Some(WRITTEN))
    });
    let shown = pod.state()["steps"][0]["usage"].clone();
    // Beside it the witness writes a line, and the file system what it keeps about files.
    assert!(is_about(shown["writeBytes"].as_u64().unwrap_or(0), WRITTEN, 128 << 10), "{shown}");
    pod.open_gate("gate");
    pod.end();
    let attempt = &pod.state()["steps"][0]["attempts"][0];
    assert!(is_about(attempt["writeBytes"].as_u64().unwrap_or(0), WRITTEN, 128 << 10), "{attempt}");
    let last = samples(&pod).pop().expect("at least one");
    assert!(is_about(last["writeBytes"].as_u64().unwrap_or(0), WRITTEN, 128 << 10), "{last}");
}

/// What a daemon uses that left its parent, its session and its process group is the step's all the same.
#[test]
fn what_left_its_parents_is_counted_and_each_attempt_begins_at_nothing() {
    let load = format!("setsid {} load {CPU} 8 $NOTES/gate$PODTURN_ATTEMPT & ", witness().display());
    let script = format!("({load}); read _ < $NOTES/end$PODTURN_ATTEMPT; [ $PODTURN_ATTEMPT = 2 ]");
    let mut pod = Pod::laid_out("steps: { work: { retry: { limit: 1 } } }", &[("work", &script)]);
    ["gate1", "gate2", "end1", "end2"].into_iter().for_each(|gate| pod.gate(gate));
    pod.coordinate();
    pod.start_all();
    for attempt in [1, 2] {
        let (used, shown) = wait_for_the_load(&pod, attempt);
        assert!(is_of_the_load(&shown["cpuMs"], used, 60), "attempt {attempt}, {used}: {shown}");
        pod.open_gate(&format!("gate{attempt}"));
        pod.open_gate(&format!("end{attempt}"));
    }
    let (ends, _) = pod.end();
    assert_eq!(ends["work"], 0, "{}", pod.everything());
}

/// Whoever takes over knows what was seen before, and goes on with it.
#[test]
fn a_coordinator_that_takes_over_goes_on_with_the_account() {
    let load = format!("{} load {CPU} {MEMORY} $NOTES/gate", witness().display());
    let mut pod = Pod::laid_out(
        "steps: { first: {}, work: { dependsOn: [first] } }",
        &[("first", &load), ("work", "read _ < $NOTES/end")],
    );
    ["gate", "end"].into_iter().for_each(|gate| pod.gate(gate));
    pod.coordinate();
    pod.start_all();
    pod.wait_until("the load is shown", || {
        pod.published().is_some_and(|state| state["steps"][0]["usage"]["cpuMs"].as_u64() >= Some(CPU - TICKS))
    });
    pod.open_gate("gate");
    pod.wait_until("the next one runs", || {
        pod.published().is_some_and(|state| state["steps"][1]["usage"]["processes"].as_u64() >= Some(1))
    });
    pod.kill_coordinator();
    pod.coordinate();
    pod.open_gate("end");
    pod.end();
    let attempt = pod.state()["steps"][0]["attempts"][0].clone();
    assert!(is_about(attempt["peakRssKib"].as_u64().unwrap_or(0), MEMORY * 1024, 8 * 1024), "{attempt}");
}

/// As in a pod without `shareProcessNamespace`: the coordinator cannot name the shims' processes.
#[test]
fn what_cannot_be_seen_is_said_and_its_shim_accounts_for_it_at_the_end() {
    let load = format!("{} load {CPU} {MEMORY} $NOTES/gate", witness().display());
    let mut pod = Pod::laid_out("steps: { work: {} }", &[("work", &load)]);
    pod.gate("gate");
    if !pod.coordinate_apart() {
        return;
    }
    pod.start_all();
    pod.wait_until("it is said of the step", || {
        pod.published().is_some_and(|state| state["steps"][0]["unseen"] == true)
    });
    assert!(pod.state()["steps"][0].get("usage").is_none(), "{}", pod.state());
    let (_, page) = pod.ask(&["report", "--volume", pod.volume("").to_str().expect("UTF-8"), "-o", "-"]);
    let row = page.lines().find(|line| line.starts_with("<tr id=\"u0\"")).unwrap_or_else(|| panic!("no row: {page}"));
    assert!(row.contains("not seen while it runs"), "{row}");
    pod.open_gate("gate");
    let (ends, code) = pod.end();
    assert!(code == 0 && ends["work"] == 0, "{}", pod.everything());

    let log = fs::read_to_string(pod.log("coordinator")).expect("a log");
    assert_eq!(log.matches("what work uses cannot be seen").count(), 1, "once: {log}");
    let state = pod.state();
    let attempt = &state["steps"][0]["attempts"][0];
    let [in_all] = told(&pod, "used in all")[..] else { panic!("one load: {}", pod.everything()) };
    assert!(is_of_the_load(&attempt["cpuMs"], in_all, 40), "{in_all}: {attempt}");
    assert!(is_about(attempt["maxRssKib"].as_u64().unwrap_or(0), MEMORY * 1024, 8 * 1024), "{attempt}");
    assert!(attempt.get("peakRssKib").is_none() && samples(&pod).is_empty(), "nobody saw it: {attempt}");
}
