//! The coordinator's log as JSON: a line each for the run, for every event of its journal, for what attempts used, and for its outcome.
//!
//! A kubelet removes the volumes of a pod that has ended and keeps its logs, so the log says all that the volume knows of a run. Belongs
//! here: what a line is. Does not belong here: when it is written, and what is made of it.

use podturn_turn::Event;
use serde::{Deserialize, Serialize};

use super::Run;
use super::usage::Sample;

/// One line. Other programs may tell it from whatever else is in a log by its first member, `podturn`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "podturn", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Line {
    /// A coordinator begins: what it has to do. All events so far follow, so that the log of each container is whole.
    Run {
        /// When the line was written (RFC 3339).
        time: String,
        /// When the run's first coordinator started (RFC 3339).
        started_at: Option<String>,
        /// `run.json`, whole.
        run: Run,
    },
    /// An event that the coordinator acted on.
    Event {
        /// When the line was written (RFC 3339); the event itself says when it happened.
        time: String,
        /// The name of the step that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The line of the journal.
        #[serde(flatten)]
        event: Event,
    },
    /// What an attempt used, up to some moment of it.
    Usage {
        /// When the line was written (RFC 3339).
        time: String,
        /// The line of `usage.jsonl`.
        #[serde(flatten)]
        sample: Sample,
    },
    /// Every step has ended.
    Outcome {
        /// When the line was written (RFC 3339).
        time: String,
        /// Succeeded, Failed or Cancelled.
        outcome: String,
        /// When the first coordinator started (RFC 3339).
        started_at: Option<String>,
        /// When the last step had ended (RFC 3339).
        ended_at: Option<String>,
    },
    /// Something that a person should know.
    Message {
        /// When the line was written (RFC 3339).
        time: String,
        /// error, warn, info, debug or trace.
        level: String,
        /// What.
        message: String,
    },
    /// Nobody read the log, and it was not waited for: lines are missing.
    Lost {
        /// How many.
        lines: u64,
    },
}

impl Line {
    /// How every line begins.
    pub const START: &str = "{\"podturn\":";

    /// Appends the line with its newline.
    pub fn write(&self, to: &mut Vec<u8>) {
        if serde_json::to_writer(&mut *to, self).is_ok() {
            to.push(b'\n');
        }
    }
}
