//! The shim: the parent of a step's command, which waits for the step's turn, runs the command as PID 1 would, and reports.
//!
//! Belongs here: all that happens in a step's container. [`run`] is the protocol over the calls of [`Sys`]; `linux` makes
//! those calls. Two more programs live here: `wait`, for containers that are no steps, and `answer`, for the kubelet's probes
//! and hooks. Does not belong here: allocation, dependencies besides the wire, decisions about other steps.

#![no_std]

mod answer;
mod answer_arguments;
mod answer_http;
pub mod arch;
mod arguments;
mod calls;
mod command;
mod connection;
mod environment;
mod linux;
mod look;
mod mailbox;
mod oom;
mod outputs;
mod path;
mod probe;
mod readiness;
mod references;
mod region;
mod relay;
mod run;
mod signals;
mod spawn;
mod substitute;
mod sys;
mod wait;
mod wait_arguments;
mod wait_network;
mod wait_phases;
mod words;

pub use answer::{Room, main as answer};
pub use linux::{Buffers, main};
pub use look::{Look, Registers};
pub use readiness::Schedule;
pub use run::run;
pub use sys::{Errno, Found, Notice, Ready, Reaped, Received, StartFailure, Sys};
pub use wait::main as gate;

/// Ends the process with `code`.
pub fn exit(code: u8) -> ! {
    calls::exit_group(code)
}
