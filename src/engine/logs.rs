//! The coordinator's log as it comes: from it the run is known, whatever becomes of its volume.

use std::sync::{Arc, Mutex, PoisonError};

use podturn_turn::{Event, Kind, Request};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;

use super::note;
use crate::history::{History, Told};
use crate::inject::PODTURN;
use crate::local::{End, Message, Stream, follow};
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
    /// The coordinator was told that its pod is being deleted, or ended otherwise.
    is_ending: bool,
}

impl Log {
    /// A log that is there to its end.
    pub(super) fn of(log: &str) -> Self {
        let all = Self::default();
        log.lines().for_each(|line| drop(all.take(line)));
        all
    }

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
    fn take(&self, line: &str) -> Option<String> {
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
                match &what {
                    Ok(Line::Outcome { .. }) => self.1.notify_one(),
                    Ok(Line::Event { event, .. }) => heard.is_ending |= is_termination(event),
                    _ => {}
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

    /// Whether the pod is on its way down (a deletion, its `activeDeadlineSeconds`, an eviction), whatever the API server says.
    pub(super) fn is_ending(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_ending
    }

    /// How the run stands after all that was told, and all of that.
    pub(super) fn run(&self) -> Option<(State, Told)> {
        run_of(&self.0.lock().unwrap_or_else(PoisonError::into_inner).lines).ok()
    }

    /// Says at a pod's end what the run was. What a coordinator has said besides that told no outcome may tell why.
    pub(super) async fn conclude(&self, end: &mut End, tell: &Sender<Message>) {
        if let Some((state, told)) = self.run() {
            (end.state, end.journal) = (Some(state), Some((told.run, told.events, told.usage)));
        }
        if end.state.as_ref().is_none_or(|state| state.outcome.is_none()) && !end.killed {
            let rest = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).rest);
            follow(PODTURN.to_owned(), Stream::Err, rest.as_bytes(), tell.clone()).await;
        }
    }
}

fn is_termination(event: &Event) -> bool {
    matches!(event.kind, Kind::Requested { request: Request::Terminate { .. } })
}

/// How a run stands after all that a log tells, and all of that.
///
/// # Errors
/// Why it tells of none.
pub(super) fn run_of(log: &str) -> Result<(State, Told), String> {
    let told = Told::from_log(log).map_err(|error| error.to_string())?;
    let history = History::of(&told.clone().into()).map_err(|error| error.to_string())?;
    Ok((history.state, told))
}

/// Takes what is said, so that nobody waits.
pub(super) async fn ignore(mut source: impl AsyncRead + Unpin) {
    let _ = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a pod with an image that does not exist, at its `activeDeadlineSeconds` (Kubernetes 1.36).
    const DEADLINE: &str = r#"{"podturn":"event","time":"2026-11-26T21:15:50.9Z","seq":9,"at":5810,"event":"requested","request":{"terminate":{"grace":9000}}}"#;

    #[test]
    fn a_pod_on_its_way_down_is_known_by_its_coordinator() {
        let others = r#"{"podturn":"event","time":"2026-11-26T21:15:50.9Z","seq":9,"at":5810,"event":"requested","request":"cancel"}"#;
        assert!(!Log::of(others).is_ending());
        assert!(Log::of(&format!("{others}\n{DEADLINE}\n")).is_ending());
    }
}
