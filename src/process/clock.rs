//! The clocks. `CLOCK_BOOTTIME` is the protocol's: a changed wall clock cannot touch it, and it goes on in suspend.

use std::fs;
use std::io::{self, Read};

use nix::time::{ClockId, clock_gettime};
use podturn_turn::Time;

/// `CLOCK_BOOTTIME` in ns (clock_gettime(2)).
#[must_use]
pub fn now() -> Time {
    nanoseconds(ClockId::CLOCK_BOOTTIME)
}

/// `CLOCK_REALTIME` in ns since 1970.
#[must_use]
pub fn realtime() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |at| at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64)
}

/// What uname(2) says in gVisor, in all of its releases: `LinuxVersion` in its `pkg/sentry/kernel/version/version.go`.
const GVISOR: &str = "#1 SMP Sun Jan 10 15:06:54 PST 2016";

/// Identifies this boot of this machine (random(4)), or of this sandbox where containers have a kernel of their own.
///
/// # Errors
/// Those of open(2), read(2) and uname(2); `InvalidData` where `/proc/stat` does not say what proc(5) has it say.
pub fn boot_id() -> io::Result<String> {
    let uname = nix::sys::utsname::uname()?;
    if uname.version() == GVISOR {
        return boot_of_sandbox(&fs::read_to_string("/proc/stat")?);
    }
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// In gVisor each mount of proc(5) has a random `boot_id` of its own, so that two containers of one pod, and a container and the
/// one that takes its place, would be from different boots. `btime` is when the pod's sandbox started, and stays as it is.
fn boot_of_sandbox(stat: &str) -> io::Result<String> {
    let btime = stat.lines().find_map(|line| line.strip_prefix("btime ")).map(str::trim);
    let seconds = btime.filter(|text| text.parse::<u64>().is_ok());
    let seconds = seconds.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no btime"))?;
    Ok(format!("sandbox-{seconds}"))
}

/// A number that nobody can guess or repeat (random(4)).
///
/// # Errors
/// Those of open(2) and read(2).
pub fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two containers of a sandbox see different counters, and one time of its start.
    #[test]
    fn a_sandbox_is_known_by_when_it_started() {
        let stat = |btime: &str| format!("cpu  1 0 3 0 0 0 0 0 0 0\nintr 0\nctxt 0\n{btime}\nprocesses 0\n");
        let first = boot_of_sandbox(&stat("btime 1795726756")).unwrap();
        assert_eq!(first, boot_of_sandbox(&stat("btime 1795726756").replace("cpu  1", "cpu  2")).unwrap());
        assert_ne!(first, boot_of_sandbox(&stat("btime 1795726757")).unwrap());
        for broken in ["", "btime", "btime soon"] {
            assert_eq!(boot_of_sandbox(&stat(broken)).unwrap_err().kind(), io::ErrorKind::InvalidData, "{broken:?}");
        }
    }

    /// The time that Linux shows there moves with the wall clock, so it is not asked.
    #[test]
    fn on_linux_the_kernel_says_which_boot_it_is() {
        let uname = nix::sys::utsname::uname().unwrap();
        if uname.version() == GVISOR {
            return;
        }
        assert_eq!(boot_id().unwrap(), fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim());
    }
}
