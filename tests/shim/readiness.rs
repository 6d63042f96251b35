//! Readiness probes that the shim tries. Each story waits for what a probe found, never for a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use podturn_wire::{Exit, Probe, ProbeKind, Quoted, Strings};

use crate::mailbox::{Mailbox, eventually};

const ENDLESS: &str = "echo begun; exec sleep 1000";

/// Tried each second from the begin on, with patience.
fn probe(kind: ProbeKind<'static>) -> Probe<'static> {
    Probe {
        kind,
        initial_delay_seconds: 0,
        period_seconds: 1,
        timeout_seconds: 60,
        success_threshold: 1,
        failure_threshold: 60,
    }
}

fn exec(script: &str) -> ProbeKind<'static> {
    let command = format!("sh\0-c\0{script}\0");
    ProbeKind::Exec(Strings::joined(Box::leak(command.into_boxed_str())))
}

/// A shim that has arrived, for a command that is a script and finds the mailbox's own directory in `PLACE`.
fn arrived(script: &str, probe: Probe<'static>) -> Mailbox {
    let mut mailbox = Mailbox::listening();
    let mut command = mailbox.command(&["sh", "-c", script]);
    command.env("PLACE", mailbox.path("")).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    mailbox.probe = Some(probe);
    mailbox
}

/// Waits for a file that is written aside and renamed in, and returns its content.
fn content(path: &Path) -> String {
    eventually("a file", || path.exists());
    fs::read_to_string(path).expect("it is whole")
}

/// What comes out of stdout and stderr from now on, both read at once, while the story goes on.
fn outputs(mailbox: &mut Mailbox, story: impl FnOnce(&mut Mailbox)) -> (String, String) {
    let (out, err) = (mailbox.shim().stdout.take().expect("a pipe"), mailbox.shim().stderr.take().expect("a pipe"));
    let out = std::thread::spawn(move || std::io::read_to_string(out));
    let err = std::thread::spawn(move || std::io::read_to_string(err));
    story(mailbox);
    [out, err].map(|all| all.join().expect("no panic").expect("UTF-8")).into()
}

fn is_gone(pid: &str) -> bool {
    !PathBuf::from(format!("/proc/{}", pid.trim())).exists()
}

#[test]
fn a_command_that_succeeds_makes_ready_and_one_that_fails_makes_unready() {
    let patient = Probe { failure_threshold: 2, ..probe(exec("test ! -e \"$PLACE/broken\"")) };
    let mut mailbox = arrived(ENDLESS, patient);
    let begun = mailbox.begin(1);
    let ready = mailbox.wait_report(|report| report.ready_at.is_some());
    assert!(ready.ready_at > begun.started_at);
    fs::write(mailbox.path("broken"), "").expect("a writable mailbox");
    let unready = mailbox.wait_report(|report| report.ready_at.is_none());
    assert_eq!((unready.not_ready_at, unready.ended), (None, None), "after the first success that is all");
    fs::remove_file(mailbox.path("broken")).expect("it is there");
    let again = mailbox.wait_report(|report| report.ready_at.is_some());
    assert!(again.ready_at > ready.ready_at);
    mailbox.turn(|turn| turn.attempt = None);
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 15, oom: false });
}

#[test]
fn failures_before_the_first_success_are_told_once_and_end_the_trying() {
    let impatient = Probe { failure_threshold: 2, ..probe(exec("echo x >> \"$PLACE/tries\"; exit 3")) };
    let mut mailbox = arrived(ENDLESS, impatient);
    mailbox.begin(1);
    let report = mailbox.wait_report(|report| report.not_ready_at.is_some());
    assert_eq!(report.ready_at, None);
    assert_eq!(fs::read_to_string(mailbox.path("tries")).expect("it was tried"), "x\nx\n");
    mailbox.turn(|turn| turn.attempt = None);
    mailbox.ended(1);
    assert_eq!(fs::read_to_string(mailbox.path("tries")).expect("it was tried"), "x\nx\n");
}

