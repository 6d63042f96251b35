//! The control API as a program sees it: HTTP over the real socket of a real coordinator. What its answers say fits the schema.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use super::house::validator;
use super::pod::{PODTURN, Pod};

const PLAN: &str = "steps: {build: {}, test: {dependsOn: [build]}}";

/// A pod in which `build` runs until the gate `go` is opened.
fn pod() -> Pod {
    let mut pod = Pod::laid_out(PLAN, &[("build", "gate go"), ("test", "")]);
    pod.gate("go");
    pod.coordinate();
    pod.start_all();
    pod.wait_note("build 1 begin");
    pod
}

/// Sends this as it is, and gives the status and the body of what comes back.
fn exchange(pod: &Pod, request: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(pod.volume("control.sock")).expect("the coordinator listens");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("it answers, and hangs up");
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {request:?}: {said:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}

fn post(pod: &Pod, body: &str) -> (u16, Value) {
    let length = body.len();
    exchange(pod, &format!("POST /v1/requests HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"))
}

/// Each request in its order, the status of its answer and a part of what that says.
const TALK: &[(&str, u16, &str, &str)] = &[
    (r#"{"verb":"pause"}"#, 200, "done", "until `resume`"),
    (r#"{"verb":"pause"}"#, 200, "already", "paused"),
    (r#"{"verb":"skip","step":"test","attempt":0}"#, 200, "done", "Skipped"),
    (r#"{"verb":"skip","step":"test","attempt":0}"#, 200, "already", "Skipped"),
    (r#"{"verb":"retry","step":"build"}"#, 409, "refused", "build"),
    (r#"{"verb":"stop","step":"tets"}"#, 404, "noSuchStep", "it has build, test"),
    (r#"{"verb":"stop"}"#, 400, "bad", "stop needs a step"),
    (r#"{"verb":"cancel","step":"build"}"#, 400, "bad", "it takes no step"),
    (r#"{"verb":"reboot"}"#, 400, "bad", "unknown variant `reboot`"),
    (r#"{"verb":"pause","when":"now"}"#, 400, "bad", "unknown field `when`"),
    (r#"{"verb":"#, 400, "bad", "this is not a request"),
    ("", 400, "bad", "this is not a request"),
];

#[test]
fn each_request_is_answered_as_the_schema_says() {
    let mut pod = pod();
    let schema = validator("control");
    for (body, status, result, says) in TALK {
        let (code, answer) = post(&pod, body);
        assert_eq!((code, answer["result"].as_str()), (*status, Some(*result)), "{body}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|message| message.contains(says)), "{body}: {answer}");
        // What is no request by the schema is bad, and nothing else is but what lacks a step or has one too many.
        let request = serde_json::from_str(body).unwrap_or(Value::Null);
        let fits = schema.is_valid(&json!({ "request": request, "answer": answer }));
        let needs_a_look = says.contains("a step") || says.contains("no step");
        assert_eq!(fits, *result != "bad" || needs_a_look, "{body}: {answer}");
    }
    let (code, state) = exchange(&pod, "GET /v1/state HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((code, state["steps"][0]["phase"].as_str()), (200, Some("Running")));
    assert!(validator("state").is_valid(&state), "{state}");
    for (request, status) in [("GET /v1/requests", 405), ("POST /v1/state", 405), ("GET /", 404)] {
        let (code, answer) = exchange(&pod, &format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!((code, answer["result"].as_str()), (status, Some("bad")), "{request}: {answer}");
    }
    assert_eq!(post(&pod, r#"{"verb":"resume"}"#).0, 200);
    pod.open_gate("go");
    assert_eq!(pod.end().1, 0, "{}", pod.everything());
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let mut pod = pod();
    let body = format!("{{\"verb\":\"stop\",\"step\":\"{}\"}}", "x".repeat(64 * 1024));
    let (code, answer) = post(&pod, &body);
    assert_eq!((code, answer["message"].as_str()), (400, Some("length limit exceeded")), "{answer}");
    pod.open_gate("go");
    assert_eq!(pod.end().1, 0, "{}", pod.everything());
}

/// The socket is its user's alone; and where somebody has opened it to all, the kernel's word on who asks is asked for.
#[test]
fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let mut pod = pod();
    let socket = pod.volume("control.sock");
    let mode = std::fs::metadata(&socket).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Paths that nobody else may pass lead to a volume that everybody may use: by a directory that is open, /proc/self/fd/N.
    for (mode, says) in
        [(0o600, "Permission denied"), (0o666, "user 65534 may not control this run: only user 0 and root may")]
    {
        std::fs::set_permissions(&socket, PermissionsExt::from_mode(mode)).expect("it is ours");
        let directory = std::fs::File::open(pod.volume("")).expect("it is ours");
        let podturn = std::fs::File::open(PODTURN).expect("it is there");
        let mut ask = Command::new(format!("/proc/self/fd/{}", inherited(&podturn)));
        ask.args(["cancel", "--volume", &format!("/proc/self/fd/{}", inherited(&directory))]).uid(65534).gid(65534);
        let output = ask.output().expect("it starts");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains(says) && !output.status.success(), "{err}");
    }
    assert!(post(&pod, "{}").0 == 400, "root is still heard");
    pod.open_gate("go");
    assert_eq!(pod.end().1, 0, "{}", pod.everything());
}

/// A descriptor that the programs started from here have too.
fn inherited(file: &std::fs::File) -> i32 {
    use std::os::fd::AsRawFd;
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("it is open");
    file.as_raw_fd()
}

/// Whoever holds the coordinator's ear and says nothing keeps nobody from a cancel.
#[test]
fn silent_connections_keep_nobody_out() {
    let mut pod = pod();
    let connect = || UnixStream::connect(pod.volume("control.sock")).expect("the coordinator listens");
    let mut crowd: Vec<UnixStream> = (0..40).map(|_| connect()).collect();
    for stream in &mut crowd {
        let _ = stream.write_all(b"POST /v1/requests HTTP/1.1\r\nhost"); // the oldest have given way already
    }
    assert_eq!(post(&pod, r#"{"verb":"cancel"}"#).0, 200);
    assert_eq!(pod.end().1, 143, "{}", pod.everything());
}
