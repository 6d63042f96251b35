//! News of the run: the published state, each time that the coordinator has put a new one in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use podturn_wire::names;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

use super::logs::Message;
use crate::volume::news::Changes;

/// Nobody reads faster: changes in between are seen together.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells of each new state until nobody listens. `turns` is the volume that podturn works on. Without inotify(7) there is no
/// news, and nothing else is missing.
pub(super) async fn watch(turns: PathBuf, to: Sender<Message>) {
    let Ok(changes) = News::of(&turns) else { return };
    while changes.next().await.is_ok() {
        let bytes = fs::read(turns.join(names::STATE)).unwrap_or_default();
        let Ok(state) = serde_json::from_slice(&bytes) else { continue };
        if to.send(Message::State(Box::new(state))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The volume's changes, for tokio.
pub(super) struct News(AsyncFd<Changes>);

impl News {
    pub(super) fn of(volume: &Path) -> io::Result<Self> {
        let changes = Changes::of(volume)?;
        // SAFETY: the descriptor is that of the changes, which live as long as this does.
        Ok(Self(unsafe { AsyncFd::register(changes) }?))
    }

    /// Waits until something has come, and takes all that is known of it.
    pub(super) async fn next(&self) -> io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let has_come = ready.get_inner().take()?;
            ready.clear_ready();
            if has_come {
                return Ok(());
            }
        }
    }
}
