//! What a run was: the journal played through the core again, and what each step did at every moment of it.
//!
//! Belongs here: attempts, waits, the critical path, and what the run would have taken without a wait, as data. Does not
//! belong here: how any of it is shown, reading files, the present time. Everything is a function of a [`Record`], so it is
//! the same live, on a copy of the volume, from an archive and from the coordinator's log.

mod advice;
mod critical;
mod log;
mod play;
mod replay;
mod used;
mod without;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use podturn_turn::{Event, Impossible, Plan, Reason, StepId, Time};
use podturn_wire::{Ended, RunId};

pub use advice::{Measured, measured};
pub use critical::Leg;
pub use log::{NoRecord, Told};
pub use play::{Act, Script, Scripts, play, play_on};
pub use used::{Piece, SHORT, thousandths};
pub use without::{Removed, Without};

use crate::volume::published::State;
use crate::volume::usage::{self, Sample};
use crate::volume::{Journal, Resources, Run, Volume, VolumeError};

/// All that has to be known of a run: it decides everything that a view shows.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which run.
    pub run: RunId,
    /// What was to be done.
    pub plan: Plan,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// When the first event was, as the published state says it: ms since 1970. `None`: nothing has begun.
    pub started: Option<i64>,
    /// What the steps' containers ask for, by name.
    pub resources: BTreeMap<String, Resources>,
    /// What attempts used while they ran; nothing is decided by it, and it may have gaps.
    pub usage: Vec<Sample>,
    /// The present, by the coordinator's clock: as far as a run that goes on is told. `None`: to its last event.
    pub until: Option<Time>,
    /// Nothing of it has happened: stubs were played.
    pub is_rehearsal: bool,
}

impl Record {
    /// What a volume or a log holds: the init container's stamp, the journal, `startedAt` of the published state, and
    /// what attempts used.
    #[must_use]
    pub fn new(run: Run, events: Vec<Event>, started_at: Option<&str>, usage: Vec<Sample>) -> Self {
        let started = started_at.and_then(|at| at.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_millisecond);
        Self {
            run: run.run,
            plan: run.plan,
            resources: run.resources,
            events,
            started,
            usage,
            until: None,
            is_rehearsal: false,
        }
    }

    /// Everything that the files of a volume hold of the run, whoever looks after it; `None`: nobody has laid the volume out.
    ///
    /// # Errors
    /// When one of them cannot be read or understood.
    pub fn of_volume(volume: &Volume) -> Result<Option<Self>, VolumeError> {
        let Some(run) = volume.read_run()? else { return Ok(None) };
        let state = volume.read_state()?;
        let events = Journal::read(volume)?;
        Ok(Some(Self::new(run, events, state.started_at.as_deref(), usage::read(volume))))
    }
}

/// A moment of a run: nanoseconds since its first event. A reboot of the node takes no time here, since nobody knows how long
/// it was.
pub type Moment = u64;

/// A run, moment by moment.
#[derive(Clone, Debug)]
pub struct History {
    /// The state after the last event, with times for people.
    pub state: State,
    /// What was to be done.
    pub plan: Plan,
    /// When the last step ended; while the plan runs: the last event.
    pub end: Moment,
    /// The same for people (RFC 3339); `None`: nothing has begun.
    pub ends_at: Option<String>,
    /// In the plan's order.
    pub steps: Vec<StepHistory>,
    /// What the end had to wait for, from the first event to [`History::end`], without a gap.
    pub critical: Vec<Leg>,
}

/// What one step did.
#[derive(Clone, Debug, Default)]
pub struct StepHistory {
    /// What it did at every moment from the run's first event to its end (or [`History::end`]), without gaps or overlaps.
    pub spans: Vec<Span>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptHistory>,
    /// Its processes could be seen: they share the coordinator's process namespace.
    pub seen: bool,
    /// When its container was there for the first time.
    pub arrived: Option<Moment>,
    /// When it was seen to have begun: what meets `Started`.
    pub begun: Option<Moment>,
    /// When it became ready, each time.
    pub ready: Vec<Moment>,
    /// When it ended.
    pub ended: Option<Moment>,
}

