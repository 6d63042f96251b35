//! Where the time went: the critical path, what the run would have taken without each wait, and all waits summed up.

use std::fmt::Write as _;

use super::timeline::attempt_class;
use super::{Page, class, length};
use crate::history::{Leg, Removed, What, Without};
use crate::view::escape::Escaped;

/// Legs that are shorter than this part of the whole are joined to their neighbours in the list.
const SHORTEST: u64 = 1_000;

/// As many legs are listed.
const LEGS_MOST: usize = 200;

impl Page<'_> {
    pub(super) fn write_path(&self, html: &mut String) {
        html.push_str("<section id=\"path\" aria-labelledby=\"path-title\">\n<h2 id=\"path-title\">Where the time went</h2>\n<div class=\"columns\">\n");
        self.write_critical(html);
        html.push_str("<div>\n");
        self.write_without(html);
        self.write_waits(html);
        html.push_str("</div>\n</div>\n</section>\n");
    }

    fn write_critical(&self, html: &mut String) {
        html.push_str(
            "<div>\n<h3 id=\"critical-title\">Critical path</h3>\n<p>What the end of the run had to wait for, from its begin to its end.</p>\n\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"critical-title\"><table>\n<thead><tr><th scope=\"col\">From</th>\
             <th scope=\"col\">Step</th><th scope=\"col\">What</th><th scope=\"col\" class=\"n\">How long</th><th scope=\"col\" class=\"n\">Part</th></tr></thead>\n<tbody>\n",
        );
        let shortest = self.history.end / SHORTEST;
        let legs: Vec<&Leg> = self.history.critical.iter().filter(|leg| leg.to - leg.from > shortest).collect();
        for leg in legs.iter().take(LEGS_MOST) {
            let what = match leg.what {
                What::Attempt(number) => {
                    format!("attempt {}", self.history.steps[leg.step.index()].attempts[number].number)
                }
                other => self.words(other),
            };
            let _ = writeln!(
                html,
                "<tr><td class=\"n\">+{}</td><td><a href=\"#s{}\">{}</a></td><td><i class=\"dot {}\" aria-hidden=\"true\"></i>{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                length(leg.from),
                leg.step.0,
                Escaped(self.name(leg.step)),
                self.class_of(leg),
                Escaped(&what),
                length(leg.to - leg.from),
                percent(leg.to - leg.from, self.history.end)
            );
        }
        html.push_str("</tbody>\n</table></div>\n");
        let listed: u64 = legs.iter().take(LEGS_MOST).map(|leg| leg.to - leg.from).sum();
        let rest = self.history.end.saturating_sub(listed);
        if rest > 0 {
            let _ = writeln!(html, "<p class=\"note\">Pieces too short to be listed: {} together.</p>", length(rest));
        }
        html.push_str("</div>\n");
    }

    /// As its bar in the timeline looks.
    fn class_of(&self, leg: &Leg) -> &'static str {
        match leg.what {
            What::Attempt(number) => attempt_class(&self.history.steps[leg.step.index()].attempts[number]),
            other => class(other),
        }
    }

    fn write_without(&self, html: &mut String) {
        html.push_str("<h3>Without a wait</h3>\n");
        let Some(without) = &self.without else {
            let why = match self.history.state.outcome {
                None => "the run has not ended",
                Some(_) => {
                    "a container was lost or stopped from outside, or something else happened that cannot be played again"
                }
            };
            let _ = writeln!(html, "<p>What the run would have taken without each wait is not known: {why}.</p>");
            return;
        };
        html.push_str(
            "<p>What the same run would have taken, played again by the same rules with one thing changed.</p>\n<table>\n<thead><tr>\
             <th scope=\"col\">If</th><th scope=\"col\" class=\"n\">Would have taken</th><th scope=\"col\" class=\"n\">Difference</th></tr></thead>\n<tbody>\n",
        );
        let _ = writeln!(html, "<tr><td>as it was</td><td class=\"n\">{}</td><td></td></tr>", length(self.history.end));
        let shortest = self.history.end / SHORTEST;
        let tells =
            |it: &&Without| it.length.abs_diff(self.history.end) > shortest || it.removed == Removed::Everything;
        for it in without.iter().filter(tells) {
            let (sign, difference) = match it.length <= self.history.end {
                true => ("−", self.history.end - it.length),
                false => ("+", it.length - self.history.end),
            };
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{sign}{}</td></tr>",
                words(it.removed),
                length(it.length),
                length(difference)
            );
        }
        html.push_str("</tbody>\n</table>\n");
    }

    fn write_waits(&self, html: &mut String) {
        html.push_str(
            "<h3>All waits</h3>\n<p>Summed over all steps, which wait at the same time.</p>\n<table>\n<thead><tr><th scope=\"col\">What</th>\
             <th scope=\"col\" class=\"n\">Together</th></tr></thead>\n<tbody>\n",
        );
        for (what, sum) in self.history.waits() {
            let _ = writeln!(
                html,
                "<tr><td><i class=\"dot {}\" aria-hidden=\"true\"></i>{}</td><td class=\"n\">{}</td></tr>",
                class(what),
                Escaped(self.words(what)),
                length(sum)
            );
        }
        html.push_str("</tbody>\n</table>\n");
    }
}

const fn words(removed: Removed) -> &'static str {
    match removed {
        Removed::Nothing => "nothing were different",
        Removed::Container => "every container had been there from the start",
        Removed::People => "people had answered at once",
        Removed::Hold => "nobody had held turns back",
        Removed::Slot => "maxParallel had no limit",
        Removed::Pools => "every pool had room for all",
        Removed::Backoff => "the next attempt had followed at once",
        Removed::Handoff => "podturn took no time",
        Removed::Everything => "all of these",
    }
}

fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}
