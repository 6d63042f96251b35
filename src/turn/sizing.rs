//! Right-sizing: how much of a resource the steps of a plan can need at the same moment.
//!
//! Belongs here: which steps can be active together, and the search for those that need most. Does not belong here: what is
//! counted (`weights` may be millicores or bytes), and containers that are no steps.
//!
//! # Which steps can be active together
//! A step is active from its turn until its end is known, its way down included. Two steps are never active together if the
//! plan says that one has ended before the other gets its turn:
//! - `Succeeded`, `Failed`, `Completed` (and `Ready` on a task) say so. `Started`, and `Ready` on a service, only say that one has
//!   begun before the other; what ended before the one has then ended before the other, too;
//! - a finally step comes after everything else, but not after the services that finally steps need;
//! - a service is therefore together with all that its own dependencies and `Completed` on it allow: podturn starts it as soon as it is
//!   due, and stops it when the last one that holds it up has ended, which takes as long as it takes.
//!
//! A step that is Omitted ends before its dependencies have, and whoever depends on it `Completed` then goes on beside them. A
//! step that failed has no dependents that need its success, and one that did not has none that need its failure. Such
//! alternatives are looked at one by one, up to [`CHOICES`] of them in all combinations; the rest are taken to be possible
//! together, which can only make the result larger.
//!
//! Not counted on: a person who skips a step by hand, and a container that is killed while it waits for its turn.
//!
//! # The search
//! Without `maxParallel` and pools the answer is the maximum-weight antichain of that order ([`crate::flow`]). With them the
//! problem is a hard one (it holds the knapsack problem), so limits are priced: a price for each slot and unit makes it an antichain problem
//! again, whose answer is never below the truth (Lagrange). Where prices alone do not decide, one step is taken in or left
//! out, and the more promising half goes first. What is found when [`EFFORT`] is used up is still an upper bound.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

use crate::flow::{Heaviest, Order};
use crate::graph::{Graph, steps};
use crate::{Condition, OnFailure, Plan, Step, StepId};

/// Alternatives that are looked at in all combinations: 64 of them at most.
const CHOICES: usize = 6;

/// How many arcs may be looked at, times the rounds of one flow: well under a second for 1,000 steps.
const EFFORT: usize = 1_000_000;

/// Prices are whole numbers; this makes them fine enough.
const SCALE: u128 = 1 << 16;

/// Rounds in which one price is made better.
const ROUNDS: usize = 10;

/// The most that the steps of a plan can need at the same moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peak {
    /// The sum of weights; never below what can happen.
    pub total: u64,
    /// Steps that can be active together, in plan order, without those of weight 0. Their weights are `total` if `is_exact`.
    pub steps: Vec<StepId>,
    /// Whether `total` is what those steps need; else it is an upper bound of what can happen.
    pub is_exact: bool,
}

/// The most that the steps can need at the same moment, where step n needs `weights[n]` while it is active.
#[must_use]
pub fn peak(plan: &Plan, weights: &[u64]) -> Peak {
    let scaled = (0..plan.steps.len()).map(|n| u128::from(weights.get(n).copied().unwrap_or(0)) * SCALE).collect();
    let mut search = Search::new(plan, scaled);
    let bound = search.run();
    let total = u64::try_from(bound / SCALE).unwrap_or(u64::MAX);
    let is_exact = search.best.weight == bound && !search.is_loose;
    let mut steps: Vec<StepId> = search.best.items.iter().filter_map(|n| u32::try_from(*n).ok().map(StepId)).collect();
    steps.sort();
    Peak { total, steps, is_exact }
}

// --- the order ---

/// Something that goes one way or another, and takes steps out of the plan either way.
enum Choice {
    /// The step succeeds, or fails for good.
    Success(StepId),
    /// These steps, which have the same dependencies, run, or are Omitted.
    Run(Vec<StepId>),
}

