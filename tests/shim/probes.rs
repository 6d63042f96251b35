//! `podturn-probe` in the place of a step's liveness and startup probes: beside a real shim, asked as a kubelet would ask.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::mailbox::{Mailbox, eventually};

const NO: [&str; 4] = ["liveness", "--exec", "1", "false"];
const YES: [&str; 4] = ["liveness", "--exec", "1", "true"];
/// A command that stays until it is killed.
const FOR_EVER: [&str; 3] = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"];

fn start_asking(mailbox: &Mailbox, arguments: &[&str]) -> Child {
    let mut command = Command::new(mailbox.path("in/podturn-probe"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the probe is executable")
}

/// The exit code of a kubelet's try, and what it would put into its event.
pub(crate) fn ask(mailbox: &Mailbox, arguments: &[&str]) -> (i32, String) {
    let output = start_asking(mailbox, arguments).wait_with_output().expect("it is our child");
    let said = String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code().expect("it exits"), said.trim_end().to_owned())
}

fn yes() -> (i32, String) {
    (0, String::new())
}

fn no(why: &str) -> (i32, String) {
    (1, format!("podturn-probe: {why}"))
}

#[test]
fn while_no_command_runs_the_answer_is_yes() {
    let mut mailbox = Mailbox::listening();
    assert_eq!(ask(&mailbox, &NO), yes(), "before the shim has come");
    mailbox.start(&["true"]).arrive();
    assert_eq!(ask(&mailbox, &NO), yes(), "while it waits for its turn");
    assert_eq!(ask(&mailbox, &["startup", "--exec", "1", "false", "liveness", "--tcp", "pod:1"]), yes());
    mailbox.begin(1);
    mailbox.ended(1);
    assert_eq!(ask(&mailbox, &NO), yes(), "when its command has ended");
}

#[test]
fn while_the_command_runs_the_manifests_question_is_asked() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    assert_eq!(ask(&mailbox, &YES), yes());
    assert_eq!(ask(&mailbox, &NO), no("not live: exit code 1"));
    assert_eq!(ask(&mailbox, &["liveness", "--delay", "1h", "--exec", "1", "false"]), yes(), "not asked yet");
    assert_eq!(
        ask(&mailbox, &["liveness", "--exec", "1", "/no/such/program"]),
        no("not live: no such file or directory (ENOENT)")
    );
    let (code, said) = ask(&mailbox, &["liveness", "--exec", "3", "sh", "-c", "echo broken; exit 3"]);
    assert_eq!((code, said.as_str()), (1, "broken\npodturn-probe: not live: exit code 3"), "its output is told too");
}

#[test]
fn a_question_that_takes_too_long_is_ended_with_all_that_it_started() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let marker = mailbox.path("pid");
    let script = format!("sleep 1000 & echo $! > {}; wait", marker.display());
    let question = ["liveness", "--timeout", "2s", "--exec", "3", "sh", "-c", &script];
    assert_eq!(ask(&mailbox, &question), no("not live: no answer in time"));
    let sleeper = fs::read_to_string(marker).expect("it was begun").trim().to_owned();
    eventually("the end of what it started", || {
        fs::read_to_string(format!("/proc/{sleeper}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn until_the_start_up_has_passed_liveness_is_not_asked() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let marker = mailbox.path("started");
    let file = marker.to_str().expect("UTF-8").to_owned();
    let ask = |mailbox: &Mailbox, forgive: Option<&'static str>| {
        let forgive = forgive.map(|time| ["--forgive", time]).into_iter().flatten();
        let startup = ["startup"].into_iter().chain(forgive).chain(["--exec", "3", "test", "-e", &file]);
        ask(mailbox, &startup.chain(NO).collect::<Vec<_>>())
    };
    assert_eq!(ask(&mailbox, Some("1h")), yes(), "it starts up, and has time for it");
    assert_eq!(ask(&mailbox, None), no("not started up: exit code 1"), "its time is over");
    fs::write(&marker, "").expect("it can be written");
    assert_eq!(ask(&mailbox, None), yes(), "now it has passed, a little late");
    assert_eq!(ask(&mailbox, None), no("not live: exit code 1"), "and from now on liveness counts");
    fs::remove_file(&marker).expect("it is there");
    assert_eq!(
        ask(&mailbox, Some("1h")),
        no("not live: exit code 1"),
        "also when the start-up would not pass any more"
    );

    // The next attempt is protected again, by its own start-up.
    mailbox.turn(|turn| (turn.attempt, turn.grace) = (None, 1));
    mailbox.ended(1);
    mailbox.begin(2);
    assert_eq!(ask(&mailbox, Some("1h")), yes());
    assert_eq!(ask(&mailbox, None), no("not started up: exit code 1"));
}

#[test]
fn a_startup_probe_alone_asks_nothing_after_it_has_passed() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let startup = |command| ["startup", "--exec", "1", command];
    assert_eq!(ask(&mailbox, &startup("false")), no("not started up: exit code 1"));
    assert_eq!(ask(&mailbox, &startup("true")), yes());
    assert_eq!(ask(&mailbox, &startup("false")), yes());
}

#[test]
fn a_command_that_is_being_stopped_need_not_be_healthy() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    assert_eq!(ask(&mailbox, &NO), no("not live: exit code 1"));
    mailbox.set_turn(|turn| turn.timeout = Some(0)); // it was begun before, so its time is over
    assert_eq!(ask(&mailbox, &NO), yes(), "it runs into its time limit");
    mailbox.set_turn(|turn| (turn.timeout, turn.attempt) = (None, None));
    assert_eq!(ask(&mailbox, &NO), yes(), "its turn is over");
}

