//! The part of the kubelet that matters for order: init containers one after another, native sidecars that are started again
//! when they die, containers together, and the end.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;

use super::container::{Bind, Spec};
use super::logs::{Message, Stream, follow};
use super::mounts::{self, MountError, Stage};
use super::namespaces::{self, NamespaceError, Rights};
use super::pod::{Container, LocalPod, Mount, VolumeKind};
use crate::volume::published::State;

/// How long a sidecar that died again waits before its next start: a kubelet begins with 10 s, and nobody would wait so long
/// on their own machine.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Why a pod could not be run.
#[derive(Debug)]
pub enum KubeletError {
    /// This machine does not allow it.
    Namespaces(NamespaceError),
    /// A mount failed.
    Mount(MountError),
    /// Another system call failed.
    System(String, io::Error),
    /// A volume's path of this machine is not there.
    NoHostPath(String, PathBuf),
}

impl std::fmt::Display for KubeletError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespaces(error) => error.fmt(f),
            Self::Mount(error) => error.fmt(f),
            Self::System(what, error) => write!(f, "{what}: {error}"),
            Self::NoHostPath(volume, path) => write!(f, "volume {volume}: this machine has no {}", path.display()),
        }
    }
}

impl std::error::Error for KubeletError {}

impl From<NamespaceError> for KubeletError {
    fn from(error: NamespaceError) -> Self {
        Self::Namespaces(error)
    }
}

impl From<MountError> for KubeletError {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

fn system(what: &str) -> impl FnOnce(io::Error) -> KubeletError {
    let what = what.to_owned();
    move |error| KubeletError::System(what, error)
}

/// How a pod ended.
#[derive(Debug)]
pub struct End {
    /// The last published state; `None`: the plan never began.
    pub state: Option<State>,
    /// Containers that ended with another code than 0, in the order of their ends.
    pub failed: Vec<(String, i32)>,
    /// An init container failed, so nothing else was started.
    pub init_failed: bool,
    /// Everything was killed at once, as asked.
    pub killed: bool,
}

/// A pod in namespaces of its own.
pub struct Kubelet {
    pod: LocalPod,
    /// Where everything of the run lies, on the disk.
    directory: PathBuf,
    rights: Rights,
    /// The process that holds the pod's process namespace: its end is the end of all of them.
    pause: Pid,
    /// Its end is the end of that process.
    _leash: OwnedFd,
    messages: Sender<Message>,
    followers: JoinSet<()>,
    coordinator: Option<Pid>,
    failed: Vec<(String, i32)>,
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
        for volume in &mut pod.volumes {
            match &mut volume.kind {
                VolumeKind::HostPath(path) if !path.exists() => {
                    return Err(KubeletError::NoHostPath(volume.name.clone(), path.clone()));
                }
                VolumeKind::EmptyDir { in_memory, .. } if keep => *in_memory = false,
                VolumeKind::HostPath(_) | VolumeKind::EmptyDir { .. } => {}
            }
        }
        let rights = namespaces::enter(&pod.name)?;
        make_volumes(&pod, directory)?;
        namespaces::enclose_children()?;
        let (pause, leash) = start_pause().map_err(system("starting the pod's first process"))?;
        Ok(Self {
            pod,
            directory: directory.to_owned(),
            rights,
            pause,
            _leash: leash,
            messages,
            followers: JoinSet::new(),
            coordinator: None,
            failed: Vec::new(),
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
        volume_path(&self.directory, &self.pod.turns)
    }

    /// Runs the pod to its end. Each message on `interrupts` is a Ctrl-C: the first one cancels the plan, the second one
    /// kills everything.
    ///
    /// # Errors
    /// When a process cannot be started at all.
    pub async fn run(mut self, mut interrupts: Receiver<()>) -> Result<End, KubeletError> {
        let mut sidecars = Sidecars::default();
        let (mut init_failed, mut killed) = (false, false);
        for container in self.pod.init_containers.clone() {
            if container.is_sidecar {
                self.start_sidecar(&container, &mut sidecars)?;
                continue;
            }
            let child = self.start(&container)?;
            (init_failed, killed) = self.see_init_through(&container, child, &mut interrupts).await;
            if init_failed || killed {
                break;
            }
        }
        if !init_failed && !killed {
            killed = self.run_containers(&mut sidecars, &mut interrupts).await?;
        }
        if !killed {
            self.end_sidecars(&mut sidecars, &mut interrupts).await;
        }
        Ok(self.finish(init_failed, killed).await)
    }

    async fn see_init_through(
        &mut self,
        container: &Container,
        mut child: Child,
        interrupts: &mut Receiver<()>,
    ) -> (bool, bool) {
        tokio::select! {
            status = child.wait() => (self.note_end(&container.name, status) != 0, false),
            _ = interrupts.recv() => (false, true),
        }
    }

    /// Starts all containers and waits until each has ended. Returns whether it was interrupted twice.
    async fn run_containers(
        &mut self,
        sidecars: &mut Sidecars,
        interrupts: &mut Receiver<()>,
    ) -> Result<bool, KubeletError> {
        let mut running = JoinSet::new();
        for container in self.pod.containers.clone() {
            let mut child = self.start(&container)?;
            if container.is_coordinator() {
                self.coordinator = pid_of(&child);
            }
            running.spawn(async move { (container.name, child.wait().await) });
        }
        let mut cancelled = false;
        while !running.is_empty() {
            tokio::select! {
                Some(Ok((name, status))) = running.join_next() => { self.note_end(&name, status); }
                Some(ended) = sidecars.next_end() => self.restart_sidecar(sidecars, ended).await?,
                Some(()) = interrupts.recv() => {
                    if cancelled || !self.cancel().await {
                        return Ok(true);
                    }
                    cancelled = true;
                }
            }
        }
        Ok(false)
    }

    /// Asks the coordinator to cancel. `false`: there is none to ask.
    async fn cancel(&mut self) -> bool {
        let asked = self.coordinator.is_some_and(|pid| kill(pid, Signal::SIGTERM).is_ok());
        if asked {
            let text = "cancelling; finally steps still run. Once more kills everything at once".to_owned();
            let _ = self.messages.send(Message::Note(text)).await;
        }
        asked
    }

    fn note_end(&mut self, name: &str, status: io::Result<ExitStatus>) -> i32 {
        let code = status.map_or(-1, exit_code);
        if code != 0 {
            self.failed.push((name.to_owned(), code));
        }
        code
    }

    /// What is left of the pod ends, and with it what it still has to say.
    async fn finish(mut self, init_failed: bool, killed: bool) -> End {
        let _ = kill(self.pause, Signal::SIGKILL);
        while self.followers.join_next().await.is_some() {}
        self.reap();
        let state = fs::read(self.turns().join(podturn_wire::names::STATE)).ok();
        let state = state.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        for volume in
            self.pod.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::EmptyDir { in_memory: true, .. }))
        {
            let _ = umount2(&volume_path(&self.directory, &volume.name), MntFlags::MNT_DETACH);
        }
        End { state, failed: self.failed, init_failed, killed }
    }

