//! Where a run's messages go: each line with its container's name in front, as Compose shows them, and on a terminal a line
//! below them of who runs and who waits.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Receiver;
use tokio::time::MissedTickBehavior;

use super::graph::{has_unicode, width_of};
use super::tail::Tails;
use crate::local::{Message, Stream};
use crate::view;
use crate::volume::published::State;

/// As much as a pipe takes without waiting once it says that it takes anything (pipe(7), PIPE_BUF).
const PIECE: usize = 4096;

/// The colours of the names, in the order of the containers.
const COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightRed];

/// How long a terminal that is full is left alone.
const FULL: Duration = Duration::from_millis(10);

/// How often times are told anew.
const SECOND: Duration = Duration::from_secs(1);

/// Clears the line that the cursor is in.
const CLEAR: &[u8] = b"\r\x1b[2K";

/// Writes a line that a narrow terminal cuts rather than wraps (DECAWM), so that it can be cleared as one.
const UNWRAPPED: (&str, &str) = ("\x1b[?7l", "\x1b[?7h");

/// What is shown where.
pub(super) struct Screen {
    names: HashMap<String, Prefix>,
    out: Output,
    err: Output,
    /// Everything goes to stderr: stdout is for the JSON at the end.
    quiet_out: bool,
    has_live_line: bool,
    state: Option<Box<State>>,
    live: Option<String>,
    plain_note: String,
    tails: Option<Tails>,
}

/// What is in front of a container's lines.
struct Prefix {
    plain: String,
    coloured: String,
}

impl Screen {
    /// For containers of these names, in this order. `json`: nothing but the state goes to stdout.
    pub(super) fn new(names: &[String], json: bool) -> io::Result<Self> {
        let width = names.iter().map(String::len).max().unwrap_or(0).max("podturn".len());
        let prefix = |(index, name): (usize, &String)| {
            let style = Style::new().fg_color(Some(COLOURS[index % COLOURS.len()].into()));
            let plain = format!("{name:width$} | ");
            let coloured = format!("{style}{plain}{style:#}");
            (name.clone(), Prefix { plain, coloured })
        };
        let has_colours = |choice| choice != ColorChoice::Never;
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        Ok(Self {
            names: names.iter().enumerate().map(prefix).collect(),
            out: Output::new(io::stdout().as_fd(), has_colours(AutoStream::choice(&io::stdout())))?,
            err: Output::new(io::stderr().as_fd(), has_colours(AutoStream::choice(&io::stderr())))?,
            quiet_out: json,
            has_live_line: io::stderr().is_terminal() && !is_dumb && !is_ci(),
            state: None,
            live: None,
            plain_note: format!("{:width$} | ", "podturn"),
            tails: None,
        })
    }

    /// Keeps the last lines there as well.
    pub(super) fn with_tails(self, tails: Option<Tails>) -> Self {
        Self { tails, ..self }
    }

    /// Whether it wants to be told of the state.
    pub(super) const fn has_live_line(&self) -> bool {
        self.has_live_line
    }

