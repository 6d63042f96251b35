//! Removing what another run left, whatever its steps made of it.
//!
//! A step may nest directories deeper than a path is long, a process may have open files, or its stack goes. So nothing here
//! follows a path into a tree: each directory is renamed into one flat place and emptied there, one level at a time.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where directories wait for their removal, on the volume.
const RUBBISH: &str = ".rubbish";

/// Removes the directory `name` of the volume and all that is in it, and whatever an earlier call left that was killed.
/// It does not have to be there.
pub(super) fn remove_tree(volume: &Path, name: &str) -> io::Result<()> {
    let rubbish = volume.join(RUBBISH);
    match fs::create_dir(&rubbish) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut names = (0u64..).map(|number| rubbish.join(number.to_string())).filter(|path| !path.exists());
    let mut bury = |path: &Path| -> io::Result<()> {
        // Its owner may have forbidden it to everybody. It is a directory, never a link; and where the mode is not ours to
        // change, it may not have to be.
        let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        let grave = names.next().ok_or(io::ErrorKind::StorageFull)?;
        fs::rename(path, grave)
    };
    match bury(&volume.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    loop {
        let mut is_empty = true;
        for entry in fs::read_dir(&rubbish)? {
            is_empty = false;
            empty(&entry?.path(), &mut bury)?;
        }
        if is_empty {
            return fs::remove_dir(&rubbish);
        }
    }
}

/// Removes a directory whose own directories go elsewhere first.
fn empty(directory: &Path, bury: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            bury(&entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
