//! Processes by the kernel's word: who lives, who is a zombie, and what a dead shim's tree left behind.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::setsid;
use podturn::process::{Pidfd, examine, is_alive, kill, measure, sweep};
use podturn_turn::Process;

/// A shell in a session of its own, as the first process of a container is, that prints the ids of what it left.
fn leader(script: &str, count: usize) -> (Child, Vec<u32>) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: setsid(2) is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
    let mut child = command.spawn().expect("a shell");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let pids = lines.take(count).map(|line| line.expect("a line").trim().parse().expect("a process id"));
    let pids = pids.collect();
    (child, pids)
}

fn wait_for_death(pidfd: &Pidfd) {
    let limit = PollTimeout::from(30_000u16);
    let ready = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], limit).expect("poll(2)");
    assert!(ready > 0 && pidfd.is_dead(), "it ends within 30 s");
}

#[test]
fn what_a_dead_shim_left_behind_is_found_by_its_session_and_ended() {
    let (mut shim, pids) = leader("sleep 1000 & echo $!; sh -c 'echo $$; sleep 1000 & echo $!; wait' & wait", 3);
    let who = examine(shim.id()).expect("it lives");
    assert_eq!(who.session, Some(shim.id()), "a session that is not ours");
    let left: Vec<Pidfd> = pids.iter().map(|pid| Pidfd::open(*pid).expect("it lives")).collect();
    shim.kill().expect("our own child");
    shim.wait().expect("our own child");
    assert!(!is_alive(&who) && left.iter().all(|pidfd| !pidfd.is_dead()), "they outlive it");

    assert!(sweep(&who), "there was something");
    left.iter().for_each(wait_for_death);
    assert!(!sweep(&who), "there is nothing any more: zombies do not count");
}

/// A name that the kernel has cut in the middle of a character is no UTF-8.
#[test]
fn a_process_whose_name_is_no_text_is_measured_and_ended_too() {
    let script = r"sh -c 'printf \\303 > /proc/$$/comm; sleep 1000 & echo $$; wait' & wait";
    let (mut shim, pids) = leader(script, 1);
    let who = examine(shim.id()).expect("it lives");
    let used = measure(std::slice::from_ref(&who))[0].expect("it lives");
    assert_eq!(used.processes, 2, "{used:?}");
    let left = Pidfd::open(pids[0]).expect("it lives");
    shim.kill().expect("our own child");
    shim.wait().expect("our own child");
    assert!(sweep(&who), "there was something");
    wait_for_death(&left);
}

#[test]
fn a_sweep_ends_nobody_else() {
    let (mut shim, _) = leader("echo $$; exec sleep 1000", 1);
    let (mut stranger, pids) = leader("sleep 1000 & echo $!; wait", 1);
    let (who, other) = (examine(shim.id()).expect("it lives"), examine(pids[0]).expect("it lives"));
    shim.kill().expect("our own child");
    shim.wait().expect("our own child");
    assert!(!sweep(&who));
    // The same number, but another life: that of somebody who came later.
    assert!(!sweep(&Process { start_ticks: other.start_ticks - 1, session: None, cgroup: None, ..other }));
    assert!(kill(&Process { start_ticks: other.start_ticks - 1, ..other.clone() }).is_err());
    assert!(is_alive(&other), "a stranger lives on");
    let stranger_is = examine(stranger.id()).expect("it lives");
    assert!(sweep(&stranger_is));
    stranger.wait().expect("our own child");
}

/// The first thread of this process ends and another one goes on: proc(5) shows a zombie, the kernel knows better.
#[test]
fn a_process_whose_first_thread_has_ended_lives() {
    let script = "import ctypes, os, sys, threading\n\
                  def on():\n    print(os.getpid(), flush=True)\n    sys.stdin.readline()\n    os._exit(0)\n\
                  threading.Thread(target=on).start()\n\
                  ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)";
    let mut command = Command::new("python3");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        return; // the same is tested on text in `process::tree`
    };
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let pidfd = Pidfd::open(child.id()).expect("it lives");
    let who = examine(child.id()).expect("it lives");
    assert!(is_alive(&who) && !pidfd.is_dead());
    kill(&who).expect("it lives");
    wait_for_death(&pidfd);
    assert!(!is_alive(&who));
    child.wait().expect("our own child");
}
