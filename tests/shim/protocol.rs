//! Runs, instances, attempts, rings and lost coordinators: rules S1 to S10, with a real shim.

use std::fs;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use podturn_wire::{ENCLOSING_TURN_MAX, Ended, Exit, InstanceId, Last, Report, RunId, Usage};

use crate::mailbox::{Mailbox, RUN};

/// The report of an instance that lived before.
fn earlier(mailbox: &Mailbox, change: impl FnOnce(&mut Report)) {
    let mut report = Report {
        run: RUN,
        instance: InstanceId(0xdead),
        seq: 4,
        turn: 3,
        attempt: Some(2),
        started_at: Some(77),
        ended: None,
        ready_at: None,
        not_ready_at: None,
        stop_signal: None,
        pid: 1,
        last: None,
    };
    change(&mut report);
    let mut buffer = [0; podturn_wire::REPORT_MAX];
    let length = report.write(&mut buffer).expect("reports fit");
    fs::write(mailbox.path("out/report.json"), &buffer[..length]).expect("a writable mailbox");
}

#[test]
fn an_arrival_is_hello_report_ring() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]);
    let instance = mailbox.accept();
    let ring = mailbox.packet().expect("a ring");
    assert_eq!((ring.instance, ring.hello), (instance, false));
    let report = mailbox.report().expect("written before the ring");
    assert_eq!((report.run, report.instance, report.seq, report.turn), (RUN, instance, 1, 0));
    assert_eq!((report.attempt, report.last), (None, None));
}

#[test]
fn the_attempt_of_an_earlier_instance_is_handed_on_until_a_turn_comes() {
    let end = Ended { at: 99, exit: Exit::Code(3), timed_out: false, usage: Usage::default() };
    for ended in [None, Some(end)] {
        let mut mailbox = Mailbox::listening();
        earlier(&mailbox, |report| report.ended = ended);
        mailbox.start(&["true"]);
        let last = mailbox.arrive().last;
        assert_eq!(last, Some(Last { attempt: 2, started_at: 77, ended }));
        let report = mailbox.begin(3);
        assert_eq!(report.last, None, "the turn showed that it was read");
    }
}

#[test]
fn an_attempt_that_an_earlier_instance_began_is_not_begun_again() {
    let mut mailbox = Mailbox::listening();
    earlier(&mailbox, |_| {});
    mailbox.start(&["true"]).arrive();
    mailbox.turn(|turn| turn.attempt = Some(2));
    let number = mailbox.turn.turn;
    assert_eq!(mailbox.wait_report(|report| report.turn == number).attempt, None);
}

#[test]
fn an_attempt_that_was_called_back_before_its_start_may_be_given_to_the_next_instance() {
    let mut mailbox = Mailbox::listening();
    let end = Ended { at: 99, exit: Exit::NotStarted, timed_out: false, usage: Usage::default() };
    earlier(&mailbox, |report| report.ended = Some(end));
    mailbox.start(&["true"]).arrive();
    mailbox.begin(2);
    assert_eq!(mailbox.ended(2).exit, Exit::Code(0));
}

#[test]
fn what_another_run_left_is_nothing() {
    let mut mailbox = Mailbox::listening();
    earlier(&mailbox, |report| report.run = RunId(1));
    mailbox.start(&["true"]);
    assert_eq!(mailbox.arrive().last, None);
}

#[test]
fn a_spoilt_report_is_no_report() {
    for spoilt in [&b""[..], b"{", &[b'x'; 100_000]] {
        let mut mailbox = Mailbox::listening();
        fs::write(mailbox.path("out/report.json"), spoilt).expect("a writable mailbox");
        mailbox.start(&["true"]);
        mailbox.accept();
        assert!(mailbox.packet().is_some());
        assert_eq!(mailbox.report().map(|report| (report.seq, report.last)), Some((1, None)));
    }
}

#[test]
fn turns_for_others_are_not_obeyed() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "echo ran"]).arrive();
    mailbox.turn(|turn| (turn.run, turn.attempt) = (RunId(1), Some(1)));
    mailbox.turn(|turn| (turn.run, turn.instance, turn.attempt) = (RUN, Some(InstanceId(1)), Some(2)));
    mailbox.turn(|turn| (turn.instance, turn.attempt) = (None, Some(3)));
    mailbox.turn(|turn| turn.attempt = Some(4));
    assert_eq!(mailbox.ended(4).exit, Exit::Code(0));
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output().0, "ran\n", "once");
}

#[test]
fn a_turn_that_is_no_turn_is_said_and_waited_out() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    for (bytes, words) in [
        (b"{\"version\":1,".to_vec(), "not a whole turn"),
        (b"{\"version\":2}".to_vec(), "another version of the protocol"),
        (b"{\"version\":1}".to_vec(), "member \"then\" is missing or wrong"),
        (vec![b' '; ENCLOSING_TURN_MAX + 1], "too large (EFBIG)"),
    ] {
        mailbox.write_raw_turn(&bytes);
        mailbox.ring();
        let mut said = String::new();
        while !said.ends_with('\n') {
            let mut byte = [0];
            std::io::Read::read_exact(mailbox.shim().stderr.as_mut().expect("a pipe"), &mut byte).expect("a line");
            said.push(char::from(byte[0]));
        }
        assert!(said.starts_with("podturn-shim: in/turn.json: ") && said.contains(words), "{said}");
    }
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
}