/// Whether the dependency has ended before its dependent gets its turn.
fn is_hard(plan: &Plan, dependency: &crate::Dependency) -> bool {
    match dependency.condition {
        Condition::Started => false,
        Condition::Ready => !plan.steps[dependency.step.index()].service,
        Condition::Succeeded | Condition::Failed | Condition::Completed => true,
    }
}

fn needs_success(plan: &Plan, dependency: &crate::Dependency) -> bool {
    match dependency.condition {
        Condition::Succeeded => true,
        Condition::Ready => !plan.steps[dependency.step.index()].service,
        Condition::Started | Condition::Failed | Condition::Completed => false,
    }
}

/// For each step, whether its own dependencies, and theirs, have always ended when it has, even if it was Omitted.
fn closed(plan: &Plan) -> Vec<bool> {
    let count = plan.steps.len();
    let mut open: Vec<usize> = (0..count)
        .filter(|n| {
            let step = &plan.steps[*n];
            let only_completed = step.depends_on.iter().all(|d| d.condition == Condition::Completed);
            !step.depends_on.is_empty() && (step.service || (step.depends_on.len() > 1 && !only_completed))
        })
        .collect();
    let mut closed = vec![true; count];
    open.iter().for_each(|n| closed[*n] = false);
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (id, step) in steps(plan) {
        step.depends_on.iter().for_each(|d| dependents[d.step.index()].push(id.index()));
    }
    while let Some(n) = open.pop() {
        for dependent in &dependents[n] {
            if core::mem::replace(&mut closed[*dependent], false) {
                open.push(*dependent);
            }
        }
    }
    closed
}

/// Whether `on` may end, Omitted, while what it waited for is still active, and `dependent` then goes on.
fn may_overtake(plan: &Plan, graph: &Graph, closed: &[bool], dependent: StepId, on: &crate::Dependency) -> bool {
    let drains = matches!(plan.on_failure, OnFailure::Drain | OnFailure::Cancel);
    let has_dependencies = !plan.steps[on.step.index()].depends_on.is_empty();
    on.condition == Condition::Completed
        && has_dependencies
        && (!closed[on.step.index()] || (drains && graph.is_exempt(dependent)))
}

/// The plan's choices, and for each step whether it is in one of the second kind.
fn choices(plan: &Plan, graph: &Graph) -> (Vec<Choice>, Vec<bool>) {
    let closed = closed(plan);
    let mut found: Vec<Choice> = Vec::new();
    let mut overtaken = vec![false; plan.steps.len()];
    for (id, step) in steps(plan) {
        for on in step.depends_on.iter().filter(|on| may_overtake(plan, graph, &closed, id, on)) {
            overtaken[on.step.index()] = true;
        }
    }
    for (id, step) in steps(plan) {
        let wanted = |needs: fn(&Plan, &crate::Dependency) -> bool| {
            graph
                .dependents(id)
                .iter()
                .any(|edge| needs(plan, &crate::Dependency { step: id, condition: edge.condition }))
        };
        if !step.allow_failure && wanted(|_, d| d.condition == Condition::Failed) && wanted(needs_success) {
            found.push(Choice::Success(id));
        }
        if !overtaken[id.index()] {
            continue;
        }
        let same = |choice: &&mut Choice| match choice {
            Choice::Run(group) => {
                let first = &plan.steps[group[0].index()];
                first.depends_on == step.depends_on && !first.service && !step.service
            }
            Choice::Success(_) => false,
        };
        match found.iter_mut().find(same) {
            Some(Choice::Run(group)) => group.push(id),
            Some(Choice::Success(_)) | None => found.push(Choice::Run(vec![id])),
        }
    }
    found.truncate(CHOICES);
    let mut chosen = vec![false; plan.steps.len()];
    for choice in &found {
        if let Choice::Run(group) = choice {
            group.iter().for_each(|id| chosen[id.index()] = true);
        }
    }
    // What is overtaken without being a choice keeps nobody back.
    let dropped = overtaken.iter().zip(&chosen).map(|(overtaken, chosen)| *overtaken && !chosen).collect();
    (found, dropped)
}

