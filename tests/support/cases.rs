//! Cases that lie as files beside their test.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of a directory whose names end so, in their order.
pub(crate) fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("the cases are there").map(|entry| entry.expect("a file").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(end)).collect();
    files.sort();
    files
}
