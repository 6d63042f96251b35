//! `kill -9` of the coordinator at any instant changes nothing of how a plan ends (invariant 2 of `ARCHITECTURE.md`).
//!
//! Not at random moments, but at all of them: between two system calls by which a coordinator changes or learns anything,
//! nobody can tell when it died. So one run after the other is followed with ptrace(2), and its coordinator is killed at
//! the first such call, the second, and so on. What is left is a write(2) that ends in its middle: a limit on the size of
//! files (RLIMIT_FSIZE, setrlimit(2)) kills the coordinator after a given byte of its journal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::sync::mpsc::channel;
use std::thread;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

use crate::pod::{PIECE, PIECES, Pod, Scripts, check_witness, pid};

/// Something of everything: a retry, an allowed failure, a condition that is lost, a step after all others.
const PLAN: &str = "
steps:
  build: {}
  unit: {dependsOn: [build], retry: {limit: 2}}
  lint: {dependsOn: [build], allowFailure: true}
  publish: {dependsOn: [unit, lint]}
  rescue: {dependsOn: [unit: Failed]}
  notify: {finally: true}
";

const SCRIPTS: Scripts<'_> = &[
    ("build", ""),
    ("unit", "[ \"$PODTURN_ATTEMPT\" -ge 2 ] || return 9"),
    ("lint", "return 4"),
    ("publish", ""),
    ("rescue", ""),
    ("notify", ""),
];

fn needs(step: &str) -> Vec<String> {
    let needs: &[&str] = match step {
        "unit" | "lint" => &["build"],
        "publish" => &["unit"],
        "notify" => &["build", "unit", "publish"],
        _ => &[],
    };
    needs.iter().map(|need| (*need).to_owned()).collect()
}

/// What must be the same whatever happened to the coordinator.
#[derive(Debug, PartialEq, Eq)]
struct End {
    containers: BTreeMap<String, i32>,
    coordinator: i32,
    outcome: String,
    steps: BTreeMap<String, String>,
    /// Sorted: parallel branches may take turns.
    witness: Vec<String>,
}

impl End {
    fn of(pod: &mut Pod) -> Self {
        let (containers, coordinator) = pod.end();
        let mut witness = pod.witness();
        if let Err(broken) = check_witness(&witness, needs) {
            panic!("{broken}\n{}", pod.everything());
        }
        witness.sort();
        Self { containers, coordinator, outcome: pod.outcome(), steps: pod.ends(), witness }
    }

    fn undisturbed() -> Self {
        Self::of(&mut Pod::running(PLAN, SCRIPTS))
    }
}

/// The system calls by which a coordinator changes what others see, or takes what comes only once.
const TELLING: &[i64] = &[
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_fchmodat,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_listen,
    libc::SYS_openat2,
    libc::SYS_pidfd_send_signal,
    libc::SYS_recvfrom,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sendto,
    libc::SYS_unlinkat,
    libc::SYS_write,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Runs a coordinator until it is about to make its `last`-th telling system call, and kills it there. `false`: it ended
/// before that.
fn coordinate_until(pod: &mut Pod, last: usize) -> bool {
    let mut command = pod.coordinator_command();
    // SAFETY: ptrace(2) is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let child = command.spawn().expect("podturn is executable");
    let tracee = Tracee { pid: pid(&child).as_raw() };
    // Only the thread that started a tracee can wait for its stops, and that wait has no limit of its own.
    let (done, watchdog) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let timeout = Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if (0..PIECES).all(|_| watchdog.recv_timeout(PIECE) == timeout) {
                tracee.kill();
            }
        });
        let was_killed = tracee.follow(last);
        drop(done);
        pod.coordinator = (!was_killed).then_some(child);
        was_killed
    })
}

/// A child that is traced by this thread.
#[derive(Clone, Copy)]
struct Tracee {
    pid: i32,
}

