//! A mailbox, the shim in it, and the coordinator's side of it. Every wait here is for an event, with a limit that only a
//! broken shim reaches.

#![expect(clippy::disallowed_methods, reason = "a limit for what should have happened long before")]

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, listen, recv, send, socket,
};
use nix::unistd::Pid;
use podturn_wire::{Enclosed, InstanceId, Packet, Probe, Report, RunId, Strings, Text, Then, Turn, listed_references};
use tempfile::TempDir;

use crate::files::{self, Beat};

/// No wait of a test is longer than this, in ms.
pub(crate) const LIMIT: u16 = 30_000;

/// How long a test waits at once, in ms.
const PIECE: u16 = 1_000;

pub(crate) const RUN: RunId = RunId(0x00c0_ffee);

/// One step's mailbox and whatever lives at its two ends.
pub(crate) struct Mailbox {
    directory: TempDir,
    bell: Option<OwnedFd>,
    peer: Option<OwnedFd>,
    /// Instead of both, where the stories are told without bells: a coordinator, and what was last seen of the report.
    beat: Option<Beat>,
    seen: Option<(u64, i64, i64)>,
    /// The instance that said hello last.
    pub(crate) instance: Option<InstanceId>,
    /// What `turn.json` says.
    pub(crate) turn: Turn,
    /// What it encloses.
    pub(crate) probe: Option<Probe<'static>>,
    pub(crate) values: Vec<String>,
    shim: Option<Child>,
}

