//! Why a step is where it is: the chain of what it waits for, down to the cause, in sentences.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::table::{between, duration};
use crate::volume::published::{Dependency, State, Step};

/// A sentence a line; what explains a line stands below it, further in. `None`: there is no such step. `now` is the
/// present time (RFC 3339), from which it is told how long something has lasted.
#[must_use]
pub fn why(state: &State, name: &str, now: &str) -> Option<String> {
    let mut text = Text { state, now, lines: String::new(), told: Vec::new() };
    let step = text.step(name)?;
    text.explain(step, 0);
    Some(text.lines)
}

/// The present time, as [`why`] wants it.
#[must_use]
pub fn now() -> String {
    Timestamp::now().to_string()
}

struct Text<'a> {
    state: &'a State,
    now: &'a str,
    lines: String,
    /// Steps that were explained: a diamond of the DAG is told once.
    told: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn step(&self, name: &str) -> Option<&'a Step> {
        self.state.steps.iter().find(|step| step.name == name)
    }

    fn say(&mut self, depth: usize, sentence: &str) {
        let _ = writeln!(self.lines, "{:depth$}{sentence}", "", depth = depth * 2);
    }

    fn explain(&mut self, step: &'a Step, depth: usize) {
        if self.told.contains(&step.name.as_str()) {
            self.say(depth, &format!("{}: as told above", step.name));
            return;
        }
        self.told.push(&step.name);
        match step.waits_for.as_deref() {
            Some("Dependencies") => self.explain_dependencies(step, depth),
            Some("Others") => self.explain_others(step, depth),
            Some(wait) => {
                let sentence = self.wait(step, wait);
                self.say(depth, &sentence);
                self.explain_wait(wait, depth + 1);
            }
            None => self.explain_place(step, depth),
        }
    }

    fn explain_dependencies(&mut self, step: &'a Step, depth: usize) {
        let unmet: Vec<&Dependency> = step.depends_on.iter().filter(|dependency| !dependency.met).collect();
        let list: Vec<String> = unmet.iter().map(|on| format!("{} to {}", on.step, wish(&on.condition))).collect();
        self.say(depth, &format!("{} waits for {}", step.name, list.join(" and for ")));
        for on in unmet {
            if let Some(on) = self.step(&on.step) {
                self.explain(on, depth + 1);
            }
        }
    }

    fn explain_others(&mut self, step: &'a Step, depth: usize) {
        let open: Vec<&Step> =
            self.state.steps.iter().filter(|other| !other.finally && other.ended_at.is_none()).collect();
        let names: Vec<&str> = open.iter().map(|step| step.name.as_str()).collect();
        self.say(depth, &format!("{} is a finally step: it waits for {} to end", step.name, names.join(", ")));
        for other in open {
            self.explain(other, depth + 1);
        }
    }

    fn wait(&self, step: &Step, wait: &str) -> String {
        let name = &step.name;
        match wait {
            "When" => format!("{name} waits for its `when` to be evaluated"),
            "Approval" => {
                let asked = step.approval.as_deref().filter(|asked| !asked.is_empty());
                let asked = asked.map(|asked| format!(" ({asked})")).unwrap_or_default();
                format!("{name} waits for a person{asked}: `podturn approve {name}`")
            }
            "Decision" => format!(
                "{name} waits for a person: {}; `podturn retry {name}`, `podturn skip {name}` or `podturn cancel`",
                because(step)
            ),
            "Container" => {
                let since = step.due_at.as_deref().and_then(|due| between(due, self.now));
                let since = since.map(|ms| format!(" for {}", duration(ms))).unwrap_or_default();
                format!("{name} could run{since}, and its container is not there: it has not started")
            }
            "Backoff" => format!("{name} waits for its next attempt: {}", because(step)),
            "Hold" => format!("{name} could run, and all turns are held back"),
            _ => format!("{name} could run, and waits for a slot"),
        }
    }

    /// What lies behind a wait that is not the step's own.
    fn explain_wait(&mut self, wait: &str, depth: usize) {
        match wait {
            "Hold" => {
                let paused: Vec<&Step> = self.state.steps.iter().filter(|step| step.phase == "Paused").collect();
                if paused.is_empty() {
                    self.say(depth, "a person has paused the plan: `podturn resume`");
                }
                paused.into_iter().for_each(|step| self.explain(step, depth));
            }
            "Slot" => {
                let busy =
                    |step: &&Step| !step.service && matches!(step.phase.as_str(), "Granted" | "Running" | "Stopping");
                let busy: Vec<&str> = self.state.steps.iter().filter(busy).map(|step| step.name.as_str()).collect();
                if let Some(limit) = self.state.max_parallel {
                    self.say(depth, &format!("maxParallel is {limit}; now run: {}", busy.join(", ")));
                }
                for pool in &self.state.pools {
                    self.say(depth, &format!("of pool {}, {} of {} are in use", pool.name, pool.in_use, pool.capacity));
                }
            }
            _ => {}
        }
    }

    /// A step that has its turn, or has ended.
    fn explain_place(&mut self, step: &'a Step, depth: usize) {
        let began = step.started_at.as_deref().filter(|_| step.ended_at.is_none());
        let since = began.and_then(|began| between(began, self.now));
        let since = since.map(|ms| format!(", for {} now", duration(ms))).unwrap_or_default();
        match step.message.is_empty() {
            false if step.ended_at.is_some() => self.say(depth, &format!("{}: {}", step.name, step.message)),
            _ => self.say(depth, &format!("{} is {} (attempt {}){since}", step.name, step.phase, step.attempt)),
        }
        if step.reason.as_deref() == Some("DependencyLost") {
            let lost: Vec<&Dependency> = step.depends_on.iter().filter(|on| !on.met).collect();
            for on in lost {
                if let Some(on) = self.step(&on.step).filter(|on| on.ended_at.is_some()) {
                    self.explain(on, depth + 1);
                }
            }
        }
    }
}

/// The step's sentence without its phase and reason.
fn because(step: &Step) -> &str {
    step.message.split_once(": ").map_or(step.message.as_str(), |(_, because)| because)
}

fn wish(condition: &str) -> &'static str {
    match condition {
        "Started" => "start",
        "Ready" => "be ready",
        "Failed" => "fail",
        "Completed" => "end",
        _ => "succeed",
    }
}
