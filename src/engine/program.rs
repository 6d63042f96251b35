//! The engine's program: how it is called, and why that may fail.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// So much of what a program says about its end is kept, in bytes: the last of it.
const COMPLAINT_MAX: usize = 4096;

/// Why an engine could not be used.
#[derive(Debug)]
pub enum EngineError {
    /// Its program is not on PATH.
    NotInstalled {
        /// The program.
        program: String,
        /// What to do.
        help: String,
    },
    /// It was asked for something, and said no.
    Refused {
        /// What it was asked for.
        what: String,
        /// What it said.
        said: String,
    },
    /// It was asked for by a name that means nothing here.
    Unknown {
        /// What that is.
        what: String,
        /// What to do.
        help: String,
    },
    /// A system call failed.
    System(String, io::Error),
}

impl EngineError {
    /// What a person can do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::NotInstalled { help, .. } | Self::Unknown { help, .. } => Some(help),
            Self::Refused { .. } | Self::System(..) => None,
        }
    }
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotInstalled { program, .. } => write!(f, "{program} is not installed: there is none on PATH"),
            Self::Unknown { what, .. } => write!(f, "{what}"),
            Self::Refused { what, said } => write!(f, "{what}: {}", said.trim_end()),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for EngineError {}

/// The last of what a program says on stderr. It is read as it comes: a full pipe would stop whoever writes.
pub(super) fn complaint(stderr: Option<impl AsyncRead + Unpin + Send + 'static>) -> JoinHandle<String> {
    tokio::spawn(async move {
        let mut kept = Vec::new();
        if let Some(mut stderr) = stderr {
            while stderr.read_buf(&mut kept).await.is_ok_and(|read| read > 0) {
                let cut = kept.len().saturating_sub(COMPLAINT_MAX);
                kept.drain(..cut);
            }
        }
        String::from_utf8_lossy(&kept).trim().to_owned()
    })
}

/// A program with the arguments that every call of it has.
#[derive(Clone, Debug)]
pub(super) struct Program {
    name: &'static str,
    arguments: Vec<OsString>,
    help: &'static str,
}

impl Program {
    /// `help`: what to do where it is not installed.
    pub(super) const fn new(name: &'static str, arguments: Vec<OsString>, help: &'static str) -> Self {
        Self { name, arguments, help }
    }

    /// A call of it, not begun. It is out of reach of a Ctrl-C on the terminal, which is podturn's to answer, and ends with the
    /// task that waits for it.
    pub(super) fn command<S: Into<OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(self.name);
        command.args(&self.arguments).args(arguments.into_iter().map(Into::into));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command
    }

    /// A call of it in the place of this process: a Ctrl-C is its own, and the terminal too.
    pub(super) fn here(&self, arguments: impl IntoIterator<Item = OsString>) -> std::process::Command {
        let mut command = std::process::Command::new(self.name);
        command.args(&self.arguments).args(arguments);
        command
    }

    /// Runs it to its end, and gives its stdout. `what`: the purpose, for errors.
    pub(super) async fn run<S: Into<OsString>>(
        &self,
        what: &str,
        arguments: impl IntoIterator<Item = S>,
        input: Option<&str>,
    ) -> Result<String, EngineError> {
        let mut command = self.command(arguments);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| self.not_started(error))?;
        let (stdin, input) = (child.stdin.take(), input.unwrap_or_default());
        let feed = async move {
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(input.as_bytes()).await; // who does not read it says why
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.map_err(|error| EngineError::System(format!("waiting for {}", self.name), error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { output.status.to_string() } else { said.into_owned() };
        Err(EngineError::Refused { what: what.to_owned(), said })
    }

    /// Why it could not be started.
    pub(super) fn not_started(&self, error: io::Error) -> EngineError {
        if error.kind() == io::ErrorKind::NotFound {
            return EngineError::NotInstalled { program: self.name.to_owned(), help: self.help.to_owned() };
        }
        EngineError::System(format!("starting {}", self.name), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than any pipe takes, before the one line that somebody waits for.
    #[test]
    fn a_program_that_complains_at_length_is_not_stopped_by_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (said, out) = runtime.block_on(async {
            let shell = Program::new("sh", Vec::new(), "");
            let script = "yes complaint | head -n 200000 >&2; echo the last word >&2; echo done";
            let mut child = shell.command(["-c", script]).spawn().expect("a shell");
            let said = complaint(child.stderr.take());
            let mut out = String::new();
            child.stdout.take().expect("a pipe").read_to_string(&mut out).await.expect("UTF-8");
            (said.await.expect("it has not panicked"), out)
        });
        assert_eq!(out, "done\n");
        assert!(said.ends_with("complaint\nthe last word") && said.len() <= COMPLAINT_MAX, "{} bytes", said.len());
    }
}
