//! The coordinator's log as it comes: from it the run is known, whatever becomes of its volume.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

use super::note;
use crate::history::{History, Told};
use crate::local::Message;
use crate::volume::log::Line;
use crate::volume::published::State;

/// What a coordinator that failed has said, of which no more is kept.
const SAID_MAX: usize = 64 * 1024;

/// What is known of a run.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Heard>>, Arc<Notify>);

#[derive(Default)]
struct Heard {
    /// The lines of the log that say what happened.
    lines: String,
    /// What else was said.
    rest: String,
}

impl Log {
    /// Reads the log to its end; what a person should know is passed on.
    pub(super) async fn read(self, source: impl AsyncRead + Unpin, tell: Sender<Message>) {
        let mut lines = BufReader::new(source).split(b'\n');
        while let Ok(Some(line)) = lines.next_segment().await {
            if let Some(message) = self.take(&String::from_utf8_lossy(&line)) {
                note(&tell, message).await;
            }
        }
    }

    /// Takes a line, and gives back what of it is for people.
    pub(super) fn take(&self, line: &str) -> Option<String> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.starts_with(Line::START) {
            if heard.rest.len() < SAID_MAX {
                heard.rest.push_str(line);
                heard.rest.push('\n');
            }
            return None;
        }
        match serde_json::from_str(line) {
            Ok(Line::Message { level, message, .. }) if matches!(level.as_str(), "warn" | "error") => Some(message),
            Ok(Line::Message { .. }) => None,
            what => {
                if matches!(what, Ok(Line::Outcome { .. })) {
                    self.1.notify_one();
                }
                heard.lines.push_str(line);
                heard.lines.push('\n');
                None
            }
        }
    }

    /// Comes back when the log has told the outcome.
    pub(super) async fn outcome(&self) {
        self.1.notified().await;
    }

    /// How the run stands after all that was told, and all of that.
    pub(super) fn run(&self) -> Option<(State, Told)> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = Told::from_log(&heard.lines).ok()?;
        let state = History::of(&told.clone().into()).ok()?.state;
        Some((state, told))
    }

    /// What the coordinator has said besides.
    pub(super) fn rest(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rest.clone()
    }
}

/// Takes what is said, so that nobody waits.
pub(super) async fn ignore(mut source: impl AsyncRead + Unpin) {
    let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
}
