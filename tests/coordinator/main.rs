//! The real `podturn init` and `podturn coordinate` with real shims, as processes on one volume. The test is the kubelet.

#![expect(clippy::print_stdout, reason = "figures and seeds, shown with --nocapture")]

#[path = "../support/changes.rs"]
mod changes;
mod chaos;
mod control;
mod crash;
mod deaths;
mod files;
mod hooks;
mod house;
mod metrics;
mod page;
mod pod;
mod probes;
mod public;
#[path = "../support/small_volume.rs"]
mod small_volume;
mod stories;
mod told;
mod traces;
mod usage;
#[path = "../support/witness.rs"]
mod witness;
