//! Services that are ready by the network. The test is what listens there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;

use podturn_turn::{Event, Kind, Probed, StepId};

use crate::pod::Pod;

/// Answers by HTTP, until it is dropped.
struct Server {
    port: u16,
    status: Arc<AtomicU16>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// The first request is answered with 503, and every other one with the status of the moment.
    fn start(status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine");
        let port = listener.local_addr().expect("it is bound").port();
        let (status, is_over) = (Arc::new(AtomicU16::new(status)), Arc::new(AtomicBool::new(false)));
        let server = Self { port, status: Arc::clone(&status), is_over: Arc::clone(&is_over) };
        thread::spawn(move || {
            let mut is_first = true;
            for stream in listener.incoming().take_while(|_| !is_over.load(Ordering::SeqCst)).flatten() {
                let now = if std::mem::take(&mut is_first) { 503 } else { status.load(Ordering::SeqCst) };
                let _ = answer(stream, now); // a prober may hang up
            }
        });
        server
    }

    fn becomes(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)); // so that it looks
    }
}

fn answer(mut stream: TcpStream, status: u16) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    write!(stream, "HTTP/1.1 {status} As Told\r\nContent-Length: 0\r\n\r\n")
}

const DB: StepId = StepId(0);
const USER: StepId = StepId(1);

fn plan(port: u16, failures: u32) -> String {
    // A machine that stands still for a while is no failure of the server's.
    let probe = format!("httpGet: {{port: {port}, path: /ready}}, timeoutSeconds: 600, periodSeconds: 1");
    let readiness = format!("{{{probe}, failureThreshold: {failures}}}");
    format!("steps: {{db: {{service: true, readiness: {readiness}}}, user: {{dependsOn: [db]}}}}")
}

/// The events of the story, in their order.
fn story(journal: &[Event]) -> Vec<&'static str> {
    let told = journal.iter().filter_map(|event| match event.kind {
        Kind::CoordinatorStarted { .. } => Some("start"),
        Kind::Begun { step: DB, .. } => Some("db begins"),
        Kind::Begun { step: USER, .. } => Some("user begins"),
        Kind::Probed { step: DB, report: 0, attempt: 1, readiness, .. } => Some(match readiness {
            Probed::Ready => "ready",
            Probed::Unready => "unready",
            Probed::NotReady => "not ready",
        }),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_service_is_ready_by_the_network_before_its_user_runs_and_probed_again_after_a_restart() {
    let server = Server::start(200);
    let scripts = [("db", "gate serve"), ("user", "gate use")];
    let mut pod = Pod::laid_out(&plan(server.port, 2), &scripts);
    pod.gate("serve");
    pod.gate("use");
    pod.coordinate();
    pod.start_all();
    // Not its note: that is written before the coordinator has read of the begin.
    pod.wait_event("the user's begin", |event| matches!(event.kind, Kind::Begun { step: USER, .. }));
    pod.kill_coordinator();
    server.becomes(500);
    pod.coordinate();
    let is = |event: &Event, wanted| matches!(event.kind, Kind::Probed { readiness, .. } if readiness == wanted);
    pod.wait_event("the server's failure", |event| is(event, Probed::Unready));
    server.becomes(204);
    let readies = |pod: &Pod| pod.journal().iter().filter(|event| is(event, Probed::Ready)).count();
    pod.wait_until("ready once more", || readies(&pod) == 2);
    pod.open_gate("use");
    let (containers, coordinator) = pod.end();
    assert_eq!((containers["db"], containers["user"], coordinator), (0, 0, 0), "{}", pod.everything());
    let expected = ["start", "db begins", "ready", "user begins", "start", "unready", "ready"];
    assert_eq!(story(&pod.journal()), expected);
}

#[test]
fn a_service_that_never_is_ready_fails_and_the_log_says_why() {
    let server = Server::start(404);
    let mut pod = Pod::laid_out(&plan(server.port, 2), &[("db", "gate serve"), ("user", "")]);
    pod.gate("serve");
    pod.coordinate();
    pod.start_all();
    let (_, coordinator) = pod.end();
    assert_eq!((coordinator, pod.outcome().as_str()), (1, "Failed"), "{}", pod.everything());
    assert_eq!((pod.ends()["db"].as_str(), pod.ends()["user"].as_str()), ("Failed NotReady", "Omitted DependencyLost"));
    assert_eq!(story(&pod.journal()), ["start", "db begins", "not ready"]);
    let log = std::fs::read_to_string(pod.log("coordinator")).expect("its log");
    assert!(log.contains("NotReady: HTTP status 404"), "{log}");
    let message = "Failed (NotReady): it did not become ready: HTTP status 404 Not Found";
    assert_eq!(pod.state()["steps"][0]["message"], message);
}

/// While it fails, whoever asks is told how often it has, and why.
#[test]
fn whoever_asks_is_told_why_a_probe_fails() {
    let server = Server::start(503);
    let mut pod = Pod::laid_out(&plan(server.port, 1000), &[("db", "gate serve"), ("user", "")]);
    pod.gate("serve");
    pod.coordinate();
    pod.start_all();
    let port = server.port;
    let words =
        format!("it is not ready: its probe (httpGet :{port}/ready) has failed: HTTP status 503 Service Unavailable");
    let why = || pod.ask(&["why", "user"]).1;
    pod.wait_note("db 1 begin");
    assert!((0..1000).any(|_| why().contains(&words)), "{}", why());
    let status = pod.ask(&["status"]).1;
    assert!(status.contains(&words.replace("it is", "db is")), "{status}");
    assert_eq!(pod.ask(&["cancel"]).0, 0);
    assert_eq!(pod.end().1, 143, "{}", pod.everything());
}