    /// Takes the ends of all that was not waited for: the pod's first process ends only after every other one of the pod
    /// was reaped, and those that it did not start itself are children of this process (pid_namespaces(7)).
    fn reap(&self) {
        while let Ok(status) = wait() {
            if status.pid() == Some(self.pause) {
                return;
            }
        }
    }

    // --- sidecars ---

    fn start_sidecar(&mut self, container: &Container, sidecars: &mut Sidecars) -> Result<(), KubeletError> {
        let mut child = self.start(container)?;
        let pid = pid_of(&child);
        if container.is_coordinator() {
            self.coordinator = pid;
        }
        sidecars.pids.extend(pid.map(|pid| (container.name.clone(), pid)));
        let name = container.name.clone();
        sidecars.running.spawn(async move { (name, child.wait().await) });
        Ok(())
    }

    async fn restart_sidecar(
        &mut self,
        sidecars: &mut Sidecars,
        (name, status): (String, io::Result<ExitStatus>),
    ) -> Result<(), KubeletError> {
        sidecars.pids.remove(&name);
        let how = status.map_or(-1, exit_code);
        let text = format!("{name} ended with {how} and is started again, as a kubelet would");
        let _ = self.messages.send(Message::Note(text)).await;
        let starts = sidecars.restarts.entry(name.clone()).or_default();
        *starts += 1;
        if *starts > 1 {
            tokio::time::sleep(RESTART_PAUSE).await;
        }
        match self.pod.init_containers.iter().find(|container| container.name == name).cloned() {
            Some(container) => self.start_sidecar(&container, sidecars),
            None => Ok(()),
        }
    }

    /// SIGTERM to every sidecar; SIGKILL, when the pod's first process ends, to those that do not mind.
    async fn end_sidecars(&mut self, sidecars: &mut Sidecars, interrupts: &mut Receiver<()>) {
        for pid in sidecars.pids.values() {
            let _ = kill(*pid, Signal::SIGTERM);
        }
        let grace = tokio::time::sleep(Duration::from_secs(self.pod.grace_seconds));
        tokio::pin!(grace);
        loop {
            tokio::select! {
                ended = sidecars.running.join_next() => if ended.is_none() { return },
                _ = interrupts.recv() => return,
                () = &mut grace => return,
            }
        }
    }

