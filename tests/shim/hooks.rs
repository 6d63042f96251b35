//! `postStart` at the turn, and `preStop` before each stop of a command that runs.

use std::fs;
use std::process::{Command, Stdio};

use podturn_wire::{Exit, StartStage};

use crate::mailbox::{Mailbox, eventually};
use crate::probes::ask;

/// `podturn-shim run --post-start 3 sh -c HOOK -- sh -c COMMAND`, arrived.
fn arrived(hook: &str, command: &str) -> Mailbox {
    let mut mailbox = Mailbox::listening();
    let mut shim = Command::new(mailbox.path("in/podturn-shim"));
    shim.args(["run", "--post-start", "3", "sh", "-c", hook, "--", "sh", "-c", command]);
    shim.current_dir(mailbox.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(shim).arrive();
    mailbox
}

fn failed(code: u16) -> Exit {
    Exit::StartError { stage: StartStage::PostStart, errno: code }
}

#[test]
fn a_post_start_hook_runs_at_the_turn_beside_the_command() {
    // Each waits for a file of the other's, so both run at the same time.
    let wait_for = |file: &str| format!("while ! [ -e {file} ]; do sleep 0.01; done");
    let hook = format!("echo $PODTURN_ATTEMPT > hook; {}", wait_for("command"));
    let command = format!("{}; touch command; cat hook; rm hook command", wait_for("hook"));
    let mut mailbox = arrived(&hook, &command);
    mailbox.turn(|_| {});
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    assert!(!mailbox.path("hook").exists(), "it waits for its turn, too");
    for attempt in [1, 2] {
        mailbox.begin(attempt);
        assert_eq!(mailbox.ended(attempt).exit, Exit::Code(0));
    }
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output().0, "1\n2\n", "once in each attempt");
}

#[test]
fn a_post_start_hook_that_fails_ends_its_attempt() {
    let mut mailbox = arrived("exit 3", "trap 'exit 0' TERM; while :; do sleep 0.01; done");
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, failed(3), "though the command ends with 0");
    assert_eq!(failed(3).code(), 1, "what a failed step exits with that has no code of its own");
    mailbox.let_exit(1, "");
    assert_eq!(mailbox.output().1, "podturn-shim: the postStart hook failed with code 3: stopping the command\n");
}

#[test]
fn a_command_that_does_not_end_for_its_failed_hook_is_killed_after_the_grace() {
    let mut mailbox = arrived("kill -9 $$", "trap '' TERM; while :; do sleep 0.01; done");
    mailbox.turn.grace = 1;
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, failed(137));
}

#[test]
fn a_post_start_hook_that_cannot_be_executed_has_failed() {
    let mut mailbox = Mailbox::listening();
    let mut shim = Command::new(mailbox.path("in/podturn-shim"));
    shim.args(["run", "--post-start", "1", "/no/such/hook", "--", "sleep", "1000"]).stderr(Stdio::null());
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, failed(127));
}

#[test]
fn the_end_of_the_command_is_the_end_of_its_hook() {
    let mut mailbox = arrived("echo $$ > pid; exec sleep 1000", "while ! [ -s pid ]; do sleep 0.01; done; exit 4");
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(4), "a hook that was killed with its attempt has not failed");
    let pid = fs::read_to_string(mailbox.path("pid")).expect("it was written").trim().to_owned();
    eventually("the end of the hook", || !fs::exists(format!("/proc/{pid}")).expect("proc(5)"));
    mailbox.let_exit(4, "");
}

#[test]
fn a_hook_that_fails_on_the_way_down_changes_nothing() {
    let mut mailbox = arrived(
        "echo $$ > hook; while ! [ -e stopped ]; do sleep 0.01; done; exit 3",
        // A process that has ended is there until the shim has taken its end.
        "trap 'touch stopped; while kill -0 $(cat hook); do sleep 0.01; done; exit 5' TERM; echo up; while :; do sleep 0.01; done",
    );
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "up");
    eventually("the hook", || fs::read(mailbox.path("hook")).is_ok_and(|pid| pid.ends_with(b"\n")));
    mailbox.turn(|turn| turn.attempt = None);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(5));
}

#[test]
fn what_a_hook_says_is_on_stderr() {
    let mut mailbox = arrived("echo said; echo more >&2; cat; touch over", "while ! [ -e over ]; do sleep 0.01; done");
    mailbox.begin(1);
    mailbox.ended(1);
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output(), (String::new(), "said\nmore\n".to_owned()), "and it has no stdin");
}

