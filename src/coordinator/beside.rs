//! The thread beside the loop: whatever talks to people or to the network runs there, on tokio.
//!
//! Belongs here: how its news reach the loop. Does not belong here: anything that decides. A hand-off never waits for this
//! thread, and costs nothing in it: the loop's own epoll(7) wakes the loop alone, and hears of news by an eventfd(2).

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::asked::Asked;
use super::probe::Found;
use super::serve::OpenControl;
use crate::volume::Volume;

/// How long the socket stays after the loop's end where somebody has asked: the last answer has to be written.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Verdicts that may wait to be handed on: a service has one at a time.
const VERDICTS: usize = 16;

/// What the loop is told.
pub(super) enum News {
    /// A person asks.
    Asked(Asked),
    /// A network probe has come to something.
    Found(Found),
    /// What steps use was measured.
    Measured,
}

/// The thread, as long as this is kept.
pub(super) struct Beside {
    handle: Handle,
    verdicts: mpsc::Sender<Found>,
    measured: mpsc::Sender<()>,
    news: Receiver<News>,
    bell: Arc<EventFd>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Starts the thread and opens the control socket there.
    ///
    /// # Errors
    /// When no thread or no descriptor is to be had.
    pub(super) fn start(volume: &Volume, open: OpenControl) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?);
        let (told, news) = channel();
        let (verdicts, found) = mpsc::channel(VERDICTS);
        let (measured, looks) = mpsc::channel(1);
        let (opening, opened) = channel::<()>();
        let (stop, stopped) = oneshot::channel();
        let (handle, volume, told) = (
            runtime.handle().clone(),
            volume.clone(),
            Told { was_asked: Cell::new(false), told, bell: Arc::clone(&bell) },
        );
        let thread = std::thread::Builder::new().name("podturn-beside".to_owned()).spawn(move || {
            runtime.block_on(async {
                let (_control, questions) = open(&volume);
                drop(opening);
                tokio::select! {
                    () = hand_on(questions, found, looks, &told) => {}
                    _ = stopped => {}
                }
                if told.was_asked.get() {
                    sleep(LAST_WORDS).await;
                }
            });
        })?;
        let _ = opened.recv(); // it ends once the socket is there: whoever sees a step run can ask
        Ok(Self { handle, verdicts, measured, news, bell, stop: Some(stop), thread: Some(thread) })
    }

    /// Where tasks run, and where network probes put their verdicts.
    pub(super) fn for_probes(&self) -> (Handle, mpsc::Sender<Found>) {
        (self.handle.clone(), self.verdicts.clone())
    }

    /// Where tasks run, and where they say that something was measured.
    pub(super) fn for_usage(&self) -> (Handle, mpsc::Sender<()>) {
        (self.handle.clone(), self.measured.clone())
    }

    /// Readable when there is news.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes all news there is.
    pub(super) fn take(&self) -> Vec<News> {
        let _ = self.bell.read(); // before the news: what comes after them rings again
        self.news.try_iter().collect()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it removes the socket
        }
    }
}

/// The way to the loop.
struct Told {
    was_asked: Cell<bool>,
    told: Sender<News>,
    bell: Arc<EventFd>,
}

impl Told {
    fn tell(&self, news: News) {
        self.was_asked.set(self.was_asked.get() || matches!(news, News::Asked(_)));
        if self.told.send(news).is_ok() {
            let _ = self.bell.write(1); // full only after 2^64 of them
        }
    }
}

async fn hand_on(
    mut questions: Option<mpsc::Receiver<Asked>>,
    mut found: mpsc::Receiver<Found>,
    mut looks: mpsc::Receiver<()>,
    told: &Told,
) {
    loop {
        tokio::select! {
            Some(asked) = next(&mut questions) => told.tell(News::Asked(asked)),
            Some(found) = found.recv() => told.tell(News::Found(found)),
            Some(()) = looks.recv() => told.tell(News::Measured),
            else => std::future::pending().await,
        }
    }
}

/// The next question, if any can come.
async fn next(questions: &mut Option<mpsc::Receiver<Asked>>) -> Option<Asked> {
    match questions {
        Some(questions) => questions.recv().await,
        None => None,
    }
}
