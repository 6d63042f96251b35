//! A pod of a cluster: `kubectl create`, `get --watch`, `logs --follow`, `delete`.
//!
//! ```text
//! run ─> create ─> attend: the watch tells how the pod stands ─> its end ─> removed, if asked for ─> End
//!                    └─ each container that has begun: kubectl logs --follow
//! ```
//! Does not belong here: what the objects are (`cluster`), what a status says (`standing`).

use std::ffi::OsString;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cluster::Create;
use super::logs::Log;
use super::note;
use super::program::{EngineError, Program};
use super::standing::{News, Standing};
use super::watch::objects;
use crate::inject::PODTURN;
use crate::local::{End, Interrupt, Message, Stream, follow, on_its_way_down};

/// How to come by kubectl.
pub(super) const INSTALL: &str =
    "apt-get install kubernetes-client, or the cluster's own way; --engine local needs nothing";

/// How long the last lines of a log may take to come from the node.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A watch that breaks off (a proxy's time limit, an API server that goes) begins again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Which cluster, and where in it: kubectl's own options.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// `--namespace`.
    pub namespace: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<OsString>,
}

impl Cluster {
    /// As kubectl reads them.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let options = [
            ("--kubeconfig", self.kubeconfig.clone()),
            ("--context", self.context.clone().map(Into::into)),
            ("--namespace", self.namespace.clone().map(Into::into)),
        ];
        for (name, value) in options {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        }
        arguments
    }
}

/// A pod, or a Job of one, that a cluster runs.
pub struct Kubectl {
    create: Create,
    /// The object is deleted at the end.
    is_removed: bool,
    program: Program,
    tell: Sender<Message>,
    /// The object's name, once it is created.
    name: String,
    standing: Standing,
    log: Log,
    talk: JoinSet<()>,
    errands: JoinSet<()>,
    end: End,
}

impl Kubectl {
    /// Not created yet. `is_removed`: it is deleted at its end, whatever that is. Messages are sent to `tell`.
    #[must_use]
    pub fn new(create: Create, cluster: &Cluster, is_removed: bool, tell: Sender<Message>) -> Self {
        let program = Program::new("kubectl", cluster.arguments(), INSTALL);
        Self {
            create,
            is_removed,
            program,
            tell,
            name: String::new(),
            standing: Standing::default(),
            log: Log::default(),
            talk: JoinSet::new(),
            errands: JoinSet::new(),
            end: End::default(),
        }
    }

    /// Runs it to its end. Ctrl-C deletes it, which is the orderly way down.
    ///
    /// # Errors
    /// What kubectl refused.
    pub async fn run(mut self, interrupts: &mut Receiver<Interrupt>) -> Result<End, EngineError> {
        self.create().await?;
        let done = self.attend(interrupts).await;
        if !self.end.killed {
            let talk = &mut self.talk;
            let _ = timeout(LAST_WORDS, async { while talk.join_next().await.is_some() {} }).await;
        }
        self.conclude().await;
        if self.is_removed && !self.end.cancelled {
            self.delete(&[]).await;
        }
        while self.errands.join_next().await.is_some() {}
        done.map(|()| self.end)
    }

