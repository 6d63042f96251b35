//! Property tests of the core: random plans in a random world with faults, judged by rules that were written from the design alone.
//!
//! `PODTURN_ORACLE_PLANS=10000 cargo test -p podturn-turn --test oracle -- --nocapture` plays that many plans and prints what they
//! went through. A case that fails is shrunk and printed as a plan and its journal, with the seed that plays it again
//! (`PODTURN_ORACLE_SHRINK=0`: as it was found).

#![expect(clippy::print_stdout, reason = "what the runs went through")]
#![expect(clippy::disallowed_methods, reason = "new runs each time: the clock is the seed")]

mod judge;
mod plans;
mod rules;
mod tally;
mod tape;
mod world;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::SystemTime;

use podturn_turn::{Event, Plan, Restarts};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestCaseError, TestError, TestRunner};
use tally::Tally;
use tape::Tape;
use world::World;

/// Plans that are played unless `PODTURN_ORACLE_PLANS` says how many.
const PLANS: u32 = 1_000;

#[test]
fn every_run_goes_as_the_rules_say() {
    let (plans, seed) = (plans_to_play(), seed());
    let strategy = (plans::plans(), vec(any::<u16>(), 0..600));
    let tally = RefCell::new(Tally::default());
    let mut runner = TestRunner::new(config(plans, seed));
    let result = runner.run(&strategy, |(plan, numbers)| {
        let world = play(&plan, numbers).map_err(|(why, _)| TestCaseError::fail(why))?;
        tally.borrow_mut().run(&plan, &world.journal, &world.answers, world.outcome());
        Ok(())
    });
    if let Err(TestError::Fail(_, (plan, numbers))) = result {
        let Err((why, journal)) = play(&plan, numbers) else { panic!("the same case does not fail again") };
        let again =
            format!("PODTURN_ORACLE_SEED={seed} PODTURN_ORACLE_PLANS={plans} cargo test -p podturn-turn --test oracle");
        panic!("{why}\n{}\nto see it again:\n  {again}\n", story(&plan, &journal));
    }
    result.expect("no case is given up");
    println!("PODTURN_ORACLE_SEED={seed} PODTURN_ORACLE_PLANS={plans}\n{}", tally.borrow());
}

/// Plays one run, and then its journal again, as it is and as it comes back from its JSON form.
fn play(plan: &Plan, numbers: Vec<u16>) -> Result<World, (String, Vec<Event>)> {
    let mut world = World::new(plan, Tape::new(numbers));
    match world.play().and_then(|()| same_journal_same_run(plan, &world)) {
        Ok(()) => Ok(world),
        Err(why) => Err((why, world.journal)),
    }
}

fn same_journal_same_run(plan: &Plan, world: &World) -> Result<(), String> {
    let lines: Vec<String> = world.journal.iter().map(|e| serde_json::to_string(e).expect("events are JSON")).collect();
    let read: Result<Vec<Event>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
    let read = read.map_err(|e| format!("a journal line cannot be read: {e}"))?;
    if read != world.journal {
        return Err("the journal changes through its JSON form".into());
    }
    let json = serde_json::to_string(plan).expect("plans are JSON");
    let plan = serde_json::from_str(&json).map_err(|e| format!("the plan cannot be read: {e}"))?;
    let answers = world::replay(&plan, &read)?;
    match (1..).zip(answers.iter().zip(&world.answers)).find(|(_, (again, live))| again != live) {
        Some((seq, (again, live))) => Err(format!("the replay differs at event {seq}: {again:?} instead of {live:?}")),
        None => Ok(()),
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|e| panic!("{name}={value} is not a number: {e}")))
}

fn plans_to_play() -> u32 {
    number("PODTURN_ORACLE_PLANS").map_or(PLANS, |n| u32::try_from(n).expect("PODTURN_ORACLE_PLANS fits in 32 bits"))
}

/// New runs each time, unless `PODTURN_ORACLE_SEED` asks for some that were played before.
fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
    number("PODTURN_ORACLE_SEED").unwrap_or_else(clock)
}

fn config(plans: u32, seed: u64) -> Config {
    Config {
        cases: plans,
        rng_algorithm: RngAlgorithm::ChaCha,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: number("PODTURN_ORACLE_SHRINK")
            .map_or(20_000, |n| u32::try_from(n).expect("it fits in 32 bits")),
        ..Config::default()
    }
}

/// What a person reads of a failing case: what differs from the defaults, then the journal.
fn story(plan: &Plan, journal: &[Event]) -> String {
    let mut story = format!(
        "plan: maxParallel {:?}, pools {:?}, timeout {:?}, {:?}, pauseTimeout {:?}, arrivalTimeout {}, long running: {}\n",
        plan.max_parallel,
        plan.pools.iter().map(|p| p.capacity).collect::<Vec<_>>(),
        plan.timeout,
        plan.on_failure,
        plan.pause_timeout,
        plan.arrival_timeout,
        plan.long_running
    );
    for step in &plan.steps {
        let mut line = format!("  {}:", step.name);
        let mut add = |wanted: bool, words: String| {
            if wanted {
                line.push_str(&words);
            }
        };
        for dependency in &step.depends_on {
            add(true, format!(" after s{}={:?}", dependency.step.0, dependency.condition));
        }
        add(step.service, " service".into());
        add(step.readiness.is_some(), " readiness".into());
        add(step.when.is_some(), " when".into());
        add(step.approval.is_some(), " approval".into());
        add(step.finally, " finally".into());
        add(step.allow_failure, " allowFailure".into());
        add(step.restarts != Restarts::Never, format!(" restarts={:?}", step.restarts));
        add(step.timeout.is_some(), format!(" timeout={:?}", step.timeout));
        add(!step.uses.is_empty(), format!(" uses={:?}", step.uses));
        add(step.success_exit_codes != [0], format!(" success={:?}", step.success_exit_codes));
        add(step.retry.limit > 0, format!(" {:?}", step.retry));
        let _ = writeln!(story, "{line}");
    }
    for event in journal {
        let _ = writeln!(story, "{}", serde_json::to_string(event).expect("events are JSON"));
    }
    story
}
