//! The real `podturn init` and `podturn coordinate` with real shims, as processes on one volume. The test is the kubelet.

#![expect(clippy::print_stdout, reason = "figures and seeds, shown with --nocapture")]

mod chaos;
mod control;
mod crash;
mod deaths;
mod hooks;
mod house;
mod metrics;
mod page;
mod pod;
mod probes;
mod public;
mod stories;
mod told;
mod traces;
mod usage;
