//! Everything that follows for the other steps: ends, draining, then slots. Each rule walks over the whole plan.

use podturn_turn::{Condition, OnFailure, Phase, Plan, Reason};

use super::{At, Judge, Verdict};

impl Judge {
    /// "first all ends, then who is still needed, then turns; a lost dependency's reason comes before ... `Draining`"
    pub(super) fn settle(&mut self) {
        for n in 0..self.records.len() {
            // What comes back to waiting when all is over does not wait.
            let over = self.over[usize::from(self.plan.steps[n].finally)];
            if let (At::Waiting | At::Backoff(_), Some(reason)) = (self.records[n].at, over) {
                self.end_as(n, Phase::Cancelled, reason);
            }
        }
        while self.omit_the_lost() || self.drain() {}
        for n in 0..self.records.len() {
            if self.records[n].at == At::Waiting && self.records[n].due_at.is_none() && self.is_due(n) {
                self.records[n].due_at = Some(self.now);
            }
        }
    }

    /// "`Omitted` (a dependency can no longer be met ...)", finally steps too.
    fn omit_the_lost(&mut self) -> bool {
        for n in 0..self.records.len() {
            let step = &self.plan.steps[n];
            let lost = step.depends_on.iter().any(|d| self.is_lost(d.step.index(), d.condition));
            let may_wait = step.finally && !self.tasks_are_over() && self.seen[n].phase == Phase::Pending;
            if self.records[n].at == At::Waiting && self.records[n].attempt == 0 && lost && !may_wait {
                self.end_as(n, Phase::Omitted, Reason::DependencyLost);
                return true;
            }
        }
        false
    }

    /// "pending steps are Omitted `Draining` at once ...; no new attempt starts, so Backoff becomes Failed", with "the last
    /// attempt's reason"; "`Cancel`: Drain, and running tasks are stopped".
    fn drain(&mut self) -> bool {
        if !self.drains() {
            return false;
        }
        let mut changed = false;
        for n in (0..self.records.len()).filter(|n| !self.exempt[*n]) {
            let record = &mut self.records[n];
            if let (At::Waiting | At::Backoff(_), Some(reason)) = (record.at, record.failed) {
                record.at = At::End(Phase::Failed, reason);
                changed = true;
            }
        }
        if changed {
            // Their dependents lose them before anything else is said of those.
            return true;
        }
        for n in (0..self.records.len()).filter(|n| !self.exempt[*n]) {
            let record = &mut self.records[n];
            match record.at {
                At::Waiting => record.at = At::End(Phase::Omitted, Reason::Draining),
                At::Granted | At::Running if self.plan.on_failure == OnFailure::Cancel => {
                    record.at = At::Stopping(Verdict::Cancelled(Reason::FailureElsewhere));
                }
                _ => continue,
            }
            changed = true;
        }
        changed
    }

    /// The table of conditions, column 'met when the dependency'.
    fn is_met(&self, on: usize, condition: Condition) -> bool {
        let end = self.end(on);
        match condition {
            Condition::Started => self.records[on].ever_begun,
            Condition::Succeeded | Condition::Ready => {
                end == Some(Phase::Succeeded) || (end == Some(Phase::Failed) && self.plan.steps[on].allow_failure)
            }
            Condition::Failed => end == Some(Phase::Failed),
            Condition::Completed => end.is_some(),
        }
    }

    /// "A dependency that has ended leaves no condition undecided."
    fn is_lost(&self, on: usize, condition: Condition) -> bool {
        self.end(on).is_some() && !self.is_met(on, condition)
    }

    fn is_due(&self, n: usize) -> bool {
        let step = &self.plan.steps[n];
        let met = step.depends_on.iter().all(|d| self.is_met(d.step.index(), d.condition));
        // "runs once every other step has ended, whatever happened"
        met && (!step.finally || self.tasks_are_over())
    }

    pub(super) fn end(&self, n: usize) -> Option<Phase> {
        match self.records[n].at {
            At::End(phase, _) => Some(phase),
            _ => None,
        }
    }

    pub(super) fn tasks_are_over(&self) -> bool {
        (0..self.records.len()).all(|n| self.plan.steps[n].finally || self.end(n).is_some())
    }

    /// "only an arrived step takes a slot, in plan order, and what does not fit is passed over; Backoff gives it back"
    pub(super) fn grant(&mut self) {
        for n in 0..self.records.len() {
            let waits = self.records[n].at == At::Waiting && self.records[n].due_at.is_some();
            if waits && self.has_container(n) && self.fits(n) {
                let record = &mut self.records[n];
                // One that was granted and never begun is granted once more under its number.
                record.attempt += u32::from(!record.open);
                record.open = true;
                record.begun = false;
                record.at = At::Granted;
            }
        }
    }

    /// Whether it fits beside all that hold a slot.
    fn fits(&self, n: usize) -> bool {
        let holders: Vec<usize> = (0..self.records.len()).filter(|m| self.has_attempt(*m)).collect();
        let room = self.plan.max_parallel.is_none_or(|most| holders.len() < most as usize);
        room && self.plan.steps[n].uses.iter().all(|need| {
            let held = holders.iter().flat_map(|m| &self.plan.steps[*m].uses).filter(|u| u.pool == need.pool);
            held.map(|u| u.units).sum::<u32>() + need.units <= self.plan.pools[need.pool as usize].capacity
        })
    }
}

/// "except finally steps, steps that wait for a failure, what depends on those"
pub(super) fn exempt(plan: &Plan) -> Vec<bool> {
    let waits = |d: &podturn_turn::Dependency| d.condition == Condition::Failed;
    let mut exempt: Vec<bool> = plan.steps.iter().map(|s| s.finally || s.depends_on.iter().any(waits)).collect();
    while let Some(n) = (0..plan.steps.len()).find(|n| {
        let on = &plan.steps[*n].depends_on;
        !exempt[*n] && on.iter().any(|d| exempt[d.step.index()])
    }) {
        exempt[n] = true;
    }
    exempt
}
