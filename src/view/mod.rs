//! What people see of a run: pure renderings of a published state.
//!
//! Belongs here: text from data. Does not belong here: reading files, printing, colours that depend on a terminal. The one thing that is not rendering is the present time.

mod act;
mod advice;
mod escape;
pub mod graph;
mod junit;
mod line;
mod markdown;
pub mod metrics;
mod rehearsal;
mod report;
pub mod signs;
mod table;
mod traces;
pub mod watch;
mod why;

#[cfg(test)]
mod played;

pub use act::Act;
pub use advice::{Advised, advice};
pub use junit::junit;
pub use line::line;
pub use markdown::markdown;
pub use rehearsal::{failures, timeline};
pub use report::{Live, report, total};
pub use table::{sentences, table};
pub use traces::{Source, traces};
pub use why::{at, now, standing, why};
