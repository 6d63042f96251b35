//! The manifests that the command line names: read one document at a time, so that a stream of any length needs no more
//! memory than its longest document.
//!
//! Belongs here: files, directories and stdin, and where one document ends in them. Does not belong here: what is in a document.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::input;
use super::spool::Spool;
use crate::inject::{Cut, Cutter};
use crate::plan::{Diagnostic, Diagnostics, SourceFile};

/// The longest stream of documents, in bytes: as much as a cluster's whole state.
const STREAM_MAX: u64 = 256 * 1024 * 1024;

/// A stream of documents, with its name.
pub(super) struct Input {
    name: String,
    from: From,
}

enum From {
    /// It can be read once more, and is not held open: a directory may have more manifests than a process may have files.
    File(PathBuf),
    /// Stdin, or a pipe.
    Spool(Spool),
}

/// What is read in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Document,
    File,
}

/// Everything that is named here; a directory stands for the manifests in it, in the order of their names.
///
/// # Errors
/// What is not there, or cannot be read.
pub(super) fn named(paths: &[PathBuf]) -> Result<Vec<Input>, Diagnostics> {
    let mut inputs = Vec::new();
    for path in paths {
        for path in manifests_in(path)? {
            inputs.push(Input::new(path)?);
        }
    }
    Ok(inputs)
}

/// Each of them whole.
///
/// # Errors
/// As [`named`], and text that is not UTF-8.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Arc<SourceFile>>, Diagnostics> {
    named(paths)?.iter_mut().map(Input::whole).collect()
}

impl Input {
    fn new(path: PathBuf) -> Result<Self, Diagnostics> {
        let name = input::name(&path);
        let spooled = |from: Box<dyn Read>| Spool::of(from.take(STREAM_MAX + 1)).map(From::Spool);
        let from = match input::is_stdin(&path) {
            true => spooled(Box::new(stdin().lock())),
            false => File::open(&path).and_then(|file| match file.metadata()?.is_file() {
                true => Ok(From::File(path)),
                false => spooled(Box::new(file)),
            }),
        };
        Ok(Self { from: from.map_err(|error| input::unreadable(&name, &error))?, name })
    }

    /// The whole text.
    ///
    /// # Errors
    /// It is too long, not UTF-8, or cannot be read any more.
    pub(super) fn whole(&mut self) -> Result<Arc<SourceFile>, Diagnostics> {
        let name = self.name.clone();
        let mut bytes = Vec::new();
        let read = self.open().and_then(|from| from.take(STREAM_MAX + 1).read_to_end(&mut bytes));
        read.map_err(|error| input::unreadable(&name, &error))?;
        if bytes.len() as u64 > STREAM_MAX {
            return Err(input::too_large(&name, STREAM_MAX));
        }
        let text = input::utf8(&name, 1, 0, bytes)?;
        Ok(SourceFile::new(name, text))
    }

    /// Each document, as a file that begins with the document's line. There is at least one.
    pub(super) fn documents(&mut self) -> Documents<'_> {
        let name = self.name.clone();
        let from = self.open().map(|from| BufReader::new(from.take(STREAM_MAX + 1)));
        Documents { name, from: Some(from), cutter: Cutter::default(), next: Vec::new(), line: 1, byte: 0 }
    }

    /// All of it, in pieces of this size.
    pub(super) fn pieces(
        &mut self,
        size: Piece,
    ) -> Box<dyn Iterator<Item = Result<Arc<SourceFile>, Diagnostics>> + '_> {
        match size {
            Piece::Document => Box::new(self.documents()),
            Piece::File => Box::new(std::iter::once(self.whole())),
        }
    }

    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match &mut self.from {
            From::File(path) => Box::new(File::open(path)?),
            From::Spool(spool) => Box::new(spool.read()),
        })
    }
}

type Lines<'i> = BufReader<io::Take<Box<dyn Read + 'i>>>;