/// One way in which the choices can go: its order, and which steps take part in it.
struct Scenario {
    order: Order,
    takes_part: Vec<bool>,
    /// Whether it may be wider than what can happen.
    is_loose: bool,
}

fn scenario(plan: &Plan, graph: &Graph, choices: &[Choice], dropped: &[bool], number: usize) -> Scenario {
    let mut takes_part = vec![true; plan.steps.len()];
    let (mut gone, mut is_loose): (Vec<StepId>, bool) = (Vec::new(), false);
    for (place, choice) in choices.iter().enumerate() {
        let goes_well = (number >> place) & 1 == 0;
        match choice {
            Choice::Success(id) => gone.extend(
                graph
                    .dependents(*id)
                    .iter()
                    .filter(|edge| match edge.condition {
                        Condition::Failed => goes_well,
                        Condition::Succeeded => !goes_well,
                        Condition::Ready => !goes_well && !plan.steps[id.index()].service,
                        Condition::Started | Condition::Completed => false,
                    })
                    .map(|edge| edge.step),
            ),
            Choice::Run(group) if !goes_well => {
                gone.extend(group);
                is_loose = true;
            }
            Choice::Run(_) => {}
        }
    }
    while let Some(id) = gone.pop() {
        if core::mem::replace(&mut takes_part[id.index()], false) {
            let lost = graph.dependents(id).iter().filter(|edge| edge.condition != Condition::Completed);
            gone.extend(lost.map(|edge| edge.step));
        }
    }
    let (order, is_whole) = order(plan, graph, &takes_part, dropped);
    Scenario { order, takes_part, is_loose: is_loose || !is_whole }
}

/// The order of the steps that take part, and whether nothing of it had to be left out.
fn order(plan: &Plan, graph: &Graph, takes_part: &[bool], dropped: &[bool]) -> (Order, bool) {
    let mut order = Order::new(plan.steps.len());
    let mut is_whole = true;
    let is_limited = plan.max_parallel.is_some() || !plan.pools.is_empty();
    let main_is_over = order.gate();
    for (id, step) in steps(plan).filter(|(id, _)| takes_part[id.index()]) {
        for on in step.depends_on.iter().filter(|on| takes_part[on.step.index()]) {
            let n = on.step.index();
            // A service that outlasts all others for a finally step: what came after it otherwise might not run.
            let is_late = graph.is_late(on.step) && !plan.steps[n].finally && !step.finally;
            if on.condition == Condition::Completed && dropped[n] {
                is_whole = false;
                continue;
            }
            // A service that Succeeded has seen its users end; which is not used, since users may also have been Omitted.
            is_whole &= !(on.condition == Condition::Succeeded && plan.steps[n].service);
            // Who waits for a slot that the started task holds does wait for its end; which is not used either.
            is_whole &= !(on.condition == Condition::Started && !plan.steps[n].service && is_limited);
            if is_hard(plan, on) && is_late {
                is_whole = false;
            } else if is_hard(plan, on) {
                order.before(order.end_of(n), order.start_of(id.index()));
            }
            order.before(order.start_of(n), order.start_of(id.index()));
        }
        if step.finally {
            order.before(main_is_over, order.start_of(id.index()));
        } else if !graph.is_late(id) {
            order.before(order.end_of(id.index()), main_is_over);
        }
    }
    (order, is_whole)
}

// --- the search ---

/// So many units there are, for tasks.
struct Limit {
    /// What each step holds of them.
    units: Vec<u64>,
    capacity: u64,
}

/// A limit that all tasks together keep is none.
fn limits(plan: &Plan) -> Vec<Limit> {
    let task = |step: &Step, units: u64| if step.service { 0 } else { units };
    let slots = plan.max_parallel.map(|slots| Limit {
        units: plan.steps.iter().map(|step| task(step, 1)).collect(),
        capacity: u64::from(slots),
    });
    let pools = (0u32..).zip(&plan.pools).map(|(pool, of)| {
        let held = |step: &Step| step.uses.iter().filter(|u| u.pool == pool).map(|u| u64::from(u.units)).sum::<u64>();
        let reserved: u64 = plan.steps.iter().filter(|step| step.service).map(held).sum();
        Limit {
            units: plan.steps.iter().map(|step| task(step, held(step))).collect(),
            capacity: u64::from(of.capacity).saturating_sub(reserved),
        }
    });
    slots.into_iter().chain(pools).filter(|limit| limit.units.iter().sum::<u64>() > limit.capacity).collect()
}