    /// Shows messages until there are no more. Comes back early when nobody reads them: `false`.
    pub(super) async fn show(&mut self, messages: &mut Receiver<Message>) -> bool {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                message = messages.recv() => message,
                _ = seconds.tick(), if self.live.is_some() => {
                    if self.show_live().await.is_err() {
                        return false;
                    }
                    continue;
                }
            };
            let shown = match message {
                Some(Message::Lines { container, stream, text }) => self.show_lines(&container, stream, &text).await,
                Some(Message::Note(text)) => self.show_note(&text).await,
                Some(Message::State(state)) => {
                    self.state = Some(state);
                    self.show_live().await
                }
                None => return self.clear_live().await.is_ok(),
            };
            if shown.is_err() {
                return false;
            }
        }
    }

    async fn show_lines(&mut self, container: &str, stream: Stream, text: &[u8]) -> io::Result<()> {
        if let Some(tails) = &mut self.tails {
            tails.add(container, text);
        }
        self.clear_live().await?;
        let output = match stream {
            Stream::Out | Stream::Both if !self.quiet_out => &self.out,
            Stream::Out | Stream::Both | Stream::Err => &self.err,
        };
        let prefix = self.names.get(container);
        let prefix = prefix.map_or("", |prefix| if output.has_colours { &prefix.coloured } else { &prefix.plain });
        let mut lines = Vec::with_capacity(text.len() + prefix.len() * 8);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            lines.extend_from_slice(prefix.as_bytes());
            lines.extend_from_slice(line);
        }
        output.write(&lines).await?;
        self.draw_live().await
    }

    async fn show_note(&mut self, text: &str) -> io::Result<()> {
        self.clear_live().await?;
        self.err.write(noted(&self.plain_note, text).as_bytes()).await?;
        self.draw_live().await
    }

    /// Says anew how the run stands, if that is something else than before.
    async fn show_live(&mut self) -> io::Result<()> {
        let columns = width_of(io::stderr().as_fd()).filter(|width| *width > 0).map_or(80, usize::from);
        let now = view::now();
        let line = self.state.as_ref().and_then(|state| view::line(state, &now, columns, has_unicode()));
        let (before, after) = UNWRAPPED; // it may have become narrower just now
        let line = line.map(|line| format!("{before}{line}{after}"));
        if line == self.live {
            return Ok(());
        }
        self.clear_live().await?;
        self.live = line;
        self.draw_live().await
    }

    async fn clear_live(&mut self) -> io::Result<()> {
        if self.live.is_some() { self.err.write(CLEAR).await } else { Ok(()) }
    }

    async fn draw_live(&mut self) -> io::Result<()> {
        match self.live.clone() {
            Some(line) => self.err.write(line.as_bytes()).await,
            None => Ok(()),
        }
    }
}

/// A message of several lines has its name before each of them, like a container's.
fn noted(prefix: &str, text: &str) -> String {
    text.lines().map(|line| format!("{prefix}{line}\n")).collect()
}

/// Says something on stderr, unless whoever reads it takes longer than this.
pub(super) fn say_in_time(text: &str, limit: Duration) {
    let say = async {
        let output = Output::new(io::stderr().as_fd(), false)?;
        tokio::time::timeout(limit, output.write(text.as_bytes())).await?
    };
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        let _: io::Result<()> = runtime.block_on(say); // nobody reads, then
    }
}

/// Whether nobody looks, though there may be a terminal: what CI systems say of themselves.
fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false")
}

/// The same terminal opened once more. A write to it waits until all was taken, however little that is at a time, so only one
/// without waiting will do; and that mode must not become the shell's. `None`: it cannot be opened (another user's).
fn reopen(terminal: BorrowedFd<'_>) -> Option<std::os::fd::OwnedFd> {
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let mut options = File::options();
    options.write(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    options.open(path).ok().map(Into::into)
}

/// A descriptor that is written without blocking this thread, and without changing the mode of a file that others share.
struct Output {
    file: std::os::fd::OwnedFd,
    /// `None`: a file, which is always ready.
    ready: Option<AsyncFd<std::os::fd::OwnedFd>>,
    has_colours: bool,
}

impl Output {
    fn new(fd: BorrowedFd<'_>, has_colours: bool) -> io::Result<Self> {
        let file = if fd.is_terminal() { reopen(fd) } else { None };
        let file = file.map_or_else(|| fd.try_clone_to_owned(), Ok)?;
        // SAFETY: the descriptor is a copy of our own that the AsyncFd owns from here on.
        let ready = unsafe { AsyncFd::register_with_interest(file.try_clone()?, Interest::WRITABLE) };
        Ok(Self { has_colours, ready: ready.ok(), file })
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait().await?;
            let piece = &bytes[..bytes.len().min(PIECE)];
            match nix::unistd::write(&self.file, piece) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::EINTR) => {}
                // There is room, but not enough for a newline: a terminal makes two characters of it (termios(3), ONLCR).
                Err(Errno::EAGAIN) => tokio::time::sleep(FULL).await,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    async fn wait(&self) -> io::Result<()> {
        let Some(ready) = &self.ready else { return Ok(()) };
        loop {
            let mut guard = ready.writable().await?;
            let mut now = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            if poll(&mut now, PollTimeout::ZERO)? > 0 {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_line_of_a_note_says_whose_it_is() {
        assert_eq!(super::noted("podturn | ", "one\n  two\n"), "podturn | one\npodturn |   two\n");
    }
}
