//! What the check takes comes to its end, and what it refuses as impossible is impossible: random plans, many of them wrong, go through
//! the check and then, taken or not, through the core in a benign world: every container comes, every command ends, every service
//! gets ready, a person answers every question, and no time passes, so that no time limit helps out.
//!
//! Belongs here: what the check and the core have to agree on. Does not belong here: what follows from each event (the oracle of the core),
//! the words of a refusal (`tests/plan`).

use podturn::plan::{PodFacts, Source, check};
use podturn_turn::{
    Answer, Condition, Decision, Dependency, Event, Kind, OnFailure, Phase, Plan, Probed, Request, State, StepId, Use,
};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};
use proptest::collection::vec;
use proptest::prelude::*;

/// More events than any run of these plans has.
const ENDLESS: usize = 1_000;

/// A plan, right or wrong.
#[derive(Clone, Debug)]
struct Draft {
    steps: Vec<DraftStep>,
    max_parallel: Option<u32>,
    capacity: u32,
    on_failure: OnFailure,
    runs_for_ever: bool,
}

#[derive(Clone, Debug)]
struct DraftStep {
    /// On any step, modulo their number: also on itself, or round in a circle.
    depends_on: Vec<(usize, Condition)>,
    service: bool,
    probed: bool,
    finally: bool,
    allow_failure: bool,
    when: bool,
    approval: bool,
    units: u32,
}

const CONDITIONS: [Condition; 5] =
    [Condition::Succeeded, Condition::Ready, Condition::Started, Condition::Failed, Condition::Completed];
const MODES: [OnFailure; 4] = [OnFailure::Continue, OnFailure::Drain, OnFailure::Cancel, OnFailure::Pause];

fn drafts(most: usize) -> impl Strategy<Value = Draft> {
    let weighted = proptest::bool::weighted;
    // Two of three dependencies lead back to an earlier step, so that many plans are possible.
    let edge = (0..9_usize, 0..3_usize, prop::sample::select(CONDITIONS.to_vec()));
    let step = (
        vec(edge, 0..3),
        (weighted(0.4), any::<bool>()),
        (weighted(0.15), weighted(0.2)),
        (weighted(0.2), weighted(0.1)),
        0..4_u32,
    );
    let limits = (proptest::option::of(1..3_u32), 1..5_u32, prop::sample::select(MODES.to_vec()), weighted(0.1));
    (vec(step, 1..=most), limits).prop_map(|(steps, (max_parallel, capacity, on_failure, runs_for_ever))| {
        let count = steps.len();
        let steps = steps.into_iter().enumerate().map(
            |(at, (edges, (service, probed), (finally, allow), (when, approval), units))| {
                let mut depends_on: Vec<(usize, Condition)> = Vec::new();
                for (number, kind, condition) in edges {
                    let on = if kind == 0 || at == 0 { number % count } else { number % at };
                    if depends_on.iter().all(|(known, _)| *known != on) && (kind == 0 || at > 0) {
                        depends_on.push((on, condition));
                    }
                }
                let service = service && !finally;
                DraftStep {
                    depends_on,
                    service,
                    probed,
                    finally,
                    allow_failure: allow,
                    when,
                    approval,
                    units: if units == 3 { 2 } else { units % 2 },
                }
            },
        );
        Draft { steps: steps.collect(), max_parallel, capacity, on_failure, runs_for_ever }
    })
}

