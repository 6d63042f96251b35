//! Random plans, played in virtual time, and what the history makes of their journals.

use proptest::prelude::*;

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, OnFailure, Outputs, Plan, Pool, Restarts, Retry, Step, StepId, Time, Use,
};
use podturn_wire::{Exit, RunId};

use super::play::{Act, Script, Scripts, play};
use super::{History, Record, Removed, What};

const SECOND: Time = 1_000_000_000;
const RUN: RunId = RunId(7);

fn plan(steps: Vec<Step>) -> Plan {
    Plan {
        steps,
        max_parallel: None,
        pools: Vec::new(),
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

fn step(name: &str, depends_on: &[(u32, Condition)]) -> Step {
    let depends_on = depends_on.iter().map(|(on, condition)| Dependency { step: StepId(*on), condition: *condition });
    Step {
        name: name.to_owned(),
        depends_on: depends_on.collect(),
        retry: Retry {
            limit: 0,
            backoff: Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 },
            causes: Cause::ALL.to_vec(),
            exit_codes: Vec::new(),
        },
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

fn act(seconds: Time, code: u8) -> Act {
    Act {
        handoff: 1_000_000,
        runs: Some(seconds * SECOND),
        probed: None,
        stops: SECOND,
        told: 500_000,
        exit: Exit::Code(code),
        stopped: Exit::Code(code),
        timed_out: false,
        outputs: Outputs::default(),
    }
}

fn script(acts: &[Act]) -> Script {
    Script { arrives: Some(0), acts: acts.to_vec(), ..Script::default() }
}

fn played(plan: &Plan, scripts: &Scripts) -> (Record, History) {
    let events = play(plan, RUN, scripts).expect("it ends");
    let record = Record {
        run: RUN,
        plan: plan.clone(),
        events,
        started: Some(0),
        usage: Vec::new(),
        resources: Default::default(),
        until: None,
        is_rehearsal: false,
    };
    let history = History::of(&record).expect("a journal of the core fits the core");
    (record, history)
}

/// Each span in whole milliseconds.
fn spans(history: &History, step: usize) -> Vec<(What, u64)> {
    history.steps[step].spans.iter().map(|span| (span.what, span.length() / 1_000_000)).collect()
}

#[test]
fn a_step_that_waits_for_everything_says_for_what_and_how_long() {
    let mut late = step("late", &[(0, Condition::Succeeded)]);
    late.approval = Some(String::new());
    late.retry.limit = 1;
    late.retry.backoff.duration = 3_000;
    let mut plan = plan(vec![step("build", &[]), step("long", &[]), late]);
    plan.max_parallel = Some(2);
    let mut third = script(&[act(4, 1), act(5, 0)]);
    (third.arrives, third.approval) = (Some(20 * SECOND), Some(2 * SECOND));
    let scripts = Scripts { steps: vec![script(&[act(10, 0)]), script(&[act(100, 0)]), third], ..Scripts::default() };
    let (record, history) = played(&plan, &scripts);

    use What::{Approval, Attempt, Backoff, Container, Dependencies, Handoff};
    let expected = [
        (Dependencies, 10_001),
        (Approval, 2_000),
        (Container, 7_998),
        (Handoff, 1),
        (Attempt(0), 4_000),
        (Backoff, 3_000),
        (Handoff, 1),
        (Attempt(1), 5_000),
    ];
    let told: Vec<_> = spans(&history, 2).into_iter().filter(|(_, length)| *length > 0).collect();
    assert_eq!(told, expected);

    let lengths = history.without(&record).expect("an ordinary run can be played again");
    let removed: Vec<(Removed, u64)> = lengths.iter().map(|it| (it.removed, it.length / SECOND)).collect();
    assert_eq!(
        removed,
        [
            (Removed::Container, 100),
            (Removed::People, 100),
            (Removed::Backoff, 100),
            (Removed::Handoff, 100),
            (Removed::Everything, 100)
        ],
        "`long` alone takes that long"
    );
    assert_eq!(history.critical.iter().map(|leg| leg.step.0).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn the_critical_path_goes_through_slots_to_whoever_gave_them_free() {
    let mut plan = plan(vec![step("a", &[]), step("b", &[]), step("c", &[(1, Condition::Completed)])]);
    plan.max_parallel = Some(1);
    let scripts =
        Scripts { steps: vec![script(&[act(5, 0)]), script(&[act(6, 0)]), script(&[act(7, 0)])], ..Scripts::default() };
    let (record, history) = played(&plan, &scripts);
    let steps: Vec<u32> =
        history.critical.iter().filter(|leg| leg.to - leg.from > SECOND).map(|leg| leg.step.0).collect();
    assert_eq!(steps, [0, 1, 2]);
    assert_eq!(history.waits()[0].0, What::Dependencies);
    let lengths = history.without(&record).expect("it can be played again");
    let slot = lengths.iter().find(|it| it.removed == Removed::Slot).expect("there was a wait for a slot");
    assert_eq!((history.end / SECOND, slot.length / SECOND), (18, 13));
}

#[test]
fn a_record_that_is_damaged_is_refused() {
    let plan = plan(vec![step("a", &[])]);
    let scripts = Scripts { steps: vec![script(&[act(5, 0)])], ..Scripts::default() };
    let (mut record, _) = played(&plan, &scripts);
    record.events.remove(1);
    let why = History::of(&record).expect_err("an event is missing").why;
    assert!(why.contains("gap"), "{why}");
}

// --- random runs ---

#[derive(Clone, Debug)]
struct Wish {
    edges: Vec<(prop::sample::Index, u8)>,
    kind: u8,
    retries: u32,
    backoff: u64,
    acts: Vec<(u64, bool)>,
    arrives: Option<u64>,
    approval: Option<u64>,
    units: u32,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let edges = prop::collection::vec((any::<prop::sample::Index>(), 0u8..6), 0..4);
    let acts = prop::collection::vec((0u64..20, prop::bool::weighted(0.7)), 1..4);
    let arrives = prop::option::weighted(0.95, 0u64..15);
    let wish = (edges, 0u8..8, 0u32..3, 0u64..5, acts, arrives, prop::option::weighted(0.2, 0u64..9), 0u32..3);
    let wish = wish.prop_map(|(edges, kind, retries, backoff, acts, arrives, approval, units)| Wish {
        edges,
        kind,
        retries,
        backoff,
        acts,
        arrives,
        approval,
        units,
    });
    prop::collection::vec(wish, 1..9)
}

/// A plan that the check would let pass, as far as the core relies on it: edges lead back, finally steps come last.
fn of_wishes(wishes: &[Wish], max_parallel: Option<u32>, on_failure: OnFailure) -> (Plan, Scripts) {
    let mut steps: Vec<Step> = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let mut made = step(&format!("s{index}"), &[]);
        made.service = wish.kind == 0;
        made.finally = wish.kind == 1 && index + 1 == wishes.len();
        made.retry.limit = wish.retries;
        made.retry.backoff.duration = wish.backoff * 1_000;
        made.approval = wish.approval.map(|_| String::new());
        made.allow_failure = wish.kind == 2;
        if wish.units > 0 && !made.service {
            made.uses = vec![Use { pool: 0, units: wish.units }];
        }
        for (on, condition) in wish.edges.iter().filter(|_| index > 0) {
            let on = on.index(index);
            let condition = match condition {
                0 => Condition::Started,
                1 => Condition::Completed,
                2 => Condition::Failed,
                _ => Condition::Ready,
            };
            let is_known = made.depends_on.iter().any(|known: &Dependency| known.step.index() == on);
            // What serves nobody but a service that waits for its end would never end.
            let is_sound = !steps[on].service || matches!(condition, Condition::Ready | Condition::Started);
            if !is_known && is_sound && (steps[on].service || !made.service) {
                made.depends_on.push(Dependency { step: StepId(on as u32), condition });
            }
        }
        steps.push(made);
    }
    let scripts = wishes.iter().zip(&steps).map(|(wish, step)| {
        let acts = wish.acts.iter().map(|(seconds, succeeds)| {
            let mut act = act(*seconds, u8::from(!succeeds));
            if step.service {
                (act.runs, act.probed) = (None, Some((0, podturn_turn::Probed::Ready)));
            }
            act
        });
        let arrives = wish.arrives.map(|seconds| seconds * SECOND);
        let approval = wish.approval.map(|seconds| seconds * SECOND);
        Script { arrives, approval, acts: acts.collect(), ..Script::default() }
    });
    let scripts = Scripts { steps: scripts.collect(), ..Scripts::default() };
    let mut plan = plan(steps);
    (plan.max_parallel, plan.on_failure) = (max_parallel, on_failure);
    plan.pools = vec![Pool { name: "gpu".to_owned(), capacity: 3 }];
    (plan, scripts)
}

fn on_failure() -> impl Strategy<Value = OnFailure> {
    prop::sample::select(vec![OnFailure::Continue, OnFailure::Drain, OnFailure::Cancel])
}

proptest! {
    #[test]
    fn every_moment_of_every_step_is_told_once(
        wishes in wishes(),
        max_parallel in prop::option::of(1u32..4),
        on_failure in on_failure(),
        cancel in prop::option::weighted(0.3, 0u64..40),
    ) {
        let (plan, mut scripts) = of_wishes(&wishes, max_parallel, on_failure);
        scripts.requests.extend(cancel.map(|at| (at * SECOND, podturn_turn::Request::Cancel)));
        let (record, history) = played(&plan, &scripts);

        for (index, step) in history.steps.iter().enumerate() {
            let mut at = 0;
            for span in &step.spans {
                let is_empty = matches!(span.what, What::Attempt(_)) && span.to == at;
                prop_assert!(span.from == at && (span.to > at || is_empty), "step {index}: {:?}", step.spans);
                at = span.to;
            }
            prop_assert_eq!(Some(at), step.ended, "step {} ends with its last span", index);
            let told = step.attempts.len();
            prop_assert_eq!(told, history.state.steps[index].attempts.iter().filter(|a| a.started_at.is_some()).count());
            for (attempt, act) in step.attempts.iter().zip(&scripts.steps[index].acts) {
                let ran = attempt.ended.expect("the run has ended") - attempt.begun;
                if let (None, Some(runs)) = (attempt.stopping, act.runs) {
                    prop_assert_eq!(ran, runs, "step {}", index);
                }
            }
        }
        let mut at = 0;
        for leg in &history.critical {
            prop_assert!(leg.from == at && leg.to > at, "{:?}", history.critical);
            at = leg.to;
        }
        prop_assert_eq!(at, history.end, "the critical path reaches the end");
        prop_assert!(history.without(&record).is_some(), "what was played can be played again");
    }
}
