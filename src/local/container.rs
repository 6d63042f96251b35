//! The beginning of a container: from a process of the pod to the command in its own root; and of a command in a container that
//! runs already. It runs in a process of its own, which becomes the command.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{Gid, Uid, chdir, execve, fexecve, setgid, setgroups, setuid};
use serde::{Deserialize, Serialize};

use super::mounts::{MountError, Stage};
use super::pod::Program;
use super::root::{self, Root};

/// Everything a container's first process has to know; its paths are those of the pod's mount namespace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The root that it runs in.
    pub place: Place,
    /// How many files a process may have open unless it asks for more: podturn itself needs many.
    pub open_files: u64,
    /// What to run.
    pub program: Program,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Where to start. It is made if it is missing.
    pub working_dir: PathBuf,
    /// User and group to become.
    pub user: Option<u32>,
    /// Group to become; without it that of the user.
    pub group: Option<u32>,
}

/// A container's root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Place {
    /// One of its own.
    New {
        /// An empty directory to build it on.
        scratch: PathBuf,
        /// The directory of the run, which holds the volumes and more of every container: nothing of it is seen in the root.
        hidden: PathBuf,
        /// What is mounted in it, in this order.
        mounts: Vec<Bind>,
    },
    /// That of a container that runs: the file of its mount namespace.
    Of(PathBuf),
}

/// A path that is seen in the container at another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// Where it is.
    pub source: PathBuf,
    /// Where the container sees it.
    pub target: PathBuf,
    /// Whether it can only be read there.
    pub read_only: bool,
}

/// Why a container could not be started.
#[derive(Debug)]
pub enum EnterError {
    /// Its specification cannot be read.
    Spec(std::io::Error),
    /// A mount, or another step on the way into the root.
    Mount(MountError),
    /// Its command cannot be executed.
    Exec(String, Errno),
}

impl std::fmt::Display for EnterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec(error) => write!(f, "the container's specification: {error}"),
            Self::Mount(error) => error.fmt(f),
            Self::Exec(command, Errno::ENOENT) => write!(f, "this machine has no program {command:?}"),
            Self::Exec(command, errno) => write!(f, "{command:?} cannot be executed: {}", errno.desc()),
        }
    }
}

impl std::error::Error for EnterError {}

impl From<MountError> for EnterError {
    fn from(error: MountError) -> Self {
        Self::Mount(error)
    }
}

/// Makes this process the container that the file specifies. Only comes back with what went wrong.
#[must_use]
pub fn enter(spec: &Path) -> EnterError {
    match try_enter(spec) {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

fn try_enter(spec: &Path) -> Result<std::convert::Infallible, EnterError> {
    let spec: Spec = std::fs::read(spec)
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(std::io::Error::from))
        .map_err(EnterError::Spec)?;
    let own: OwnedFd = File::open("/proc/self/exe").map_err(EnterError::Spec)?.into();
    match &spec.place {
        Place::New { scratch, hidden, mounts } => {
            unshare(CloneFlags::CLONE_NEWNS).stage(|| "making a mount namespace".to_owned())?;
            let root = Root::build(scratch, hidden)?;
            root.make_room(mounts.iter().map(|bind| bind.target.as_path()).chain([spec.working_dir.as_path()]))?;
            for bind in mounts {
                root.bind(bind)?;
            }
            root.make_directory(&spec.working_dir)?;
            root::change_to(root)?;
        }
        Place::Of(namespace) => {
            let namespace = File::open(namespace).map_err(EnterError::Spec)?;
            setns(namespace, CloneFlags::CLONE_NEWNS).stage(|| "entering the container".to_owned())?;
        }
    }
    chdir(&spec.working_dir).stage(|| format!("changing directory to {}", spec.working_dir.display()))?;
    become_user(&spec)?;
    clean_slate(&spec.program);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).stage(|| "reading its limits".to_owned())?;
    setrlimit(Resource::RLIMIT_NOFILE, spec.open_files, most).stage(|| "setting its limits".to_owned())?;
    close_inherited().map_err(EnterError::Spec)?;
    Err(execute(&spec, &own))
}

fn become_user(spec: &Spec) -> Result<(), MountError> {
    let user = spec.user.map(Uid::from_raw);
    let known = user.and_then(|user| nix::unistd::User::from_uid(user).ok().flatten());
    let group = spec.group.map(Gid::from_raw).or_else(|| known.map(|known| known.gid));
    if group.is_some() || user.is_some() {
        let group = group.unwrap_or(Gid::from_raw(0)); // what a container runtime does for a user without an entry
        setgroups(&[group]).stage(|| "leaving all groups".to_owned())?;
        setgid(group).stage(|| format!("becoming group {group}"))?;
    }
    match user {
        Some(user) => setuid(user).stage(|| format!("becoming user {user}")),
        None => Ok(()),
    }
}

/// Signals as a command expects them: what this program ignores or blocks is not inherited. The coordinator opens itself to
/// signals when it can obey them; one that comes before that waits.
fn clean_slate(program: &Program) {
    // SAFETY: the default handler is no code of ours.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    if !program.is_coordinator() {
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

/// Nothing is open in a container but its three streams: what this program has inherited itself ends with it.
fn close_inherited() -> std::io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fd > 2 {
            // SAFETY: a plain system call on a number; the descriptors of this function stay open until the exec.
            unsafe { nix::libc::fcntl(fd, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

fn execute(spec: &Spec, own: &OwnedFd) -> EnterError {
    let text = |bytes: &OsStr| CString::new(bytes.as_bytes()).unwrap_or_default();
    let variables: Vec<CString> =
        spec.env.iter().map(|(name, value)| text(OsStr::new(&format!("{name}={value}")))).collect();
    match &spec.program {
        Program::Podturn(arguments) => {
            let arguments = std::iter::once("podturn").chain(arguments.iter().map(String::as_str));
            let arguments: Vec<CString> = arguments.map(|argument| text(OsStr::new(argument))).collect();
            let Err(errno) = fexecve(own, &arguments, &variables);
            EnterError::Exec("podturn".to_owned(), errno)
        }
        Program::Command(words) => {
            let command = words.first().cloned().unwrap_or_default();
            let arguments: Vec<CString> = words.iter().map(|word| text(OsStr::new(word))).collect();
            let mut errno = Errno::ENOENT;
            for candidate in candidates(&command, &spec.env) {
                let Err(found) = execve(&text(candidate.as_os_str()), &arguments, &variables);
                if found != Errno::ENOENT && found != Errno::ENOTDIR {
                    errno = found;
                    break;
                }
            }
            EnterError::Exec(command, errno)
        }
    }
}

/// Where a command may be: as written if it has a slash, else in the directories of the container's own PATH.
fn candidates(command: &str, env: &[(String, String)]) -> Vec<PathBuf> {
    if command.contains('/') {
        return vec![command.into()];
    }
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value.as_str());
    path.split(':')
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }).join(command))
        .collect()
}
