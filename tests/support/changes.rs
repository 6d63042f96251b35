//! News of directories, for whoever waits for what others write there.

use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};

/// Tells of each change in these directories, for as long as the watcher lives.
pub(crate) fn of(directories: &[&Path]) -> (RecommendedWatcher, Receiver<()>) {
    let (tell, changes) = channel();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Opening a file to look at it would be news as well, and the looking never end.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            let _ = tell.send(());
        }
    })
    .expect("inotify(7)");
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive).expect("inotify(7)");
    }
    (watcher, changes)
}
