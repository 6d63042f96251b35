//! A stream of YAML documents, one by one: only one of them is a tree in memory at a time.
//!
//! Belongs here: where documents begin and end. Does not belong here: what is in them.

use crate::plan::Span;

/// Finds where documents begin, line by line, so that nobody needs the whole stream for it.
///
/// A line that begins with `---` and a blank begins a document wherever it stands, in a block scalar or a quoted text too
/// (YAML 1.2, section 9.1.2).
#[derive(Debug, Default)]
pub struct Cutter {
    /// Comments, blank lines and directives before a `---` belong to the document that it begins.
    has_content: bool,
}

/// Where a document begins, seen from a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Not here.
    No,
    /// With this line.
    Before,
    /// With the next line, if there is one.
    After,
}

impl Cutter {
    /// Takes the next line of the stream, with its line break.
    pub fn line(&mut self, line: &[u8]) -> Cut {
        let word = line.trim_ascii();
        let after_marker = line.strip_prefix(b"---");
        if after_marker.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace)) {
            // An empty document counts, so that the next marker begins another one.
            let has_begun = std::mem::replace(&mut self.has_content, true);
            return if has_begun { Cut::Before } else { Cut::No };
        }
        if line.trim_ascii_end() == b"..." {
            self.has_content = false;
            return Cut::After;
        }
        self.has_content |= word.first().is_some_and(|first| !b"#%".contains(first));
        Cut::No
    }
}

/// The documents of a text, each with the `---` line that begins it. Together they are the whole text.
pub(super) fn split(text: &str) -> Vec<Span> {
    let mut starts = vec![0];
    let mut at = 0;
    let mut cutter = Cutter::default();
    for line in text.split_inclusive('\n') {
        match cutter.line(line.as_bytes()) {
            Cut::No => {}
            Cut::Before => starts.push(at),
            Cut::After => starts.push(at + line.len()),
        }
        at += line.len();
    }
    if starts.len() > 1 && starts.last() == Some(&text.len()) {
        starts.pop();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]).collect::<Vec<_>>();
    starts.into_iter().zip(ends).map(|(start, end)| Span { start, end }).collect()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_stream_is_cut_where_a_parser_would_cut_it() {
        let table: [(&str, &[&str]); 7] = [
            ("", &[""]),
            ("a: 1\n", &["a: 1\n"]),
            ("a: 1\n---\nb: 2", &["a: 1\n", "---\nb: 2"]),
            ("# c\n---\na: 1\n---  # d\n---\nb: 2\n", &["# c\n---\na: 1\n", "---  # d\n", "---\nb: 2\n"]),
            (
                "%YAML 1.2\n---\na: 1\n...\n%YAML 1.2\n---\nb: 2\n...\n",
                &["%YAML 1.2\n---\na: 1\n...\n", "%YAML 1.2\n---\nb: 2\n...\n"],
            ),
            ("a: |\n  ---\n  x\n----\n---x: 1\n", &["a: |\n  ---\n  x\n----\n---x: 1\n"]),
            ("a: 1\r\n---\r\nb: 2\r\n", &["a: 1\r\n", "---\r\nb: 2\r\n"]),
        ];
        for (text, wanted) in table {
            let parts: Vec<&str> = split(text).iter().map(|span| &text[span.start..span.end]).collect();
            assert_eq!(parts, wanted, "{text:?}");
        }
    }
}
