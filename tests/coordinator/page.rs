//! The live page: what it shows while a run goes on, and that nobody who is connected touches the run.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use podturn_turn::Kind;
use serde_json::Value;

use super::pod::{Pod, Scripts};

const PLAN: &str = "steps: { build: {}, test: { dependsOn: [build] } }";
const SCRIPTS: Scripts<'static> = &[("build", "read _ < $NOTES/gate"), ("test", "")];

/// A run that waits at its gate, and where its page is.
fn shown() -> (Pod, SocketAddr) {
    shown_as(PLAN, SCRIPTS)
}

/// The same with another plan, in which `build` waits at the gate.
pub(super) fn shown_as(plan: &str, scripts: Scripts<'_>) -> (Pod, SocketAddr) {
    shown_with(plan, scripts, &[])
}

/// The same with these arguments of the coordinator.
fn shown_with(plan: &str, scripts: Scripts<'_>, arguments: &[&str]) -> (Pod, SocketAddr) {
    let mut pod = Pod::laid_out(plan, scripts);
    pod.gate("gate");
    let mut coordinator = pod.coordinator_command();
    coordinator.args(["--listen", "127.0.0.1:0"]).args(arguments);
    pod.coordinator = Some(coordinator.spawn().expect("podturn is executable"));
    pod.start_all();
    pod.wait_note("build 1 begin");
    let address = || {
        let log = fs::read_to_string(pod.log("coordinator")).ok()?;
        log.split("http://").nth(1)?.split('/').next()?.parse().ok()
    };
    pod.wait_until("the page's address is in the log", || address().is_some());
    pod.wait_until("there is a state", || pod.published().is_some_and(|state| state["steps"][0]["phase"] == "Running"));
    let address = address().expect("it was there just now");
    (pod, address)
}

fn ask(address: SocketAddr, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).expect("it takes a request");
    BufReader::new(stream)
}

/// The status and the whole answer.
fn get(address: SocketAddr, request: &str) -> (String, String) {
    let mut text = String::new();
    ask(address, request).read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn a_page_is_brought_up_to_date_until_the_run_has_ended() {
    let (mut pod, address) = shown();
    let (status, page) = get(address, "GET /");
    assert!(status == "200" && page.contains("data-events=\"/events?version=1\""), "{status} {page}");
    assert!(page.contains("connect-src 'self'") && page.contains("<title>Running - podturn run"), "{page}");
    assert_eq!(get(address, "GET /healthz"), ("200".to_owned(), "ok\n".to_owned()));
    assert_eq!(get(address, "GET /readyz"), ("200".to_owned(), "ok\n".to_owned()));
    let state: Value = serde_json::from_str(&get(address, "GET /state.json").1).expect("the state is JSON");
    assert_eq!(state["steps"][0]["phase"], "Running");

    let mut events = ask(address, "GET /events?version=1").lines().map(|line| line.expect("it goes on"));
    pod.open_gate("gate");
    let mut told = String::new();
    for line in events.by_ref() {
        if let Some(change) = line.strip_prefix("data: ").filter(|change| !change.is_empty()) {
            let change: Value = serde_json::from_str(change).expect("a change is JSON");
            told.extend(change["parts"]["s1"].as_str());
        }
        if line == "event: end" {
            break;
        }
    }
    assert!(told.contains("Succeeded"), "the end of the last step was told: {told}");
    pod.end();
}

/// A crowd that says nothing, half of a request, nonsense, or takes no answer.
#[test]
fn whoever_is_connected_does_not_touch_the_run() {
    let scripts: Scripts<'_> = &[("build", "gate gate"), ("test", "gate second")];
    let (mut pod, address) = shown_as(PLAN, scripts);
    pod.gate("second");
    for (request, status) in
        [("POST /", "405"), ("DELETE /state.json", "405"), ("GET /../run.json", "404"), ("GET /x", "404")]
    {
        assert_eq!(get(address, request).0, status, "{request}");
    }
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..1_000 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let words: &[u8] = match number % 7 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nHost:",
            2 => b"\x16\x03\x01\x02\x00\x01\x00\x01",
            3 => b"POST /v1/requests HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n{",
            4 => &[b'x'; 100_000],
            5 => b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", // and never reads
            _ => b"GET /events?version=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", // and never reads
        };
        let _ = stream.write_all(words); // it may be sent away already
        crowd.push(stream);
    }
    assert!(crowd.len() > 500, "there is a crowd: {}", crowd.len());
    pod.open_gate("gate");
    pod.wait_note("test 1 begin");
    drop(crowd);
    let answers = || {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        let mut text = String::new();
        asked.and_then(|()| stream.read_to_string(&mut text)).is_ok() && text.starts_with("HTTP/1.1 200 ")
    };
    pod.wait_until("the page has room again", answers);
    pod.open_gate("second");
    let (ends, code) = pod.end();
    assert!(code == 0 && ends.values().all(|code| *code == 0), "{}", pod.everything());
}

