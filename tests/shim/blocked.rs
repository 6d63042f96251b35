//! What a blocked shim costs: nearly nothing.

use std::fs;
use std::os::fd::AsFd;

use crate::mailbox::{Mailbox, pidfd, readable};

fn status(pid: nix::unistd::Pid, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the shim lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of proc_pid_status(5)");
    line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number")
}

#[test]
fn a_blocked_shim_is_small_and_sleeps() {
    let mut mailbox = Mailbox::listening();
    mailbox.start(&["true"]).arrive();
    mailbox.turn(|_| {});
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    let pid = mailbox.pid();
    // Asleep in its poll: only then the two readings frame nothing but waiting.
    crate::mailbox::eventually("the shim asleep", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "))
    });
    let wakeups = status(pid, "voluntary_ctxt_switches");
    // An observation, not a wait: the reconnect interval, the shortest of the shim's, is a tenth of it.
    assert!(!readable(pidfd(pid).as_fd(), 1_000));
    assert_eq!(status(pid, "voluntary_ctxt_switches"), wakeups, "it woke up although nothing happened");
    let resident = status(pid, "VmRSS");
    println!("a blocked shim: {resident} KiB resident, {wakeups} switches since its start");
    assert!(resident <= 64, "{resident} KiB");
}

#[test]
fn the_binaries_are_small() {
    for (what, path) in [
        ("the steps' shim", env!("PODTURN_SHIM")),
        ("the shim of public/", env!("PODTURN_GATE")),
        ("podturn-probe", env!("PODTURN_PROBE")),
    ] {
        let size = fs::metadata(path).expect("it was built").len();
        println!("{what}: {size} bytes");
        assert!(size <= 48 * 1024, "{what}: {size} bytes");
    }
}
