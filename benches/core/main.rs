//! `cargo bench --bench core`: what one event costs in the core alone, and whether that grows with the plan.
//!
//! No file, socket or process: plans of 10, 100 and 1,000 steps are run by telling the core what shims would report. The
//! sizes run in turn in every round, and what counts is their ratio; no absolute time is asserted.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::disallowed_methods, reason = "measuring reads clocks")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot measure says so and ends")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, Event, Kind, OnFailure, Outcome, Plan, Restarts, Retry, State, Step, StepId,
};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};

const SIZES: [usize; 3] = [10, 100, 1000];
const WARM_UP: usize = 3;
const ROUNDS: usize = 30;
/// A round runs each size so often that it takes as many events as one run of the largest.
const LARGEST: usize = SIZES[2];

fn main() {
    for (name, shape) in [("a chain", chain as fn(usize) -> Vec<usize>), ("layers of ten", layer), ("a fan", fan)] {
        let plans = SIZES.map(|size| plan(size, shape));
        let mut costs: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
        for round in 0..WARM_UP + ROUNDS {
            for plan in &plans {
                let size = plan.steps.len();
                let runs = LARGEST / size;
                let spent: (Duration, u32) =
                    (0..runs).map(|_| run(plan)).fold(Default::default(), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                if round >= WARM_UP {
                    costs.entry(size).or_default().push(spent.0 / spent.1);
                }
            }
        }
        print(name, &mut costs);
    }
}

fn print(name: &str, costs: &mut BTreeMap<usize, Vec<Duration>>) {
    println!("\n| {name} | ns per event | x {} steps |\n| --- | --- | --- |", SIZES[0]);
    let mut smallest = None;
    for (size, costs) in costs {
        costs.sort_unstable();
        let median = costs[costs.len() / 2];
        let ratio = median.as_secs_f64() / smallest.get_or_insert(median).as_secs_f64();
        println!("| {size} steps | {} | {ratio:.2} |", median.as_nanos());
    }
}

/// Each after the one before.
fn chain(step: usize) -> Vec<usize> {
    (step.saturating_sub(1)..step).collect()
}

/// Each after three of the ten before.
fn layer(step: usize) -> Vec<usize> {
    let before = |shift| (step / 10).checked_sub(1).map(|layer| layer * 10 + (step + shift) % 10);
    [0, 1, 7].into_iter().filter_map(before).collect()
}

/// All after the first: the one event that makes all of them due is spread over all.
fn fan(step: usize) -> Vec<usize> {
    if step == 0 { vec![] } else { vec![0] }
}

fn plan(size: usize, dependencies: fn(usize) -> Vec<usize>) -> Plan {
    let step = |index: usize| Step {
        name: format!("s{index}"),
        depends_on: dependencies(index)
            .into_iter()
            .map(|step| Dependency { step: id(step), condition: Condition::Succeeded })
            .collect(),
        retry: Retry {
            limit: 0,
            backoff: Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 },
            causes: vec![Cause::ExitCode],
            exit_codes: vec![],
        },
        success_exit_codes: vec![0],
        timeout: None,
        allow_failure: false,
        finally: false,
        uses: vec![],
        stop_signal: 15,
        restarts: Restarts::Never,
        termination_log: String::new(),
        service: false,
        readiness: None,
        when: None,
        approval: None,
    };
    Plan {
        steps: (0..size).map(step).collect(),
        max_parallel: None,
        pools: vec![],
        timeout: None,
        on_failure: OnFailure::Continue,
        grace_period: 10_000,
        arrival_timeout: 600_000,
        coordinator_grace: 30_000,
        pause_timeout: None,
        long_running: false,
        parameters: Vec::new(),
    }
}

fn id(step: usize) -> StepId {
    StepId(u32::try_from(step).expect("a small plan"))
}

/// Runs a plan from the arrivals to its outcome, and gives the time spent in the core and how many events that took:
/// per event `next`, the turns that follow from it, and the next deadline.
fn run(plan: &Plan) -> (Duration, u32) {
    let mut state = State::new(plan.clone(), RunId(1));
    let (mut spent, mut seq) = (Duration::ZERO, 0);
    let mut running = Vec::new();
    let mut tell = |kind: Kind, running: &mut Vec<StepId>| {
        seq += 1;
        let event = Event { seq, at: seq * 1000, kind };
        let begun = Instant::now();
        state.next(&event).expect("an event that can follow");
        while let Some(step) = state.poll_turn() {
            if state.turn_for(step).attempt.is_some() {
                running.push(step);
            }
        }
        std::hint::black_box(state.next_deadline());
        spent += begun.elapsed();
        state.outcome()
    };
    tell(Kind::CoordinatorStarted { rebooted: false }, &mut running);
    for step in (0..plan.steps.len()).map(id) {
        tell(
            Kind::Arrived { step, instance: instance(step), report: 1, last: None, references: Vec::new() },
            &mut running,
        );
    }
    let mut outcome = None;
    while let Some(step) = running.pop() {
        let instance = instance(step);
        tell(Kind::Begun { step, instance, report: 2, attempt: 1, started_at: 1 }, &mut vec![]);
        let ended = Ended { at: 2, exit: Exit::Code(0), timed_out: false, usage: Usage { cpu: 0, max_rss: 0 } };
        outcome = tell(Kind::Ended { step, instance, report: 3, attempt: 1, started_at: 1, ended }, &mut running);
    }
    assert_eq!(outcome, Some(Outcome::Succeeded), "a plan in which nothing fails");
    (spent, u32::try_from(seq).expect("few events"))
}

fn instance(step: StepId) -> InstanceId {
    InstanceId(u64::from(step.0) + 1)
}
