//! A step with a terminal (`tty: true`): the command gets the foreground, and the shim takes it back.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::libc;
use nix::pty::openpty;
use nix::unistd::{setsid, tcgetpgrp};
use podturn_wire::Exit;

use crate::mailbox::Mailbox;

/// Starts the shim as a container's first process with a terminal: it leads a session, and the terminal controls it.
fn on_a_terminal(mailbox: &mut Mailbox, command: &[&str]) -> (File, OwnedFd) {
    let pty = openpty(None, None).expect("a pseudo-terminal");
    let mut shim = mailbox.command(command);
    shim.stdin(pty.slave.try_clone().expect("a descriptor")).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: only system calls that are allowed between fork and exec.
    unsafe {
        shim.pre_exec(|| {
            setsid()?;
            if libc::ioctl(0, libc::TIOCSCTTY, 0) == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    mailbox.start_as(shim).arrive();
    (File::from(pty.master), pty.slave)
}

#[test]
fn the_foreground_is_handed_over_and_back() {
    let mut mailbox = Mailbox::listening();
    let script =
        "ps -o pgid=,tpgid= -p $$ | { read own front; [ $own = $front ]; } && echo front; read line; echo $line";
    let (mut terminal, slave) = on_a_terminal(&mut mailbox, &["sh", "-c", script]);
    let own_group = mailbox.pid();
    for attempt in 1..=2 {
        mailbox.begin(attempt);
        assert_eq!(mailbox.line(), "front");
        terminal.write_all(b"hello\n").expect("the terminal takes it");
        assert_eq!(mailbox.line(), "hello", "a background process would have been stopped for reading");
        assert_eq!(mailbox.ended(attempt).exit, Exit::Code(0));
        // TIOCGPGRP on the master tells the other side's foreground.
        assert_eq!(tcgetpgrp(terminal.as_fd()), Ok(own_group));
    }
    drop(slave);
}

#[test]
fn an_interrupt_from_the_terminal_goes_to_the_command() {
    let mut mailbox = Mailbox::listening();
    let (mut terminal, _slave) = on_a_terminal(&mut mailbox, &["sh", "-c", "echo ready; exec sleep 1000"]);
    mailbox.begin(1);
    assert_eq!(mailbox.line(), "ready");
    terminal.write_all(b"\x03").expect("the terminal takes it");
    assert_eq!(mailbox.ended(1).exit, Exit::Signal { number: 2, oom: false });
    mailbox.let_exit(130, "");
    assert_eq!(mailbox.exit_code(), 130);
}
