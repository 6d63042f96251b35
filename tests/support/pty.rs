//! Pseudo-terminals, whose keys and lines are those of a person's, and what stands on their screens. For several test programs.

#![allow(dead_code, reason = "each of them needs a part of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use vt100::Parser;

pub(crate) const CLEAR: &str = "\r\x1b[2K";

/// A program that leads the session of a terminal, and all that it has written there.
pub(crate) struct Terminal {
    pub(crate) keyboard: File,
    pub(crate) child: Child,
    /// Byte by byte: a character may come in two pieces.
    bytes: Vec<u8>,
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
        Self { keyboard: OwnedFd::from(master).into(), child, bytes: Vec::new() }
    }

    /// Takes what is written next; `false`: nobody has the terminal any more.
    pub(crate) fn take(&mut self) -> bool {
        let limit = PollTimeout::from(30_000_u16);
        let ready = poll(&mut [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)], limit).expect("poll(2)");
        assert!(ready > 0, "it writes nothing more: {}", self.written());
        let mut piece = [0; 4096];
        match self.keyboard.read(&mut piece) {
            Ok(length) if length > 0 => self.bytes.extend_from_slice(&piece[..length]),
            _ => return false, // EIO: the other side is closed (pty(7))
        }
        true
    }

    /// All that it has written so far.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn wait(&mut self, text: &str) {
        while !self.written().contains(text) {
            assert!(self.take(), "it never wrote {text:?}: {}", self.written());
        }
    }

    /// At once: a key that is several bytes must not be read as several keys.
    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).expect("a terminal takes keys");
    }

    /// Waits for the end: the exit code, and the lines that a person sees then.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<String>) {
        while self.take() {}
        let code = self.child.wait().expect("our child").code();
        (code, seen(&self.written()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gives the terminal back what it showed before (ctlseqs, DECRST 1049), and its cursor.
const BACK: [&str; 2] = ["\x1b[?1049l", "\x1b[?25h"];

/// As many pieces of output are looked at until something has to be there.
const PIECES: usize = 60;

/// A terminal, and what stands on it.
pub(crate) struct Screen {
    pub(crate) terminal: Terminal,
    pub(crate) parser: Parser,
    taken: usize,
}

impl Screen {
    /// The command in a terminal of this size, in columns and lines, whose locale has Unicode.
    pub(crate) fn start(command: Command, size: (u16, u16)) -> Self {
        Self::start_in("C.UTF-8", command, size)
    }

    /// The same in another locale.
    pub(crate) fn start_in(locale: &str, mut command: Command, size: (u16, u16)) -> Self {
        command.env("LC_ALL", locale);
        let terminal = Terminal::start(command);
        let (columns, lines) = size;
        let mut screen = Self { terminal, parser: Parser::new(cells(lines), cells(columns), 0), taken: 0 };
        screen.resize(size);
        screen
    }

    pub(crate) fn resize(&mut self, (columns, lines): (u16, u16)) {
        nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, libc::winsize);
        let size = libc::winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: `size` is a winsize, which is what this request reads.
        unsafe { set_window_size(self.terminal.keyboard.as_raw_fd(), &raw const size) }.expect("pty(7)");
        self.parser.screen_mut().set_size(cells(lines), cells(columns));
    }

    pub(crate) fn text(&mut self) -> String {
        let new = &self.terminal.bytes[self.taken..];
        self.parser.process(new);
        self.taken = self.terminal.bytes.len();
        self.parser.screen().contents()
    }

    /// Waits until this stands on the screen.
    pub(crate) fn wait(&mut self, text: &str) {
        // Times are drawn anew each second, so there is always something more to take.
        let is_there =
            (0..PIECES).any(|_| self.text().contains(text) || (!self.terminal.take() && self.text().contains(text)));
        assert!(is_there, "{text:?} was never there:\n{}", self.text());
    }

    /// Whether this line of the screen, from 0, begins so now.
    pub(crate) fn begins(&mut self, line: u16, text: &str) -> bool {
        self.text();
        let screen = self.parser.screen();
        screen.rows(0, screen.size().1.get()).nth(line.into()).is_some_and(|row| row.starts_with(text))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.terminal.press(keys.as_bytes());
    }

    /// Waits for its end: the exit code, and what stands there then.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        while self.terminal.take() {}
        let text = self.text();
        let written = self.terminal.written();
        assert!(BACK.iter().all(|back| written.contains(back)), "the terminal was not given back: {text}");
        (self.terminal.child.wait().expect("our child").code(), text)
    }
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("no terminal is empty")
}

/// What is left of a text on a terminal after all lines were cleared that were to be.
fn seen(written: &str) -> Vec<String> {
    let lines = written.split('\n').map(|line| line.rsplit(CLEAR).next().unwrap_or_default().trim_end_matches('\r'));
    lines.map(str::to_owned).collect()
}
