//! Any events in any order, most of them nonsense: the core never panics (its own assertions included), an end stays an
//! end, turn numbers never fall, a refused event changes nothing, the journal replays to the same state, and whatever
//! happened before, the plan ends once commands end and timers go off. What is *right* is for the stories and the
//! oracle; here it only has to hold together.

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, Event, Kind, OnFailure, Phase, Plan, Pool, Request, Restarts, Retry, State,
    Step, StepId, Time, Use,
};
use podturn_wire::{Ended, Exit, InstanceId, Last, RunId, StartStage, Usage};
use proptest::prelude::*;

const STEPS: u32 = 6;
const RUN: RunId = RunId(3);

fn a_step(place: u32) -> impl Strategy<Value = Step> {
    let condition = prop_oneof![
        Just(Condition::Started),
        Just(Condition::Succeeded),
        Just(Condition::Failed),
        Just(Condition::Completed)
    ];
    let dependencies = proptest::collection::btree_map(0..place.max(1), condition, 0..3);
    let switches = (any::<bool>(), proptest::bool::weighted(0.2), any::<bool>(), any::<bool>());
    let numbers = (0u32..3, 0u64..20, proptest::option::of(1u64..30), proptest::option::of(1u32..3));
    (dependencies, switches, numbers).prop_map(move |(after, switches, (limit, wait, timeout, units))| {
        let (restarts, allow_failure, failing, jitter) = switches;
        Step {
            name: format!("s{place}"),
            // The last two steps are finally steps; no other step may depend on one.
            depends_on: after
                .into_iter()
                .filter(|(step, _)| *step < place && (place >= STEPS - 2 || *step < STEPS - 2))
                .map(|(step, condition)| Dependency { step: StepId(step), condition })
                .collect(),
            retry: Retry {
                limit,
                backoff: Backoff {
                    duration: wait,
                    factor_milli: 1500,
                    cap: Some(40),
                    jitter_milli: if jitter { 500 } else { 0 },
                },
                causes: if failing { Cause::ALL.to_vec() } else { vec![Cause::ExitCode, Cause::ShimLost] },
                exit_codes: vec![],
            },
            success_exit_codes: vec![0],
            timeout,
            allow_failure,
            finally: place >= STEPS - 2,
            uses: units.map(|units| Use { pool: 0, units }).into_iter().collect(),
            stop_signal: 15,
            restarts: if restarts { Restarts::Always } else { Restarts::Never },
            termination_log: String::new(),
            service: false,
            readiness: None,
            when: None,
            approval: None,
        }
    })
}

fn a_plan() -> impl Strategy<Value = Plan> {
    let steps: Vec<_> = (0..STEPS).map(a_step).collect();
    let on_failure = prop_oneof![Just(OnFailure::Continue), Just(OnFailure::Drain), Just(OnFailure::Cancel)];
    (steps, on_failure, proptest::option::of(1u32..4), proptest::option::of(20u64..200)).prop_map(
        |(steps, on_failure, max_parallel, timeout)| Plan {
            steps,
            max_parallel,
            pools: vec![Pool { name: "p".into(), capacity: 3 }],
            timeout,
            on_failure,
            grace_period: 10,
            arrival_timeout: 50,
            coordinator_grace: 10,
            pause_timeout: None,
            long_running: false,
            parameters: Vec::new(),
        },
    )
}

fn an_exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        4 => Just(Exit::Code(0)),
        3 => (1u8..4).prop_map(Exit::Code),
        1 => Just(Exit::Signal { number: 9, oom: true }),
        1 => Just(Exit::StartError { stage: StartStage::Exec, errno: 2 }),
        1 => Just(Exit::NotStarted),
    ]
}

fn an_end() -> impl Strategy<Value = Ended> {
    (any::<u32>(), an_exit(), proptest::bool::weighted(0.1)).prop_map(|(at, exit, timed_out)| Ended {
        at: u64::from(at) % 300_000_000,
        exit,
        timed_out,
        usage: Usage::default(),
    })
}