    async fn create(&mut self) -> Result<(), EngineError> {
        if let Some(others) = &self.create.others {
            self.program.run("kubectl apply", ["apply", "-f", "-"], Some(&others.to_string())).await?;
        }
        let object = self.create.object.to_string();
        let created = self.program.run("kubectl create", ["create", "-f", "-", "-o", "json"], Some(&object)).await?;
        let created: Value = serde_json::from_str(&created).unwrap_or_default();
        self.name = created["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = created["metadata"]["namespace"].as_str().unwrap_or("default");
        note(&self.tell, format!("{} {} in namespace {namespace}", self.create.kind, self.name)).await;
        Ok(())
    }

    /// Goes on until the pod has ended, or is gone.
    async fn attend(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), EngineError> {
        let (to, mut seen) = channel(8);
        let watch = tokio::spawn(watch(self.program.clone(), self.selection(), to));
        let log = self.log.clone();
        let mut is_told = false;
        while !(self.standing.is_over() || self.end.killed) {
            if let Some(unborn) = self.standing.unborn().filter(|_| is_told && !self.end.cancelled) {
                note(&self.tell, format!("the plan has ended; the pod stays Pending, since {unborn} was never there"))
                    .await;
                break;
            }
            tokio::select! {
                () = log.outcome(), if !is_told => is_told = true,
                Some(event) = seen.recv() => match event {
                    Ok(event) => self.handle(&event).await?,
                    Err(said) => {
                        if self.is_gone().await {
                            self.standing.is_gone = true;
                        } else if !self.end.cancelled {
                            note(&self.tell, format!("kubectl get --watch broke off, and begins again: {said}")).await;
                        }
                    }
                },
                Some(interrupt) = interrupts.recv() => self.handle_interrupt(interrupt).await,
                Some(()) = next(&mut self.errands) => {}
            }
        }
        watch.abort();
        Ok(())
    }

    /// The pods to watch, in kubectl's words.
    fn selection(&self) -> Vec<String> {
        match self.create.kind {
            "job" => vec!["pods".to_owned(), "--selector".to_owned(), format!("job-name={}", self.name)],
            _ => vec!["pod".to_owned(), self.name.clone()],
        }
    }

    async fn is_gone(&self) -> bool {
        let get = ["get", self.create.kind, &self.name, "--ignore-not-found", "-o", "name"].map(str::to_owned);
        self.program.run("kubectl get", get, None).await.is_ok_and(|found| found.trim().is_empty())
    }

    async fn handle(&mut self, event: &Value) -> Result<(), EngineError> {
        for news in self.standing.handle(event) {
            match news {
                News::Began(container) => self.follow(container)?,
                News::Note(text) => note(&self.tell, text).await,
            }
        }
        Ok(())
    }

    /// Follows the log of a container that has begun. A kubelet keeps its two outputs in one log.
    fn follow(&mut self, name: String) -> Result<(), EngineError> {
        let pod = self.standing.pod.clone();
        let logs = ["logs".to_owned(), "--follow".to_owned(), pod, "--container".to_owned(), name.clone()];
        let mut child = self.program.command(logs).spawn().map_err(|error| self.program.not_started(error))?;
        let Some(out) = child.stdout.take() else { return Ok(()) };
        let (tell, log) = (self.tell.clone(), self.log.clone());
        self.talk.spawn(async move {
            if name == PODTURN {
                log.read(out, tell.clone()).await;
            } else {
                follow(name.clone(), Stream::Both, out, tell.clone()).await;
            }
            if let Ok(output) = child.wait_with_output().await
                && !output.status.success()
            {
                let said = String::from_utf8_lossy(&output.stderr);
                note(&tell, format!("the log of {name} broke off: {}", said.trim())).await;
            }
        });
        Ok(())
    }

    // --- the end ---

    async fn handle_interrupt(&mut self, interrupt: Interrupt) {
        match (self.end.cancelled, interrupt) {
            (true, Interrupt::Unread) => {}
            (true, Interrupt::Asked) => {
                self.end.killed = true;
                if !self.standing.pod.is_empty() {
                    let pod = ["delete", "pod", &self.standing.pod, "--now", "--wait=false", "--ignore-not-found"];
                    let _ = self.program.run("kubectl delete", pod.map(str::to_owned), None).await;
                }
            }
            (false, _) => {
                self.end.cancelled = true;
                let grace = self.standing.grace_seconds.unwrap_or(30);
                note(&self.tell, on_its_way_down(grace)).await;
                self.delete(&[]).await;
            }
        }
    }

    /// The cluster ends the pod, within its grace, and removes it.
    async fn delete(&mut self, options: &[&str]) {
        let words = ["delete", self.create.kind, &self.name, "--wait=false", "--ignore-not-found"];
        let words: Vec<String> = words.iter().chain(options).map(|word| (*word).to_owned()).collect();
        let (program, tell, object) =
            (self.program.clone(), self.tell.clone(), format!("{} {}", self.create.kind, self.name));
        self.errands.spawn(async move {
            if let Err(error) = program.run("kubectl delete", words, None).await {
                note(&tell, format!("{error}; {object} may still be there")).await;
            }
        });
    }

    /// What the run was.
    async fn conclude(&mut self) {
        let is_told = |log: &Log| log.run().is_some_and(|(state, _)| state.outcome.is_some());
        if !is_told(&self.log) && !self.standing.is_gone && !self.end.killed && !self.standing.pod.is_empty() {
            // What was followed may have broken off. The log itself is whole.
            let logs = ["logs", &self.standing.pod, "--container", PODTURN].map(str::to_owned);
            if let Ok(said) = self.program.run("kubectl logs", logs, None).await {
                said.lines().for_each(|line| drop(self.log.take(line)));
            }
        }
        if let Some((state, told)) = self.log.run() {
            (self.end.state, self.end.journal) = (Some(state), Some((told.run, told.events, told.usage)));
        }
        if !is_told(&self.log) && !self.end.killed {
            follow(PODTURN.to_owned(), Stream::Err, self.log.rest().as_bytes(), self.tell.clone()).await;
        }
        self.end.failed = self.standing.failed();
        self.end.init_failed = self.standing.failed_init_container();
        if let Some(name) = &self.end.init_failed {
            self.end.failed.retain(|(known, _)| known == name);
        }
        if self.standing.is_too_late() || (self.standing.is_gone && self.job_is_too_late().await) {
            self.end.deadline_exceeded = Some(self.standing.active_deadline_seconds.unwrap_or_default());
        } else {
            self.end.cancelled |= self.standing.is_gone; // by somebody else
        }
        self.end.never_began = self.end.cancelled && self.end.state.is_none() && self.end.failed.is_empty();
    }

    /// A Job's own `activeDeadlineSeconds` deletes its pod.
    async fn job_is_too_late(&self) -> bool {
        let job = ["get", self.create.kind, &self.name, "-o", "jsonpath={.status.conditions[*].reason}"];
        let ask = self.program.run("kubectl get", job.map(str::to_owned), None);
        self.create.kind == "job"
            && !self.end.cancelled
            && ask.await.is_ok_and(|said| said.contains("DeadlineExceeded"))
    }
}

/// Tells how the pod stands, whenever that changes; or why that could not be told for a moment.
async fn watch(program: Program, selection: Vec<String>, to: Sender<Result<Value, String>>) {
    loop {
        let words = ["get", "--watch", "--output-watch-events", "-o", "json"].map(str::to_owned);
        let mut command = program.command([words.to_vec(), selection.clone()].concat());
        let said = match command.spawn() {
            Ok(mut child) => {
                let (pass, mut passed) = channel(8);
                let reading = child.stdout.take().map(|out| tokio::spawn(objects(out, pass)));
                while let Some(object) = passed.recv().await {
                    if to.send(Ok(object)).await.is_err() {
                        return;
                    }
                }
                drop(reading);
                let output = child.wait_with_output().await;
                output.map_or_else(
                    |error| error.to_string(),
                    |output| {
                        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                        if said.is_empty() { "it ended".to_owned() } else { said }
                    },
                )
            }
            Err(error) => error.to_string(),
        };
        if to.send(Err(said)).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

async fn next(errands: &mut JoinSet<()>) -> Option<()> {
    errands.join_next().await.map(drop)
}
