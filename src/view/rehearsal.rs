//! What people see of a rehearsal: bars over time, and the table of single failures.

use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::table::{between, duration};
use crate::history::{History, What};
use crate::volume::published::State;

/// Columns of a bar.
const WIDTH: u64 = 60;

/// As many names are told of a kind; then how many more there are.
const NAMES_MOST: usize = 6;

/// A line a step: `#` while an attempt of it runs, `.` while it could run and waits for something else than other steps.
#[must_use]
pub fn timeline(history: &History) -> String {
    let total = history.end.max(1);
    let width = history.state.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let column = |at: u64| usize::try_from(u128::from(at) * u128::from(WIDTH) / u128::from(total)).unwrap_or(0);
    let mut text = String::new();
    for (step, shown) in history.steps.iter().zip(&history.state.steps) {
        let mut bar = vec![' '; WIDTH as usize];
        for span in &step.spans {
            let mark = match span.what {
                What::Attempt(_) | What::Handoff => '#',
                What::Dependencies | What::Others | What::When => continue,
                What::Approval | What::Container | What::Backoff | What::Decision | What::Hold => '.',
                What::Slot(_) | What::Pool(..) => '.',
            };
            let from = column(span.from).min(bar.len() - 1);
            // What is short is seen too, and what is seen already is not written over by a wait.
            let to = column(span.to).clamp(from + 1, bar.len());
            for place in &mut bar[from..to] {
                *place = if *place == '#' { '#' } else { mark };
            }
        }
        let bar: String = bar.into_iter().collect();
        let line = format!("{:width$}  {bar}", shown.name);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let end = format!("+{}", duration(total / 1_000_000));
    let _ = writeln!(text, "{:width$}  0{end:>1$}", "", WIDTH as usize - 1);
    text
}

/// What an outcome that is missing means.
const OPEN: &str = "\nnot decided: it has no end by itself; services go on, or are tried again, until the pod is deleted, or a person decides\n";

/// One line a run: the step that fails in it (`None`: none does), how it ends, and what becomes of the others.
#[must_use]
pub fn failures(runs: &[(Option<String>, State)]) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(["FAILS", "OUTCOME", "AFTER", "RAN", "OMITTED", "CANCELLED"]);
    for (fails, state) in runs {
        let after = match (&state.started_at, &state.ended_at) {
            (Some(start), Some(end)) => between(start, end).map(duration),
            _ => None,
        };
        let ran = state.steps.iter().filter(|step| step.attempt > 0 && step.started_at.is_some()).count();
        table.add_row([
            fails.as_deref().map_or_else(|| "(none)".to_owned(), |name| failing(state, name)),
            state.outcome.clone().unwrap_or_else(|| "not decided".to_owned()),
            after.unwrap_or_else(|| "-".to_owned()),
            format!("{ran} of {}", state.steps.len()),
            names(state, "Omitted"),
            names(state, "Cancelled"),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    let is_open = runs.iter().any(|(_, state)| state.outcome.is_none());
    lines.join("\n") + if is_open { OPEN } else { "\n" }
}

/// A step that could fail only if it ran says so, and so does one whose failure is none of the plan's.
fn failing(state: &State, name: &str) -> String {
    match state.steps.iter().find(|step| step.name == name) {
        Some(step) if step.started_at.is_none() => format!("{name} (does not run)"),
        Some(step) if step.allow_failure => format!("{name} (it may)"),
        Some(_) | None => name.to_owned(),
    }
}

/// The steps in a phase.
fn names(state: &State, phase: &str) -> String {
    let all: Vec<&str> = state.steps.iter().filter(|it| it.phase == phase).map(|it| it.name.as_str()).collect();
    match all.len().saturating_sub(NAMES_MOST) {
        0 if all.is_empty() => "-".to_owned(),
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..NAMES_MOST].join(", ")),
    }
}
