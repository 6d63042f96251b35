//! Process ids that cannot be confused, process trees, clocks: all that touches `/proc`.
//!
//! Belongs here: facts about processes, by the kernel's word. Does not belong here: what follows from a death.

mod clock;
mod pidfd;
mod thread;
mod tree;
mod usage;

pub use clock::{boot_id, now, random, realtime};
pub use pidfd::{Pidfd, peer};
pub use thread::{spawn, stand_back};
pub use tree::{examine, is_alive, kill, sweep};
pub use usage::{Used, measure};

/// Keeps other processes of the same user out of this one's memory and files (`/proc/PID/root`, ptrace(2)).
///
/// # Errors
/// Those of prctl(2).
pub fn make_non_dumpable() -> std::io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Takes the umask of whoever started this process away: turns have to be readable for the users of all steps (umask(2)).
pub fn set_umask() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

/// Raises the limit of open files as far as that is allowed: each step takes three of them.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_open_files() -> std::io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(())
}
