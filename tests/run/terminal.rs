//! On a terminal: a pseudo-terminal of its own, whose keys and lines are those of a person's.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pod::{Place, Watched};

const CLEAR: &str = "\r\x1b[2K";

/// A program that leads the session of a terminal, and all that it has written there.
pub(crate) struct Terminal {
    pub(crate) keyboard: File,
    pub(crate) child: Child,
    written: String,
    /// The same, byte by byte: a character may come in two pieces.
    pub(crate) bytes: Vec<u8>,
}

impl Terminal {
    pub(crate) fn start(mut command: Command) -> Self {
        // Not for children of other tests, which would keep it open (pty(7)).
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("pty(7)");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("pty(7)");
        let name = ptsname_r(&master).expect("pty(7)");
        let its = || File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&name).expect("pty(7)");
        command.stdin(its()).stdout(its()).stderr(its());
        // SAFETY: setsid(2) and ioctl(2) may be called between fork and exec. The terminal becomes the session's.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop).map_err(Into::into)
            });
        }
        let child = command.spawn().expect("podturn is executable");
        Self { keyboard: OwnedFd::from(master).into(), child, written: String::new(), bytes: Vec::new() }
    }

    /// Takes what is written next; `false`: nobody has the terminal any more.
    pub(crate) fn take(&mut self) -> bool {
        let limit = PollTimeout::from(30_000_u16);
        let ready = poll(&mut [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)], limit).expect("poll(2)");
        assert!(ready > 0, "it writes nothing more: {}", self.written);
        let mut piece = [0; 4096];
        match self.keyboard.read(&mut piece) {
            Ok(length) if length > 0 => {
                self.written.push_str(&String::from_utf8_lossy(&piece[..length]));
                self.bytes.extend_from_slice(&piece[..length]);
            }
            _ => return false, // EIO: the other side is closed (pty(7))
        }
        true
    }

    fn wait(&mut self, text: &str) {
        while !self.written.contains(text) {
            assert!(self.take(), "it never wrote {text:?}: {}", self.written);
        }
    }

    /// At once: a key that is several bytes must not be read as several keys.
    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("a terminal takes keys");
    }

    /// Waits for the end: the exit code, and the lines that a person sees then.
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        while self.take() {}
        let code = self.child.wait().expect("our child").code();
        (code, seen(&self.written))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of a text on a terminal after all lines were cleared that were to be.
fn seen(written: &str) -> Vec<String> {
    let lines = written.split('\n').map(|line| line.rsplit(CLEAR).next().unwrap_or_default().trim_end_matches('\r'));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_line_tells_who_runs_and_is_gone_at_the_end() {
    let place = Place::new();
    place.gate("gate");
    let pod = place.pod(
        "steps: {a: {}, b: {}, c: {dependsOn: [a, b]}}",
        &[("a", "read _ < /notes/gate; echo 'a speaks'"), ("b", "read _ < /notes/gate"), ("c", "")],
    );
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    let mut terminal = Terminal::start(command);
    terminal.wait("; waiting: c for a, b");
    let times = |written: &str| {
        let times = written.split("[0/3] running: a ").skip(1).filter_map(|rest| rest.split_once('s'));
        times.map(|(seconds, _)| seconds.to_owned()).collect::<BTreeSet<_>>()
    };
    while times(&terminal.written).len() < 2 {
        assert!(terminal.take(), "times go on with nothing else that happens: {}", terminal.written);
    }
    let _gate = place.open_gate("gate");
    terminal.wait("a speaks");
    assert!(terminal.written.contains("\x1b[33ma       | \x1b[0ma speaks"), "in colour: {:?}", terminal.written);
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("running:")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("outcome: Succeeded")), "{lines:#?}");
}

