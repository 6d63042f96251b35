//! The timeline: a row a step, with its attempts and what it waited for.
//!
//! Places are numbers on the elements (`--a` from, `--b` to, in ms), and the page divides them by the whole length (`--t`): so a live
//! page moves the end and nothing else. Each row has a sentence for those who do not see it.

use std::fmt::Write as _;

use super::{Page, class, length};
use crate::history::{AttemptHistory, Span, What};
use crate::view::escape::Escaped;
use crate::view::signs::sign;

/// What is shorter than this part of the whole is no more than a hair on any screen, and is left to the table.
const SHORTEST: u64 = 20_000;

/// Marks on the axis, at most.
const TICKS: u64 = 8;

const KEYS: [(&str, &str); 12] = [
    ("run p-Succeeded", "an attempt that succeeded"),
    ("run p-Failed", "an attempt that failed"),
    ("run p-Running", "an attempt that runs"),
    ("run p-Cancelled", "an attempt that was cancelled"),
    ("stopping", "told to stop"),
    ("ready", "became ready"),
    ("deps", "waits for dependencies"),
    ("container", "for its container"),
    ("person", "for a person"),
    ("slot", "for maxParallel or a pool"),
    ("backoff", "for its next attempt"),
    ("hold", "held back with all others"),
];

impl Page<'_> {
    pub(super) fn write_timeline(&self, html: &mut String) {
        let total = self.history.end.max(1);
        let _ = write!(
            html,
            "<section id=\"timeline\" aria-labelledby=\"timeline-title\" style=\"--t:{}\">\n<h2 id=\"timeline-title\">Timeline</h2>\n\
             <div class=\"controls\" hidden>\n<label>Filter <input id=\"filter\" type=\"search\" placeholder=\"name or phase\" \
             aria-keyshortcuts=\"/\"></label>\n<label>Order <select id=\"order\"><option value=\"p\">as in the plan</option>\
             <option value=\"b\">by begin</option><option value=\"r\">longest first</option></select></label>\n\
             <label>Zoom <input id=\"zoom\" type=\"range\" min=\"1\" max=\"20\" step=\"0.5\" value=\"1\"></label>\n\
             <span class=\"hint\">Arrow keys move from step to step, Enter goes to its row in the table, / filters.</span></div>\n",
            milliseconds(total)
        );
        self.write_keys(html);
        html.push_str("<div class=\"lanes scroll\">\n");
        write_axis(total, html);
        html.push_str("<ol class=\"rows\" aria-label=\"Steps in time\">\n");
        for index in 0..self.history.steps.len() {
            self.write_lane(index, total, html);
        }
        html.push_str("</ol>\n</div>\n</section>\n");
    }

    /// What the bars mean that there are.
    pub(super) fn write_keys(&self, html: &mut String) {
        html.push_str("<p id=\"keys\" class=\"legend\">");
        for (class, words) in KEYS {
            if self.has(class) {
                let _ =
                    write!(html, "<span class=\"key\"><i class=\"{class}\" aria-hidden=\"true\"></i> {words}</span> ");
            }
        }
        let has_ended = self.history.state.outcome.is_some();
        let waited = if has_ended { "the end waited for this" } else { "the run has waited for this" };
        let _ = writeln!(html, "<span class=\"key\"><i class=\"crit\" aria-hidden=\"true\"></i> {waited}</span></p>");
    }

    /// Whether something of this class is in the timeline.
    fn has(&self, key: &str) -> bool {
        let attempts = || self.history.steps.iter().flat_map(|step| &step.attempts);
        match key {
            "stopping" => return attempts().any(|attempt| attempt.stopping.is_some()),
            "ready" => return attempts().any(|attempt| attempt.ready.is_some_and(|ready| ready > attempt.begun)),
            _ => {}
        }
        self.history.steps.iter().any(|step| {
            step.spans.iter().any(|span| match span.what {
                What::Attempt(number) => attempt_class(&step.attempts[number]) == key,
                what => class(what) == key,
            })
        })
    }

    pub(super) fn write_lane(&self, index: usize, total: u64, html: &mut String) {
        let (step, shown) = (&self.history.steps[index], &self.history.state.steps[index]);
        let begins = step.attempts.first().map_or(u64::MAX, |attempt| attempt.begun);
        let ran: u64 = step.spans.iter().filter(|span| matches!(span.what, What::Attempt(_))).map(Span::length).sum();
        let mark = sign(&shown.phase).map_or("", |sign| sign.unicode);
        let _ = write!(
            html,
            "<li id=\"t{index}\" tabindex=\"-1\" data-b=\"{}\" data-r=\"{}\"><span class=\"name p-{}\"><b aria-hidden=\"true\">{mark}</b> {}</span>\
             <span class=\"vh\">{}</span><span class=\"bars\" aria-hidden=\"true\">",
            begins.min(total * 2) / 1_000_000,
            ran / 1_000_000,
            Escaped(&shown.phase),
            Escaped(&shown.name),
            Escaped(self.sentence(index))
        );
        for span in step.spans.iter().filter(|span| span.length() > total / SHORTEST) {
            match span.what {
                What::Attempt(number) => write_attempt(&step.attempts[number], span, html),
                what => write_bar(class(what), span.from, span.to, &self.words(what), html),
            }
        }
        for leg in
            self.history.critical.iter().filter(|leg| leg.step.index() == index && leg.to - leg.from > total / SHORTEST)
        {
            let _ = write!(
                html,
                "<i class=\"crit\" style=\"--a:{};--b:{}\"></i>",
                milliseconds(leg.from),
                milliseconds(leg.to)
            );
        }
        html.push_str("</span></li>\n");
    }

    /// A row for those who do not see it.
    fn sentence(&self, index: usize) -> String {
        let (step, shown) = (&self.history.steps[index], &self.history.state.steps[index]);
        let mut parts = vec![shown.phase.clone()];
        for span in step.spans.iter().filter(|span| span.what != What::Handoff) {
            parts.push(match span.what {
                What::Attempt(number) => {
                    format!("attempt {} ran {}", step.attempts[number].number, length(span.length()))
                }
                what => format!("{} {}", self.words(what), length(span.length())),
            });
        }
        parts.join(", ")
    }
}

