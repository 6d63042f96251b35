//! The last lines of each container of a `podturn run`, in files beside its volumes: for whoever watches it from another terminal.
//!
//! A container has two files: one that grows, and what grew before it. Of a container that has said as much they hold a [`PIECE`] at least;
//! each is longer than one only by what was written last.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

#[cfg(feature = "tools")]
pub(super) use write::Tails;

/// Where they are in a run's directory.
const LOGS: &str = "logs";

/// When a file is as long as this, another one is begun. In bytes.
const PIECE: u64 = 32 * 1024;

/// The file that grows, and the one before it.
fn files(run: &Path, container: &str) -> (PathBuf, PathBuf) {
    let logs = run.join(LOGS);
    (logs.join(format!("{container}.log")), logs.join(format!("{container}.before.log")))
}

/// The last lines of a container, oldest first, without colours. `run`: the directory of its run. `None`: nobody keeps any there.
pub(super) fn last(run: &Path, container: &str, lines: usize) -> Option<Vec<String>> {
    if !run.join(LOGS).is_dir() {
        return None;
    }
    let (now, before) = files(run, container);
    let mut bytes = read(&before);
    bytes.extend(read(&now));
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    let last = all.iter().skip(all.len().saturating_sub(lines));
    Some(last.map(|line| anstream::adapter::strip_str(line).to_string()).collect())
}

/// A file that another process is at work on. One that is not there yet is empty.
fn read(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |it| it.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(2 * PIECE)));
        let _ = file.take(2 * PIECE).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(feature = "tools")]
mod write {
    use std::collections::HashMap;
    use std::io::Write;

    use std::fs;

    use super::{File, LOGS, PIECE, Path, PathBuf, files};

    /// Writes them.
    pub(in super::super) struct Tails {
        run: PathBuf,
        open: HashMap<String, (File, u64)>,
    }

    impl Tails {
        /// In the directory of a run. Without a place for them nobody sees them elsewhere, and nothing else is missing.
        pub(in super::super) fn in_run(run: &Path) -> Option<Self> {
            fs::create_dir(run.join(LOGS)).ok()?;
            Some(Self { run: run.to_owned(), open: HashMap::new() })
        }

        /// Adds lines of a container.
        pub(in super::super) fn add(&mut self, container: &str, text: &[u8]) {
            let (now, before) = files(&self.run, container);
            if self.open.get(container).is_some_and(|(_, length)| *length >= PIECE) {
                self.open.remove(container);
                let _ = fs::rename(&now, &before);
            }
            if !self.open.contains_key(container)
                && let Ok(file) = File::create(&now)
            {
                self.open.insert(container.to_owned(), (file, 0));
            }
            if let Some((file, length)) = self.open.get_mut(container) {
                let _ = file.write_all(text); // a full disk: there are other places to read it
                *length += text.len() as u64;
            }
        }
    }
}

#[cfg(all(test, feature = "tools"))]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_lines_are_there_however_many_there_were() {
        let run = tempfile::tempdir().expect("a directory for temporary files");
        assert_eq!(last(run.path(), "build", 3), None, "nobody keeps any");
        let mut tails = Tails::in_run(run.path()).expect("a fresh directory");
        assert_eq!(last(run.path(), "build", 3), Some(Vec::new()));
        for line in 0..20_000 {
            tails.add("build", format!("\x1b[31mline\x1b[0m {line}\n").as_bytes());
        }
        tails.add("test", b"another\n");
        let wanted: Vec<String> = (19_000..20_000).map(|line| format!("line {line}")).collect();
        assert_eq!(last(run.path(), "build", 1_000), Some(wanted));
        let kept: u64 = fs::read_dir(run.path().join(LOGS))
            .expect("they are there")
            .map(|entry| entry.and_then(|entry| entry.metadata()).expect("it is ours").len())
            .sum();
        assert!(kept < 3 * PIECE, "{kept}");
    }
}