/// CI systems that give a terminal keep all that is written to it.
#[test]
fn in_ci_there_is_no_such_line() {
    let place = Place::new();
    let pod = place.pod("steps: {a: {}}", &[("a", "sleep 0.2; echo 'a speaks'")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm").env("CI", "true");
    let mut terminal = Terminal::start(command);
    terminal.wait("outcome: Succeeded");
    assert!(!terminal.written.contains("running:") && !terminal.written.contains(CLEAR), "{:?}", terminal.written);
    assert_eq!(terminal.end().0, Some(0));
}

/// The terminal sends SIGINT to everybody in its foreground: that must be podturn alone, which has an order to keep.
#[test]
fn ctrl_c_reaches_podturn_alone() {
    let place = Place::new();
    place.gate("gate");
    // The kubelet's own SIGTERM may come while it is on its way down.
    let script = "trap 'echo interrupted >> /notes/got' INT; trap 'trap \"\" TERM; echo stopped >> /notes/got; exit 1' TERM; \
                  echo begun; while :; do read _ < /notes/gate; done";
    // The container of `cleanup` is there before `a` begins: on a deletion nothing is created any more.
    let pod = place.pod("steps: {a: {}, cleanup: {finally: true}}", &[("cleanup", "echo cleaned"), ("a", script)]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    terminal.press(b"\x03");
    terminal.wait("| cleaned");
    let (code, lines) = terminal.end();
    assert_eq!(code, Some(143), "{lines:#?}");
    assert_eq!(place.lines("got"), ["stopped"], "{lines:#?}");
}

/// A terminal that goes away sends SIGHUP, and every write fails from then on: one reason to end, not two.
#[test]
fn a_terminal_that_goes_away_cancels_in_order() {
    let place = Place::new();
    let pod = place.pod(
        "steps: {a: {}, cleanup: {finally: true}}",
        &[("cleanup", "echo cleaned >> /notes/got"), ("a", "echo begun; while :; do echo more; done")],
    );
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    terminal.keyboard = File::open("/dev/null").expect("it is there");
    if let Some(run) = Watched::new(terminal.child.id().cast_signed()) {
        run.wait_end();
    }
    assert_eq!(terminal.child.wait().expect("our child").code(), Some(143));
    assert_eq!(place.lines("got"), ["cleaned"]);
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// A terminal that was stopped (^S), or is not looked at: a write to it would wait, and must not keep Ctrl-C from being heard.
#[test]
fn a_terminal_that_was_stopped_cannot_hold_up_the_end() {
    let place = Place::new();
    let pod = place.pod("steps: [a]", &[("a", "trap '' TERM; echo begun; while :; do echo more; done")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("NO_COLOR", "1");
    let mut terminal = Terminal::start(command);
    terminal.wait("| begun");
    let pid = Pid::from_raw(terminal.child.id().cast_signed());
    let run = Watched::new(pid.as_raw()).expect("it lives");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        kill(pid, signal).expect("it is our child");
    }
    run.wait_end();
    assert_eq!(terminal.child.wait().expect("our child").code(), Some(143));
}

#[test]
fn no_escapes_where_none_are_wanted() {
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let place = Place::new();
        let pod = place.pod("steps: [a]", &[("a", "echo here")]);
        let mut command = place.command(&place.write(&pod), &[]);
        command.env("TERM", "xterm").env_remove("NO_COLOR").env(name, value);
        let mut terminal = Terminal::start(command);
        terminal.wait("outcome: Succeeded");
        let colours = terminal.written.matches("\x1b[3").count() + terminal.written.matches("\x1b[0m").count();
        assert_eq!(colours, 0, "{name}: {:?}", terminal.written);
        assert!(name != "TERM" || !terminal.written.contains('\x1b'), "{:?}", terminal.written);
        assert_eq!(terminal.end().0, Some(0));
    }
    // One output may be a terminal while the other is not.
    let place = Place::new();
    let pod = place.pod("steps: [a]", &[("a", "echo here; echo there >&2")]);
    let mut command = place.command(&place.write(&pod), &[]);
    command.env("TERM", "xterm");
    let ended = Place::start_command(command).end();
    assert!(!ended.all().contains("\\u{1b}"), "{}", ended.all());
}
