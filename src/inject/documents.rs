//! A stream of YAML documents, one by one: only one of them is a tree in memory at a time.
//!
//! Belongs here: where documents begin and end. Does not belong here: what is in them.

use crate::plan::Span;

/// The documents of a text, each with the `---` line that begins it. Together they are the whole text.
///
/// A line that begins with `---` and a blank begins a document wherever it stands, in a block scalar or a quoted text too
/// (YAML 1.2, section 9.1.2).
pub(super) fn split(text: &str) -> Vec<Span> {
    let mut starts = vec![0];
    let mut at = 0;
    // Comments, blank lines and directives before a `---` belong to the document that it begins.
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        let is_marker = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        let word = line.trim();
        if is_marker {
            if has_content {
                starts.push(at);
            }
            has_content = true; // an empty document counts, so that the next marker begins another one
        } else if line.trim_end() == "..." {
            starts.push(at + line.len());
            has_content = false;
        } else if !word.is_empty() && !word.starts_with(['#', '%']) {
            has_content = true;
        }
        at += line.len();
    }
    starts.dedup();
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
