//! News of the run: the published state, each time that the coordinator has put a new one in its place.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use podturn_wire::names;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

use super::logs::Message;

/// Nobody reads faster: changes in between are seen together.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells of each new state until nobody listens. `turns` is the volume that podturn works on. Without inotify(7) there is no
/// news, and nothing else is missing.
pub(super) async fn watch(turns: PathBuf, to: Sender<Message>) {
    let Ok(changes) = Changes::of(&turns) else { return };
    while changes.next().await.is_ok() {
        let bytes = fs::read(turns.join(names::STATE)).unwrap_or_default();
        let Ok(state) = serde_json::from_slice(&bytes) else { continue };
        if to.send(Message::State(Box::new(state))).await.is_err() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Files that come to a directory by being renamed.
struct Changes(AsyncFd<Watched>);

struct Watched(Inotify);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Changes {
    fn of(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO)?;
        // SAFETY: the descriptor is the inotify's, which lives as long as this does.
        Ok(Self(unsafe { AsyncFd::register(Watched(inotify)) }?))
    }

    /// Waits until something has come, and takes all that is known of it.
    async fn next(&self) -> io::Result<()> {
        let mut has_come = false;
        loop {
            let mut ready = self.0.readable().await?;
            match ready.get_inner().0.read_events() {
                Ok(_) => has_come = true,
                Err(Errno::EAGAIN) if has_come => return Ok(()),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