/// `podturn-shim run --pre-stop 3 sh -c HOOK -- sh -c COMMAND`, whose first attempt has said that it is up.
fn up(hook: &str, command: &str) -> Mailbox {
    let mut mailbox = Mailbox::listening();
    let mut shim = Command::new(mailbox.path("in/podturn-shim"));
    shim.args(["run", "--pre-stop", "3", "sh", "-c", hook, "--", "sh", "-c", command]);
    shim.current_dir(mailbox.path("")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "up");
    mailbox
}

/// Writes down when it is told to stop, and ends.
const DIARY: &str = "trap 'echo TERM >> diary; exit 0' TERM; echo up; while :; do sleep 0.01; done";

fn diary(mailbox: &Mailbox) -> String {
    fs::read_to_string(mailbox.path("diary")).expect("it was written")
}

#[test]
fn a_pre_stop_hook_has_ended_before_the_stop_signal_comes() {
    let mut mailbox = up("echo $PODTURN_ATTEMPT begins >> diary; echo ends >> diary", DIARY);
    mailbox.turn(|turn| turn.attempt = None);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
    mailbox.begin(2);
    assert_eq!(mailbox.line(), "up");
    mailbox.turn(|turn| turn.timeout = Some(1)); // a stop of the shim's own
    assert!(mailbox.ended(2).timed_out);
    assert_eq!(diary(&mailbox), "1 begins\nends\nTERM\n2 begins\nends\nTERM\n", "once before each stop");
}

#[test]
fn a_pre_stop_hook_does_not_run_for_a_step_that_waits_or_has_ended() {
    let mut mailbox = up("echo hook >> diary", "echo up; echo command >> diary");
    mailbox.ended(1);
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.exit_code(), 0);
    assert_eq!(diary(&mailbox), "command\n");
}

#[test]
fn a_pre_stop_hook_that_fails_or_cannot_be_executed_is_no_reason_not_to_stop() {
    let mut mailbox = up("echo hook >> diary; exit 3", DIARY);
    mailbox.turn(|turn| turn.attempt = None);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
    assert_eq!(diary(&mailbox), "hook\nTERM\n");

    let mut mailbox = Mailbox::listening();
    let mut shim = Command::new(mailbox.path("in/podturn-shim"));
    shim.args(["run", "--pre-stop", "1", "/no/such/hook", "--", "sleep", "1000"]);
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    mailbox.turn(|turn| turn.attempt = None);
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 15, oom: false });
}

#[test]
fn a_pre_stop_hook_that_hangs_is_killed_with_its_command_after_the_grace() {
    let mut mailbox = up("echo $$ > pid; exec sleep 1000", DIARY);
    mailbox.turn(|turn| (turn.attempt, turn.grace) = (None, 200));
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 9, oom: false });
    // It may have been killed before it had written its number.
    let pid = fs::read_to_string(mailbox.path("pid")).unwrap_or_default();
    assert!(pid.is_empty() || !fs::exists(format!("/proc/{}", pid.trim())).expect("proc(5)"), "its end came first");
    assert!(!mailbox.path("diary").exists(), "no stop signal came before the hook's end");
}

#[test]
fn a_command_whose_start_fails_is_stopped_as_any_other() {
    let mut mailbox = Mailbox::listening();
    let mut shim = Command::new(mailbox.path("in/podturn-shim"));
    let hooks = ["--pre-stop", "3", "sh", "-c", "echo pre-stop >> diary", "--post-start", "3", "sh", "-c"];
    // The hook fails once the command listens to signals.
    let post_start = "while ! [ -e diary ]; do sleep 0.01; done; echo post-start >> diary; exit 9";
    let command = "trap 'echo TERM >> diary; exit 0' TERM; touch diary; while :; do sleep 0.01; done";
    shim.arg("run").args(hooks).args([post_start, "--", "sh", "-c", command]).current_dir(mailbox.path(""));
    mailbox.start_as(shim).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, failed(9));
    assert_eq!(diary(&mailbox), "post-start\npre-stop\nTERM\n");
}

#[test]
fn any_answer_of_a_server_is_a_success_for_a_hook() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/drain", listener.local_addr().expect("bound"));
    let server = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut connection, _) = listener.accept().expect("it asks");
        let length = connection.read(&mut [0; 4096]).expect("a request");
        connection.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").expect("it listens");
        length
    });
    let mailbox = Mailbox::new();
    assert_eq!(ask(&mailbox, &["hook", "--http", &url]), (0, String::new()));
    assert!(server.join().expect("it served") > 0);
    assert_eq!(ask(&mailbox, &["hook", "--sleep", "1ms"]), (0, String::new()));
    let (code, said) = ask(&mailbox, &["hook", "--http", &url]);
    assert_eq!((code, said.as_str()), (1, "podturn-probe: the hook failed: connection refused"));
}