#[test]
fn an_attempt_is_begun_once_however_often_it_is_rung() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "echo ran"]).arrive();
    mailbox.begin(1);
    for _ in 0..5 {
        mailbox.ring();
    }
    mailbox.ended(1);
    mailbox.turn(|_| {}); // a newer turn that still says attempt 1
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output().0, "ran\n");
}

#[test]
fn an_attempt_that_is_called_back_is_answered() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["echo", "ran"]).arrive();
    mailbox.set_turn(|turn| turn.attempt = Some(1));
    mailbox.turn(|turn| turn.attempt = None);
    let number = mailbox.turn.turn;
    assert_eq!(mailbox.wait_report(|report| report.turn == number).attempt, None);
    mailbox.let_exit(143, "");
    assert_eq!(mailbox.exit_code(), 143);
    assert_eq!(mailbox.output().0, "");
}

#[test]
fn attempts_follow_each_other_in_one_instance() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "exit $PODTURN_ATTEMPT"]).arrive();
    for attempt in 1..=3u8 {
        mailbox.begin(attempt.into());
        assert_eq!(mailbox.ended(attempt.into()).exit, Exit::Code(attempt));
    }
    mailbox.let_exit(3, "");
    assert_eq!(mailbox.exit_code(), 3);
}

#[test]
fn a_lost_ring_is_made_good_by_the_next_coordinator() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]);
    let instance = mailbox.accept();
    mailbox.wait_report(|report| report.seq == 1);
    mailbox.set_turn(|turn| turn.attempt = Some(1));
    mailbox.coordinator_dies();
    mailbox.listen();
    assert_eq!(mailbox.accept(), instance, "the same life");
    mailbox.ring();
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
}

#[test]
fn a_shim_may_arrive_before_any_coordinator() {
    let mut mailbox = Mailbox::new();
    mailbox.start(&["true"]);
    crate::mailbox::eventually("the arrival", || mailbox.report().is_some());
    mailbox.listen();
    mailbox.arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
}

#[test]
fn without_a_coordinator_a_waiting_shim_gives_up_after_its_grace() {
    let mut mailbox = Mailbox::new();
    mailbox.turn.coordinator_grace = 150;
    mailbox.write_turn();
    mailbox.start(&["true"]);
    assert_eq!(mailbox.exit_code(), 125);
    let (_, said) = mailbox.output();
    assert_eq!(said, "podturn-shim: no coordinator for 0 s (coordinatorGrace): giving up\n");
}

#[test]
fn a_coordinator_that_listens_but_never_rings_is_none() {
    let mut mailbox = Mailbox::new();
    mailbox.turn.coordinator_grace = 150;
    mailbox.write_turn();
    mailbox.listen();
    mailbox.start(&["true"]).arrive();
    assert_eq!(mailbox.exit_code(), 125);
}

#[test]
fn a_running_command_is_finished_and_reported_without_a_coordinator() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "echo ready; sleep 0.3; exit 9"]).arrive();
    mailbox.turn(|turn| (turn.attempt, turn.coordinator_grace) = (Some(1), 1));
    assert_eq!(mailbox.line(), "ready");
    mailbox.coordinator_dies();
    assert_eq!(mailbox.exit_code(), 9, "its own code");
    assert_eq!(mailbox.report().and_then(|report| report.ended).map(|ended| ended.exit), Some(Exit::Code(9)));
}

#[test]
fn a_turn_whose_ring_was_lost_is_obeyed_when_the_grace_is_over() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    mailbox.turn(|turn| turn.coordinator_grace = 200);
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    mailbox.set_turn(|turn| {
        turn.then = podturn_wire::Then::Exit { code: 6, message: podturn_wire::Text::new() };
    });
    mailbox.coordinator_dies();
    assert_eq!(mailbox.exit_code(), 6);
}

#[test]
fn an_unusable_bell_is_said_at_once() {
    let mut mailbox = Mailbox::new();
    let directory = fs::File::open(mailbox.path("in")).expect("a directory");
    let path = format!("/proc/self/fd/{}/bell", std::os::fd::AsRawFd::as_raw_fd(&directory));
    let bell = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let address = UnixAddr::new(path.as_str()).expect("short enough");
    bind(std::os::fd::AsRawFd::as_raw_fd(&bell), &address).expect("a fresh name");
    listen(&bell, Backlog::new(1).expect("a small number")).expect("a bound socket");
    mailbox.start(&["true"]);
    assert_eq!(mailbox.exit_code(), 125);
    let (_, said) = mailbox.output();
    assert!(
        said.contains("in/bell: cannot connect to the coordinator: a socket of another type (EPROTOTYPE)"),
        "{said}"
    );
}

#[test]
fn a_shim_outside_a_mailbox_says_so() {
    let mailbox = Mailbox::new();
    fs::remove_file(mailbox.path("in/turn.json")).expect("it was there");
    let output = mailbox.command(&["true"]).output().expect("the shim runs");
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said, "podturn-shim: in/turn.json: cannot read the turn: no such file or directory (ENOENT)\n");
    let misused = std::process::Command::new(env!("PODTURN_SHIM")).arg("ru").output().expect("the shim runs");
    assert_eq!(misused.status.code(), Some(125));
}

#[test]
fn a_signal_from_inside_is_not_held() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["sh", "-c", "trap 'echo got; exit 8' TERM; echo ready; while :; do sleep 0.01; done"]).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    mailbox.signal(Signal::SIGTERM);
    assert_eq!(mailbox.line(), "got");
    let report = mailbox.wait_report(|report| report.ended.is_some());
    assert_eq!((report.stop_signal, report.ended.map(|ended| ended.exit)), (None, Some(Exit::Code(8))));
}
