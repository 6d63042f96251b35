//! What process trees use, as proc_pid_stat(5), proc_pid_status(5) and proc_pid_io(5) say.
//!
//! A shim is a child sub-reaper (PR_SET_CHILD_SUBREAPER(2const)): as long as it lives, whatever its command started has it as an
//! ancestor, daemons included. So the tree of a shim is all of its descendants, in whatever session or control group they are.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;

use podturn_turn::Process;

use super::tree::Stat;

/// Milliseconds in a clock tick as `/proc` counts them: `USER_HZ` is 100 where podturn runs (`include/asm-generic/param.h`).
const TICK: u64 = 10;

/// No line that is read here is longer.
const STAT_MOST: usize = 4096;

/// What the descendants of a process use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Processor time of the tree since the root's begin, user and system, in ms: of all that live, the root included, and of all that
    /// were waited for.
    pub cpu: u64,
    /// How much of that is the root's own, and that of children it has waited for.
    pub root_cpu: u64,
    /// The sum of their resident sets, in KiB. What they share is counted for each.
    pub rss: u64,
    /// The largest resident set that one of them ever had, in KiB.
    pub max_rss: u64,
    /// How many there are, without those that have ended.
    pub processes: u32,
    /// Bytes that they, and those they waited for, had fetched from storage; `None`: not all of them may be looked at (another user's).
    pub read: Option<u64>,
    /// Bytes that they had sent to storage.
    pub written: Option<u64>,
}

/// What the trees of these processes use; `None` for one that is gone. One look at all processes there are, however many trees.
#[must_use]
pub fn measure(roots: &[Process]) -> Vec<Option<Used>> {
    let mut buffer = Vec::with_capacity(STAT_MOST);
    let all = read_all(&mut buffer);
    let mut owners: HashMap<u32, Option<usize>> = HashMap::with_capacity(all.len());
    let mut used = Vec::with_capacity(roots.len());
    for (index, root) in roots.iter().enumerate() {
        let is_it = |member: &&Stat| member.start_ticks == root.start_ticks && !member.is_dead();
        used.push(all.get(&root.pid).filter(is_it).map(|member| {
            owners.insert(root.pid, Some(index));
            let cpu = member.ticks * TICK;
            Used { cpu, root_cpu: cpu, read: Some(0), written: Some(0), ..Used::default() }
        }));
    }
    for (pid, member) in &all {
        let Some(index) = owner(*pid, &all, &mut owners) else { continue };
        if roots[index].pid == *pid {
            continue;
        }
        if let Some(used) = &mut used[index] {
            add(used, *pid, member, &mut buffer);
        }
    }
    used
}

fn read_all(buffer: &mut Vec<u8>) -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, Stat::parse(read(pid, "stat", buffer)?)?))).collect()
}

/// Whose tree a process is in. Every process on the way up is noted, so each is looked at once.
fn owner(pid: u32, all: &HashMap<u32, Stat>, owners: &mut HashMap<u32, Option<usize>>) -> Option<usize> {
    let mut way = Vec::new();
    let mut at = pid;
    let found = loop {
        if let Some(known) = owners.get(&at) {
            break *known;
        }
        owners.insert(at, None); // also ends a circle, which numbers used again while this is read could make
        way.push(at);
        match all.get(&at) {
            Some(member) => at = member.parent,
            None => break None,
        }
    };
    owners.extend(way.into_iter().map(|pid| (pid, found)));
    found
}

fn add(used: &mut Used, pid: u32, member: &Stat, buffer: &mut Vec<u8>) {
    used.cpu += member.ticks * TICK;
    if member.is_dead() {
        return;
    }
    used.processes += 1;
    if let Some(status) = read(pid, "status", buffer) {
        used.rss += number(status, "VmRSS:").unwrap_or(0);
        used.max_rss = used.max_rss.max(number(status, "VmHWM:").unwrap_or(0));
    }
    let io = read(pid, "io", buffer).map(|io| (number(io, "read_bytes:"), number(io, "write_bytes:")));
    let (read, written) = io.unwrap_or((None, None));
    used.read = used.read.zip(read).map(|(sum, more)| sum + more);
    used.written = used.written.zip(written).map(|(sum, more)| sum + more);
}

/// The number behind this name at the beginning of a line.
fn number(text: &[u8], name: &str) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name.as_bytes()))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// As bytes: a process may be called anything.
fn read<'a>(pid: u32, name: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(format!("/proc/{pid}/{name}")).ok()?.take(STAT_MOST as u64).read_to_end(buffer).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_beside_a_name_that_is_no_text() {
        let status = b"Name:\t\xc3\nVmHWM:\t    96 kB\nVmRSS:\t    12 kB\n";
        assert_eq!((number(status, "VmRSS:"), number(status, "VmSwap:")), (Some(12), None));
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing_and_this_one_has_no_child() {
        let own = super::super::examine(std::process::id()).expect("this process is there");
        let other = Process { start_ticks: own.start_ticks + 1, ..own.clone() };
        let used = measure(&[own, other]);
        assert!(used[0].is_some_and(|used| used.cpu >= used.root_cpu), "{used:?}");
        assert_eq!(used[1], None, "a later one with its number");
    }
}
