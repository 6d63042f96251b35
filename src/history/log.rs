//! The record of a run from the log of its coordinator, as `kubectl logs` prints it.
//!
//! Other lines may stand between (the table at the end, another program's), and something before each line (`--prefix`,
//! `--timestamps`, a container engine's own format). A coordinator that was started again tells all events again.

use std::collections::HashSet;

use podturn_turn::Event;

use super::Record;
use crate::volume::Run;
use crate::volume::log::Line;
use crate::volume::usage::Sample;

/// Why a log is not that of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRecord {
    /// For a person.
    pub why: String,
}

impl std::fmt::Display for NoRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for NoRecord {}

#[derive(Default)]
struct Reading {
    run: Option<Run>,
    events: Vec<Event>,
    started_at: Option<String>,
    lost: u64,
    usage: Vec<Sample>,
    /// What of it is there already: step, attempt and when.
    told: HashSet<(String, u32, u64)>,
}

/// What a log tells: as much as the volume did.
#[derive(Clone, Debug)]
pub struct Told {
    /// The init container's stamp.
    pub run: Run,
    /// The journal.
    pub events: Vec<Event>,
    /// `startedAt` of the published state.
    pub started_at: Option<String>,
    /// What attempts used while they ran.
    pub usage: Vec<Sample>,
}

impl Record {
    /// Reads a log, as [`Told::from_log`] does.
    ///
    /// # Errors
    /// When there is no run in it, or a line of it is damaged.
    pub fn from_log(log: &str) -> Result<Self, NoRecord> {
        Told::from_log(log).map(Self::from)
    }
}

impl From<Told> for Record {
    fn from(Told { run, events, started_at, usage }: Told) -> Self {
        Self::new(run, events, started_at.as_deref(), usage)
    }
}

impl Told {
    /// Reads a log. Of several runs in it (a pod whose containers were all restarted) the last one counts.
    ///
    /// # Errors
    /// When there is no run in it, or a line of it is damaged.
    pub fn from_log(log: &str) -> Result<Self, NoRecord> {
        let mut reading = Reading::default();
        for (index, line) in log.lines().enumerate() {
            // What stands before and behind is somebody else's. A coordinator that was killed leaves a line without its end, and
            // the next one goes on behind it: what is missing then is told again, or is seen to be missing.
            for (at, _) in line.match_indices(Line::START) {
                let mut parser = serde_json::Deserializer::from_str(&line[at..]).into_iter::<Line>();
                match parser.next() {
                    Some(Ok(line)) => reading.take(line),
                    Some(Err(error)) if error.is_eof() || at > 0 => {}
                    Some(Err(error)) => {
                        return Err(NoRecord { why: format!("line {} is damaged: {error}", index + 1) });
                    }
                    None => {}
                }
            }
        }
        let Some(run) = reading.run else {
            let why = "there is no run in it: is it the log of the coordinator's container, written as JSON?";
            return Err(NoRecord { why: why.to_owned() });
        };
        if reading.lost > 0 {
            return Err(NoRecord { why: format!("{} lines of it were lost when they were written", reading.lost) });
        }
        Ok(Self { run, events: reading.events, started_at: reading.started_at, usage: reading.usage })
    }
}

impl Reading {
    fn take_sample(&mut self, sample: Sample) {
        if self.told.insert((sample.step.clone(), sample.attempt, sample.after_ms)) {
            self.usage.push(sample);
        }
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Run { started_at, run, .. } => {
                if self.run.as_ref().is_none_or(|known| known.run != run.run) {
                    *self = Self { run: Some(run), started_at, ..Self::default() };
                } else {
                    self.lost = 0; // everything is told again
                }
            }
            Line::Event { event, .. } => {
                if self.events.last().is_none_or(|last| last.seq < event.seq) {
                    self.events.push(event);
                } else if let Ok(place) = self.events.binary_search_by_key(&event.seq, |known| known.seq) {
                    self.events[place] = event;
                } else {
                    let place = self.events.partition_point(|known| known.seq < event.seq);
                    self.events.insert(place, event);
                }
            }
            Line::Outcome { started_at, .. } => self.started_at = started_at.or(self.started_at.take()),
            Line::Usage { sample, .. } => self.take_sample(sample),
            Line::Lost { lines } => self.lost = self.lost.saturating_add(lines),
            Line::Message { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_none_is_said_to_be_none() {
        for log in ["", "STEP PHASE\nbuild Succeeded\n", "{\"level\":\"info\"}\n"] {
            let why = Record::from_log(log).expect_err("no run").why;
            assert!(why.contains("no run"), "{why}");
        }
        let damaged = "{\"podturn\":\"event\",\"seq\":}\n{\"podturn\":\"lost\",\"lines\":1}\n";
        let why = Record::from_log(damaged).expect_err("it is damaged").why;
        assert!(why.starts_with("line 1 is damaged"), "{why}");
        let absurd = format!("{{\"podturn\":\"lost\",\"lines\":{}}}\n", u64::MAX).repeat(2);
        let why = Record::from_log(&absurd).expect_err("no run").why;
        assert!(why.contains("no run"), "no number in a log is too large: {why}");
    }
}
