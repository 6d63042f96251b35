//! A rehearsal: a plan played in virtual time with stubs in the place of its commands.
//!
//! Belongs here: what a stub does, by itself and as it was told. Does not belong here: any rule of the plan (the core's), how
//! things happen one after another (`history`), what is shown of it.

use std::collections::{BTreeMap, BTreeSet};

use podturn_turn::{Outputs, Plan, Probe, Probed, Readiness, Step, StepId, Time};
use podturn_wire::{Exit, RunId};

use crate::history::{Act, History, Record, Script, Scripts, play_on};
use crate::when::{self, Expression};

const MS: Time = 1_000_000;

/// How long a stub takes that was told nothing: short, so that hardly any time limit of a plan is in its way, which would say
/// nothing of the plan. A command with a `timeout` takes half of it at most.
pub const STUB: Time = 1_000 * MS;

/// How long after its begin a service fails that was told to: less than any stub of a task takes, so that it is still needed.
pub const SERVICE_FAILS_AFTER: Time = 100 * MS;

/// A rehearsal ends before a step begins more attempts: some retry for ever.
pub const ATTEMPTS_MOST: u32 = 100;

/// Attempts that are drawn one by one; further ones are as the last of them.
const ATTEMPTS_DRAWN: u32 = 20;

/// What is to be different from a run in which every command succeeds.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// How every attempt of a step ends. Of a service: it ends by itself, early.
    pub fails: BTreeMap<StepId, Exit>,
    /// How long the command takes, in ns. Of a service: until it is ready, or fails.
    pub slow: BTreeMap<StepId, Time>,
    /// Their containers never arrive.
    pub never: BTreeSet<StepId>,
    /// What the commands leave, by key, when they succeed.
    pub outputs: BTreeMap<StepId, BTreeMap<String, String>>,
    /// Nobody approves anything; else it is done at once.
    pub nobody_approves: bool,
    /// Other commands take between a half and the double of [`STUB`], drawn from this; it also draws the jitter of back-offs.
    pub seed: Option<u64>,
}

/// The run that would be, to its end or until nothing happens any more. Every container is there at once, every `$(...)` in it
/// has a value, podturn takes no time, and nobody decides about a failure.
#[must_use]
pub fn rehearse(plan: &Plan, wishes: &Wishes) -> Record {
    let ids = (0..).map(StepId);
    let steps = ids.zip(&plan.steps).map(|(id, step)| script(id, step, wishes)).collect();
    let scripts = Scripts { steps, requests: Vec::new(), attempts_most: Some(ATTEMPTS_MOST) };
    let run = RunId(wishes.seed.unwrap_or(0));
    let events = play_on(plan, run, &scripts, &when::decide);
    Record {
        run,
        plan: plan.clone(),
        events,
        started: None,
        usage: Vec::new(),
        resources: Default::default(),
        until: None,
        is_rehearsal: true,
    }
}

/// For each step, the run in which it fails besides.
#[must_use]
pub fn each_failure(plan: &Plan, wishes: &Wishes) -> Vec<(StepId, Record)> {
    let run = |(id, step): (StepId, &Step)| {
        let mut wishes = wishes.clone();
        wishes.fails.entry(id).or_insert_with(|| Exit::Code(failure(step)));
        (id, rehearse(plan, &wishes))
    };
    (0..).map(StepId).zip(&plan.steps).map(run).collect()
}

/// Outputs that a `when` asked for in vain, as `STEP.KEY`: nobody said what the step leaves.
#[must_use]
pub fn missing_outputs(ended: &History, wishes: &Wishes) -> BTreeSet<String> {
    let asked_in_vain = ended.state.steps.iter().filter(|step| step.reason.as_deref() == Some("WhenError"));
    let names = asked_in_vain.filter_map(|step| Some(Expression::read(step.when.as_deref()?).ok()?.names())).flatten();
    let is_given = |step: &str, key: &str| {
        let known = (0..).map(StepId).zip(&ended.plan.steps).find(|(_, known)| known.name == step);
        known.is_some_and(|(id, _)| wishes.outputs.get(&id).is_some_and(|outputs| outputs.contains_key(key)))
    };
    names
        .filter_map(|name| match name.parts.as_slice() {
            [steps, step, outputs, key, ..] if steps == "steps" && outputs == "outputs" && !is_given(step, key) => {
                Some(format!("{step}.{key}"))
            }
            _ => None,
        })
        .collect()
}

/// The first code that is a failure of the step.
#[must_use]
pub fn failure(step: &Step) -> u8 {
    (1..=u8::MAX).find(|code| !step.success_exit_codes.contains(code)).unwrap_or(1)
}

fn script(id: StepId, step: &Step, wishes: &Wishes) -> Script {
    let attempts = if wishes.seed.is_some() { step.retry.limit.saturating_add(1).min(ATTEMPTS_DRAWN) } else { 1 };
    Script {
        arrives: (!wishes.never.contains(&id)).then_some(0),
        acts: (1..=attempts).map(|attempt| act(id, step, attempt, wishes)).collect(),
        approval: (!wishes.nobody_approves).then_some(0),
        ..Script::default()
    }
}

