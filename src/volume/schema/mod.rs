//! What crosses the volume as JSON Schemas: the turn, the report, the journal's lines and the log's.
//!
//! The turn and the report have a JSON form of their own in `wire`, which cannot allocate, and `turn` derives its
//! journal's form without a schema; the types here describe both. The tests write one of everything with the real
//! code and hold it against the schema, in both directions. Within a version of the protocol members may be added, so the
//! schemas allow unknown ones.
//!
//! Belongs here: types whose doc comments become the schemas: the two files of a mailbox (`mailbox`), and what is written line by
//! line (`lines`). Does not belong here: reading or writing any of them.

#![expect(dead_code, reason = "only their schema is used")]

mod lines;
mod mailbox;
#[cfg(test)]
mod testing;

pub use lines::{journal_schema, log_schema};
pub use mailbox::{report_schema, turn_schema};

use schemars::JsonSchema;

/// Sixteen lower-case hex digits.
#[derive(JsonSchema)]
#[schemars(extend("pattern" = "^[0-9a-f]{16}$"))]
pub(super) struct Id(String);

/// The version of the protocol.
#[derive(JsonSchema)]
#[schemars(extend("const" = 1))]
pub(super) struct Version(u64);

/// A Linux signal number.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1, "maximum" = 64))]
pub(super) struct Signal(u8);

/// The number of an attempt, from 1 within the run.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1))]
pub(super) struct Attempt(u32);

/// A moment: nanoseconds of CLOCK_BOOTTIME (clock_gettime(2)).
#[derive(JsonSchema)]
pub(super) struct Time(u64);

/// A duration in milliseconds.
#[derive(JsonSchema)]
pub(super) struct Millis(u64);

/// The stage at which a command could not be started.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) enum StartStage {
    /// Ending what the attempt before left behind, or clearing its outputs.
    Clear,
    /// Making the child process.
    Fork,
    /// Giving the child its process group, signals and terminal.
    Prepare,
    /// Putting values in the place of references.
    Replace,
    /// execve(2).
    Exec,
    /// The step's `postStart` hook failed while the command ran.
    PostStart,
}

/// What an attempt used, from wait4(2).
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Usage {
    /// Processor time, user and system.
    cpu: Millis,
    /// The largest resident set of one process, in KiB.
    max_rss: u64,
}
