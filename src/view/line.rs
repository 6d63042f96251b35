//! A run in one line of a terminal: how much is done, who runs and for how long, who waits and for what.

use super::table::{between, duration};
use super::watch::{Look, cut, is_running, note, width};
use crate::volume::published::{State, Step};

/// The line, in no more than these columns: what there is no room for is counted. `now` is the present time (RFC 3339). `None`: the plan
/// has ended, and the table says it all.
#[must_use]
pub fn line(state: &State, now: &str, columns: usize, unicode: bool) -> Option<String> {
    if state.outcome.is_some() {
        return None;
    }
    let steps = || state.steps.iter().filter(|step| step.ended_at.is_none());
    let running: Vec<&Step> = steps().filter(|step| is_running(step)).collect();
    let waiting: Vec<&Step> = steps().filter(|step| !is_running(step)).collect();
    let names = |steps: &[&Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>().join(", ");
    let since = running.iter().map(|step| format!("{}{}", step.name, lasts(step, now))).collect::<Vec<_>>().join(", ");
    let for_what = waiting.iter().map(|step| format!("{} {}", step.name, note(step, now)).trim_end().to_owned());
    let for_what = for_what.collect::<Vec<_>>().join(", ");
    let some = |text: &str| if text.is_empty() { "nobody".to_owned() } else { text.to_owned() };
    let and = |word: &str, text: &str| if text.is_empty() { String::new() } else { format!("; {word}: {text}") };
    let done = format!("[{}/{}]{}", state.steps.len() - steps().count(), state.steps.len(), paused(state));
    let count = if waiting.is_empty() { String::new() } else { format!("; {} waiting", waiting.len()) };
    let from_most_to_least = [
        format!("{done} running: {}{}", some(&since), and("waiting", &for_what)),
        format!("{done} running: {}{}", some(&since), and("waiting", &names(&waiting))),
        format!("{done} running: {}{count}", some(&since)),
        format!("{done} running: {}{count}", some(&names(&running))),
        format!("{done} {} running{count}", running.len()),
    ];
    let [.., least] = &from_most_to_least;
    let fitting = from_most_to_least.iter().find(|text| width(text) <= columns).unwrap_or(least);
    Some(cut(fitting, columns, Look { colours: false, unicode }))
}

const fn paused(state: &State) -> &'static str {
    if state.paused { " paused;" } else { "" }
}

/// In whole seconds: nobody reads more in a line that changes each second.
fn lasts(step: &Step, now: &str) -> String {
    let since = step.started_at.as_deref().and_then(|began| between(began, now));
    match since {
        None => String::new(),
        Some(ms) if ms < 60_000 => format!(" {}s", ms / 1_000),
        Some(ms) => format!(" {}", duration(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-26T10:02:07.900Z";

    fn state(outcome: Option<&str>) -> State {
        let step = |name: &str, phase: &str, more: serde_json::Value| {
            let mut step =
                serde_json::json!({ "name": name, "phase": phase, "arrived": true, "turn": 1, "attempt": 1 });
            let fields = step.as_object_mut().expect("a map");
            fields.extend(more.as_object().expect("a map").clone());
            step
        };
        let ended = serde_json::json!({ "endedAt": NOW });
        let state = serde_json::json!({ "version": 1, "run": "0123456789abcdef", "seq": 9, "outcome": outcome, "steps": [
            step("clone", "Succeeded", ended.clone()),
            step("docs", "Skipped", ended),
            step("db", "Ready", serde_json::json!({ "startedAt": "2026-11-26T10:00:05.000Z" })),
            step("unit", "Running", serde_json::json!({ "startedAt": "2026-11-26T10:02:05.000Z" })),
            step("itest", "Pending", serde_json::json!({ "waitsFor": "Dependencies",
                "dependsOn": [{ "step": "unit", "condition": "Succeeded" }] })),
            step("publish", "Awaiting", serde_json::json!({ "waitsFor": "Approval" })),
        ]});
        serde_json::from_value(state).expect("a state")
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let at = |columns| line(&state(None), NOW, columns, true).expect("it goes on");
        let whole = "[2/6] running: db 2m02s, unit 2s; waiting: itest for unit, publish for an approval";
        assert_eq!(at(200), whole);
        assert_eq!(at(whole.len()), whole);
        assert_eq!(at(81), "[2/6] running: db 2m02s, unit 2s; waiting: itest, publish");
        assert_eq!(at(50), "[2/6] running: db 2m02s, unit 2s; 2 waiting");
        assert_eq!(at(40), "[2/6] running: db, unit; 2 waiting");
        assert_eq!(at(30), "[2/6] 2 running; 2 waiting");
        assert_eq!(at(10), "[2/6] 2 r…");
        assert_eq!(line(&state(None), NOW, 10, false).as_deref(), Some("[2/6] 2 r~"));
    }

    #[test]
    fn at_the_end_there_is_none() {
        assert_eq!(line(&state(Some("Succeeded")), NOW, 80, true), None);
    }
}
