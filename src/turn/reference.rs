//! `$(...)` references: what a step's command line and environment say in the place of a value.
//!
//! Belongs here: what stands between the brackets, and its value at this moment. Does not belong here: finding references in a
//! text and putting values in their place (the shim), and whether a reference may be made at all (the plan's check).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{Outcome, Phase, State, StepId};

impl State {
    /// The values of the references of the step's present instance, in their order.
    ///
    /// # Errors
    /// A sentence about the first one that has no value and no default.
    pub fn replacements(&self, step: StepId) -> Result<Vec<String>, String> {
        self.track(step).references.iter().map(|reference| self.value(reference)).collect()
    }

    /// The references of the step's present instance, as its shim has listed them.
    #[must_use]
    pub fn references(&self, step: StepId) -> &[String] {
        &self.track(step).references
    }

    fn value(&self, reference: &str) -> Result<String, String> {
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let absent = match self.lookup(name) {
            Ok(value) => return Ok(value),
            Err(absent) => absent,
        };
        default.map(ToString::to_string).ok_or_else(|| format!("$({reference}) has no value: {absent}"))
    }

    fn lookup(&self, name: &str) -> Result<String, String> {
        if name == "plan.outcome" {
            return Ok(format!("{:?}", self.outcome_of_main()));
        }
        if let Some(name) = name.strip_prefix("params.") {
            let known = self.plan.parameters.iter().find(|parameter| parameter.name == name);
            return known.map(|known| known.value.clone()).ok_or_else(|| "the plan has no such parameter".into());
        }
        let rest = name.strip_prefix("steps.").ok_or_else(|| String::from("it names nothing of the plan"))?;
        let (step, field) = rest.split_once('.').ok_or_else(|| String::from("it names no field of a step"))?;
        let at = self.plan.steps.iter().position(|known| known.name == step);
        let at = at.and_then(|at| u32::try_from(at).ok()).ok_or_else(|| format!("the plan has no step {step}"))?;
        let track = self.track(StepId(at));
        match field.split_once('.') {
            Some(("outputs", key)) => match track.outputs.values.get(key) {
                Some(value) => Ok(value.clone()),
                None if track.phase == Phase::Succeeded => Err(format!("{step} left no output {key}")),
                None => Err(format!("{step} has not succeeded, it is {:?}", track.phase)),
            },
            None if field == "phase" => Ok(format!("{:?}", track.phase)),
            None if field == "exitCode" => {
                let code = track.last_end().map(|ended| ended.exit.code().to_string());
                code.ok_or_else(|| format!("{step} has no exit code, it is {:?}", track.phase))
            }
            _ => Err(format!("a step has no {field}")),
        }
    }

    /// The outcome without finally steps, as finally steps see it.
    #[must_use]
    pub fn outcome_of_main(&self) -> Outcome {
        self.outcome_by(self.count.failed_main, self.count.cancelled_main)
    }
}
