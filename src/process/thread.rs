//! Threads that leave the signals to the loop, and the processor.

use std::io;
use std::thread::{Builder, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Starts a thread to which no signal is ever delivered. The loop takes signals by signalfd(2), which only holds if every thread has them
/// blocked: one that had not would be killed by SIGTERM, and the process with it.
///
/// # Errors
/// When no thread is to be had.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let spawned = Builder::new().name(name.to_owned()).spawn(work);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    spawned
}

/// From now on the calling thread has the processor only while nobody beside it wants it. As `SCHED_IDLE` it gives way at once to whoever
/// wakes (sched(7)), also where the process was started with a real-time policy, which threads inherit.
///
/// # Errors
/// Those of sched_setscheduler(2).
pub fn stand_back() -> io::Result<()> {
    let idle = [0u8; size_of::<libc::sched_param>()]; // a priority of 0
    // SAFETY: the kernel reads one `sched_param`, which is there, and 0 is the calling thread. By its number, since what musl calls so
    // makes no system call.
    let result = unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_IDLE, idle.as_ptr()) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stands_back_is_idle_alone() {
        // SAFETY: it takes a number and touches no memory.
        let policy_of = || unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) };
        let before = policy_of();
        let thread = spawn("back", move || {
            stand_back().expect("whoever may be anything may be idle");
            assert_eq!(policy_of(), i64::from(libc::SCHED_IDLE));
        });
        thread.expect("a thread").join().expect("it is idle");
        assert_eq!(policy_of(), before, "nobody else is");
    }
}
