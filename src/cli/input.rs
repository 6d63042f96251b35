//! Reading what the command line names, and saying what is wrong with it.

use std::fs::File;
use std::io::{self, Read, stdin};
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

/// Reads a file, or stdin for `-`. No more is read than could be of use, whatever the file is.
pub(super) fn read(path: &Path) -> Result<Text, Diagnostics> {
    let name = name(path);
    let mut bytes = Vec::new();
    let limit = FILE_MAX as u64 + 1;
    let result = if is_stdin(path) {
        stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    if let Err(error) = result {
        return Err(unreadable(&name, &error));
    }
    if bytes.len() > FILE_MAX {
        return Err(too_large(&name, FILE_MAX as u64));
    }
    let text = utf8(&name, 1, 0, bytes)?;
    Ok(Text { name, text })
}

/// Whether a path of the command line stands for stdin.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// What errors call it.
pub(super) fn name(path: &Path) -> String {
    if is_stdin(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

pub(super) fn unreadable(name: &str, error: &io::Error) -> Diagnostics {
    Diagnostic::error(format!("cannot read {name}: {error}")).into()
}

/// Longer than anybody could use, in bytes.
pub(super) fn too_large(name: &str, max: u64) -> Diagnostics {
    let mut diagnostic = Diagnostic::error(format!("{name} is too large"));
    diagnostic.help(format!("nothing above {max} bytes fits into a cluster"));
    diagnostic.into()
}

/// The text of these bytes, which begin a line of the file, at this line and byte of it.
pub(super) fn utf8(name: &str, line: usize, byte: u64, bytes: Vec<u8>) -> Result<String, Diagnostics> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = line + good.iter().filter(|byte| **byte == b'\n').count();
        let byte = byte + good.len() as u64;
        Diagnostic::error(format!("{name}:{line}: this is not UTF-8 (byte {byte})")).into()
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
