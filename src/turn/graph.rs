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
    /// Finally steps and the services that they need: what runs when everything else has ended.
    late: Vec<bool>,
    /// Services that no dependent holds up: each outlasts the tasks that are not downstream of it.
    unheld: Vec<Unheld>,
}

/// A service that no dependent holds up.
#[derive(Clone, Debug)]
struct Unheld {
    step: StepId,
    /// For each step, whether it comes after the service.
    downstream: Vec<bool>,
}

/// Whether the edge holds a service up: its dependent needs it while it runs.
pub(crate) const fn holds_up(condition: Condition) -> bool {
    match condition {
        Condition::Started | Condition::Ready => true,
        Condition::Succeeded | Condition::Failed | Condition::Completed => false,
    }
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
        let late = with_their_services(plan, plan.steps.iter().map(|step| step.finally).collect());
        let is_held = |id: StepId| dependents[id.index()].iter().any(|edge| holds_up(edge.condition));
        let unheld = steps(plan)
            .filter(|(id, step)| step.service && !is_held(*id))
            .map(|(id, _)| Unheld { step: id, downstream: downstream(plan, &dependents, &[id]) })
            .collect();
        Self { dependents, exempt, finally, late, unheld }
    }

    pub(crate) fn dependents(&self, step: StepId) -> &[Dependency] {
        &self.dependents[step.index()]
    }

    pub(crate) fn is_exempt(&self, step: StepId) -> bool {
        self.exempt[step.index()]
    }

    /// Whether the step is finally, or a service that a finally step needs.
    pub(crate) fn is_late(&self, step: StepId) -> bool {
        self.late[step.index()]
    }

    /// How many hold the service up at first; 0 for a task.
    pub(crate) fn holders(&self, plan: &Plan, step: StepId) -> u32 {
        if !plan.steps[step.index()].service {
            return 0;
        }
        let direct = self.dependents(step).iter().filter(|edge| holds_up(edge.condition)).count();
        let count = match self.unheld.iter().find(|unheld| unheld.step == step) {
            Some(unheld) => {
                let tasks = steps(plan).filter(|(id, step)| unheld.outlasts(*id, step)).count();
                tasks + usize::from(plan.long_running) // the pod itself
            }
            None => direct,
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The services that a step held up until it ended, once for each reason to.
    pub(crate) fn held_by<'a>(&'a self, plan: &'a Plan, step: StepId) -> impl Iterator<Item = StepId> + 'a {
        let holder = &plan.steps[step.index()];
        let direct = holder.depends_on.iter().filter(|edge| holds_up(edge.condition)).map(|edge| edge.step);
        let outlasting = self.unheld.iter().filter(move |unheld| unheld.outlasts(step, holder));
        direct.filter(|on| plan.steps[on.index()].service).chain(outlasting.map(|unheld| unheld.step))
    }

    /// The services that only the pod itself holds up, where it is one that runs for ever.
    pub(crate) fn held_by_pod(&self, plan: &Plan) -> impl Iterator<Item = StepId> {
        let all = if plan.long_running { self.unheld.as_slice() } else { &[] };
        all.iter().map(|unheld| unheld.step)
    }

    pub(crate) fn finally(&self) -> &[StepId] {
        &self.finally
    }
}

impl Unheld {
    fn outlasts(&self, id: StepId, step: &crate::Step) -> bool {
        !step.service && !step.finally && !self.downstream[id.index()]
    }
}

/// Finally steps, steps that wait for a failure, what depends on those (also when the handler runs already or has ended,
/// so this is a property of the plan and not of the moment), and the services that all these need.
fn exempt(plan: &Plan, dependents: &[Vec<Dependency>]) -> Vec<bool> {
    let is_first =
        |step: &crate::Step| step.finally || step.depends_on.iter().any(|d| d.condition == Condition::Failed);
    let first: Vec<StepId> = steps(plan).filter(|(_, step)| is_first(step)).map(|(id, _)| id).collect();
    let mut exempt = downstream(plan, dependents, &first);
    first.iter().for_each(|id| exempt[id.index()] = true);
    with_their_services(plan, exempt)
}

/// Everything that depends on one of these steps, in whatever way.
fn downstream(plan: &Plan, dependents: &[Vec<Dependency>], first: &[StepId]) -> Vec<bool> {
    let mut reached = vec![false; plan.steps.len()];
    let mut queue: Vec<StepId> = first.to_vec();
    while let Some(id) = queue.pop() {
        for edge in &dependents[id.index()] {
            if !core::mem::replace(&mut reached[edge.step.index()], true) {
                queue.push(edge.step);
            }
        }
    }
    reached
}

/// These steps and the services that hold-up edges lead to from them, over any number of services.
fn with_their_services(plan: &Plan, mut these: Vec<bool>) -> Vec<bool> {
    let mut queue: Vec<StepId> = steps(plan).filter(|(id, _)| these[id.index()]).map(|(id, _)| id).collect();
    while let Some(id) = queue.pop() {
        for edge in plan.steps[id.index()].depends_on.iter().filter(|edge| holds_up(edge.condition)) {
            let is_service = plan.steps[edge.step.index()].service;
            if is_service && !core::mem::replace(&mut these[edge.step.index()], true) {
                queue.push(edge.step);
            }
        }
    }
    these
}

/// Every step of the plan with its id, in plan order.
pub(crate) fn steps(plan: &Plan) -> impl Iterator<Item = (StepId, &crate::Step)> {
    (0u32..).map(StepId).zip(plan.steps.iter())
}