impl Tracee {
    /// `None`: it has ended, and its status is still there for whoever waits for it.
    fn next_stop(self) -> Option<i32> {
        // SAFETY: waitid(2) fills `info`, and WNOWAIT leaves an end for the one who owns the child.
        let info = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL;
            assert_eq!(libc::waitid(libc::P_PID, self.pid.cast_unsigned(), &raw mut info, flags), 0, "it is our child");
            info
        };
        if info.si_code != libc::CLD_TRAPPED && info.si_code != libc::CLD_STOPPED {
            return None;
        }
        let mut status = 0;
        // SAFETY: the stop that was just seen is taken.
        assert_eq!(unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) }, self.pid);
        Some(libc::WSTOPSIG(status))
    }

    fn go_on(self, signal: i32) {
        // SAFETY: no pointers. ESRCH: it was killed, which the next wait tells.
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, self.pid, 0, signal) };
    }

    /// The number of the system call that it is about to make.
    fn entering(self) -> Option<i64> {
        // SAFETY: the kernel fills at most the given length of a structure that is plain data.
        unsafe {
            let mut info: libc::ptrace_syscall_info = std::mem::zeroed();
            let length = size_of::<libc::ptrace_syscall_info>();
            let got = libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, self.pid, length, &raw mut info);
            let is_entry = got > 0 && info.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
            is_entry.then(|| info.u.entry.nr.cast_signed())
        }
    }

    fn follow(self, last: usize) -> bool {
        const SYSCALL_STOP: i32 = libc::SIGTRAP | 0x80;
        assert_eq!(self.next_stop(), Some(libc::SIGTRAP), "it stops when it has become podturn");
        let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
        // SAFETY: no pointers.
        unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, self.pid, 0, options) };
        let mut count = 0;
        let mut signal = 0;
        loop {
            self.go_on(signal);
            let Some(stop) = self.next_stop() else { return false };
            signal = if stop == SYSCALL_STOP { 0 } else { stop };
            if signal == 0 && self.entering().is_some_and(|number| TELLING.contains(&number)) {
                count += 1;
            }
            if count == last {
                self.kill();
                while self.next_stop().is_some() {}
                return true;
            }
        }
    }

    fn kill(self) {
        // SAFETY: no pointers; the child is not waited for before.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }
}

#[test]
fn a_coordinator_that_is_killed_between_any_two_of_its_system_calls_changes_nothing() {
    let undisturbed = End::undisturbed();
    let mut last = 0;
    loop {
        last += 1;
        let mut pod = Pod::laid_out(PLAN, SCRIPTS);
        pod.start_all();
        let was_killed = coordinate_until(&mut pod, last);
        if was_killed {
            pod.coordinate();
        }
        assert_eq!(End::of(&mut pod), undisturbed, "killed at call {last}\n{}", pod.everything());
        if !was_killed {
            break;
        }
    }
    println!("killed at each of {} system calls", last - 1);
    assert!(last > 50, "a run needs more calls than that");
}

/// Recovery is no special time: its coordinator is killed at each of its calls as well.
#[test]
fn a_coordinator_that_is_killed_during_its_recovery_changes_nothing() {
    let undisturbed = End::undisturbed();
    // Wherever the first one died: a few moments from its start to its end.
    for first in [12, 45, 90, 160] {
        for second in 1..=40 {
            let mut pod = Pod::laid_out(PLAN, SCRIPTS);
            pod.start_all();
            if coordinate_until(&mut pod, first) && coordinate_until(&mut pod, second) {
                pod.coordinate();
            }
            assert_eq!(End::of(&mut pod), undisturbed, "killed at {first}, then at {second}\n{}", pod.everything());
        }
    }
}

#[test]
fn a_journal_that_ends_in_the_middle_of_a_line_is_cut_and_nothing_is_lost_or_done_twice() {
    let undisturbed = End::undisturbed();
    let (mut torn, mut whole) = (0, 0);
    let mut cut = 0;
    loop {
        cut += 61; // lines have some 100 to 300 bytes, so each is hit, at different places
        let mut pod = Pod::laid_out(PLAN, SCRIPTS);
        fs::write(pod.volume(".journal.reserve"), [0; 64 * 1024]).expect("else its room is over the limit");
        pod.start_all();
        let mut command = pod.coordinator_command();
        command.env("PODTURN_LOG", "off"); // its log is a file, too
        // SAFETY: setrlimit(2) is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
                Ok(setrlimit(Resource::RLIMIT_FSIZE, cut, cut)?)
            });
        }
        pod.coordinator = Some(command.spawn().expect("podturn is executable"));
        let code = pod.coordinator_end();
        if code != 128 + Signal::SIGXFSZ as i32 {
            assert_eq!(code, undisturbed.coordinator, "{}", pod.everything());
            break;
        }
        let journal = fs::read(pod.volume("journal.jsonl")).expect("it was begun");
        if journal.len() as u64 == cut {
            *if journal.ends_with(b"\n") { &mut whole } else { &mut torn } += 1;
        }
        pod.coordinate();
        assert_eq!(End::of(&mut pod), undisturbed, "cut at byte {cut}\n{}", pod.everything());
    }
    println!("{torn} journals were torn within a line, {whole} between two");
    assert!(torn >= 30, "{torn}");
}
