//! The pod's first process, which holds its process namespace: its end is the end of every process of the pod.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::wait;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// The pod's first process. It ends with this, or with the process that holds this.
pub(super) struct Sandbox {
    pause: Pid,
    _leash: OwnedFd,
}

impl Sandbox {
    /// Starts it. It does nothing but take the ends of orphans; when it ends, or when this process does, the kernel kills
    /// every process of the pod (pid_namespaces(7)).
    pub(super) fn start() -> io::Result<Self> {
        let (end, leash) = pipe2(OFlag::O_CLOEXEC)?; // no container may hold it
        // SAFETY: this process has one thread (the namespaces demanded that), so its child may do whatever it could.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Self { pause: child, _leash: leash }),
            ForkResult::Child => {
                drop(leash);
                pause(&end)
            }
        }
    }

    /// Kills every process of the pod.
    pub(super) fn kill(&self) {
        let _ = kill(self.pause, Signal::SIGKILL);
    }

    /// Takes the ends of all that was not waited for: the pod's first process ends only after every other one of the pod
    /// was reaped, and those that it did not start itself are children of this process (pid_namespaces(7)).
    pub(super) fn reap(&self) {
        while let Ok(status) = wait() {
            if status.pid() == Some(self.pause) {
                return;
            }
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

/// Each container takes a few files here. Returns what the limit was, which is the containers' too.
pub(super) fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}