/// A piece of a step's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From here,
    pub from: Moment,
    /// to here, which is later (or not earlier, for an attempt).
    pub to: Moment,
    /// what it did.
    pub what: What,
}

impl Span {
    /// How long, in ns.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.to - self.from
    }
}

/// What a step does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// An attempt of it runs: an index into [`StepHistory::attempts`].
    Attempt(usize),
    /// Waits for its dependencies.
    Dependencies,
    /// A finally step: waits for all others to end.
    Others,
    /// Waits for the value of its `when`.
    When,
    /// Waits for a person's approval.
    Approval,
    /// Waits for its container.
    Container,
    /// Waits for a place under `maxParallel`. Who gave it free, if it got one.
    Slot(Option<StepId>),
    /// Waits for units of a pool (an index into the plan's). Who gave them free, if it got them.
    Pool(u32, Option<StepId>),
    /// Waits for its next attempt.
    Backoff,
    /// Failed, and waits for a person.
    Decision,
    /// All turns are held back.
    Hold,
    /// podturn's own time: from a turn to the command's begin, and from its end until that is known.
    Handoff,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptHistory {
    /// Its number, from 1.
    pub number: u32,
    /// When its command was begun.
    pub begun: Moment,
    /// When it became ready for the first time.
    pub ready: Option<Moment>,
    /// When it was told to stop.
    pub stopping: Option<Moment>,
    /// When it had ended, or was judged; `None`: it runs.
    pub ended: Option<Moment>,
    /// How it counted; `None`: it runs.
    pub reason: Option<Reason>,
    /// What its shim said of its end.
    pub end: Option<Ended>,
    /// What it used while it ran, oldest first.
    pub samples: Vec<Sample>,
}

impl History {
    /// Plays the record through the core.
    ///
    /// # Errors
    /// When the events do not fit the plan, or each other: the record is damaged, or not of one run.
    pub fn of(record: &Record) -> Result<Self, Impossible> {
        let mut history = replay::replay(record)?;
        history.critical = critical::path(&history);
        history.add_usage(&record.usage);
        Ok(history)
    }

    fn add_usage(&mut self, usage: &[Sample]) {
        let index: HashMap<&str, usize> = self.plan.steps.iter().map(|step| step.name.as_str()).zip(0..).collect();
        for sample in usage {
            let Some(index) = index.get(sample.step.as_str()) else { continue };
            let attempts = &mut self.steps[*index].attempts;
            if let Some(attempt) = attempts.iter_mut().rev().find(|attempt| attempt.number == sample.attempt) {
                attempt.samples.push(sample.clone());
            }
        }
        for (step, shown) in self.steps.iter_mut().zip(&mut self.state.steps) {
            for attempt in step.attempts.iter_mut().filter(|attempt| !attempt.samples.is_empty()) {
                attempt.samples.sort_by_key(|sample| sample.after_ms);
                let peaks = attempt.peaks();
                if let Some(view) = shown.attempts.iter_mut().find(|view| view.attempt == attempt.number) {
                    view.add_usage(&peaks);
                }
            }
        }
    }

    /// How long steps waited, summed over all of them, by what for; attempts are left out. In ns, longest first.
    #[must_use]
    pub fn waits(&self) -> Vec<(What, u64)> {
        let mut sums = std::collections::BTreeMap::<What, u64>::new();
        for span in self.steps.iter().flat_map(|step| &step.spans) {
            let what = match span.what {
                What::Attempt(_) => continue,
                What::Slot(_) => What::Slot(None),
                What::Pool(pool, _) => What::Pool(pool, None),
                other => other,
            };
            let sum = sums.entry(what).or_default();
            *sum = sum.saturating_add(span.length());
        }
        let mut waits: Vec<(What, u64)> = sums.into_iter().collect();
        waits.sort_by_key(|(what, sum)| (std::cmp::Reverse(*sum), *what));
        waits
    }
}