/// The documents of an input, one by one. The first that cannot be read is the last.
pub(super) struct Documents<'i> {
    name: String,
    /// `None`: nothing more comes.
    from: Option<io::Result<Lines<'i>>>,
    cutter: Cutter,
    /// The first line of the next document, where that had to be read to see the end of this one.
    next: Vec<u8>,
    /// Where the next document begins.
    line: usize,
    byte: u64,
}

impl Iterator for Documents<'_> {
    type Item = Result<Arc<SourceFile>, Diagnostics>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut from = match self.from.take()? {
            Ok(from) => from,
            Err(error) => return Some(Err(input::unreadable(&self.name, &error))),
        };
        let (bytes, is_last) = match self.document(&mut from) {
            Ok(read) => read,
            Err(error) => return Some(Err(input::unreadable(&self.name, &error))),
        };
        if from.get_ref().limit() == 0 {
            return Some(Err(input::too_large(&self.name, STREAM_MAX)));
        }
        if bytes.is_empty() && self.byte > 0 {
            return None; // the stream ended with `...`
        }
        let (line, byte) = (self.line, self.byte);
        self.line += bytes.iter().filter(|byte| **byte == b'\n').count();
        self.byte += bytes.len() as u64;
        if !is_last {
            self.from = Some(Ok(from));
        }
        Some(input::utf8(&self.name, line, byte, bytes).map(|text| SourceFile::from_line(line, &self.name, text)))
    }
}

impl Documents<'_> {
    /// The bytes of the next document, and whether the stream has ended.
    fn document(&mut self, from: &mut impl BufRead) -> io::Result<(Vec<u8>, bool)> {
        let mut bytes = std::mem::take(&mut self.next);
        loop {
            let begin = bytes.len();
            if from.read_until(b'\n', &mut bytes)? == 0 {
                return Ok((bytes, true));
            }
            match self.cutter.line(&bytes[begin..]) {
                Cut::No => {}
                Cut::Before => {
                    self.next = bytes.split_off(begin);
                    return Ok((bytes, false));
                }
                Cut::After => return Ok((bytes, false)),
            }
        }
    }
}

fn manifests_in(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error: io::Error| input::unreadable(&path.display().to_string(), &error);
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_manifest = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        if is_manifest && path.is_file() {
            found.insert(path);
        }
    }
    if found.is_empty() {
        return Err(Diagnostic::error(format!("{} has no *.yaml, *.yml or *.json", path.display())).into());
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_one_document_at_a_time_each_with_its_line() {
        let table: [(&str, &[(usize, &str)]); 7] = [
            ("", &[(1, "")]),
            ("a: 1\n---\nb: 2", &[(1, "a: 1\n"), (2, "---\nb: 2")]),
            ("# c\n---\na: 1\n---  # d\n---\n", &[(1, "# c\n---\na: 1\n"), (4, "---  # d\n"), (5, "---\n")]),
            ("a: 1\n...\n", &[(1, "a: 1\n...\n")]),
            ("a: 1\n...\n\n---\nb: 2\n...\n", &[(1, "a: 1\n...\n"), (3, "\n---\nb: 2\n...\n")]),
            ("a: 1\r\n---\r\nb: 2\r\n", &[(1, "a: 1\r\n"), (2, "---\r\nb: 2\r\n")]),
            ("a: |\n  ---\n----\n---x: 1\n", &[(1, "a: |\n  ---\n----\n---x: 1\n")]),
        ];
        for (text, wanted) in table {
            let spool = Spool::of(text.as_bytes()).expect("a text is read without errors");
            let mut input = Input { name: "stream".to_owned(), from: From::Spool(spool) };
            for _twice in 0..2 {
                let documents: Vec<_> = input.documents().map(|document| document.expect("it is good")).collect();
                let got: Vec<_> = documents.iter().map(|file| (file.line_of(0), file.text())).collect();
                assert_eq!(got, wanted, "{text:?}");
            }
        }
    }
}
