//! A container's root: this machine's own, seen through a layer that takes every write and forgets it.
//!
//! Each directory at the top of this machine's root is the lower half of an overlay whose upper half is in memory, so that
//! a container can write anywhere, and mount points that do not exist here can be made, and nothing of that reaches the
//! machine. Where an overlay is not to be had (a directory with mounts of its own below, in a user namespace) the directory
//! is there to read only. In a user namespace a directory of another user, below the top, takes no writes either; only mount points are
//! made there, on one more layer. `/tmp`, `/run` and `/dev` are the container's own.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::unistd::{AccessFlags, chdir, eaccess, fchdir, pivot_root};

use super::container::Bind;
use super::mounts::{self, MountError, Shape, Stage};

/// The devices that every container has (OCI runtime specification, "Default Devices").
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// A root under construction.
pub(super) struct Root {
    path: PathBuf,
    file: OwnedFd,
    /// Where something is mounted on this machine.
    below: Vec<PathBuf>,
    /// The directory of the run, which no container sees.
    hidden: PathBuf,
}

impl Root {
    /// Builds a root on an empty directory, in the mount namespace of this process alone.
    pub(super) fn build(scratch: &Path, hidden: &Path) -> Result<Self, MountError> {
        mounts::keep_to_ourselves().stage(|| "separating its mounts".to_owned())?;
        mounts::tmpfs(scratch, 0o755, None).stage(|| format!("mounting a tmpfs at {}", scratch.display()))?;
        let path = scratch.join("root");
        for directory in ["root", "upper", "work", "covers"] {
            fs::create_dir(scratch.join(directory)).stage(|| format!("making {directory}"))?;
        }
        let mut below = mount_points();
        below.retain(|point| !point.starts_with(hidden));
        let entries = fs::read_dir("/").stage(|| "reading the root directory".to_owned())?;
        for entry in entries.flatten() {
            add_top(scratch, &entry, &below)?;
        }
        add_run(&path)?;
        add_devices(&path.join("dev"))?;
        add_tmpfs(&path.join("tmp"), 0o1777)?;
        hide(hidden, &path)?;
        let file = File::open(&path).stage(|| "opening the new root".to_owned())?.into();
        let root = Self { path, file, below, hidden: hidden.to_owned() };
        root.add_proc()?;
        Ok(root)
    }

    fn add_proc(&self) -> Result<(), MountError> {
        let target = self.path.join("proc");
        fs::create_dir_all(&target).stage(|| "making /proc".to_owned())?;
        // A /proc that something is mounted over (this is a container itself) may not be mounted anew.
        mounts::proc(&target)
            .or_else(|_| mounts::bind(Path::new("/proc"), &target))
            .stage(|| "mounting /proc".to_owned())
    }

    /// Sees to it that mount points can be made: in a directory of this machine in which this user may make nothing (another one's, below
    /// the top, in a user namespace) by one more layer, whose top is this user's. To be called before anything is mounted.
    pub(super) fn make_room<'p>(&self, targets: impl Iterator<Item = &'p Path>) -> Result<(), MountError> {
        let mut closed: Vec<PathBuf> = targets.filter_map(|target| self.closed_above(target)).collect();
        closed.sort(); // the outer ones first, so that no layer covers another
        closed.dedup();
        for (number, source) in closed.iter().enumerate() {
            let stage = || format!("covering {}", source.display());
            let layer = self.path.with_file_name("covers").join(number.to_string());
            let (upper, work) = (layer.join("upper"), layer.join("work"));
            fs::create_dir(&layer)
                .and_then(|()| fs::create_dir(&upper))
                .and_then(|()| fs::create_dir(&work))
                .stage(stage)?;
            copy_mode(source, &upper);
            let target = inside(&self.path, source);
            if mounts::overlay(source, &upper, &work, &target).is_err() {
                continue; // making the mount point says why it cannot be made
            }
            show_below(source, &self.path, &self.below);
            if self.hidden.starts_with(source) {
                hide(&self.hidden, &self.path)?;
            }
        }
        Ok(())
    }

    /// The directory of this machine in which a path would have to be begun, if this user may not.
    fn closed_above(&self, target: &Path) -> Option<PathBuf> {
        let nearest = target
            .ancestors()
            .find_map(|path| mounts::open_inside(self.file.as_fd(), path).ok().map(|file| (path, file)));
        let (_, directory) = nearest.filter(|(path, _)| *path != target)?;
        let directory = mounts::path_of(&directory);
        if eaccess(&directory, AccessFlags::W_OK | AccessFlags::X_OK) != Err(Errno::EACCES) {
            return None;
        }
        let source = Path::new("/").join(fs::read_link(directory).ok()?.strip_prefix(&self.path).ok()?);
        source.is_dir().then_some(source)
    }

    /// Mounts a path of the pod into the container; what is missing of the target is made.
    pub(super) fn bind(&self, bind: &Bind) -> Result<(), MountError> {
        let shape = if bind.source.is_dir() { Shape::Directory } else { Shape::File };
        let at = bind.target.display();
        let target = mounts::open_or_make(self.file.as_fd(), &bind.target, shape, 0o755)
            .stage(|| format!("making the mount point {at}"))?;
        let target = mounts::path_of(&target);
        let real = fs::read_link(&target).stage(|| format!("finding {at}"))?;
        mounts::bind(&bind.source, &real).stage(|| format!("mounting {} at {at}", bind.source.display()))?;
        if bind.read_only {
            mounts::read_only(&real).stage(|| format!("making {at} read-only"))?;
        }
        Ok(())
    }

    /// Makes a directory of the container, if it is missing.
    pub(super) fn make_directory(&self, path: &Path) -> Result<(), MountError> {
        let made = mounts::open_or_make(self.file.as_fd(), path, Shape::Directory, 0o755);
        made.map(drop).stage(|| format!("making the directory {}", path.display()))
    }
}

