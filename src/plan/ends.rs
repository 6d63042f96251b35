//! Whether a plan with services can come to its end: who ends before whom, and what is left over for pools.
//!
//! Belongs here: what a service makes of the graph. It ends after those that hold it up, so edges lead from ends to ends.
//! Does not belong here: circles of `dependsOn` alone (`graph`).
//!
//! Nothing here recurses, so that a chain of any length is checked on any stack.

use podturn_turn::{Condition, Pool, Use};

use super::diagnostic::{Reporter, quote};
use super::links::Edge;
use super::steps::Draft;

/// Reports services that could never be of use, and plans that could never end.
pub(super) fn check(drafts: &[Draft], edges: &[Vec<Edge>], long_running: bool, reporter: &mut Reporter) {
    if !drafts.iter().any(|draft| draft.service) {
        return;
    }
    let times = Times::new(drafts, edges, long_running);
    for at in times.unheld.iter().copied() {
        let ended = ended_before(drafts, edges, at);
        if times.holders[at].iter().all(|holder| ended[*holder]) {
            let draft = &drafts[at];
            let message = format!("nothing could ever use the service {}", quote(&draft.name));
            let help = match times.holders[at].is_empty() && drafts.iter().all(|draft| draft.service || draft.finally) {
                true => {
                    "there is no task that it could serve; services that run for ever are for a pod with `restartPolicy: Always`"
                }
                false => {
                    "each task comes after it, or has ended before it begins: let one depend on it with `Ready` or `Started`"
                }
            };
            reporter.error(draft.span, message).help(help);
        }
    }
    if let Some(circle) = times.circle() {
        let steps = circle.windows(2).filter(|pair| pair[0] / 2 != pair[1] / 2); // that it ends after it began goes without saying
        let sentences: Vec<String> = steps.map(|pair| times.say(drafts, pair[0], pair[1])).collect();
        let first = circle[0] / 2;
        reporter
            .error(drafts[first.min(drafts.len() - 1)].span, format!("these steps wait for each other: {}", sentences.join(", ")))
            .help("a service ends once those that need it `Ready` or `Started` have ended; take one of these dependencies out");
    }
}

/// Beginnings and ends, and what each comes after. Step n begins at 2n and ends at 2n + 1; the last one is 'every step that
/// is not finally has ended'.
struct Times {
    after: Vec<Vec<usize>>,
    /// For each service, who holds it up.
    holders: Vec<Vec<usize>>,
    /// Services that no step needs `Ready` or `Started`, and that outlast the tasks for this.
    unheld: Vec<usize>,
}

fn holds_up(condition: Condition) -> bool {
    matches!(condition, Condition::Started | Condition::Ready)
}

impl Times {
    fn new(drafts: &[Draft], edges: &[Vec<Edge>], long_running: bool) -> Self {
        let all_over = drafts.len() * 2;
        let mut after = vec![Vec::new(); all_over + 1];
        let mut holders = vec![Vec::new(); drafts.len()];
        for (at, edges) in edges.iter().enumerate() {
            after[at * 2 + 1].push(at * 2);
            for edge in edges {
                let on = edge.dependency.step.index();
                let while_it_runs = edge.dependency.condition == Condition::Started
                    || (drafts[on].service && holds_up(edge.dependency.condition));
                after[at * 2].push(on * 2 + usize::from(!while_it_runs));
                if drafts[on].service && holds_up(edge.dependency.condition) {
                    holders[on].push(at);
                }
            }
            if drafts[at].finally {
                after[at * 2].push(all_over);
            }
        }
        let is_unheld = |at: &usize| drafts[*at].service && holders[*at].is_empty() && !long_running;
        let unheld: Vec<usize> = (0..drafts.len()).filter(is_unheld).collect();
        for at in unheld.iter().copied() {
            let downstream = downstream(edges, at);
            let is_outlasted = |n: &usize| !drafts[*n].service && !drafts[*n].finally && !downstream[*n];
            holders[at] = (0..drafts.len()).filter(is_outlasted).collect();
        }
        for (at, holders) in holders.iter().enumerate() {
            after[at * 2 + 1].extend(holders.iter().map(|holder| holder * 2 + 1));
        }
        let late = late(drafts, edges);
        after[all_over] = (0..drafts.len()).filter(|at| !late[*at]).map(|at| at * 2 + 1).collect();
        Self { after, holders, unheld }
    }

    /// A circle, its first moment repeated at the end.
    fn circle(&self) -> Option<Vec<usize>> {
        const NEW: u8 = 0;
        const OPEN: u8 = 1;
        const DONE: u8 = 2;
        let mut marks = vec![NEW; self.after.len()];
        for start in 0..self.after.len() {
            if marks[start] != NEW {
                continue;
            }
            marks[start] = OPEN;
            let mut path = vec![(start, 0)];
            while let Some((moment, next)) = path.last_mut() {
                let moment = *moment;
                let Some(target) = self.after[moment].get(*next).copied() else {
                    marks[moment] = DONE;
                    path.pop();
                    continue;
                };
                *next += 1;
                match marks[target] {
                    NEW => {
                        marks[target] = OPEN;
                        path.push((target, 0));
                    }
                    OPEN => {
                        let from = path.iter().position(|(open, _)| *open == target).unwrap_or(0);
                        let mut circle: Vec<usize> = path[from..].iter().map(|(open, _)| *open).collect();
                        circle.push(target);
                        return Some(circle);
                    }
                    _ => {}
                }
            }
        }
        None
    }

