//! A pod of a cluster that somebody else has created: how it stands, commands in its coordinator's container, its log.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::kubectl::{Cluster, INSTALL};
use super::logs::run_of;
use super::program::{EngineError, Program};
use crate::history::Told;
use crate::inject::PODTURN;
use crate::volume::published::State;

/// What kubectl says last when the command in the container has ended with another code than 0.
const COMMAND_ENDED: &str = "command terminated with exit code";

/// A pod that is there.
#[derive(Clone, Debug)]
pub struct Pod {
    program: Program,
    /// Its name.
    pub name: String,
    /// Its phase.
    pub phase: String,
}

impl Pod {
    /// Looks for it. `name`: as kubectl has it, `NAME`, `pod/NAME` or `job/NAME` (then the Job's newest pod).
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn find(cluster: &Cluster, name: &str) -> Result<Self, EngineError> {
        let program = Program::new("kubectl", cluster.arguments(), INSTALL);
        let name = match name.split_once('/') {
            None => name.to_owned(),
            Some(("pod" | "pods" | "po", name)) => name.to_owned(),
            Some(("job" | "jobs" | "job.batch" | "jobs.batch", job)) => newest_of(&program, job).await?,
            Some((kind, _)) => {
                let what = format!("a {kind} may have several pods, each with a run of its own");
                let help = "name one of its pods: `kubectl get pods` lists them".to_owned();
                return Err(EngineError::Unknown { what, help });
            }
        };
        let get = ["get", "pod", &name, "-o", "jsonpath={.status.phase}"].map(str::to_owned);
        let phase = program.run("kubectl get pod", get, None).await?.trim().to_owned();
        Ok(Self { program, name, phase })
    }

    /// Whether it has ended: nothing can be run in it then, and its volumes are gone.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// Runs a command of podturn in the coordinator's container, with this process' stdout and stderr, and gives its exit code.
    /// `with_terminal`: the terminal of this process is its terminal.
    ///
    /// # Errors
    /// When kubectl could not run it.
    pub fn execute(&self, words: &[OsString], with_terminal: bool) -> Result<u8, EngineError> {
        let mut exec: Vec<OsString> = ["exec", &self.name, "-c", PODTURN].map(Into::into).into();
        if with_terminal {
            exec.extend(["-i", "-t"].map(Into::into));
        }
        exec.extend(["--", "podturn"].map(Into::into));
        exec.extend(words.iter().cloned());
        let mut command = self.program.here(exec);
        command.stdin(if with_terminal { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::inherit()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.program.not_started(error))?;
        let mut has_ended_itself = false;
        if let Some(said) = child.stderr.take() {
            let mut lines = BufReader::new(said).split(b'\n');
            while let Some(Ok(line)) = lines.next() {
                if line.starts_with(COMMAND_ENDED.as_bytes()) {
                    has_ended_itself = true;
                } else {
                    let _ = std::io::stderr().write_all(&[&line, b"\n".as_slice()].concat()); // nobody reads, then
                }
            }
        }
        let status = child.wait().map_err(|error| EngineError::System("waiting for kubectl".to_owned(), error))?;
        match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(0) => Ok(0),
            Some(code) if has_ended_itself => Ok(code),
            _ => Err(EngineError::Refused { what: "kubectl exec".to_owned(), said: status.to_string() }),
        }
    }

    /// What the coordinator's log tells; the error of a log that is none says why.
    ///
    /// # Errors
    /// What kubectl says.
    pub async fn told(&self) -> Result<Result<(State, Told), String>, EngineError> {
        let logs = ["logs", &self.name, "-c", PODTURN].map(str::to_owned);
        let log = self.program.run("kubectl logs", logs, None).await?;
        Ok(run_of(&log))
    }
}

async fn newest_of(program: &Program, job: &str) -> Result<String, EngineError> {
    let selector = format!("job-name={job}");
    let newest = "jsonpath={.items[-1:].metadata.name}";
    let get = ["get", "pods", "-l", &selector, "--sort-by=.metadata.creationTimestamp", "-o", newest];
    let name = program.run("kubectl get pods", get.map(str::to_owned), None).await?.trim().to_owned();
    if name.is_empty() {
        let said = "NotFound: it has no pod".to_owned();
        return Err(EngineError::Refused { what: format!("job {job}"), said });
    }
    Ok(name)
}
