//! Everything that follows for the other steps: ends, draining, then slots. Each rule walks over the whole plan.

use podturn_turn::{Condition, OnFailure, Phase, Reason};

use super::{At, Judge, Verdict};

impl Judge {
    /// "first all ends, then who is still needed, then turns; a lost dependency's reason comes before `NotNeeded` and `Draining`"
    pub(super) fn settle(&mut self) {
        loop {
            let before: Vec<At> = self.records.iter().map(|record| record.at).collect();
            (0..before.len()).for_each(|n| self.end_what_is_over(n));
            while self.omit_the_lost() || self.drain() {}
            // The steps that are not late may be over only now.
            (0..before.len()).for_each(|n| self.end_what_is_over(n));
            self.let_go();
            if self.records.iter().map(|record| record.at).eq(before) {
                break;
            }
        }
        for n in 0..self.records.len() {
            if self.records[n].at == At::Waiting {
                self.ask(n);
            }
        }
    }

    fn end_what_is_over(&mut self, n: usize) {
        match (self.records[n].at, self.over[usize::from(self.late[n])]) {
            // What comes back to waiting when all is over does not wait.
            (At::Waiting | At::Backoff(_), Some(reason)) => self.end_waiting(n, reason),
            // What finally steps need is bound by no time limit of the plan: nobody is waited for once the rest is over.
            (At::Paused(why, _), _) if self.late[n] && self.waits_for_nobody(n) => self.end_as(n, Phase::Failed, why),
            _ => {}
        }
    }

    /// "order of questions to a step: dependencies, then `when`, then approval, then a slot". What is asked stays asked.
    fn ask(&mut self, n: usize) {
        let step = &self.plan.steps[n];
        let due = self.is_due(n);
        let record = &mut self.records[n];
        record.asked |= due && step.when.is_some() && !record.decided;
        let decided = step.when.is_none() || record.decided;
        record.awaits |= due && decided && step.approval.is_some() && !record.approved;
        let answered = decided && (step.approval.is_none() || record.approved);
        record.due_at = (due && answered).then(|| record.due_at.unwrap_or(self.now));
    }

    /// "`Omitted` (a dependency can no longer be met ...)", finally steps too. "a retry whose service is not ready at that moment waits
    /// for it; if that is lost, Failed with the reason of its last attempt".
    fn omit_the_lost(&mut self) -> bool {
        for n in 0..self.records.len() {
            if !self.has_lost(n) {
                continue;
            }
            let may_wait = self.plan.steps[n].finally && !self.tasks_are_over() && self.seen[n].phase == Phase::Pending;
            match (self.records[n].at, self.records[n].failed) {
                (At::Paused(why, _), _) | (At::Waiting | At::Backoff(_), Some(why)) => {
                    self.end_as(n, Phase::Failed, why);
                }
                (At::Waiting, None) if !may_wait => self.end_as(n, Phase::Omitted, Reason::DependencyLost),
                _ => continue,
            }
            return true;
        }
        false
    }

    pub(super) fn has_lost(&self, n: usize) -> bool {
        self.plan.steps[n].depends_on.iter().any(|d| self.is_lost(d.step.index(), d.condition))
    }

    /// "pending steps are Omitted `Draining` at once ...; no new attempt starts, so Backoff becomes Failed", with "the last
    /// attempt's reason"; "`Cancel`: Drain, and running tasks are stopped".
    fn drain(&mut self) -> bool {
        if !self.drains() {
            return false;
        }
        let mut changed = false;
        let touched: Vec<usize> = (0..self.records.len()).filter(|n| !self.exempt[*n]).collect();
        for n in touched.iter().copied() {
            if let (At::Waiting | At::Backoff(_), Some(reason)) = (self.records[n].at, self.records[n].failed) {
                self.end_as(n, Phase::Failed, reason);
                changed = true;
            }
        }
        if changed {
            // Their dependents lose them before anything else is said of those.
            return true;
        }
        for n in touched {
            match self.records[n].at {
                At::Waiting => self.end_as(n, Phase::Omitted, Reason::Draining),
                // A service "once nobody needs it".
                At::Granted | At::Running
                    if self.plan.on_failure == OnFailure::Cancel && !self.plan.steps[n].service =>
                {
                    self.records[n].at = At::Stopping(Verdict::Cancelled(Reason::FailureElsewhere));
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
            // "is ready at the moment its dependent gets its turn, or was Skipped"
            Condition::Ready if self.plan.steps[on].service => {
                self.records[on].at == At::Ready || end == Some(Phase::Skipped)
            }
            Condition::Succeeded | Condition::Ready => {
                let allowed = end == Some(Phase::Failed) && self.plan.steps[on].allow_failure;
                allowed || matches!(end, Some(Phase::Succeeded | Phase::Skipped))
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

    /// "waits for all tasks, and for those services that no finally step needs"
    pub(super) fn tasks_are_over(&self) -> bool {
        (0..self.records.len()).all(|n| self.late[n] || self.end(n).is_some())
    }

    /// "only an arrived step takes a slot, in plan order, and what does not fit is passed over; Backoff gives it back"
    pub(super) fn grant(&mut self) {
        // "hold everything for a person"
        if self.paused || self.records.iter().any(|record| matches!(record.at, At::Paused(..))) {
            return;
        }
        for n in 0..self.records.len() {
            let waits = self.records[n].at == At::Waiting && self.records[n].due_at.is_some();
            if waits && self.has_container(n) && self.fits(n) {
                let record = &mut self.records[n];
                if !record.open {
                    record.left = podturn_turn::Outputs::default(); // "cleared before each attempt"
                }
                // One that was granted and never begun is granted once more under its number.
                record.attempt += u32::from(!record.open);
                record.open = true;
                record.begun = false;
                record.was_ready = false;
                record.at = At::Granted;
            }
        }
    }

    /// Whether it fits beside all that hold a slot: "services not counted", "a service's units are reserved for the whole run".
    fn fits(&self, n: usize) -> bool {
        let service = |m: usize| self.plan.steps[m].service;
        if service(n) {
            return true;
        }
        let holders = (0..self.records.len()).filter(|m| self.has_attempt(*m) && !service(*m)).count();
        let room = self.plan.max_parallel.is_none_or(|most| holders < most as usize);
        room && self.plan.steps[n].uses.iter().all(|need| {
            let takes = (0..self.records.len()).filter(|m| service(*m) || self.has_attempt(*m));
            let held = takes.flat_map(|m| &self.plan.steps[m].uses).filter(|u| u.pool == need.pool);
            held.map(|u| u.units).sum::<u32>() + need.units <= self.plan.pools[need.pool as usize].capacity
        })
    }
}
