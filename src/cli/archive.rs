//! What is kept of a run after its volume is gone: state, journal, stamp and report.

use std::fs;
use std::io;
use std::path::Path;

use podturn_wire::names;

use super::record;
use crate::view;
use crate::volume::{Volume, usage};

/// The page's name in an archive.
const REPORT: &str = "report.html";

/// Keeps the run of a volume in `DIR/RUN`: whole or not at all. A failure is told, and changes nothing of how the run ended.
pub(super) fn keep(volume: &Volume, archive: &Path) {
    if let Err(error) = try_to_keep(volume, archive) {
        tracing::error!("the run is not kept in {}: {error}", archive.display());
    }
}

fn try_to_keep(volume: &Volume, archive: &Path) -> io::Result<()> {
    let record = record::of_files(volume)?;
    let (aside, place) = (archive.join(format!(".{}.new", record.run)), archive.join(record.run.to_string()));
    // One of a coordinator that was killed here, or that ended and was started again.
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside)?;
    for name in [names::RUN, names::JOURNAL, names::STATE] {
        fs::copy(volume.path().join(name), aside.join(name))?;
    }
    // What steps used is there where it could be kept.
    let _ = fs::copy(volume.path().join(usage::USAGE), aside.join(usage::USAGE));
    let page = view::report(&record).map_err(io::Error::other)?;
    fs::write(aside.join(REPORT), page)?;
    let _ = fs::remove_dir_all(&place);
    fs::rename(&aside, &place)
}
