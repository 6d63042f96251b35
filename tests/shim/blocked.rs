//! What a blocked shim costs: nearly nothing.

use std::fs;
use std::os::fd::AsFd;
use std::process::Stdio;

use crate::mailbox::{Mailbox, pidfd, readable};

/// What a container finds in its environment, which lies in its memory whoever it is: environ(7), and the variables that the
/// kubelet adds for the API server's service.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOSTNAME", "build-scan-publish"),
    ("HOME", "/root"),
    ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
    ("KUBERNETES_SERVICE_PORT", "443"),
    ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
    ("KUBERNETES_PORT", "tcp://10.96.0.1:443"),
    ("KUBERNETES_PORT_443_TCP", "tcp://10.96.0.1:443"),
    ("KUBERNETES_PORT_443_TCP_ADDR", "10.96.0.1"),
];

/// A number that a file of proc(5) has of a process; `None`: this user may not look into it.
fn told(pid: nix::unistd::Pid, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a line of that file");
    Some(line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number"))
}

#[test]
fn a_blocked_shim_is_small_and_sleeps() {
    let mut mailbox = Mailbox::listening();
    let mut command = mailbox.command(&["true"]);
    command.env_clear().envs(ENVIRONMENT).stdout(Stdio::piped()).stderr(Stdio::piped());
    mailbox.start_as(command).arrive();
    mailbox.turn(|_| {});
    let number = mailbox.turn.turn;
    mailbox.wait_report(|report| report.turn == number);
    let pid = mailbox.pid();
    // Asleep in its poll: only then the two readings frame nothing but waiting.
    crate::mailbox::eventually("the shim asleep", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "))
    });
    let wakeups = || told(pid, "status", "voluntary_ctxt_switches").expect("anybody may look");
    let before = wakeups();
    // An observation, not a wait: the reconnect interval, the shortest of the shim's, is a tenth of it.
    assert!(!readable(pidfd(pid).as_fd(), 1_000));
    assert_eq!(wakeups(), before, "it woke up although nothing happened");
    // Counted page by page where this user may look: `VmRSS` of proc_pid_status(5) is inaccurate, as that page says.
    let resident = told(pid, "smaps_rollup", "Rss").or_else(|| told(pid, "status", "VmRSS")).expect("anybody may look");
    println!("a blocked shim: {resident} KiB resident, {before} switches since its start");
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
