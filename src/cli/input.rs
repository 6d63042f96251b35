//! Reading what the command line names, and saying what is wrong with it.

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;
use std::process::ExitCode;

use crate::plan::{Diagnostic, Diagnostics, FILE_MAX};

/// The exit code for bad input, and for a misuse of the command line.
pub(super) const BAD_INPUT: u8 = 2;

/// A text and the name under which errors speak of it.
pub(super) struct Text {
    pub name: String,
    pub text: String,
}

/// The longest stream of documents: as much as a cluster's whole state, and no more memory than a machine has.
#[cfg(feature = "tools")]
pub(super) const STREAM_MAX: usize = 256 * 1024 * 1024;

/// Reads a file, or stdin for `-`. No more is read than could be of use, whatever the file is.
pub(super) fn read(path: &Path) -> Result<Text, Diagnostics> {
    read_up_to(path, FILE_MAX)
}

/// As [`read`], with another limit in bytes.
pub(super) fn read_up_to(path: &Path, max: usize) -> Result<Text, Diagnostics> {
    let name = if path == Path::new("-") { "<stdin>".to_owned() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let limit = max as u64 + 1;
    let result = if path == Path::new("-") {
        stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    if let Err(error) = result {
        return Err(Diagnostic::error(format!("cannot read {name}: {error}")).into());
    }
    if bytes.len() > max {
        let mut diagnostic = Diagnostic::error(format!("{name} is too large"));
        diagnostic.help(format!("nothing above {max} bytes fits into a cluster"));
        return Err(diagnostic.into());
    }
    String::from_utf8(bytes).map(|text| Text { name: name.clone(), text }).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Diagnostic::error(format!("{name}:{line}: this is not UTF-8 (byte {at})")).into()
    })
}

/// Prints diagnostics on stderr, in colour where that is a terminal.
pub(super) fn print(diagnostics: &Diagnostics) {
    if !diagnostics.is_empty() {
        anstream::eprint!("{}", diagnostics.render(true));
    }
}

/// Prints what is wrong with an input; returns the exit code that says so.
pub(super) fn refuse(diagnostics: &Diagnostics) -> ExitCode {
    print(diagnostics);
    ExitCode::from(BAD_INPUT)
}
