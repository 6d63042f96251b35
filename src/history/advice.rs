//! What the next run should ask for, from what others used.
//!
//! CPU is shared out by requests and only slows down whoever gets less, so the request is what was enough for 95 % of the time.
//! Memory ends whoever gets less, so request and limit are the most that was ever seen. Both with a margin.

use std::collections::BTreeMap;

use podturn_turn::Reason;

use super::{AttemptHistory, History, Piece, thousandths};
use crate::volume::Resources;

/// The part of its time in which a step has to be content with its CPU request, in percent.
const ENOUGH: u128 = 95;

/// The least that is advised: thousandths of a core, and bytes.
const LEAST: (u64, u64) = (10, 8 << 20);

/// What one step's attempts used, in all runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How many attempts.
    pub attempts: u32,
    /// How long they ran, in ns.
    pub ran: u64,
    /// Their processor time, in ms.
    pub cpu_time: u64,
    /// The largest memory of one of them, in KiB.
    pub memory: u64,
    /// One was killed for its memory: it would have taken more.
    pub was_killed: bool,
    /// Thousandths of a core.
    rates: Vec<Piece>,
}

impl Measured {
    /// Thousandths of a core, over all the time.
    #[must_use]
    pub fn average(&self) -> u64 {
        thousandths(self.cpu_time, self.ran)
    }

    /// Thousandths of a core that were enough for 95 % of the time.
    #[must_use]
    pub fn enough(&self) -> u64 {
        let mut rates = self.rates.clone();
        rates.sort_by_key(|rate| rate.level);
        let all: u128 = rates.iter().map(|rate| u128::from(rate.length())).sum();
        let mut past = 0;
        let is_enough = |rate: &&Piece| {
            past += u128::from(rate.length());
            past * 100 >= all * ENOUGH
        };
        rates.iter().find(is_enough).map_or(0, |rate| rate.level)
    }

    /// What to ask for; `margin` in percent. A CPU limit is neither made nor lowered, as it only slows down; a step that was killed
    /// for its memory gets twice its limit, since nobody knows what it would have taken.
    #[must_use]
    pub fn advise(&self, now: Resources, margin: u64) -> Resources {
        let with = |amount: u64| amount.saturating_mul(100 + margin).div_ceil(100);
        let cpu = with(self.enough());
        let step = if cpu < 1_000 { 10 } else { 100 };
        let cpu = cpu.max(LEAST.0).next_multiple_of(step);
        let seen = with(self.memory.saturating_mul(1024));
        let wanted = if self.was_killed { seen.max(now.memory_limit.unwrap_or(seen).saturating_mul(2)) } else { seen };
        let step = if wanted < 256 << 20 { 1 << 20 } else { 16 << 20 };
        let memory = wanted.max(LEAST.1).next_multiple_of(step);
        Resources {
            cpu_request: Some(cpu),
            cpu_limit: now.cpu_limit.map(|limit| limit.max(cpu)),
            memory_request: Some(memory),
            memory_limit: Some(memory),
        }
    }

    fn add(&mut self, attempt: &AttemptHistory, end: u64) {
        let memory = attempt.memory();
        if memory == 0 {
            return; // nobody saw anything of it
        }
        self.attempts += 1;
        self.ran = self.ran.saturating_add(attempt.length(end));
        self.cpu_time = self.cpu_time.saturating_add(attempt.cpu_time());
        self.memory = self.memory.max(memory);
        self.was_killed |= attempt.reason == Some(Reason::OOMKilled);
        self.rates.extend(attempt.rates(end));
    }
}

/// What the steps of these runs used, by name.
#[must_use]
pub fn measured(runs: &[History]) -> BTreeMap<String, Measured> {
    let mut all: BTreeMap<String, Measured> = BTreeMap::new();
    for run in runs {
        for (plan, step) in run.plan.steps.iter().zip(&run.steps) {
            let measured = all.entry(plan.name.clone()).or_default();
            step.attempts.iter().for_each(|attempt| measured.add(attempt, run.end));
        }
    }
    all.retain(|_, measured| measured.attempts > 0);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::usage::Sample;

    fn attempt(seconds: u64, samples: &[(u64, u64, u64)]) -> AttemptHistory {
        let samples = samples.iter().map(|&(after, cpu_ms, mib)| Sample {
            step: "a".to_owned(),
            attempt: 1,
            after_ms: after * 1_000,
            cpu_ms,
            rss_kib: mib << 10,
            max_rss_kib: mib << 10,
            processes: 1,
            read_bytes: None,
            write_bytes: None,
        });
        AttemptHistory {
            number: 1,
            begun: 0,
            ready: None,
            stopping: None,
            ended: Some(seconds * 1_000_000_000),
            reason: Some(Reason::Completed),
            end: None,
            samples: samples.collect(),
        }
    }

    fn measured_of(attempts: &[AttemptHistory]) -> Measured {
        let mut measured = Measured::default();
        attempts.iter().for_each(|attempt| measured.add(attempt, 0));
        measured
    }

    /// A minute of half a core, and one second of four.
    #[test]
    fn a_short_burst_does_not_count_for_cpu_and_a_short_peak_does_for_memory() {
        let steady = attempt(61, &[(30, 15_000, 40), (60, 30_000, 200), (61, 34_000, 50)]);
        let measured = measured_of(&[steady]);
        assert_eq!((measured.enough(), measured.average(), measured.memory), (500, 557, 200 << 10));
        let advised = measured.advise(Resources::default(), 20);
        assert_eq!(advised.cpu_request, Some(600));
        assert_eq!((advised.memory_request, advised.memory_limit), (Some(240 << 20), Some(240 << 20)));
        assert_eq!(advised.cpu_limit, None, "none is made");
    }

    #[test]
    fn what_was_killed_for_its_memory_gets_twice_its_limit() {
        let mut killed = attempt(10, &[(5, 1_000, 60)]);
        killed.reason = Some(Reason::OOMKilled);
        let now = Resources { memory_limit: Some(64 << 20), cpu_limit: Some(100), ..Resources::default() };
        let advised = measured_of(&[killed]).advise(now, 20);
        assert_eq!(advised.memory_limit, Some(128 << 20));
        assert_eq!(
            advised.cpu_limit,
            Some(240).filter(|_| advised.cpu_request == Some(240)),
            "never below the request"
        );
    }

    #[test]
    fn several_runs_are_one_measurement() {
        let (calm, wild) = (attempt(10, &[(10, 1_000, 30)]), attempt(10, &[(10, 9_000, 90)]));
        let measured = measured_of(&[calm, wild]);
        assert_eq!(
            (measured.attempts, measured.average(), measured.enough(), measured.memory),
            (2, 500, 900, 90 << 10)
        );
    }
}
