//! Random plans, all of them valid: what the plan's check refuses (cycles, the same dependency twice, a need that never fits, a
//! finally step as a dependency of another kind of step) is never made here.

use podturn_turn::{Backoff, Cause, Condition, Dependency, OnFailure, Plan, Pool, Retry, Step, StepId, Use};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A step before its dependencies are made to fit the graph.
#[derive(Clone, Debug)]
struct Draft {
    /// A dependency is on the step `number % place` of those before it; the first one has none before it.
    depends_on: Vec<(u32, Condition)>,
    retry: Retry,
    success_exit_codes: Vec<u8>,
    timeout: Option<u64>,
    allow_failure: bool,
    finally: bool,
    /// For each pool: the units, taken modulo what the pool has.
    uses: Vec<u32>,
    restarts: bool,
    stop_signal: u8,
}

/// Plans of 1 to 12 steps, and now and then of up to 40.
pub(crate) fn plans() -> impl Strategy<Value = Plan> {
    let drafts = prop_oneof![30 => vec(draft(), 1..=12), 1 => vec(draft(), 13..=40)];
    let places = drafts.prop_flat_map(|drafts| {
        let order: Vec<usize> = (0..drafts.len()).collect();
        // The plan's order is not always one in which dependencies come first.
        (Just(drafts), prop_oneof![Just(order.clone()).boxed(), Just(order).prop_shuffle().boxed()])
    });
    let limits = (
        prop_oneof![2 => Just(None), 3 => (1..=4u32).prop_map(Some)],
        vec(1..=4u32, 0..=2),
        option::weighted(0.3, 5_000..200_000u64),
        prop_oneof![
            3 => Just(OnFailure::Continue),
            2 => Just(OnFailure::Drain),
            2 => Just(OnFailure::Cancel)
        ],
        20_000..120_000u64,
    );
    (places, limits).prop_map(|((drafts, order), (max_parallel, pools, timeout, on_failure, arrival_timeout))| Plan {
        steps: steps(&drafts, &order, &pools),
        max_parallel,
        pools: pools
            .iter()
            .enumerate()
            .map(|(n, capacity)| Pool { name: format!("pool{n}"), capacity: *capacity })
            .collect(),
        timeout,
        on_failure,
        grace_period: 10_000,
        arrival_timeout,
        coordinator_grace: 30_000,
        pause_timeout: None,
        long_running: false,
        parameters: Vec::new(),
    })
}

fn draft() -> impl Strategy<Value = Draft> {
    let condition = prop_oneof![
        6 => Just(Condition::Succeeded),
        2 => Just(Condition::Started),
        2 => Just(Condition::Failed),
        2 => Just(Condition::Completed),
    ];
    let codes = prop_oneof![8 => Just(vec![0]), 1 => Just(vec![0, 3]), 1 => Just(vec![3])];
    (
        vec((any::<u32>(), condition), 0..=3),
        retry(),
        codes,
        option::weighted(0.3, 1_000..20_000u64),
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.15),
        vec(prop_oneof![2 => Just(0), 1 => 1..=4u32], 2),
        proptest::bool::weighted(0.4),
        prop_oneof![3 => Just(15u8), 1 => Just(2), 1 => Just(10)],
    )
        .prop_map(
            |(depends_on, retry, success_exit_codes, timeout, allow_failure, finally, uses, restarts, stop_signal)| {
                Draft {
                    depends_on,
                    retry,
                    success_exit_codes,
                    timeout,
                    allow_failure,
                    finally,
                    uses,
                    restarts,
                    stop_signal,
                }
            },
        )
}

fn retry() -> impl Strategy<Value = Retry> {
    // Whole seconds and these factors keep every wait a whole number of milliseconds, so that rounding is no question.
    let backoff = (
        prop_oneof![Just(0), Just(1_000), Just(4_000u64)],
        prop_oneof![Just(2_000), Just(1_000), Just(1_500u32)],
        option::weighted(0.3, Just(3_000u64)),
        prop_oneof![3 => Just(0), 1 => Just(250), 1 => Just(1_000u32)],
    )
        .prop_map(|(duration, factor_milli, cap, jitter_milli)| Backoff {
            duration,
            factor_milli,
            cap,
            jitter_milli,
        });
    let causes = prop_oneof![
        3 => Just(Cause::ALL.to_vec()),
        1 => proptest::sample::subsequence(Cause::ALL.to_vec(), 1..=Cause::ALL.len()),
    ];
    let limit = prop_oneof![3 => Just(0u32), 4 => 1..=3u32];
    (limit, backoff, causes, prop_oneof![3 => Just(vec![]), 1 => Just(vec![1, 42])]).prop_map(
        |(limit, backoff, causes, exit_codes)| {
            let exit_codes = if causes.contains(&Cause::ExitCode) { exit_codes } else { Vec::new() };
            Retry { limit, backoff, causes, exit_codes }
        },
    )
}

/// The drafts as steps; `order[n]` is the place in the plan of draft n, whose dependencies are drafts before it.
fn steps(drafts: &[Draft], order: &[usize], pools: &[u32]) -> Vec<Step> {
    let mut made: Vec<(usize, Step)> = Vec::new();
    for (n, draft) in drafts.iter().enumerate() {
        let mut depends_on: Vec<Dependency> = Vec::new();
        for (number, condition) in &draft.depends_on {
            let Some(on) = (*number as usize).checked_rem(n) else { continue };
            let step = StepId(u32::try_from(order[on]).expect("a small plan"));
            let known = depends_on.iter().any(|d| d.step == step);
            if !known && (draft.finally || !drafts[on].finally) {
                depends_on.push(Dependency { step, condition: *condition });
            }
        }
        let uses = pools.iter().zip(&draft.uses).zip(0..).filter_map(|((capacity, units), pool)| {
            let units = units % (capacity + 1);
            (units > 0).then_some(Use { pool, units })
        });
        let step = Step {
            name: format!("s{}", order[n]),
            depends_on,
            retry: draft.retry.clone(),
            success_exit_codes: draft.success_exit_codes.clone(),
            timeout: draft.timeout,
            allow_failure: draft.allow_failure,
            finally: draft.finally,
            uses: uses.collect(),
            stop_signal: draft.stop_signal,
            restarts: draft.restarts,
            termination_log: String::new(),
            service: false,
            readiness: None,
            when: None,
            approval: None,
        };
        made.push((order[n], step));
    }
    made.sort_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, step)| step).collect()
}
