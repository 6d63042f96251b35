//! The head of the page: how it ended, how long it took, and what went wrong.

use std::fmt::Write as _;

use super::{Page, length};
use crate::history::AttemptHistory;
use crate::view::escape::Escaped;
use crate::view::signs::sign;
use crate::view::table::bytes;
use crate::volume::published::Step;

/// Said of a run that never was.
const REHEARSED: &str = "<p>Nothing was run: commands are stubs.</p>\n";

/// As many troubles are told at the top; the table has the rest.
const TROUBLES_MOST: usize = 20;

impl Page<'_> {
    pub(super) fn write_header(&self, html: &mut String) {
        let state = &self.history.state;
        let (word, mark) = match state.outcome.as_deref() {
            Some(outcome) => (outcome, sign(outcome).map_or("", |sign| sign.unicode)),
            None => ("Running", "▶"),
        };
        let _ = write!(
            html,
            "<header id=\"summary\">\n<h1><span class=\"outcome p-{0}\"><b aria-hidden=\"true\">{mark}</b> {0}</span> \
             <small>{2} <code>{1}</code></small></h1>\n{3}<dl>\n",
            Escaped(word),
            Escaped(&state.run),
            self.what(),
            if self.record.is_rehearsal { REHEARSED } else { "" }
        );
        let mut fact = |name: &str, value: &str| {
            let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(value));
        };
        if let Some(started) = state.started_at.as_deref().filter(|_| self.record.started.is_some()) {
            fact("Started", &started.replace('T', " ").replace(".000Z", "Z").replace('Z', " UTC"));
        }
        let took = if state.outcome.is_some() || self.record.until.is_none() { "Took" } else { "So far" };
        fact(took, &length(self.history.end));
        fact("Steps", &self.history.steps.len().to_string());
        let attempts: usize = self.history.steps.iter().map(|step| step.attempts.len()).sum();
        fact("Attempts", &attempts.to_string());
        let all = || self.history.steps.iter().flat_map(|step| &step.attempts);
        let cpu = all().map(AttemptHistory::cpu_time).fold(0, u64::saturating_add); // a log may say anything
        if cpu > 0 {
            fact("CPU time", &length(cpu.saturating_mul(1_000_000)));
        }
        let largest =
            |attempt: &AttemptHistory| attempt.peaks().max_rss_kib.max(attempt.end.map_or(0, |end| end.usage.max_rss));
        if let Some(largest) = all().map(largest).max().filter(|largest| *largest > 0) {
            fact("Largest process", &bytes(largest));
        }
        let usage = if self.has_usage() { " <a href=\"#usage\">CPU and memory</a>" } else { "" };
        let _ = write!(
            html,
            "</dl>\n<nav aria-label=\"Parts of this page\"><a href=\"#graph\">Graph</a> <a href=\"#timeline\">Timeline</a> \
             <a href=\"#path\">Where the time went</a> <a href=\"#steps\">Steps</a>{usage} <a href=\"#plan\">Plan</a></nav>\n</header>\n",
        );
    }

    /// Why it did not succeed: the culprits first, then whoever waits for a person.
    pub(super) fn write_troubles(&self, html: &mut String) {
        let steps = &self.history.state.steps;
        let is_culprit = |step: &&Step| step.phase == "Failed" || step.phase == "Paused" || step.phase == "Awaiting";
        let mut culprits: Vec<&Step> = steps.iter().filter(is_culprit).collect();
        culprits.sort_by_key(|step| step.phase == "Failed" && step.allow_failure);
        if culprits.is_empty() {
            html.push_str("<section id=\"troubles\" hidden></section>\n"); // a live page may need it later
            return;
        }
        html.push_str("<section id=\"troubles\" aria-labelledby=\"troubles-title\">\n<h2 id=\"troubles-title\">What to look at</h2>\n<ul>\n");
        for step in culprits.iter().take(TROUBLES_MOST) {
            let mark = sign(&step.phase).map_or("", |sign| sign.unicode);
            let index = steps.iter().position(|other| other.name == step.name).unwrap_or(0);
            let allowed =
                if step.allow_failure && step.phase == "Failed" { " (it may fail: allowFailure)" } else { "" };
            let message = if step.message.is_empty() { &step.phase } else { &step.message };
            let _ = writeln!(
                html,
                "<li class=\"p-{}\"><b aria-hidden=\"true\">{mark}</b> <a href=\"#s{index}\">{}</a>: {}{allowed}</li>",
                Escaped(&step.phase),
                Escaped(&step.name),
                Escaped(message)
            );
        }
        html.push_str("</ul>\n");
        if culprits.len() > TROUBLES_MOST {
            let _ = writeln!(html, "<p>and {} more, in the table of steps</p>", culprits.len() - TROUBLES_MOST);
        }
        html.push_str("</section>\n");
    }
}
