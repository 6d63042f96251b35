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

/// Identifies this boot of this machine (random(4)).
///
/// # Errors
/// Those of open(2) and read(2).
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
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