    // --- one container ---

    fn start(&mut self, container: &Container) -> Result<Child, KubeletError> {
        let spec = self.specify(container).map_err(system(&format!("preparing container {}", container.name)))?;
        let mut command = Command::new("/proc/self/exe");
        command.arg("container").arg(spec);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(system(&format!("starting container {}", container.name)))?;
        let name = || container.name.clone();
        if let Some(out) = child.stdout.take() {
            self.followers.spawn(follow(name(), Stream::Out, out, self.messages.clone()));
        }
        if let Some(err) = child.stderr.take() {
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
        let mut mounts = container.mounts.iter().map(|mount| self.bind(mount)).collect::<io::Result<Vec<_>>>()?;
        mounts.push(Bind { source: log, target: container.termination_log.clone(), read_only: false });
        mounts.sort_by_key(|bind| bind.target.components().count()); // what is mounted inside another comes after it
        let is_root = self.rights == Rights::Root;
        let mut env = container.env.clone();
        if !env.iter().any(|(name, _)| name == "HOME") {
            env.push(("HOME".to_owned(), self.home(container)));
        }
        let spec = Spec {
            scratch,
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

    fn bind(&self, mount: &Mount) -> io::Result<Bind> {
        let host_path =
            self.pod.volumes.iter().find(|volume| volume.name == mount.volume).and_then(|volume| match &volume.kind {
                VolumeKind::HostPath(path) => Some(path.clone()),
                VolumeKind::EmptyDir { .. } => None,
            });
        let whole = host_path.unwrap_or_else(|| volume_path(&self.directory, &mount.volume));
        let source = if mount.sub_path.as_os_str().is_empty() {
            whole
        } else {
            // A link inside the volume must not lead out of it.
            let root = File::open(&whole)?;
            let part = mounts::open_or_make(root.as_fd(), &mount.sub_path, mounts::Shape::Directory, 0o777)?;
            fs::read_link(mounts::path_of(&part))?
        };
        Ok(Bind { source, target: mount.path.clone(), read_only: mount.read_only })
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

/// Native sidecars under way.
#[derive(Default)]
struct Sidecars {
    running: JoinSet<(String, io::Result<ExitStatus>)>,
    pids: HashMap<String, Pid>,
    restarts: HashMap<String, u32>,
}

impl Sidecars {
    async fn next_end(&mut self) -> Option<(String, io::Result<ExitStatus>)> {
        self.running.join_next().await?.ok()
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

fn volume_path(directory: &Path, volume: &str) -> PathBuf {
    directory.join("volumes").join(volume)
}

fn make_volumes(pod: &LocalPod, directory: &Path) -> Result<(), KubeletError> {
    for volume in &pod.volumes {
        let VolumeKind::EmptyDir { in_memory, size } = volume.kind else { continue };
        let path = volume_path(directory, &volume.name);
        let stage = || format!("making volume {}", volume.name);
        fs::create_dir_all(&path).stage(stage)?;
        if in_memory {
            mounts::tmpfs(&path, 0o777, size).stage(stage)?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).stage(stage)?;
    }
    Ok(())
}

/// Starts the first process of the pod's process namespace. It does nothing but take the ends of orphans; when it ends, or
/// when this process does, the kernel kills every process of the pod (pid_namespaces(7)).
fn start_pause() -> io::Result<(Pid, OwnedFd)> {
    let (end, leash) = pipe2(OFlag::O_CLOEXEC)?; // no container may hold it
    // SAFETY: this process has one thread (the namespaces demanded that), so its child may do whatever it could.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok((child, leash)),
        ForkResult::Child => {
            drop(leash);
            pause(&end)
        }
    }
}

fn pause(leash: &OwnedFd) -> ! {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
    // The kernel itself takes the ends of children whose parent ignores them (sigaction(2)).
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::SA_NOCLDWAIT, SigSet::empty());
    // SAFETY: no handler is installed.
    let _ = unsafe { sigaction(Signal::SIGCHLD, &ignore) };
    loop {
        let mut wait = [PollFd::new(leash.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::NONE).is_ok_and(|ready| ready > 0) {
            // SAFETY: _exit(2) runs nothing of the parent's that this copy of it has.
            unsafe { nix::libc::_exit(0) };
        }
    }
}
