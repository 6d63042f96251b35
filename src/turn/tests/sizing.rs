//! What the steps of a plan can need at the same moment: a table to read, and a comparison with the core itself.
//!
//! The comparison plays every run that a small plan can have (each step arrives, begins, is ready, ends well or badly, in any order) through
//! `next`, and weighs what is active after each event. `peak` must never be below that, and where it says that it is exact it
//! must be that.

use std::collections::{BTreeSet, HashSet};

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, Event, Kind, OnFailure, Peak, Phase, Plan, Pool, Probe, Probed, Readiness,
    Restarts, Retry, State, Step, StepId, Use, peak,
};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};
use proptest::collection::vec;
use proptest::prelude::*;

// --- plans ---

fn step(name: &str, depends_on: &[(usize, Condition)]) -> Step {
    let backoff = Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 };
    Step {
        name: name.into(),
        depends_on: depends_on
            .iter()
            .map(|(on, condition)| Dependency { step: id(*on), condition: *condition })
            .collect(),
        retry: Retry { limit: 0, backoff, causes: Cause::ALL.to_vec(), exit_codes: Vec::new() },
        success_exit_codes: vec![0],
        timeout: None,
        allow_failure: false,
        finally: false,
        uses: Vec::new(),
        stop_signal: 15,
        restarts: Restarts::Never,
        termination_log: String::new(),
        service: false,
        readiness: None,
        when: None,
        approval: None,
    }
}

fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        max_parallel: None,
        pools: Vec::new(),
        timeout: None,
        on_failure: OnFailure::Continue,
        grace_period: 10_000,
        arrival_timeout: 600_000,
        coordinator_grace: 900_000,
        pause_timeout: None,
        long_running: false,
        parameters: Vec::new(),
    }
}

fn id(place: usize) -> StepId {
    StepId(u32::try_from(place).expect("a small plan"))
}

/// A plan from lines such as `db service`, `itest after build db:Ready`, `x failing after build uses 2`; each with its weight.
fn read(text: &str) -> (Plan, Vec<u64>) {
    let mut read = (plan(Vec::new()), Vec::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a name");
        match name {
            "maxParallel" => read.0.max_parallel = words.next().map(|word| word.parse().expect("a number")),
            "pool" => {
                let capacity = words.next().expect("its units").parse().expect("a number");
                read.0.pools.push(Pool { name: "pool".into(), capacity });
            }
            "onFailure" => read.0.on_failure = OnFailure::Drain,
            name => {
                read.1.push(words.next().expect("a weight").parse().expect("a number"));
                let step = read_step(&read.0, name, &words.collect::<Vec<_>>());
                read.0.steps.push(step);
            }
        }
    }
    read
}

fn read_step(plan: &Plan, name: &str, words: &[&str]) -> Step {
    let mut made = step(name, &[]);
    for (place, word) in words.iter().enumerate() {
        match *word {
            "service" => made.service = true,
            "finally" => made.finally = true,
            "allowFailure" => made.allow_failure = true,
            "uses" => made.uses = vec![Use { pool: 0, units: words[place + 1].parse().expect("a number") }],
            "after" => {}
            number if number.parse::<u32>().is_ok() => {}
            word => {
                let (on, condition) = word.split_once(':').unwrap_or((word, ""));
                let on = plan.steps.iter().position(|step| step.name == on).expect("a step before");
                let condition = match condition {
                    "Started" => Condition::Started,
                    "Failed" => Condition::Failed,
                    "Completed" => Condition::Completed,
                    "Succeeded" => Condition::Succeeded,
                    _ if plan.steps[on].service => Condition::Ready,
                    _ => Condition::Succeeded,
                };
                made.depends_on.push(Dependency { step: id(on), condition });
            }
        }
    }
    made
}

fn names(plan: &Plan, peak: &Peak) -> String {
    peak.steps.iter().map(|step| plan.steps[step.index()].name.as_str()).collect::<Vec<_>>().join(" ")
}

// --- the table ---

