//! Who needs whom, as walks over the whole plan.

use podturn_turn::{Condition, Dependency, Phase, Plan, Reason};

use super::{At, Judge, Verdict};

impl Judge {
    /// "held up by the dependents that need it `Started` or `Ready`", "without a dependent that holds it up it is stopped when all
    /// tasks that are not downstream of it have ended"; in a pod that runs for ever also by the pod itself.
    fn is_needed(&self, n: usize) -> bool {
        let is_open = |m: &usize| self.end(*m).is_none();
        let by_the_pod = self.plan.long_running && self.over[0].is_none() && !self.is_held[n];
        by_the_pod || self.users[n].iter().any(is_open)
    }

    /// "then who is still needed": all that nobody needs at this moment, before anything follows from one of them.
    pub(super) fn let_go(&mut self) {
        let is_unneeded = |n: &usize| self.plan.steps[*n].service && !self.is_needed(*n);
        let unneeded: Vec<usize> = (0..self.records.len()).filter(is_unneeded).collect();
        for n in unneeded {
            match self.records[n].at {
                // "if all its dependents end before it started it is Omitted `NotNeeded`"
                At::Waiting | At::Backoff(_) if self.records[n].failed.is_none() => {
                    self.end_as(n, Phase::Omitted, Reason::NotNeeded);
                }
                // "a service in Backoff that is no longer needed: Succeeded, `Stopped`"
                At::Waiting | At::Backoff(_) => self.end_as(n, Phase::Succeeded, Reason::Stopped),
                // A failure stays one: `Pause` only delays it.
                At::Paused(why, _) => self.end_as(n, Phase::Failed, why),
                At::Granted | At::Running | At::Ready => {
                    self.records[n].at = At::Stopping(Verdict::Stopped(Phase::Omitted, Reason::NotNeeded));
                }
                At::Stopping(_) | At::End(..) => {}
            }
        }
    }
}

fn holds(plan: &Plan, holder: usize, service: usize) -> bool {
    let needs = |d: &Dependency| matches!(d.condition, Condition::Started | Condition::Ready);
    plan.steps[service].service && plan.steps[holder].depends_on.iter().any(|d| d.step.index() == service && needs(d))
}

/// The tasks that a service without holders outlasts: those that do not come after it. Finally steps wait for it, not it for them.
fn outlasted(plan: &Plan, service: usize) -> Vec<usize> {
    let after = closure(plan, |m| m == service, |m, on| plan.steps[m].depends_on.iter().any(|d| d.step.index() == on));
    (0..plan.steps.len()).filter(|m| !plan.steps[*m].service && !plan.steps[*m].finally && !after[*m]).collect()
}

/// Whether some dependent holds this service up.
pub(crate) fn is_held(plan: &Plan, service: usize) -> bool {
    (0..plan.steps.len()).any(|m| holds(plan, m, service))
}

/// The steps that this service ends after; none for a task.
pub(crate) fn users(plan: &Plan, service: usize) -> Vec<usize> {
    match (plan.steps[service].service, is_held(plan, service)) {
        (false, _) => Vec::new(),
        (true, true) => (0..plan.steps.len()).filter(|m| holds(plan, *m, service)).collect(),
        (true, false) => outlasted(plan, service),
    }
}

/// "`finally` waits for all tasks, and for those services that no finally step needs"
pub(crate) fn late(plan: &Plan) -> Vec<bool> {
    closure(plan, |n| plan.steps[n].finally, |service, holder| holds(plan, holder, service))
}

/// "except finally steps, steps that wait for a failure, what depends on those, and the services these need"
pub(super) fn exempt(plan: &Plan) -> Vec<bool> {
    let waits = |d: &Dependency| d.condition == Condition::Failed;
    let first = |n: usize| plan.steps[n].finally || plan.steps[n].depends_on.iter().any(waits);
    let after = closure(plan, first, |n, on| plan.steps[n].depends_on.iter().any(|d| d.step.index() == on));
    closure(plan, |n| after[n], |service, holder| holds(plan, holder, service))
}

/// These steps, and every step that is related to one of them, over any number of steps.
fn closure(plan: &Plan, is_first: impl Fn(usize) -> bool, follows: impl Fn(usize, usize) -> bool) -> Vec<bool> {
    let steps = 0..plan.steps.len();
    let mut found: Vec<bool> = steps.clone().map(is_first).collect();
    while let Some(n) = steps.clone().find(|n| !found[*n] && steps.clone().any(|m| found[m] && follows(*n, m))) {
        found[n] = true;
    }
    found
}
