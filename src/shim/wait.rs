//! `podturn-shim wait`, the program of `public/`: waits until every gate is open, for containers that are not steps.
//!
//! Belongs here: looking at the gates, and sleeping between two looks. Does not belong here: what a command line, a phase or
//! an answer means (`wait_*.rs`). Nothing here writes anything but lines for a person.
//!
//! The steps' conditions are read when the bell of `public/` rings, so a waiter at a step's gate sleeps without a single
//! wake-up. For files and servers nobody rings: they are looked at again and again, and servers only when everything else
//! holds, since each look is a connection to somebody.

use core::slice;

use podturn_wire::json::digits;
use podturn_wire::{WireError, exit};

use crate::arch::O_DIRECTORY;
use crate::calls::{self, Fd, HERE, Stat, open};
use crate::connection::Connection;
use crate::environment::Start;
use crate::linux::{occupy_standard_descriptors, parent_of, poll_in, say};
use crate::path::{self, PATH_MAX};
use crate::wait_arguments::{self, Asked, GATES_MAX, Gate, Order, Wish};
use crate::wait_network::{REQUEST_MAX, STATUS_LENGTH, Server, Url, status};
use crate::wait_phases::{Phases, Verdict};
use crate::{Errno, words};

const MILLISECOND: u64 = 1_000_000;
/// Between two looks at a file, and at a coordinator that is not there, in ns.
const LOOK_AGAIN: u64 = 100 * MILLISECOND;
/// Between two looks at a server, at most, in ns: the first ones come faster.
const CONNECT_AGAIN_MAX: u64 = 1_000 * MILLISECOND;
/// How long a server may take to answer, in ns: the default of a Kubernetes probe's `timeoutSeconds`.
const ANSWER_WITHIN: u64 = 1_000 * MILLISECOND;
/// How long a coordinator may be missing, in ns: as long as a waiting step's shim gives it by default.
const COORDINATOR_GRACE: u64 = 15 * 60 * 1_000 * MILLISECOND;
/// The longest `phases.json`: a plan has at most 10,000 steps.
const PHASES_MAX: usize = 16 << 20;

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGPIPE: u8 = 13;
const SIGTERM: u8 = 15;

/// The whole program: `podturn-shim wait`. Returns the exit code.
///
/// # Safety
/// `stack` is the stack pointer with which the process began.
pub unsafe fn main(stack: *const usize) -> u8 {
    // SAFETY: the caller's promise.
    let start = unsafe { Start::new(stack) };
    let wish = match wait_arguments::parse(start.arguments().skip(1)) {
        Ok(Order::Wait(wish)) => wish,
        Ok(Order::Print(text)) => {
            let written = calls::write_all(Fd(1), text.as_bytes());
            return if written.is_ok() { exit::OK } else { exit::SHIM_FAILED };
        }
        Err(misuse) => {
            tell(&[misuse.what, " ", misuse.which]);
            return exit::BAD_INPUT;
        }
    };
    let code = Waiter::new(&wish).and_then(|mut waiter| waiter.run());
    code.unwrap_or_else(|failure| {
        match failure {
            Failure::File(what, errno) => tell(&[what, ": ", words::errno_words(errno).as_str()]),
            Failure::Content(WireError::Version(_)) => {
                tell(&["phases.json: another version of the protocol: use the shim that lies beside it"]);
            }
            Failure::Content(_) => tell(&["phases.json: not what a coordinator writes"]),
            Failure::NoCoordinator => tell(&["no coordinator for 15 minutes: giving up"]),
        }
        exit::SHIM_FAILED
    })
}

/// Why the waiting cannot go on.
enum Failure {
    File(&'static str, Errno),
    Content(WireError),
    NoCoordinator,
}

impl Failure {
    fn at(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::File(what, errno)
    }
}

/// What was last said of a gate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Waiting,
    Open,
}

/// What a look at all gates has found.
enum Look {
    /// The end, with this exit code.
    Over(u8),
    /// Look again after this time in ns; `None`: when the bell rings.
    Again(Option<u64>),
}