/// (the plan, what it needs at most, which steps)
const TABLE: &[(&str, u64, &str)] = &[
    ("a 3\nb 5 after a\nc 4 after b", 5, "b"),
    ("a 3\nb 5 after a\nc 4 after a\nd 6 after b c", 9, "b c"),
    // The plan of the README: the service is beside everything but what comes after all.
    (
        "build 8\nunit 2 after build\ndb 4 service\nitest 3 after build db\npublish 1 after unit itest\nnotify 7 finally",
        12,
        "build db",
    ),
    ("build 8\ndb 4 service after build\nitest 3 after db", 8, "build"),
    // Who wants it gone says so.
    ("db 4 service\nitest 1 after db\nload 9 after itest", 13, "db load"),
    ("db 4 service\nitest 1 after db\nload 9 after itest db:Completed", 9, "load"),
    // Started is no end.
    ("a 3\nb 5 after a:Started\nc 4 after b", 8, "a b"),
    ("a 3\nb 5 after a:Started\nc 9 after a b", 9, "c"),
    ("maxParallel 2\na 5\nb 4\nc 3\ns 1 service", 10, "a b s"),
    // One that is alone with its size, beside two that fit together: prices alone would say 11.
    ("maxParallel 2\na 10\nb 4 after a\nc 4 after a\nd 4 after a", 10, "a"),
    ("pool 3\na 5 uses 2\nb 4 uses 2\nc 3 uses 1\nd 1", 9, "a c d"),
    // The service's units are put aside.
    ("pool 3\ns 1 service uses 1\na 5 uses 2\nb 4 uses 2", 6, "s a"),
    // Either the deployment went well, or it is rolled back.
    ("deploy 2\nverify 6 after deploy\nrollback 5 after deploy:Failed", 6, "verify"),
    ("deploy 2 allowFailure\nverify 6 after deploy\nrollback 5 after deploy:Failed", 11, "verify rollback"),
    // A finally step's service is there from the beginning.
    ("a 5\nstore 3 service\nsave 4 finally after store\nb 2 after a", 8, "a store"),
    ("a 3\nb 4\nclean 5 after a:Completed b:Completed", 7, "a b"),
];

#[test]
fn what_can_be_active_together() {
    for (text, total, steps) in TABLE {
        let (plan, weights) = read(text);
        let found = peak(&plan, &weights);
        assert_eq!((found.total, names(&plan, &found).as_str()), (*total, *steps), "{text}");
        assert!(found.is_exact, "{text}");
        assert_eq!(total, &played(&plan, &weights).heaviest, "{text}: in the core itself");
    }
}

#[test]
fn an_omitted_step_does_not_keep_its_dependents_back() {
    // When lint fails, test is Omitted, and clean goes on beside build.
    let (plan, weights) = read("build 8\nlint 1\ntest 2 after build lint\nclean 5 after test:Completed");
    let found = peak(&plan, &weights);
    assert_eq!(played(&plan, &weights).heaviest, 13);
    assert_eq!((found.total, found.is_exact), (14, false), "an upper bound: that lint has ended then is not seen");
}

#[test]
fn a_plan_without_steps_or_without_requests_needs_nothing() {
    let nothing = Peak { total: 0, steps: Vec::new(), is_exact: true };
    assert_eq!(peak(&plan(Vec::new()), &[]), nothing);
    let (two, _) = read("maxParallel 1\na 1\nb 1");
    assert_eq!(peak(&two, &[0, 0]), nothing);
}

#[test]
fn sums_beyond_the_type_are_the_largest_number() {
    let (plan, _) = read("a 1\nb 1");
    assert_eq!(peak(&plan, &[u64::MAX, u64::MAX]).total, u64::MAX);
}

/// A thousand steps: 40 rows of 25, each on three of the row before.
#[test]
fn a_thousand_steps() {
    let mut steps = Vec::new();
    for place in 0..1000usize {
        let row = place / 25;
        let on: BTreeSet<usize> =
            (0..3).filter(|_| row > 0).map(|n| (row - 1) * 25 + (place * 7 + n * 5) % 25).collect();
        steps.push(step("s", &on.into_iter().map(|on| (on, Condition::Succeeded)).collect::<Vec<_>>()));
    }
    let mut plan = plan(steps);
    let weights: Vec<u64> = (0..1000).map(|n| (n * 7919) % 1000 + 1).collect();
    let free = peak(&plan, &weights);
    assert!(free.is_exact);
    assert_eq!(free.total, free.steps.iter().map(|step| weights[step.index()]).sum::<u64>());
    plan.max_parallel = Some(8);
    let eight = peak(&plan, &weights);
    assert!(eight.steps.len() <= 8);
    let found = eight.steps.iter().map(|step| weights[step.index()]).sum::<u64>();
    assert!(found <= eight.total && eight.total < free.total);
}

