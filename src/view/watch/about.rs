//! What there is to say of the selected step: why it is where it is, what it is, its attempts, outputs and last lines.

use super::super::table::{between, bytes, duration};
use super::super::why::why;
use super::text::{clean, wrap};
use super::{Log, Watch};
use crate::volume::published::{AttemptView, Step};

impl Watch {
    /// In lines of no more than `room` columns.
    pub(super) fn about(&self, now: &str, room: usize) -> Vec<String> {
        let Some(step) = self.selected() else { return Vec::new() };
        let mut paragraphs: Vec<String> = Vec::new();
        let because = why(&self.state, &step.name, now).unwrap_or_default();
        paragraphs.extend(because.lines().map(str::to_owned));
        paragraphs.extend(facts(step));
        paragraphs.extend(attempts(step, now));
        for (key, value) in &step.outputs {
            paragraphs.push(format!("output {key}: {}", first_line(value)));
        }
        for (key, because) in &step.outputs_refused {
            paragraphs.push(format!("no output, {key}: {because}"));
        }
        paragraphs.push(String::new());
        paragraphs.push(match &self.log {
            Log::Elsewhere(place) => place.clone(),
            Log::Lines(last) if last.is_empty() => "it has written nothing yet".to_owned(),
            Log::Lines(_) => "its last lines:".to_owned(),
        });
        paragraphs.iter().flat_map(|text| wrap(&clean(text, self.look), room)).collect()
    }

    /// The last lines of its log, oldest first; for whoever shows them to cut. Wrapped ones would push others out.
    pub(super) fn last_lines(&self) -> Vec<String> {
        match &self.log {
            Log::Elsewhere(_) => Vec::new(),
            Log::Lines(last) => last.iter().map(|line| format!("  {}", clean(line, self.look))).collect(),
        }
    }
}

fn facts(step: &Step) -> Vec<String> {
    let mut facts = Vec::new();
    if step.service {
        facts.push(match &step.readiness {
            Some(probe) => format!("a service, ready by {probe}"),
            None => "a service, ready when it has begun".to_owned(),
        });
    }
    let on: Vec<String> = step.depends_on.iter().map(|on| format!("{} ({})", on.step, on.condition)).collect();
    if !on.is_empty() {
        facts.push(format!("depends on {}", on.join(", ")));
    }
    if step.finally {
        facts.push("a finally step: it runs once every other step has ended".to_owned());
    }
    facts.extend(step.when.as_ref().map(|when| format!("runs only when {when}")));
    // While it waits for one that is told above.
    if let Some(asked) = step.approval.as_ref().filter(|_| step.waits_for.as_deref() != Some("Approval")) {
        facts.push(match asked.as_str() {
            "" => "needs an approval".to_owned(),
            asked => format!("needs an approval: {asked}"),
        });
    }
    facts.extend(step.uses.iter().map(|(pool, units)| format!("uses {units} of {pool}")));
    if step.allow_failure {
        facts.push("may fail".to_owned());
    }
    facts
}

fn attempts(step: &Step, now: &str) -> Vec<String> {
    let mut lines: Vec<String> = step.attempts.iter().map(attempt).collect();
    let is_over = step.attempts.iter().any(|attempt| attempt.attempt == step.attempt);
    if step.attempt > 0 && !is_over && step.ended_at.is_none() {
        let since = step.attempts.is_empty().then_some(step.started_at.as_deref()).flatten();
        let since = since.and_then(|began| between(began, now)).map(|ms| format!(" for {}", duration(ms)));
        lines.push(format!("attempt {}: {}{}{}", step.attempt, step.phase, since.unwrap_or_default(), uses(step)));
    }
    lines
}

/// What the attempt that runs uses.
fn uses(step: &Step) -> String {
    if step.unseen {
        return "; what it uses cannot be seen: it has a process namespace of its own, or a runtime that names no processes".to_owned();
    }
    step.usage.map_or_else(String::new, |usage| {
        let (cpu, now, peak) = (duration(usage.cpu_ms), bytes(usage.rss_kib), bytes(usage.peak_rss_kib));
        let plural = if usage.processes == 1 { "" } else { "es" };
        format!(", CPU {cpu}, memory {now} now, {peak} at most, {} process{plural}", usage.processes)
    })
}

fn attempt(attempt: &AttemptView) -> String {
    let mut text = format!("attempt {}: {}", attempt.attempt, attempt.reason);
    match (attempt.signal, attempt.exit_code) {
        (Some(signal), _) => text.push_str(&format!(", signal {signal}")),
        (None, Some(code)) => text.push_str(&format!(", code {code}")),
        (None, None) => {}
    }
    if let Some(ms) = attempt.started_at.as_deref().and_then(|began| between(began, &attempt.ended_at)) {
        text.push_str(&format!(", took {}", duration(ms)));
    }
    if let Some(ms) = attempt.cpu_ms {
        text.push_str(&format!(", CPU {}", duration(ms)));
    }
    if let Some(kib) = attempt.peak_rss_kib.or(attempt.max_rss_kib) {
        text.push_str(&format!(", memory {}", bytes(kib)));
    }
    text
}

/// Outputs may be whole files.
fn first_line(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    if line.len() == value.len() { line.to_owned() } else { format!("{line} ...") }
}