const TOKEN: &str = "correct-horse-battery";

/// A request with these headers besides; the status and the whole answer.
fn post(address: SocketAddr, headers: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let head = "POST /v1/requests HTTP/1.1\r\nContent-Type: application/json";
    let request = format!("{head}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned())
}

#[test]
fn whoever_has_the_token_acts_and_nobody_else() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("it can be written");
    let arguments = ["--listen-token-file", file.to_str().expect("it is UTF-8"), "--listen-host", "ci.example"];
    let plan = "steps: { build: {}, test: { dependsOn: [build] }, publish: { dependsOn: [test], approval: true } }";
    let scripts: Scripts<'_> = &[("build", "gate gate"), ("test", ""), ("publish", "")];
    let (mut pod, address) = shown_with(plan, scripts, &arguments);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let approve = "{\"verb\":\"approve\",\"step\":\"publish\"}";
    for (headers, status) in [
        ("Host: 127.0.0.1\r\n", "401"),
        ("Host: 127.0.0.1\r\nAuthorization: Bearer correct-horse-batterx\r\n", "401"),
        (&format!("Host: evil.example\r\n{bearer}"), "403"),
        (&format!("Host: 127.0.0.1\r\nOrigin: http://evil.example\r\n{bearer}"), "403"),
        (&format!("Host: 127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n{bearer}"), "403"),
    ] {
        assert_eq!(post(address, headers, approve).0, status, "{headers}");
    }
    assert!(!pod.journal().iter().any(|event| matches!(event.kind, Kind::Requested { .. })), "nothing was asked for");
    let own = format!("Host: ci.example\r\nOrigin: https://ci.example\r\n{bearer}");
    for (body, status, told) in [
        ("{\"verb\":\"terminate\"}", "403", "podturn terminating"),
        ("{\"verb\":\"approve\"}", "400", ""),
        ("{", "400", "not a request"),
        (&"x".repeat(5_000), "400", ""),
        ("{\"verb\":\"skip\",\"step\":\"nobody\"}", "404", "nobody"),
        ("{\"verb\":\"skip\",\"step\":\"test\"}", "200", "done"),
        (approve, "200", "done"),
        (approve, "200", "already"),
    ] {
        let (answered, said) = post(address, &own, body);
        assert!(answered == status && said.contains(told), "{body}: {answered} {said}");
    }
    pod.open_gate("gate");
    let (_, code) = pod.end();
    assert_eq!(code, 0, "{}", pod.everything());
    let ends = pod.ends();
    assert_eq!(ends["test"], "Skipped SkipRequested", "{ends:?}");
    assert_eq!(ends["publish"], "Succeeded Completed", "{ends:?}");
    let said = fs::read_to_string(pod.log("coordinator")).expect("a log");
    assert!(!said.contains(TOKEN), "it is not for logs: {said}");
}

/// By a name that leads here, another site's script could read what is shown.
#[test]
fn a_page_of_this_machine_is_shown_by_its_own_names_alone() {
    let (mut pod, address) = shown();
    for (host, status) in [("rebound.example", "403"), ("localhost:8080", "200"), ("[::1]:8080", "200")] {
        let mut stream = TcpStream::connect(address).expect("somebody listens");
        write!(stream, "GET /state.json HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("it takes a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {text}");
    }
    pod.open_gate("gate");
    assert_eq!(pod.end().1, 0);
}

#[test]
fn a_token_that_is_none_leaves_a_page_that_only_shows() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("token");
    fs::write(&file, "short").expect("it can be written");
    let arguments = ["--listen-token-file", file.to_str().expect("it is UTF-8"), "--listen-host", "ci.example"];
    let (mut pod, address) = shown_with(PLAN, SCRIPTS, &arguments);
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    write!(stream, "GET /state.json HTTP/1.1\r\nHost: ci.example\r\n\r\n").expect("it takes a request");
    let mut shown = String::new();
    stream.read_to_string(&mut shown).expect("an answer");
    assert!(shown.starts_with("HTTP/1.1 200 "), "by the name that it was given: {shown}");
    assert_eq!(post(address, "Host: 127.0.0.1\r\nAuthorization: Bearer short\r\n", "{\"verb\":\"cancel\"}").0, "405");
    assert!(!get(address, "GET /").1.contains("<button"), "it has no buttons");
    let said = fs::read_to_string(pod.log("coordinator")).expect("a log");
    assert!(said.contains("nobody can act on the page: ") && said.contains("at least 16 characters"), "{said}");
    pod.open_gate("gate");
    assert_eq!(pod.end().1, 0);
}