/// Events that mostly fit: few instances and attempts, so that the present ones are often hit.
fn a_kind() -> impl Strategy<Value = Kind> {
    let step = || (0..STEPS).prop_map(StepId);
    let instance = || (1u64..4).prop_map(InstanceId);
    let attempt = || 1u32..4;
    let last = proptest::option::weighted(0.5, (attempt(), proptest::option::of(an_end())))
        .prop_map(|last| last.map(|(attempt, ended)| Last { attempt, started_at: 1, ended }));
    prop_oneof![
        1 => proptest::bool::weighted(0.3).prop_map(|rebooted| Kind::CoordinatorStarted { rebooted }),
        8 => (step(), instance(), last)
            .prop_map(|(step, instance, last)| Kind::Arrived { step, instance, report: 1, last, references: Vec::new() }),
        8 => (step(), instance(), attempt())
            .prop_map(|(step, instance, attempt)| Kind::Begun { step, instance, report: 2, attempt, started_at: 1 }),
        10 => (step(), instance(), attempt(), an_end()).prop_map(|(step, instance, attempt, ended)| Kind::Ended {
            step,
            instance,
            report: 3,
            attempt,
            started_at: 1,
            ended
        }),
        2 => (step(), instance()).prop_map(|(step, instance)| Kind::StopSignal { step, instance, report: 4, signal: 15 }),
        3 => (step(), instance(), any::<bool>())
            .prop_map(|(step, instance, survivors)| Kind::Lost { step, instance, survivors }),
        2 => (step(), instance()).prop_map(|(step, instance)| Kind::Deaf { step, instance }),
        2 => (step(), instance(), attempt())
            .prop_map(|(step, instance, attempt)| Kind::NotBegun { step, instance, attempt }),
        4 => Just(Kind::Deadline),
        1 => Just(Kind::Requested { request: Request::Cancel }),
    ]
}

struct Run {
    state: State,
    journal: Vec<Event>,
    now: Time,
}

impl Run {
    /// Applies an event, refused or not, and checks what holds for every event.
    fn take(&mut self, kind: Kind) -> bool {
        let event = Event { seq: self.journal.len() as u64 + 1, at: self.now, kind };
        let before = self.state.clone();
        if self.state.next(&event).is_err() {
            assert_eq!(format!("{before:?}"), format!("{:?}", self.state), "refused: {event:?}");
            return false;
        }
        self.journal.push(event);
        for step in (0..STEPS).map(StepId) {
            let (was, is) = (before.view(step), self.state.view(step));
            if was.phase.is_end() {
                assert_eq!((was.phase, was.reason, was.message), (is.phase, is.reason, is.message), "{step:?}");
            }
            let (was, is) = (before.turn_for(step), self.state.turn_for(step));
            let same = |a: &podturn_wire::Turn, b: &podturn_wire::Turn| {
                (a.instance, a.attempt, &a.then) == (b.instance, b.attempt, &b.then)
            };
            assert!(is.turn > was.turn || (is.turn == was.turn && same(&was, &is)), "{was:?} then {is:?}");
        }
        true
    }

    /// From here on commands end, called-back attempts are answered, and time passes.
    fn finish(&mut self) {
        for _ in 0..1_000 {
            if self.state.outcome().is_some() {
                return;
            }
            let under_way = (0..STEPS)
                .map(StepId)
                .find(|step| matches!(self.state.phase(*step), Phase::Granted | Phase::Running | Phase::Stopping));
            let Some(step) = under_way else {
                self.now = self.now.max(self.state.next_deadline().expect("nothing runs, so a timer is set"));
                self.take(Kind::Deadline);
                continue;
            };
            let view = self.state.view(step);
            let ended = Ended { at: self.now, exit: Exit::Code(0), timed_out: false, usage: Usage::default() };
            let instance = view.instance.expect("an attempt has an instance");
            self.take(Kind::Ended { step, instance, report: 9, attempt: view.attempts, started_at: self.now, ended });
        }
        panic!("the plan does not end: {:?}", self.state);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_core_holds_together_and_the_plan_ends(
        plan in a_plan(),
        events in proptest::collection::vec((a_kind(), 0u64..8_000_000), 0..60),
    ) {
        let mut run = Run { state: State::new(plan.clone(), RUN), journal: Vec::new(), now: 0 };
        run.take(Kind::CoordinatorStarted { rebooted: false });
        for (kind, pause) in events {
            run.now += pause;
            run.take(kind);
        }
        run.finish();
        let mut replayed = State::new(plan, RUN);
        for event in &run.journal {
            prop_assert!(replayed.next(event).is_ok());
        }
        prop_assert_eq!(format!("{:?}", replayed), format!("{:?}", run.state));
    }
}
