//! Which steps can run at the same time: what the DAG, its conditions and its slots leave open.
//!
//! Nothing here recurses, so that a chain of any length is looked at on any stack.

use podturn_turn::{Condition, Dependency, Plan, Step};

/// A square of bits: for each step, a set of steps.
struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    fn new(steps: usize) -> Self {
        let words = steps.div_ceil(64);
        Self { words, bits: vec![0; words * steps] }
    }

    fn has(&self, of: usize, step: usize) -> bool {
        self.bits[of * self.words + step / 64] & (1 << (step % 64)) != 0
    }

    fn add(&mut self, to: usize, step: usize) {
        self.bits[to * self.words + step / 64] |= 1 << (step % 64);
    }

    fn add_all(&mut self, to: usize, from: usize) {
        for word in 0..self.words {
            self.bits[to * self.words + word] |= self.bits[from * self.words + word];
        }
    }

    fn share(&self, of: usize, other: &Self, and: usize) -> bool {
        let ours = &self.bits[of * self.words..][..self.words];
        ours.iter().zip(&other.bits[and * self.words..][..self.words]).any(|(a, b)| a & b != 0)
    }
}

/// What is known of any two steps of a plan.
pub(super) struct Order<'p> {
    plan: &'p Plan,
    /// For each step, those that have ended, or will never run, when it begins.
    ended: Sets,
    /// For each step, those that must have Failed for it to run; and those that must have Succeeded.
    failed: Sets,
    succeeded: Sets,
}

fn is_held_up(step: &Step, dependency: Dependency) -> bool {
    step.service && matches!(dependency.condition, Condition::Started | Condition::Ready)
}

impl<'p> Order<'p> {
    pub(super) fn of(plan: &'p Plan) -> Self {
        let count = plan.steps.len();
        let (mut ended, mut failed, mut succeeded) = (Sets::new(count), Sets::new(count), Sets::new(count));
        let late = late(plan);
        for at in sorted(plan) {
            if plan.steps[at].finally {
                (0..count).filter(|other| !late[*other]).for_each(|other| ended.add(at, other));
            }
            for dependency in &plan.steps[at].depends_on {
                let on = dependency.step.index();
                let step = &plan.steps[on];
                if dependency.condition == Condition::Completed {
                    // It may be Omitted while others that it waited for still run: nothing is known of those.
                    ended.add(at, on);
                    continue;
                }
                if dependency.condition != Condition::Started && !is_held_up(step, *dependency) {
                    ended.add(at, on);
                }
                ended.add_all(at, on);
                if dependency.condition == Condition::Failed {
                    failed.add(at, on);
                }
                // What can be Skipped did not have to run, and a failure that is allowed counts as success.
                let may_be_skipped = dependency.condition == Condition::Succeeded && step.when.is_some();
                if may_be_skipped {
                    continue;
                }
                failed.add_all(at, on);
                succeeded.add_all(at, on);
                if dependency.condition == Condition::Succeeded && !step.allow_failure {
                    succeeded.add(at, on);
                }
            }
        }
        Self { plan, ended, failed, succeeded }
    }

    /// Whether `first` has always ended, or will never run, when `second` begins.
    pub(super) fn is_before(&self, first: usize, second: usize) -> bool {
        self.ended.has(second, first)
    }

    /// Whether two steps can run at the same time.
    pub(super) fn may_overlap(&self, a: usize, b: usize) -> bool {
        let is_apart = a == b
            || self.is_before(a, b)
            || self.is_before(b, a)
            || self.failed.share(a, &self.succeeded, b)
            || self.failed.share(b, &self.succeeded, a);
        !is_apart && self.have_room(&self.plan.steps[a], &self.plan.steps[b])
    }

    /// Whether there are slots for both at once.
    fn have_room(&self, a: &Step, b: &Step) -> bool {
        if self.plan.max_parallel == Some(1) && !a.service && !b.service {
            return false;
        }
        let units = |step: &Step, pool: u32| -> u64 {
            step.uses.iter().filter(|wanted| wanted.pool == pool).map(|wanted| u64::from(wanted.units)).sum()
        };
        (0u32..).zip(&self.plan.pools).all(|(at, pool)| units(a, at) + units(b, at) <= u64::from(pool.capacity))
    }

    /// How many levels of services there are on the way down: a service ends after those that need it.
    pub(super) fn service_levels(&self) -> u64 {
        let mut levels = vec![0u64; self.plan.steps.len()];
        // Dependents first: a service is one level below the lowest of those services that it holds up.
        for at in sorted(self.plan).into_iter().rev() {
            let step = &self.plan.steps[at];
            levels[at] += u64::from(step.service);
            for dependency in &step.depends_on {
                let on = dependency.step.index();
                if is_held_up(&self.plan.steps[on], *dependency) {
                    levels[on] = levels[on].max(levels[at]);
                }
            }
        }
        levels.into_iter().max().unwrap_or(0)
    }
}

