//! A run as Markdown, as GitHub and GitLab show it: what GitHub's `GITHUB_STEP_SUMMARY` file is for.
//!
//! Names and messages come from a run, so they are hostile: all of them go through [`Plain`].

use std::fmt::{self, Display, Write as _};

use super::graph::Graph;
use super::signs::sign;
use super::table::{between, row};
use crate::volume::published::{State, Step};

/// What Mermaid draws without being asked for more (`maxTextSize` and `maxEdges` of its configuration).
const GRAPH_BYTES_MOST: usize = 50_000;
/// See [`GRAPH_BYTES_MOST`].
const GRAPH_EDGES_MOST: usize = 500;

/// As many steps have a row, those that did not succeed first: a summary of GitHub's has room for 1 MiB.
const ROWS_MOST: usize = 2_000;

/// The run: how it ended, a row for each step, why, and the graph.
#[must_use]
pub fn markdown(state: &State, graph: &Graph) -> String {
    let outcome = state.outcome.as_deref().unwrap_or("Running");
    let mut text = String::from("## ");
    if let Some(sign) = sign(outcome) {
        let _ = write!(text, "{} ", sign.unicode);
    }
    let _ = write!(text, "podturn: {}", Plain(outcome));
    if let Some(ms) = state.started_at.as_deref().zip(state.ended_at.as_deref()).and_then(|(a, b)| between(a, b)) {
        let _ = write!(text, " after {}", super::table::duration(ms));
    }
    text.push_str("\n\n");
    write_rows(state, &mut text);
    write_reasons(state, &mut text);
    let mermaid = graph.mermaid();
    if mermaid.len() < GRAPH_BYTES_MOST && graph.edges.len() < GRAPH_EDGES_MOST {
        let _ = write!(text, "\n<details><summary>Graph</summary>\n\n```mermaid\n{mermaid}```\n\n</details>\n");
    }
    text
}

fn write_rows(state: &State, text: &mut String) {
    text.push_str(
        "| Step | Phase | Reason | Attempts | Began | Took | Exit |\n| --- | --- | --- | --: | --: | --: | --: |\n",
    );
    let mut steps: Vec<&Step> = state.steps.iter().collect();
    if steps.len() > ROWS_MOST {
        steps.sort_by_key(|step| step.phase == "Succeeded");
    }
    for step in steps.iter().take(ROWS_MOST) {
        let [name, phase, others @ ..] = row(state, step);
        let mark = sign(&phase).map(|sign| format!("{} ", sign.unicode)).unwrap_or_default();
        let _ = write!(text, "| {} | {mark}{} |", Plain(name), Plain(phase));
        for other in others {
            let _ = write!(text, " {} |", Plain(other));
        }
        text.push('\n');
    }
    if steps.len() > ROWS_MOST {
        let _ = writeln!(text, "\nand {} more steps", steps.len() - ROWS_MOST);
    }
}

/// A sentence for each step that did not succeed; those that Failed first.
fn write_reasons(state: &State, text: &mut String) {
    let is_told = |step: &&Step| step.phase != "Succeeded" && !step.message.is_empty();
    let mut told: Vec<&Step> = state.steps.iter().filter(is_told).collect();
    told.sort_by_key(|step| step.phase != "Failed");
    if !told.is_empty() {
        text.push('\n');
    }
    for step in told.iter().take(ROWS_MOST) {
        let allowed = if step.phase == "Failed" && step.allow_failure { " (it may fail: allowFailure)" } else { "" };
        let _ = writeln!(text, "- **{}**: {}{allowed}", Plain(&step.name), Plain(&step.message));
    }
}

/// Shown so that Markdown takes it for text and nothing else, on one line.
struct Plain<T>(T);

impl<T: Display> Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (at, character) in text.char_indices() {
            match character {
                // What GitHub makes a link of without being asked: the scheme of an address, and `www.`.
                ':' if text[at..].starts_with("://") => self.0.write_str("&#58;")?,
                '.' if ends_with_www(&text[..at]) => self.0.write_str("&#46;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '&' => self.0.write_str("&amp;")?,
                // A table's cell ends at a bar even where a backslash is doubled before it.
                '|' => self.0.write_str("&#124;")?,
                '\\' => self.0.write_str("&#92;")?,
                // Emphasis, code, links, strikethrough, mathematics, mentions.
                '*' | '_' | '`' | '[' | ']' | '~' | '$' | '@' => write!(self.0, "&#{};", u32::from(character))?,
                '\n' | '\t' => self.0.write_char(' ')?,
                '\0'..='\x1f' | '\x7f'..='\u{9f}' => self.0.write_char('\u{fffd}')?,
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => self.0.write_char('\u{fffd}')?,
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

fn ends_with_www(text: &str) -> bool {
    text.get(text.len().wrapping_sub(3)..).is_some_and(|end| end.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests;