#[test]
fn a_probe_runs_as_the_command_does_but_alone_and_unheard() {
    let tell = "echo noise; echo noise >&2; read -r line && exit 1; \
                echo \"$PODTURN_STEP $PODTURN_ATTEMPT $(id -u) $PWD $(cut -d' ' -f5 /proc/$$/stat) $$\" > $PLACE/new; \
                mv $PLACE/new $PLACE/told";
    let mut mailbox = arrived("echo \"$(id -u) $PWD\"; exec sleep 1000", probe(exec(tell)));
    mailbox.begin(1);
    let own = mailbox.line();
    let told = content(&mailbox.path("told"));
    let (seen, group) = told
        .trim()
        .rsplit_once(' ')
        .and_then(|(rest, pid)| rest.rsplit_once(' ').map(|(seen, group)| (seen, (group, pid))))
        .expect("two numbers at the end");
    assert_eq!(seen, format!("build 1 {own}"));
    assert_eq!(group.0, group.1, "it leads a process group of its own");
    mailbox.wait_report(|report| report.ready_at.is_some());
    mailbox.turn(|turn| turn.attempt = None);
    mailbox.ended(1);
    mailbox.let_exit(0, "");
    assert_eq!(mailbox.output(), (String::new(), String::new()), "nothing of the probe's");
}

#[test]
fn a_probe_that_takes_too_long_is_killed_with_its_group_and_has_failed() {
    let stuck = "sleep 1000 & echo $! > $PLACE/new; mv $PLACE/new $PLACE/pid; wait";
    let short = Probe { timeout_seconds: 1, failure_threshold: 1, ..probe(exec(stuck)) };
    let mut mailbox = arrived(ENDLESS, short);
    mailbox.begin(1);
    let pid = content(&mailbox.path("pid"));
    mailbox.wait_report(|report| report.not_ready_at.is_some());
    eventually("the end of the probe", || is_gone(&pid));
}

#[test]
fn a_probe_ends_with_the_attempt() {
    let stuck = "echo $$ > $PLACE/new; mv $PLACE/new $PLACE/pid; exec sleep 1000";
    let mut mailbox = arrived("trap 'sleep 0.1; exit 7' TERM; while :; do sleep 0.01; done", probe(exec(stuck)));
    mailbox.begin(1);
    let pid = content(&mailbox.path("pid"));
    mailbox.turn(|turn| turn.attempt = None);
    let report = mailbox.wait_report(|report| report.ended.is_some());
    assert_eq!(report.ended.map(|ended| ended.exit), Some(Exit::Code(7)));
    assert_eq!((report.ready_at, report.not_ready_at), (None, None));
    assert!(is_gone(&pid), "before the end was told");
}

#[test]
fn a_probe_that_cannot_be_started_has_failed() {
    let missing = ProbeKind::Exec(Strings::new(&["/no/such/program"]));
    let mut mailbox = arrived(ENDLESS, Probe { failure_threshold: 1, ..probe(missing) });
    mailbox.begin(1);
    mailbox.wait_report(|report| report.not_ready_at.is_some());
}

#[test]
fn a_file_counts_once_it_is_not_older_than_the_attempt() {
    let mut mailbox = Mailbox::listening();
    let path = mailbox.path("ready");
    fs::write(&path, "").expect("a writable mailbox");
    // The clock of files goes in steps of some ms: the attempt must not begin in the same one.
    let now = mailbox.path("now");
    let stamp = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).expect("it is there");
    eventually("a later time of files", || {
        fs::write(&now, "").expect("a writable mailbox");
        stamp(&now) > stamp(&path) + Duration::from_millis(50)
    });
    // Another attempt's file is there at the first try; the command renews it when the test says so.
    mailbox.probe = Some(probe(ProbeKind::File(Quoted::new(Box::leak(path.to_string_lossy().into())))));
    let mut command = mailbox.command(&["sh", "-c", "echo begun; read -r line; : > \"$0\"; exec sleep 1000"]);
    command.arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "begun");
    mailbox.turn(|_| {});
    let number = mailbox.turn.turn;
    assert_eq!(mailbox.wait_report(|report| report.turn == number).ready_at, None, "the old one does not count");
    let stdin = mailbox.shim().stdin.as_mut().expect("a pipe");
    std::io::Write::write_all(stdin, b"go\n").expect("the command reads");
    mailbox.wait_report(|report| report.ready_at.is_some());
}

