//! `podturn-probe`: answers the kubelet in a step's place. The kubelet's probes count from the container's start,
//! which is long before the step's turn; this program lies beside the shim, sees in the mailbox whether the command runs,
//! and only then asks what the manifest asked.
//!
//! Belongs here: what a question's answer is. Does not belong here: command lines (`answer_arguments`), HTTP's words
//! (`answer_http`). Nothing here is kept between two questions but that an attempt's start-up has passed.
//!
//! What cannot be found out is no reason to kill a container: without a mailbox that can be read the answer is yes.

use core::ffi::CStr;

use podturn_wire::json::digits;
use podturn_wire::{ENCLOSING_TURN_MAX, LISTING_REPORT_MAX, Report, Text, Turn, exit};

use crate::answer_arguments::{self, Check, Order, Question};
use crate::answer_http::{self, REDIRECTIONS_MAX, REQUEST_MAX};
use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
use crate::calls::{self, Fd, HERE, open};
use crate::command::{MILLISECOND, after};
use crate::connection::Connection;
use crate::environment::{Start, path_in};
use crate::linux::{occupy_standard_descriptors, parent_of};
use crate::path::{self, PATH_MAX};
use crate::region::Region;
use crate::signals::KILL;
use crate::spawn::{Launch, Stack, spawn};
use crate::wait_network::{Ip, LOCALHOST_4, LOCALHOST_6, STATUS_LENGTH, Server, Url, status};
use crate::{Errno, words};

/// The default of a Kubernetes probe's `timeoutSeconds`, in ms.
const TIMEOUT: u64 = 1_000;

/// The longest head of an answer that is looked at.
const HEAD_MAX: usize = 8 * 1024;

const SIGCHLD: u8 = 17;

/// Addresses that are nobody's (RFC 5737, RFC 3849). A pod would speak to them from its own address.
const ELSEWHERE_4: [u8; 4] = [192, 0, 2, 1];
const ELSEWHERE_6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// In `out/`: the instance and the attempt whose start-up has passed.
const PASSED: &CStr = c"startup-passed";

/// Where the process of a command begins.
pub struct Room {
    stack: Stack,
    path: [u8; PATH_MAX],
}

