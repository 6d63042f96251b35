//! What has to wait until all is known: kept in memory while it is little, and in a file without a name when it is much.
//!
//! Belongs here: keeping bytes. Does not belong here: what they are.

use std::io::{self, Read, Seek, Write};
use std::process::ExitCode;

use tempfile::SpooledTempFile;

use super::podturn_failed;
use podturn_wire::exit;

/// As much as is kept in memory, in bytes.
const IN_MEMORY_MAX: usize = 1024 * 1024;

/// Bytes that are written once, and may be read several times.
pub(super) struct Spool {
    bytes: SpooledTempFile,
    last: Option<u8>,
}

impl Default for Spool {
    fn default() -> Self {
        Self { bytes: tempfile::spooled_tempfile(IN_MEMORY_MAX), last: None }
    }
}

impl Spool {
    /// Keeps all of a reader.
    ///
    /// # Errors
    /// The reader's: what it cannot keep ends the program.
    pub(super) fn of(mut from: impl Read) -> io::Result<Self> {
        let mut spool = Self::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return Ok(spool),
                Ok(count) => spool.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.last = bytes.last().copied().or(self.last);
        if let Err(error) = self.bytes.write_all(bytes) {
            not_kept(&error);
        }
    }

    /// The last byte, if there is any.
    pub(super) fn last(&self) -> Option<u8> {
        self.last
    }

    /// All of it, from its beginning.
    pub(super) fn read(&mut self) -> &mut impl Read {
        if let Err(error) = self.bytes.rewind() {
            not_kept(&error);
        }
        &mut self.bytes
    }
}

/// A full disk is no fault of a manifest, and nothing has been printed yet.
#[expect(clippy::disallowed_methods, reason = "this is the command line, and it ends by its exit code")]
fn not_kept(error: &io::Error) -> ! {
    let place = std::env::temp_dir();
    let text = format!("cannot write to a temporary file in {}: {error}", place.display());
    let _: ExitCode = podturn_failed(&io::Error::new(error.kind(), text));
    anstream::eprintln!("  help: TMPDIR names another directory");
    std::process::exit(exit::SHIM_FAILED.into());
}