fn act(id: StepId, step: &Step, attempt: u32, wishes: &Wishes) -> Act {
    let fails = wishes.fails.get(&id).copied();
    let slow = wishes.slow.get(&id).copied();
    let drawn = wishes.seed.map_or(STUB, |seed| draw(seed, id, attempt));
    let takes = slow.unwrap_or_else(|| step.timeout.map_or(drawn, |timeout| drawn.min(timeout * MS / 2)));
    let runs = match (step.service, fails) {
        (false, _) => Some(takes),
        (true, Some(_)) => Some(slow.unwrap_or(SERVICE_FAILS_AFTER)),
        (true, None) => None,
    };
    let ready_after = if fails.is_some() { 0 } else { slow.unwrap_or(0) };
    Act {
        handoff: 0,
        runs,
        probed: step.readiness.as_ref().map(|readiness| probed(readiness, ready_after)),
        stops: 0,
        told: 0,
        exit: fails.unwrap_or(Exit::Code(0)),
        // A server that is told to stop is taken to end well, any other command to have no handler.
        stopped: if step.service { Exit::Code(0) } else { Exit::Signal { number: step.stop_signal, oom: false } },
        timed_out: false, // the core looks at the clock too
        outputs: Outputs {
            values: wishes.outputs.get(&id).filter(|_| fails.is_none()).cloned().unwrap_or_default(),
            refused: BTreeMap::new(),
        },
    }
}

/// What a readiness finds of something that is up `after` its begin, and when: Kubernetes' rules
/// (`initialDelaySeconds`, `periodSeconds` and the thresholds), with tries that take no time.
fn probed(readiness: &Readiness, after: Time) -> (Time, Probed) {
    let seconds = |seconds: u32| Time::from(seconds) * 1_000 * MS;
    let (first, period) = (seconds(readiness.initial_delay_seconds), seconds(readiness.period_seconds.max(1)));
    let failures = after.saturating_sub(first).div_ceil(period);
    if failures >= Time::from(readiness.failure_threshold.max(1)) {
        return (first + Time::from(readiness.failure_threshold.max(1) - 1) * period, Probed::NotReady);
    }
    let found = match readiness.probe {
        Probe::File { .. } | Probe::Log { .. } => after.max(first), // the shim is told, and need not try
        Probe::Exec { .. } | Probe::HttpGet { .. } | Probe::TcpSocket { .. } | Probe::Grpc { .. } => {
            first + failures * period
        }
    };
    (found + Time::from(readiness.success_threshold.max(1) - 1) * period, Probed::Ready)
}

/// Between a half and the double of [`STUB`], in whole ms: SplitMix64 (Steele, Lea, Flood 2014) of all that it depends on.
fn draw(seed: u64, step: StepId, attempt: u32) -> Time {
    let mut mixed = seed;
    for word in [u64::from(step.0), u64::from(attempt)] {
        mixed = mixed.wrapping_add(word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
    }
    let half = STUB / 2 / MS;
    (half + mixed % (3 * half + 1)) * MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_by_the_first_try_that_finds_it_up() {
        let exec = || Probe::Exec { command: vec!["true".to_owned()] };
        let log = || Probe::Log { contains: "up".to_owned() };
        let second = 1_000 * MS;
        // initial delay, period, successes, failures; up after; found
        let table = [
            (exec(), (0, 10, 1, 3), 0, (0, Probed::Ready)),
            (exec(), (5, 10, 1, 3), 2, (5, Probed::Ready)),
            (exec(), (5, 10, 1, 3), 16, (25, Probed::Ready)),
            (exec(), (0, 10, 2, 3), 20, (30, Probed::Ready)),
            (exec(), (0, 10, 1, 3), 21, (20, Probed::NotReady)),
            (log(), (0, 10, 1, 3), 16, (16, Probed::Ready)),
            (log(), (0, 10, 1, 3), 21, (20, Probed::NotReady)),
        ];
        for (probe, (delay, period, successes, failures), after, (at, wanted)) in table {
            let readiness = Readiness {
                probe,
                initial_delay_seconds: delay,
                period_seconds: period,
                timeout_seconds: 1,
                success_threshold: successes,
                failure_threshold: failures,
            };
            assert_eq!(probed(&readiness, after * second), (at * second, wanted), "{readiness:?} up after {after}");
        }
    }

    #[test]
    fn what_is_drawn_depends_on_everything_and_stays_in_its_span() {
        let drawn = |seed, step, attempt| draw(seed, StepId(step), attempt);
        assert_eq!(drawn(7, 1, 1), drawn(7, 1, 1));
        let others = [drawn(8, 1, 1), drawn(7, 2, 1), drawn(7, 1, 2)];
        assert!(others.iter().all(|other| *other != drawn(7, 1, 1)), "{others:?}");
        assert!((0..1_000).all(|seed| (STUB / 2..=STUB * 2).contains(&drawn(seed, 0, 1))));
    }
}