impl Room {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self { stack: Stack::new(), path: [0; _] }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

/// The whole program. Returns the exit code.
///
/// # Safety
/// `stack` is the stack pointer with which the process began, and `room` belongs to this call alone.
pub unsafe fn main(stack: *const usize, room: *mut Room) -> u8 {
    // SAFETY: the caller's promise.
    let (start, room) = unsafe { (Start::new(stack), &mut *room) };
    occupy_standard_descriptors();
    let mut answerer = Answerer { start, room };
    match answer_arguments::parse(start.arguments().skip(1)) {
        Ok(Order::Print(text)) => {
            let written = calls::write_all(Fd(1), text.as_bytes());
            if written.is_ok() { exit::OK } else { exit::SHIM_FAILED }
        }
        Ok(Order::Hook(question)) => match answerer.ask(&question, None, true) {
            Ok(()) => exit::OK,
            Err(Trouble::Code(code)) => code,
            Err(trouble) => {
                tell(&["the hook failed: ", trouble.words().as_str()]);
                exit::FAILED
            }
        },
        Ok(Order::Probe { startup, liveness }) => answerer.probe(startup.as_ref(), liveness.as_ref()),
        Err((what, which)) => {
            tell(&[what, " ", core::str::from_utf8(which).unwrap_or("(not UTF-8)")]);
            exit::BAD_INPUT
        }
    }
}

/// To stdout, which the kubelet puts into its event.
fn tell(parts: &[&str]) {
    let mut all = [""; 5];
    all[..parts.len()].copy_from_slice(parts);
    let line = words::line_of("podturn-probe: ", &all);
    let _ = calls::write_all(Fd(1), line.as_str().as_bytes());
    let _ = calls::write_all(Fd(1), b"\n");
}

/// Why an answer is no.
enum Trouble {
    /// The command ended with this code.
    Code(u8),
    /// Not in time.
    Late,
    /// The server answered with this status.
    Status(u64),
    /// It answered, but not in HTTP.
    NoHttp,
    /// It sends whoever asks from one page to the next.
    Redirections,
    System(Errno),
}

impl Trouble {
    fn words(&self) -> Text<64> {
        let (what, number) = match self {
            Self::Code(code) => ("exit code ", u64::from(*code)),
            Self::Status(status) => ("HTTP status ", *status),
            Self::Late => return Text::truncated("no answer in time"),
            Self::Redirections => return Text::truncated("more than 10 redirections"),
            Self::NoHttp => return Text::truncated("what answers there speaks no HTTP/1"),
            Self::System(Errno::ECONNREFUSED) => return Text::truncated("connection refused"),
            Self::System(Errno::ECONNRESET) => return Text::truncated("the connection ended without an answer"),
            Self::System(errno) => return words::errno_words(*errno),
        };
        words::joined(&[what, digits(number).as_str()])
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        if errno == Errno::EAGAIN { Self::Late } else { Self::System(errno) }
    }
}

/// The step's mailbox as it is now.
struct Mailbox {
    turn: Turn,
    report: Report,
}

impl Mailbox {
    /// `None`: there is nothing in it that can be read, so no command runs that is known of.
    fn open() -> Option<Self> {
        let (mut own, mut path) = ([0; PATH_MAX], [0; PATH_MAX]);
        let mailbox = parent_of(parent_of(calls::read_link(c"/proc/self/exe", &mut own).ok()?));
        // Pages that nothing is read into cost nothing.
        let (mut memory, mut listing) = (Region::new(ENCLOSING_TURN_MAX).ok()?, Region::new(LISTING_REPORT_MAX).ok()?);
        let mut read = |parts: &[&[u8]], memory| {
            let name = if path::join(parts, &mut path) { path::before_nul(&path)? } else { return None };
            calls::read_file(HERE, name, memory).ok()
        };
        let turn = Turn::parse(read(&[mailbox, b"/in/turn.json"], memory.rest())?).ok()?;
        let report = Report::parse(read(&[mailbox, b"/out/report.json"], listing.rest())?).ok()?;
        Some(Self { turn, report })
    }

    /// A command of the step runs, as far as its shim has said.
    fn runs(&self) -> bool {
        self.report.run == self.turn.run && self.report.attempt.is_some() && self.report.ended.is_none()
    }

    /// When the attempt was begun that runs and is meant to. One that is being stopped, because its turn or its time is over,
    /// need not be healthy any more: what comes after the stop signal is the shim's.
    fn begun_at(&self, now: u64) -> Option<u64> {
        let (turn, report) = (&self.turn, &self.report);
        let is_wanted = turn.attempt == report.attempt && turn.instance == Some(report.instance);
        let begun = report.started_at.filter(|_| self.runs() && is_wanted)?;
        let in_time = turn.timeout.is_none_or(|timeout| now < after(begun, timeout));
        in_time.then_some(begun)
    }

    fn is_same_attempt(&self, other: &Self) -> bool {
        (self.report.instance, self.report.attempt) == (other.report.instance, other.report.attempt)
    }

    /// What `PASSED` says of this attempt.
    fn passed(&self) -> Text<64> {
        let attempt = digits(u64::from(self.report.attempt.unwrap_or(0)));
        words::joined(&[self.report.instance.digits().as_str(), " ", attempt.as_str(), "\n"])
    }
}

struct Answerer<'r> {
    start: Start,
    room: &'r mut Room,
}

