//! What the coordinator relies on beside the rules of the plan: numbers, refusals, limits, and the cost of an event.

use podturn_turn::{
    Backoff, Cause, Condition, Dependency, Event, Impossible, Kind, OnFailure, Outcome, Phase, Plan, Restarts, Retry,
    State, Step, StepId, Time,
};
use podturn_wire::{Ended, Exit, InstanceId, MESSAGE_MAX, RunId, Then, Usage};

fn step(name: &str, after: &[u32]) -> Step {
    let backoff = Backoff { duration: 0, factor_milli: 2000, cap: None, jitter_milli: 0 };
    Step {
        name: name.into(),
        depends_on: after
            .iter()
            .map(|place| Dependency { step: StepId(*place), condition: Condition::Succeeded })
            .collect(),
        retry: Retry { limit: 0, backoff, causes: Cause::ALL.to_vec(), exit_codes: Vec::new() },
        success_exit_codes: vec![0],
        timeout: None,
        allow_failure: false,
        finally: false,
        uses: Vec::new(),
        stop_signal: 15,
        restarts: Restarts::Never,
        termination_log: "/dev/termination-log".into(),
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

/// A run, with the next event's number kept.
struct Run {
    state: State,
    seq: u64,
}

impl Run {
    fn start(plan: Plan) -> Self {
        let mut run = Self { state: State::new(plan, RunId(1)), seq: 0 };
        run.take(0, Kind::CoordinatorStarted { rebooted: false });
        run
    }

    fn take(&mut self, at: Time, kind: Kind) {
        self.seq += 1;
        let event = Event { seq: self.seq, at, kind };
        self.state.next(&event).unwrap_or_else(|impossible| panic!("{event:?}: {impossible}"));
    }

    fn arrive(&mut self, step: u32, report: u64) {
        let (step, instance) = (StepId(step), InstanceId(u64::from(step)));
        self.take(0, Kind::Arrived { step, instance, report, last: None, references: Vec::new() });
    }

    fn exit(&mut self, step: u32, report: u64, code: u8) {
        let ended = Ended { at: 0, exit: Exit::Code(code), timed_out: false, usage: Usage::default() };
        let (step, instance) = (StepId(step), InstanceId(u64::from(step)));
        self.take(0, Kind::Ended { step, instance, report, attempt: 1, started_at: 0, ended });
    }

    fn refused(&mut self, event: &Event) -> Impossible {
        let before = format!("{:?}", self.state);
        let impossible = self.state.next(event).expect_err("this cannot follow");
        assert_eq!(before, format!("{:?}", self.state), "a refused event changes nothing");
        impossible
    }
}

#[test]
fn an_event_that_cannot_follow_is_refused_and_changes_nothing() {
    let mut run = Run::start(plan(vec![step("a", &[])]));
    run.take(50, Kind::Deadline);
    let table = [
        (Event { seq: 4, at: 60, kind: Kind::Deadline }, "event 4 follows event 2: the journal has a gap"),
        (Event { seq: 2, at: 60, kind: Kind::Deadline }, "event 2 follows event 2: the journal has a gap"),
        (Event { seq: 3, at: 49, kind: Kind::Deadline }, "event 3: time falls from 50 to 49 within one boot"),
        (
            Event { seq: 3, at: 50, kind: Kind::Lost { step: StepId(1), instance: InstanceId(0), survivors: false } },
            "event 3: the plan has no step number 1",
        ),
    ];
    for (event, why) in table {
        assert_eq!(run.refused(&event).to_string(), why);
    }
    run.take(3, Kind::CoordinatorStarted { rebooted: true });
    assert_eq!(run.state.seq(), 3);
}

#[test]
fn a_turn_acknowledges_the_newest_report_and_an_answer_alone_makes_no_new_turn() {
    let mut run = Run::start(plan(vec![step("a", &[])]));
    assert_eq!((run.state.turn_for(StepId(0)).turn, run.state.turn_for(StepId(0)).instance), (0, None));
    run.arrive(0, 1);
    assert_eq!(run.state.poll_turn(), Some(StepId(0)));
    let given = run.state.turn_for(StepId(0));
    assert_eq!((given.turn, given.ack, given.attempt), (1, 1, Some(1)));
    run.take(0, Kind::Begun { step: StepId(0), instance: InstanceId(0), report: 2, attempt: 1, started_at: 0 });
    assert_eq!(run.state.poll_turn(), None, "what is wanted did not change");
    let begun = run.state.turn_for(StepId(0));
    assert_eq!((begun.turn, begun.ack), (1, 2));
}

#[test]
fn a_number_found_on_the_volume_is_overtaken_at_once() {
    let mut run = Run::start(plan(vec![step("a", &[]), step("b", &[0])]));
    run.arrive(0, 1);
    while run.state.poll_turn().is_some() {}
    run.state.raise_turn(StepId(0), 1);
    assert_eq!(run.state.poll_turn(), None, "the present number is known to the journal");
    run.state.raise_turn(StepId(0), 9);
    assert_eq!(run.state.poll_turn(), Some(StepId(0)), "the same turn has to be written above 9");
    assert_eq!(run.state.turn_for(StepId(0)).turn, 10);
    run.state.raise_turn(StepId(1), 5);
    assert_eq!(run.state.poll_turn(), None, "nobody is there to be told");
    run.arrive(1, 1);
    assert_eq!(run.state.turn_for(StepId(1)).turn, 6);
    run.state.raise_turn(StepId(0), u64::MAX);
    assert_eq!(run.state.turn_for(StepId(0)).turn, u64::MAX, "a forged number harms its own step only");
}

#[test]
fn the_longest_names_leave_room_for_the_reason() {
    let long = |c: char| String::from(c).repeat(63);
    let mut run = Run::start(plan(vec![step(&long('a'), &[]), step(&long('b'), &[0])]));
    run.arrive(0, 1);
    run.arrive(1, 1);
    run.exit(0, 2, 255);
    let Then::Exit { code: 0, message } = run.state.turn_for(StepId(1)).then else { panic!("Omitted ends with 0") };
    assert!(message.as_str().ends_with("Failed (ExitCode 255)"), "{message:?}");
    assert!(message.as_str().len() <= MESSAGE_MAX && run.state.view(StepId(1)).message == message.as_str());
}

/// `width` steps in each of `depth` layers; each depends on two of the layer before.
fn layers(depth: u32, width: u32) -> Plan {
    let place = |layer: u32, column: u32| layer * width + column % width;
    let steps = (0..depth).flat_map(|layer| (0..width).map(move |column| (layer, column))).map(|(layer, column)| {
        let after: Vec<u32> =
            if layer == 0 { vec![] } else { vec![place(layer - 1, column), place(layer - 1, column + 1)] };
        step(&format!("s{layer}-{column}"), &after)
    });
    plan(steps.collect())
}

/// Runs the plan to its end and returns the most work that one event made.
fn most_work(plan: Plan) -> u64 {
    let mut run = Run::start(plan);
    let steps = u32::try_from(run.state.plan().steps.len()).expect("a small plan");
    let mut most = 0;
    let mut before = run.state.work();
    let mut measure = |state: &State| {
        most = most.max(state.work() - before);
        before = state.work();
    };
    for id in 0..steps {
        run.arrive(id, 1);
        measure(&run.state);
    }
    let mut open = Vec::new();
    loop {
        while let Some(StepId(id)) = run.state.poll_turn() {
            if run.state.phase(StepId(id)) == Phase::Granted {
                open.push(id);
            }
        }
        let Some(id) = open.pop() else { break };
        run.exit(id, 2, 0);
        measure(&run.state);
    }
    assert_eq!(run.state.outcome(), Some(Outcome::Succeeded));
    most
}

#[test]
fn an_event_costs_the_same_in_a_small_plan_and_in_a_large_one() {
    let small = most_work(layers(3, 4));
    assert_eq!(most_work(layers(100, 10)), small, "1,000 steps in layers");
    assert_eq!(most_work(layers(1_000, 1)), most_work(layers(10, 1)), "a chain of 1,000");
    assert!(small < 20, "{small} looks for two dependents");
}

#[test]
fn a_long_line_for_one_slot_costs_one_look() {
    let crowd = |steps: u32| {
        let steps = (0..steps).map(|place| step(&format!("s{place}"), &[])).collect();
        most_work(Plan { max_parallel: Some(1), ..plan(steps) })
    };
    assert_eq!(crowd(1_000), crowd(10));
}
