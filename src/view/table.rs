//! The table at the end of a run, and a sentence for each step that did not succeed, or not at once.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use jiff::Timestamp;

use crate::volume::published::{AttemptView, State, Step};

/// As many failures before a success are told, the newest ones.
const FAILURES_MOST: usize = 3;

/// One line a step: phase, reason, attempts, when it began after the run's start, how long it took, exit code.
#[must_use]
pub fn table(state: &State) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["STEP", "PHASE", "REASON", "ATTEMPTS", "BEGAN", "TOOK", "EXIT"]);
    for column in 3..7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for step in &state.steps {
        table.add_row(row(state, step));
    }
    // Names and codes fill their columns at both ends, so `trim` takes the padding of the table and nothing else.
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// What stands in a step's line, in the order of the table's columns.
pub(super) fn row(state: &State, step: &Step) -> [String; 7] {
    let dash = || "-".to_owned();
    let began = match (&state.started_at, &step.started_at) {
        (Some(start), Some(began)) => between(start, began).map(|ms| format!("+{}", duration(ms))),
        _ => None,
    };
    [
        step.name.clone(),
        step.phase.clone(),
        step.reason.clone().unwrap_or_else(dash),
        step.attempt.to_string(),
        began.unwrap_or_else(dash),
        step.duration_ms.map_or_else(dash, duration),
        step.exit_code.map_or_else(dash, |code| code.to_string()),
    ]
}

/// A sentence for each step that did not succeed, or not at its first attempt, and how the plan ended.
#[must_use]
pub fn sentences(state: &State) -> String {
    let mut text = String::new();
    for step in &state.steps {
        match step.phase.as_str() {
            "Succeeded" => text.extend(after_failures(step)),
            _ if step.message.is_empty() => {}
            _ => text.push_str(&format!("{}: {}\n", step.name, step.message)),
        }
    }
    let took = match (&state.started_at, &state.ended_at) {
        (Some(start), Some(end)) => between(start, end).map(|ms| format!(" after {}", duration(ms))),
        _ => None,
    };
    let outcome = state.outcome.as_deref().unwrap_or("not decided");
    text.push_str(&format!("outcome: {outcome}{}\n", took.unwrap_or_default()));
    text
}

/// What came before a success: a flaky step is worth a look.
fn after_failures(step: &Step) -> Option<String> {
    let failed: Vec<&AttemptView> =
        step.attempts.iter().filter(|attempt| !matches!(attempt.reason.as_str(), "Completed" | "Stopped")).collect();
    let told = failed.iter().rev().take(FAILURES_MOST).rev().map(|attempt| match (attempt.signal, attempt.exit_code) {
        (Some(signal), _) => format!("attempt {}: {} {signal}", attempt.attempt, attempt.reason),
        (None, Some(code)) => format!("attempt {}: {} {code}", attempt.attempt, attempt.reason),
        (None, None) => format!("attempt {}: {}", attempt.attempt, attempt.reason),
    });
    let told: Vec<String> = told.collect();
    let before = if failed.len() > FAILURES_MOST { "... " } else { "" };
    let (name, last) = (&step.name, step.attempt);
    (!told.is_empty()).then(|| format!("{name}: Succeeded on attempt {last} ({before}{})\n", told.join(", ")))
}

pub(super) fn between(from: &str, to: &str) -> Option<u64> {
    let (from, to): (Timestamp, Timestamp) = (from.parse().ok()?, to.parse().ok()?);
    u64::try_from(to.as_millisecond() - from.as_millisecond()).ok()
}

/// Milliseconds as people read them: three figures are enough.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{:02}s", ms / 1_000, ms % 1_000 / 10),
        10_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// KiB as people read them: three figures are enough.
