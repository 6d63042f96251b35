//! The live page: what it shows while a run goes on, and that nobody who is connected touches the run.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

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
    let mut pod = Pod::laid_out(plan, scripts);
    pod.gate("gate");
    let mut coordinator = pod.coordinator_command();
    coordinator.args(["--listen", "127.0.0.1:0"]);
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
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it takes a request");
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

#[test]
fn whoever_is_connected_does_not_touch_the_run() {
    let (mut pod, address) = shown();
    for (request, status) in
        [("POST /", "405"), ("DELETE /state.json", "405"), ("GET /../run.json", "404"), ("GET /x", "404")]
    {
        assert_eq!(get(address, request).0, status, "{request}");
    }
    let mut crowd: Vec<TcpStream> = Vec::new();
    for number in 0..600 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let words: &[u8] = match number % 4 {
            0 => b"",
            1 => b"GET / HTTP/1.1\r\nHost:",
            2 => b"\x16\x03\x01\x02\x00\x01\x00\x01",
            _ => b"GET /events?version=0 HTTP/1.1\r\nHost: x\r\n\r\n", // and never reads
        };
        let _ = stream.write_all(words); // it may be sent away already
        crowd.push(stream);
    }
    pod.open_gate("gate");
    let (ends, code) = pod.end();
    assert!(code == 0 && ends.values().all(|code| *code == 0), "{}", pod.everything());
    assert!(crowd.len() > 300, "there was a crowd: {}", crowd.len());
}
