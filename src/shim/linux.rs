//! The real world: [`Sys`] by system calls, and what the shim does before its logic begins. Linux only.

use core::ffi::CStr;

use podturn_wire::json::decimal;
use podturn_wire::{Exit, REPORT_MAX, TURN_MAX, Usage};

use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
use crate::arguments::{self, Request};
use crate::calls::{self, Fd, HERE, POLL_IN, POLL_OUT, Poll, open};
use crate::environment::{Start, Variables};
use crate::path::{self, PATH_MAX};
use crate::spawn::{Launch, Stack, spawn};
use crate::words;
use crate::{Errno, Notice, Readiness, Ready, Reaped, Received, StartFailure, Sys, oom, outputs};

const SIGKILL: u8 = 9;
const SIGPIPE: u8 = 13;
const SIGCHLD: u8 = 17;

/// struct signalfd_siginfo, see signalfd(2).
const NOTICE: usize = 128;
/// How many signals one read takes.
const NOTICES: usize = 8;

const MILLISECOND: u64 = 1_000_000;
/// How long leftovers may take to end after SIGKILL, in ns. The kernel needs far less unless a process is stuck in it.
const LEFTOVERS_END_WITHIN: u64 = 5_000 * MILLISECOND;
/// How long a line for a person may wait for a reader of stderr, in ns.
const SAY_WITHIN: u64 = 1_000 * MILLISECOND;

/// The shim's memory besides its stack. In a static, so that only the pages that are used become resident; what is used
/// early and a little comes first, so that these are few.
#[repr(C)]
pub struct Buffers {
    variables: Variables,
    file: [u8; TURN_MAX + 1],
    path: [u8; PATH_MAX],
    notices: [u8; NOTICE * NOTICES],
    stack: Stack,
}

impl Buffers {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { variables: Variables::new(), file: [0; _], path: [0; _], notices: [0; _], stack: Stack::new() }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// The whole program: arguments, mailbox, protocol. Returns the exit code.
///
/// # Safety
/// `stack` is the stack pointer with which the process began, and `buffers` belongs to this call alone.
pub unsafe fn main(stack: *const usize, buffers: *mut Buffers) -> u8 {
    // SAFETY: the caller's promise.
    let start = unsafe { Start::new(stack) };
    match arguments::parse(start.arguments()) {
        Request::Print(text) => match calls::write_all(Fd(1), text.as_bytes()) {
            Ok(()) => podturn_wire::exit::OK,
            Err(_) => podturn_wire::exit::SHIM_FAILED,
        },
        Request::Misuse(text) => {
            say(words::line(&[text]).as_str());
            podturn_wire::exit::SHIM_FAILED
        }
        // SAFETY: the caller's promise.
        Request::Run(command) => match unsafe { Linux::new(start, command, buffers) } {
            Ok(mut sys) => crate::run(&mut sys),
            Err(NoStart { what, errno }) => {
                say(words::line(&[what, ": ", words::errno_words(errno).as_str()]).as_str());
                podturn_wire::exit::SHIM_FAILED
            }
        },
    }
}

struct Linux {
    file: &'static mut [u8; TURN_MAX + 1],
    notices: &'static mut [u8; NOTICE * NOTICES],
    /// Where in `notices` the signals are that were read and not yet taken.
    unread: core::ops::Range<usize>,
    path: &'static mut [u8; PATH_MAX],
    stack: &'static mut Stack,
    variables: *mut Variables,
    launch: Launch<'static>,
    pid: i32,
    inbox: Fd,
    outbox: Fd,
    signals: Fd,
    bell: Option<Fd>,
    command: Option<i32>,
    probe: Option<Probe>,
    probe_process: Option<i32>,
    /// When the present attempt was begun, by the clock of files.
    begun_at: u64,
}

/// The step's own probe, in memory of its own.
struct Probe {
    readiness: Readiness,
    /// Of a command: its arguments, with a null pointer at the end. Of a file: its path first.
    arguments: *const *const u8,
}

impl Linux {
    /// Finds the mailbox and takes a PID 1's duties.
    ///
    /// # Errors
    /// What failed.
    ///
    /// # Safety
    /// As for [`main`].
    unsafe fn new(start: Start, command: usize, buffers: *mut Buffers) -> Result<Self, NoStart> {
        occupy_standard_descriptors();
        // SAFETY: the caller's promise: nobody else has these buffers. The variables are read by the environment's
        // pointers as well, so they stay behind a pointer.
        let (file, notices, path, stack, variables) = unsafe {
            let b = buffers;
            (&mut (*b).file, &mut (*b).notices, &mut (*b).path, &mut (*b).stack, &raw mut (*b).variables)
        };
        let umask = calls::set_umask(0o022); // reports are read by another user
        // SAFETY: as above; the environment does not point there yet.
        let (inbox, outbox) = find_mailbox(file, path, unsafe { &mut *variables })?;
        // SAFETY: as above.
        let envp = start.environment_with(unsafe { &mut *variables }).map_err(NoStart::at("the environment"))?;
        let signal_mask = calls::set_signal_mask(calls::ALL_SIGNALS);
        let child_signal_ignored = calls::is_ignored(SIGCHLD);
        if child_signal_ignored {
            calls::set_ignored(SIGCHLD, false); // else the kernel would reap the command itself, see wait(2)
        }
        become_parent_of_orphans()?;
        let signals = calls::signal_descriptor(calls::ALL_SIGNALS).map_err(NoStart::at("signalfd"))?;
        let launch = Launch {
            argv: start.arguments_from(command),
            envp,
            path: start.path(),
            signal_mask,
            child_signal_ignored,
            umask,
            terminal: None,
            is_quiet: false,
        };
        let pid = calls::process_id();
        let (unread, bell, command, probe, probe_process, begun_at) = (0..0, None, None, None, None, 0);
        Ok(Self {
            file,
            notices,
            unread,
            path,
            stack,
            variables,
            launch,
            pid,
            inbox,
            outbox,
            signals,
            bell,
            command,
            probe,
            probe_process,
            begun_at,
        })
    }

