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
/// It does not have to be there. What steps of other users have made in directories of their own may not be ours to remove: that
/// stays where rubbish is.
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
        let mut all = Cleared::default();
        for entry in fs::read_dir(&rubbish)? {
            all.add(empty(&entry?.path(), &mut bury)?);
        }
        if all.gone == 0 {
            return if all.left == 0 { fs::remove_dir(&rubbish) } else { Ok(()) };
        }
    }
}

/// How many things are gone from where they were, and how many could not be moved.
#[derive(Default)]
struct Cleared {
    gone: u64,
    left: u64,
}

impl Cleared {
    fn add(&mut self, other: Self) {
        self.gone += other.gone;
        self.left += other.left;
    }

    fn note(&mut self, done: io::Result<()>) -> io::Result<()> {
        match done {
            Ok(()) => self.gone += 1,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => self.left += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Removes a directory whose own directories go elsewhere first.
fn empty(directory: &Path, bury: &mut impl FnMut(&Path) -> io::Result<()>) -> io::Result<Cleared> {
    let mut cleared = Cleared::default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Cleared { gone: 0, left: 1 }),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        cleared.note(if is_directory { bury(&entry.path()) } else { fs::remove_file(entry.path()) })?;
    }
    if cleared.left == 0 {
        cleared.note(fs::remove_dir(directory))?;
    }
    Ok(cleared)
}
