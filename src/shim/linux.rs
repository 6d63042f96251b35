//! The real world: [`Sys`] by system calls, and what the shim does before its logic begins. Linux only.

use core::ffi::CStr;

use podturn_wire::json::{decimal, digits};
use podturn_wire::{
    ENCLOSING_TURN_MAX, Enclosed, Exit, InstanceId, LISTING_REPORT_MAX, Report, StartStage, Strings, TURN_MAX, Usage,
};

use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
use crate::arguments::{self, Launched, Request};
use crate::calls::{self, Fd, HERE, POLL_IN, POLL_OUT, Poll, open};
use crate::environment::{Start, Variables, path_in, words_of};
use crate::look::{Files, Look};
use crate::path::{self, PATH_MAX};
use crate::probe::Prober;
use crate::references::References;
use crate::region::Region;
use crate::spawn::{Launch, Stack, make, spawn};
use crate::substitute::{self, Words};
use crate::words;
use crate::{Errno, Found, Notice, Ready, Reaped, Received, Schedule, StartFailure, Sys, oom, outputs};

const SIGKILL: u8 = 9;
const SIGPIPE: u8 = 13;
const SIGCHLD: u8 = 17;

/// struct signalfd_siginfo, see signalfd(2).
const NOTICE: usize = 128;
/// How many signals one read takes.
const NOTICES: usize = 8;

/// Room for the longest report that lists no references: what is on the stack stays resident.
const REPORT_ROOM: usize = 1024;

/// Where a report is written, and the one before it stands until it is removed.
const SPARE: &CStr = c".report.json.new";

const MILLISECOND: u64 = 1_000_000;
/// How long leftovers may take to end after SIGKILL, in ns. The kernel needs far less unless a process is stuck in it.
const LEFTOVERS_END_WITHIN: u64 = 5_000 * MILLISECOND;
/// How long a line for a person may wait for a reader of stderr, in ns.
const SAY_WITHIN: u64 = 1_000 * MILLISECOND;

/// The shim's memory besides its stack. In a static, so that only the pages that are used become resident; what is used
/// early and a little comes first, so that these are few; what most shims never use comes last.
#[repr(C)]
pub struct Buffers {
    variables: Variables,
    file: [u8; TURN_MAX + 1],
    path: [u8; PATH_MAX],
    notices: [u8; NOTICE * NOTICES],
    stack: Stack,
    references: References,
    listing: [u8; LISTING_REPORT_MAX],
}

impl Buffers {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            variables: Variables::new(),
            file: [0; _],
            path: [0; _],
            notices: [0; _],
            stack: Stack::new(),
            references: References::new(),
            listing: [0; _],
        }
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
        Request::Run(launched) => match unsafe { Linux::new(start, launched, buffers) } {
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
    /// How much of `file` is the turn, if that was read last.
    turn: usize,
    /// The turn that was read last, if it is too long for `file`.
    large_turn: Option<Region>,
    references: &'static References,
    listing: &'static mut [u8; LISTING_REPORT_MAX],
    notices: &'static mut [u8; NOTICE * NOTICES],
    /// Where in `notices` the signals are that were read and not yet taken.
    unread: core::ops::Range<usize>,
    path: &'static mut [u8; PATH_MAX],
    stack: &'static mut Stack,
    variables: *mut Variables,
    launch: Launch<'static>,
    /// Which of the standard descriptors is the container's terminal.
    terminal: Option<Fd>,
    pid: i32,
    inbox: Fd,
    outbox: Fd,
    signals: Fd,
    bell: Option<Fd>,
    /// What there is instead of a bell, where containers share no sockets.
    look: Option<Look<Files>>,
    /// There may be a [`SPARE`].
    has_spare: bool,
    command: Option<i32>,
    /// What the running attempt has instead of `launch`'s words.
    words: Option<Words>,
    prober: Option<Prober>,
    /// The process of the probe that is tried.
    probe: Option<i32>,
    /// The command lines of the hooks, and their processes: `postStart`, `preStop`.
    hook_words: [Option<*const *const u8>; 2],
    hooks: [Option<i32>; 2],
}

