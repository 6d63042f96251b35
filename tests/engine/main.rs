//! `podturn run --engine kubectl`, `podturn --pod NAME` and `kubectl podturn` against a stand-in (`kubectl` beside this file): it executes what is created as local pods, and has the
//! grammar of the real kubectl where that is installed. Clusters are not here.

#![expect(clippy::print_stderr, reason = "a test that cannot run here says so")]

#[path = "../support/changes.rs"]
mod changes;
mod cluster;
mod pod;
mod run;