// --- the core itself ---

/// What was seen in all runs of a plan.
#[derive(Default)]
struct Played {
    heaviest: u64,
    /// Steps that were active at some time.
    ran: BTreeSet<StepId>,
}

fn played(plan: &Plan, weights: &[u64]) -> Played {
    let mut start = State::new(plan.clone(), RunId(1));
    let mut seq = 0;
    let mut take = |state: &mut State, kind| {
        seq += 1;
        state.next(&Event { seq, at: 0, kind }).expect("it can follow");
    };
    take(&mut start, Kind::CoordinatorStarted { rebooted: false });
    // Who comes first takes a slot first, so where there are slots it matters who that is.
    let is_limited = plan.max_parallel.is_some() || !plan.pools.is_empty();
    if !is_limited {
        all(plan).for_each(|step| take(&mut start, arrival(step)));
    }
    let (mut found, mut known, mut left) = (Played::default(), HashSet::new(), vec![(start, seq)]);
    while let Some((state, seq)) = left.pop() {
        let active: Vec<StepId> = all(plan).filter(|step| state.holds_slot(*step)).collect();
        found.heaviest = found.heaviest.max(active.iter().map(|step| weights[step.index()]).sum());
        found.ran.extend(&active);
        let away = all(plan).filter(|step| state.instance(*step).is_none()).map(arrival);
        for kind in active.iter().flat_map(|step| events(plan, &state, *step)).chain(away) {
            let (mut next, seq) = (state.clone(), seq + 1);
            next.next(&Event { seq, at: 0, kind }).expect("it can follow");
            if known.insert(told(plan, &next)) {
                left.push((next, seq));
            }
        }
    }
    found
}

fn all(plan: &Plan) -> impl Iterator<Item = StepId> {
    (0..plan.steps.len()).map(id)
}

fn arrival(step: StepId) -> Kind {
    Kind::Arrived { step, instance: InstanceId(1), report: 1, last: None, references: Vec::new() }
}

/// What can happen to an active step.
fn events(plan: &Plan, state: &State, step: StepId) -> Vec<Kind> {
    let (instance, report, attempt) = (InstanceId(1), 2, state.attempt(step));
    let end = |code| {
        let ended = Ended { at: 0, exit: Exit::Code(code), timed_out: false, usage: Usage::default() };
        Kind::Ended { step, instance, report, attempt, started_at: 0, ended }
    };
    if state.begun_at(step).is_none() {
        return vec![Kind::Begun { step, instance, report, attempt, started_at: 0 }];
    }
    let mut events = vec![end(0), end(1)];
    if state.phase(step) == Phase::Running && plan.steps[step.index()].readiness.is_some() {
        let readiness = Probed::Ready;
        let why = String::new();
        events.push(Kind::Probed { step, instance, report, attempt, probed_at: 0, readiness, why });
    }
    events
}

/// What the rest of a run depends on.
fn told(plan: &Plan, state: &State) -> Vec<(Phase, bool, bool, bool)> {
    let is_here = |step| state.instance(step).is_some();
    all(plan)
        .map(|step| (state.phase(step), is_here(step), state.begun_at(step).is_some(), state.ready_at(step).is_some()))
        .collect()
}

/// A plan in the table's words.
fn written(plan: &Plan, weights: &[u64]) -> String {
    let mut text = format!("\n{:?}, maxParallel {:?}", plan.on_failure, plan.max_parallel);
    text.extend(plan.pools.iter().map(|pool| format!(", pool {}", pool.capacity)));
    for (place, step) in plan.steps.iter().enumerate() {
        let kind = [("service", step.service), ("finally", step.finally), ("allowFailure", step.allow_failure)];
        let kinds: Vec<&str> = kind.into_iter().filter_map(|(word, is_so)| is_so.then_some(word)).collect();
        let on = step.depends_on.iter().map(|on| format!("{}:{:?}", on.step.0, on.condition));
        let on: Vec<String> = on.collect();
        text += &format!("\n{place} {} {} after {}", weights[place], kinds.join(" "), on.join(" "));
        text.extend(step.uses.iter().map(|uses| format!(" uses {}", uses.units)));
    }
    text
}