/// The steps with dependencies before dependents, finally steps last. A checked plan has no circles.
fn sorted(plan: &Plan) -> Vec<usize> {
    let count = plan.steps.len();
    let mut open: Vec<usize> = plan.steps.iter().map(|step| step.depends_on.len()).collect();
    let mut dependents = vec![Vec::new(); count];
    for (at, step) in plan.steps.iter().enumerate() {
        step.depends_on.iter().for_each(|dependency| dependents[dependency.step.index()].push(at));
    }
    let mut order: Vec<usize> = (0..count).filter(|at| open[*at] == 0).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for dependent in std::mem::take(&mut dependents[at]) {
            open[dependent] -= 1;
            if open[dependent] == 0 {
                order.push(dependent);
            }
        }
    }
    order
}

/// Finally steps, and the services that they hold up.
fn late(plan: &Plan) -> Vec<bool> {
    let mut late: Vec<bool> = plan.steps.iter().map(|step| step.finally).collect();
    let mut queue: Vec<usize> = (0..late.len()).filter(|at| late[*at]).collect();
    while let Some(at) = queue.pop() {
        for dependency in &plan.steps[at].depends_on {
            let on = dependency.step.index();
            if is_held_up(&plan.steps[on], *dependency) && !std::mem::replace(&mut late[on], true) {
                queue.push(on);
            }
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::Order;
    use crate::plan::{PodFacts, Source, check};

    fn overlaps(plan: &str) -> Vec<String> {
        let checked = check(&Source::file("plan", plan), &PodFacts::default()).expect("the plan is right");
        let order = Order::of(&checked.plan);
        let name = |at: usize| checked.plan.steps[at].name.as_str();
        let count = checked.plan.steps.len();
        let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
        pairs.filter(|(a, b)| order.may_overlap(*a, *b)).map(|(a, b)| format!("{}+{}", name(a), name(b))).collect()
    }

    #[test]
    fn what_can_run_at_the_same_time() {
        let table: [(&str, &[&str]); 14] = [
            ("steps: { a: , b: }", &["a+b"]),
            ("steps: [a, b, c]", &[]),
            ("steps: { a: , b: {dependsOn: [a]}, c: {dependsOn: [a]}, d: {dependsOn: [b, c]} }", &["b+c"]),
            // One slot for all, or units for one of the two.
            ("{ maxParallel: 1, steps: { a: , b: , s: {service: true} } }", &["a+s", "b+s"]),
            ("{ pools: {gpu: 1}, steps: { a: {uses: {gpu: 1}}, b: {uses: {gpu: 1}}, c: } }", &["a+c", "b+c"]),
            ("{ pools: {gpu: 2}, steps: { a: {uses: {gpu: 1}}, b: {uses: {gpu: 1}} } }", &["a+b"]),
            // A service runs beside those that hold it up, and has ended for those that wait for its end.
            ("steps: { s: {service: true}, a: {dependsOn: [s]} }", &["s+a"]),
            ("steps: { i: , s: {service: true, dependsOn: [i]}, a: {dependsOn: [s]} }", &["s+a"]),
            ("steps: { s: {service: true}, a: {dependsOn: [s]}, b: {dependsOn: [s: Completed]} }", &["s+a", "a+b"]),
            ("steps: { a: , b: {dependsOn: [a: Started]} }", &["a+b"]),
            // An Omitted step has ended, and what it waited for may still run.
            ("steps: { x: , y: , a: {dependsOn: [x, y]}, b: {dependsOn: [a: Completed]} }", &["x+y", "x+b", "y+b"]),
            // What comes after a success and what comes after a failure never both run.
            ("steps: { a: , ok: {dependsOn: [a]}, ko: {dependsOn: [a: Failed]} }", &[]),
            // A finally step comes last, but for the services that it needs.
            ("steps: { a: , end: {finally: true} }", &[]),
            (
                "steps: { s: {service: true}, a: {dependsOn: [s]}, end: {finally: true, dependsOn: [s]} }",
                &["s+a", "s+end"],
            ),
        ];
        for (plan, wanted) in table {
            assert_eq!(overlaps(plan), wanted, "{plan}");
        }
    }

    #[test]
    fn levels_of_services_on_the_way_down() {
        for (plan, wanted) in [
            ("steps: [a, b]", 0),
            ("steps: { s: {service: true}, t: {service: true}, a: {dependsOn: [s, t]} }", 1),
            ("steps: { db: {service: true}, app: {service: true, dependsOn: [db]}, a: {dependsOn: [app]} }", 2),
        ] {
            let checked = check(&Source::file("plan", plan), &PodFacts::default()).expect("the plan is right");
            assert_eq!(Order::of(&checked.plan).service_levels(), wanted, "{plan}");
        }
    }
}
