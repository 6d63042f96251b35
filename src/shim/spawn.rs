//! Making the command's process. Between clone and exec it shares the shim's memory, as after vfork(2): nothing is copied,
//! however large the shim were, and what fails is told by writing it down.

use core::ffi::CStr;

use podturn_wire::StartStage;

use crate::arch;
use crate::calls::{self, Fd};
use crate::path::{Candidates, PATH_MAX};
use crate::{Errno, StartFailure};

const SIGCHLD: u8 = 17;
const SIGKILL: usize = 9;

/// clone(2): share the memory, and let the parent wait until the child has executed its program or ended.
const VFORK: usize = 0x100 | 0x4000;

/// prctl(2): the signal that the kernel sends at the death of the parent.
const PR_SET_PDEATHSIG: usize = 1;

/// The stack of the child until it executes its program. It calls a handful of small functions.
#[repr(C, align(16))]
pub(crate) struct Stack([u8; 8192]);

impl Stack {
    pub(crate) const fn new() -> Self {
        Self([0; 8192])
    }
}

/// What a command gets, and what the shim found when it was started itself and gives back.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    /// The command and its arguments, as the kernel gave them to the shim.
    pub(crate) argv: *const *const u8,
    pub(crate) envp: *const *const u8,
    /// The value of `PATH`.
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) signal_mask: u64,
    pub(crate) child_signal_ignored: bool,
    pub(crate) umask: usize,
    /// What the command's descriptors 0, 1 and 2 become; `None`: they stay as they are.
    pub(crate) standard: [Option<Fd>; 3],
    /// The terminal whose foreground the command becomes.
    pub(crate) terminal: Option<Fd>,
}

struct Child<'a> {
    launch: &'a Launch<'a>,
    parent: i32,
    candidate: &'a mut [u8; PATH_MAX],
    failure: Option<StartFailure>,
}

/// Starts the command and returns its process id once its program is loaded.
///
/// # Errors
/// The stage that failed.
pub(crate) fn spawn(
    launch: &Launch<'_>,
    stack: &mut Stack,
    candidate: &mut [u8; PATH_MAX],
) -> Result<i32, StartFailure> {
    match make(launch, stack, candidate)? {
        (pid, None) => Ok(pid),
        (_, Some(failure)) => Err(failure),
    }
}

/// Makes the command's process. If its program could not be loaded, it has ended with code 127, and waits to be reaped.
///
/// # Errors
/// When there is no process.
#[cold]
pub(crate) fn make(
    launch: &Launch<'_>,
    stack: &mut Stack,
    candidate: &mut [u8; PATH_MAX],
) -> Result<(i32, Option<StartFailure>), StartFailure> {
    let mut child = Child { launch, parent: calls::process_id(), candidate, failure: None };
    let top = stack.0.as_mut_ptr_range().end;
    let flags = VFORK | usize::from(SIGCHLD);
    let argument = (&raw mut child) as usize;
    // SAFETY: the stack is the child's alone as long as this process is suspended, and so is `child`.
    let pid = unsafe { arch::clone(flags, top, enter, argument) };
    if pid < 0 {
        let errno = Errno(u16::try_from(-pid).unwrap_or(u16::MAX));
        return Err(StartFailure { stage: StartStage::Fork, errno });
    }
    // SAFETY: `child` lives in this frame; the other process has written to it behind the compiler's back.
    Ok((pid as i32, unsafe { (&raw const child.failure).read_volatile() }))
}

#[cold]
extern "C" fn enter(argument: usize) -> ! {
    // SAFETY: `spawn` passed the address of its `child`, and waits until this process has left that memory.
    let child = unsafe { &mut *(argument as *mut Child<'_>) };
    let failure = match prepare(child) {
        Err(errno) => StartFailure { stage: StartStage::Prepare, errno },
        Ok(()) => StartFailure { stage: StartStage::Exec, errno: execute(child) },
    };
    // SAFETY: as above.
    unsafe { (&raw mut child.failure).write_volatile(Some(failure)) };
    calls::exit_group(podturn_wire::exit::NOT_FOUND)
}

fn prepare(child: &Child<'_>) -> Result<(), Errno> {
    let launch = child.launch;
    // The kernel keeps this over exec (PR_SET_PDEATHSIG(2const)), so that no command outlives its shim; it drops it for a
    // program that is set-user-ID or has capabilities, and when the command changes its user.
    calls::prctl(PR_SET_PDEATHSIG, SIGKILL)?;
    if calls::parent_id() != child.parent {
        calls::exit_group(podturn_wire::exit::SHIM_FAILED); // the shim died before the line above
    }
    calls::lead_group()?;
    if let Some(terminal) = launch.terminal {
        calls::set_foreground(terminal, calls::process_id())?;
    }
    for (at, fd) in launch.standard.iter().enumerate() {
        if let Some(fd) = fd {
            calls::duplicate(*fd, Fd(at as i32))?;
        }
    }
    if launch.child_signal_ignored {
        calls::set_ignored(SIGCHLD, true);
    }
    calls::set_umask(launch.umask);
    calls::set_signal_mask(launch.signal_mask);
    Ok(())
}

/// Tries the candidates as execvp(3) does, but for its shell: a file that is no program is not given to `sh`, since the
/// container runtime, which would have started the command, does not do that either.
fn execute(child: &mut Child<'_>) -> Errno {
    let launch = child.launch;
    // SAFETY: the command is there (the arguments were checked), and it is a C string of the kernel's making.
    let name = unsafe { CStr::from_ptr((*launch.argv).cast()) }.to_bytes();
    let mut verdict = Errno::ENOENT;
    let mut candidates = Candidates::new(name, launch.path);
    while candidates.next_into(child.candidate) {
        // SAFETY: both arrays came from the kernel or were built by `environment`, with a null pointer at the end.
        match unsafe { calls::execute(child.candidate.as_ptr(), launch.argv, launch.envp) } {
            // What a direct path leads to is said as it is; a search goes on.
            errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) if verdict != Errno::EACCES => verdict = errno,
            Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES => {}
            other => return other,
        }
    }
    verdict
}
