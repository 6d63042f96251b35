//! The shared volume with real files, sockets and processes: what survives, what is refused, and that nothing a step puts
//! into its own `out/` harms anybody else.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]

mod bells;
mod full;
mod hostile;
mod house;
mod journal;
mod layout;
mod published;
#[path = "../support/small_volume.rs"]
mod small_volume;
