//! What the runs went through, counted: a rule that no run came across was not tested, however many runs there were.

use std::collections::BTreeMap;
use std::fmt;

use podturn_turn::{Decision, Event, Kind, Outcome, Phase, Plan, Probed, Request, StepView};
use podturn_wire::{Then, Turn};

use crate::world::Answer;

/// How often what happened, by group and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(BTreeMap<(&'static str, String), u64>);

impl Tally {
    /// One whole run.
    pub(crate) fn run(&mut self, plan: &Plan, journal: &[Event], answers: &[Answer], outcome: Option<Outcome>) {
        self.add("all", "plans");
        self.add_many("all", "steps", plan.steps.len());
        self.add_many("all", "events", journal.len());
        self.add("outcome", outcome.map_or("none".into(), |outcome| format!("{outcome:?}")));
        self.add("onFailure", format!("{:?}", plan.on_failure));
        if plan.long_running {
            self.add("all", "plans that run for ever");
        }
        self.add_many("all", "services", plan.steps.iter().filter(|step| step.service).count());
        for view in answers.iter().flat_map(|answer| &answer.views) {
            if matches!(view.phase, Phase::Ready | Phase::Awaiting | Phase::Paused) {
                self.add("seen", format!("{:?}", view.phase));
            }
        }
        for event in journal {
            self.add("event", event_name(&event.kind));
        }
        for answer in answers {
            for (_, turn) in &answer.turns {
                self.add("turn", turn_name(turn));
            }
            self.add_many("turn", "values in them", answer.values.iter().map(|(_, values)| values.len()).sum());
        }
        for (step, view) in plan.steps.iter().zip(answers.last().into_iter().flat_map(|answer| &answer.views)) {
            for dependency in &step.depends_on {
                let of = if plan.steps[dependency.step.index()].service { " of a service" } else { "" };
                self.add("condition", format!("{:?}{of}", dependency.condition));
            }
            self.end(view);
        }
    }

    fn end(&mut self, view: &StepView) {
        let reason = view.reason.map_or("-".into(), |reason| format!("{reason:?}"));
        self.add("end", format!("{:?} {reason}", view.phase));
        // Every attempt but the last one was followed by another, or by a wait for one.
        for attempt in view.history.iter().rev().skip(1) {
            self.add("retried after", format!("{:?}", attempt.reason));
        }
    }

    fn add(&mut self, group: &'static str, name: impl Into<String>) {
        self.add_many(group, name, 1);
    }

    fn add_many(&mut self, group: &'static str, name: impl Into<String>, times: usize) {
        *self.0.entry((group, name.into())).or_default() += times as u64;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((group, name), times) in &self.0 {
            let shown = if *group == last { "" } else { *group };
            writeln!(f, "{shown:<14} {name:<28} {times:>9}")?;
            last = group;
        }
        Ok(())
    }
}

fn event_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Outputs { .. } => "Outputs",
        Kind::Probed { readiness: Probed::Ready, .. } => "Probed, Ready",
        Kind::Probed { readiness: Probed::Unready, .. } => "Probed, Unready",
        Kind::Probed { readiness: Probed::NotReady, .. } => "Probed, NotReady",
        Kind::Decided { decision: Decision::Run, .. } => "Decided, Run",
        Kind::Decided { decision: Decision::Skip, .. } => "Decided, Skip",
        Kind::Decided { decision: Decision::Error(_), .. } => "Decided, Error",
        Kind::CoordinatorStarted { rebooted: false } => "CoordinatorStarted",
        Kind::CoordinatorStarted { rebooted: true } => "CoordinatorStarted, rebooted",
        Kind::Arrived { last: None, .. } => "Arrived",
        Kind::Arrived { last: Some(_), .. } => "Arrived with a last attempt",
        Kind::Begun { .. } => "Begun",
        Kind::Ended { .. } => "Ended",
        Kind::StopSignal { .. } => "StopSignal",
        Kind::Lost { survivors: false, .. } => "Lost",
        Kind::Lost { survivors: true, .. } => "Lost, survivors",
        Kind::Connected { .. } => "Connected",
        Kind::Deaf { .. } => "Deaf",
        Kind::NotBegun { .. } => "NotBegun",
        Kind::Deadline => "Deadline",
        Kind::Requested { request } => match request {
            Request::Cancel => "Cancel requested",
            Request::Terminate { .. } => "Terminate requested",
            Request::Pause => "Pause requested",
            Request::Resume => "Resume requested",
            Request::Retry { .. } => "Retry requested",
            Request::Skip { .. } => "Skip requested",
            Request::Approve { .. } => "Approve requested",
            Request::Stop { .. } => "Stop requested",
        },
        Kind::VolumeFull => "VolumeFull",
    }
}

fn turn_name(turn: &Turn) -> &'static str {
    match (turn.attempt, &turn.then) {
        (Some(_), _) => "attempt",
        (None, Then::Stay) => "stay",
        (None, Then::Park) => "park",
        (None, Then::Exit { .. }) => "exit",
    }
}
