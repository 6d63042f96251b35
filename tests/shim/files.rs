//! The coordinator's side of a mailbox without a bell (`--bell file`): it touches the turn, and looks at the report and the lock.
//! `PODTURN_TEST_BELL=file` tells every story of this program so; `.ci/nightly` does, but for those that are about sockets.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use podturn_wire::{InstanceId, alive};

/// More often than it has to be, so that a story does not wait for it.
const BEAT_EVERY: Duration = Duration::from_millis(100);

/// Whether the stories are told without bells.
pub(crate) fn are_wanted() -> bool {
    std::env::var_os("PODTURN_TEST_BELL").is_some_and(|bell| bell == "file")
}

/// A coordinator that lives.
pub(crate) struct Beat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beat {
    pub(crate) fn of(turn: PathBuf) -> Self {
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            touch(&turn);
            while stopped.recv_timeout(BEAT_EVERY) == Err(RecvTimeoutError::Timeout) {
                touch(&turn);
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn touch(turn: &Path) {
    let now = TimeSpec::new(0, libc::UTIME_NOW);
    let _ = utimensat(AT_FDCWD, turn, &now, &now, UtimensatFlags::NoFollowSymlink); // it may be just being replaced
}

/// What changes with a report, and with each touch of it.
pub(crate) fn stamp(report: &Path) -> Option<(u64, i64, i64)> {
    let report = fs::metadata(report).ok()?;
    Some((report.ino(), report.ctime(), report.ctime_nsec()))
}

/// Whether somebody holds the lock of this instance.
pub(crate) fn is_held(alive_file: &Path, instance: InstanceId) -> bool {
    let file = File::open(alive_file).expect("the mailbox was laid out so");
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: alive::lock_byte(instance).cast_signed(),
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).expect("locks are known here");
    lock.l_type != libc::F_UNLCK as libc::c_short
}