/// A part of what has to be looked at.
struct Open {
    /// Nothing in it is heavier.
    bound: u128,
    scenario: usize,
    /// What is still to be decided; 0 is left out.
    weights: Vec<u128>,
    /// Steps taken in, and what they weigh together.
    taken: Vec<usize>,
    base: u128,
    /// What is left of each limit.
    left: Vec<u64>,
    /// The step that is taken in or left out next; `None`: nothing is to be decided.
    next: Option<usize>,
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.bound == other.bound
    }
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        self.bound.cmp(&other.bound)
    }
}

struct Search {
    scenarios: Vec<Scenario>,
    limits: Vec<Limit>,
    weights: Vec<u128>,
    /// The heaviest that keeps all limits, so far, and whether it may be one that cannot happen.
    best: Heaviest,
    is_loose: bool,
    /// What may still be spent.
    effort: usize,
}

impl Search {
    fn new(plan: &Plan, weights: Vec<u128>) -> Self {
        let graph = Graph::new(plan);
        let (choices, dropped) = choices(plan, &graph);
        let scenarios =
            (0..1 << choices.len()).map(|number| scenario(plan, &graph, &choices, &dropped, number)).collect();
        let best = Heaviest { weight: 0, items: Vec::new() };
        Self { scenarios, limits: limits(plan), weights, best, is_loose: false, effort: EFFORT }
    }

    /// The upper bound; `best` is what was found.
    fn run(&mut self) -> u128 {
        let mut open = BinaryHeap::new();
        for scenario in 0..self.scenarios.len() {
            let takes_part = &self.scenarios[scenario].takes_part;
            let weights = self.weights.iter().zip(takes_part).map(|(weight, takes)| if *takes { *weight } else { 0 });
            let (weights, left) = (weights.collect(), self.limits.iter().map(|limit| limit.capacity).collect());
            open.push(self.judged(Open { bound: 0, scenario, weights, taken: Vec::new(), base: 0, left, next: None }));
        }
        while let Some(top) = open.pop() {
            let is_over = self.effort == 0 && top.bound > self.best.weight;
            let Some(step) = top.next.filter(|_| top.bound > self.best.weight && !is_over) else {
                return top.bound.max(self.best.weight);
            };
            let without = without(&top, &[step]);
            if let Some(with) = self.with(&top, step) {
                open.push(self.judged(with));
            }
            open.push(self.judged(without));
        }
        self.best.weight
    }

    /// The part in which the step is taken in.
    fn with(&self, open: &Open, step: usize) -> Option<Open> {
        let mut others = self.scenarios[open.scenario].order.comparable(step);
        others.push(step);
        let mut with = without(open, &others);
        with.taken.push(step);
        with.base += open.weights[step];
        for (left, limit) in with.left.iter_mut().zip(&self.limits) {
            *left = left.checked_sub(limit.units[step])?;
        }
        Some(with)
    }

