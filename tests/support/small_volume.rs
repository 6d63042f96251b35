//! A volume that is soon full.

use std::path::Path;
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Calls `body` with an empty tmpfs(5) of this size, such as `1m`, in a thread whose mounts are its own and go with it: its children
/// see them. Says so where this user may not mount one.
pub(crate) fn on_a_small_volume(size: &str, body: fn(&Path)) {
    let size = format!("size={size}");
    let thread = thread::spawn(move || {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let none = None::<&str>;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none))
            .and_then(|()| {
                mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
            });
        match mounted {
            Ok(()) => body(directory.path()),
            Err(errno) => println!("SKIPPED: this user may not mount a tmpfs: {errno}"),
        }
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}