pub(super) fn attempt_class(attempt: &AttemptHistory) -> &'static str {
    use podturn_turn::Reason;
    match attempt.reason {
        Some(Reason::Completed | Reason::Stopped) => "run p-Succeeded",
        Some(
            Reason::ExitCode
            | Reason::Signal
            | Reason::OOMKilled
            | Reason::TimedOut
            | Reason::ShimLost
            | Reason::EndedEarly
            | Reason::NotReady
            | Reason::NeverArrived
            | Reason::StartError
            | Reason::Interrupted
            | Reason::WhenError,
        ) => "run p-Failed",
        Some(_) => "run p-Cancelled",
        None => "run p-Running",
    }
}

fn write_attempt(attempt: &AttemptHistory, span: &Span, html: &mut String) {
    let how = attempt.reason.map_or_else(|| "still runs".to_owned(), |reason| format!("{reason:?}"));
    write_bar(attempt_class(attempt), span.from, span.to, &format!("attempt {}: {how}", attempt.number), html);
    let to = attempt.ended.unwrap_or(span.to);
    if let Some(stopping) = attempt.stopping.filter(|stopping| *stopping < to) {
        write_bar("stopping", stopping, to, "told to stop", html);
    }
    if let Some(ready) = attempt.ready.filter(|ready| *ready > span.from) {
        write_bar("ready", ready, ready, "ready", html);
    }
}

fn write_bar(class: &str, from: u64, to: u64, words: &str, html: &mut String) {
    let _ = write!(
        html,
        "<i class=\"{class}\" style=\"--a:{};--b:{}\" title=\"{} {} (from +{} to +{})\"></i>",
        milliseconds(from),
        milliseconds(to),
        Escaped(words),
        length(to - from),
        length(from),
        length(to)
    );
}

pub(super) fn write_axis(total: u64, html: &mut String) {
    html.push_str("<div id=\"axis\" class=\"axis\" aria-hidden=\"true\">");
    let step = tick(total);
    for at in (0..).map(|count| count * step).take_while(|at| *at <= total) {
        let _ = write!(
            html,
            "<span style=\"--a:{}\">{}</span>",
            milliseconds(at),
            match at {
                0 => "0".to_owned(),
                _ if at > total / 100 * 97 => String::new(), // there is no room behind it
                _ => round(at),
            }
        );
    }
    html.push_str("</div>\n");
}

/// The smallest distance of marks that people count in, of which not too many fit.
fn tick(total: u64) -> u64 {
    const MS: u64 = 1_000_000;
    let counted =
        [1u64, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000];
    let hours = [600_000u64, 900_000, 1_800_000, 3_600_000, 7_200_000, 14_400_000, 43_200_000, 86_400_000];
    let fits = |step: &u64| total / (step * MS) <= TICKS;
    counted.into_iter().chain(hours).find(fits).unwrap_or_else(|| (total / TICKS / MS).max(1)) * MS
}

/// A mark is a whole number of the unit it is counted in.
fn round(ns: u64) -> String {
    let ms = ns / 1_000_000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1_000),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// In ms, to the microsecond where that says something.
pub(super) fn milliseconds(ns: u64) -> String {
    let text = format!("{}.{:03}", ns / 1_000_000, ns % 1_000_000 / 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
