//! The shim that this program carries: `build.rs` compiled it.

/// The bytes of the static program `podturn-shim`.
pub const SHIM: &[u8] = include_bytes!(env!("PODTURN_SHIM"));