#[test]
fn a_line_makes_ready_at_once_and_everything_is_passed_on() {
    // A try each hour: only the line itself can make it ready.
    let rare = Probe { period_seconds: 3600, ..probe(ProbeKind::Log(Quoted::new("ready to accept"))) };
    let script = "echo starting; echo 'almost rea' >&2; printf 'now ready to' >&2; echo ' accept connections' >&2; \
                  read -r line; seq 100000; seq 100000 >&2; exit 3";
    let mut mailbox = Mailbox::listening();
    mailbox.probe = Some(rare);
    let mut command = mailbox.command(&["sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "starting", "live");
    mailbox.wait_report(|report| report.ready_at.is_some());
    let stdin = mailbox.shim().stdin.as_mut().expect("a pipe");
    std::io::Write::write_all(stdin, b"go\n").expect("the command reads");
    // Nobody reads any more, and the shim is there all the same.
    mailbox.turn(|_| {});
    let number = mailbox.turn.turn;
    assert_eq!(mailbox.wait_report(|report| report.turn == number).ended, None);
    let numbers = (1..=100_000).map(|number| format!("{number}\n")).collect::<String>();
    let (out, err) = outputs(&mut mailbox, |mailbox| {
        assert_eq!(mailbox.ended(1).exit, Exit::Code(3));
        mailbox.let_exit(3, "");
    });
    assert!(out == numbers, "{} bytes", out.len());
    assert!(err == format!("almost rea\nnow ready to accept connections\n{numbers}"), "{} bytes", err.len());
}

#[test]
fn the_last_words_of_a_command_come_in_full() {
    let script = "seq 100000; seq 100000 >&2; printf end";
    let mut mailbox = arrived(script, probe(ProbeKind::Log(Quoted::new("no such line"))));
    mailbox.set_turn(|turn| turn.attempt = Some(1));
    mailbox.ring();
    let numbers = (1..=100_000).map(|number| format!("{number}\n")).collect::<String>();
    let (out, err) = outputs(&mut mailbox, |mailbox| {
        assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
        mailbox.let_exit(0, "");
    });
    assert!(out == format!("{numbers}end"), "{} bytes", out.len());
    assert!(err == numbers, "{} bytes", err.len());
}

#[test]
fn a_line_that_does_not_come_is_never_ready() {
    let impatient = Probe { failure_threshold: 1, ..probe(ProbeKind::Log(Quoted::new("ready"))) };
    let mut mailbox = arrived(ENDLESS, impatient);
    mailbox.begin(1);
    mailbox.wait_report(|report| report.not_ready_at.is_some());
    assert_eq!(mailbox.line(), "begun", "passed on all the same");
}

#[test]
fn a_reader_that_goes_away_is_felt_by_the_command() {
    let mut mailbox = arrived("exec yes", probe(ProbeKind::Log(Quoted::new("no such line"))));
    mailbox.begin(1);
    drop(mailbox.shim().stdout.take());
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 13, oom: false }, "SIGPIPE, as without the shim");
}

#[test]
fn each_attempt_is_probed_anew() {
    let mut mailbox = arrived("echo up; read -r line; exit 1", probe(ProbeKind::Log(Quoted::new("up"))));
    mailbox.begin(1);
    mailbox.ended(1); // stdin is empty
    mailbox.begin(2);
    let report = mailbox.wait_report(|report| report.ended.is_some());
    assert_eq!(report.not_ready_at, None);
    assert_eq!(mailbox.line(), "up");
    assert_eq!(mailbox.line(), "up");
}