impl Answerer<'_> {
    fn probe(&mut self, startup: Option<&Question<'static>>, liveness: Option<&Question<'static>>) -> u8 {
        let asked_at = calls::boot_time();
        let Some(mailbox) = Mailbox::open() else { return exit::OK };
        let Some(begun) = mailbox.begun_at(asked_at) else { return exit::OK };
        let startup = startup.filter(|_| !has_passed(&mailbox));
        let Some(question) = startup.or(liveness) else { return exit::OK };
        if asked_at < after(begun, question.delay) {
            return exit::OK;
        }
        let until = after(asked_at, question.timeout.unwrap_or(TIMEOUT));
        let trouble = match self.ask(question, Some(until), false) {
            Err(trouble) => trouble,
            Ok(()) => {
                if startup.is_some() {
                    note_passed(&mailbox);
                }
                return exit::OK;
            }
        };
        let is_forgiven = asked_at < after(begun, question.forgive);
        // An attempt that ended, or was stopped, while it was asked has nothing to answer for.
        let is_over = Mailbox::open()
            .is_none_or(|later| !later.is_same_attempt(&mailbox) || later.begun_at(calls::boot_time()).is_none());
        if is_forgiven || is_over {
            return exit::OK;
        }
        let what = if startup.is_some() { "not started up: " } else { "not live: " };
        tell(&[what, trouble.words().as_str()]);
        exit::FAILED
    }

    /// Finds the answer: `Ok` is yes. As a hook, any answer of a server will do.
    fn ask(&mut self, question: &Question<'static>, until: Option<u64>, is_hook: bool) -> Result<(), Trouble> {
        let limit = question.timeout.map(|timeout| after(calls::boot_time(), timeout));
        let until = until.or(limit);
        match &question.check {
            Check::Exec { at, words } => self.execute(*at, *words, until),
            Check::Tcp(server) => connect(*server, until.unwrap_or(u64::MAX)).map(|_| ()),
            Check::Http(url) => get(url, question.headers(), until.unwrap_or(u64::MAX), is_hook),
            Check::Sleep(time) => {
                calls::poll(&mut [], Some(time * MILLISECOND));
                Ok(())
            }
        }
    }

    fn execute(&mut self, at: usize, words: usize, until: Option<u64>) -> Result<(), Trouble> {
        self.start.end_arguments(at + words);
        let envp = self.start.environment_pointers();
        let child_signal_ignored = calls::is_ignored(SIGCHLD);
        calls::set_ignored(SIGCHLD, false); // else there would be nothing to wait for
        let signal_mask = calls::set_signal_mask(1 << (SIGCHLD - 1));
        let launch = Launch {
            argv: self.start.arguments_from(at),
            envp,
            // SAFETY: the kernel's array and its strings live as long as the process.
            path: unsafe { path_in(envp) },
            standard: [None; 3],
            signal_mask,
            child_signal_ignored,
            umask: calls::set_umask(0o022),
            terminal: None,
        };
        let pid = match spawn(&launch, &mut self.room.stack, &mut self.room.path) {
            Ok(pid) => pid,
            Err(failure) => return Err(Trouble::System(failure.errno)),
        };
        loop {
            while let Ok(Some(child)) = calls::next_ended_child() {
                if child.pid == pid {
                    let code = crate::linux::exit_of(child.status).code();
                    return if code == 0 { Ok(()) } else { Err(Trouble::Code(code)) };
                }
            }
            let left = until.map_or(u64::MAX >> 1, |until| until.saturating_sub(calls::boot_time()));
            if left == 0 {
                calls::kill(-pid, KILL); // it leads a group of its own
                return Err(Trouble::Late);
            }
            calls::wait_for_signal(SIGCHLD, left);
        }
    }
}

fn mailbox_file(flags: usize) -> Result<Fd, Errno> {
    let (mut own, mut path) = ([0; PATH_MAX], [0; PATH_MAX]);
    let mailbox = parent_of(parent_of(calls::read_link(c"/proc/self/exe", &mut own)?));
    path::join(&[mailbox, b"/out"], &mut path).then_some(()).ok_or(Errno::ENAMETOOLONG)?;
    let name = path::before_nul(&path).ok_or(Errno::ENAMETOOLONG)?;
    let outbox = calls::open_at(HERE, name, open::PATH | O_DIRECTORY, 0)?;
    let file = calls::open_at(outbox, PASSED, flags | open::NON_BLOCKING | open::NO_CTTY | O_NOFOLLOW, 0o644);
    calls::close(outbox);
    file
}

