//! Text that came from somewhere: a file or an environment variable, and a plan that lies inside another file's string.
//!
//! Belongs here: offsets, lines and columns. Does not belong here: what the text means. Every place in this room is a
//! range of bytes of the *outer* file, the one that a person has open in an editor.

use std::sync::Arc;

use super::yaml::Style;

/// The longest file that is read, in bytes. The API server refuses requests above 3 MiB, so no larger object can
/// ever have been in a cluster.
pub const FILE_MAX: usize = 4 * 1024 * 1024;

/// A range of bytes in a [`SourceFile`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The first byte after it.
    pub end: usize,
}

impl Span {
    /// The span of no byte at `at`.
    #[must_use]
    pub const fn empty(at: usize) -> Self {
        Self { start: at, end: at }
    }
}

/// A text with the name under which a person knows it.
#[derive(Debug)]
pub struct SourceFile {
    name: String,
    text: String,
    first_line: usize,
    line_starts: Vec<usize>,
}

impl SourceFile {
    /// `name` is a path as the person gave it, `<stdin>`, or the name of an environment variable.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Self::from_line(1, name, text)
    }

    /// What of a file begins with this line, counted from 1: for one document of a stream that is never whole in memory.
    /// Offsets are those of this text, lines those of the file.
    #[must_use]
    pub fn from_line(first_line: usize, name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let after_newline = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newline).collect();
        Arc::new(Self { name: name.into(), text, first_line, line_starts })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its whole text, as far as it is here.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both counted from 1, the column in characters.
    #[must_use]
    pub fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line_of(offset);
        let start = self.line_starts[line - self.first_line];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The line of a byte offset, counted from 1. Unlike the column it costs nothing on a line of megabytes.
    #[must_use]
    pub fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset) + self.first_line - 1
    }

    /// The bytes of the line (counted from 1), without its line break.
    #[must_use]
    pub fn line(&self, line: usize) -> Span {
        let index = line - self.first_line;
        let start = self.line_starts[index];
        let end = self.line_starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        Span { start, end: start + self.text[start..end].trim_end_matches('\r').len() }
    }
}

/// YAML text to be parsed, with the way back to the file that it stands in.
#[derive(Clone, Debug)]
pub struct Source {
    file: Arc<SourceFile>,
    inner: Option<Inner>,
}

/// The value of a scalar of the outer file, and where its bytes come from.
#[derive(Clone, Debug)]
struct Inner {
    text: String,
    segments: Vec<Segment>,
    end: usize,
}

/// From `inner` on, up to the next segment, the text was copied from `outer` on.
#[derive(Clone, Copy, Debug)]
struct Segment {
    inner: usize,
    outer: usize,
}

impl Source {
    /// A whole file. `name` as for [`SourceFile::new`].
    #[must_use]
    pub fn file(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file: SourceFile::new(name, text), inner: None }
    }

    /// The whole of a file that is already there.
    #[must_use]
    pub fn whole(file: Arc<SourceFile>) -> Self {
        Self { file, inner: None }
    }

    /// A part of a file, with places in the whole file.
    #[must_use]
    pub fn part(file: Arc<SourceFile>, span: Span) -> Self {
        let text = file.text()[span.start..span.end].to_owned();
        Self::pieces(file, text, &[(0, span.start)], span.end)
    }

    /// A text that was put together from pieces of a file: from each first offset on, up to the next one, it was copied
    /// from the second offset on. `end` is where in the file the last piece ends.
    #[must_use]
    pub fn pieces(file: Arc<SourceFile>, text: String, pieces: &[(usize, usize)], end: usize) -> Self {
        let segments = pieces.iter().map(|&(inner, outer)| Segment { inner, outer }).collect();
        Self { file, inner: Some(Inner { text, segments, end }) }
    }

    /// The value `text` of a scalar that stands at `span` of `file`. Places are exact for literal blocks (`|`) and
    /// everything on one line; where folding or escapes changed the text, they are as near as can be told.
    #[must_use]
    pub fn embedded(file: Arc<SourceFile>, span: Span, style: Style, text: &str) -> Self {
        let segments = align(&file, span, style, text);
        Self { file, inner: Some(Inner { text: text.to_owned(), segments, end: span.end }) }
    }

    /// The file that places are in.
    #[must_use]
    pub fn outer(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// The text to parse.
    #[must_use]
    pub fn text(&self) -> &str {
        self.inner.as_ref().map_or(self.file.text(), |inner| &inner.text)
    }

    /// The place in the outer file of a range of [`Source::text`].
    #[must_use]
    pub fn place(&self, inner: Span) -> Span {
        if self.inner.is_none() {
            return inner;
        }
        let start = self.offset(inner.start);
        if inner.end <= inner.start {
            return Span::empty(start);
        }
        // The byte after the last one may already be on the next line of the outer file, so ask for the last one.
        let last = self.text().floor_char_boundary(inner.end - 1);
        let end = self.offset(last) + (inner.end - last);
        Span { start, end: end.max(start) }
    }

    fn offset(&self, inner_offset: usize) -> usize {
        let Some(inner) = &self.inner else { return inner_offset };
        let next = inner.segments.partition_point(|segment| segment.inner <= inner_offset);
        match next.checked_sub(1).map(|at| inner.segments[at]) {
            Some(segment) => (segment.outer + (inner_offset - segment.inner)).min(inner.end),
            None => inner.end,
        }
    }
}

