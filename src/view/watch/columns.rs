//! The line of a step: what is said of it beside its name, as far as there is room.

use super::super::table::{between, bytes, duration};
use super::super::why::unready;
use crate::volume::published::{AttemptView, Step};

/// What can stand beside a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Phase,
    Time,
    Attempt,
    Cpu,
    Memory,
    Note,
}

/// The columns of a terminal that has room for all of them.
pub(super) const ALL: [Column; 6] =
    [Column::Phase, Column::Time, Column::Attempt, Column::Cpu, Column::Memory, Column::Note];

/// What is worth its room first.
const DEAREST: [Column; 6] = [Column::Phase, Column::Time, Column::Note, Column::Attempt, Column::Cpu, Column::Memory];

/// A note is not worth less than this.
const NOTE_LEAST: usize = 14;

impl Column {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Phase => "PHASE",
            Self::Time => "TIME",
            Self::Attempt => "ATTEMPT",
            Self::Cpu => "CPU",
            Self::Memory => "MEMORY",
            Self::Note => "",
        }
    }

    /// In columns of the terminal. A note takes what is left.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Phase => 9,
            Self::Time | Self::Cpu => 6,
            Self::Attempt => 7,
            Self::Memory => 8,
            Self::Note => NOTE_LEAST,
        }
    }

    pub(super) const fn is_figure(self) -> bool {
        !matches!(self, Self::Phase | Self::Note)
    }

    pub(super) fn of(self, step: &Step, now: &str) -> String {
        let dash = || "-".to_owned();
        match self {
            Self::Phase => step.phase.clone(),
            Self::Time => time(step, now).map_or_else(dash, duration),
            Self::Attempt if step.attempt == 0 => dash(),
            Self::Attempt => step.attempt.to_string(),
            Self::Cpu => cpu(step).map_or_else(dash, duration),
            Self::Memory => memory(step).map_or_else(dash, bytes),
            Self::Note => note(step, now),
        }
    }
}

/// The columns that a room beside names has place for, in their order.
pub(super) fn fitting(room: usize) -> Vec<Column> {
    let mut left = room;
    let fits = |column: &&Column| {
        let width = column.width() + 2;
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let fitting: Vec<&Column> = DEAREST.iter().take_while(fits).collect();
    ALL.iter().filter(|column| fitting.contains(column)).copied().collect()
}

/// From its first begin to its end, or to now, in ms.
fn time(step: &Step, now: &str) -> Option<u64> {
    step.duration_ms.or_else(|| between(step.started_at.as_deref()?, now).filter(|_| step.ended_at.is_none()))
}

/// The processor time of its attempts that is known, the one that runs included, in ms.
fn cpu(step: &Step) -> Option<u64> {
    let now = step.usage.map(|usage| usage.cpu_ms);
    let over = sum(&step.attempts, |attempt| attempt.cpu_ms, u64::saturating_add);
    over.into_iter().chain(now).reduce(u64::saturating_add)
}

/// What it has in memory now; after its end: the most that its attempts had, as far as that is known. In KiB.
fn memory(step: &Step) -> Option<u64> {
    let peak = || sum(&step.attempts, |attempt| attempt.peak_rss_kib.or(attempt.max_rss_kib), std::cmp::Ord::max);
    step.usage.filter(|_| step.ended_at.is_none()).map(|usage| usage.rss_kib).or_else(peak)
}

fn sum(
    attempts: &[AttemptView],
    of: impl Fn(&AttemptView) -> Option<u64>,
    and: impl Fn(u64, u64) -> u64,
) -> Option<u64> {
    attempts.iter().filter_map(of).reduce(and)
}

/// What it waits for, or why it ended as it did, in a few words.
pub(in crate::view) fn note(step: &Step, now: &str) -> String {
    match step.waits_for.as_deref() {
        _ if step.ended_at.is_some() => step.reason.clone().filter(|reason| reason != "Completed").unwrap_or_default(),
        Some("Dependencies") => {
            let unmet = step.depends_on.iter().filter(|on| !on.met).map(|on| on.step.as_str());
            format!("for {}", unmet.collect::<Vec<_>>().join(", "))
        }
        Some("Others") => "for all others".to_owned(),
        Some("When") => "for its `when`".to_owned(),
        Some("Approval") => "for an approval".to_owned(),
        Some("Decision") => {
            let reason = step.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("for a person{reason}")
        }
        Some("Container") => "for its container".to_owned(),
        Some("Backoff") => {
            let due = step.next_attempt_at.as_deref().and_then(|due| between(now, due));
            due.map_or_else(|| "again soon".to_owned(), |ms| format!("again in {}", duration(ms)))
        }
        Some("Hold") => "held back".to_owned(),
        Some("Slot") => "for a slot".to_owned(),
        Some(other) => format!("for {other}"),
        None if unready(step).is_some() => "not ready yet".to_owned(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_first_ones_first() {
        assert_eq!(fitting(10), []);
        assert_eq!(fitting(19), [Column::Phase, Column::Time]);
        assert_eq!(fitting(44), [Column::Phase, Column::Time, Column::Attempt, Column::Note]);
        assert_eq!(fitting(usize::MAX), ALL);
    }
}
