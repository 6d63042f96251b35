//! What is different between two texts, as `diff -u` shows it, in colour.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use similar::{ChangeTag, TextDiff};

/// Lines around each change.
const CONTEXT: usize = 3;

/// The unified difference of a file; empty, if there is none. With ANSI colours, which `anstream` takes out where they do
/// not belong.
pub(super) fn colour(name: &str, old: &str, new: &str) -> String {
    between(name, "wired by podturn inject", old, new)
}

/// The same for whatever was done.
pub(super) fn between(name: &str, done: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let bold = Style::new().bold();
    let mut text = format!("{bold}--- {name}{bold:#}\n{bold}+++ {name} ({done}){bold:#}\n");
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        let cyan = AnsiColor::Cyan.on_default();
        let _ = writeln!(text, "{cyan}{}{cyan:#}", hunk.header());
        for change in hunk.iter_changes() {
            let (sign, style) = match change.tag() {
                ChangeTag::Equal => (' ', Style::new()),
                ChangeTag::Delete => ('-', AnsiColor::Red.on_default()),
                ChangeTag::Insert => ('+', AnsiColor::Green.on_default()),
            };
            let line = change.value().trim_end_matches(['\r', '\n']);
            let _ = writeln!(text, "{style}{sign}{line}{style:#}");
            if change.missing_newline() {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    text
}
