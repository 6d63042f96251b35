//! `public/`: real waiters at the gates of a real run, as containers have them that are no steps.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::house::validator;
use super::pod::Pod;

const PLAN: &str = "steps: {build: {}, test: {dependsOn: [build]}}";

fn waiter(pod: &Pod, arguments: &[&str]) -> Child {
    let mut command = Command::new(pod.volume("public/podturn-shim"));
    command.arg("wait").args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("the program of public/ is executable")
}

/// Its exit code and what it said.
fn end(waiter: Child) -> (i32, String) {
    let output = waiter.wait_with_output().expect("it is our child");
    let said = String::from_utf8(output.stderr).expect("UTF-8").replace("podturn-shim: ", "");
    (output.status.code().expect("it exits"), said)
}

fn phases(pod: &Pod) -> Value {
    serde_json::from_str(&fs::read_to_string(pod.volume("public/phases.json")).expect("it is there")).expect("JSON")
}

/// From before the first coordinator, through the death of one, to the end.
#[test]
fn a_gate_opens_whoever_coordinates() {
    let mut pod = Pod::laid_out(PLAN, &[("build", "gate go"), ("test", "")]);
    pod.gate("go");
    let (early, unknown) = (waiter(&pod, &["--for", "build=Succeeded"]), waiter(&pod, &["--for", "biuld"]));
    assert_eq!(end(unknown), (2, "--for biuld: the plan has no such step\n".to_owned()));
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    assert_eq!(end(waiter(&pod, &["--for", "build=Started"])).0, 0);
    let late = waiter(&pod, &["--for", "test=Completed", "--for", "build"]);
    pod.kill_coordinator();
    pod.coordinate();
    pod.open_gate("go");
    assert_eq!(pod.end().1, 0, "{}", pod.everything());
    assert_eq!(end(early), (0, "waiting for build=Succeeded\nbuild=Succeeded is met\n".to_owned()));
    assert_eq!(end(late).0, 0);
}

#[test]
fn a_gate_that_can_never_open_is_said_at_once() {
    let mut pod = Pod::laid_out(PLAN, &[("build", "gate go; return 3"), ("test", "")]);
    pod.gate("go");
    pod.coordinate();
    pod.start_all();
    let waiters = ["build", "test", "build=Failed"].map(|gate| waiter(&pod, &["--for", gate]));
    pod.wait_note("build 1 begin");
    pod.open_gate("go");
    assert_eq!(pod.end().1, 1, "{}", pod.everything());
    let [build, test, failed] = waiters.map(end);
    assert_eq!((build.0, test.0, failed.0), (1, 1, 0));
    assert!(build.1.ends_with("build can no longer be met: the step is Failed\n"), "{}", build.1);
    assert!(test.1.ends_with("test can no longer be met: the step is Omitted\n"), "{}", test.1);
}

/// From the layout to the end it fits its schema, and there is nothing in it but phases and conditions.
#[test]
fn there_are_phases_and_nothing_else() {
    let mut pod = Pod::laid_out(PLAN, &[("build", ""), ("test", "return 3")]);
    let schema = validator("phases");
    let first = phases(&pod);
    assert!(schema.is_valid(&first), "{first}");
    let pending = serde_json::json!({ "phase": "Pending", "conditions": {} });
    assert_eq!(first["steps"], serde_json::json!({ "build": pending, "test": pending }));
    pod.coordinate();
    pod.start_all();
    pod.end();
    let last = phases(&pod);
    assert!(schema.is_valid(&last), "{last}");
    let conditions = |ready: bool| serde_json::json!({ "Started": true, "Ready": ready, "Succeeded": ready, "Failed": !ready, "Completed": true });
    let done = serde_json::json!({ "phase": "Succeeded", "conditions": conditions(true) });
    let failed = serde_json::json!({ "phase": "Failed", "conditions": conditions(false) });
    assert_eq!(last["steps"], serde_json::json!({ "build": done, "test": failed }));
    let members: Vec<&String> = last.as_object().expect("a map").keys().collect();
    assert_eq!(members, ["version", "run", "steps"]);
}

/// More than may listen: everybody gets through, some by looking again.
#[test]
fn a_crowd_gets_through() {
    let mut pod = Pod::laid_out(PLAN, &[("build", "gate go"), ("test", "")]);
    pod.gate("go");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    let crowd: Vec<Child> = (0..300).map(|_| waiter(&pod, &["--for", "build"])).collect();
    pod.open_gate("go");
    assert_eq!(pod.end().1, 0, "{}", pod.everything());
    assert!(crowd.into_iter().all(|waiter| end(waiter).0 == 0));
}
