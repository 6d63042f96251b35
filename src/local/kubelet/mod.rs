//! The part of the kubelet that matters for order: init containers one after another, native sidecars beside them, containers
//! created one after another, what is started again, and the end.
//!
//! ```text
//! run ─> play: init containers, sidecars, containers ─> all have ended ─┐
//!          ^                                                            ├─> the sidecars go down ─> End
//!          └── RestartAllContainers      Ctrl-C, activeDeadlineSeconds ─┘
//! ```
//!
//! Everything that happens comes to `attend`, which goes on until what it waits for is so.
//!
//! Belongs here: the way up, and the end. Does not belong here: what happens in one container (`life`), and the way down (`down`).

mod down;

use std::collections::HashMap;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use down::Down;
pub use down::on_its_way_down;
use nix::mount::{MntFlags, umount2};
use podturn_turn::Event;
use tokio::sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::errors::{KubeletError, system};
use super::life::{Event as LifeEvent, Life, Stop, What};
use super::logs::Message;
use super::namespaces::{self, Rights};
use super::pod::{AfterEnd, Container, LocalPod, VolumeKind};
use super::runtime::Runtime;
use super::sandbox::{Sandbox, raise_open_files};
use super::volumes;
use super::watch::watch;
use crate::volume::published::State;
use crate::volume::usage::{self, Sample};
use crate::volume::{Journal, Run, Volume};

/// How long whoever reads may take for the last words of a pod that is killed. A reader that sleeps must not hold up an end
/// that was asked for twice.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// The first restart comes at once, the second after this, and each further one after twice as long: a kubelet begins with 10 s,
/// and nobody would wait so long on their own machine.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Why a run has to end before its plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Somebody asks for it: the first time for an orderly end, the second time for one at once.
    Asked,
    /// Nobody reads any more what the containers say, or can: an orderly end, however often it is said.
    Unread,
}

/// How a pod ended.
#[derive(Debug, Default)]
pub struct End {
    /// The last published state; `None`: the plan never began.
    pub state: Option<State>,
    /// What the volume held of the run when everything had ended: its stamp, its journal, and what attempts used.
    pub journal: Option<(Run, Vec<Event>, Vec<Sample>)>,
    /// Containers that ended for good with another code than 0, in the order of their ends.
    pub failed: Vec<(String, i32)>,
    /// The init container that failed, so that nothing after it was started.
    pub init_failed: Option<String>,
    /// It was asked to end before the first container was started.
    pub never_began: bool,
    /// It was asked to end.
    pub cancelled: bool,
    /// It took longer than this many seconds (`activeDeadlineSeconds`).
    pub deadline_exceeded: Option<u64>,
    /// Everything was killed at once, as asked.
    pub killed: bool,
}

/// A pod in namespaces of its own.
pub struct Kubelet {
    pod: LocalPod,
    runtime: Arc<Runtime>,
    sandbox: Sandbox,
    /// Whoever reads the messages wants to hear of the state, too.
    has_news: bool,
    lives: JoinSet<()>,
    tell: UnboundedSender<LifeEvent>,
    events: UnboundedReceiver<LifeEvent>,
    /// Those that are started again when this is over.
    due: JoinSet<String>,
    standing: HashMap<String, Standing>,
    /// When the pod has been active for too long.
    active_until: Option<Instant>,
    down: Option<Down>,
    /// This container's end starts all of them again.
    all_again: Option<String>,
    /// The pod's end is there, and nobody wants to wait for the sidecars.
    is_hurried: bool,
    end: End,
}

/// How a container stands.
#[derive(Default)]
struct Standing {
    /// Where its order to stop goes, while it lives.
    orders: Option<UnboundedSender<Stop>>,
    /// It runs, or ran, and the one after it may be created.
    is_created: bool,
    /// It has started.
    is_started: bool,
    /// It has ended for good.
    is_over: bool,
    /// How often it was started again.
    restarts: u32,
}

