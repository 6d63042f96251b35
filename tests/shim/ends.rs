//! How attempts and containers end: stops, time limits, leftovers, last lines.

use std::fs;

use nix::sys::signal::Signal;
use podturn_wire::{Exit, StartStage, Text, Then};

use crate::mailbox::{Mailbox, pidfd, readable};

const DEAF: &str = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
const ENDLESS: &[&str] = &["sh", "-c", "echo ready; exec sleep 1000"];

#[test]
fn a_stop_is_the_signal_of_the_turn() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(ENDLESS).arrive();
    mailbox.turn(|turn| {
        turn.attempt = Some(1);
        turn.signal = Signal::SIGINT as u8;
    });
    assert_eq!(mailbox.line(), "ready");
    mailbox.turn(|turn| turn.attempt = None);
    let ended = mailbox.ended(1);
    assert_eq!(ended.exit, Exit::Signal { number: 2, oom: false });
    assert!(!ended.timed_out);
}

#[test]
fn what_ignores_the_stop_is_killed_after_the_grace() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", DEAF]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    mailbox.turn(|turn| {
        turn.attempt = None;
        turn.grace = 20;
    });
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 9, oom: false });
    mailbox.let_exit(143, "");
    assert_eq!(mailbox.exit_code(), 143);
}

/// As when the pod is deleted while a step is being stopped. The grace it began with is longer than any wait of a test.
#[test]
fn a_shorter_grace_counts_also_for_what_is_being_stopped_already() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "trap 'echo asked' TERM; echo ready; while :; do sleep 0.01; done"]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    mailbox.turn(|turn| (turn.attempt, turn.grace) = (None, 600_000));
    assert_eq!(mailbox.line(), "asked");
    mailbox.turn(|turn| turn.grace = 20);
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 9, oom: false });
    mailbox.let_exit(143, "");
    assert_eq!(mailbox.exit_code(), 143);
    assert_eq!(mailbox.output().0, "", "the stop signal is sent once");
}

#[test]
fn time_over_stops_the_attempt_and_says_so() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(ENDLESS).arrive();
    mailbox.turn(|turn| {
        turn.attempt = Some(1);
        turn.timeout = Some(50);
    });
    let ended = mailbox.ended(1);
    assert!(ended.timed_out);
    assert_eq!(ended.exit, Exit::Signal { number: 15, oom: false });
}

#[test]
fn the_time_limit_is_kept_without_a_coordinator() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", DEAF]).arrive();
    mailbox.turn(|turn| {
        turn.attempt = Some(1);
        turn.timeout = Some(300);
        turn.grace = 20;
        turn.coordinator_grace = 10;
    });
    assert_eq!(mailbox.line(), "ready");
    mailbox.coordinator_dies();
    assert_eq!(mailbox.exit_code(), 124);
    let ended = mailbox.report().and_then(|report| report.ended).expect("reported before it went");
    assert!(ended.timed_out);
    assert_eq!(ended.exit, Exit::Signal { number: 9, oom: false });
}

#[test]
fn what_a_command_leaves_behind_is_ended_before_its_end_is_told() {
    let mut mailbox = Mailbox::listening();
    // Three generations, in sessions of their own, deaf to everything that can be ignored.
    let leave = "for i in 1 2 3; do setsid sh -c \"trap '' TERM HUP INT; (sleep 1000 &); exec sleep 1000\" & done; \
                 echo left; exit 5";
    mailbox.start(&["sh", "-c", leave]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "left");
    assert_eq!(mailbox.ended(1).exit, Exit::Code(5));
    let children = format!("/proc/{0}/task/{0}/children", mailbox.pid());
    assert_eq!(fs::read_to_string(children).expect("the shim lives"), "", "nobody is left");
    mailbox.let_exit(5, "");
    assert_eq!(mailbox.exit_code(), 5);
    mailbox.output(); // ends only when no process holds the pipes
}

#[test]
fn outputs_of_the_attempt_before_are_gone_and_links_are_not_followed() {
    let mut mailbox = Mailbox::listening();
    let precious = tempfile::tempdir().expect("a directory");
    fs::write(precious.path().join("kept"), "").expect("a file");
    let script = format!(
        "cd $PODTURN_OUTPUTS && ls -A && echo new > key && mkdir -p a/b && touch a/b/c && ln -s {} link",
        precious.path().display()
    );
    mailbox.start(&["sh", "-c", &script]).arrive();
    for attempt in 1..=2 {
        mailbox.begin(attempt);
        assert_eq!(mailbox.ended(attempt).exit, Exit::Code(0));
    }
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output().0, "", "each attempt found an empty directory");
    assert!(precious.path().join("kept").exists());
    assert_eq!(fs::read_to_string(mailbox.path("out/outputs/key")).ok().as_deref(), Some("new\n"));
}

