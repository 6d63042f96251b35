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
use super::program::{EngineError, Program, complaint};
use super::standing::{News, Standing};
use super::watch::objects;
use crate::inject::PODTURN;
use crate::local::{End, Interrupt, Message, Stream, follow, on_its_way_down};

/// How to come by kubectl.
pub(super) const INSTALL: &str =
    "apt-get install kubernetes-client, or the cluster's own way; --engine local needs nothing";

/// How long the last lines of a log may take to come from the node.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// How long kubectl may take for what it was told last, where nobody wants to wait any more.
const LAST_ORDERS: Duration = Duration::from_secs(5);

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
        if !self.create(interrupts).await? {
            self.end.never_began = true;
            return Ok(self.end);
        }
        let done = self.attend(interrupts).await;
        let mut patience = Patience { interrupts, is_over: false };
        if !self.end.killed {
            let talk = &mut self.talk;
            patience.wait(timeout(LAST_WORDS, async { while talk.join_next().await.is_some() {} })).await;
        }
        self.conclude(&mut patience).await;
        if self.is_removed && !self.end.cancelled {
            self.delete();
        }
        let errands = &mut self.errands;
        tokio::select! {
            () = async { while errands.join_next().await.is_some() {} } => {}
            Some(Interrupt::Asked) = patience.interrupts.recv() => {}
            () = sleep(LAST_ORDERS), if self.end.killed || patience.is_over => {}
        }
        done.map(|()| self.end)
    }

    /// Creates everything; `false`: whoever asked for the end did not wait for that.
    async fn create(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<bool, EngineError> {
        let program = self.program.clone();
        if let Some(others) = self.create.others.as_ref().map(Value::to_string) {
            let apply = program.run("kubectl apply", ["apply", "-f", "-"], Some(&others));
            if self.answered(apply, interrupts).await?.is_none() || self.end.cancelled {
                return Ok(false);
            }
        }
        let object = self.create.object.to_string();
        let create = program.run("kubectl create", ["create", "-f", "-", "-o", "json"], Some(&object));
        let Some(created) = self.answered(create, interrupts).await? else {
            note(&self.tell, format!("kubectl create has not answered: the {} may be there", self.create.kind)).await;
            return Ok(false);
        };
        let created: Value = serde_json::from_str(&created).unwrap_or_default();
        let Some(name) = created["metadata"]["name"].as_str().filter(|name| !name.is_empty()) else {
            let said = format!("its answer names no object; the {} may be there", self.create.kind);
            return Err(EngineError::Refused { what: "kubectl create".to_owned(), said });
        };
        self.name = name.to_owned();
        let namespace = created["metadata"]["namespace"].as_str().unwrap_or("default");
        note(&self.tell, format!("{} {} in namespace {namespace}", self.create.kind, self.name)).await;
        if self.end.cancelled {
            self.go_down().await;
        }
        Ok(true)
    }

    /// What a call that creates something gives. Who asks for the end meanwhile waits for it; who asks twice does not (`None`).
    async fn answered(
        &mut self,
        call: impl Future<Output = Result<String, EngineError>>,
        interrupts: &mut Receiver<Interrupt>,
    ) -> Result<Option<String>, EngineError> {
        tokio::pin!(call);
        loop {
            tokio::select! {
                answer = &mut call => return answer.map(Some),
                Some(interrupt) = interrupts.recv() => match (self.end.cancelled, interrupt) {
                    (true, Interrupt::Unread) => {}
                    (true, Interrupt::Asked) => return Ok(None),
                    (false, _) => {
                        self.end.cancelled = true;
                        note(&self.tell, "ending, as soon as kubectl has answered. Once more does not wait for it").await;
                    }
                }
            }
        }
    }

    /// Goes on until the pod has ended, or is gone.
    async fn attend(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), EngineError> {
        let (to, mut seen) = channel(8);
        let watch = tokio::spawn(watch(self.program.clone(), self.create.kind, self.name.clone(), to));
        let log = self.log.clone();
        let mut is_told = false;
        while !(self.standing.is_over() || self.end.killed) {
            // At its deadline the plan ends a moment before the API server says why.
            let stays = is_told && !self.end.cancelled && !self.log.is_ending();
            if let Some(unborn) = self.standing.unborn().filter(|_| stays) {
                note(&self.tell, format!("the plan has ended; the pod stays Pending, since {unborn} was never there"))
                    .await;
                break;
            }
            tokio::select! {
                () = log.outcome(), if !is_told => is_told = true,
                Some(seen) = seen.recv() => match seen {
                    Seen::Event(event) => self.handle(&event).await?,
                    Seen::Gone => self.standing.is_gone = true,
                    Seen::BrokeOff(_) if self.end.cancelled => {}
                    Seen::BrokeOff(said) => {
                        note(&self.tell, format!("kubectl get --watch broke off, and begins again: {said}")).await;
                    }
                },
                Some(interrupt) = interrupts.recv() => self.handle_interrupt(interrupt).await,
                Some(()) = next(&mut self.errands) => {}
            }
        }
        watch.abort();
        Ok(())
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
        let said = complaint(child.stderr.take());
        let (tell, log) = (self.tell.clone(), self.log.clone());
        self.talk.spawn(async move {
            if name == PODTURN {
                log.read(out, tell.clone()).await;
            } else {
                follow(name.clone(), Stream::Both, out, tell.clone()).await;
            }
            let (status, said) = (child.wait().await, said.await.unwrap_or_default());
            if status.is_ok_and(|status| !status.success()) {
                note(&tell, format!("the log of {name} broke off: {said}")).await;
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
                    let (program, pod) = (self.program.clone(), pod.map(str::to_owned));
                    self.errands.spawn(async move {
                        let _ = program.run("kubectl delete", pod, None).await;
                    });
                }
            }
            (false, _) => self.go_down().await,
        }
    }

    async fn go_down(&mut self) {
        self.end.cancelled = true;
        note(&self.tell, on_its_way_down(self.standing.grace_seconds.unwrap_or(30))).await;
        self.delete();
    }

    /// The cluster ends the pod, within its grace, and removes it.
    fn delete(&mut self) {
        let words = ["delete", self.create.kind, &self.name, "--wait=false", "--ignore-not-found"].map(str::to_owned);
        let (program, tell, object) =
            (self.program.clone(), self.tell.clone(), format!("{} {}", self.create.kind, self.name));
        self.errands.spawn(async move {
            if let Err(error) = program.run("kubectl delete", words, None).await {
                note(&tell, format!("{error}; {object} may still be there")).await;
            }
        });
    }

    /// What the run was. Who asks for the end meanwhile gets what is known.
    async fn conclude(&mut self, patience: &mut Patience<'_>) {
        let is_told = self.log.run().is_some_and(|(state, _)| state.outcome.is_some());
        if !is_told && !self.standing.is_gone && !self.end.killed && !self.standing.pod.is_empty() {
            // What was followed may have broken off. The log itself is whole, so it counts alone.
            let logs = ["logs", &self.standing.pod, "--container", PODTURN].map(str::to_owned);
            if let Some(Ok(said)) = patience.wait(self.program.run("kubectl logs", logs, None)).await {
                self.log = Log::of(&said);
            }
        }
        self.log.conclude(&mut self.end, &self.tell).await;
        self.end.failed = self.standing.failed();
        self.end.init_failed = self.standing.failed_init_container();
        if let Some(name) = &self.end.init_failed {
            self.end.failed.retain(|(known, _)| known == name);
        }
        let is_asked = !self.standing.is_too_late() && self.standing.is_gone;
        let job_is_too_late = is_asked && patience.wait(self.job_is_too_late()).await == Some(true);
        if self.standing.is_too_late() || job_is_too_late {
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

/// What a watch tells.
enum Seen {
    /// How the pod stands now.
    Event(Value),
    /// Why that could not be told for a moment.
    BrokeOff(String),
    /// The object is not there any more.
    Gone,
}

/// Tells how the pod of this object stands, whenever that changes.
async fn watch(program: Program, kind: &'static str, name: String, to: Sender<Seen>) {
    let selector = format!("job-name={name}");
    let pods = if kind == "job" { vec!["pods", "--selector", &selector] } else { vec!["pod", &name] };
    let words = [vec!["get", "--watch", "--output-watch-events", "-o", "json"], pods].concat();
    loop {
        let mut command = program.command(words.clone());
        let said = match command.spawn() {
            Ok(mut child) => {
                let (pass, mut passed) = channel(8);
                let complaint = complaint(child.stderr.take());
                let reading = child.stdout.take().map(|out| tokio::spawn(objects(out, pass)));
                while let Some(object) = passed.recv().await {
                    if to.send(Seen::Event(object)).await.is_err() {
                        return;
                    }
                }
                let read = match reading {
                    Some(reading) => reading.await.unwrap_or(Ok(())),
                    None => Ok(()),
                };
                match read {
                    Ok(()) => match complaint.await.unwrap_or_default() {
                        said if said.is_empty() => "it ended".to_owned(),
                        said => said,
                    },
                    Err(what) => what,
                }
            }
            Err(error) => error.to_string(),
        };
        let object = ["get", kind, &name, "--ignore-not-found", "-o", "name"].map(str::to_owned);
        let is_gone = program.run("kubectl get", object, None).await.is_ok_and(|found| found.trim().is_empty());
        if to.send(if is_gone { Seen::Gone } else { Seen::BrokeOff(said) }).await.is_err() {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// The patience of whoever waits for what is to be known of a pod that has ended.
struct Patience<'i> {
    interrupts: &'i mut Receiver<Interrupt>,
    /// Somebody has asked for the end.
    is_over: bool,
}

impl Patience<'_> {
    /// The answer; `None` where nobody waits for it.
    async fn wait<T>(&mut self, answer: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(answer);
        while !self.is_over {
            tokio::select! {
                answer = &mut answer => return Some(answer),
                Some(interrupt) = self.interrupts.recv() => self.is_over = matches!(interrupt, Interrupt::Asked),
            }
        }
        None
    }
}

async fn next(errands: &mut JoinSet<()>) -> Option<()> {
    errands.join_next().await.map(drop)
}