impl Kubelet {
    /// Takes this process into the pod's namespaces and makes its volumes in `directory`, which is empty. To be called
    /// before this process has a second thread, and outside of any runtime. `keep`: what is in the volumes has to outlive
    /// this process, so none of them is in memory.
    ///
    /// # Errors
    /// A [`KubeletError`]. Nothing was started.
    pub fn new(
        mut pod: LocalPod,
        directory: &Path,
        messages: Sender<Message>,
        keep: bool,
    ) -> Result<Self, KubeletError> {
        volumes::prepare(&mut pod, keep)?;
        let open_files = raise_open_files().map_err(system("raising the limit of open files"))?;
        let rights = namespaces::enter(&pod.name)?;
        volumes::make(&pod, directory)?;
        namespaces::enclose_children()?;
        let sandbox = Sandbox::start().map_err(system("starting the pod's first process"))?;
        let runtime = Runtime {
            volumes: pod.volumes.clone(),
            directory: directory.to_owned(),
            rights,
            open_files,
            messages,
            talk: Mutex::default(),
        };
        let (tell, events) = mpsc::unbounded_channel();
        Ok(Self {
            pod,
            runtime: Arc::new(runtime),
            sandbox,
            has_news: false,
            lives: JoinSet::new(),
            tell,
            events,
            due: JoinSet::new(),
            standing: HashMap::new(),
            active_until: None,
            down: None,
            all_again: None,
            is_hurried: false,
            end: End::default(),
        })
    }