    /// Reads the next signals from the signal descriptor, if there are any.
    fn refill(&mut self) -> bool {
        let length = calls::read(self.signals, self.notices).unwrap_or(0);
        self.unread = 0..length;
        length >= NOTICE
    }

    /// Writes the report aside. What a command put in its place is removed.
    fn write_aside(&self, report: &[u8], name: &CStr) -> Result<(), Errno> {
        let flags = open::WRITE | open::CREATE | open::TRUNCATE | open::NON_BLOCKING | open::NO_CTTY | O_NOFOLLOW;
        let fd = match calls::open_at(self.outbox, name, flags, 0o644) {
            Ok(fd) => fd,
            Err(errno) => {
                calls::unlink_at(self.outbox, name).map_err(|_| errno)?;
                calls::open_at(self.outbox, name, flags | open::EXCLUSIVE, 0o644)?
            }
        };
        let written = calls::write_all(fd, report);
        calls::close(fd);
        written
    }

    /// Reads `in/readiness`, which the init container laid down for a step whose probe the shim tries.
    fn read_probe(&mut self) -> Option<Probe> {
        let bytes = calls::read_file(self.inbox, c"readiness", self.file).ok()?;
        let (readiness, at) = Readiness::parse(bytes)?;
        let arguments = &bytes[at..];
        let count = arguments.iter().filter(|byte| **byte == 0).count();
        let pointers = (count + 1) * size_of::<*const u8>();
        let memory = calls::memory(pointers + arguments.len()).ok()?;
        // SAFETY: the memory is fresh, aligned to a page, and as long as both parts; it is zeroed, so a null pointer ends the
        // first one. Each argument ends with its NUL.
        unsafe {
            let text = memory.add(pointers);
            crate::arch::copy_up(text, arguments.as_ptr(), arguments.len());
            let array = memory.cast::<*const u8>();
            let mut from = 0;
            for (index, end) in
                arguments.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at).enumerate()
            {
                array.add(index).write(text.add(from));
                from = end + 1;
            }
        }
        Some(Probe { readiness, arguments: memory.cast() })
    }

    /// The counter in the file whose name is in `path`.
    fn read_kills(&mut self) -> Option<u64> {
        let name = CStr::from_bytes_until_nul(self.path).ok()?;
        calls::read_file(HERE, name, self.file).ok().and_then(oom::kills)
    }

