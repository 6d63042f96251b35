//! Emptying a directory that may hold anything. Links are removed and never followed.

use core::ffi::CStr;

use crate::Errno;
use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
use crate::calls::{self, Fd, open};
use crate::path::before_nul;

/// Directories below the outputs are no outputs, and removed too; deeper ones than this are refused.
const DEPTH_MAX: u32 = 16;

/// Leaves `name` in `parent` as an empty directory.
///
/// # Errors
/// Those of open(2), getdents64(2), unlink(2), mkdir(2).
pub(crate) fn clear(parent: Fd, name: &CStr) -> Result<(), Errno> {
    match empty(parent, name, 0) {
        Err(Errno::ENOENT) => calls::make_directory_at(parent, name),
        // A file or a link in its place: the command's own doing.
        Err(Errno::ENOTDIR | Errno(40)) => {
            calls::unlink_at(parent, name)?;
            calls::make_directory_at(parent, name)
        }
        other => other,
    }
}

#[cold] // most containers run one attempt, before which there is nothing
#[inline(never)]
fn empty(parent: Fd, name: &CStr, depth: u32) -> Result<(), Errno> {
    if depth > DEPTH_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    let directory = calls::open_at(parent, name, open::READ | O_DIRECTORY | O_NOFOLLOW, 0)?;
    let emptied = empty_open(directory, depth);
    calls::close(directory);
    emptied
}

fn empty_open(directory: Fd, depth: u32) -> Result<(), Errno> {
    let mut buffer = [0; 1024];
    // What is removed while a directory is read may hide what follows (readdir(3)): again until there was nothing.
    loop {
        let mut removed = false;
        loop {
            let length = calls::directory_entries(directory, &mut buffer)?;
            let mut rest = &buffer[..length];
            if rest.is_empty() {
                break;
            }
            while let Some((name, next)) = first_entry(rest) {
                rest = next;
                if name != c"." && name != c".." {
                    remove(directory, name, depth)?;
                    removed = true;
                }
            }
        }
        if !removed {
            return Ok(());
        }
        calls::rewind(directory)?;
    }
}

fn remove(directory: Fd, name: &CStr, depth: u32) -> Result<(), Errno> {
    const EISDIR: Errno = Errno(21);
    match calls::unlink_at(directory, name) {
        Err(EISDIR | Errno::EPERM) => {
            empty(directory, name, depth + 1)?;
            calls::remove_directory_at(directory, name)
        }
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// The name of the first entry and what follows it: struct linux_dirent64 of getdents64(2).
fn first_entry(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let length = entries.get(LENGTH_AT..LENGTH_AT + 2)?;
    let (entry, rest) = entries.split_at_checked(usize::from(u16::from_ne_bytes([length[0], length[1]])))?;
    let name = before_nul(entry.get(NAME_AT..)?)?;
    Some((name, rest))
}
