//! What stands in for the bells where containers share no sockets (`--bell file`): when a register was changed or touched, and
//! who holds the lock in `in/alive`.
//!
//! Belongs here: looking, touching, and asking the kernel for a lock's holder. Does not belong here: what a silence means.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, fcntl};
use nix::libc;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::stat::{UtimensatFlags, fstatat, utimensat};
use nix::sys::statfs::{FsType, statfs};
use nix::sys::time::TimeSpec;
use podturn_turn::StepId;
use podturn_wire::{InstanceId, alive, names};

use super::{Bell, Mailboxes, Volume, VolumeError};

/// What gVisor calls a directory of the host that a container has mounted (`include/uapi/linux/magic.h`: `V9FS_MAGIC`). Each
/// container has a mount of its own there, and a socket is seen in the one alone in which it was made.
const NINE_P: FsType = FsType(0x0102_1997);

/// What suits the file system of this volume (statfs(2)), where nobody has said what to use.
///
/// # Errors
/// Those of statfs(2).
pub fn suitable_bell(volume: &Volume) -> Result<Bell, VolumeError> {
    let path = volume.path();
    let found = statfs(path).map_err(|errno| VolumeError::new("cannot look at the file system of", path, errno))?;
    Ok(bell_on(found.filesystem_type()))
}

fn bell_on(kind: FsType) -> Bell {
    if kind == NINE_P { Bell::File } else { Bell::Socket }
}

/// When a file came to be as it is: changed, replaced or touched. Only good for telling whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The file's inode number.
    pub inode: u64,
    /// Its `st_ctime`: seconds, and ns.
    pub changed: (i64, i64),
}

/// Whoever holds the lock of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody, or nobody whose lock is seen here.
    Nobody,
    /// Somebody, with this process id as this process namespace counts; 0: it has none here.
    Process(u32),
}

/// The mailboxes of a run without bells, as its coordinator watches them.
#[derive(Debug)]
pub struct Watched {
    steps: Vec<Step>,
    public: PathBuf,
    arrivals: Option<Arrivals>,
}

#[derive(Debug)]
struct Step {
    /// `in/alive`. Not closed, and opened nowhere else in this process: each close would end the locks that this process has on it.
    alive: File,
    report: CString,
    turn: CString,
}

/// inotify(7): reports that come to be. It shortens the wait where it works, and nothing relies on it.
#[derive(Debug)]
struct Arrivals {
    inotify: Inotify,
    steps: Vec<(WatchDescriptor, StepId)>,
}

impl Watched {
    /// The mailboxes of these steps, in this order.
    ///
    /// # Errors
    /// When a file cannot be opened that the init container laid down.
    pub fn open<'a>(volume: &Volume, steps: impl Iterator<Item = &'a str>) -> Result<Self, VolumeError> {
        let root = volume.path().join(names::STEPS);
        let (mut watched, mut outboxes) = (Vec::new(), Vec::new());
        for name in steps {
            let path = root.join(name).join(names::IN).join(names::ALIVE);
            let alive = File::open(&path).map_err(|error| VolumeError::new("cannot open", &path, error))?;
            let beneath = |half, file| CString::new(format!("{name}/{half}/{file}")).unwrap_or_default(); // a checked name has no NUL
            watched.push(Step {
                alive,
                report: beneath(names::OUT, names::REPORT),
                turn: beneath(names::IN, names::TURN),
            });
            outboxes.push(root.join(name).join(names::OUT));
        }
        let arrivals = Arrivals::of(&outboxes);
        if let Err(error) = &arrivals {
            tracing::info!("reports are only looked for, since inotify is refused: {error}");
        }
        let public = volume.path().join(names::PUBLIC).join(names::PHASES);
        Ok(Self { steps: watched, public, arrivals: arrivals.ok() })
    }

    /// What becomes readable when a report comes, if the kernel says so.
    #[must_use]
    pub fn arrivals(&self) -> Option<BorrowedFd<'_>> {
        self.arrivals.as_ref().map(|arrivals| arrivals.inotify.as_fd())
    }

    /// The steps whose report has come, each once.
    pub fn take_arrivals(&self) -> Vec<StepId> {
        self.arrivals.as_ref().map(Arrivals::take).unwrap_or_default()
    }

    /// Of the step's report; `None`: there is none. A link is not followed.
    #[must_use]
    pub fn stamp(&self, mailboxes: &Mailboxes, step: StepId) -> Option<Stamp> {
        let path = self.steps[step.index()].report.as_c_str();
        let stat = fstatat(mailboxes.directory(), path, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        Some(Stamp { inode: stat.st_ino, changed: (stat.st_ctime, stat.st_ctime_nsec) })
    }

    /// Who holds the lock of this instance: by the kernel's word, not the report's.
    #[must_use]
    pub fn holder(&self, step: StepId, instance: InstanceId) -> Holder {
        // Asked for an exclusive lock, the kernel names whoever has any.
        let mut lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: alive::lock_byte(instance).cast_signed(),
            l_len: 1,
            l_pid: 0,
        };
        let asked = fcntl(&self.steps[step.index()].alive, FcntlArg::F_GETLK(&mut lock));
        if asked.is_err() || lock.l_type == libc::F_UNLCK as libc::c_short {
            return Holder::Nobody;
        }
        Holder::Process(u32::try_from(lock.l_pid).unwrap_or(0))
    }

    /// Touches every turn, so that the shims see that there is a coordinator; and the phases, for those who look on.
    pub fn beat(&self, mailboxes: &Mailboxes) {
        let now = TimeSpec::new(0, libc::UTIME_NOW);
        for step in &self.steps {
            // One that is not touched is so the next time; shims wait for longer than that.
            let _ = utimensat(mailboxes.directory(), step.turn.as_c_str(), &now, &now, UtimensatFlags::NoFollowSymlink);
        }
        let _ = utimensat(nix::fcntl::AT_FDCWD, &self.public, &now, &now, UtimensatFlags::NoFollowSymlink);
    }
}

impl Arrivals {
    fn of(outboxes: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let watch = |(index, path): (usize, &PathBuf)| {
            let path: &Path = path;
            Ok((inotify.add_watch(path, AddWatchFlags::IN_MOVED_TO)?, StepId(index as u32)))
        };
        let steps = outboxes.iter().enumerate().map(watch).collect::<Result<_, Errno>>()?;
        Ok(Self { inotify, steps })
    }

    fn take(&self) -> Vec<StepId> {
        let mut came = Vec::new();
        // What is left in the queue wakes the next wait.
        for event in self.inotify.read_events().unwrap_or_default() {
            let step = self.steps.iter().find(|(watch, _)| *watch == event.wd).map(|(_, step)| *step);
            came.extend(step.filter(|step| !came.contains(step)));
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::statfs::{EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC};

    use super::*;

    #[test]
    fn sockets_are_not_relied_on_where_each_container_has_its_own() {
        assert_eq!(bell_on(FsType(0x0102_1997)), Bell::File);
        for shared in [TMPFS_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC] {
            assert_eq!(bell_on(shared), Bell::Socket, "{shared:?}");
        }
    }

    #[test]
    fn the_volume_itself_is_asked() {
        let volume = Volume::open(Path::new("/proc")).unwrap();
        assert_eq!(suitable_bell(&volume).unwrap(), Bell::Socket);
    }
}