impl Draft {
    fn facts(&self) -> PodFacts {
        let policy = if self.runs_for_ever { "Always" } else { "Never" };
        let containers: Vec<String> = (0..self.steps.len()).map(|at| format!(r#"{{"name": "s{at}"}}"#)).collect();
        let json = format!(r#"{{"restartPolicy": "{policy}", "containers": [{}]}}"#, containers.join(", "));
        PodFacts::parse(&json).expect("these facts are right")
    }

    /// As a person would write it.
    fn text(&self) -> String {
        let mut text = format!("onFailure: {:?}\npools: {{ p: {} }}\nsteps:\n", self.on_failure, self.capacity);
        if self.on_failure == OnFailure::Pause {
            text = format!("pauseTimeout: 1h\n{text}");
        }
        if let Some(most) = self.max_parallel {
            text = format!("maxParallel: {most}\n{text}");
        }
        for (at, step) in self.steps.iter().enumerate() {
            let list: Vec<String> =
                step.depends_on.iter().map(|(on, condition)| format!("s{on}: {condition:?}")).collect();
            text += &format!("  s{at}:\n    dependsOn: [{}]\n", list.join(", "));
            let fields = [
                (step.service, "service: true".to_owned()),
                (step.service && step.probed, "readiness: { file: { path: /ready } }".to_owned()),
                (step.finally, "finally: true".to_owned()),
                (step.allow_failure, "allowFailure: true".to_owned()),
                (step.when, "when: 'true'".to_owned()),
                (step.approval, "approval: true".to_owned()),
                (step.units > 0, format!("uses: {{ p: {} }}", step.units)),
            ];
            for (_, field) in fields.into_iter().filter(|(is_there, _)| *is_there) {
                text += &format!("    {field}\n");
            }
        }
        text
    }

    /// All dependencies of the step, of those it depends on, and so on.
    fn before(&self, step: usize) -> Vec<(usize, Condition)> {
        let (mut found, mut queue) = (Vec::new(), vec![step]);
        while let Some(at) = queue.pop() {
            for dependency in &self.steps[at].depends_on {
                if !found.contains(dependency) {
                    found.push(*dependency);
                    queue.push(dependency.0);
                }
            }
        }
        found
    }

    /// The same, forced past the check: from a plan of as many independent steps.
    fn forced(&self) -> Plan {
        let independent = DraftStep {
            depends_on: Vec::new(),
            service: false,
            probed: false,
            finally: false,
            units: 0,
            ..self.steps[0].clone()
        };
        let steps = self.steps.iter().map(|step| DraftStep {
            when: step.when,
            approval: step.approval,
            allow_failure: step.allow_failure,
            ..independent.clone()
        });
        let plain = Draft { steps: steps.collect(), ..self.clone() };
        let mut plan = checked(&plain).expect("independent steps are right");
        let service = checked(&Draft {
            steps: vec![
                DraftStep { service: true, probed: true, ..independent.clone() },
                DraftStep { depends_on: vec![(0, Condition::Ready)], ..independent },
            ],
            ..self.clone()
        });
        let service = service.expect("a service and its user are right").steps[0].clone();
        for (step, draft) in plan.steps.iter_mut().zip(&self.steps) {
            (step.service, step.finally) = (draft.service, draft.finally);
            step.readiness = service.readiness.clone().filter(|_| draft.service && draft.probed);
            if draft.service {
                step.retry = service.retry.clone();
            }
            step.uses = if draft.units > 0 { vec![Use { pool: 0, units: draft.units }] } else { Vec::new() };
            let condition = |on: usize, condition| match condition {
                Condition::Ready if !self.steps[on].service => Condition::Succeeded, // a task is never ready but by succeeding
                other => other,
            };
            let edges = draft.depends_on.iter();
            step.depends_on =
                edges.map(|(on, said)| Dependency { step: id(*on), condition: condition(*on, *said) }).collect();
        }
        plan
    }
}

fn checked(draft: &Draft) -> Result<Plan, Vec<String>> {
    let result = check(&Source::file("plan.yaml", draft.text().as_str()), &draft.facts());
    result
        .map(|checked| checked.plan)
        .map_err(|errors| errors.sorted().into_iter().map(|error| error.message.clone()).collect())
}

/// What was begun in a run, and what had not ended when nothing could happen any more.
struct Played {
    begun: Vec<bool>,
    stuck: Vec<usize>,
}

/// Who can do something next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Arrive(StepId),
    Decide(StepId),
    Ask(Request),
    Begin(StepId),
    GetReady(StepId),
    End(StepId),
    CallBack(StepId),
}

impl Act {
    fn step(self) -> Option<StepId> {
        match self {
            Self::Arrive(step) | Self::Decide(step) | Self::Begin(step) | Self::GetReady(step) => Some(step),
            Self::End(step) | Self::CallBack(step) => Some(step),
            Self::Ask(request) => request.step(),
        }
    }
}

/// `fails`: the commands that end badly, services of their own accord. `numbers`: who is next; 0 when there are no more.
fn play(plan: &Plan, fails: &[bool], numbers: &[u16]) -> Played {
    play_first(plan, fails, numbers, |_| true)
}

/// Those acts come first, while there are any.
fn play_first(plan: &Plan, fails: &[bool], numbers: &[u16], first: impl Fn(&Act) -> bool) -> Played {
    let mut state = State::new(plan.clone(), RunId(1));
    let mut played = Played { begun: vec![false; plan.steps.len()], stuck: Vec::new() };
    let tell = |state: &mut State, kind| {
        let event = Event { seq: state.seq() + 1, at: 1, kind };
        state.next(&event).unwrap_or_else(|error| panic!("{error}: {event:?}"));
        while state.poll_turn().is_some() {}
    };
    tell(&mut state, Kind::CoordinatorStarted { rebooted: false });
    for number in numbers.iter().copied().chain(std::iter::repeat(0)).take(ENDLESS) {
        let mut possible = possible(&state, fails);
        possible.sort_by_key(|act| !first(act));
        let Some(act) = possible.get(usize::from(number) % possible.len().max(1)) else { break };
        if let Act::Begin(step) = act {
            played.begun[step.index()] = true;
        }
        let kind = kind(&state, *act, fails);
        tell(&mut state, kind);
    }
    played.stuck = (0..plan.steps.len()).filter(|at| !state.phase(id(*at)).is_end()).collect();
    played
}

fn possible(state: &State, fails: &[bool]) -> Vec<Act> {
    let mut acts: Vec<Act> = state.question().map(Act::Decide).into_iter().collect();
    for (at, plan) in state.plan().steps.iter().enumerate() {
        let (step, attempt, service) = (id(at), state.attempt(id(at)), plan.service);
        if state.instance(step).is_none() {
            acts.push(Act::Arrive(step));
        }
        match state.phase(step) {
            Phase::Awaiting => acts.push(Act::Ask(Request::Approve { step })),
            Phase::Paused => acts.push(Act::Ask(Request::Skip { step, attempt })),
            Phase::Granted => acts.push(Act::Begin(step)),
            Phase::Running if service => acts.push(Act::GetReady(step)),
            Phase::Running => acts.push(Act::End(step)),
            Phase::Ready if fails[at] && !state.plan().long_running => acts.push(Act::End(step)), // there it is tried for ever
            Phase::Stopping if state.begun_at(step).is_some() => acts.push(Act::End(step)),
            Phase::Stopping => acts.push(Act::CallBack(step)),
            Phase::Pending | Phase::Ready | Phase::Backoff => {}
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => {}
        }
    }
    let cancel = Request::Cancel;
    // A pod that runs for ever is told to end when all is quiet.
    if acts.is_empty() && state.plan().long_running && matches!(state.answer(cancel), Answer::Does(_)) {
        acts.push(Act::Ask(cancel));
    }
    acts
}

fn kind(state: &State, act: Act, fails: &[bool]) -> Kind {
    let instance = |step: StepId| InstanceId(u64::from(step.0) + 1);
    let report = state.seq() + 1;
    match act {
        Act::Arrive(step) => {
            Kind::Arrived { step, instance: instance(step), report, last: None, references: Vec::new() }
        }
        Act::Decide(step) => Kind::Decided { step, decision: Decision::Run },
        Act::Ask(request) => Kind::Requested { request },
        Act::Begin(step) => {
            Kind::Begun { step, instance: instance(step), report, attempt: state.attempt(step), started_at: 1 }
        }
        Act::GetReady(step) => {
            let (attempt, readiness) = (state.attempt(step), Probed::Ready);
            Kind::Probed {
                step,
                instance: instance(step),
                report,
                attempt,
                probed_at: 1,
                readiness,
                why: String::new(),
            }
        }
        Act::End(step) => {
            let exit = Exit::Code(u8::from(fails[step.index()]));
            let ended = Ended { at: 1, exit, timed_out: false, usage: Usage::default() };
            Kind::Ended { step, instance: instance(step), report, attempt: state.attempt(step), started_at: 1, ended }
        }
        Act::CallBack(step) => Kind::NotBegun { step, instance: instance(step), attempt: state.attempt(step) },
    }
}

fn id(at: usize) -> StepId {
    StepId(u32::try_from(at).expect("a small plan"))
}

/// Every way in which the tasks' commands can end, and for each of them two orders; nothing fails in the first two. Services do not fail
/// and nobody skips a failure: either can break a circle, and no plan should need that to come to its end.
fn worlds(plan: Plan, numbers: &[u16]) -> Vec<Played> {
    let on_failure = if plan.on_failure == OnFailure::Pause { OnFailure::Continue } else { plan.on_failure };
    let plan = Plan { on_failure, ..plan };
    let steps = || plan.steps.iter().enumerate();
    let fails = |world: usize| steps().map(|(at, step)| world & (1 << at) != 0 && !step.service).collect::<Vec<_>>();
    let both = |world| [play(&plan, &fails(world), &[]), play(&plan, &fails(world), numbers)];
    (0..1 << plan.steps.len()).flat_map(both).collect()
}

/// Whether a refusal says that something is impossible. Not among these: services that use more of a pool than there is. They would run, and
/// the pool would be no limit.
fn is_about_the_impossible(message: &str) -> bool {
    let words =
        ["wait for each other", "could ever use", "and the services leave", "can never run", "depends on itself"];
    words.iter().any(|words| message.contains(words))
        || (message.starts_with("step ") && message.contains(", which has "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_check_takes_comes_to_its_end(
        draft in drafts(9),
        fails in vec(proptest::bool::weighted(0.3), 9),
        numbers in vec(any::<u16>(), 0..200),
    ) {
        let Ok(plan) = checked(&draft) else { return Err(TestCaseError::reject("refused")) };
        prop_assert_eq!(&plan, &draft.forced(), "what is forced past the check is the plan that was written");
        let played = play(&plan, &fails, &numbers);
        prop_assert!(played.stuck.is_empty(), "steps {:?} do not end\n{}", played.stuck, draft.text());
    }

    #[test]
    fn what_the_check_refuses_as_impossible_is_impossible(draft in drafts(5), numbers in vec(any::<u16>(), 0..60)) {
        let Err(why) = checked(&draft) else { return Err(TestCaseError::reject("taken")) };
        let services = draft.steps.iter().filter(|step| step.service);
        prop_assume!(why.iter().all(|why| is_about_the_impossible(why)));
        prop_assume!(services.map(|step| step.units).sum::<u32>() <= draft.capacity);
        let worlds = worlds(draft.forced(), &numbers);
        let leaves_out = |at: usize, worlds: &[Played]| worlds.iter().all(|played| !played.begun[at]);
        let for_success = |at: &usize| draft.before(*at).iter().all(|(_, condition)| *condition != Condition::Failed);
        // Somebody is stuck, depending on how the commands end; or is left out where all goes well, or whatever happens.
        let is_stuck = worlds.iter().any(|played| !played.stuck.is_empty())
            || (0..draft.steps.len()).filter(for_success).any(|at| leaves_out(at, &worlds[..2]));
        prop_assert!(is_stuck || (0..draft.steps.len()).any(|at| leaves_out(at, &worlds)), "{why:?}, and yet every step can run and end\n{}", draft.text());
    }

    /// Where no step waits for a failure, for any end, or for that of a service: those may come only if something goes wrong, or a person
    /// stops it.
    #[test]
    fn each_step_of_a_plan_that_is_taken_can_run(draft in drafts(6)) {
        let steps = draft.steps.iter().map(|step| DraftStep { when: false, ..step.clone() }).collect();
        let draft = Draft { steps, max_parallel: None, capacity: 100, ..draft };
        let Ok(plan) = checked(&draft) else { return Err(TestCaseError::reject("refused")) };
        let is_plain = |(on, condition): &(usize, Condition)| match condition {
            Condition::Failed | Condition::Completed => false,
            Condition::Succeeded => !draft.steps[*on].service,
            Condition::Started | Condition::Ready => true,
        };
        prop_assume!(!draft.runs_for_ever && draft.steps.iter().flat_map(|step| &step.depends_on).all(is_plain));
        for at in 0..draft.steps.len() {
            // What it waits for goes on, and ends only if it is the end that is waited for.
            let before = draft.before(at);
            let first = |act: &Act| act.step().is_none_or(|step| {
                let of_it = || before.iter().filter(|(on, _)| *on == step.index());
                let holds = |condition: Condition| condition == Condition::Started || (condition == Condition::Ready && draft.steps[step.index()].service);
                match act {
                    Act::End(_) => of_it().any(|(_, condition)| !holds(*condition)),
                    _ => step.index() == at || of_it().next().is_some(),
                }
            });
            let played = play_first(&plan, &[false; 6], &[], first);
            prop_assert!(played.begun[at], "step s{} never runs\n{}", at, draft.text());
        }
    }
}

/// How many plans are played; `PODTURN_POSSIBLE_PLANS` says another number.
fn cases() -> u32 {
    std::env::var("PODTURN_POSSIBLE_PLANS").ok().and_then(|number| number.parse().ok()).unwrap_or(300)
}