    /// The terminal goes back to the shim's group when the command has ended.
    fn take_terminal_back(&mut self) {
        if let Some(terminal) = self.launch.terminal.take() {
            // A terminal that is gone needs nobody in its foreground.
            let _ = calls::set_foreground(terminal, calls::group_id());
        }
    }

    /// Sends SIGKILL to every child: `/proc/thread-self/children`, proc(5). Their own children become the shim's then.
    fn kill_children(&mut self) {
        let Ok(children) = calls::read_file(HERE, c"/proc/thread-self/children", self.file) else { return };
        let numbers = children.split(|byte| *byte == b' ');
        for pid in numbers.filter_map(decimal).filter_map(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0) {
            calls::kill(pid, SIGKILL);
        }
    }
}

impl Sys for Linux {
    fn now(&mut self) -> u64 {
        calls::boot_time()
    }

    fn random(&mut self) -> u64 {
        calls::random()
    }

    fn pid(&mut self) -> u32 {
        self.pid.unsigned_abs()
    }

    fn read_turn(&mut self) -> Result<&[u8], Errno> {
        bounded(calls::read_file(self.inbox, c"turn.json", self.file)?, TURN_MAX)
    }

    fn read_report(&mut self) -> Result<&[u8], Errno> {
        bounded(calls::read_file(self.outbox, c"report.json", self.file)?, REPORT_MAX)
    }

    fn write_report(&mut self, report: &[u8]) -> Result<(), Errno> {
        let temporary = c".report.json.new";
        self.write_aside(report, temporary)?;
        calls::replace_at(self.outbox, temporary, c"report.json")
    }

    fn clear_outputs(&mut self) -> Result<(), Errno> {
        outputs::clear(self.outbox, c"outputs")
    }

    fn connect(&mut self) -> Result<(), Errno> {
        self.disconnect();
        // A path of its own would not always fit into the 108 bytes of unix(7); this one does.
        let directory = words::number(u64::from(self.inbox.0.unsigned_abs()));
        let parts: [&[u8]; 3] = [b"/proc/self/fd/", directory.as_str().as_bytes(), b"/bell"];
        path::join(&parts, self.path);
        let length = parts.iter().map(|part| part.len()).sum();
        self.bell = Some(calls::connect(&self.path[..length])?);
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Some(bell) = self.bell.take() {
            calls::close(bell);
        }
    }

    fn send(&mut self, packet: &[u8]) {
        if let Some(bell) = self.bell {
            // EAGAIN: the other side has unread packets that already wake it. EPIPE: `receive` tells.
            let _ = calls::send(bell, packet);
        }
    }

