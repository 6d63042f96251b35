//! Why a step is where it is: the chain of what it waits for, down to the cause, in sentences.

use std::fmt::Write as _;
use std::time::SystemTime;

use jiff::Timestamp;

use super::table::{between, duration};
use crate::volume::published::{Dependency, State, Step, WallClock};

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

/// Another time, as [`why`] wants it.
#[must_use]
pub fn at(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let clock = WallClock { boottime: 0, realtime: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) };
    clock.show(0)
}

/// A line for each step that has not ended and of which more is to be said than its phase; what holds all back, and the
/// outcome. `now` as for [`why`].
#[must_use]
pub fn standing(state: &State, now: &str) -> String {
    let mut text = Text { state, now, lines: String::new(), told: Vec::new() };
    for step in &state.steps {
        let sentence = match step.waits_for.as_deref() {
            _ if step.ended_at.is_some() => {
                (step.phase != "Succeeded").then(|| format!("{}: {}", step.name, step.message))
            }
            Some("Dependencies") => Some(Text::dependencies(step)),
            Some("Others") => Some(format!("{} waits for all others to end", step.name)),
            Some(wait) => Some(text.wait(step, wait)),
            None if step.phase == "Stopping" => Some(format!("{}: {}", step.name, step.message)),
            None => unready(step).map(|because| format!("{} is not ready: {because}", step.name)),
        };
        sentence.into_iter().for_each(|sentence| text.say(0, &sentence));
    }
    if state.paused {
        text.say(0, PAUSED);
    }
    text.say(0, "outcome: not decided yet");
    text.lines
}

const PAUSED: &str = "a person has paused the plan: `podturn resume`";

/// Why a service that runs is not ready; `None`: it is, or needs no probe.
pub(super) fn unready(step: &Step) -> Option<String> {
    let probe = step.readiness.as_ref().filter(|_| step.phase == "Running")?;
    Some(match &step.probe_failures {
        Some(failures) if failures.in_a_row == 1 => format!("its probe ({probe}) has failed: {}", failures.last),
        Some(failures) => {
            format!("its probe ({probe}) has failed {} times in a row: {}", failures.in_a_row, failures.last)
        }
        None => format!("its probe ({probe}) has not succeeded"),
    })
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
        self.say(depth, &Self::dependencies(step));
        for on in unmet {
            if let Some(on) = self.step(&on.step) {
                self.explain(on, depth + 1);
            }
        }
    }

    fn dependencies(step: &Step) -> String {
        let unmet = step.depends_on.iter().filter(|dependency| !dependency.met);
        let list: Vec<String> = unmet.map(|on| format!("{} to {}", on.step, wish(&on.condition))).collect();
        format!("{} waits for {}", step.name, list.join(" and for "))
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
            "Backoff" => {
                let due = step.next_attempt_at.as_deref().and_then(|due| between(self.now, due));
                let due = due.map(|ms| format!(", due in {}", duration(ms))).unwrap_or_default();
                format!("{name} waits for its next attempt{due}: {}", because(step))
            }
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
                    self.say(depth, PAUSED);
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
        let since = since.map(|ms| match step.attempt {
            0 | 1 => format!(", for {} now", duration(ms)),
            _ => format!("; the first one began {} ago", duration(ms)),
        });
        let since = since.unwrap_or_default();
        match step.message.is_empty() {
            false if step.ended_at.is_some() => self.say(depth, &format!("{}: {}", step.name, step.message)),
            _ => self.say(depth, &format!("{} is {} (attempt {}){since}", step.name, step.phase, step.attempt)),
        }
        if let Some(because) = unready(step) {
            self.say(depth + 1, &format!("it is not ready: {because}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-24T10:01:00.000Z";

    /// A run in which everybody waits for something else.
    fn state() -> State {
        let db = serde_json::json!({ "inARow": 3, "last": "Connection refused" });
        let step = |name: &str, phase: &str, more: serde_json::Value| {
            let mut step =
                serde_json::json!({ "name": name, "phase": phase, "arrived": true, "turn": 1, "attempt": 1 });
            let (step_fields, more) = (step.as_object_mut().expect("a map"), more.as_object().expect("a map"));
            step_fields.extend(more.clone());
            step
        };
        let state = serde_json::json!({ "version": 1, "run": "0123456789abcdef", "seq": 9, "paused": true, "steps": [
            step("fetch", "Succeeded", serde_json::json!({ "endedAt": NOW, "message": "Succeeded: fine" })),
            step("lint", "Failed", serde_json::json!({ "endedAt": NOW, "message": "Failed (ExitCode): its command ended with code 3" })),
            step("db", "Running", serde_json::json!({ "service": true, "readiness": "tcpSocket :5432", "probeFailures": db })),
            step("cache", "Running", serde_json::json!({ "service": true, "readiness": "file /run/cache" })),
            step("old", "Ready", serde_json::json!({ "service": true, "readiness": "file /run/old" })),
            step("work", "Running", serde_json::json!({ "startedAt": "2026-11-24T10:00:57.500Z" })),
            step("flaky", "Backoff", serde_json::json!({ "waitsFor": "Backoff", "nextAttemptAt": "2026-11-24T10:01:02.000Z",
                "message": "Backoff (ExitCode): its command ended with code 4" })),
            step("test", "Pending", serde_json::json!({ "waitsFor": "Dependencies", "dependsOn": [
                { "step": "db", "condition": "Ready" }, { "step": "fetch", "condition": "Succeeded", "met": true } ] })),
            step("last", "Pending", serde_json::json!({ "waitsFor": "Others", "finally": true })),
        ]});
        serde_json::from_value(state).expect("a state")
    }

    #[test]
    fn who_has_more_to_say_than_its_phase_has_a_line() {
        let expected = "\
lint: Failed (ExitCode): its command ended with code 3
db is not ready: its probe (tcpSocket :5432) has failed 3 times in a row: Connection refused
cache is not ready: its probe (file /run/cache) has not succeeded
flaky waits for its next attempt, due in 2.00s: its command ended with code 4
test waits for db to be ready
last waits for all others to end
a person has paused the plan: `podturn resume`
outcome: not decided yet
";
        assert_eq!(standing(&state(), NOW), expected);
    }

    #[test]
    fn the_chain_goes_down_to_the_probe() {
        let expected = "\
test waits for db to be ready
  db is Running (attempt 1)
    it is not ready: its probe (tcpSocket :5432) has failed 3 times in a row: Connection refused
";
        assert_eq!(why(&state(), "test", NOW).as_deref(), Some(expected));
        assert_eq!(why(&state(), "work", NOW).as_deref(), Some("work is Running (attempt 1), for 2.50s now\n"));
        assert_eq!(why(&state(), "none", NOW), None);
    }

    /// What is known is when the step began, not its newest attempt.
    #[test]
    fn a_later_attempt_does_not_run_for_as_long_as_its_step() {
        let mut state = state();
        state.steps[5].attempt = 3;
        let told = "work is Running (attempt 3); the first one began 2.50s ago\n";
        assert_eq!(why(&state, "work", NOW).as_deref(), Some(told));
    }
}
