//! The world as the shim sees it: the smallest set of calls that its logic needs.
//!
//! Each call is one observable step on what the shim shares with others (the mailbox, the bell, its command), so that
//! a simulation can let the other side act, or kill the shim, between any two of them. Calls block; nothing here
//! decides anything. [`crate::linux`] is the real one.

use podturn_wire::{Exit, InstanceId, Report, StartStage, Strings, Usage};

use crate::Schedule;

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
    /// Out of memory.
    pub const ENOMEM: Self = Self(12);
    /// Permission denied.
    pub const EACCES: Self = Self(13);
    /// Device or resource busy.
    pub const EBUSY: Self = Self(16);
    /// File exists.
    pub const EEXIST: Self = Self(17);
    /// Invalid argument.
    pub const EINVAL: Self = Self(22);
    /// No data available.
    pub const ENODATA: Self = Self(61);
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
    /// There is output of the command to pass on.
    pub output: bool,
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
    /// The end of the probe that was tried, if it was among them: whether it was a success.
    pub probe: Option<bool>,
    /// The ends of the attempt's `postStart` and `preStop` hooks, if they were among them: exit codes, 128 + n for a signal.
    pub hooks: [Option<u8>; 2],
}

/// What a try of the probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// What it looked for.
    Success,
    /// Not that.
    Failure,
    /// It runs, and [`Sys::reap`] will tell.
    Running,
}

impl Found {
    pub(crate) fn of(success: bool) -> Self {
        if success { Self::Success } else { Self::Failure }
    }
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
    /// Those of open(2) and read(2); `EFBIG` when it is longer than `ENCLOSING_TURN_MAX`.
    fn read_turn(&mut self) -> Result<&[u8], Errno>;

    /// The bytes of the `report.json` that an earlier instance left. Called once, before the first report.
    ///
    /// # Errors
    /// As for `read_turn`, with `LISTING_REPORT_MAX`.
    fn read_report(&mut self) -> Result<&[u8], Errno>;

    /// The distinct references of command line and environment, without their brackets. Always the same.
    fn references(&mut self) -> Strings<'static>;

    /// Writes `report.json` aside and renames it in: whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2). Then the old one stands.
    fn write_report(&mut self, report: &Report, references: Strings<'_>) -> Result<(), Errno>;

    /// Removes the outputs of an earlier attempt; links are removed, not followed.
    ///
    /// # Errors
    /// Those of open(2), getdents(2) and unlink(2).
    fn clear_outputs(&mut self) -> Result<(), Errno>;

    /// Makes the directory for outputs, which is empty then. `false`: something is there already, or it failed.
    fn make_outputs(&mut self) -> bool;

    /// Connects to the bell, as this instance. A connection from before is given up first.
    ///
    /// # Errors
    /// Those of connect(2). `ENOENT`, `ECONNREFUSED` and `EAGAIN` (a full backlog) mean that nobody answers yet.
    fn connect(&mut self, instance: InstanceId) -> Result<(), Errno>;

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

    /// Starts the command as attempt number `attempt`, with the values that the turn that was read last encloses, and the
    /// step's `postStart` hook beside it, if it has one. When it returns `Ok`, the command's program is loaded; it has the schedule of the probe that the same turn asks for.
    ///
    /// # Errors
    /// The stage that failed, and how. Nothing of the attempt is left then.
    fn start(&mut self, attempt: u32) -> Result<Option<Schedule>, StartFailure>;

    /// Starts the step's `preStop` hook beside the command. `false`: it has none, or it cannot be started.
    fn start_pre_stop(&mut self) -> bool;

    /// Tries the probe of the attempt that was started last.
    fn probe(&mut self) -> Found;

    /// SIGKILLs the probe that runs, if one does.
    fn end_probe(&mut self);

    /// Passes on what waits of the command's output. `true`: the probe's text was met, just now.
    fn pass_output_on(&mut self) -> bool;

    /// The attempt is over: passes on the last of its output, and gives back what it took. `false`: nobody took all of
    /// the output within a few seconds.
    fn end_attempt(&mut self) -> bool;

    /// Sends a signal to the command itself, not to its group. Does nothing when it is gone.
    fn signal_command(&mut self, number: u8);

    /// Takes the ends of all children that have ended, without waiting.
    fn reap(&mut self) -> Reaped;

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