struct Waiter<'w> {
    wish: &'w Wish<'static>,
    said: [Said; GATES_MAX],
    /// `public/`, if it is needed.
    public: Option<Public>,
    signals: Fd,
    /// As `calls::boot_time`.
    deadline: Option<u64>,
    /// Between two looks at servers, in ns: it grows.
    connect_again: u64,
    path: [u8; PATH_MAX],
}

impl<'w> Waiter<'w> {
    fn new(wish: &'w Wish<'static>) -> Result<Self, Failure> {
        occupy_standard_descriptors();
        let deadline = wish.timeout.map(|millis| calls::boot_time().saturating_add(millis * MILLISECOND));
        // As a container's first process the waiter would be deaf to the signals that it has no handler for (pid_namespaces(7)).
        let ends = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].iter().fold(0, |mask, signal| mask | bit(*signal));
        calls::set_signal_mask(ends | bit(SIGPIPE));
        let signals = calls::signal_descriptor(ends).map_err(Failure::at("signalfd"))?;
        let mut path = [0; PATH_MAX];
        let needs_phases = wish.gates().iter().any(|asked| matches!(asked.gate, Gate::Step { .. }));
        let public = if needs_phases { Some(Public::find(&mut path)?) } else { None };
        let said = [Said::Nothing; GATES_MAX];
        Ok(Self { wish, said, public, signals, deadline, connect_again: LOOK_AGAIN, path })
    }

    fn run(&mut self) -> Result<u8, Failure> {
        loop {
            let again = match self.look()? {
                Look::Over(code) => return Ok(code),
                Look::Again(again) => again,
            };
            let left = self.deadline.map(|deadline| deadline.saturating_sub(calls::boot_time()));
            if left == Some(0) {
                return Ok(self.give_up());
            }
            if let Some(signal) = self.sleep([again, left].into_iter().flatten().min()) {
                return Ok(128 + signal);
            }
        }
    }

    /// Looks at every gate: steps, files, and servers last.
    fn look(&mut self) -> Result<Look, Failure> {
        let wish = self.wish;
        if let Some(public) = &mut self.public {
            public.read(wish)?;
        }
        let (mut pause, mut are_open) = (None::<u64>, true);
        for (at, asked) in wish.gates().iter().enumerate() {
            match asked.gate {
                Gate::Step { .. } => {
                    let Some(public) = self.public.as_ref() else { continue };
                    let verdict = public.verdicts[at];
                    if let Some(code) = final_word(asked, verdict) {
                        return Ok(Look::Over(code));
                    }
                    are_open &= self.note(at, asked, verdict == Verdict::Met);
                }
                Gate::File(file) => {
                    let is_open = self.is_there(file).map_err(Failure::at(asked.text))?;
                    if !self.note(at, asked, is_open) {
                        (are_open, pause) = (false, Some(LOOK_AGAIN));
                    }
                }
                Gate::Tcp(_) | Gate::Http(_) => {}
            }
        }
        if let Some(public) = &mut self.public
            && public.bell.is_none()
        {
            public.mind_the_grace()?;
            pause = Some(LOOK_AGAIN);
        }
        if !are_open {
            return Ok(Look::Again(pause));
        }
        Ok(self.look_at_servers())
    }

    /// Everything else holds. The first server that does not answer is enough to know.
    #[inline(never)]
    fn look_at_servers(&mut self) -> Look {
        for (at, asked) in self.wish.gates().iter().enumerate() {
            let is_open = match asked.gate {
                Gate::Step { .. } | Gate::File(_) => continue,
                Gate::Tcp(server) => self.reach(server, |_, _| true),
                Gate::Http(url) => self.reach(url.server, |connection, until| ask(connection, until, &url)),
            };
            if !self.note(at, asked, is_open) {
                let pause = self.connect_again;
                self.connect_again = (2 * pause).min(CONNECT_AGAIN_MAX);
                return Look::Again(Some(pause));
            }
        }
        Look::Over(exit::OK)
    }

    /// Whether one of the server's addresses takes a connection that `is_good`, which has until its second argument.
    fn reach(&self, server: Server, is_good: impl Fn(&Connection, u64) -> bool) -> bool {
        server.addresses.into_iter().flatten().any(|ip| {
            let until = (calls::boot_time() + ANSWER_WITHIN).min(self.deadline.unwrap_or(u64::MAX));
            Connection::make(ip, server.port, until).is_ok_and(|connection| is_good(&connection, until))
        })
    }

    /// Says what has changed for a gate, and returns whether it is open.
    fn note(&mut self, at: usize, asked: &Asked<'_>, is_open: bool) -> bool {
        let now = if is_open { Said::Open } else { Said::Waiting };
        if self.said[at] != now {
            self.said[at] = now;
            if is_open { tell(&[asked.text, " is met"]) } else { tell(&["waiting for ", asked.text]) }
        }
        is_open
    }

    /// # Errors
    /// Those of open(2) that do not mean that it is not there: who may not look would wait for ever.
    fn is_there(&mut self, file: &[u8]) -> Result<bool, Errno> {
        path::join(&[file], &mut self.path).then_some(()).ok_or(Errno::ENAMETOOLONG)?;
        let name = path::before_nul(&self.path).ok_or(Errno::ENAMETOOLONG)?;
        match calls::open_at(HERE, name, open::PATH, 0) {
            Ok(fd) => {
                calls::close(fd);
                Ok(true)
            }
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    fn give_up(&self) -> u8 {
        // Servers that were not looked at yet are not what the time went by for.
        let open = self.wish.gates().iter().zip(self.said).filter(|(_, said)| *said == Said::Waiting);
        open.for_each(|(asked, _)| tell(&["timed out waiting for ", asked.text]));
        exit::TIMED_OUT
    }

    /// Sleeps for `time` ns, or until something happens. Returns the signal that ends the waiting.
    fn sleep(&mut self, time: Option<u64>) -> Option<u8> {
        let bell = self.public.as_ref().and_then(|public| public.bell);
        let mut fds = [poll_in(self.signals.0), poll_in(bell.map_or(-1, |bell| bell.0))];
        calls::poll(&mut fds, time);
        if fds[1].happened != 0
            && let Some(public) = &mut self.public
        {
            public.take_rings();
        }
        let mut notice = [0; 128]; // struct signalfd_siginfo; its first member is the signal's number
        let has_signal = fds[0].happened != 0 && calls::read(self.signals, &mut notice).is_ok();
        has_signal.then_some(notice[0])
    }
}

/// What ends the waiting at a step's gate in vain.
fn final_word(asked: &Asked<'_>, verdict: Verdict) -> Option<u8> {
    match verdict {
        Verdict::Met | Verdict::Open => None,
        Verdict::Lost(phase) => {
            tell(&[asked.text, " can no longer be met: the step is ", phase.as_str()]);
            Some(exit::FAILED)
        }
        Verdict::NoSuchStep => {
            tell(&["--for ", asked.text, ": the plan has no such step"]);
            Some(exit::BAD_INPUT)
        }
    }
}

/// Whether the server answers a request for the page as it should.
fn ask(connection: &Connection, until: u64, url: &Url<'_>) -> bool {
    let mut request = [0; REQUEST_MAX];
    let length = url.request(&mut request);
    if connection.send(&request[..length]).is_err() {
        return false;
    }
    let (mut answer, mut length) = ([0; STATUS_LENGTH], 0);
    while length < STATUS_LENGTH {
        match connection.receive(&mut answer[length..], until) {
            Ok(received) => length += received,
            Err(_) => return false,
        }
    }
    status(&answer).is_some_and(|status| (200..400).contains(&status))
}

const fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

fn tell(parts: &[&str]) {
    let mut all = [""; 4];
    all[..parts.len()].copy_from_slice(parts);
    say(words::line(&all).as_str());
}

/// `public/`, which is where this program lies: the phases, and the bell that says that they have changed.
struct Public {
    directory: Fd,
    bell: Option<Fd>,
    /// Whether the phases may have changed since they were read.
    is_stale: bool,
    /// Since when nobody answers, as `calls::boot_time`.
    missing_since: Option<u64>,
    /// The phases' `Stat::stamp`.
    touched: u64,
    /// Memory for the file.
    memory: &'static mut [u8],
    /// Of each gate that is a step's.
    verdicts: [Verdict; GATES_MAX],
}

impl Public {
    fn find(path: &mut [u8; PATH_MAX]) -> Result<Self, Failure> {
        let mut own = [0; PATH_MAX];
        let own = calls::read_link(c"/proc/self/exe", &mut own).map_err(Failure::at("/proc/self/exe"))?;
        path::join(&[parent_of(own), b"/"], path);
        let name = path::before_nul(path).unwrap_or(c"/");
        let directory =
            calls::open_at(HERE, name, open::PATH | O_DIRECTORY, 0).map_err(Failure::at("the shim's own directory"))?;
        let verdicts = [Verdict::Open; GATES_MAX];
        Ok(Self { directory, bell: None, is_stale: true, missing_since: None, touched: 0, memory: &mut [], verdicts })
    }

    /// Connects to the bell if it has to, and then reads the phases if they may have changed.
    fn read(&mut self, wish: &Wish<'static>) -> Result<(), Failure> {
        if self.bell.is_none() {
            self.connect()?;
            self.is_stale = true; // the coordinator may have written them and died
        }
        if !core::mem::take(&mut self.is_stale) {
            return Ok(());
        }
        let length = self.load().map_err(Failure::at("phases.json beside this program: --for needs public/ here"))?;
        let phases = Phases::parse(&self.memory[..length]).map_err(Failure::Content)?;
        for (at, asked) in wish.gates().iter().enumerate() {
            if let Gate::Step { name, condition } = asked.gate {
                self.verdicts[at] = phases.verdict(name, condition).map_err(Failure::Content)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let directory = digits(u64::from(self.directory.0.unsigned_abs()));
        let mut path = [0; 64];
        let mut length = 0;
        for part in [&b"/proc/self/fd/"[..], directory.as_str().as_bytes(), b"/bell"] {
            path[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        self.bell = match calls::connect(&path[..length]) {
            Ok(bell) => Some(bell),
            Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::EAGAIN) => None,
            Err(errno) => return Err(Failure::File("bell beside this program", errno)),
        };
        Ok(())
    }

    /// A coordinator that is missing for too long does not come back. One that looks at files instead of ringing touches the
    /// phases (`--bell file`).
    fn mind_the_grace(&mut self) -> Result<(), Failure> {
        let now = calls::boot_time();
        let touched = Stat::of(self.directory, c"phases.json").map_or(0, |stat| stat.stamp());
        if core::mem::replace(&mut self.touched, touched) != touched {
            self.missing_since = None;
        }
        let since = *self.missing_since.get_or_insert(now);
        if now - since > COORDINATOR_GRACE { Err(Failure::NoCoordinator) } else { Ok(()) }
    }

    /// Reads the file whole and returns its length. It is replaced and never written to, so it cannot grow meanwhile.
    fn load(&mut self) -> Result<usize, Errno> {
        let fd = calls::open_at(self.directory, c"phases.json", open::READ | open::NON_BLOCKING, 0)?;
        let length = calls::seek_end(fd).and_then(|length| calls::rewind(fd).map(|()| length));
        let loaded = length.and_then(|length| self.fill(fd, length));
        calls::close(fd);
        loaded
    }

    fn fill(&mut self, fd: Fd, length: usize) -> Result<usize, Errno> {
        if length > PHASES_MAX {
            return Err(Errno::EFBIG);
        }
        if length > self.memory.len() {
            let room = length.next_power_of_two().max(4096);
            // SAFETY: fresh memory of this length, zeroed, that nobody else knows and nobody gives back.
            self.memory = unsafe { slice::from_raw_parts_mut(calls::memory(room)?, room) };
        }
        let mut filled = 0;
        while filled < length {
            match calls::read(fd, &mut self.memory[filled..length])? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Takes all rings, and notices the end of the connection. Either way the phases may have changed.
    fn take_rings(&mut self) {
        let Some(bell) = self.bell else { return };
        self.is_stale = true;
        self.missing_since = None; // somebody was there
        loop {
            match calls::receive(bell, &mut [0; 16]) {
                Ok(0) => break,
                Ok(_) | Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => break,
            }
        }
        calls::close(bell);
        self.bell = None;
    }
}
