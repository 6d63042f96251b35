//! `podturn run` as a person sees it: the real program, its two outputs, its exit code, and what is left afterwards.

#![expect(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod cancel;
#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/changes.rs"]
mod changes;
mod ends;
mod five;
#[path = "../support/golden.rs"]
mod golden;
mod honoured;
mod injected;
mod lifecycle;
mod matrix;
mod output;
mod person;
mod pod;
mod pods;
#[path = "../support/pty.rs"]
mod pty;
mod recipes;
mod refused;
mod rehearsed;
mod restarts;
mod struck;
mod terminal;
mod traced;
mod values;
mod watch;
