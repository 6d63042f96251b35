//! What stands in for the sockets where containers share none (`--bell file`): each side looks at the other's register
//! again and again, and touches its own; and a shim holds a lock.

use crate::InstanceId;

/// How often each side looks at the other's register, in ns.
pub const LOOK_EVERY: u64 = 200_000_000;

/// How often each side touches its own (utimensat(2)), in ns: whoever looks sees that the other one lives.
pub const BEAT_EVERY: u64 = 1_000_000_000;

/// After this time without a touch, in ns, the other side counts as out of reach: as long as a broken connection is waited for.
pub const SILENT_AFTER: u64 = 3_000_000_000;

/// The byte of `in/alive` that the shim of this instance holds a shared lock on (fcntl(2), `F_SETLK` with `F_RDLCK`). Offsets
/// have 63 bits.
#[must_use]
pub const fn lock_byte(instance: InstanceId) -> u64 {
    instance.0 & (u64::MAX >> 1)
}
