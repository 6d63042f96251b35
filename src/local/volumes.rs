//! The pod's volumes: what is made of them, and which part of one a container sees.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::container::Bind;
use super::errors::KubeletError;
use super::mounts::{self, Stage};
use super::pod::{LocalPod, Mount, Volume, VolumeFile, VolumeKind};

/// The link through which the files of a volume with values are reached, as the kubelet lays them out: it replaces all of
/// them at once by moving this link (`pkg/volume/util/atomic_writer.go` of Kubernetes). Here they never change.
const DATA: &str = "..data";
/// What it points to.
const VALUES: &str = "..values";

/// Where a volume lies in the directory of the run.
pub(super) fn path(directory: &Path, volume: &str) -> PathBuf {
    directory.join("volumes").join(volume)
}

/// Refuses what this machine does not have. `keep`: what is in the volumes has to outlive this process, so none of them is
/// in memory.
pub(super) fn prepare(pod: &mut LocalPod, keep: bool) -> Result<(), KubeletError> {
    for volume in &mut pod.volumes {
        match &mut volume.kind {
            VolumeKind::HostPath(path) if !path.exists() => {
                return Err(KubeletError::NoHostPath(volume.name.clone(), path.clone()));
            }
            VolumeKind::EmptyDir { in_memory, .. } if keep => *in_memory = false,
            VolumeKind::HostPath(_) | VolumeKind::EmptyDir { .. } | VolumeKind::Files(_) | VolumeKind::Image(_) => {}
        }
    }
    Ok(())
}

/// Makes those that are this run's own.
pub(super) fn make(pod: &LocalPod, directory: &Path) -> Result<(), KubeletError> {
    for volume in &pod.volumes {
        let path = path(directory, &volume.name);
        let stage = || format!("making volume {}", volume.name);
        match &volume.kind {
            // Whoever looks for a run's turns looks among its volumes; the link goes with the run, and what is behind it stays.
            VolumeKind::HostPath(machines) if volume.name == pod.turns => {
                let whole = machines.canonicalize().stage(stage)?;
                fs::create_dir_all(directory.join("volumes")).and_then(|()| symlink(whole, &path)).stage(stage)?;
            }
            VolumeKind::HostPath(_) => {}
            VolumeKind::EmptyDir { in_memory, size } => {
                fs::create_dir_all(&path).stage(stage)?;
                if *in_memory {
                    mounts::tmpfs(&path, 0o777, *size).stage(stage)?;
                }
                fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).stage(stage)?;
            }
            VolumeKind::Files(files) => lay_out(&path, files).stage(stage)?,
            VolumeKind::Image(files) => unpack(&path, files).stage(stage)?,
        }
    }
    Ok(())
}

/// Links at the top of the volume lead through `..data` to the files.
fn lay_out(volume: &Path, files: &[VolumeFile]) -> io::Result<()> {
    let values = volume.join(VALUES);
    fs::create_dir_all(&values)?;
    fs::set_permissions(volume, fs::Permissions::from_mode(0o777))?;
    symlink(VALUES, volume.join(DATA))?;
    for file in files {
        let path = values.join(&file.path);
        fs::create_dir_all(path.parent().unwrap_or(&values))?;
        if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::write(&path, &file.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
        if let Some(first) = file.path.components().next() {
            let link = volume.join(first);
            if !link.is_symlink() {
                symlink(Path::new(DATA).join(first), link)?;
            }
        }
    }
    Ok(())
}

/// No link here: a program that is started from the volume has its own path.
fn unpack(volume: &Path, files: &[VolumeFile]) -> io::Result<()> {
    fs::create_dir_all(volume)?;
    for file in files {
        let path = volume.join(&file.path);
        fs::write(&path, &file.content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// What a mount shows, and where.
pub(super) fn bind(volumes: &[Volume], directory: &Path, mount: &Mount) -> io::Result<Bind> {
    let kind = volumes.iter().find(|volume| volume.name == mount.volume).map(|volume| &volume.kind);
    let own = path(directory, &mount.volume);
    let (whole, is_fixed) = match kind {
        Some(VolumeKind::HostPath(path)) => (path.clone(), false),
        Some(VolumeKind::Files(_) | VolumeKind::Image(_)) => (own, true),
        Some(VolumeKind::EmptyDir { .. }) | None => (own, false),
    };
    let source = if mount.sub_path.as_os_str().is_empty() {
        whole
    } else {
        // A link inside the volume must not lead out of it.
        let root = File::open(&whole)?;
        let part = mounts::open_or_make(root.as_fd(), &mount.sub_path, mounts::Shape::Directory, 0o777)?;
        fs::read_link(mounts::path_of(&part))?
    };
    Ok(Bind { source, target: mount.path.clone(), read_only: mount.read_only || is_fixed })
}