#[test]
fn an_attempt_that_ends_while_it_is_asked_has_nothing_to_answer_for() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let fifo = mailbox.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).expect("a fresh name");
    let script = format!("cat {}; exit 1", fifo.display());
    let asking = start_asking(&mailbox, &["liveness", "--timeout", "1h", "--exec", "3", "sh", "-c", &script]);
    let mut answer = fs::File::options().write(true).open(&fifo).expect("somebody reads"); // so the question is asked
    mailbox.turn(|turn| (turn.attempt, turn.grace) = (None, 1));
    mailbox.ended(1);
    writeln!(answer, "no").expect("it is a fifo");
    drop(answer);
    assert_eq!(asking.wait_with_output().expect("it is our child").status.code(), Some(0));
}

#[test]
fn what_an_earlier_shim_left_behind_is_no_running_command() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    mailbox.signal(Signal::SIGKILL);
    mailbox.exit_code();
    mailbox.start(&FOR_EVER).arrive();
    assert_eq!(ask(&mailbox, &NO), yes());
}

#[test]
fn a_server_is_asked_at_the_pods_address_and_over_loopback() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    for listen in ["0.0.0.0:0", "127.0.0.1:0"] {
        let listener = TcpListener::bind(listen).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(ask(&mailbox, &["liveness", "--tcp", &format!("pod:{port}")]), yes(), "{listen}");
        assert_eq!(ask(&mailbox, &["liveness", "--tcp", &format!("localhost:{port}")]), yes(), "{listen}");
        drop(listener);
        assert_eq!(
            ask(&mailbox, &["liveness", "--tcp", &format!("pod:{port}")]),
            no("not live: connection refused"),
            "{listen}"
        );
    }
}

