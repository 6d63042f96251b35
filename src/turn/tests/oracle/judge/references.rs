//! `$(...)` references: what they stand for, and what becomes of a step that refers to nothing.

use podturn_turn::{Phase, Reason};

use super::{At, Judge};

impl Judge {
    /// "resolved before a turn is written; `StartError` ... failures without an attempt and are not retried". Whether there was one.
    pub(super) fn fail_what_has_no_value(&mut self) -> bool {
        let has_none = |n: &usize| {
            let record = &self.records[*n];
            let is_next = record.at == At::Waiting && record.due_at.is_some();
            is_next && record.references.iter().any(|reference| self.value(reference).is_none())
        };
        let failing: Vec<usize> = (0..self.records.len()).filter(has_none).collect();
        failing.iter().for_each(|n| self.fail(*n, Reason::StartError));
        !failing.is_empty()
    }

    /// "`:-` counts only when the value is absent"
    pub(super) fn value(&self, reference: &str) -> Option<String> {
        match reference.split_once(":-") {
            Some((name, default)) => self.named(name).or_else(|| Some(default.to_owned())),
            None => self.named(reference),
        }
    }

    fn named(&self, name: &str) -> Option<String> {
        let words: Vec<&str> = name.split('.').collect();
        let step = |name: &str| self.plan.steps.iter().position(|step| step.name == name).expect("a step of the plan");
        match words[..] {
            ["params", _] => Some("v".into()),
            ["plan", "outcome"] => Some(self.outcome_of_the_others().into()),
            ["steps", name, "phase"] => Some(self.phase_of(step(name))),
            // "the command's own code, absent if it never ran"
            ["steps", name, "exitCode"] => self.records[step(name)].own_code.map(|code| code.to_string()),
            ["steps", name, "outputs", key] => self.records[step(name)].outputs.values.get(key).cloned(),
            _ => unreachable!("no such reference is drawn"),
        }
    }

    fn phase_of(&self, n: usize) -> String {
        let record = &self.records[n];
        match record.at {
            At::Waiting if record.awaits => "Awaiting".into(),
            // Whether a retry that is due waits as Pending or in Backoff is open.
            At::Waiting if record.failed.is_some() => format!("{:?}", self.seen[n].phase),
            At::Waiting => "Pending".into(),
            At::Backoff(_) => "Backoff".into(),
            At::Granted => "Granted".into(),
            At::Running => "Running".into(),
            At::Ready => "Ready".into(),
            At::Paused(..) => "Paused".into(),
            At::Stopping(_) => "Stopping".into(),
            At::End(phase, _) => format!("{phase:?}"),
        }
    }

    /// "`$(plan.outcome)` is the outcome without finally steps"
    fn outcome_of_the_others(&self) -> &'static str {
        let others = || (0..self.records.len()).filter(|n| !self.plan.steps[*n].finally);
        let failed = |n: usize| self.end(n) == Some(Phase::Failed) && !self.plan.steps[n].allow_failure;
        if others().any(failed) || self.plan_timed_out.is_some() || self.volume_full {
            "Failed"
        } else if others().any(|n| self.end(n) == Some(Phase::Cancelled)) {
            "Cancelled"
        } else {
            "Succeeded"
        }
    }
}
