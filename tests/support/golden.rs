//! Files that say what has to come out.

use std::fs;
use std::path::Path;

/// How what came out differs from what the file says; with `PODTURN_BLESS` the file is written anew, and nothing differs.
pub(crate) fn difference(file: &Path, got: &str) -> Option<String> {
    if std::env::var_os("PODTURN_BLESS").is_some() {
        fs::write(file, got).expect("the expectation can be written");
    }
    let wanted = fs::read_to_string(file).unwrap_or_default();
    (wanted != got).then(|| format!("{}\n--- wanted\n{wanted}\n--- got\n{got}", file.display()))
}
