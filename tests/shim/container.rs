//! What is different in a container: a process namespace whose PID 1 the shim is, and users that are not root.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use podturn_wire::Exit;

use crate::mailbox::{Mailbox, eventually};

const TELLS: &[&str] = &["sh", "-c", "trap 'echo got; exit 8' TERM; echo ready; while :; do sleep 0.01; done"];

/// Starts the shim as PID 1 of a process namespace of its own, with unshare(1). What the test sends to it comes from
/// outside then. `None`: this machine allows no such namespace.
fn as_pid_1(mailbox: &mut Mailbox, command: &[&str]) -> Option<Pid> {
    as_pid_1_with(mailbox, &[], command)
}

fn as_pid_1_with(mailbox: &mut Mailbox, hooks: &[&str], command: &[&str]) -> Option<Pid> {
    let options: &[&str] = if geteuid().is_root() { &["-p", "-f"] } else { &["-U", "-r", "-p", "-f"] };
    let allowed = Command::new("unshare").args(options).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no process namespaces for this user: unshare {options:?} fails");
        return None;
    }
    let mut unshare = Command::new("unshare");
    unshare.args(options).arg("--kill-child").arg(mailbox.path("in/podturn-shim"));
    unshare.arg("run").args(hooks).arg("--").args(command);
    unshare.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(unshare).arrive();
    let children = format!("/proc/{0}/task/{0}/children", mailbox.pid());
    let pid = fs::read_to_string(children).expect("proc(5)").trim().parse().expect("one child");
    assert_eq!(mailbox.report().map(|report| report.pid), Some(1));
    Some(Pid::from_raw(pid))
}

#[test]
fn a_stop_signal_from_outside_waits_for_the_coordinators_word() {
    let mut mailbox = Mailbox::listening();
    let Some(shim) = as_pid_1(&mut mailbox, TELLS) else { return };
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    kill(shim, Signal::SIGTERM).expect("the shim lives");
    let report = mailbox.wait_report(|report| report.stop_signal == Some(15));
    assert_eq!(report.ended, None);
    mailbox.turn(|turn| (turn.ack, turn.attempt) = (report.seq, None));
    assert_eq!(mailbox.line(), "got");
    assert_eq!(mailbox.ended(1).exit, Exit::Code(8));
    mailbox.let_exit(143, "");
    assert_eq!(mailbox.exit_code(), 143);
}

#[test]
fn an_unanswered_stop_signal_is_passed_on() {
    let mut mailbox = Mailbox::listening();
    let Some(shim) = as_pid_1(&mut mailbox, TELLS) else { return };
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    kill(shim, Signal::SIGTERM).expect("the shim lives");
    mailbox.wait_report(|report| report.stop_signal == Some(15));
    assert_eq!(mailbox.line(), "got");
}

#[test]
fn without_a_coordinator_a_stop_signal_is_passed_on_at_once() {
    let mut mailbox = Mailbox::listening();
    let Some(shim) = as_pid_1(&mut mailbox, TELLS) else { return };
    mailbox.turn(|turn| (turn.attempt, turn.coordinator_grace) = (Some(1), 1));
    assert_eq!(mailbox.line(), "ready");
    mailbox.coordinator_dies();
    kill(shim, Signal::SIGTERM).expect("the shim lives");
    assert_eq!(mailbox.line(), "got");
    assert_eq!(mailbox.exit_code(), 8);
}

#[test]
fn a_held_signal_is_passed_on_when_the_coordinator_dies() {
    let mut mailbox = Mailbox::listening();
    let Some(shim) = as_pid_1(&mut mailbox, TELLS) else { return };
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    kill(shim, Signal::SIGTERM).expect("the shim lives");
    let seq = mailbox.wait_report(|report| report.stop_signal == Some(15)).seq;
    mailbox.turn(|turn| turn.ack = seq); // held for as long as the coordinator likes
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    mailbox.coordinator_dies();
    assert_eq!(mailbox.line(), "got");
}

