//! What a step's command left in its `outputs/`: small files, each a key and its value.
//!
//! Belongs here: reading them. They are hostile input, as everything in `out/` is: what is no regular file of a sensible
//! size with text in it is refused, by name and with the reason, and harms nobody else.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::libc;
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Whence, lseek};
use podturn_turn::Outputs;

/// The longest value in bytes, the newline at its end included.
pub const OUTPUT_MAX: usize = 64 * 1024;

/// The most bytes that a step's values may have together.
pub const OUTPUTS_MAX: usize = 1024 * 1024;

/// The most files that are looked at.
const FILES_MAX: usize = 1000;

/// Reads the outputs in this directory; one that is not there has none.
pub(super) fn read(directory: OwnedFd) -> Outputs {
    let mut outputs = Outputs::default();
    if is_empty(&directory) {
        return outputs; // as nearly all are, on the way from one step to the next
    }
    let names = match list(&directory) {
        Ok(names) => names,
        Err(errno) => {
            outputs.refused.insert(String::new(), format!("the directory cannot be read: {errno}"));
            return outputs;
        }
    };
    let mut room = OUTPUTS_MAX;
    for (count, name) in names.into_iter().enumerate() {
        let key = name.to_string_lossy().into_owned();
        let value = match count {
            FILES_MAX.. => Err(format!("there are more than {FILES_MAX} files")),
            _ => value(&directory, &name, &key, room),
        };
        match value {
            Ok(value) => {
                room -= value.len();
                outputs.values.insert(key, value);
            }
            Err(why) if outputs.refused.len() <= FILES_MAX => drop(outputs.refused.insert(key, why)),
            Err(_) => break,
        }
    }
    outputs
}

/// Whether nothing is in the directory, by a look that costs a fraction of a list: `readdir` takes 32 KiB of memory, a second
/// descriptor and four more system calls.
fn is_empty(directory: &OwnedFd) -> bool {
    let mut entries = [0u8; 256];
    loop {
        // SAFETY: the descriptor is open, and the kernel writes at most so many bytes there.
        let read = unsafe {
            let buffer = entries.as_mut_ptr();
            libc::syscall(libc::SYS_getdents64, directory.as_raw_fd(), buffer, entries.len())
        };
        match usize::try_from(read) {
            Ok(0) => return true,
            Ok(length) if only_itself(&entries[..length]) => {}
            _ => {
                let _ = lseek(directory, 0, Whence::SeekSet); // for who lists it
                return false;
            }
        }
    }
}

/// Whether these entries are `.` and `..` alone: struct linux_dirent64 of getdents64(2).
fn only_itself(mut entries: &[u8]) -> bool {
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    while let Some(length) = entries.get(LENGTH_AT..NAME_AT - 1).and_then(|bytes| bytes.first_chunk()) {
        let Some((entry, rest)) = entries.split_at_checked(usize::from(u16::from_ne_bytes(*length))) else {
            return false;
        };
        let name = entry.get(NAME_AT..).unwrap_or_default();
        if entry.is_empty() || !(name.starts_with(b".\0") || name.starts_with(b"..\0")) {
            return false;
        }
        entries = rest;
    }
    true
}

fn list(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let copy = directory.try_clone().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let mut names = Vec::new();
    for entry in Dir::from_fd(copy)?.iter() {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort(); // the order of a directory is nobody's choice
    Ok(names)
}

fn value(directory: &OwnedFd, name: &CString, key: &str, room: usize) -> Result<String, String> {
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("a key has letters, digits, dashes, underscores and dots".to_owned());
    }
    let file = open(directory, name).map_err(|errno| match errno {
        Errno::ELOOP => "it is a link".to_owned(),
        other => format!("it cannot be opened: {}", other.desc()),
    })?;
    let kind = fstat(&file).map_err(|errno| errno.desc().to_owned())?.st_mode & SFlag::S_IFMT.bits();
    if kind != SFlag::S_IFREG.bits() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    File::from(file)
        .take(OUTPUT_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error: io::Error| format!("it cannot be read: {error}"))?;
    if bytes.len() > OUTPUT_MAX {
        return Err(format!("it is longer than {OUTPUT_MAX} bytes"));
    }
    if bytes.len() > room {
        return Err(format!("the outputs of one step have at most {OUTPUTS_MAX} bytes together"));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop(); // what `echo` adds is not part of the value
    }
    if bytes.contains(&0) {
        return Err("it contains a NUL byte".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn open(directory: &OwnedFd, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    match openat2(directory.as_fd(), name.as_c_str(), OpenHow::new().flags(flags).resolve(resolve)) {
        Err(Errno::ENOSYS | Errno::EPERM) => openat(directory.as_fd(), name.as_c_str(), flags, Mode::empty()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read_from(make: impl FnOnce(&std::path::Path)) -> Outputs {
        let place = tempfile::tempdir().expect("a directory for temporary files");
        make(place.path());
        read(OwnedFd::from(File::open(place.path()).expect("it is there")))
    }

    fn refused(outputs: &Outputs) -> Vec<(&str, &str)> {
        outputs.refused.iter().map(|(name, why)| (name.as_str(), why.as_str())).collect()
    }

    #[test]
    fn a_file_is_a_key_and_its_content_the_value_without_the_last_newline() {
        let outputs = read_from(|place| {
            for (name, content) in [("version", "1.2\n"), ("two", "a\n\n"), ("empty", ""), ("with.dot-dash", "ä")] {
                fs::write(place.join(name), content).expect("it is ours");
            }
        });
        let expected = [("empty", ""), ("two", "a\n"), ("version", "1.2"), ("with.dot-dash", "ä")];
        let expected: BTreeMap<String, String> = expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into();
        assert_eq!(outputs.values, expected);
        assert!(outputs.refused.is_empty());
    }

    #[test]
    fn what_is_no_small_text_file_is_refused_by_name_and_the_rest_is_taken() {
        let outputs = read_from(|place| {
            fs::write(place.join("good"), "yes").expect("it is ours");
            fs::write(place.join("binary"), [0xff, 0xfe]).expect("it is ours");
            fs::write(place.join("nul"), "a\0b").expect("it is ours");
            fs::write(place.join("long"), vec![b'x'; OUTPUT_MAX + 1]).expect("it is ours");
            fs::write(place.join("bad key"), "").expect("it is ours");
            fs::create_dir(place.join("directory")).expect("it is ours");
            symlink("/etc/passwd", place.join("link")).expect("it is ours");
            nix::unistd::mkfifo(&place.join("fifo"), Mode::S_IRWXU).expect("it is ours");
        });
        assert_eq!(outputs.values.keys().collect::<Vec<_>>(), ["good"]);
        let expected = [
            ("bad key", "a key has letters, digits, dashes, underscores and dots"),
            ("binary", "it is not UTF-8"),
            ("directory", "it is not a regular file"),
            ("fifo", "it is not a regular file"),
            ("link", "it is a link"),
            ("long", "it is longer than 65536 bytes"),
            ("nul", "it contains a NUL byte"),
        ];
        assert_eq!(refused(&outputs), expected);
    }

    #[test]
    fn a_step_has_a_mebibyte_of_them() {
        let outputs = read_from(|place| {
            for number in 0..20 {
                fs::write(place.join(format!("{number:02}")), vec![b'x'; OUTPUT_MAX]).expect("it is ours");
            }
        });
        assert_eq!(outputs.values.len(), OUTPUTS_MAX / OUTPUT_MAX);
        assert_eq!(outputs.refused.len(), 4);
    }
}