    fn receive(&mut self) -> Received {
        let Some(bell) = self.bell else { return Received::Nothing };
        let mut packet = [0; 16];
        loop {
            match calls::receive(bell, &mut packet) {
                Ok(0) => return Received::Closed,
                Ok(_) => return Received::Ring,
                // The other side closed with packets of ours unread. That is told once, and before the packets of
                // its own that still lie here.
                Err(Errno::ECONNRESET | Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Received::Nothing,
                Err(_) => return Received::Closed,
            }
        }
    }

    fn wait(&mut self, until: Option<u64>) -> Ready {
        let bell = self.bell.map_or(-1, |bell| bell.0);
        let mut fds = [poll_in(self.signals.0), poll_in(bell)];
        let timeout = until.map(|until| until.saturating_sub(calls::boot_time()));
        calls::poll(&mut fds, timeout);
        Ready { signals: fds[0].happened != 0, bell: fds[1].happened != 0 }
    }

    fn next_signal(&mut self) -> Option<Notice> {
        loop {
            if self.unread.len() < NOTICE && !self.refill() {
                return None;
            }
            let notice = self.unread.start;
            self.unread.start += NOTICE;
            let word = |at: usize| {
                let bytes = self.notices[notice + at..].first_chunk::<4>().copied().unwrap_or_default();
                u32::from_ne_bytes(bytes)
            };
            // ssi_signo, ssi_code, ssi_pid. A code above 0 is the kernel's own; a process that this namespace has no
            // number for is 0, see pid_namespaces(7).
            let (number, code, sender) = (word(0) as u8, word(8) as i32, word(12));
            if number == SIGCHLD {
                return Some(Notice::Child);
            }
            // Writing to a closed stderr is no news for the command.
            if number == SIGPIPE && sender == self.pid.unsigned_abs() {
                continue;
            }
            return Some(Notice::Signal { number, outside: code <= 0 && sender == 0 });
        }
    }

    fn start(&mut self, attempt: u32) -> Result<(), StartFailure> {
        if self.probe.is_some() {
            self.begun_at = calls::file_time();
        }
        // SAFETY: only the command's process reads the variables through the environment, at its exec.
        unsafe { (*self.variables).set_attempt(attempt) };
        let own_group = calls::group_id();
        let standard = [Fd(0), Fd(1), Fd(2)];
        self.launch.terminal = standard.into_iter().find(|fd| calls::foreground(*fd) == Ok(own_group));
        match spawn(&self.launch, self.stack, self.path) {
            Ok(pid) => {
                self.command = Some(pid);
                Ok(())
            }
            Err(failure) => {
                self.take_terminal_back();
                Err(failure)
            }
        }
    }

    fn signal_command(&mut self, number: u8) {
        if let Some(pid) = self.command {
            calls::kill(pid, number); // not reaped so far, so the number is still its own
        }
    }

    fn reap(&mut self) -> Reaped {
        let (mut command, mut probe) = (None, None);
        while let Ok(Some(child)) = calls::next_ended_child() {
            if self.probe_process == Some(child.pid) {
                self.probe_process = None;
                probe = Some(child.status == 0);
            }
            if self.command == Some(child.pid) {
                self.command = None;
                self.take_terminal_back();
                command = Some((exit_of(child.status), Usage { cpu: child.cpu, max_rss: child.max_rss }));
            }
        }
        Reaped { command, probe }
    }

    fn readiness(&mut self) -> Option<Readiness> {
        self.probe = self.read_probe();
        self.probe.as_ref().map(|probe| probe.readiness)
    }

    fn try_probe(&mut self) -> Option<bool> {
        let probe = self.probe.as_ref()?;
        if !probe.readiness.is_exec {
            // SAFETY: the first argument is there, a C string.
            let path = unsafe { *probe.arguments };
            return Some(calls::changed_at(path).is_ok_and(|at| at >= self.begun_at));
        }
        let launch = Launch { argv: probe.arguments, terminal: None, is_quiet: true, ..self.launch };
        match spawn(&launch, self.stack, self.path) {
            Ok(pid) => {
                self.probe_process = Some(pid);
                None
            }
            Err(_) => Some(false),
        }
    }

    fn end_probe(&mut self) {
        if let Some(pid) = self.probe_process.take() {
            calls::kill(-pid, SIGKILL); // it leads its group, and is reaped as any orphan
        }
    }

    fn end_leftovers(&mut self) -> Result<(), Errno> {
        let mut give_up_at = None;
        loop {
            match calls::next_ended_child() {
                Ok(Some(_)) => continue,
                Err(_) => return Ok(()),
                Ok(None) => {}
            }
            let now = calls::boot_time();
            if now >= *give_up_at.get_or_insert(now + LEFTOVERS_END_WITHIN) {
                return Err(Errno::EBUSY);
            }
            self.kill_children();
            calls::wait_for_signal(SIGCHLD, 100 * MILLISECOND);
        }
    }

    fn oom_kills(&mut self) -> Option<u64> {
        let listing = calls::read_file(HERE, c"/proc/self/cgroup", self.file).ok()?;
        let oom::MemoryCgroup { mount, path, file } = oom::memory_cgroup(listing)?;
        // In a container the mount often begins at the container's own cgroup, whatever path proc(5) shows.
        let joined = path::join(&[mount, path, file], self.path);
        let read = if joined { self.read_kills() } else { None };
        read.or_else(|| {
            path::join(&[mount, file], self.path);
            self.read_kills()
        })
    }

    fn write_termination_log(&mut self, path: &str, line: &str) {
        if !path::join(&[path.as_bytes()], self.path) {
            return;
        }
        let Ok(name) = CStr::from_bytes_until_nul(self.path) else { return };
        let flags = open::WRITE | open::NON_BLOCKING | open::NO_CTTY | O_NOFOLLOW;
        let Ok(fd) = calls::open_at(HERE, name, flags, 0) else { return };
        if calls::seek_end(fd) == Ok(0) {
            let _ = calls::write_all(fd, line.as_bytes());
        }
        calls::close(fd);
    }

    fn say(&mut self, line: &str) {
        say(line);
    }
}

/// Writes a line to stderr, unless nobody takes it: a reader that is stuck must not hold the shim.
pub(crate) fn say(line: &str) {
    let mut buffer = [0; 512];
    let length = line.len().min(buffer.len() - 1);
    buffer[..length].copy_from_slice(&line.as_bytes()[..length]);
    buffer[length] = b'\n';
    let mut fds = [Poll { fd: 2, events: POLL_OUT, happened: 0 }];
    calls::poll(&mut fds, Some(SAY_WITHIN));
    if fds[0].happened & POLL_OUT != 0 {
        let _ = calls::write(Fd(2), &buffer[..=length]);
    }
}

/// Why the shim cannot even begin.
struct NoStart {
    what: &'static str,
    errno: Errno,
}

impl NoStart {
    fn at(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { what, errno }
    }
}

fn bounded(bytes: &[u8], limit: usize) -> Result<&[u8], Errno> {
    if bytes.len() > limit { Err(Errno::EFBIG) } else { Ok(bytes) }
}

pub(crate) fn poll_in(fd: i32) -> Poll {
    Poll { fd, events: POLL_IN, happened: 0 }
}

/// The status of wait4(2), see `WIFEXITED` and `WIFSIGNALED`.
fn exit_of(status: u32) -> Exit {
    match (status & 0x7f) as u8 {
        0 => Exit::Code((status >> 8) as u8),
        number => Exit::Signal { number, oom: false },
    }
}

/// Standard descriptors that are closed stay closed for the command, but must not become the shim's own files.
pub(crate) fn occupy_standard_descriptors() {
    for fd in 0..3 {
        if !calls::is_open(Fd(fd)) {
            // The lowest free number is `fd` itself. A path descriptor can be neither read nor written.
            let _ = calls::open_at(HERE, c"/", open::PATH, 0);
        }
    }
}

/// The mailbox is where the shim's own executable lies. It has to be found before the shim is non-dumpable.
fn find_mailbox(
    buffer: &mut [u8; TURN_MAX + 1],
    path: &mut [u8; PATH_MAX],
    variables: &mut Variables,
) -> Result<(Fd, Fd), NoStart> {
    let own = calls::read_link(c"/proc/self/exe", buffer).map_err(NoStart::at("/proc/self/exe"))?;
    let inbox = parent_of(own);
    let mailbox = parent_of(inbox);
    let step = &mailbox[parent_of(mailbox).len()..];
    let step = step.strip_prefix(b"/").unwrap_or(step);
    variables.set_mailbox(step, &[mailbox, b"/out/outputs"]).map_err(NoStart::at("the mailbox"))?;
    let mut open = |directory: &[&[u8]]| {
        if !path::join(directory, path) {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = CStr::from_bytes_until_nul(path).map_err(|_| Errno::ENOENT)?;
        calls::open_at(HERE, name, open::PATH | O_DIRECTORY, 0)
    };
    let inbox = open(&[inbox, b"/"]).map_err(NoStart::at("the shim's own directory"))?;
    let outbox = open(&[mailbox, b"/out"]).map_err(NoStart::at("out/ beside the shim's own directory, a mailbox's"))?;
    Ok((inbox, outbox))
}

pub(crate) fn parent_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &path[..slash])
}

/// Orphans of the command become the shim's, as they would PID 1's; and other processes of the step's user cannot look
/// into the shim or take its connection.
fn become_parent_of_orphans() -> Result<(), NoStart> {
    const PR_SET_DUMPABLE: usize = 4;
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    calls::prctl(PR_SET_CHILD_SUBREAPER, 1).map_err(NoStart::at("becoming a child subreaper"))?;
    calls::prctl(PR_SET_DUMPABLE, 0).map_err(NoStart::at("becoming non-dumpable"))
}
