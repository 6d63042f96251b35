//! Single mounts: tmpfs, bind, overlay, read-only. What is mounted where is decided in `root` and `volumes`.
//!
//! Everything here acts on the mount namespace of the calling process, so it belongs after `namespaces::enter`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

/// A failed mount: what was tried, and the kernel's answer.
#[derive(Debug)]
pub struct MountError {
    /// What was being done, as a phrase: `mounting volume src at /src`.
    pub stage: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl std::fmt::Display for MountError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({:?})", self.stage, self.errno.desc(), self.errno)
    }
}

impl std::error::Error for MountError {}

/// Names the stage of a system call that failed.
pub(super) trait Stage<T> {
    /// `stage` is a phrase such as `changing directory to /data`.
    fn stage(self, stage: impl FnOnce() -> String) -> Result<T, MountError>;
}

impl<T> Stage<T> for nix::Result<T> {
    fn stage(self, stage: impl FnOnce() -> String) -> Result<T, MountError> {
        self.map_err(|errno| MountError { stage: stage(), errno })
    }
}

impl<T> Stage<T> for io::Result<T> {
    fn stage(self, stage: impl FnOnce() -> String) -> Result<T, MountError> {
        let errno = |e: io::Error| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        self.map_err(|e| MountError { stage: stage(), errno: errno(e) })
    }
}

const NOTHING: Option<&str> = None;

/// Ends all propagation of mounts between this namespace and the machine's, in both directions.
pub(super) fn keep_to_ourselves() -> nix::Result<()> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
}

/// A tmpfs at `target`. `size` in bytes, at most; the kernel's default is half of the memory.
pub(super) fn tmpfs(target: &Path, mode: u32, size: Option<u64>) -> nix::Result<()> {
    let size = size.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
    let options = format!("mode={mode:o}{size}");
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("podturn"), target, Some("tmpfs"), flags, Some(options.as_str()))
}

/// `source` also at `target`, with all mounts below it: a plain bind of a directory that has mounts below is refused
/// in a user namespace, because it would show what they cover (mount_namespaces(7)).
pub(super) fn bind(source: &Path, target: &Path) -> nix::Result<()> {
    mount(Some(source), target, NOTHING, MsFlags::MS_BIND | MsFlags::MS_REC, NOTHING)
}

/// Makes the mount at `target`, and those below it, read-only. `mount_setattr(2)` changes just that attribute; a remount
/// would have to repeat every locked flag of the source and is refused in a user namespace when it does not.
pub(super) fn read_only(target: &Path) -> nix::Result<()> {
    let attributes =
        nix::libc::mount_attr { attr_set: nix::libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let path = CString::new(target.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is a C string and the structure lives through the call; its size is handed over with it.
    let result = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_mount_setattr,
            nix::libc::AT_FDCWD,
            path.as_ptr(),
            nix::libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<nix::libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}

/// `lower` at `target`, with what is written kept in `upper` (overlayfs). `work` is the kernel's own.
pub(super) fn overlay(lower: &Path, upper: &Path, work: &Path, target: &Path) -> nix::Result<()> {
    let mut options = Vec::new();
    for (key, path) in [("lowerdir=", lower), (",upperdir=", upper), (",workdir=", work)] {
        let bytes = path.as_os_str().as_bytes();
        // These separate options or layers, and the kernel's escapes for them differ between versions.
        if bytes.iter().any(|b| matches!(b, b',' | b':' | b'\\')) {
            return Err(Errno::EINVAL);
        }
        options.extend_from_slice(key.as_bytes());
        options.extend_from_slice(bytes);
    }
    // Without privilege the trusted.* attributes are closed to us: overlayfs then keeps its notes in user.*.
    let unprivileged = [options.as_slice(), b",userxattr"].concat();
    let with = |options: &[u8]| {
        let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
        mount(Some("overlay"), target, Some("overlay"), flags, Some(options))
    };
    with(&unprivileged).or_else(|_| with(&options))
}

/// A fresh `/proc` of the present process namespace.
pub(super) fn proc(target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target, Some("proc"), flags, NOTHING)
}

/// A pseudo-terminal file system of its own.
pub(super) fn devpts(target: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount(Some("devpts"), target, Some("devpts"), flags, Some("newinstance,ptmxmode=0666,mode=0620"))
}

/// What a mount point has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A directory.
    Directory,
    /// Anything else: an empty file is a mount point for it.
    File,
}

/// Opens `path` as it is seen by a process whose root is `root`, links included, and makes what is missing of it.
/// Nothing outside `root` can be reached, whatever links are in it (openat2(2), RESOLVE_IN_ROOT).
pub(super) fn open_or_make(root: BorrowedFd<'_>, path: &Path, shape: Shape, mode: u32) -> nix::Result<OwnedFd> {
    let inside = |path: &Path| open_inside(root, path);
    let mut made = std::path::PathBuf::from("/");
    let mut parent = inside(&made)?;
    let names: Vec<_> = path.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect();
    for (position, name) in names.iter().enumerate() {
        made.push(name);
        let last = position + 1 == names.len();
        parent = match inside(&made) {
            Err(Errno::ENOENT) => {
                make(parent.as_fd(), Path::new(name.as_os_str()), if last { shape } else { Shape::Directory }, mode)?;
                inside(&made)?
            }
            found => found?,
        };
    }
    Ok(parent)
}

/// Opens `path`, which is there, as such a process sees it.
pub(super) fn open_inside(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    openat2(root, path, how)
}

fn make(parent: BorrowedFd<'_>, name: &Path, shape: Shape, mode: u32) -> nix::Result<()> {
    // A descriptor opened with O_PATH is enough for the *at calls (open(2)).
    match shape {
        Shape::Directory => {
            mkdirat(parent, name, Mode::from_bits_truncate(mode))?;
            // mkdirat(2) takes the umask off; what a volume's directory allows should not depend on it.
            let made = openat(parent, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
            nix::sys::stat::fchmod(&made, Mode::from_bits_truncate(mode))
        }
        Shape::File => mknodat(parent, name, SFlag::S_IFREG, Mode::from_bits_truncate(mode & 0o666), 0),
    }
}

/// The path by which this process can name an open file to a call that takes only paths.
pub(super) fn path_of(file: &impl AsFd) -> std::path::PathBuf {
    std::path::PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}