impl Linux {
    /// Finds the mailbox and takes a PID 1's duties.
    ///
    /// # Errors
    /// What failed.
    ///
    /// # Safety
    /// As for [`main`].
    #[inline(never)] // here and elsewhere: what is built in place is not copied from layer to layer
    unsafe fn new(start: Start, Launched { command, hooks }: Launched, buffers: *mut Buffers) -> Result<Self, NoStart> {
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
        let argv = start.arguments_from(command);
        let hook_words = hooks.map(|(begin, end)| {
            (end > begin).then(|| {
                start.end_arguments(end); // what stands there was read
                start.arguments_from(begin)
            })
        });
        // SAFETY: as above, and the kernel's arrays live as long as the process.
        let (references, listing) = unsafe {
            let references = &mut (*buffers).references;
            words_of(argv).chain(words_of(envp)).for_each(|word| references.note(word.to_bytes()));
            (&*references, &mut (*buffers).listing)
        };
        let signal_mask = calls::set_signal_mask(calls::ALL_SIGNALS);
        let child_signal_ignored = calls::is_ignored(SIGCHLD);
        if child_signal_ignored {
            calls::set_ignored(SIGCHLD, false); // else the kernel would reap the command itself, see wait(2)
        }
        become_parent_of_orphans()?;
        let signals = calls::signal_descriptor(calls::ALL_SIGNALS).map_err(NoStart::at("signalfd"))?;
        let launch = Launch {
            argv,
            envp,
            // SAFETY: as above.
            path: unsafe { path_in(envp) },
            standard: [None; 3],
            signal_mask,
            child_signal_ignored,
            umask,
            terminal: None,
        };
        let pid = calls::process_id();
        Ok(Self {
            file,
            turn: 0,
            large_turn: None,
            references,
            listing,
            notices,
            unread: 0..0,
            path,
            stack,
            variables,
            launch,
            terminal: [Fd(0), Fd(1), Fd(2)].into_iter().find(|fd| calls::foreground(*fd).is_ok()),
            pid,
            inbox,
            outbox,
            signals,
            bell: None,
            look: Files::find(inbox, outbox).map(Look::new),
            has_spare: true, // an earlier instance's
            command: None,
            words: None,
            prober: None,
            probe: None,
            hook_words,
            hooks: [None; 2],
        })
    }

    #[inline(never)]
    fn remove_spare(&mut self) {
        if core::mem::take(&mut self.has_spare) {
            let _ = calls::unlink_at(self.outbox, SPARE); // if it stays, it is overwritten
        }
    }

    /// Reads a turn that is too long for `file`.
    #[cold]
    #[inline(never)]
    fn read_large_turn(&mut self) -> Result<&[u8], Errno> {
        // Pages that nothing is read into cost nothing.
        let memory = self.large_turn.insert(Region::new(ENCLOSING_TURN_MAX + 1)?).rest();
        self.turn = calls::read_file(self.inbox, c"turn.json", memory)?.len();
        bounded(&memory[..self.turn], ENCLOSING_TURN_MAX)
    }

    /// Makes what the turn that was read last encloses ready for an attempt.
    fn equip(&mut self) -> Result<Option<Schedule>, StartFailure> {
        let may_enclose = self.large_turn.is_some() || Enclosed::may_be_in(&self.file[..self.turn]);
        if may_enclose || self.references.is_marked() { self.equip_with_enclosed() } else { Ok(None) }
    }

    #[cold]
    #[inline(never)]
    fn equip_with_enclosed(&mut self) -> Result<Option<Schedule>, StartFailure> {
        let turn = match &mut self.large_turn {
            Some(turn) => &turn.rest()[..self.turn],
            None => &self.file[..self.turn],
        };
        let failed = |stage| move |errno| StartFailure { stage, errno };
        let replace = failed(StartStage::Replace);
        let enclosed = Enclosed::parse(turn).map_err(|_| replace(Errno::EINVAL))?;
        if self.references.is_marked() || !enclosed.replace.is_empty() {
            let (argv, envp) = (self.launch.argv, self.launch.envp);
            // SAFETY: the kernel's arrays, and the environment with the shim's own variables, live as long as the process.
            let words = unsafe { substitute::replaced(self.references, enclosed.replace, turn.len(), argv, envp) };
            self.words = Some(words.map_err(replace)?);
        }
        let Some(probe) = enclosed.probe else { return Ok(None) };
        self.prober = Some(Prober::new(&probe, turn.len()).map_err(failed(StartStage::Prepare))?);
        Ok(Some(Schedule::of(&probe)))
    }