    /// With which rights the pod runs.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.runtime.rights
    }

    /// Where the volume with the turns lies.
    #[must_use]
    pub fn turns(&self) -> PathBuf {
        volumes::path(&self.runtime.directory, &self.pod.turns)
    }

    /// Tells of each new state among the messages.
    pub const fn tell_state(&mut self) {
        self.has_news = true;
    }

    /// Runs the pod to its end, whatever happens to it.
    ///
    /// # Errors
    /// When a process cannot be started at all. Nothing is left running then either.
    pub async fn run(mut self, interrupts: &mut Receiver<Interrupt>) -> Result<End, KubeletError> {
        let news = self.has_news.then(|| tokio::spawn(watch(self.turns(), self.runtime.messages.clone())));
        self.active_until = self.pod.active_deadline_seconds.map(|limit| Instant::now() + Duration::from_secs(limit));
        let ran = self.run_all(interrupts).await;
        if let Some(news) = news {
            news.abort();
        }
        let end = self.finish(interrupts).await;
        ran.map(|()| end)
    }

    async fn run_all(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), KubeletError> {
        loop {
            self.play(interrupts).await?;
            let again = self.all_again.take().filter(|_| self.down.is_none());
            self.go_down(again.is_none());
            self.attend(interrupts, |kubelet| kubelet.lives.is_empty()).await?;
            if again.is_none() || self.end.cancelled || self.end.deadline_exceeded.is_some() || self.end.killed {
                return Ok(());
            }
            (self.down, self.standing) = (None, HashMap::new());
            self.end.failed.clear();
        }
    }

    /// Starts one after the other, and waits until all of the pod's containers have ended.
    async fn play(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), KubeletError> {
        for container in self.pod.init_containers.clone() {
            self.start(&container)?;
            let is_done = |standing: &Standing| {
                if container.is_sidecar { standing.is_started } else { standing.is_over }
            };
            self.attend(interrupts, |kubelet| kubelet.leaves() || is_done(&kubelet.standing[&container.name])).await?;
            self.end.never_began = self.end.cancelled;
            if !container.is_sidecar && self.end.failed.iter().any(|(name, _)| *name == container.name) {
                self.end.init_failed = Some(container.name);
            }
            if self.leaves() || self.end.init_failed.is_some() {
                return Ok(());
            }
        }
        for container in self.pod.containers.clone() {
            self.start(&container)?;
            let is_done = |standing: &Standing| standing.is_created || standing.is_over;
            self.attend(interrupts, |kubelet| kubelet.leaves() || is_done(&kubelet.standing[&container.name])).await?;
            if self.leaves() {
                return Ok(());
            }
        }
        self.attend(interrupts, |kubelet| {
            let is_over = |container: &Container| kubelet.standing[&container.name].is_over;
            kubelet.leaves() || kubelet.pod.containers.iter().all(is_over)
        })
        .await
    }

    /// Nothing new is started.
    fn leaves(&self) -> bool {
        self.down.is_some() || self.all_again.is_some()
    }

    /// Takes what comes, until it is so, or until everything has to be killed.
    async fn attend(
        &mut self,
        interrupts: &mut Receiver<Interrupt>,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), KubeletError> {
        while !(is_so(self) || self.end.killed || self.is_hurried) {
            let orders_at = self.down.as_ref().and_then(|down| down.orders_at);
            let active_until = self.active_until.filter(|_| self.down.is_none());
            tokio::select! {
                biased; // a life tells of its end before it is over
                Some(event) = self.events.recv() => self.handle(event),
                Some(_) = self.lives.join_next() => {}
                Some(Ok(name)) = self.due.join_next() => self.start_again(&name)?,
                Some(interrupt) = interrupts.recv() => self.handle_interrupt(interrupt),
                () = until(orders_at) => self.order_containers(),
                () = until(active_until) => self.exceed(),
            }
        }
        Ok(())
    }

    // --- lives ---

    fn start(&mut self, container: &Container) -> Result<(), KubeletError> {
        let started = self.runtime.start(container)?;
        let (orders, received) = mpsc::unbounded_channel();
        let standing = self.standing.entry(container.name.clone()).or_default();
        standing.orders = Some(orders);
        let life = Life {
            runtime: Arc::clone(&self.runtime),
            container: Arc::new(container.clone()),
            pid: started.pid,
            grace: Duration::from_secs(self.pod.grace_seconds),
            events: self.tell.clone(),
        };
        self.lives.spawn(life.live(started, received));
        Ok(())
    }

    fn start_again(&mut self, name: &str) -> Result<(), KubeletError> {
        match self.container(name).cloned() {
            Some(container) if self.down.is_none() => self.start(&container),
            _ => Ok(()),
        }
    }

    fn container(&self, name: &str) -> Option<&Container> {
        self.pod.init_containers.iter().chain(&self.pod.containers).find(|container| container.name == name)
    }

    fn handle(&mut self, event: LifeEvent) {
        let LifeEvent { name, what } = event;
        let standing = self.standing.entry(name.clone()).or_default();
        match what {
            What::Created => standing.is_created = true,
            What::Started => standing.is_started = true,
            What::PreStopped => self.note_hook(&name),
            What::Ended(code) => {
                standing.orders = None;
                self.note_end(name, code);
            }
        }
    }

    /// What follows from a container's end.
    fn note_end(&mut self, name: String, code: i32) {
        let Some(container) = self.container(&name) else { return };
        let is_sidecar = container.is_sidecar;
        let after = container.restarts.after(code);
        let is_going_down = self.down.is_some();
        match after {
            AfterEnd::Over => {
                if let Some(standing) = self.standing.get_mut(&name) {
                    standing.is_over = true;
                }
                if code != 0 && !is_sidecar {
                    self.end.failed.push((name.clone(), code));
                }
            }
            AfterEnd::Again if !is_going_down => {
                self.runtime.say(format!("{name} ended with {code} and is started again, as a kubelet would"));
                self.plan_restart(name.clone());
            }
            AfterEnd::AllAgain if !is_going_down && self.all_again.is_none() => {
                self.runtime
                    .say(format!("{name} ended with {code}: all containers are started again, as a kubelet would"));
                self.all_again = Some(name.clone());
            }
            AfterEnd::Again | AfterEnd::AllAgain => {}
        }
        self.note_hook(&name);
        self.give_turns();
    }

    fn plan_restart(&mut self, name: String) {
        let standing = self.standing.entry(name.clone()).or_default();
        let pause = match standing.restarts {
            0 => Duration::ZERO,
            times => RESTART_PAUSE.saturating_mul(1 << (times - 1).min(16)).min(LONGEST_PAUSE),
        };
        standing.restarts += 1;
        self.due.spawn(async move {
            sleep(pause).await;
            name
        });
    }

    // --- the end ---

    /// What is left of the pod ends, and with it what it still has to say.
    async fn finish(mut self, interrupts: &mut Receiver<Interrupt>) -> End {
        self.sandbox.kill();
        self.lives.shutdown().await;
        let mut talk = mem::take(&mut *self.runtime.talk.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::select! {
            () = async { while talk.join_next().await.is_some() {} } => {}
            () = asked(interrupts) => {}
            () = sleep(LAST_WORDS), if self.end.killed => {}
        }
        talk.shutdown().await;
        self.sandbox.reap();
        self.end.state = self.state();
        self.end.journal = self.journal();
        for volume in
            self.pod.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::EmptyDir { in_memory: true, .. }))
        {
            let _ = umount2(&volumes::path(&self.runtime.directory, &volume.name), MntFlags::MNT_DETACH);
        }
        self.end
    }

    /// What the run was, for whoever tells it.
    fn journal(&self) -> Option<(Run, Vec<Event>, Vec<Sample>)> {
        let volume = Volume::open(&self.turns()).ok()?;
        Some((volume.read_run().ok()??, Journal::read(&volume).ok()?, usage::read(&volume)))
    }

    /// What the coordinator has published last.
    fn state(&self) -> Option<State> {
        let bytes = fs::read(self.turns().join(podturn_wire::names::STATE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }
}

/// Somebody asks for the end.
async fn asked(interrupts: &mut Receiver<Interrupt>) {
    while let Some(interrupt) = interrupts.recv().await {
        if interrupt == Interrupt::Asked {
            return;
        }
    }
    std::future::pending().await
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
