//! Outputs, and the `$(...)` references to them: what commands leave, and what command lines ask for.

use std::collections::BTreeMap;

use podturn_turn::{Condition, Kind, Outputs, Plan};
use podturn_wire::{Exit, Last};

use super::{World, id};
use crate::tape::Tape;

impl World {
    /// What a command leaves in its directory, which was empty when it began.
    pub(super) fn leave_outputs(&mut self, n: usize) {
        let mut outputs = BTreeMap::new();
        if self.tape.chance(3) {
            return; // nothing at all, as most commands do
        }
        for key in ["k", "l"] {
            match self.tape.draw(4) {
                1 => {}
                2 => drop(outputs.insert(key.into(), String::new())),
                _ => drop(outputs.insert(key.into(), format!("{key}{}", self.tape.draw(100)))),
            }
        }
        self.places[n].outputs = outputs;
    }

    /// The coordinator reads them before it tells an end that may be a success.
    pub(super) fn tell_outputs(&mut self, n: usize, kind: &Kind) -> Result<(), String> {
        let (attempt, ended) = match *kind {
            Kind::Ended { attempt, ended, .. } => (attempt, ended),
            Kind::Arrived { last: Some(Last { attempt, ended: Some(ended), .. }), .. } => (attempt, ended),
            _ => return Ok(()),
        };
        let step = &self.plan.steps[n];
        let is_success = matches!(ended.exit, Exit::Code(code) if step.success_exit_codes.contains(&code));
        if !is_success || step.service || attempt != self.state.attempt(id(n)) || self.places[n].outputs.is_empty() {
            return Ok(());
        }
        let outputs = Outputs { values: self.places[n].outputs.clone(), ..Outputs::default() };
        self.tell(Kind::Outputs { step: id(n), attempt, outputs })
    }

    /// Outputs of an attempt that is over, or of one that goes on and may fail.
    pub(super) fn untimely_outputs(&mut self, n: usize) -> Result<(), String> {
        let newest = self.state.attempt(id(n));
        let attempt = if self.tape.chance(2) { newest.saturating_sub(1) } else { newest };
        let values = BTreeMap::from([("k".into(), "untimely".into())]);
        self.tell(Kind::Outputs { step: id(n), attempt, outputs: Outputs { values, ..Outputs::default() } })
    }
}

/// What the command line of a step refers to: parameters, and what comes before it. An exit code only of who has ended by then: one
/// that a lost attempt takes away again would be absent at one moment and not at another.
pub(super) fn draw(plan: &Plan, n: usize, tape: &mut Tape) -> Vec<String> {
    let mut possible = vec!["params.V".to_owned(), "params.V:-other".to_owned()];
    if plan.steps[n].finally {
        possible.extend(["plan.outcome".to_owned(), "plan.outcome:-none".to_owned()]);
    }
    let before = ancestors(plan, n);
    for (m, step) in plan.steps.iter().enumerate().filter(|(m, _)| before[*m]) {
        let name = &step.name;
        possible.extend([format!("steps.{name}.phase"), format!("steps.{name}.outputs.k:-none")]);
        if !step.service {
            possible.extend([format!("steps.{name}.outputs.k"), format!("steps.{name}.outputs.l:-")]);
        }
        let ends = |condition| !matches!(condition, Condition::Started | Condition::Ready);
        let has_ended = plan.steps[n].depends_on.iter().any(|d| d.step.index() == m && ends(d.condition));
        if has_ended || (plan.steps[n].finally && !step.finally && !step.service) {
            possible.extend([format!("steps.{name}.exitCode"), format!("steps.{name}.exitCode:-0")]);
        }
    }
    let count = tape.pick(&[0, 0, 1, 2]);
    (0..count).map(|_| possible[tape.draw(possible.len())].clone()).collect()
}

/// All that comes before the step, over any number of steps; for a finally step all that is not finally.
fn ancestors(plan: &Plan, n: usize) -> Vec<bool> {
    let mut before: Vec<bool> = plan.steps.iter().map(|step| plan.steps[n].finally && !step.finally).collect();
    let mut queue = vec![n];
    while let Some(m) = queue.pop() {
        for on in plan.steps[m].depends_on.iter().map(|d| d.step.index()) {
            if !std::mem::replace(&mut before[on], true) || m == n {
                queue.push(on);
            }
        }
    }
    before
}