    /// With its bound, and what is to be decided next; what is found on the way may be the best.
    fn judged(&mut self, mut open: Open) -> Open {
        let room = |step: usize| self.limits.iter().zip(&open.left).all(|(limit, left)| limit.units[step] <= *left);
        (0..open.weights.len()).filter(|step| !room(*step)).for_each(|step| open.weights[step] = 0);
        let free = self.heaviest(&open, &open.weights);
        self.offer(&open, &free.items);
        open.bound = open.base + free.weight;
        let broken = |limit: usize| units(&self.limits[limit], &free.items) > open.left[limit];
        let Some(first) = (0..self.limits.len()).find(|limit| broken(*limit)) else { return open };
        let heaviest = free.items.iter().filter(|step| self.limits[first].units[**step] > 0);
        open.next = heaviest.max_by_key(|step| open.weights[**step]).copied();
        let (mut prices, mut prepaid) = (vec![0; self.limits.len()], 0);
        for limit in 0..self.limits.len() {
            let (price, bound) = self.priced(&open, limit, &prices, prepaid);
            prices[limit] = price;
            prepaid += price * u128::from(open.left[limit]);
            open.bound = open.bound.min(open.base + bound);
        }
        open
    }

    /// The best price for one limit, beside those of others, and the bound that it gives. As a function of the price the bound
    /// is the upper hull of one line for each antichain: between one line that falls and one that rises, the crossing is tried.
    fn priced(&mut self, open: &Open, limit: usize, prices: &[u128], prepaid: u128) -> (u128, u128) {
        let mut weights = open.weights.clone();
        for (of, price) in self.limits.iter().zip(prices) {
            weights.iter_mut().zip(&of.units).for_each(|(w, units)| *w = w.saturating_sub(price * u128::from(*units)));
        }
        let left = u128::from(open.left[limit]);
        let used = |search: &Self, items: &[usize]| u128::from(units(&search.limits[limit], items));
        let weigh = |items: &[usize]| items.iter().map(|step| weights[*step]).sum::<u128>();
        let first = self.heaviest(open, &weights);
        let mut falling = (first.weight, used(self, &first.items));
        let mut rising = (0, 0);
        let mut best = (0, prepaid + first.weight);
        for _ in 0..ROUNDS {
            if falling.1 <= left {
                break;
            }
            let price = falling.0.saturating_sub(rising.0) / (falling.1 - rising.1).max(1);
            let of = &self.limits[limit].units;
            let priced: Vec<u128> =
                weights.iter().zip(of).map(|(w, units)| w.saturating_sub(price * u128::from(*units))).collect();
            let found = self.heaviest(open, &priced);
            self.offer(open, &found.items);
            let bound = prepaid + found.weight + price * left;
            if bound < best.1 {
                best = (price, bound);
            }
            let line = (weigh(&found.items), used(self, &found.items));
            if line == falling || line == rising {
                break;
            }
            if line.1 > left { falling = line } else { rising = line }
        }
        best
    }

    fn heaviest(&mut self, open: &Open, weights: &[u128]) -> Heaviest {
        let order = &self.scenarios[open.scenario].order;
        self.effort = self.effort.saturating_sub(order.size());
        order.heaviest(weights)
    }

    /// As many of these as keep all limits, the heaviest first, may be the best so far.
    fn offer(&mut self, open: &Open, items: &[usize]) {
        let mut left = open.left.clone();
        let mut sorted = items.to_vec();
        sorted.sort_by_key(|step| core::cmp::Reverse(open.weights[*step]));
        let (mut kept, mut weight) = (open.taken.clone(), open.base);
        for step in sorted {
            if self.limits.iter().zip(&left).all(|(limit, left)| limit.units[step] <= *left) {
                left.iter_mut().zip(&self.limits).for_each(|(left, limit)| *left -= limit.units[step]);
                kept.push(step);
                weight += open.weights[step];
            }
        }
        let is_loose = self.scenarios[open.scenario].is_loose;
        if weight > self.best.weight || (weight == self.best.weight && self.is_loose && !is_loose) {
            self.best = Heaviest { weight, items: kept };
            self.is_loose = is_loose;
        }
    }
}

/// The part in which none of the steps is.
fn without(open: &Open, steps: &[usize]) -> Open {
    let mut weights = open.weights.clone();
    steps.iter().for_each(|step| weights[*step] = 0);
    Open { weights, taken: open.taken.clone(), left: open.left.clone(), next: None, ..*open }
}

fn units(limit: &Limit, items: &[usize]) -> u64 {
    items.iter().map(|step| limit.units[*step]).sum()
}
