//! What the journal says of one step's shim, and what is new in a report.
//!
//! Belongs here: turning a whole desired-state report into events, each told once. The memory is made of events alone, so
//! that a replay brings it back. Does not belong here: when to read a report, and what follows from an event.

use podturn_turn::{Kind, Probed, Process, StepId};
use podturn_wire::{InstanceId, Last, Report};

/// What was told of one step.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The newest instance that has arrived.
    instance: Option<InstanceId>,
    /// It was told that this instance is gone.
    gone: bool,
    /// The newest attempt that it was told to have begun, and ended.
    begun: Option<u32>,
    ended: Option<u32>,
    stop_signal: bool,
    /// What was told of the readiness of the attempt that runs.
    readiness: Option<Probed>,
    /// Who the newest instances are: more than one, because a connection names an instance before its report does.
    processes: Vec<(InstanceId, Process)>,
    /// How many instances have arrived.
    arrivals: u32,
    /// The last report that was looked at. Not from the journal: it only tells a repeated signal from a lingering one.
    seen: Option<Report>,
}

/// More instances than any container has lives: whoever writes more is not a shim, and would only fill the journal.
const ARRIVALS_MAX: u32 = 1000;

/// How many processes are remembered.
const PROCESSES_KEPT: usize = 3;

impl Told {
    /// The newest instance, if nothing told that it is gone.
    pub(super) fn present(&self) -> Option<InstanceId> {
        self.instance.filter(|_| !self.gone)
    }

    /// Whether any instance ever arrived.
    pub(super) fn has_arrived(&self) -> bool {
        self.instance.is_some()
    }

    /// Whether the present instance was told to have begun this attempt.
    pub(super) fn has_begun(&self, attempt: u32) -> bool {
        self.begun == Some(attempt)
    }

    /// The process of an instance, if a connection of it was ever accepted.
    pub(super) fn process(&self, instance: InstanceId) -> Option<&Process> {
        self.processes.iter().rev().find(|(known, _)| *known == instance).map(|(_, process)| process)
    }

    /// Whether the report is of another instance than the newest one: an arrival (rule C4).
    pub(super) fn is_arrival(&self, report: &Report) -> bool {
        self.instance != Some(report.instance) && self.arrivals < ARRIVALS_MAX
    }

    /// What the report says that was not told before. `attempt` is the step's newest one: what is said of others does not
    /// count (rule C5).
    pub(super) fn news(&mut self, step: StepId, report: &Report, attempt: u32) -> Vec<Kind> {
        let mut news = Vec::new();
        let instance = report.instance;
        let arrives = self.is_arrival(report);
        if arrives {
            news.push(Kind::Arrived { step, instance, report: report.seq, last: report.last, references: Vec::new() });
        } else if self.present() != Some(instance) {
            return news;
        }
        // One that has just arrived was told no attempt of this step yet, so it can have begun none.
        if !arrives {
            let shown = report.as_last().filter(|shown| report.attempt == Some(attempt) && shown.attempt == attempt);
            news.extend(shown.and_then(|shown| self.news_of(step, instance, report.seq, shown)));
            news.extend(shown.and_then(|shown| self.readiness_of(step, report, shown)));
        }
        if let Some(signal) = report.stop_signal
            && (arrives || !self.stop_signal || self.is_repeated(report))
        {
            news.push(Kind::StopSignal { step, instance, report: report.seq, signal });
        }
        self.seen = Some(*report);
        news
    }

    /// What a report says of an attempt, as an event of the instance that ran it.
    pub(super) fn news_of(&self, step: StepId, instance: InstanceId, report: u64, shown: Last) -> Option<Kind> {
        let Last { attempt, started_at, ended } = shown;
        match ended {
            Some(_) if self.ended == Some(attempt) => None,
            Some(ended) => Some(Kind::Ended { step, instance, report, attempt, started_at, ended }),
            None if self.begun == Some(attempt) => None,
            None => Some(Kind::Begun { step, instance, report, attempt, started_at }),
        }
    }

    /// What is new of the readiness of an attempt that runs.
    fn readiness_of(&self, step: StepId, report: &Report, shown: Last) -> Option<Kind> {
        if shown.ended.is_some() {
            return None;
        }
        let (readiness, probed_at) = match (report.ready_at, report.not_ready_at) {
            (_, Some(at)) => (Probed::NotReady, at),
            (Some(at), None) => (Probed::Ready, at),
            (None, None) => (Probed::Unready, shown.started_at),
        };
        let before = self.readiness.filter(|_| self.begun == Some(shown.attempt)).unwrap_or(Probed::Unready);
        let (instance, attempt) = (report.instance, shown.attempt);
        (readiness != before).then_some(Kind::Probed {
            step,
            instance,
            report: report.seq,
            attempt,
            probed_at,
            readiness,
            why: String::new(),
        })
    }

    /// A shim names a stop signal in every report after it. Only one that says nothing else can mean a second signal.
    fn is_repeated(&self, report: &Report) -> bool {
        self.seen.is_some_and(|seen| Report { seq: report.seq, ..seen } == *report && seen.seq < report.seq)
    }

    /// Remembers an event: one that was read from the journal, or one that is about to be written there.
    pub(super) fn note(&mut self, kind: &Kind) {
        match *kind {
            Kind::Arrived { instance, .. } => {
                self.instance = Some(instance);
                (self.gone, self.stop_signal, self.begun, self.ended) = (false, false, None, None);
                self.arrivals += 1;
            }
            Kind::Begun { instance, attempt, .. } if self.instance == Some(instance) => {
                (self.begun, self.readiness) = (Some(attempt), None);
            }
            Kind::Probed { instance, attempt, readiness, report: 1.., .. }
                if self.instance == Some(instance) && self.begun == Some(attempt) =>
            {
                self.readiness = Some(readiness);
            }
            Kind::Ended { instance, attempt, .. } if self.instance == Some(instance) => {
                (self.begun, self.ended) = (Some(attempt), Some(attempt));
            }
            Kind::StopSignal { instance, .. } if self.instance == Some(instance) => self.stop_signal = true,
            Kind::Lost { instance, .. } if self.instance == Some(instance) => self.gone = true,
            Kind::Connected { instance, ref process, .. } => {
                self.processes.retain(|(known, _)| *known != instance);
                self.processes.push((instance, process.clone()));
                if self.processes.len() > PROCESSES_KEPT {
                    self.processes.remove(0);
                }
            }
            Kind::CoordinatorStarted { rebooted: true } => self.gone = true,
            _ => {}
        }
    }
}
