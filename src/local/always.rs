//! A pod whose containers restart (`restartPolicy: Always`): it lives until it is asked to end, and ends with its plan.
//!
//! Belongs here: waiting for that. Does not belong here: starting again what has ended, as for native sidecars (`sidecars`).

use std::fs;
use std::io;

use tokio::sync::mpsc::Receiver;

use super::errors::KubeletError;
use super::kubelet::{Interrupt, Kubelet, until};
use super::sidecars::Sidecars;
use super::watch::News;
use crate::volume::published::State;

impl Kubelet {
    /// Keeps a pod whose containers restart, until it is asked to end and its plan has ended.
    pub(super) async fn serve(
        &mut self,
        sidecars: &mut Sidecars,
        interrupts: &mut Receiver<Interrupt>,
    ) -> Result<(), KubeletError> {
        let news = News::of(&self.turns());
        while !(self.end.killed || self.cancelled.is_some() && self.has_outcome()) {
            tokio::select! {
                event = sidecars.next() => self.handle_sidecar(event, sidecars)?,
                _ = news_of(&news) => {}
                Some(interrupt) = interrupts.recv() => self.handle_interrupt(interrupt),
                () = until(self.cancelled) => return Ok(()),
            }
        }
        Ok(())
    }

    /// What the coordinator has published last.
    pub(super) fn state(&self) -> Option<State> {
        let bytes = fs::read(self.turns().join(podturn_wire::names::STATE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn has_outcome(&self) -> bool {
        self.state().is_some_and(|state| state.outcome.is_some())
    }
}

/// The next news of the run; none, where it cannot be watched.
async fn news_of(news: &io::Result<News>) -> io::Result<()> {
    match news {
        Ok(news) => news.next().await,
        Err(_) => std::future::pending().await,
    }
}
