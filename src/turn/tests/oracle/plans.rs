//! Random plans, all of them valid: what the plan's check refuses (cycles, the same dependency twice, a need that never fits, a
//! finally step as a dependency of another kind of step) is never made here.

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, OnFailure, Parameter, Plan, Pool, Probe, Readiness, Restarts, Retry, Step,
    StepId, Use,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::judge;

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
    restarts: Restarts,
    stop_signal: u8,
    service: bool,
    /// Probed over the network, or not.
    readiness: Option<bool>,
    when: bool,
    approval: bool,
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
            2 => Just(OnFailure::Cancel),
            2 => Just(OnFailure::Pause)
        ],
        20_000..120_000u64,
    );
    // Services, and what waits for a person or a value, are not in every plan.
    let kinds = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1), option::of(1_000..100_000u64));
    (places, limits, kinds).prop_map(|((drafts, order), limits, (services, questions, long_running, pause_timeout))| {
        let drafts =
            drafts.iter().map(|draft| draft.clone().with(services, questions, long_running)).collect::<Vec<_>>();
        plan(&drafts, &order, limits, long_running, pause_timeout)
    })
}

type Limits = (Option<u32>, Vec<u32>, Option<u64>, OnFailure, u64);

fn plan(drafts: &[Draft], order: &[usize], limits: Limits, long_running: bool, pause_timeout: Option<u64>) -> Plan {
    let (max_parallel, pools, timeout, on_failure, arrival_timeout) = limits;
    let mut plan = Plan {
        steps: steps(drafts, order),
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
        // "bounded by `timeout` or `pauseTimeout`, one of which is required"
        pause_timeout: pause_timeout.or(timeout.is_none().then_some(30_000)),
        long_running,
        parameters: vec![Parameter { name: "V".into(), value: "v".into() }],
    };
    make_it_possible(&mut plan);
    make_it_fit(&mut plan);
    plan
}

