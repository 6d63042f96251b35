//! What the cgroup's files say about the out-of-memory killer. Pure: reading them is the caller's.
//!
//! cgroups(7) for `/proc/self/cgroup`; the kernel's `cgroup-v2.rst` for `memory.events`, `cgroup-v1/memory.rst` for
//! `memory.oom_control`.

/// The cgroup that limits this process's memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MemoryCgroup<'a> {
    /// Where its hierarchy is mounted by convention.
    pub(crate) mount: &'static [u8],
    /// Its path below the mount, as far as this process can see.
    pub(crate) path: &'a [u8],
    /// The file with the counter.
    pub(crate) file: &'static [u8],
}

/// Finds it in `/proc/self/cgroup`. A version 1 hierarchy with the memory controller comes before version 2, which then
/// does not have it.
pub(crate) fn memory_cgroup(listing: &[u8]) -> Option<MemoryCgroup<'_>> {
    let mut version_2 = None;
    for line in listing.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            version_2 = Some(MemoryCgroup { mount: b"/sys/fs/cgroup", path, file: b"/memory.events" });
        } else if controllers.split(|byte| *byte == b',').any(|controller| controller == b"memory") {
            return Some(MemoryCgroup { mount: b"/sys/fs/cgroup/memory", path, file: b"/memory.oom_control" });
        }
    }
    version_2
}

/// The counter in either file: the line `oom_kill N`.
pub(crate) fn kills(file: &[u8]) -> Option<u64> {
    let line = file.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "))?;
    podturn_wire::json::decimal(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controller_may_be_of_either_version() {
        let v2 = memory_cgroup(b"0::/kubepods/pod1/c1\n").expect("version 2");
        assert_eq!((v2.path, v2.file), (&b"/kubepods/pod1/c1"[..], &b"/memory.events"[..]));
        let hybrid = memory_cgroup(b"5:cpu,cpuacct:/a\n4:memory:/b:c\n0::/d\n").expect("version 1");
        assert_eq!((hybrid.mount, hybrid.path), (&b"/sys/fs/cgroup/memory"[..], &b"/b:c"[..]));
        assert_eq!(memory_cgroup(b"7:cpu:/\n"), None);
    }

    #[test]
    fn the_counter_is_found_by_its_whole_name() {
        assert_eq!(kills(b"low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(kills(b"oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills(b"oom_kill x\n"), None);
        assert_eq!(kills(b""), None);
    }
}