/// Walks the scalar's value and its text in the file side by side. Equal characters belong together; what only the file
/// has (indentation, the `\` of an escape) is passed over, what only the value has (a fold) stays where it is.
fn align(file: &SourceFile, span: Span, style: Style, value: &str) -> Vec<Segment> {
    let outer = &file.text()[span.start..span.end];
    let indent = file.line_and_column(span.start).1 - 1;
    let is_block = matches!(style, Style::Literal | Style::Folded);
    let mut segments = vec![Segment { inner: 0, outer: span.start }];
    let mut at = usize::from(matches!(style, Style::SingleQuoted | Style::DoubleQuoted));
    for (inner, wanted) in value.char_indices() {
        at += skipped(&outer[at..], wanted, style);
        let (length, is_copy) = step(&outer[at..], wanted, style);
        let last = segments[segments.len() - 1];
        if last.outer + (inner - last.inner) != span.start + at {
            segments.push(Segment { inner, outer: span.start + at });
        }
        at += length;
        if is_copy && wanted == '\n' && is_block {
            at += indentation(&outer[at..], indent);
        }
    }
    segments
}

/// How many bytes of `outer` stand before the text of the value's next character `wanted`.
fn skipped(outer: &str, wanted: char, style: Style) -> usize {
    let continuation = if style == Style::DoubleQuoted { "\\" } else { "" };
    let mut at = 0;
    loop {
        let rest = &outer[at..];
        let Some(c) = rest.chars().next() else { return at };
        let continued = !continuation.is_empty() && (rest.starts_with("\\\n") || rest.starts_with("\\\r\n"));
        if continued {
            at += 1;
        } else if c.is_whitespace() && c != wanted && !(wanted == ' ' && c == '\n') {
            at += c.len_utf8();
        } else {
            return at;
        }
    }
}

/// How many bytes of `outer` make the value's next character, and whether that character stands there as it is.
fn step(outer: &str, wanted: char, style: Style) -> (usize, bool) {
    match outer.chars().next() {
        Some('\'') if style == Style::SingleQuoted && outer.starts_with("''") => (2, false),
        Some('\\') if style == Style::DoubleQuoted => {
            let digits = match outer.as_bytes().get(1) {
                Some(b'x') => 2,
                Some(b'u') => 4,
                Some(b'U') => 8,
                _ => 0,
            };
            let escape = outer.char_indices().nth(2 + digits).map_or(outer.len(), |(at, _)| at);
            (escape, false)
        }
        Some(c) if c == wanted => (c.len_utf8(), true),
        // A line break that was folded into a space: the indentation after it is skipped next time.
        Some('\n') if wanted == ' ' => (1, false),
        _ => (0, false),
    }
}

/// The bytes of the block's indentation at the beginning of a line: at most `indent` spaces.
fn indentation(line: &str, indent: usize) -> usize {
    line.bytes().take(indent).take_while(|byte| *byte == b' ').count()
}
