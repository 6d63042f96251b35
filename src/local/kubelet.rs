//! The part of the kubelet that matters for order: init containers one after another, native sidecars that are started again
//! when they die, containers together, and the end.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{Pid, setsid};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::container::{Bind, Spec};
use super::errors::{KubeletError, system};
use super::logs::{Message, Stream, follow, follow_if};
use super::namespaces::{self, Rights};
use super::pod::{Container, LocalPod, VolumeKind};
use super::sandbox::{Sandbox, raise_open_files};
use super::sidecars::{Event, Sidecars};
use super::volumes;
use super::watch::watch;
use crate::volume::published::State;

/// How long whoever reads may take for the last words of a pod that is killed. A reader that sleeps must not hold up an end
/// that was asked for twice.
pub const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(1 << 32);

/// Why a run has to end before its plan has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// Somebody asks for it: the first time for an orderly end, the second time for one at once.
    Asked,
    /// Nobody reads any more what the containers say, or can: an orderly end, however often it is said.
    Unread,
}

/// How a pod ended.
#[derive(Debug)]
pub struct End {
    /// The last published state; `None`: the plan never began.
    pub state: Option<State>,
    /// Containers that ended with another code than 0, in the order of their ends.
    pub failed: Vec<(String, i32)>,
    /// The init container that failed, so that nothing after it was started.
    pub init_failed: Option<String>,
    /// It was asked to end before the first container was started.
    pub never_began: bool,
    /// Everything was killed at once, as asked.
    pub killed: bool,
}

/// A pod in namespaces of its own.
pub struct Kubelet {
    pod: LocalPod,
    /// Where everything of the run lies, on the disk.
    directory: PathBuf,
    rights: Rights,
    /// The limit of open files that this process was started with, which is the containers' too.
    open_files: u64,
    sandbox: Sandbox,
    messages: Sender<Message>,
    followers: JoinSet<()>,
    coordinator: Option<Pid>,
    /// The init containers and containers that run.
    running: HashMap<String, Pid>,
    /// Who waits to hear whether this container has failed.
    verdict: Option<(String, oneshot::Sender<bool>)>,
    /// Whoever reads the messages wants to hear of the state, too.
    has_news: bool,
    /// An orderly end was asked for; this is when those who were asked to end are killed.
    pub(super) cancelled: Option<Instant>,
    /// The coordinator, which was dead then, has not been asked yet.
    owes_cancel: bool,
    pub(super) end: End,
}

