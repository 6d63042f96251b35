//! The critical path: what the end of the run had to wait for, step by step back to its begin.
//!
//! It goes back through what a step did; where the step had waited for another one (a dependency, a slot), it goes on there.

use podturn_turn::{Condition, StepId};

use super::{History, Moment, What};

/// A piece of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Whose time it was.
    pub step: StepId,
    /// From here,
    pub from: Moment,
    /// to here.
    pub to: Moment,
    /// What the step did.
    pub what: What,
}

/// From the first event to the end, without a gap. While the plan runs: to the last event, back from the step that began last.
pub(super) fn path(history: &History) -> Vec<Leg> {
    let ids = || (0..history.steps.len() as u32).map(StepId);
    let latest = |step: &StepId| {
        let step = &history.steps[step.index()];
        (step.spans.last().map_or(0, |span| span.to), step.ended, step.begun)
    };
    let Some(mut step) = ids().max_by_key(latest) else { return Vec::new() };
    let mut legs = Vec::new();
    let mut at = latest(&step).0;
    // Each look goes back in time or up in the plan, so this bounds a path that neither ends.
    let looks = history.steps.iter().map(|step| step.spans.len() + 1).sum::<usize>() + history.steps.len();
    for _ in 0..looks {
        let Some(span) = history.steps[step.index()].spans.iter().rev().find(|span| span.from < at) else { break };
        let before = match span.what {
            What::Dependencies => last_met(history, step, at),
            What::Others => last_ended(history, at),
            What::Slot(giver) | What::Pool(_, giver) => giver.map(|giver| (giver, at)),
            _ => None,
        };
        let from = match before {
            Some((_, met)) => met.min(at),
            None => span.from,
        };
        if from < at {
            legs.push(Leg { step, from, to: at, what: span.what });
        }
        at = from;
        if let Some((next, _)) = before {
            step = next;
        }
    }
    legs.reverse();
    legs
}

/// The dependency that was met last, and when, not later than `at`.
fn last_met(history: &History, step: StepId, at: Moment) -> Option<(StepId, Moment)> {
    let depends_on = &history.plan.steps[step.index()].depends_on;
    let met = depends_on.iter().filter_map(|dependency| {
        let on = &history.steps[dependency.step.index()];
        let service = history.plan.steps[dependency.step.index()].service;
        let met = match dependency.condition {
            Condition::Started => on.begun.or(on.ended),
            Condition::Ready if service => on.ready.iter().rev().find(|ready| **ready <= at).copied().or(on.ended),
            Condition::Ready | Condition::Succeeded | Condition::Failed | Condition::Completed => on.ended,
        };
        met.filter(|met| *met <= at).map(|met| (dependency.step, met))
    });
    met.max_by_key(|(_, met)| *met)
}

/// The step that is not finally and ended last.
fn last_ended(history: &History, at: Moment) -> Option<(StepId, Moment)> {
    let ended = history.plan.steps.iter().zip(&history.steps).zip(0u32..).filter_map(|((plan, step), index)| {
        let ended = step.ended.filter(|ended| *ended <= at && !plan.finally)?;
        Some((StepId(index), ended))
    });
    ended.max_by_key(|(_, ended)| *ended)
}
