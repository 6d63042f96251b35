//! Where a run's messages go: each line with its container's name in front, as Compose shows them, and on a terminal a line
//! of who runs.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};

use anstyle::{AnsiColor, Style};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Receiver;

use crate::local::{Message, Stream};
use crate::volume::published::State;

/// As much as a pipe takes without waiting once it says that it takes anything (pipe(7), PIPE_BUF).
const PIECE: usize = 4096;

/// The colours of the names, in the order of the containers.
const COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightRed];

/// Clears the line that the cursor is in.
const CLEAR: &[u8] = b"\r\x1b[2K";

/// What is shown where.
pub(super) struct Screen {
    names: HashMap<String, String>,
    out: Output,
    err: Output,
    /// Everything goes to stderr: stdout is for the JSON at the end.
    quiet_out: bool,
    live: Option<String>,
    plain_note: String,
}

impl Screen {
    /// For containers of these names, in this order. `json`: nothing but the state goes to stdout.
    pub(super) fn new(names: &[String], json: bool) -> io::Result<Self> {
        let colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let width = names.iter().map(String::len).max().unwrap_or(0).max("podturn".len());
        let prefix = |(index, name): (usize, &String)| {
            let style = Style::new().fg_color(Some(COLOURS[index % COLOURS.len()].into()));
            let text = format!("{name:width$} | ");
            (name.clone(), if colours { format!("{style}{text}{style:#}") } else { text })
        };
        Ok(Self {
            names: names.iter().enumerate().map(prefix).collect(),
            out: Output::new(io::stdout().as_fd())?,
            err: Output::new(io::stderr().as_fd())?,
            quiet_out: json,
            live: None,
            plain_note: format!("{:width$} | ", "podturn"),
        })
    }

    /// Shows messages until there are no more. Comes back early when nobody reads them: `false`.
    pub(super) async fn show(&mut self, messages: &mut Receiver<Message>) -> bool {
        while let Some(message) = messages.recv().await {
            let shown = match message {
                Message::Lines { container, stream, text } => self.show_lines(&container, stream, &text).await,
                Message::Note(text) => self.show_note(&text).await,
                Message::State(state) => self.show_live(&state).await,
            };
            if shown.is_err() {
                return false;
            }
        }
        self.clear_live().await.is_ok()
    }

    async fn show_lines(&mut self, container: &str, stream: Stream, text: &[u8]) -> io::Result<()> {
        let prefix = self.names.get(container).map_or("", String::as_str).as_bytes();
        let mut lines = Vec::with_capacity(text.len() + prefix.len() * 8);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            lines.extend_from_slice(prefix);
            lines.extend_from_slice(line);
        }
        self.clear_live().await?;
        match stream {
            Stream::Out if !self.quiet_out => self.out.write(&lines).await?,
            _ => self.err.write(&lines).await?,
        }
        self.draw_live().await
    }

    async fn show_note(&mut self, text: &str) -> io::Result<()> {
        self.clear_live().await?;
        self.err.write(format!("{}{text}\n", self.plain_note).as_bytes()).await?;
        self.draw_live().await
    }

    async fn show_live(&mut self, state: &State) -> io::Result<()> {
        if !self.err.is_terminal {
            return Ok(());
        }
        self.clear_live().await?;
        self.live = live_line(state);
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

/// Who runs now, and how much is done; short enough for one line of any terminal.
fn live_line(state: &State) -> Option<String> {
    if state.outcome.is_some() {
        return None;
    }
    let is_over = |phase: &str| matches!(phase, "Succeeded" | "Failed" | "Omitted" | "Cancelled");
    let over = state.steps.iter().filter(|step| is_over(&step.phase)).count();
    let running: Vec<&str> = state
        .steps
        .iter()
        .filter(|step| matches!(step.phase.as_str(), "Running" | "Stopping"))
        .map(|step| step.name.as_str())
        .collect();
    let who = if running.is_empty() { "nobody".to_owned() } else { running.join(", ") };
    let line: String = format!("[{over}/{}] running: {who}", state.steps.len()).chars().take(78).collect();
    Some(line)
}

/// A descriptor that is written without blocking this thread, and without changing the mode of a file that others share.
struct Output {
    file: std::os::fd::OwnedFd,
    /// `None`: a file, which is always ready.
    ready: Option<AsyncFd<std::os::fd::OwnedFd>>,
    is_terminal: bool,
}

impl Output {
    fn new(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let file = fd.try_clone_to_owned()?;
        // SAFETY: the descriptor is a copy of our own that the AsyncFd owns from here on.
        let ready = unsafe { AsyncFd::register_with_interest(file.try_clone()?, Interest::WRITABLE) };
        Ok(Self { is_terminal: fd.is_terminal(), ready: ready.ok(), file })
    }

    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait().await?;
            let piece = &bytes[..bytes.len().min(PIECE)];
            match nix::unistd::write(&self.file, piece) {
                Ok(written) => bytes = &bytes[written..],
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => {}
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