#[test]
fn an_attempt_whose_outputs_cannot_be_cleared_does_not_start() {
    let mut mailbox = Mailbox::listening();
    let deep = (0..20).fold(mailbox.path("out/outputs"), |path, _| path.join("d"));
    fs::create_dir_all(deep).expect("a writable mailbox");
    mailbox.start(&["touch", "/nonexistent/never"]).arrive();
    mailbox.turn(|turn| turn.attempt = Some(1));
    let errno = 36; // ENAMETOOLONG: deeper than anybody's outputs
    assert_eq!(mailbox.ended(1).exit, Exit::StartError { stage: StartStage::Clear, errno });
}

#[test]
fn an_attempt_that_cannot_be_reported_does_not_start() {
    let mut mailbox = Mailbox::listening();
    let proof = mailbox.path("out/started");
    mailbox.start(&["touch", proof.to_str().expect("UTF-8")]).arrive();
    fs::create_dir(mailbox.path("out/.report.json.new")).expect("a writable mailbox");
    mailbox.turn(|turn| turn.attempt = Some(1));
    assert_eq!(mailbox.exit_code(), 125);
    let (_, said) = mailbox.output();
    assert!(said.contains("out/report.json: cannot write the report: is a directory (EISDIR)"), "{said}");
    assert!(!proof.exists());
}

#[test]
fn the_last_line_goes_to_stderr_and_to_an_empty_termination_log() {
    for (before, after) in [("", "Omitted: build failed"), ("the command's own\n", "the command's own\n")] {
        let mut mailbox = Mailbox::listening();
        let log = mailbox.path("termination-log");
        fs::write(&log, before).expect("a file");
        mailbox.start(&["true"]).arrive();
        mailbox.set_turn(|turn| turn.termination_log = Text::truncated(log.to_str().expect("UTF-8")));
        mailbox.let_exit(0, "Omitted: build failed");
        assert_eq!(mailbox.exit_code(), 0);
        assert_eq!(mailbox.output(), (String::new(), "Omitted: build failed\n".to_owned()));
        assert_eq!(fs::read_to_string(&log).ok().as_deref(), Some(after));
    }
}

#[test]
fn a_missing_termination_log_is_not_made() {
    let mut mailbox = Mailbox::listening();
    let log = mailbox.path("termination-log");
    mailbox.start(&["true"]).arrive();
    mailbox.set_turn(|turn| turn.termination_log = Text::truncated(log.to_str().expect("UTF-8")));
    mailbox.let_exit(7, "said");
    assert_eq!(mailbox.exit_code(), 7);
    assert!(!log.exists());
}

#[test]
fn a_parked_shim_stays_until_it_may_go() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    mailbox.begin(1);
    mailbox.ended(1);
    mailbox.turn(|turn| {
        turn.attempt = None;
        turn.then = Then::Park;
        turn.coordinator_grace = 1;
    });
    let turn = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == turn);
    // Not even a lost coordinator ends it: it comes back to the next one.
    mailbox.coordinator_dies();
    mailbox.listen();
    mailbox.accept();
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.exit_code(), 0);
}

#[test]
fn a_stop_signal_ends_a_waiting_shim_in_time() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    mailbox.signal(Signal::SIGTERM);
    mailbox.wait_report(|report| report.stop_signal == Some(15));
    assert_eq!(mailbox.exit_code(), 143, "nobody answered");
}

#[test]
fn a_waiting_shim_that_is_told_to_stay_stays() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "exit 4"]).arrive();
    mailbox.signal(Signal::SIGTERM);
    let seq = mailbox.wait_report(|report| report.stop_signal == Some(15)).seq;
    mailbox.turn(|turn| turn.ack = seq); // a finally step, whose turn is still to come
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    let shim = pidfd(mailbox.pid());
    // Longer than the answer to a signal may take: it would be gone by then.
    assert!(!readable(std::os::fd::AsFd::as_fd(&shim), 2_500));
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(4));
}

#[test]
fn an_answer_whose_ring_was_lost_is_obeyed_before_a_stop_signal_ends_the_shim() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    mailbox.signal(Signal::SIGTERM);
    let seq = mailbox.wait_report(|report| report.stop_signal == Some(15)).seq;
    mailbox.set_turn(|turn| {
        turn.ack = seq;
        turn.then = Then::Exit { code: 1, message: Text::new() };
    });
    assert_eq!(mailbox.exit_code(), 1, "and not 143");
}
