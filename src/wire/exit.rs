//! Exit codes of the shim: those that a step's container can end with besides its command's own, and those of its gates.

/// The step succeeded, or did not run and nobody is to blame.
pub const OK: u8 = 0;
/// The step failed although its command's code was 0 so far.
pub const FAILED: u8 = 1;
/// A gate's arguments are wrong.
pub const BAD_INPUT: u8 = 2;
/// An attempt ran longer than its `timeout`, as timeout(1) says it.
pub const TIMED_OUT: u8 = 124;
/// The shim itself failed: bad arguments, a lost coordinator while waiting, an unusable mailbox.
pub const SHIM_FAILED: u8 = 125;
/// The command was found but could not be executed, as a POSIX shell says it.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found, as a POSIX shell says it.
pub const NOT_FOUND: u8 = 127;
/// What a container shows whose first process was killed: 128 + SIGKILL.
pub const KILLED: u8 = 137;
/// The step was cancelled: what a command ended by SIGTERM would show.
pub const CANCELLED: u8 = 143;

/// The code for a command that a signal ended: 128 + n, as a POSIX shell says it.
#[must_use]
pub const fn of_signal(signal: u8) -> u8 {
    128u8.saturating_add(signal)
}
