//! One go of a hook or a probe: a command in the container, or something over the network.

use std::io;
use std::time::Duration;

use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{sleep, timeout};

use super::pod::{Container, Hook, Program, Try};
use super::runtime::{Runtime, exit_code};
use crate::probe::try_once;

/// How much of what a command says is kept, for whoever has to find out why it failed.
const SAID_MAX: usize = 1024;

/// How long what a command has said last may take to come after its end.
const LAST_SAID: Duration = Duration::from_millis(100);

/// Runs a hook to its end. The error says why it failed.
pub(super) async fn run_hook(runtime: &Runtime, container: &Container, pid: Pid, hook: &Hook) -> Result<(), String> {
    match hook {
        Hook::Exec(program) => run_in(runtime, container, pid, program).await,
        Hook::Network(probe) => try_once(probe).await.map(drop),
        Hook::Sleep(seconds) => {
            sleep(Duration::from_secs(*seconds)).await;
            Ok(())
        }
    }
}

/// Tries a probe once.
pub(super) async fn try_probe(runtime: &Runtime, container: &Container, pid: Pid, what: &Try) -> Result<(), String> {
    match what {
        Try::Exec(program) => run_in(runtime, container, pid, program).await,
        Try::Network(probe) => try_once(probe).await.map(drop),
    }
}

/// Runs a command in the container. Dropped, it ends.
async fn run_in(runtime: &Runtime, container: &Container, pid: Pid, program: &Program) -> Result<(), String> {
    let broken = |error: io::Error| format!("its command cannot be started: {error}");
    let mut execution = runtime.exec(container, pid, program).map_err(broken)?;
    let (mut out, mut err) = (Said::default(), Said::default());
    let (stdout, stderr) = (execution.child.stdout.take(), execution.child.stderr.take());
    let status = {
        let listen = async { tokio::join!(out.listen(stdout), err.listen(stderr)) };
        tokio::pin!(listen);
        let status = tokio::select! {
            status = execution.child.wait() => {
                let _ = timeout(LAST_SAID, listen).await;
                status
            }
            _ = &mut listen => execution.child.wait().await,
        };
        status.map_err(broken)?
    };
    match exit_code(status) {
        0 => Ok(()),
        code => Err(format!("its command ended with {code}{}", describe(&[err.0, out.0].concat()))),
    }
}

/// The first line that says something.
fn describe(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.map(|line| format!(": {line}")).unwrap_or_default()
}

/// The beginning of what a command says.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    /// Listens to the end, so that the command never waits.
    async fn listen(&mut self, source: Option<impl AsyncRead + Unpin>) {
        let Some(mut source) = source else { return };
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = source.read(&mut buffer).await {
            let room = SAID_MAX.saturating_sub(self.0.len()).min(length);
            self.0.extend_from_slice(&buffer[..room]);
        }
    }
}