fn draft() -> impl Strategy<Value = Draft> {
    let condition = prop_oneof![
        6 => Just(Condition::Succeeded),
        1 => Just(Condition::Ready),
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
        prop_oneof![5 => Just(Restarts::Never), 3 => Just(Restarts::Always), 2 => Just(Restarts::WhenKilled)],
        prop_oneof![3 => Just(15u8), 1 => Just(2), 1 => Just(10)],
        (
            proptest::bool::weighted(0.4),
            option::of(any::<bool>()),
            proptest::bool::weighted(0.25),
            proptest::bool::weighted(0.2),
        ),
    )
        .prop_map(
            |(
                depends_on,
                retry,
                success_exit_codes,
                timeout,
                allow_failure,
                finally,
                uses,
                restarts,
                stop_signal,
                new,
            )| {
                let (service, readiness, when, approval) = new;
                Draft {
                    service,
                    readiness,
                    when,
                    approval,
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

impl Draft {
    fn with(self, services: bool, questions: bool, long_running: bool) -> Self {
        let service = services && self.service && !self.finally;
        Self {
            service,
            readiness: self.readiness.filter(|_| service),
            when: questions && self.when,
            approval: questions && self.approval,
            success_exit_codes: if service { vec![0] } else { self.success_exit_codes },
            restarts: if long_running { Restarts::Always } else { self.restarts },
            ..self
        }
    }
}

/// The drafts as steps; `order[n]` is the place in the plan of draft n, whose dependencies are drafts before it.
fn steps(drafts: &[Draft], order: &[usize]) -> Vec<Step> {
    let mut made: Vec<(usize, Step)> = Vec::new();
    for (n, draft) in drafts.iter().enumerate() {
        let mut depends_on: Vec<Dependency> = Vec::new();
        for (number, condition) in &draft.depends_on {
            let Some(on) = (*number as usize).checked_rem(n) else { continue };
            let step = StepId(u32::try_from(order[on]).expect("a small plan"));
            let known = depends_on.iter().any(|d| d.step == step);
            // The default of a service is `Ready`.
            let is_default = drafts[on].service && *condition == Condition::Succeeded && number % 5 > 0;
            let condition = if is_default { Condition::Ready } else { *condition };
            if !known && (draft.finally || !drafts[on].finally) {
                depends_on.push(Dependency { step, condition });
            }
        }
        made.push((order[n], step(draft, order[n], depends_on)));
    }
    made.sort_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, step)| step).collect()
}

fn step(draft: &Draft, place: usize, depends_on: Vec<Dependency>) -> Step {
    let probe = |network: bool| match network {
        true => Probe::TcpSocket { host: String::new(), port: 1 },
        false => Probe::File { path: "/ready".into() },
    };
    let readiness = |network| Readiness {
        probe: probe(network),
        initial_delay_seconds: 0,
        period_seconds: 1,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 1,
    };
    Step {
        name: format!("s{place}"),
        depends_on,
        retry: draft.retry.clone(),
        success_exit_codes: draft.success_exit_codes.clone(),
        timeout: draft.timeout,
        allow_failure: draft.allow_failure,
        finally: draft.finally,
        uses: (0..).zip(&draft.uses).map(|(pool, units)| Use { pool, units: *units }).collect(),
        stop_signal: draft.stop_signal,
        restarts: draft.restarts,
        termination_log: String::new(),
        service: draft.service,
        readiness: draft.readiness.map(readiness),
        when: draft.when.then(|| "params.V == 'v'".into()),
        approval: draft.approval.then(String::new),
    }
}

/// A service that nothing could ever serve, and what waits for its own end, are refused by the check.
fn make_it_possible(plan: &mut Plan) {
    loop {
        let is_idle = |n: &usize| plan.steps[*n].service && judge::users(plan, *n).is_empty();
        let idle = (0..plan.steps.len()).find(is_idle);
        if let Some(n) = idle.filter(|_| !plan.long_running) {
            into_a_task(plan, n);
        } else if !has_an_order(plan) {
            match end_of_a_service(plan) {
                Some((n, place)) => plan.steps[n].depends_on[place].condition = Condition::Ready,
                None => {
                    let service = (0..plan.steps.len()).find(|n| plan.steps[*n].service);
                    into_a_task(plan, service.expect("without services every plan has an order"));
                }
            }
        } else {
            return;
        }
    }
}

fn into_a_task(plan: &mut Plan, n: usize) {
    plan.steps[n].service = false;
    plan.steps[n].readiness = None;
}

/// The newest dependency on the end of a service: whose, and its place there.
fn end_of_a_service(plan: &Plan) -> Option<(usize, usize)> {
    let ends = |d: &Dependency| {
        plan.steps[d.step.index()].service && !matches!(d.condition, Condition::Ready | Condition::Started)
    };
    (0..plan.steps.len()).rev().find_map(|n| Some((n, plan.steps[n].depends_on.iter().rposition(ends)?)))
}

/// "cycles are looked for with the edges 'this service ends after those that hold it up (or after the tasks that it outlasts)'
/// included": every begin and every end can be put after all that it waits for.
fn has_an_order(plan: &Plan) -> bool {
    let steps = plan.steps.len();
    let late = judge::late(plan);
    let users: Vec<Vec<usize>> = (0..steps).map(|n| judge::users(plan, n)).collect();
    let (mut begun, mut ended) = (vec![false; steps], vec![false; steps]);
    loop {
        let before = (begun.clone(), ended.clone());
        for (n, step) in plan.steps.iter().enumerate() {
            let met = step.depends_on.iter().all(|d| match d.condition {
                Condition::Started => begun[d.step.index()],
                Condition::Ready if plan.steps[d.step.index()].service => begun[d.step.index()],
                _ => ended[d.step.index()],
            });
            begun[n] |= met && (!step.finally || (0..steps).all(|m| late[m] || ended[m]));
            ended[n] |= begun[n] && users[n].iter().all(|m| ended[*m]);
        }
        if before == (begun.clone(), ended.clone()) {
            return ended.iter().all(|ended| *ended);
        }
    }
}

/// "the check refuses a plan in which some step's need then never fits": services first, then what is left for each task.
fn make_it_fit(plan: &mut Plan) {
    let mut free: Vec<u32> = plan.pools.iter().map(|pool| pool.capacity).collect();
    for services in [true, false] {
        for step in plan.steps.iter_mut().filter(|step| step.service == services) {
            step.uses.retain_mut(|wanted| {
                let Some(left) = free.get_mut(wanted.pool as usize) else { return false };
                wanted.units %= *left + 1;
                *left -= if services { wanted.units } else { 0 };
                wanted.units > 0
            });
        }
    }
}
