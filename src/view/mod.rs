//! What people see of a run: pure renderings of a published state.
//!
//! Belongs here: text from data. Does not belong here: reading files, printing, colours that depend on a terminal.

mod table;

pub use table::{sentences, table};