/// Makes the root this process's own, and lets go of the machine's.
pub(super) fn change_to(root: Root) -> Result<(), MountError> {
    // A new root has to be a mount of its own (pivot_root(2)).
    mounts::bind(&root.path, &root.path).stage(|| "mounting the new root".to_owned())?;
    chdir(&root.path).stage(|| "entering the new root".to_owned())?;
    let old: OwnedFd = File::open("/").stage(|| "opening the old root".to_owned())?.into();
    pivot_root(".", ".").stage(|| "changing the root".to_owned())?;
    fchdir(&old).stage(|| "leaving the old root".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).stage(|| "unmounting the old root".to_owned())?;
    chdir("/").stage(|| "entering the new root".to_owned())
}

/// Where something is mounted (proc_pid_mountinfo(5)).
fn mount_points() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(path.replace("\\040", " ")))
        .collect()
}

fn add_top(scratch: &Path, entry: &fs::DirEntry, mount_points: &[PathBuf]) -> Result<(), MountError> {
    let (name, source) = (entry.file_name(), entry.path());
    let target = scratch.join("root").join(&name);
    let stage = || format!("building {}", source.display());
    let Ok(kind) = entry.file_type() else { return Ok(()) };
    if kind.is_symlink() {
        let to = fs::read_link(&source).stage(stage)?;
        return symlink(to, &target).stage(stage);
    }
    if !kind.is_dir() || ["proc", "dev", "tmp", "run"].iter().any(|own| name == *own) {
        return Ok(());
    }
    fs::create_dir(&target).stage(stage)?;
    if name == "sys" {
        return mounts::bind(&source, &target).and_then(|()| mounts::read_only(&target)).stage(stage);
    }
    let (upper, work) = (scratch.join("upper").join(&name), scratch.join("work").join(&name));
    fs::create_dir(&upper).and_then(|()| fs::create_dir(&work)).stage(stage)?;
    copy_mode(&source, &upper);
    if mounts::overlay(&source, &upper, &work, &target).is_err() {
        return mounts::bind(&source, &target).and_then(|()| mounts::read_only(&target)).stage(stage);
    }
    show_below(&source, &scratch.join("root"), mount_points);
    Ok(())
}

/// An overlay does not show what is mounted below its lower half.
fn show_below(source: &Path, root: &Path, mount_points: &[PathBuf]) {
    for below in mount_points.iter().filter(|point| point.starts_with(source) && *point != source) {
        let inside = inside(root, below);
        let _ = mounts::bind(below, &inside).and_then(|()| mounts::read_only(&inside));
    }
}

/// Where a path of this machine is seen in the new root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The top of an overlay shows the upper half's mode.
fn copy_mode(from: &Path, to: &Path) {
    if let Ok(meta) = fs::metadata(from) {
        let _ = fs::set_permissions(to, meta.permissions());
    }
}

/// Covers a directory, if it is seen in the new root.
fn hide(directory: &Path, root: &Path) -> Result<(), MountError> {
    let inside = inside(root, directory);
    if !inside.is_dir() {
        return Ok(());
    }
    mounts::tmpfs(&inside, 0o700, Some(0)).stage(|| format!("hiding {}", directory.display()))
}

fn add_tmpfs(target: &Path, mode: u32) -> Result<(), MountError> {
    let stage = || format!("mounting a tmpfs at {}", target.display());
    fs::create_dir_all(target).stage(stage)?;
    mounts::tmpfs(target, mode, None).stage(stage)
}

/// `/run` is the container's own, but for the resolver's configuration that `/etc/resolv.conf` may point to.
fn add_run(root: &Path) -> Result<(), MountError> {
    add_tmpfs(&root.join("run"), 0o755)?;
    let Ok(real) = fs::canonicalize("/etc/resolv.conf") else { return Ok(()) };
    if let Ok(inside) = real.strip_prefix("/").map(|inside| root.join(inside)).map_err(drop)
        && real.starts_with("/run")
        && let Some(directory) = inside.parent()
    {
        let made = fs::create_dir_all(directory).and_then(|()| File::create(&inside));
        if made.is_ok() {
            let _ = mounts::bind(&real, &inside);
        }
    }
    Ok(())
}

fn add_devices(dev: &Path) -> Result<(), MountError> {
    add_tmpfs(dev, 0o755)?;
    for device in DEVICES {
        let (source, target) = (Path::new("/dev").join(device), dev.join(device));
        let stage = || format!("adding {}", source.display());
        File::create(&target).stage(stage)?;
        mounts::bind(&source, &target).stage(stage)?;
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(to, dev.join(name)).stage(|| format!("adding /dev/{name}"))?;
    }
    add_tmpfs(&dev.join("shm"), 0o1777)?;
    let pts = dev.join("pts");
    fs::create_dir(&pts).stage(|| "making /dev/pts".to_owned())?;
    let _ = mounts::devpts(&pts); // without one there are no terminals inside, and nothing else is missing
    Ok(())
}
