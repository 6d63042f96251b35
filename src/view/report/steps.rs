//! The table of steps: all that is known of each, in words and numbers.
//!
//! Its roles are written out, since a browser forgets them where the page makes cards of the rows (a narrow screen).

use std::fmt::Write as _;

use super::{Page, class, length};
use crate::history::{AttemptHistory, What};
use crate::view::escape::Escaped;
use crate::view::signs::sign;
use crate::view::table::bytes;
use crate::volume::published::Step;

/// Longer outputs are cut on the page.
const OUTPUT_MOST: usize = 2_000;

impl Page<'_> {
    pub(super) fn write_steps(&self, html: &mut String) {
        html.push_str(
            "<section id=\"steps\" aria-labelledby=\"steps-title\">\n<h2 id=\"steps-title\" tabindex=\"-1\">Steps</h2>\n\
             <p class=\"hint\"><span class=\"on\">◆</span> on the critical path</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"steps-title\"><table class=\"steps\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">\
             <th role=\"columnheader\" scope=\"col\">Step</th><th role=\"columnheader\" scope=\"col\">Phase</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Began</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Ran</th>\
             <th role=\"columnheader\" scope=\"col\" class=\"n\">Attempts</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Exit</th><th role=\"columnheader\" scope=\"col\">Waited</th>\
             <th role=\"columnheader\" scope=\"col\" class=\"n\">CPU</th><th role=\"columnheader\" scope=\"col\" class=\"n\">Peak memory</th><th role=\"columnheader\" scope=\"col\">What happened</th></tr></thead>\n<tbody role=\"rowgroup\">\n",
        );
        for index in 0..self.history.steps.len() {
            self.write_step(index, html);
        }
        html.push_str("</tbody>\n</table></div>\n</section>\n");
    }

    pub(super) fn write_step(&self, index: usize, html: &mut String) {
        let (step, shown) = (&self.history.steps[index], &self.history.state.steps[index]);
        let mark = sign(&shown.phase).map_or("", |sign| sign.unicode);
        let crit = if self.is_critical[index] {
            " <span class=\"on\" title=\"on the critical path\">◆<span class=\"vh\">on the critical path</span></span>"
        } else {
            ""
        };
        let mut kind = Vec::new();
        kind.extend(shown.service.then_some("service"));
        kind.extend(shown.finally.then_some("finally"));
        kind.extend(shown.allow_failure.then_some("allowFailure"));
        let _ = write!(
            html,
            "<tr id=\"s{index}\" role=\"row\" tabindex=\"-1\"><th role=\"rowheader\" scope=\"row\">{}{crit}<small>{}</small></th>\
             <td role=\"cell\" class=\"p-{}\"><b aria-hidden=\"true\">{mark}</b> {}<small>{}</small></td>",
            Escaped(&shown.name),
            kind.join(", "),
            Escaped(&shown.phase),
            Escaped(&shown.phase),
            Escaped(shown.reason.as_deref().filter(|reason| *reason != "Completed").unwrap_or_default())
        );
        let began = step.attempts.first().map(|attempt| format!("+{}", length(attempt.begun))).unwrap_or_default();
        let ran: u64 =
            step.spans.iter().filter(|span| matches!(span.what, What::Attempt(_))).map(|span| span.length()).sum();
        let ran = if step.attempts.is_empty() { String::new() } else { length(ran) };
        let exit = shown.exit_code.map(|code| code.to_string()).unwrap_or_default();
        let attempts = step.attempts.len();
        let _ = write!(
            html,
            "<td role=\"cell\" class=\"n\">{began}</td><td role=\"cell\" class=\"n\">{ran}</td><td role=\"cell\" class=\"n\">{attempts}</td><td role=\"cell\" class=\"n\">{exit}</td><td role=\"cell\">"
        );
        self.write_waited(index, html);
        // The same figures as in the part about CPU and memory. Of stubs there are none.
        let memory = step.attempts.iter().map(AttemptHistory::memory).max().filter(|memory| *memory > 0);
        let cpu = step.attempts.iter().map(AttemptHistory::cpu_time).reduce(u64::saturating_add);
        let cpu = cpu.filter(|cpu| *cpu > 0 || memory.is_some());
        let cpu = cpu.map(|cpu| length(cpu.saturating_mul(1_000_000))).unwrap_or_default();
        let rss = memory.map(bytes).unwrap_or_default();
        let _ = write!(
            html,
            "</td><td role=\"cell\" class=\"n\">{cpu}</td><td role=\"cell\" class=\"n\">{rss}</td><td role=\"cell\" class=\"words\">{}",
            Escaped(because(shown))
        );
        self.write_details(index, html);
        self.write_actions(shown, html);
        html.push_str("</td></tr>\n");
    }

    fn write_waited(&self, index: usize, html: &mut String) {
        let mut sums: Vec<(What, u64)> = Vec::new();
        for span in &self.history.steps[index].spans {
            if matches!(span.what, What::Attempt(_) | What::Handoff) {
                continue;
            }
            let key = |what: What| (class(what), self.short(what));
            match sums.iter_mut().find(|(what, _)| key(*what) == key(span.what)) {
                Some((_, sum)) => *sum += span.length(),
                None => sums.push((span.what, span.length())),
            }
        }
        for (what, sum) in sums {
            let _ = write!(
                html,
                "<span class=\"wait\"><i class=\"dot {}\" aria-hidden=\"true\"></i>{} {}</span> ",
                class(what),
                Escaped(self.short(what)),
                length(sum)
            );
        }
    }

    /// What it waited for, in a word or two.
    fn short(&self, what: What) -> String {
        match what {
            What::Attempt(_) => "attempt".to_owned(),
            What::Dependencies => "dependencies".to_owned(),
            What::Others => "all others".to_owned(),
            What::When => "when".to_owned(),
            What::Approval => "approval".to_owned(),
            What::Container => "container".to_owned(),
            What::Slot(_) => "maxParallel".to_owned(),
            What::Pool(pool, _) => {
                format!("pool {}", self.history.plan.pools.get(pool as usize).map_or("", |pool| pool.name.as_str()))
            }
            What::Backoff => "back-off".to_owned(),
            What::Decision => "decision".to_owned(),
            What::Hold => "held back".to_owned(),
            What::Handoff => "podturn".to_owned(),
        }
    }

    /// What few want to see of every step: several attempts, outputs, what it waits for.
    fn write_details(&self, index: usize, html: &mut String) {
        let (step, shown) = (&self.history.steps[index], &self.history.state.steps[index]);
        let outputs = shown.outputs.len() + shown.outputs_refused.len();
        if step.attempts.len() < 2 && outputs == 0 && shown.when.is_none() {
            return;
        }
        let mut words = Vec::new();
        words.extend((step.attempts.len() > 1).then(|| format!("{} attempts", step.attempts.len())));
        words.extend((outputs > 0).then(|| format!("{outputs} output{}", if outputs == 1 { "" } else { "s" })));
        words.extend(shown.when.as_ref().map(|_| "when".to_owned()));
        let _ = write!(html, "<details><summary>{}</summary>", words.join(", "));
        if let Some(when) = &shown.when {
            let _ = write!(html, "<p>when <code>{}</code></p>", Escaped(when));
        }
        if step.attempts.len() > 1 {
            html.push_str("<ol>");
            step.attempts.iter().for_each(|attempt| write_attempt(attempt, html));
            html.push_str("</ol>");
        }
        html.push_str("<dl class=\"outputs\">");
        for (key, value) in &shown.outputs {
            let cut: String = value.chars().take(OUTPUT_MOST).collect();
            let rest = if cut.len() < value.len() { format!(" … ({} bytes)", value.len()) } else { String::new() };
            let _ = write!(html, "<dt>{}</dt><dd><code>{}</code>{rest}</dd>", Escaped(key), Escaped(&cut));
        }
        for (key, why) in &shown.outputs_refused {
            let _ = write!(html, "<dt>{}</dt><dd>not taken: {}</dd>", Escaped(key), Escaped(why));
        }
        html.push_str("</dl></details>");
    }
}

fn write_attempt(attempt: &AttemptHistory, html: &mut String) {
    let ran = attempt.ended.map_or_else(|| "runs".to_owned(), |ended| length(ended - attempt.begun));
    let reason = attempt.reason.map(|reason| format!("{reason:?}")).unwrap_or_default();
    let exit = attempt.end.map(|end| format!(", exit code {}", end.exit.code())).unwrap_or_default();
    let _ = write!(html, "<li value=\"{}\">+{} {ran} {reason}{exit}</li>", attempt.number, length(attempt.begun));
}

/// Its sentence without the phase and reason, which stand beside it.
fn because(step: &Step) -> &str {
    step.message.split_once(": ").map_or(step.message.as_str(), |(_, because)| because)
}