impl Mailbox {
    /// As the init container leaves it: the shim, turn 0, and no coordinator.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let turn = Turn {
            run: RUN,
            instance: None,
            turn: 0,
            ack: 0,
            attempt: None,
            then: Then::Stay,
            signal: Signal::SIGTERM as u8,
            grace: 10_000,
            timeout: None,
            coordinator_grace: 60_000,
            termination_log: Text::new(),
        };
        let (probe, values) = (None, Vec::new());
        let (bell, peer, beat, seen) = (None, None, None, None);
        let mailbox = Self { directory, bell, peer, beat, seen, instance: None, turn, probe, values, shim: None };
        for half in ["in", "out"] {
            fs::create_dir_all(mailbox.path(half)).expect("a fresh directory");
        }
        // A hard link and not a copy: a file that any thread of this process has open for writing, even through a child
        // of another test, could not be executed (ETXTBSY).
        for (program, name) in [(env!("PODTURN_SHIM"), "in/podturn-shim"), (env!("PODTURN_PROBE"), "in/podturn-probe")]
        {
            fs::hard_link(program, mailbox.path(name)).expect("the same file system");
        }
        if files::are_wanted() {
            fs::write(mailbox.path("in/alive"), "").expect("a fresh directory");
        }
        mailbox.write_turn();
        mailbox
    }

    /// With a coordinator that listens.
    pub(crate) fn listening() -> Self {
        let mut mailbox = Self::new();
        mailbox.listen();
        mailbox
    }

    /// A path in the mailbox.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("steps/build").join(name)
    }

    // --- the shim ---

    /// `podturn-shim run -- COMMAND...`, not started.
    pub(crate) fn command(&self, command: &[&str]) -> Command {
        let mut shim = Command::new(self.path("in/podturn-shim"));
        shim.args(["run", "--"]).args(command).stdin(Stdio::null());
        shim
    }

    /// Starts the shim with its output in pipes.
    pub(crate) fn start(&mut self, command: &[&str]) -> &mut Self {
        let mut command = self.command(command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.start_as(command)
    }

    /// Starts a shim that the story has prepared further.
    pub(crate) fn start_as(&mut self, mut command: Command) -> &mut Self {
        self.shim = Some(command.spawn().expect("the shim is executable"));
        self
    }

    pub(crate) fn shim(&mut self) -> &mut Child {
        self.shim.as_mut().expect("the story has started a shim")
    }

    pub(crate) fn pid(&mut self) -> Pid {
        Pid::from_raw(self.shim().id().cast_signed())
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        kill(self.pid(), signal).expect("the shim is there");
    }

    /// Waits for the shim's end: its exit code, or 128 + n as a shell says it.
    pub(crate) fn exit_code(&mut self) -> i32 {
        let pidfd = pidfd(self.pid());
        assert!(readable(pidfd.as_fd(), LIMIT), "the shim should have ended");
        let status = self.shim().wait().expect("it is our child");
        status.code().unwrap_or_else(|| 128 + status.signal().expect("it did not exit"))
    }

    /// All that the shim and its command wrote to stdout and stderr. Ends when nobody is left who could write.
    pub(crate) fn output(&mut self) -> (String, String) {
        let (out, err) = (self.shim().stdout.take(), self.shim().stderr.take());
        (read_all(out.expect("a pipe")), read_all(err.expect("a pipe")))
    }

    /// One line of the command's stdout.
    pub(crate) fn line(&mut self) -> String {
        let out = self.shim().stdout.as_mut().expect("a pipe");
        let mut line = Vec::new();
        loop {
            assert!(readable(out.as_fd(), LIMIT), "the command should have said something after {line:?}");
            let mut byte = [0];
            match out.read(&mut byte).expect("a pipe") {
                1 if byte[0] != b'\n' => line.push(byte[0]),
                _ => return String::from_utf8(line).expect("UTF-8"),
            }
        }
    }

    // --- the coordinator ---

    pub(crate) fn listen(&mut self) {
        if files::are_wanted() {
            self.beat = Some(Beat::of(self.path("in/turn.json")));
            return;
        }
        let bell = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let _ = fs::remove_file(self.path("in/bell"));
        // The socket's path is as long as the workplace's; a working directory of its own is not to be had in a thread.
        let directory = fs::File::open(self.path("in")).expect("a directory");
        let path = format!("/proc/self/fd/{}/bell", directory.as_raw_fd());
        bind(bell.as_raw_fd(), &UnixAddr::new(path.as_str()).expect("short enough")).expect("a fresh name");
        listen(&bell, Backlog::new(8).expect("a small number")).expect("a bound socket");
        self.bell = Some(bell);
    }

    /// Nobody listens any more, and the connection ends, as when a coordinator is killed.
    pub(crate) fn coordinator_dies(&mut self) {
        self.bell = None;
        self.peer = None;
        self.beat = None;
    }

    /// Waits for the shim's connection and takes its hello.
    pub(crate) fn accept(&mut self) -> InstanceId {
        if files::are_wanted() {
            return self.meet();
        }
        let bell = self.bell.as_ref().expect("the story listens");
        assert!(readable(bell.as_fd(), LIMIT), "the shim should have connected");
        let peer = accept4(bell.as_raw_fd(), SockFlag::SOCK_CLOEXEC).expect("a connection waits");
        // SAFETY: a descriptor that was made just now belongs to nobody else.
        self.peer = Some(unsafe { std::os::fd::FromRawFd::from_raw_fd(peer) });
        let hello = self.packet().expect("a packet");
        assert!(hello.hello, "the first packet says who is there");
        self.instance = Some(hello.instance);
        hello.instance
    }

    /// As `accept`, without a bell: waits for a report whose instance holds its lock.
    fn meet(&mut self) -> InstanceId {
        assert!(self.beat.is_some(), "the story listens");
        let mut met = None;
        eventually("the shim's arrival", || {
            let report = fs::read(self.path("out/report.json")).ok().and_then(|bytes| Report::parse(&bytes).ok());
            let instance = report.map(|report| report.instance);
            met = instance.filter(|instance| files::is_held(&self.path("in/alive"), *instance));
            met.is_some()
        });
        (self.instance, self.seen) = (met, None);
        met.expect("it was waited for")
    }

    /// As `packet`, without a bell: waits for another report, or the end of its shim.
    fn look(&mut self) -> Option<Packet> {
        let (instance, report, alive) = (self.instance?, self.path("out/report.json"), self.path("in/alive"));
        let mut seen = self.seen;
        eventually("something new of the shim", || {
            let is_held = files::is_held(&alive, instance);
            seen = files::stamp(&report); // what it has written before it let go is seen as well
            seen != self.seen || !is_held
        });
        let is_new = std::mem::replace(&mut self.seen, seen) != seen;
        is_new.then_some(Packet { instance, hello: false })
    }

    /// The next packet; `None`: the connection has ended.
    pub(crate) fn packet(&mut self) -> Option<Packet> {
        if files::are_wanted() {
            return self.look();
        }
        let peer = self.peer.as_ref().expect("a connection");
        assert!(readable(peer.as_fd(), LIMIT), "the shim should have rung");
        let mut buffer = [0; 64];
        match recv(peer.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(0) | Err(Errno::ECONNRESET) => None,
            Ok(length) => Some(Packet::parse(&buffer[..length]).expect("packets have one form")),
            Err(error) => panic!("receiving from the shim: {error}"),
        }
    }

    pub(crate) fn ring(&self) {
        if files::are_wanted() {
            return files::touch(&self.path("in/turn.json"));
        }
        let peer = self.peer.as_ref().expect("a connection");
        match send(peer.as_raw_fd(), b"r", MsgFlags::MSG_NOSIGNAL) {
            // It has read the turn before the ring came (S8), and is gone already: with an earlier ring unread, or without.
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => {}
            Err(error) => panic!("ringing: {error}"),
        }
    }

    /// Changes the turn, addresses it to the instance that said hello last, and rings.
    pub(crate) fn turn(&mut self, change: impl FnOnce(&mut Turn)) {
        self.set_turn(change);
        self.ring();
    }

    /// As `turn`, but the ring is lost.
    pub(crate) fn set_turn(&mut self, change: impl FnOnce(&mut Turn)) {
        self.turn.turn += 1;
        self.turn.instance = self.instance;
        change(&mut self.turn);
        self.write_turn();
    }

    /// Writes `turn` as it is.
    pub(crate) fn write_turn(&self) {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let enclosed = Enclosed { probe: self.probe, replace: Strings::new(&values) };
        let mut buffer = vec![0; enclosed.room()];
        let length = self.turn.write_enclosing(&enclosed, &mut buffer).expect("turns fit");
        self.write_raw_turn(&buffer[..length]);
    }

    pub(crate) fn write_raw_turn(&self, bytes: &[u8]) {
        fs::write(self.path("turn.new"), bytes).expect("the mailbox is writable");
        fs::rename(self.path("turn.new"), self.path("in/turn.json")).expect("the same directory");
    }

    /// What `report.json` says now.
    pub(crate) fn report(&self) -> Option<Report> {
        let bytes = fs::read(self.path("out/report.json")).ok()?;
        Some(Report::parse(&bytes).expect("reports are whole"))
    }

    /// The references that `report.json` lists now.
    pub(crate) fn references(&self) -> Vec<String> {
        let bytes = fs::read(self.path("out/report.json")).expect("a report");
        listed_references(&bytes).expect("reports are whole").iter().map(|name| name.chars().collect()).collect()
    }

    /// Reads the report now and after each ring, until it is what the story waits for.
    pub(crate) fn wait_report(&mut self, wanted: impl Fn(&Report) -> bool) -> Report {
        let mut has_ended = false;
        loop {
            let report = self.report().filter(|report| Some(report.instance) == self.instance && wanted(report));
            if let Some(report) = report {
                return report;
            }
            assert!(!has_ended, "the shim ended; its last report: {:?}", self.report());
            has_ended = self.packet().is_none(); // then the report is looked at once more: it came before the end
        }
    }

    // --- whole chapters ---

    /// The shim arrives at a listening coordinator.
    pub(crate) fn arrive(&mut self) -> Report {
        self.accept();
        self.wait_report(|report| report.seq >= 1)
    }

    /// The shim is told to run attempt `attempt`, and says that it does.
    pub(crate) fn begin(&mut self, attempt: u32) -> Report {
        self.turn(|turn| turn.attempt = Some(attempt));
        self.wait_report(|report| report.attempt == Some(attempt))
    }

    /// Waits for the end of attempt `attempt`.
    pub(crate) fn ended(&mut self, attempt: u32) -> podturn_wire::Ended {
        let report = self.wait_report(|report| report.attempt == Some(attempt) && report.ended.is_some());
        report.ended.expect("it was waited for")
    }

    /// Tells the shim to end with `code`.
    pub(crate) fn let_exit(&mut self, code: u8, message: &str) {
        self.turn(|turn| {
            turn.attempt = None;
            turn.then = Then::Exit { code, message: Text::truncated(message) };
        });
    }

    /// The whole life of a step: arrive, run once, exit with the command's own code.
    pub(crate) fn run_once(&mut self, command: &[&str]) -> podturn_wire::Ended {
        self.start(command).arrive();
        self.begin(1);
        let ended = self.ended(1);
        self.let_exit(ended.exit.code(), "");
        assert_eq!(self.exit_code(), i32::from(ended.exit.code()));
        ended
    }
}

