//! The comparison of what must be with what the core shows.

use podturn_turn::{Outcome, Phase, Reason, Restarts, StepId, Time};

use super::{At, Judge};

impl Judge {
    pub(super) fn compare(&self, n: usize) -> Result<(), String> {
        let (record, seen) = (&self.records[n], &self.seen[n]);
        let phases: &[Phase] = match record.at {
            At::Waiting if record.awaits => &[Phase::Awaiting],
            At::Waiting if record.failed.is_some() => &[Phase::Pending, Phase::Backoff],
            At::Waiting => &[Phase::Pending],
            At::Backoff(_) => &[Phase::Backoff],
            At::Granted => &[Phase::Granted],
            At::Running => &[Phase::Running],
            At::Ready => &[Phase::Ready],
            At::Paused(..) => &[Phase::Paused],
            At::Stopping(_) => &[Phase::Stopping],
            At::End(phase, _) => &[phase],
        };
        if !phases.contains(&seen.phase) {
            return Err(format!("is {:?} ({:?}), expected {:?}", seen.phase, seen.reason, record.at));
        }
        if let At::Paused(reason, _) = record.at
            && seen.reason != Some(reason)
        {
            return Err(format!("is Paused because of {:?}, expected {reason:?}", seen.reason));
        }
        if let At::End(_, reason) = record.at {
            if seen.reason != Some(reason) {
                return Err(format!("is {:?} because of {:?}, expected {reason:?}", seen.phase, seen.reason));
            }
            let codes = self.exit_codes(n);
            if !seen.container_exit_code.is_some_and(|code| codes.contains(&code)) {
                return Err(format!("exits with {:?}, expected one of {codes:?}", seen.container_exit_code));
            }
        } else if seen.container_exit_code.is_some() {
            return Err("has an exit code before its end".into());
        }
        let expected = (record.instance.is_some(), self.has_attempt(n).then_some(record.attempt));
        let found = (seen.arrived, self.has_attempt(n).then_some(seen.attempts));
        if expected != found || (seen.arrived && seen.instance != record.instance) {
            return Err(format!("(arrived, attempt) is {found:?}, expected {expected:?}"));
        }
        if record.outputs != seen.outputs {
            return Err(format!("has outputs {:?}, expected {:?}", seen.outputs, record.outputs));
        }
        if record.ever_begun != seen.started_at.is_some() {
            return Err(format!("started at {:?}, though begun is {}", seen.started_at, record.ever_begun));
        }
        Ok(())
    }

    /// The table of exit codes: "the last row that applies wins".
    fn exit_codes(&self, n: usize) -> Vec<u8> {
        let (step, record) = (&self.plan.steps[n], &self.records[n]);
        match record.at {
            At::End(Phase::Cancelled, _) => vec![143],
            At::End(Phase::Failed, _) if step.allow_failure => vec![0],
            At::End(Phase::Failed, Reason::TimedOut) => vec![124],
            At::End(Phase::Failed, reason) => {
                let own = record.codes.last().copied().filter(|code| *code != 0);
                // "so that the container is not started again": a code for which it would be is not shown.
                let own = own.map(|code| if code == 137 && step.restarts == Restarts::WhenKilled { 1 } else { code });
                match (reason, own) {
                    (_, None) => vec![1],
                    // The newest attempt has no code: whether an earlier one's counts is open.
                    (Reason::ShimLost | Reason::NeverArrived | Reason::Interrupted, Some(code)) => vec![1, code],
                    (_, Some(code)) => vec![code],
                }
            }
            _ => vec![0],
        }
    }

    pub(super) fn compare_deadline(&self, seen: Option<Time>) -> Result<(), String> {
        let due = self.next_timer();
        if due == seen { Ok(()) } else { Err(format!("the next deadline is {seen:?}, expected {due:?}")) }
    }

    /// "a function of the state": every turn that gives an attempt has the values of this moment.
    pub(super) fn compare_values(&self, seen: &[(StepId, Vec<String>)]) -> Result<(), String> {
        for (step, seen) in seen {
            let expected: Option<Vec<String>> =
                self.records[step.index()].references.iter().map(|reference| self.value(reference)).collect();
            if expected.as_ref() != Some(seen) {
                return Err(format!("step {}: its references are {seen:?}, expected {expected:?}", step.0));
            }
        }
        Ok(())
    }

    /// Asked one at a time, in plan order.
    pub(super) fn compare_question(&self, seen: Option<StepId>) -> Result<(), String> {
        let asked = (0..self.records.len()).find(|n| self.records[*n].asked);
        if seen.map(StepId::index) == asked { Ok(()) } else { Err(format!("it asks {seen:?}, expected {asked:?}")) }
    }

    /// "`Failed` if any step without `allowFailure` Failed or the plan's time ran out, else `Cancelled` if some step ended
    /// Cancelled, else `Succeeded`."
    pub(super) fn compare_outcome(&self, seen: Option<Outcome>) -> Result<(), String> {
        let ends: Vec<Option<Phase>> = (0..self.records.len()).map(|n| self.end(n)).collect();
        let failed = (0..ends.len()).any(|n| ends[n] == Some(Phase::Failed) && !self.plan.steps[n].allow_failure);
        let expected = if ends.contains(&None) {
            None
        } else if failed || self.plan_timed_out.is_some() || self.volume_full {
            Some(Outcome::Failed)
        } else if ends.contains(&Some(Phase::Cancelled)) {
            Some(Outcome::Cancelled)
        } else {
            Some(Outcome::Succeeded)
        };
        if seen == expected { Ok(()) } else { Err(format!("the outcome is {seen:?}, expected {expected:?}")) }
    }
}