    /// The command's launch, with the words of the running attempt.
    #[cold]
    fn launch(&self) -> Launch<'static> {
        let Some(words) = &self.words else { return self.launch };
        // SAFETY: the words live as long as the attempt, and so does what is started for it.
        Launch { argv: words.argv, envp: words.envp, path: unsafe { path_in(words.envp) }, ..self.launch }
    }

    /// As [`Sys::wait`], when output is to be passed on.
    #[cold]
    #[inline(never)]
    fn wait_with_relay(&mut self, timeout: Option<u64>) -> Ready {
        let bell = self.bell.map_or(-1, |bell| bell.0);
        let mut fds = [-1, -1, self.signals.0, bell].map(poll_in);
        if let Some(relay) = self.prober.as_mut().and_then(Prober::relay) {
            [fds[0], fds[1]] = relay.polls();
        }
        calls::poll(&mut fds, timeout);
        let relay = self.prober.as_mut().and_then(Prober::relay);
        let output = relay.is_some_and(|relay| relay.note(&fds[..2]));
        Ready { signals: fds[2].happened != 0, bell: fds[3].happened != 0, output }
    }

    /// Starts a process beside the command, in its environment and without input: a probe, whose output nobody reads, or
    /// with `stderr` the hook, whose output goes there. What cannot be executed is a process that has ended with 127.
    #[cold]
    #[inline(never)]
    fn spawn_beside(&mut self, argv: *const *const u8, stderr: Option<Fd>) -> Result<i32, Errno> {
        let nothing = calls::open_at(HERE, c"/dev/null", open::READ_WRITE, 0)?;
        let output = stderr.or(Some(nothing));
        let standard = [Some(nothing), output, output.filter(|_| stderr.is_none())];
        let launch = Launch { argv, standard, terminal: None, ..self.launch() };
        let made = make(&launch, self.stack, self.path);
        calls::close(nothing);
        made.map(|(pid, _)| pid).map_err(|failure| failure.errno)
    }

    /// Starts a hook. `false`: there is none.
    #[cold]
    #[inline(never)]
    fn start_hook(&mut self, which: usize) -> Result<bool, Errno> {
        let Some(argv) = self.hook_words[which] else { return Ok(false) };
        self.hooks[which] = Some(self.spawn_beside(argv, Some(Fd(2)))?);
        Ok(true)
    }

    /// The command runs; now its `postStart` hook does.
    fn start_post_start(&mut self) -> Result<(), StartFailure> {
        self.start_hook(0).map(|_| ()).map_err(|errno| {
            self.signal_command(SIGKILL);
            self.command = None;
            StartFailure { stage: StartStage::Fork, errno }
        })
    }

    /// Reads the next signals from the signal descriptor, if there are any.
    fn refill(&mut self) -> bool {
        let length = calls::read(self.signals, self.notices).unwrap_or(0);
        self.unread = 0..length;
        length >= NOTICE
    }

    /// The counter in the file whose name is in `path`.
    fn read_kills(&mut self) -> Option<u64> {
        let name = path::before_nul(self.path)?;
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
        self.large_turn = None;
        self.turn = calls::read_file(self.inbox, c"turn.json", self.file)?.len();
        if self.turn <= TURN_MAX { Ok(&self.file[..self.turn]) } else { self.read_large_turn() }
    }

    fn read_report(&mut self) -> Result<&[u8], Errno> {
        let name = c"report.json";
        let length = calls::read_file(self.outbox, name, self.file)?.len();
        if length < self.file.len() {
            return Ok(&self.file[..length]);
        }
        bounded(calls::read_file(self.outbox, name, self.listing)?, LISTING_REPORT_MAX - 1)
    }

    fn references(&mut self) -> Strings<'static> {
        self.references.list()
    }

    fn write_report(&mut self, report: &Report, references: Strings<'_>) -> Result<(), Errno> {
        // Not written into: somebody may still read what stands there.
        self.remove_spare();
        let mut buffer = [0; REPORT_ROOM];
        let buffer = if references.is_empty() { &mut buffer[..] } else { &mut self.listing[..] };
        let length = report.write_listing(references, buffer).map_err(|_| Errno::EFBIG)?;
        write_aside(self.outbox, &buffer[..length], SPARE)?;
        self.has_spare = true;
        calls::replace_at(self.outbox, SPARE, c"report.json")
    }

    fn clear_outputs(&mut self) -> Result<(), Errno> {
        outputs::clear(self.outbox, c"outputs")
    }

    fn make_outputs(&mut self) -> bool {
        calls::make_directory_at(self.outbox, c"outputs").is_ok()
    }

    fn connect(&mut self, instance: InstanceId) -> Result<(), Errno> {
        self.disconnect();
        if let Some(look) = &mut self.look {
            return look.begin(instance);
        }
        // A path of its own would not always fit into the 108 bytes of unix(7); this one does.
        let directory = digits(u64::from(self.inbox.0.unsigned_abs()));
        let parts: [&[u8]; 3] = [b"/proc/self/fd/", directory.as_str().as_bytes(), b"/bell"];
        path::join(&parts, self.path);
        let length = parts.iter().map(|part| part.len()).sum();
        self.bell = Some(calls::connect(&self.path[..length])?);
        Ok(())
    }

    fn disconnect(&mut self) {
        if let Some(look) = &mut self.look {
            look.give_up();
        }
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
        if let Some(look) = &mut self.look {
            return look.take();
        }
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
        self.remove_spare(); // now that nobody waits for it
        let due = self.look.as_ref().and_then(Look::due);
        let until = until.into_iter().chain(due).min();
        let timeout = until.map(|until| until.saturating_sub(calls::boot_time()));
        self.large_turn = None; // what was needed of it was taken
        let mut ready = if self.prober.is_some() {
            self.wait_with_relay(timeout)
        } else {
            let mut fds = [poll_in(self.signals.0), poll_in(self.bell.map_or(-1, |bell| bell.0))];
            calls::poll(&mut fds, timeout);
            Ready { signals: fds[0].happened != 0, bell: fds[1].happened != 0, output: false }
        };
        ready.bell |= due.is_some();
        ready
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

    #[cold]
    #[inline(never)]
    fn start(&mut self, attempt: u32) -> Result<Option<Schedule>, StartFailure> {
        let schedule = self.equip()?;
        // SAFETY: only the command's process reads the variables through the environment, at its exec.
        unsafe { (*self.variables).set_attempt(attempt) };
        self.launch.terminal = self.terminal.filter(|fd| calls::foreground(*fd) == Ok(calls::group_id()));
        let mut launch = self.launch();
        if let Some(prober) = &self.prober {
            launch.standard = prober.ends();
        }
        let started = spawn(&launch, self.stack, self.path);
        launch.standard.into_iter().flatten().for_each(calls::close); // they are the command's now
        match started.and_then(|pid| {
            self.command = Some(pid);
            self.start_post_start()
        }) {
            Ok(()) => Ok(schedule),
            Err(failure) => {
                self.take_terminal_back();
                (self.prober, self.words) = (None, None);
                Err(failure)
            }
        }
    }

    fn start_pre_stop(&mut self) -> bool {
        self.start_hook(1).unwrap_or(false)
    }

    #[cold]
    #[inline(never)]
    fn probe(&mut self) -> Found {
        let argv = match self.prober.as_ref().map(Prober::look) {
            None => return Found::Failure,
            Some(Ok(found)) => return found,
            Some(Err(argv)) => argv,
        };
        self.probe = self.spawn_beside(argv, None).ok();
        if self.probe.is_some() { Found::Running } else { Found::Failure }
    }

    fn end_probe(&mut self) {
        if let Some(pid) = self.probe {
            calls::kill(-pid, SIGKILL); // it leads a group of its own
        }
    }

    #[cold]
    #[inline(never)]
    fn pass_output_on(&mut self) -> bool {
        let Some(relay) = self.prober.as_mut().and_then(Prober::relay) else { return false };
        let was_met = relay.is_met();
        relay.pass_on();
        relay.is_met() && !was_met
    }

    #[cold]
    #[inline(never)]
    fn end_attempt(&mut self) -> bool {
        let all = self.prober.as_mut().and_then(Prober::relay).is_none_or(crate::relay::Relay::finish);
        (self.prober, self.words) = (None, None);
        all
    }

    fn signal_command(&mut self, number: u8) {
        if let Some(pid) = self.command {
            calls::kill(pid, number); // not reaped so far, so the number is still its own
        }
    }

    fn reap(&mut self) -> Reaped {
        let (mut command, mut probe, mut hooks) = (None, None, [None; 2]);
        while let Ok(Some(child)) = calls::next_ended_child() {
            if self.probe == Some(child.pid) {
                self.probe = None;
                probe = Some(child.status == 0);
            }
            for (hook, code) in self.hooks.iter_mut().zip(&mut hooks) {
                if *hook == Some(child.pid) {
                    *hook = None;
                    *code = Some(exit_of(child.status).code());
                }
            }
            if self.command == Some(child.pid) {
                self.command = None;
                self.take_terminal_back();
                command = Some((exit_of(child.status), Usage { cpu: child.cpu, max_rss: child.max_rss }));
            }
        }
        Reaped { command, probe, hooks }
    }

    fn end_leftovers(&mut self) -> Result<(), Errno> {
        let mut give_up_at = None;
        (self.probe, self.hooks) = (None, [None; 2]); // they are leftovers now
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
        let Some(name) = path::before_nul(self.path) else { return };
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
#[cold]
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

/// Writes the report aside. What a command put in its place is removed.
fn write_aside(outbox: Fd, report: &[u8], name: &CStr) -> Result<(), Errno> {
    let flags = open::WRITE | open::CREATE | open::TRUNCATE | open::NON_BLOCKING | open::NO_CTTY | O_NOFOLLOW;
    let fd = match calls::open_at(outbox, name, flags, 0o644) {
        Ok(fd) => fd,
        Err(errno) => {
            calls::unlink_at(outbox, name).map_err(|_| errno)?;
            calls::open_at(outbox, name, flags | open::EXCLUSIVE, 0o644)?
        }
    };
    let written = calls::write_all(fd, report);
    calls::close(fd);
    written
}

fn bounded(bytes: &[u8], limit: usize) -> Result<&[u8], Errno> {
    if bytes.len() > limit { Err(Errno::EFBIG) } else { Ok(bytes) }
}

pub(crate) fn poll_in(fd: i32) -> Poll {
    Poll { fd, events: POLL_IN, happened: 0 }
}

/// The status of wait4(2), see `WIFEXITED` and `WIFSIGNALED`.
pub(crate) fn exit_of(status: u32) -> Exit {
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

/// The mailbox is above the directory that the shim's own executable lies in: `in/` itself, or one beside it, where an image
/// is mounted that has the program. It has to be found before the shim is non-dumpable.
fn find_mailbox(
    buffer: &mut [u8; TURN_MAX + 1],
    path: &mut [u8; PATH_MAX],
    variables: &mut Variables,
) -> Result<(Fd, Fd), NoStart> {
    let own = calls::read_link(c"/proc/self/exe", buffer).map_err(NoStart::at("/proc/self/exe"))?;
    let mailbox = parent_of(parent_of(own));
    let step = &mailbox[parent_of(mailbox).len()..];
    let step = step.strip_prefix(b"/").unwrap_or(step);
    variables.set_mailbox(step, &[mailbox, b"/out/outputs"]).map_err(NoStart::at("the mailbox"))?;
    let mut open = |half: &[u8]| {
        if !path::join(&[mailbox, half], path) {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = path::before_nul(path).ok_or(Errno::ENOENT)?;
        calls::open_at(HERE, name, open::PATH | O_DIRECTORY, 0)
    };
    let inbox = open(b"/in").map_err(NoStart::at("in/ of the mailbox above the shim's own directory"))?;
    let outbox = open(b"/out").map_err(NoStart::at("out/ beside in/, a mailbox's"))?;
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

#[cfg(test)]
mod tests {
    use podturn_wire::{Ended, InstanceId, Last, RunId};

    use super::*;

    #[test]
    fn the_longest_report_has_room() {
        let usage = Usage { cpu: u64::MAX, max_rss: u64::MAX };
        let exit = Exit::StartError { stage: StartStage::Prepare, errno: u16::MAX };
        let ended = Some(Ended { at: u64::MAX, exit, timed_out: false, usage });
        let report = Report {
            run: RunId(u64::MAX),
            instance: InstanceId(u64::MAX),
            seq: u64::MAX,
            turn: u64::MAX,
            attempt: Some(u32::MAX),
            started_at: Some(u64::MAX),
            ended,
            ready_at: Some(u64::MAX),
            not_ready_at: Some(u64::MAX),
            stop_signal: Some(u8::MAX),
            pid: u32::MAX,
            last: Some(Last { attempt: u32::MAX, started_at: u64::MAX, ended }),
        };
        assert!(report.write(&mut [0; REPORT_ROOM]).is_ok());
    }
}