/// Serves one connection after another: the request it got, for each of the answers.
fn serve(listener: &TcpListener, answers: &[&str]) -> Vec<String> {
    let served = answers.iter().map(|answer| {
        let (mut connection, _) = listener.accept().expect("it asks");
        let (mut request, mut buffer) = (String::new(), [0; 4096]);
        while !request.ends_with("\r\n\r\n") {
            let length = connection.read(&mut buffer).expect("a request");
            request.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        connection.write_all(answer.as_bytes()).expect("it listens");
        request
    });
    served.collect()
}

#[test]
fn a_page_is_asked_for_as_the_kubelet_does() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let url = format!("http://pod:{port}/healthz?full");
    let ask_with = |answers: &[&str], more: &[&str]| {
        let question: Vec<&str> = ["liveness", "--http", &url].iter().chain(more).copied().collect();
        let asking = start_asking(&mailbox, &question);
        let requests = serve(&listener, answers);
        let output = asking.wait_with_output().expect("it is our child");
        let said = String::from_utf8(output.stdout).expect("UTF-8").trim_end().to_owned();
        ((output.status.code().expect("it exits"), said), requests)
    };
    let (answer, requests) = ask_with(&["HTTP/1.1 204 No Content\r\n\r\n"], &[]);
    assert_eq!(answer, yes());
    let [first, host, rest @ ..] = &requests[0].split("\r\n").collect::<Vec<_>>()[..] else { panic!("{requests:?}") };
    assert_eq!(*first, "GET /healthz?full HTTP/1.1");
    let address = host.strip_prefix("Host: ").expect("whom it means");
    assert!(address.parse::<std::net::SocketAddr>().is_ok_and(|address| address.port() == port), "{host}");
    assert_eq!(rest, ["User-Agent: kube-probe/podturn", "Accept: */*", "Connection: close", "", ""]);

    let (answer, requests) =
        ask_with(&["HTTP/1.0 399 Odd\r\n\r\n"], &["--header", "Host: shop", "--header", "X-Probe: liveness"]);
    assert_eq!(answer, yes());
    assert!(requests[0].contains("\r\nHost: shop\r\nX-Probe: liveness\r\n\r\n"), "{requests:?}");
    assert!(!requests[0].contains("Host: 1"), "{requests:?}");

    for (status, why) in [("503 Busy", "HTTP status 503"), ("404 Not Found", "HTTP status 404")] {
        assert_eq!(ask_with(&[&format!("HTTP/1.1 {status}\r\n\r\n")], &[]).0, no(&format!("not live: {why}")));
    }
    assert_eq!(ask_with(&["220 smtp"], &[]).0, no("not live: what answers there speaks no HTTP/1"));
    assert_eq!(ask_with(&[""], &[]).0, no("not live: the connection ended without an answer"));
}

#[test]
fn a_redirection_is_followed_on_the_same_server_only() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let moved = |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n");
    let asked = |answers: &[&str]| {
        let asking = start_asking(&mailbox, &["liveness", "--http", &url, "--timeout", "30s"]);
        let requests = serve(&listener, answers);
        let code = asking.wait_with_output().expect("it is our child").status.code();
        let pages: Vec<String> = requests.iter().map(|text| text.lines().next().unwrap_or("").to_owned()).collect();
        (code, pages)
    };
    let pages = |all: &[&str]| all.iter().map(|page| format!("GET {page} HTTP/1.1")).collect::<Vec<_>>();
    assert_eq!(asked(&[&moved("/login"), "HTTP/1.1 500 x\r\n\r\n"]), (Some(1), pages(&["/", "/login"])));
    let absolute = moved(&format!("{url}login"));
    assert_eq!(asked(&[&absolute, "HTTP/1.1 200 OK\r\n\r\n"]), (Some(0), pages(&["/", "/login"])));
    for elsewhere in ["https://localhost/", "http://example.com/", "//example.com/"] {
        assert_eq!(asked(&[&moved(elsewhere)]), (Some(0), pages(&["/"])), "{elsewhere}");
    }
    let endless = moved("/");
    assert_eq!(asked(&[endless.as_str(); 11]), (Some(1), pages(&["/"; 11])));
}

#[test]
fn a_server_that_is_stuck_is_not_live() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&FOR_EVER).arrive();
    mailbox.begin(1);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port"); // takes connections and never answers
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let question = ["liveness", "--http", &url, "--timeout", "100ms"];
    assert_eq!(ask(&mailbox, &question), no("not live: no answer in time"));
}

#[test]
fn a_misuse_is_told_and_help_tells_of_everything() {
    let mailbox = Mailbox::new();
    assert_eq!(
        ask(&mailbox, &["liveness", "--http", "https://pod/"]),
        (
            2,
            "podturn-probe: --http takes http://ADDR[:PORT]/PATH with pod, localhost or a literal address, not https://pod/"
                .to_owned()
        )
    );
    let (code, text) = ask(&mailbox, &["--help"]);
    assert_eq!(code, 0);
    for word in ["startup", "liveness", "hook", "--exec", "--tcp", "--http", "--sleep", "--forgive"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}