/// Random small plans of these conditions and failures.
fn plans(conditions: Vec<Condition>, on_failure: Vec<OnFailure>) -> impl Strategy<Value = (Plan, Vec<u64>)> {
    let dependency = (any::<prop::sample::Index>(), prop::sample::select(conditions));
    let draft = (
        vec(dependency, 0..=2),
        prop::bool::weighted(0.25),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.15),
        any::<bool>(),
        0..=2u32,
        0..=9u64,
    );
    let limits = (prop::option::of(1..=3u32), prop::option::of(2..=4u32), prop::sample::select(on_failure));
    (vec(draft, 1..=6), limits).prop_map(|(drafts, (max_parallel, pool, on_failure))| {
        let mut made = plan(Vec::new());
        made.max_parallel = max_parallel;
        made.on_failure = on_failure;
        made.pools = pool.map(|capacity| Pool { name: "pool".into(), capacity }).into_iter().collect();
        let mut weights = Vec::new();
        for (on, service, finally, allow_failure, probed, units, weight) in drafts {
            let mut next = step("s", &[]);
            next.finally = finally;
            next.service = service && !finally;
            next.allow_failure = allow_failure;
            next.readiness = (next.service && probed).then(probe);
            if !made.pools.is_empty() && units > 0 && !next.service {
                next.uses = vec![Use { pool: 0, units }];
            }
            for (place, condition) in on.into_iter().filter(|_| !made.steps.is_empty()) {
                let on = place.index(made.steps.len());
                let is_known = next.depends_on.iter().any(|known| known.step == id(on));
                if !is_known && (finally || !made.steps[on].finally) {
                    next.depends_on.push(Dependency { step: id(on), condition });
                }
            }
            made.steps.push(next);
            weights.push(weight);
        }
        (made, weights)
    })
}

fn probe() -> Readiness {
    Readiness {
        probe: Probe::TcpSocket { host: String::new(), port: 1 },
        initial_delay_seconds: 0,
        period_seconds: 1,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
    }
}

/// `PODTURN_SIZING_PLANS=5000 cargo test -p podturn-turn --test sizing` plays that many.
fn cases() -> u32 {
    std::env::var("PODTURN_SIZING_PLANS").ok().and_then(|number| number.parse().ok()).unwrap_or(100)
}

/// Whether every step had its turn in some run: the plan's check refuses others.
fn is_possible(plan: &Plan, played: &Played) -> bool {
    played.ran.len() == plan.steps.len()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn plain_plans_are_sized_exactly(
        (plan, weights) in plans(
            vec![Condition::Succeeded, Condition::Succeeded, Condition::Ready, Condition::Started],
            vec![OnFailure::Continue],
        )
    ) {
        let played = played(&plan, &weights);
        prop_assume!(is_possible(&plan, &played));
        let found = peak(&plan, &weights);
        let is_limited = plan.max_parallel.is_some() || !plan.pools.is_empty();
        let is_bound = plan.steps.iter().flat_map(|step| &step.depends_on).any(|on| {
            let is_service = plan.steps[on.step.index()].service;
            match on.condition {
                Condition::Succeeded => is_service,
                Condition::Started => !is_service && is_limited,
                Condition::Ready | Condition::Failed | Condition::Completed => false,
            }
        });
        prop_assert!(found.is_exact || is_bound, "{found:?} is not exact{}", written(&plan, &weights));
        prop_assert!(!found.is_exact || found.total == played.heaviest, "{found:?}, not {}{}", played.heaviest, written(&plan, &weights));
        prop_assert!(found.total >= played.heaviest, "{found:?} is below {}{}", played.heaviest, written(&plan, &weights));
    }

    #[test]
    fn nothing_is_ever_above_the_bound(
        (plan, weights) in plans(
            vec![
                Condition::Succeeded, Condition::Succeeded, Condition::Ready, Condition::Started, Condition::Failed,
                Condition::Completed,
            ],
            vec![OnFailure::Continue, OnFailure::Drain, OnFailure::Cancel],
        )
    ) {
        let played = played(&plan, &weights);
        let found = peak(&plan, &weights);
        prop_assert!(found.total >= played.heaviest, "{found:?} is below {}{}", played.heaviest, written(&plan, &weights));
        let known: u64 = found.steps.iter().map(|step| weights[step.index()]).sum();
        prop_assert!(!found.is_exact || known == found.total);
    }
}