#[test]
fn a_stop_signal_from_outside_comes_after_the_pre_stop_hook() {
    let mut mailbox = Mailbox::listening();
    let marker = mailbox.path("over");
    let file = marker.to_str().expect("UTF-8").to_owned();
    let hook = format!("echo hook >&2; while ! [ -e {file} ]; do sleep 0.01; done; rm {file}");
    let hooks = ["--pre-stop", "3", "sh", "-c", &hook];
    let command = format!("trap 'ls {file} 2>&1; echo got; exit 8' TERM; echo ready; while :; do sleep 0.01; done");
    let Some(shim) = as_pid_1_with(&mut mailbox, &hooks, &["sh", "-c", &command]) else { return };
    mailbox.turn(|turn| turn.attempt = Some(1));
    assert_eq!(mailbox.line(), "ready");
    mailbox.coordinator_dies(); // so nobody says when
    kill(shim, Signal::SIGTERM).expect("the shim lives");
    let mut line = [0; 5];
    mailbox.shim().stderr.as_mut().expect("a pipe").read_exact(&mut line).expect("the hook says so");
    assert_eq!(&line, b"hook\n");
    kill(shim, Signal::SIGTERM).expect("the shim lives"); // a second one does not come in between
    fs::write(&marker, "").expect("it can be written");
    assert!(mailbox.line().contains("No such file"), "the hook had ended before");
    assert_eq!(mailbox.line(), "got");
}

#[test]
fn pid_1_reaps_and_ends_like_any_other() {
    let mut mailbox = Mailbox::listening();
    let leave = "(setsid sleep 1000 &); (true &); kill -9 $$";
    let Some(_) = as_pid_1(&mut mailbox, &["sh", "-c", leave]) else { return };
    mailbox.begin(1);
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 9, oom: false });
    mailbox.let_exit(137, "");
    assert_eq!(mailbox.exit_code(), 137);
    mailbox.output();
}

#[test]
fn programs_out_of_an_image_that_is_mounted_beside_the_mailbox_find_it() {
    let mut mailbox = Mailbox::listening();
    fs::create_dir(mailbox.path("shim")).expect("a fresh directory");
    for program in ["podturn-shim", "podturn-probe"] {
        let [from, to] = ["in", "shim"].map(|directory| mailbox.path(directory).join(program));
        fs::rename(from, to).expect("the same file system");
    }
    let mut shim = Command::new(mailbox.path("shim/podturn-shim"));
    shim.args(["run", "--", "sh", "-c", "echo $PODTURN_STEP; echo 1 > $PODTURN_OUTPUTS/key; read line"]);
    shim.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(shim).arrive();
    let ask = |mailbox: &Mailbox| {
        let mut probe = Command::new(mailbox.path("shim/podturn-probe"));
        let output = probe.args(["liveness", "--exec", "1", "false"]).output().expect("the probe is executable");
        output.status.code()
    };
    assert_eq!(ask(&mailbox), Some(0), "no command runs");
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "build");
    assert_eq!(ask(&mailbox), Some(1), "the question is asked while it runs");
    drop(mailbox.shim().stdin.take());
    assert_eq!(mailbox.ended(1).exit, Exit::Code(1));
    assert_eq!(fs::read_to_string(mailbox.path("out/outputs/key")).ok().as_deref(), Some("1\n"));
    mailbox.let_exit(1, "");
    assert_eq!(mailbox.exit_code(), 1);
}

#[test]
fn another_user_than_root_is_served_too() {
    if !geteuid().is_root() {
        println!("this run is another user's already");
        return;
    }
    let nobody = 65_534;
    let mut mailbox = Mailbox::listening();
    let open = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
    for path in mailbox.path("in").ancestors().take(4) {
        open(path.to_path_buf(), 0o755);
    }
    open(mailbox.path("out"), 0o777);
    let (bell, mode) = if crate::files::are_wanted() { ("in/alive", 0o644) } else { ("in/bell", 0o666) };
    open(mailbox.path(bell), mode);
    open(mailbox.path("in/turn.json"), 0o644);
    let mut shim = mailbox.command(&["sh", "-c", "id -u; touch $PODTURN_OUTPUTS/key"]);
    shim.uid(nobody).gid(nobody).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: a system call that is allowed between fork and exec. Reports must be readable whatever the umask was.
    unsafe {
        shim.pre_exec(|| {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
            Ok(())
        });
    }
    mailbox.start_as(shim).arrive();
    let mode = fs::metadata(mailbox.path("out/report.json")).expect("a report").permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    mailbox.begin(1);
    assert_eq!(mailbox.line(), nobody.to_string());
    assert_eq!(mailbox.ended(1).exit, Exit::Code(0));
    // Nobody else of that user may look into the shim: its files in proc(5) are root's.
    let environment = fs::metadata(format!("/proc/{}/environ", mailbox.pid())).expect("the shim lives");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0, "non-dumpable, see prctl(2)");
    mailbox.let_exit(0, "");
    eventually("the outputs", || mailbox.path("out/outputs/key").exists());
}
