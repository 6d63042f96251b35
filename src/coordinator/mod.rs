//! The coordinator: the loop round the core. Wait, journal, apply, write, ring, publish. No policy.
//!
//! Belongs here: the rules C2 to C12 of the protocol (`docs/protocol.md`). Does not belong here: what a step should do
//! (the core), how a file is read or a process looked at (`volume`, `process`).
//!
//! `world.rs` is the interface to everything outside, `desk.rs` the loop's body, `start.rs` recovery, `deaths.rs` how an
//! end is told from a silence, `told.rs` what is new in a report, `seat.rs` what is kept of a step, `ground.rs` the real
//! world, `serve.rs` the loop, `beside.rs` the thread for all that talks to people and the network, `asked.rs` what people
//! ask for, `log.rs` the log as JSON, `look.rs` what stands in for bells, `probe` readiness over the network, `public.rs` those who only look on,
//! `usage.rs` what steps use while they run.

pub mod asked;
mod beside;
mod deaths;
mod desk;
mod ground;
pub mod log;
mod look;
mod probe;
mod public;
mod seat;
mod serve;
mod start;
mod told;
mod usage;
mod world;

pub use desk::{Coordinator, Failure};
pub use look::Looks;
pub use serve::{Finished, OpenControl, ServeError, hold_signals, serve};
pub use world::{Enclosing, Link, Sight, World, WriteError};