fn has_passed(mailbox: &Mailbox) -> bool {
    let mut content = [0; 64];
    let Ok(file) = mailbox_file(open::READ) else { return false };
    let length = calls::read(file, &mut content);
    calls::close(file);
    length.is_ok_and(|length| content[..length] == *mailbox.passed().as_str().as_bytes())
}

/// If it cannot be noted, the start-up is asked again the next time, and passes again.
fn note_passed(mailbox: &Mailbox) {
    let written = mailbox_file(open::WRITE | open::CREATE | open::TRUNCATE).and_then(|file| {
        let written = calls::write_all(file, mailbox.passed().as_str().as_bytes());
        calls::close(file);
        written
    });
    if let Err(errno) = written {
        tell(&["out/startup-passed: ", words::errno_words(errno).as_str()]);
    }
}

/// A connection to the first of the server's addresses that takes one.
fn connect(server: Server, until: u64) -> Result<(Connection, Ip), Trouble> {
    let pod = [calls::own_address(Ip::V4(ELSEWHERE_4)), calls::own_address(Ip::V6(ELSEWHERE_6))];
    let loopback = [Some(LOCALHOST_4), Some(LOCALHOST_6)];
    // The kubelet asks at the pod's address. A server that is on loopback alone would not answer it, but here, where
    // `podturn run` has no other address, it counts.
    let addresses = if server.addresses == [None; 2] { [pod, loopback] } else { [server.addresses, [None; 2]] };
    let mut trouble = Trouble::System(Errno::ECONNREFUSED);
    for ip in addresses.into_iter().flatten().flatten() {
        match Connection::make(ip, server.port, until) {
            Ok(connection) => return Ok((connection, ip)),
            Err(errno @ (Errno::EAGAIN | Errno::ECONNREFUSED)) => trouble = errno.into(),
            Err(_) => {} // such as a pod without IPv6
        }
    }
    Err(trouble)
}

fn get(url: &Url<'_>, headers: &[&[u8]], until: u64, any_answer: bool) -> Result<(), Trouble> {
    let (mut request, mut head) = ([0; REQUEST_MAX], [0; HEAD_MAX]);
    let (mut moved, mut moved_to) = ([0; HEAD_MAX], None);
    for _ in 0..=REDIRECTIONS_MAX {
        let (connection, ip) = connect(url.server, until)?;
        let target = moved_to.map_or(url.target, |length| &moved[..length]);
        let length = answer_http::request(url, target, ip, headers, &mut request);
        connection.send(&request[..length.ok_or(Trouble::System(Errno::EFBIG))?])?;
        let head = receive_head(&connection, &mut head, until)?;
        let code = head.first_chunk::<STATUS_LENGTH>().and_then(status).ok_or(Trouble::NoHttp)?;
        let target = answer_http::redirection(head, url, ip);
        match (code, target) {
            _ if any_answer => return Ok(()),
            (300..400, Some(target)) => {
                moved[..target.len()].copy_from_slice(target);
                moved_to = Some(target.len());
            }
            (200..400, _) => return Ok(()),
            _ => return Err(Trouble::Status(code)),
        }
    }
    Err(Trouble::Redirections)
}

/// The head of an answer, or what there is of it when the server ends the connection, or no more of it has room.
fn receive_head<'h>(connection: &Connection, head: &'h mut [u8], until: u64) -> Result<&'h [u8], Trouble> {
    let mut received = 0;
    while received < head.len() && !answer_http::is_whole(&head[..received]) {
        match connection.receive(&mut head[received..], until) {
            Ok(more) => received += more,
            Err(Errno::ECONNRESET) if received > 0 => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(&head[..received])
}
