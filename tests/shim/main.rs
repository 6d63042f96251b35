//! The real shim, as a process, against a coordinator that is played by the test: what is in `turn.json`, and when the
//! bell rings, is up to each story.

#![expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]

mod as_without;
mod blocked;
mod container;
mod deaths;
mod ends;
mod files;
mod gates;
mod hooks;
mod mailbox;
mod probes;
mod protocol;
mod readiness;
mod references;
mod terminal;
#[path = "../support/witness.rs"]
mod witness;
