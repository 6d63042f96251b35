//! A run in one line of a terminal: how much is done, who runs and for how long, who waits and for what, and what a person has to type
//! in another terminal before it goes on.

use super::Act;
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
    let look = Look { colours: false, unicode };
    let [.., least] = &from_most_to_least;
    let fits = |text: &&String, room: usize| width(text) <= room;
    let Some(asks) = asks(state) else {
        let fitting = from_most_to_least.iter().find(|text| fits(text, columns)).unwrap_or(least);
        return Some(cut(fitting, columns, look));
    };
    // Nothing goes on without it: it comes before all names.
    let with = |text: &str| format!("{text}; {asks}");
    let room = columns.saturating_sub(width(&with("")));
    let fitting = from_most_to_least.iter().find(|text| fits(text, room));
    Some(cut(&fitting.map_or_else(|| format!("{done} {asks}"), |text| with(text)), columns, look))
}

/// What a person has to say before it goes on, as it is typed in another terminal; `None`: nothing.
fn asks(state: &State) -> Option<String> {
    let asked = |act: Act| state.steps.iter().filter(move |step| Act::awaited_by(step) == Some(act));
    let commands: Vec<String> = [Act::Approve, Act::Retry]
        .into_iter()
        .flat_map(|act| asked(act).map(move |step| format!("podturn {} {}", act.word(), step.name)))
        .collect();
    let first = if state.paused { Some("podturn resume") } else { commands.first().map(String::as_str) }?;
    let others = commands.len() - usize::from(!state.paused);
    let more = if others == 0 { String::new() } else { format!(" (and {others} more)") };
    Some(format!("in another terminal: {first}{more}"))
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
        let mut state = state(None);
        state.steps[5].waits_for = Some("Slot".to_owned());
        state.steps[5].phase = "Pending".to_owned();
        let at = |columns| line(&state, NOW, columns, true).expect("it goes on");
        let whole = "[2/6] running: db 2m02s, unit 2s; waiting: itest for unit, publish for a slot";
        assert_eq!(at(200), whole);
        assert_eq!(at(whole.len()), whole);
        assert_eq!(at(75), "[2/6] running: db 2m02s, unit 2s; waiting: itest, publish");
        assert_eq!(at(50), "[2/6] running: db 2m02s, unit 2s; 2 waiting");
        assert_eq!(at(40), "[2/6] running: db, unit; 2 waiting");
        assert_eq!(at(30), "[2/6] 2 running; 2 waiting");
        assert_eq!(at(10), "[2/6] 2 r…");
        assert_eq!(line(&state, NOW, 10, false).as_deref(), Some("[2/6] 2 r~"));
    }

    /// `podturn run` has the terminal: what a person has to say is said in another one.
    #[test]
    fn what_a_person_has_to_type_is_told_before_anything_else() {
        let mut state = state(None);
        let at = |state: &State, columns| line(state, NOW, columns, true).expect("it goes on");
        let asks = "in another terminal: podturn approve publish";
        assert_eq!(at(&state, 100), format!("[2/6] running: db 2m02s, unit 2s; 2 waiting; {asks}"));
        assert_eq!(at(&state, 75), format!("[2/6] 2 running; 2 waiting; {asks}"), "names have less room");
        assert_eq!(at(&state, 55), format!("[2/6] {asks}"));
        state.steps[4].phase = "Paused".to_owned();
        state.steps[4].waits_for = Some("Decision".to_owned());
        assert!(at(&state, 90).ends_with(&format!("; {asks} (and 1 more)")), "{}", at(&state, 90));
        state.steps[5].ended_at = Some(NOW.to_owned());
        state.steps[5].phase = "Skipped".to_owned();
        state.steps[5].waits_for = None;
        assert!(at(&state, 90).ends_with("; in another terminal: podturn retry itest"), "{}", at(&state, 90));
        state.paused = true;
        let paused = at(&state, 90);
        assert!(paused.starts_with("[3/6] paused; ") && paused.ends_with("podturn resume (and 1 more)"), "{paused}");
    }

    #[test]
    fn at_the_end_there_is_none() {
        assert_eq!(line(&state(Some("Succeeded")), NOW, 80, true), None);
    }
}
