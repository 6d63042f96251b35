//! The world as the shim sees it: the smallest set of calls that its logic needs.
//!
//! Each call is one observable step on what the shim shares with others (the mailbox, the bell, its command), so that
//! a simulation can let the other side act, or kill the shim, between any two of them. Calls block; nothing here
//! decides anything. [`crate::linux`] is the real one.

use podturn_wire::{Exit, StartStage, Usage};

/// A Linux error number, see errno(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub u16);

impl Errno {
    /// Operation not permitted.
    pub const EPERM: Self = Self(1);
    /// No such file or directory.
    pub const ENOENT: Self = Self(2);
    /// Interrupted by a signal.
    pub const EINTR: Self = Self(4);
    /// Argument list too long.
    pub const E2BIG: Self = Self(7);
    /// No child processes.
    pub const ECHILD: Self = Self(10);
    /// Try again: the call would have to wait.
    pub const EAGAIN: Self = Self(11);
    /// Permission denied.
    pub const EACCES: Self = Self(13);
    /// Device or resource busy.
    pub const EBUSY: Self = Self(16);
    /// File exists.
    pub const EEXIST: Self = Self(17);
    /// Not a directory.
    pub const ENOTDIR: Self = Self(20);
    /// File too large.
    pub const EFBIG: Self = Self(27);
    /// File name too long.
    pub const ENAMETOOLONG: Self = Self(36);
    /// Connection reset by peer.
    pub const ECONNRESET: Self = Self(104);
    /// Connection refused: the socket is there, but nobody listens.
    pub const ECONNREFUSED: Self = Self(111);
    /// The connection is being made.
    pub const EINPROGRESS: Self = Self(115);
}

/// What [`Sys::wait`] woke up for. Both `false`: the time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The connection has a packet, or has ended.
    pub bell: bool,
    /// A signal waits.
    pub signals: bool,
}

/// What the connection had for the shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A packet: read `turn.json`.
    Ring,
    /// Nothing, after all.
    Nothing,
    /// The other side is gone. Only said when every packet before it was received (rule S4).
    Closed,
}

/// A signal that the shim received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// SIGCHLD: there may be something to reap.
    Child,
    /// Any other.
    Signal {
        /// Linux signal number.
        number: u8,
        /// A process outside the shim's process namespace sent it: the container runtime.
        outside: bool,
    },
}

/// What [`Sys::reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// The command's end, if it was among them. A signal is never marked `oom` here: that is for the logic to find out.
    pub command: Option<(Exit, Usage)>,
    /// Whether the try of a probe that ended was a success, if one did.
    pub probe: Option<bool>,
}

/// Why a command could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// What failed.
    pub stage: StartStage,
    /// With what.
    pub errno: Errno,
}

/// The system calls of one shim.
pub trait Sys {
    /// `CLOCK_BOOTTIME` in ns. Not shared with anybody, so no step of its own.
    fn now(&mut self) -> u64;

    /// A random number, for the instance id.
    fn random(&mut self) -> u64;

    /// The shim's process id, as itself sees it.
    fn pid(&mut self) -> u32;

    /// The bytes of `turn.json`.
    ///
    /// # Errors
    /// Those of open(2) and read(2); `EFBIG` when it is longer than `TURN_MAX`.
    fn read_turn(&mut self) -> Result<&[u8], Errno>;

    /// The bytes of the `report.json` that an earlier instance left. Called once, before the first report.
    ///
    /// # Errors
    /// As for `read_turn`, with `REPORT_MAX`.
    fn read_report(&mut self) -> Result<&[u8], Errno>;

    /// Writes `report.json` aside and renames it in: whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2). Then the old one stands.
    fn write_report(&mut self, report: &[u8]) -> Result<(), Errno>;

    /// Removes the outputs of an earlier attempt; links are removed, not followed.
    ///
    /// # Errors
    /// Those of open(2), getdents(2) and unlink(2).
    fn clear_outputs(&mut self) -> Result<(), Errno>;

    /// Connects to the bell. A connection from before is given up first.
    ///
    /// # Errors
    /// Those of connect(2). `ENOENT`, `ECONNREFUSED` and `EAGAIN` (a full backlog) mean that nobody answers yet.
    fn connect(&mut self) -> Result<(), Errno>;

    /// Gives the connection up.
    fn disconnect(&mut self);

    /// Sends one packet, without waiting. Whether it arrives does not matter: a lost ring only delays, and the end of
    /// the connection is told by `receive`. Without a connection it does nothing.
    fn send(&mut self, packet: &[u8]);

    /// Takes at most one packet from the connection, without waiting.
    fn receive(&mut self) -> Received;

    /// Waits for a packet, the end of the connection, a signal, or the time `until` (as [`Sys::now`]; `None`: without
    /// limit).
    fn wait(&mut self, until: Option<u64>) -> Ready;

    /// The next signal that was received, without waiting.
    fn next_signal(&mut self) -> Option<Notice>;

    /// Starts the command as attempt number `attempt`. When it returns `Ok`, the command's program is loaded.
    ///
    /// # Errors
    /// The stage that failed, and how. Nothing of the attempt is left then.
    fn start(&mut self, attempt: u32) -> Result<(), StartFailure>;

    /// Sends a signal to the command itself, not to its group. Does nothing when it is gone.
    fn signal_command(&mut self, number: u8);

    /// Takes the ends of all children that have ended, without waiting.
    fn reap(&mut self) -> Reaped;

    /// What the step's own probe is, if it has one that the shim tries. Does not change while the shim lives.
    fn readiness(&mut self) -> Option<crate::Readiness>;

    /// Tries the probe once: its result where that is there at once, `None` where a process was started for it, whose end
    /// `reap` tells.
    fn try_probe(&mut self) -> Option<bool>;

    /// Sends SIGKILL to the try that is under way. Its end is not told.
    fn end_probe(&mut self);

    /// SIGKILLs whatever descends from the shim and waits until nothing does.
    ///
    /// # Errors
    /// `EBUSY` when something would not end within a few seconds (another user's process, a stuck disk).
    fn end_leftovers(&mut self) -> Result<(), Errno>;

    /// How often the out-of-memory killer has struck in this container's cgroup, if that can be known.
    fn oom_kills(&mut self) -> Option<u64>;

    /// Writes `line` to the termination log, if that file exists and is empty.
    fn write_termination_log(&mut self, path: &str, line: &str);

    /// Writes a line for a person to stderr.
    fn say(&mut self, line: &str);
}
