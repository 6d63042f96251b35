//! A run in the forms that go into a file: which form, and where to.

use std::fs;
#[cfg(feature = "tools")]
use std::fs::OpenOptions;
use std::io;
#[cfg(feature = "tools")]
use std::io::Write;
use std::path::Path;
#[cfg(feature = "tools")]
use std::path::PathBuf;

use podturn_turn::Impossible;

use crate::history::{History, Record};
use crate::view::graph::Graph;
use crate::view::{self};

/// Where GitHub's runner wants a summary of the job's step, as Markdown; others do as it does (Forgejo, Gitea).
#[cfg(feature = "tools")]
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// As what a run is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// One page for a browser, with everything
    Html,
    /// A case per step, for the test report of a CI system
    Junit,
    /// A table, reasons and the graph, for the summary of a CI system
    Markdown,
}

impl Format {
    /// What a file of this name would be taken for.
    pub(super) fn of_name(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Self::Html),
            "xml" => Some(Self::Junit),
            "md" | "markdown" => Some(Self::Markdown),
            _ => None,
        }
    }

    /// How its files are called.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Junit => "xml",
            Self::Markdown => "md",
        }
    }

    /// The run in this form.
    ///
    /// # Errors
    /// When the record is damaged.
    pub(super) fn write(self, record: &Record) -> Result<String, Impossible> {
        match self {
            Self::Html => view::report(record),
            Self::Junit => Ok(view::junit(&History::of(record)?.state)),
            Self::Markdown => {
                let history = History::of(record)?;
                Ok(view::markdown(&history.state, &Graph::of_run(&history.plan, &history.state)))
            }
        }
    }
}

/// Writes to a file, or to stdout if that is `-`.
///
/// # Errors
/// Those of writing to a file, with its name.
pub(super) fn put(file: &Path, text: &str) -> io::Result<()> {
    if file == Path::new("-") {
        super::out_as_it_is(text);
        return Ok(());
    }
    fs::write(file, text)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot write {}: {error}", file.display())))
}

/// Appends the run to the summary that a CI system asks for, if one does. Several steps of a job write into one file.
///
/// # Errors
/// Those of writing, with the file's name.
#[cfg(feature = "tools")]
pub(super) fn append_summary(record: &Record) -> io::Result<()> {
    let Some(file) = std::env::var_os(STEP_SUMMARY).filter(|file| !file.is_empty()).map(PathBuf::from) else {
        return Ok(());
    };
    let text = Format::Markdown.write(record).map_err(io::Error::other)?;
    let opened = OpenOptions::new().append(true).create(true).open(&file);
    let written = opened.and_then(|mut summary| summary.write_all(text.as_bytes()));
    let place = || format!("cannot append the summary to {} ({STEP_SUMMARY})", file.display());
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", place())))
}
