//! News of the run: the published state, each time that the coordinator has put a new one in its place.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use podturn_wire::names;
use tokio::sync::mpsc::Sender;

use super::logs::Message;
use crate::volume::news::{Changes, News};

/// Nobody reads faster: changes in between are seen together.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells of each new state until nobody listens. `turns` is the volume that podturn works on. Without inotify(7) there is no
/// news, and nothing else is missing.
pub(super) async fn watch(turns: PathBuf, to: Sender<Message>) {
    let Ok(changes) = Changes::of(&turns).and_then(News::of) else { return };
    while changes.next().await.is_ok() {
        let bytes = fs::read(turns.join(names::STATE)).unwrap_or_default();
        let Ok(state) = serde_json::from_slice(&bytes) else { continue };
        if to.send(Message::State(Box::new(state))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