impl Drop for Mailbox {
    /// A story that fails in the middle leaves no shim behind; its command dies with it.
    fn drop(&mut self) {
        if let Some(shim) = &mut self.shim {
            let _ = shim.kill();
            let _ = shim.wait();
        }
    }
}

/// Whether there is something to read within `limit` ms. The limit is waited out in pieces: a machine that stands still for
/// a minute, as virtual ones do, uses up one of them, and whoever is waited for gets the rest.
pub(crate) fn readable(fd: std::os::fd::BorrowedFd<'_>, limit: u16) -> bool {
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let mut pieces = limit.div_ceil(PIECE);
    while pieces > 0 {
        match poll(&mut fds, PollTimeout::from(PIECE.min(limit))) {
            Err(Errno::EINTR) => {}
            Ok(0) => pieces -= 1,
            other => return other.expect("poll") > 0,
        }
    }
    false
}

pub(crate) fn pidfd(pid: Pid) -> OwnedFd {
    let fd = std::fs::File::open(format!("/proc/{pid}")).map(|_| ());
    fd.expect("the process is there");
    // SAFETY: a plain system call without pointers; it makes a descriptor that belongs to nobody else.
    unsafe {
        let fd = nix::libc::syscall(nix::libc::SYS_pidfd_open, pid.as_raw(), 0);
        assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
        std::os::fd::FromRawFd::from_raw_fd(i32::try_from(fd).expect("a descriptor"))
    }
}

/// Waits until `ready` says so, looking again and again.
pub(crate) fn eventually(what: &str, mut ready: impl FnMut() -> bool) {
    let (mut begin, mut pieces) = (Instant::now(), LIMIT / PIECE);
    while !ready() {
        assert!(pieces > 0, "{what} should have come true");
        if begin.elapsed() >= Duration::from_millis(PIECE.into()) {
            (begin, pieces) = (Instant::now(), pieces - 1);
        }
        std::thread::yield_now();
    }
}

fn read_all(mut from: impl Read + AsFd) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(
            readable(from.as_fd(), LIMIT),
            "somebody still holds the pipe after {:?}",
            String::from_utf8_lossy(&all)
        );
        match from.read(&mut buffer).expect("a pipe") {
            0 => return String::from_utf8(all).expect("UTF-8"),
            length => all.extend_from_slice(&buffer[..length]),
        }
    }
}
