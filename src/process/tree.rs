//! Process trees: who a process is, and what it left behind.
//!
//! A dead parent's children are given to another one (init, or the pod's pause process), so a tree cannot be walked after
//! its root's death. What tells its members then is what they inherited and could not change unnoticed: their control group
//! (cgroups(7)), which a container runtime makes for each container, or else their session (setsid(2)). A process that left
//! both, or shares both with the coordinator, is not found.

use std::fs;
use std::io;

use podturn_turn::Process;

use super::Pidfd;

/// What proc_pid_stat(5) says of a process.
pub(super) struct Stat {
    state: char,
    pub(super) parent: u32,
    session: u32,
    /// Processor time of its own and of the children that it has waited for, user and system, in clock ticks.
    pub(super) ticks: u64,
    threads: u32,
    pub(super) start_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name is in parentheses and may hold anything: parentheses and spaces, and the half of a character, since it is
    /// cut after 15 bytes.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let behind = line.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&line[behind..]).ok()?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let mut number = |skipped| fields.nth(skipped)?.parse::<u64>().ok();
        let parent = u32::try_from(number(0)?).ok()?;
        let session = u32::try_from(number(1)?).ok()?;
        let ticks = number(7)? + number(0)? + number(0)? + number(0)?; // utime, stime, cutime and cstime
        let threads = u32::try_from(number(2)?).ok()?;
        Some(Self { state, parent, session, ticks, threads, start_ticks: number(1)? })
    }

    /// A process whose first thread has ended is shown as a zombie though other threads of it run.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

/// Who has this number now; `None`: nobody.
#[must_use]
pub fn examine(pid: u32) -> Option<Process> {
    let stat = Stat::read(pid)?;
    let own = Stat::read(std::process::id())?;
    let cgroup = cgroup_of("self").filter(|own| !own.is_empty());
    Some(Process {
        pid,
        start_ticks: stat.start_ticks,
        // 0: its session's leader cannot be named here.
        session: Some(stat.session).filter(|session| *session != own.session && *session != 0),
        cgroup: cgroup_of(&pid.to_string()).filter(|theirs| cgroup.as_ref().is_some_and(|own| own != theirs)),
    })
}

/// The whole text: on cgroup v1 and in hybrid set-ups every line counts, since containers differ in each of them.
fn cgroup_of(pid: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).ok().map(|text| text.trim_end().to_owned())
}

/// Whether the process lives: the same one, and not a zombie.
#[must_use]
pub fn is_alive(process: &Process) -> bool {
    Stat::read(process.pid).is_some_and(|stat| stat.start_ticks == process.start_ticks && !stat.is_dead())
}

/// Sends SIGKILL to the process, and to no later one with its number.
///
/// # Errors
/// `ESRCH` when it is gone, else those of pidfd_open(2) and pidfd_send_signal(2).
pub fn kill(process: &Process) -> io::Result<()> {
    let pidfd = Pidfd::open(process.pid)?;
    if !is_alive(process) {
        return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
    }
    pidfd.kill()
}

/// SIGKILLs what lives of the process's tree, itself included. Returns whether there was anything, so that somebody has to
/// look again.
#[must_use]
pub fn sweep(process: &Process) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return is_alive(process) };
    let mut found = false;
    for pid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Some(stat) = Stat::read(pid).filter(|stat| !stat.is_dead() && is_member(pid, stat, process)) else {
            continue;
        };
        found = true;
        let member = Process { pid, start_ticks: stat.start_ticks, session: None, cgroup: None };
        if let Err(error) = kill(&member) {
            tracing::debug!(pid, "what a dead shim left behind cannot be ended: {error}");
        }
    }
    found
}

fn is_member(pid: u32, stat: &Stat, process: &Process) -> bool {
    if pid == process.pid {
        return stat.start_ticks == process.start_ticks;
    }
    if stat.start_ticks < process.start_ticks || pid == std::process::id() {
        return false; // older than the shim
    }
    process.session.is_some_and(|session| session == stat.session)
        || process.cgroup.as_ref().is_some_and(|cgroup| cgroup_of(&pid.to_string()).as_ref() == Some(cgroup))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_stat_line_may_hold_anything() {
        for name in [b"a) S (b) ".as_slice(), "zähler-zähler".as_bytes().split_at(13).0] {
            let numbers = b") R 1 70 69 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 8192 9";
            let stat = Stat::parse(&[b"71 (", name, numbers].concat()).expect("a stat line");
            assert_eq!((stat.state, stat.session, stat.threads, stat.start_ticks), ('R', 69, 1, 4711));
            assert_eq!((stat.parent, stat.ticks, stat.is_dead()), (1, 26, false));
        }
    }

    #[test]
    fn a_process_lives_as_long_as_one_thread_of_it() {
        let line = |state, threads| format!("7 (a) {state} 1 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 4711 0 0");
        for (state, threads, is_dead) in [('Z', 1, true), ('X', 0, true), ('Z', 2, false), ('S', 1, false)] {
            let stat = Stat::parse(line(state, threads).as_bytes()).expect("a stat line");
            assert_eq!(stat.is_dead(), is_dead, "{state} with {threads} threads");
        }
    }

    #[test]
    fn a_process_is_itself_and_lives() {
        let own = examine(std::process::id()).expect("this process is there");
        assert!(is_alive(&own));
        assert!(!is_alive(&Process { start_ticks: own.start_ticks + 1, ..own.clone() }), "a later one with its number");
        assert_eq!((own.session, own.cgroup), (None, None), "shared with itself");
    }
}
