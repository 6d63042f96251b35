//! What a container runtime does for a kubelet: it starts a container, and runs a command in one.
//!
//! Belongs here: processes of the pod, and what they say. Does not belong here: when something is started or ended (`kubelet`,
//! `life`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg, sigprocmask};
use nix::unistd::{Pid, pipe2, setsid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::container::{Bind, Place, Spec};
use super::errors::{KubeletError, system};
use super::logs::{Message, Stream, follow, follow_if};
use super::namespaces::Rights;
use super::pod::{Container, Program, Volume};
use super::volumes;

/// The pod's runtime.
pub(super) struct Runtime {
    pub(super) volumes: Vec<Volume>,
    /// Where everything of the run lies, on the disk.
    pub(super) directory: PathBuf,
    pub(super) rights: Rights,
    /// The limit of open files that this process was started with, which is the containers' too.
    pub(super) open_files: u64,
    pub(super) messages: Sender<Message>,
    /// What passes on what containers say; each ends with what it listens to.
    pub(super) talk: Mutex<JoinSet<()>>,
}

/// A container that was started.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) pid: Pid,
    pub(super) entered: Entered,
    /// Who waits to hear whether it has failed.
    pub(super) verdict: Option<oneshot::Sender<bool>>,
}

/// Tells that the first process of a container has become its command: until then it has no root of its own, and takes no signal.
/// It holds the other end of this pipe, which is closed on exec.
pub(super) struct Entered(pipe::Receiver);

impl Entered {
    /// Waits for it, or for its end. Nothing is lost if this is dropped.
    pub(super) async fn wait(&mut self) {
        let _ = self.0.read(&mut [0]).await;
    }
}

impl Runtime {
    /// Says something, in its place among the lines of the containers. Whoever reads may sleep; this does not wait for it.
    pub(super) fn say(&self, text: String) {
        let messages = self.messages.clone();
        self.spawn(async move { drop(messages.send(Message::Note(text)).await) });
    }

    fn spawn(&self, talk: impl Future<Output = ()> + Send + 'static) {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner).spawn(talk);
    }

    /// Starts a container.
    pub(super) fn start(&self, container: &Container) -> Result<Started, KubeletError> {
        let starting = || format!("starting container {}", container.name);
        let spec = self.specify(container).map_err(system(&format!("preparing container {}", container.name)))?;
        let (ours, theirs) =
            pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(io::Error::from).map_err(system(&starting()))?;
        let entered = pipe::Receiver::from_owned_fd(ours).map_err(system(&starting()))?;
        let mut child = self.spawn_in_pod(&spec, Some(theirs)).map_err(system(&starting()))?;
        let pid = pid_of(&child).ok_or(io::ErrorKind::NotFound.into()).map_err(system(&starting()))?;
        let verdict = self.listen(container, &mut child);
        Ok(Started { child, pid, entered: Entered(entered), verdict })
    }

    /// Passes on what it says; of a quiet one only if it fails.
    fn listen(&self, container: &Container, child: &mut Child) -> Option<oneshot::Sender<bool>> {
        let (name, out, err) = (|| container.name.clone(), child.stdout.take(), child.stderr.take());
        if container.is_quiet {
            let (tell, failed) = oneshot::channel();
            self.spawn(follow_if(failed, name(), err, self.messages.clone()));
            return Some(tell);
        }
        if let Some(out) = out {
            self.spawn(follow(name(), Stream::Out, out, self.messages.clone()));
        }
        if let Some(err) = err {
            self.spawn(follow(name(), Stream::Err, err, self.messages.clone()));
        }
        None
    }

    /// Starts a command in a container that runs, with its environment, user and directory.
    pub(super) fn exec(&self, container: &Container, pid: Pid, program: &Program) -> io::Result<Execution> {
        let place = Place::Of(format!("/proc/{pid}/ns/mnt").into());
        let spec = Spec { place, program: program.clone(), ..self.spec(container, Vec::new()) };
        let path = self.place_of(container).join("exec.json");
        // Two commands may be started at once, each with a file of its own: it is read only once, some time later.
        let path = (0_u32..).map(|number| path.with_extension(format!("{number}.json"))).find(|path| !path.exists());
        let path = path.unwrap_or_default();
        File::create(&path)?.write_all(&serde_json::to_vec(&spec)?)?;
        let child = self.spawn_in_pod(&path, None)?;
        let group = pid_of(&child);
        Ok(Execution { child, group, spec: path })
    }

    /// Starts a process of the pod, which becomes what the file says.
    fn spawn_in_pod(&self, spec: &Path, held: Option<OwnedFd>) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("container").arg(spec);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let kept = held.as_ref().map(AsRawFd::as_raw_fd);
        // SAFETY: it makes system calls that are allowed between fork and exec (signal-safety(7)).
        unsafe { command.pre_exec(move || stand_apart(kept)) };
        command.spawn()
    }

    // --- what a process has to know ---

    fn place_of(&self, container: &Container) -> PathBuf {
        self.directory.join("containers").join(&container.name)
    }

    /// Writes down what the container's first process has to know; it is read before its root is changed.
    fn specify(&self, container: &Container) -> io::Result<PathBuf> {
        let place = self.place_of(container);
        fs::create_dir_all(place.join("scratch"))?;
        let log = place.join("termination-log");
        if !log.exists() {
            File::create(&log)?.set_permissions(fs::Permissions::from_mode(0o666))?;
        }
        let bind = |mount| volumes::bind(&self.volumes, &self.directory, mount);
        let mut mounts = container.mounts.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        mounts.push(Bind { source: log, target: container.termination_log.clone(), read_only: false });
        mounts.sort_by_key(|bind| bind.target.components().count()); // what is mounted inside another comes after it
        let path = place.join("spec.json");
        File::create(&path)?.write_all(&serde_json::to_vec(&self.spec(container, mounts))?)?;
        Ok(path)
    }

    fn spec(&self, container: &Container, mounts: Vec<Bind>) -> Spec {
        let is_root = self.rights == Rights::Root;
        let mut env = container.env.clone();
        if !env.iter().any(|(name, _)| name == "HOME") {
            env.push(("HOME".to_owned(), self.home(container)));
        }
        Spec {
            place: Place::New {
                scratch: self.place_of(container).join("scratch"),
                hidden: self.directory.clone(),
                mounts,
            },
            open_files: self.open_files,
            program: container.program.clone(),
            env,
            working_dir: container.working_dir.clone(),
            user: container.user.filter(|_| is_root),
            group: container.group.filter(|_| is_root),
        }
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

/// A command that runs in a container. What is left of it ends when this is dropped.
pub(super) struct Execution {
    pub(super) child: Child,
    group: Option<Pid>,
    spec: PathBuf,
}

impl Drop for Execution {
    fn drop(&mut self) {
        // Once its first process was waited for, the number may belong to others.
        if self.child.id().is_some()
            && let Some(group) = self.group
        {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = fs::remove_file(&self.spec);
    }
}

/// What a process of the pod does before anything else. A session of its own: a Ctrl-C on the terminal is for podturn alone,
/// which passes it on as it should be. No signal is taken before the container's first process can mind it, so that none
/// is lost; `container::enter` opens itself to them. And it keeps a file open until it becomes its command.
fn stand_apart(kept: Option<i32>) -> io::Result<()> {
    setsid()?;
    if let Some(kept) = kept {
        // SAFETY: a plain system call on a number, which is open: the parent holds it until this process has begun.
        unsafe { libc::fcntl(kept, libc::F_SETFD, 0) };
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None)?)
}

pub(super) fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
}

/// As a shell says it: 128 + n for a death by signal n.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
