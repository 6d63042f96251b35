//! The programs that this one carries: `build.rs` compiled them.

/// The bytes of the static program `podturn-shim` of a step's mailbox.
pub const SHIM: &[u8] = include_bytes!(env!("PODTURN_SHIM"));

/// The bytes of the static program `podturn-shim` of `public/`.
pub const GATE: &[u8] = include_bytes!(env!("PODTURN_GATE"));

/// The bytes of the static program `podturn-probe` of a step's mailbox.
pub const PROBE: &[u8] = include_bytes!(env!("PODTURN_PROBE"));
