//! News of a run: that its published state was replaced. For views, which are few: inotify(7) has few instances a user.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

/// How long nobody asks whether news can still come, in ms.
const SECOND: u16 = 1_000;

/// Files that come to a directory by being renamed.
#[derive(Debug)]
pub struct Changes(Inotify);

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Changes {
    /// Begins to watch a volume.
    ///
    /// # Errors
    /// When inotify is refused.
    pub fn of(volume: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(volume, AddWatchFlags::IN_MOVED_TO)?;
        Ok(Self(inotify))
    }

    /// Takes all that has come; whether there was anything.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take(&self) -> io::Result<bool> {
        let mut has_come = false;
        loop {
            match self.0.read_events() {
                Ok(_) => has_come = true,
                Err(Errno::EAGAIN) => return Ok(has_come),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Blocks until something has come, and takes it; or until nothing will come any more, which is asked once a second.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_while(&self, goes_on: impl Fn() -> bool) -> io::Result<()> {
        while !self.take()? && goes_on() {
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], SECOND) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// The same for whoever waits for other things too, on tokio.
#[derive(Debug)]
pub struct News(AsyncFd<Changes>);

impl News {
    /// Of changes that are watched already.
    ///
    /// # Errors
    /// When they cannot be waited for.
    pub fn of(changes: Changes) -> io::Result<Self> {
        // SAFETY: the descriptor is that of the changes, which live as long as this does.
        Ok(Self(unsafe { AsyncFd::register(changes) }?))
    }

    /// Waits until something has come, and takes it.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn next(&self) -> io::Result<()> {
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