    /// One moment after another, in words.
    fn say(&self, drafts: &[Draft], moment: usize, after: usize) -> String {
        let name = |moment: usize| drafts.get(moment / 2).map_or("", |draft| draft.name.as_str());
        let ends = |moment: usize| moment % 2 == 1;
        let all_over = drafts.len() * 2;
        match (moment, after) {
            (_, after) if after == all_over => {
                format!("{} begins when all that is not finally has ended", name(moment))
            }
            (moment, after) if moment == all_over => format!("{} has to end before that", name(after)),
            (moment, after) => {
                let verb = if ends(moment) { "ends" } else { "begins" };
                let other = if ends(after) { "has ended" } else { "runs" };
                format!("{} {verb} when {} {other}", name(moment), name(after))
            }
        }
    }
}

/// The steps that have ended whenever this one begins. What can be Skipped, or has only to end, need not have waited for anything.
fn ended_before(drafts: &[Draft], edges: &[Vec<Edge>], first: usize) -> Vec<bool> {
    let (mut ended, mut begun) = (vec![false; edges.len()], vec![false; edges.len()]);
    let mut queue = vec![first];
    while let Some(at) = queue.pop() {
        for Edge { dependency, .. } in &edges[at] {
            let on = dependency.step.index();
            ended[on] |=
                !holds_up(dependency.condition) || (dependency.condition == Condition::Ready && !drafts[on].service);
            let has_begun = match dependency.condition {
                Condition::Started => true,
                Condition::Succeeded | Condition::Ready => drafts[on].when.is_none(),
                Condition::Failed | Condition::Completed => false,
            };
            if has_begun && !std::mem::replace(&mut begun[on], true) {
                queue.push(on);
            }
        }
    }
    ended
}

/// Everything that depends on the step, in whatever way.
fn downstream(edges: &[Vec<Edge>], first: usize) -> Vec<bool> {
    let mut dependents = vec![Vec::new(); edges.len()];
    for (at, edges) in edges.iter().enumerate() {
        edges.iter().for_each(|edge| dependents[edge.dependency.step.index()].push(at));
    }
    let mut reached = vec![false; edges.len()];
    let mut queue = vec![first];
    while let Some(at) = queue.pop() {
        for dependent in &dependents[at] {
            if !std::mem::replace(&mut reached[*dependent], true) {
                queue.push(*dependent);
            }
        }
    }
    reached
}

/// Finally steps, and the services that they need.
fn late(drafts: &[Draft], edges: &[Vec<Edge>]) -> Vec<bool> {
    let mut late: Vec<bool> = drafts.iter().map(|draft| draft.finally).collect();
    let mut queue: Vec<usize> = (0..drafts.len()).filter(|at| late[*at]).collect();
    while let Some(at) = queue.pop() {
        for edge in edges[at].iter().filter(|edge| holds_up(edge.dependency.condition)) {
            let on = edge.dependency.step.index();
            if drafts[on].service && !std::mem::replace(&mut late[on], true) {
                queue.push(on);
            }
        }
    }
    late
}

/// The units of services are put aside for the whole run: what is left has to be enough for each of the others.
pub(super) fn check_pools(drafts: &[Draft], uses: &[Vec<Use>], pools: &[Pool], reporter: &mut Reporter) {
    for (index, pool) in (0u32..).zip(pools) {
        let wanted =
            |at: usize| uses[at].iter().filter(|wanted| wanted.pool == index).map(|wanted| wanted.units).sum::<u32>();
        let services = (0..drafts.len()).filter(|at| drafts[*at].service);
        let reserved: u64 = services.map(|at| u64::from(wanted(at))).sum();
        if reserved == 0 {
            continue;
        }
        let name = quote(&pool.name);
        let free = u64::from(pool.capacity).checked_sub(reserved);
        for (at, draft) in drafts.iter().enumerate().filter(|(at, _)| wanted(*at) > 0) {
            let step = quote(&draft.name);
            let span =
                draft.uses.iter().find(|wanted| wanted.pool == pool.name).map_or(draft.span, |wanted| wanted.span);
            match free {
                None if draft.service => {
                    let message = format!("the services use {reserved} of pool {name}, which has {}", pool.capacity);
                    reporter
                        .error(span, message)
                        .help("services run side by side: their units are kept for the whole run");
                    return;
                }
                Some(free) if !draft.service && u64::from(wanted(at)) > free => {
                    let message =
                        format!("step {step} uses {} of pool {name}, and the services leave {free}", wanted(at));
                    reporter.error(span, message).help("the units of services are kept for the whole run");
                }
                _ => {}
            }
        }
    }
}
