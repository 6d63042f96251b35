//! The plan's graph, turned round once: who waits for whom, and who goes on when a failure stops the rest.
//!
//! Belongs here: what follows from the plan alone and never changes during a run. Does not belong here: phases.

use alloc::vec;
use alloc::vec::Vec;

use crate::{Condition, Dependency, Plan, StepId};

/// What the plan alone decides.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// For each step, who depends on it and for what ([`Dependency::step`] is the dependent here).
    dependents: Vec<Vec<Dependency>>,
    /// Steps that `Drain` and `onFailure: Cancel` leave alone.
    exempt: Vec<bool>,
    /// The finally steps, in plan order.
    finally: Vec<StepId>,
}

impl Graph {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut dependents: Vec<Vec<Dependency>> = vec![Vec::new(); plan.steps.len()];
        for (id, step) in steps(plan) {
            for dependency in &step.depends_on {
                let edge = Dependency { step: id, condition: dependency.condition };
                dependents[dependency.step.index()].push(edge);
            }
        }
        let exempt = exempt(plan, &dependents);
        let finally = steps(plan).filter(|(_, step)| step.finally).map(|(id, _)| id).collect();
        Self { dependents, exempt, finally }
    }

    pub(crate) fn dependents(&self, step: StepId) -> &[Dependency] {
        &self.dependents[step.index()]
    }

    pub(crate) fn is_exempt(&self, step: StepId) -> bool {
        self.exempt[step.index()]
    }

    pub(crate) fn finally(&self) -> &[StepId] {
        &self.finally
    }
}

/// Finally steps, steps that wait for a failure, and what depends on those: also when the handler runs already or
/// has ended, so this is a property of the plan and not of the moment.
fn exempt(plan: &Plan, dependents: &[Vec<Dependency>]) -> Vec<bool> {
    let mut exempt = vec![false; plan.steps.len()];
    let mut queue: Vec<StepId> = Vec::new();
    for (id, step) in steps(plan) {
        if step.finally || step.depends_on.iter().any(|d| d.condition == Condition::Failed) {
            exempt[id.index()] = true;
            queue.push(id);
        }
    }
    while let Some(id) = queue.pop() {
        for edge in &dependents[id.index()] {
            if !exempt[edge.step.index()] {
                exempt[edge.step.index()] = true;
                queue.push(edge.step);
            }
        }
    }
    exempt
}

/// Every step of the plan with its id, in plan order.
pub(crate) fn steps(plan: &Plan) -> impl Iterator<Item = (StepId, &crate::Step)> {
    (0u32..).map(StepId).zip(plan.steps.iter())
}