pub(super) fn bytes(kib: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut tenths, mut unit) = (kib.saturating_mul(10), 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    match tenths {
        0..100 if unit > 0 => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_figures() {
        for (ms, wanted) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.00s"),
            (9_999, "9.99s"),
            (10_000, "10.0s"),
            (59_999, "59.9s"),
            (60_000, "1m00s"),
            (3_599_999, "59m59s"),
            (3_600_000, "1h00m"),
        ] {
            assert_eq!(duration(ms), wanted);
        }
    }

    #[test]
    fn sizes_have_three_figures() {
        for (kib, wanted) in [
            (0, "0 KiB"),
            (999, "999 KiB"),
            (1_000, "0.9 MiB"),
            (4_200, "4.1 MiB"),
            (20_480, "20 MiB"),
            (1_023_000, "999 MiB"),
            (3 << 20, "3.0 GiB"),
        ] {
            assert_eq!(bytes(kib), wanted);
        }
    }

    #[test]
    fn what_came_before_a_success_is_told() {
        let told = |attempts: serde_json::Value| {
            let attempts = attempts.as_array().expect("a list").iter().zip(1..).map(|(attempt, number)| {
                let mut attempt = attempt.clone();
                attempt["attempt"] = number.into();
                attempt["endedAt"] = "2026-11-24T10:00:00.000Z".into();
                attempt
            });
            let attempts: Vec<_> = attempts.collect();
            let step = serde_json::json!({ "name": "unit", "phase": "Succeeded", "message": "fine", "arrived": false, "turn": 2,
                "attempt": attempts.len(), "attempts": attempts });
            let state =
                serde_json::json!({ "version": 1, "run": "0", "seq": 9, "outcome": "Succeeded", "steps": [step] });
            sentences(&serde_json::from_value(state).expect("a state"))
        };
        let done = serde_json::json!({ "reason": "Completed", "exitCode": 0 });
        let failed = serde_json::json!({ "reason": "ExitCode", "exitCode": 3 });
        let killed = serde_json::json!({ "reason": "Signal", "exitCode": 137, "signal": 9 });
        let lost = serde_json::json!({ "reason": "ShimLost" });
        assert_eq!(told(serde_json::json!([done])), "outcome: Succeeded\n");
        assert_eq!(
            told(serde_json::json!([failed, killed, done])),
            "unit: Succeeded on attempt 3 (attempt 1: ExitCode 3, attempt 2: Signal 9)\noutcome: Succeeded\n"
        );
        assert_eq!(
            told(serde_json::json!([failed, failed, killed, lost, done])),
            "unit: Succeeded on attempt 5 (... attempt 2: ExitCode 3, attempt 3: Signal 9, attempt 4: ShimLost)\noutcome: Succeeded\n"
        );
    }

    #[test]
    fn a_run_as_a_table() {
        let state = serde_json::json!({
            "version": 1, "run": "0123456789abcdef", "seq": 9, "outcome": "Failed",
            "startedAt": "2026-11-24T10:00:00.000Z", "endedAt": "2026-11-24T10:01:03.500Z",
            "steps": [
                { "name": "build", "phase": "Succeeded", "reason": "Completed", "message": "fine", "arrived": false, "turn": 2,
                  "attempt": 1, "startedAt": "2026-11-24T10:00:00.040Z", "endedAt": "2026-11-24T10:01:02.040Z",
                  "durationMs": 62000, "exitCode": 0 },
                { "name": "unit-test", "phase": "Failed", "reason": "ExitCode", "message": "its command ended with code 3",
                  "arrived": false, "turn": 4, "attempt": 2, "startedAt": "2026-11-24T10:01:02.041Z",
                  "endedAt": "2026-11-24T10:01:03.500Z", "durationMs": 1459, "exitCode": 3 },
                { "name": "publish", "phase": "Omitted", "reason": "DependencyLost", "message": "unit-test did not succeed",
                  "arrived": true, "turn": 2, "attempt": 0 },
            ],
        });
        let state: State = serde_json::from_value(state).expect("a state");
        let expected = "\
STEP       PHASE      REASON          ATTEMPTS   BEGAN   TOOK  EXIT
build      Succeeded  Completed              1   +40ms  1m02s     0
unit-test  Failed     ExitCode               2  +1m02s  1.45s     3
publish    Omitted    DependencyLost         0       -      -     -
unit-test: its command ended with code 3
publish: unit-test did not succeed
outcome: Failed after 1m03s
";
        assert_eq!(table(&state) + &sentences(&state), expected);
    }
}