type Ends = JoinSet<(String, io::Result<ExitStatus>)>;

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
        Ok(Self {
            pod,
            directory: directory.to_owned(),
            rights,
            open_files,
            sandbox,
            messages,
            followers: JoinSet::new(),
            coordinator: None,
            running: HashMap::new(),
            verdict: None,
            has_news: false,
            cancelled: None,
            owes_cancel: false,
            end: End { state: None, failed: Vec::new(), init_failed: None, never_began: false, killed: false },
        })
    }

    /// With which rights the pod runs.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Where the volume with the turns lies.
    #[must_use]
    pub fn turns(&self) -> PathBuf {
        volumes::path(&self.directory, &self.pod.turns)
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
        let news = self.has_news.then(|| tokio::spawn(watch(self.turns(), self.messages.clone())));
        let ran = self.run_all(interrupts).await;
        if let Some(news) = news {
            news.abort();
        }
        let end = self.finish(interrupts).await;
        ran.map(|()| end)
    }

    async fn run_all(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), KubeletError> {
        let mut sidecars = Sidecars::default();
        for container in self.pod.init_containers.clone() {
            if container.is_sidecar {
                self.start_sidecar(&container, &mut sidecars)?;
                continue;
            }
            let mut ends = JoinSet::new();
            self.start_one(&container, &mut ends)?;
            self.see_through(ends, &mut sidecars, interrupts).await?;
            if self.end.failed.iter().any(|(name, _)| *name == container.name) {
                self.end.init_failed = Some(container.name);
            }
            if self.end.init_failed.is_some() || self.cancelled.is_some() {
                break;
            }
        }
        self.end.never_began = self.cancelled.is_some();
        if !self.end.never_began && self.end.init_failed.is_none() {
            if self.pod.restarts {
                for container in self.pod.containers.clone() {
                    self.start_sidecar(&container, &mut sidecars)?;
                }
                self.serve(&mut sidecars, interrupts).await?;
            } else {
                let mut ends = JoinSet::new();
                for container in self.pod.containers.clone() {
                    self.start_one(&container, &mut ends)?;
                }
                self.see_through(ends, &mut sidecars, interrupts).await?;
            }
        }
        if !self.end.killed {
            self.end_sidecars(&mut sidecars, interrupts).await;
        }
        Ok(())
    }

    fn start_one(&mut self, container: &Container, ends: &mut Ends) -> Result<(), KubeletError> {
        let mut child = self.start(container)?;
        if let Some(pid) = pid_of(&child) {
            self.running.insert(container.name.clone(), pid);
        }
        let name = container.name.clone();
        ends.spawn(async move { (name, child.wait().await) });
        Ok(())
    }

    /// Waits until each of them has ended, or everything has to be killed.
    async fn see_through(
        &mut self,
        mut ends: Ends,
        sidecars: &mut Sidecars,
        interrupts: &mut Receiver<Interrupt>,
    ) -> Result<(), KubeletError> {
        while !ends.is_empty() && !self.end.killed {
            tokio::select! {
                Some(Ok((name, status))) = ends.join_next() => self.note_end(name, status),
                event = sidecars.next() => self.handle_sidecar(event, sidecars)?,
                Some(interrupt) = interrupts.recv() => self.handle_interrupt(interrupt),
                () = until(self.cancelled) => self.kill_what_is_left(),
            }
        }
        Ok(())
    }

    pub(super) fn handle_interrupt(&mut self, interrupt: Interrupt) {
        match (self.cancelled, interrupt) {
            (Some(_), Interrupt::Asked) => self.end.killed = true,
            (Some(_), Interrupt::Unread) => {}
            (None, _) => self.cancel(),
        }
    }

    /// An orderly end, as of a pod that is deleted: the coordinator's SIGTERM means what its `preStop` hook would say, and
    /// containers without a turn get their own. What still lives after the grace is killed. Steps get no signal of their own
    /// from here: one that was started just now is not its shim yet, would die of it, and be waited for.
    fn cancel(&mut self) {
        self.cancelled = Some(Instant::now() + Duration::from_secs(self.pod.grace_seconds));
        let mut told = self.signal_all(Signal::SIGTERM);
        match self.coordinator {
            Some(pid) => drop(kill(pid, Signal::SIGTERM)),
            None => self.owes_cancel = true,
        }
        told.sort_unstable();
        let whom = if told.is_empty() { String::new() } else { format!(" SIGTERM to {};", told.join(", ")) };
        let grace = self.pod.grace_seconds;
        self.say(format!(
            "ending the pod within {grace} s:{whom} finally steps still run. Once more kills everything at once"
        ));
    }

    /// To everybody but the coordinator, who ends by itself once nobody is left, and SIGTERM not to those whom it tells to
    /// stop. Returns their names.
    fn signal_all(&self, signal: Signal) -> Vec<String> {
        let comes_back = self.pod.init_containers.iter().any(Container::is_coordinator);
        let has_coordinator = self.coordinator.is_some() || comes_back;
        let is_step = |name: &str| self.pod.containers.iter().any(|known| known.is_step && known.name == name);
        let is_spared = |name: &str| signal == Signal::SIGTERM && has_coordinator && is_step(name);
        let others = self.running.iter().filter(|(_, pid)| Some(**pid) != self.coordinator);
        let others = others.filter(|(name, _)| !is_spared(name));
        others.filter(|(_, pid)| kill(**pid, signal).is_ok()).map(|(name, _)| name.clone()).collect()
    }

    fn kill_what_is_left(&mut self) {
        let mut killed = self.signal_all(Signal::SIGKILL);
        killed.sort_unstable();
        if !killed.is_empty() {
            self.say(format!("the grace is over: SIGKILL to {}", killed.join(", ")));
        }
        self.cancelled = self.cancelled.map(|at| at + FOR_EVER);
    }

    /// Says something, in its place among the lines of the containers. Whoever reads may sleep; this does not wait for it.
    fn say(&mut self, text: String) {
        let messages = self.messages.clone();
        self.followers.spawn(async move { drop(messages.send(Message::Note(text)).await) });
    }

    fn note_end(&mut self, name: String, status: io::Result<ExitStatus>) {
        let code = status.map_or(-1, exit_code);
        let ended = self.running.remove(&name);
        if ended == self.coordinator {
            self.coordinator = None;
        }
        if let Some((_, tell)) = self.verdict.take_if(|(of, _)| *of == name) {
            let _ = tell.send(code != 0);
        }
        if code != 0 {
            self.end.failed.push((name, code));
        }
    }

    /// What is left of the pod ends, and with it what it still has to say.
    async fn finish(mut self, interrupts: &mut Receiver<Interrupt>) -> End {
        self.sandbox.kill();
        self.verdict = None;
        tokio::select! {
            () = async { while self.followers.join_next().await.is_some() {} } => {}
            () = asked(interrupts) => {}
            () = sleep(LAST_WORDS), if self.end.killed => {}
        }
        self.followers.shutdown().await;
        self.sandbox.reap();
        self.end.state = self.state();
        for volume in
            self.pod.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::EmptyDir { in_memory: true, .. }))
        {
            let _ = umount2(&volumes::path(&self.directory, &volume.name), MntFlags::MNT_DETACH);
        }
        self.end
    }

    // --- sidecars ---

    fn start_sidecar(&mut self, container: &Container, sidecars: &mut Sidecars) -> Result<(), KubeletError> {
        let child = self.start(container)?;
        sidecars.started(&container.name, child);
        Ok(())
    }

    pub(super) fn handle_sidecar(&mut self, event: Event, sidecars: &mut Sidecars) -> Result<(), KubeletError> {
        match event {
            Event::Ended(name, pid, status) => {
                if pid == self.coordinator {
                    self.coordinator = None;
                }
                let how = status.map_or(-1, exit_code);
                let is_coordinator = self.pod.init_containers.iter().any(|c| c.name == name && c.is_coordinator());
                // One that was asked to cancel ends with its plan. It is needed for steps that have not come yet.
                if !(how == 0 && is_coordinator && self.cancelled.is_some()) {
                    self.say(format!("{name} ended with {how} and is started again, as a kubelet would"));
                }
                sidecars.plan_restart(name);
                Ok(())
            }
            Event::Due(name) => {
                let mut all = self.pod.init_containers.iter().chain(&self.pod.containers);
                match all.find(|container| container.name == name).cloned() {
                    Some(container) => self.start_sidecar(&container, sidecars),
                    None => Ok(()),
                }
            }
        }
    }

    /// SIGTERM to every sidecar; SIGKILL, when the pod's first process ends, to those that do not mind.
    async fn end_sidecars(&mut self, sidecars: &mut Sidecars, interrupts: &mut Receiver<Interrupt>) {
        sidecars.signal(Signal::SIGTERM);
        tokio::select! {
            () = sidecars.all_ended() => {}
            () = asked(interrupts) => {}
            () = sleep(Duration::from_secs(self.pod.grace_seconds)) => {}
        }
    }

    // --- one container ---

    fn start(&mut self, container: &Container) -> Result<Child, KubeletError> {
        let spec = self.specify(container).map_err(system(&format!("preparing container {}", container.name)))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("container").arg(spec);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: it makes two system calls, which are allowed between fork and exec (signal-safety(7)).
        unsafe { command.pre_exec(stand_apart) };
        let mut child = command.spawn().map_err(system(&format!("starting container {}", container.name)))?;
        if container.is_coordinator() {
            self.coordinator = pid_of(&child);
            if std::mem::take(&mut self.owes_cancel)
                && let Some(pid) = self.coordinator
            {
                let _ = kill(pid, Signal::SIGTERM);
            }
        }
        let (name, out, err) = (|| container.name.clone(), child.stdout.take(), child.stderr.take());
        if container.is_quiet {
            let (tell, failed) = oneshot::channel();
            self.verdict = Some((name(), tell));
            self.followers.spawn(follow_if(failed, name(), err, self.messages.clone()));
            return Ok(child);
        }
        if let Some(out) = out {
            self.followers.spawn(follow(name(), Stream::Out, out, self.messages.clone()));
        }
        if let Some(err) = err {
            self.followers.spawn(follow(name(), Stream::Err, err, self.messages.clone()));
        }
        Ok(child)
    }

    /// Writes down what the container's first process has to know; it is read before its root is changed.
    fn specify(&self, container: &Container) -> io::Result<PathBuf> {
        let place = self.directory.join("containers").join(&container.name);
        let scratch = place.join("scratch");
        fs::create_dir_all(&scratch)?;
        let log = place.join("termination-log");
        if !log.exists() {
            File::create(&log)?.set_permissions(fs::Permissions::from_mode(0o666))?;
        }
        let mut mounts = container
            .mounts
            .iter()
            .map(|mount| volumes::bind(&self.pod.volumes, &self.directory, mount))
            .collect::<io::Result<Vec<_>>>()?;
        mounts.push(Bind { source: log, target: container.termination_log.clone(), read_only: false });
        mounts.sort_by_key(|bind| bind.target.components().count()); // what is mounted inside another comes after it
        let is_root = self.rights == Rights::Root;
        let mut env = container.env.clone();
        if !env.iter().any(|(name, _)| name == "HOME") {
            env.push(("HOME".to_owned(), self.home(container)));
        }
        let spec = Spec {
            scratch,
            hidden: self.directory.clone(),
            open_files: self.open_files,
            mounts,
            program: container.program.clone(),
            env,
            working_dir: container.working_dir.clone(),
            user: container.user.filter(|_| is_root),
            group: container.group.filter(|_| is_root),
        };
        let path = place.join("spec.json");
        File::create(&path)?.write_all(&serde_json::to_vec(&spec)?)?;
        Ok(path)
    }

    /// What a container runtime takes from the image's `/etc/passwd`. Without other users there is one home.
    fn home(&self, container: &Container) -> String {
        let user = nix::unistd::Uid::from_raw(container.user.unwrap_or(0));
        let of = |user| nix::unistd::User::from_uid(user).ok().flatten().map(|user| user.dir.display().to_string());
        match self.rights {
            Rights::Root => of(user).unwrap_or_else(|| "/".to_owned()),
            Rights::OneUser => std::env::var("HOME").unwrap_or_else(|_| "/".to_owned()),
        }
    }
}

/// What a container's process does before anything else. A session of its own: a Ctrl-C on the terminal is for podturn alone,
/// which passes it on as it should be. And no signal is taken before the container's first process can mind it, so that none
/// is lost; `container::enter` opens itself to them.
fn stand_apart() -> io::Result<()> {
    setsid()?;
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
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

pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

pub(super) fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
