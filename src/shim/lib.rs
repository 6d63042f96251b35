//! The shim: the parent of a step's command, which waits for the step's turn, runs the command as PID 1 would, and reports.
//!
//! Belongs here: all that happens in a step's container. [`run`] is the protocol over the calls of [`Sys`]; `linux` makes
//! those calls. Does not belong here: allocation, dependencies besides the wire, decisions about other steps.

#![no_std]

mod command;
mod mailbox;
mod run;
mod signals;
mod sys;
mod words;

pub use run::run;
pub use sys::{Errno, Notice, Ready, Reaped, Received, StartFailure, Sys};
