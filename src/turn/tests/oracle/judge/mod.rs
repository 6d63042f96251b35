//! The oracle: what must follow from each event, by the plan's rules alone. It was written from the design's section 2 before the
//! core's logic was there and calls none of it. It is slow on purpose: every rule looks at every step again after every event.
//!
//! Where the rules leave two answers open, the judge takes the one that it sees, and refuses any third (`docs/decisions.md` lists
//! those that were decided). Everything else has to be exactly as it says.

mod compare;
mod events;
mod limits;
mod needs;
mod references;
mod requests;
mod settle;

use podturn_turn::{Event, Kind, Outcome, Outputs, Phase, Plan, Reason, StepView, Time};
use podturn_wire::InstanceId;

use crate::world::Answer;

/// Where a step is, with what is decided of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// No attempt in hand: for its dependencies, its container, or a slot.
    Waiting,
    /// No attempt in hand, and none before this time.
    Backoff(Time),
    Granted,
    Running,
    /// A service that runs and is ready.
    Ready,
    /// Told to stop; what it will be when it has.
    Stopping(Verdict),
    /// Failed for this reason, and waits for a person; until this time, if there is a limit.
    Paused(Reason, Option<Time>),
    End(Phase, Reason),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Cancelled(Reason),
    Failed(Reason),
    /// A service that is not wanted any more, and what it is if nothing of it ever ran.
    Stopped(Phase, Reason),
}

/// What is known of a step.
#[derive(Clone, Debug)]
struct Record {
    at: At,
    instance: Option<InstanceId>,
    /// That instance was told from outside to end: no attempt goes to it any more.
    leaving: bool,
    /// A stop signal from outside that may be meant for everybody: held until then.
    held: Option<Time>,
    /// Without its container since then.
    absent_since: Time,
    /// The newest attempt granted.
    attempt: u32,
    /// That attempt is under way, or waits to be granted once more under its number.
    open: bool,
    begun: bool,
    /// That attempt was ready at some time.
    was_ready: bool,
    /// When that attempt was begun.
    started_at: Time,
    ever_begun: bool,
    /// All conditions are met and all questions answered since then.
    due_at: Option<Time>,
    /// Its `when` waits for its value.
    asked: bool,
    /// Its `when` was true.
    decided: bool,
    /// A person is asked for the approval.
    awaits: bool,
    approved: bool,
    /// Attempts that `retry` does not count: a service came back with its container.
    comebacks: u32,
    /// Why the last attempt that failed did.
    failed: Option<Reason>,
    /// Codes that the last attempts ended with, newest last.
    codes: Vec<u8>,
    /// The newest attempt told its own end, by which code.
    own_code: Option<u8>,
    /// What its newest instance refers to.
    references: Vec<String>,
    /// What was read of the newest attempt, and what counts.
    left: Outputs,
    outputs: Outputs,
}

pub(crate) use needs::{late, users};

pub(crate) struct Judge {
    plan: Plan,
    records: Vec<Record>,
    /// Steps that Drain and Cancel leave alone.
    exempt: Vec<bool>,
    /// Finally steps and the services they need.
    late: Vec<bool>,
    /// For each service the steps that it ends after, and whether these hold it up by an edge.
    users: Vec<Vec<usize>>,
    is_held: Vec<bool>,
    now: Time,
    plan_deadline: Option<Time>,
    /// The plan's time ran out then.
    plan_timed_out: Option<Time>,
    cancels: u32,
    /// Why no step that is not `finally` (first) or is (second) may start any more.
    over: [Option<Reason>; 2],
    volume_full: bool,
    /// A person holds all turns back.
    paused: bool,
    is_deleted: bool,
    /// When the time of finally steps is over in a pod that is being deleted.
    deleted_until: Option<Time>,
    /// What the core shows after the event that is judged: looked at only where two answers are open.
    seen: Vec<StepView>,
}

impl Judge {
    pub(crate) fn new(plan: &Plan) -> Self {
        let record = Record {
            at: At::Waiting,
            instance: None,
            leaving: false,
            held: None,
            absent_since: 0,
            attempt: 0,
            open: false,
            begun: false,
            was_ready: false,
            started_at: 0,
            ever_begun: false,
            due_at: None,
            asked: false,
            decided: false,
            awaits: false,
            approved: false,
            comebacks: 0,
            failed: None,
            codes: Vec::new(),
            own_code: None,
            references: Vec::new(),
            left: Outputs::default(),
            outputs: Outputs::default(),
        };
        Self {
            plan: plan.clone(),
            records: vec![record; plan.steps.len()],
            exempt: needs::exempt(plan),
            late: needs::late(plan),
            users: (0..plan.steps.len()).map(|n| needs::users(plan, n)).collect(),
            is_held: (0..plan.steps.len()).map(|n| needs::is_held(plan, n)).collect(),
            now: 0,
            plan_deadline: None,
            plan_timed_out: None,
            cancels: 0,
            over: [None; 2],
            volume_full: false,
            paused: false,
            is_deleted: false,
            deleted_until: None,
            seen: Vec::new(),
        }
    }

    /// Judges what the core made of one event.
    pub(crate) fn check(&mut self, event: &Event, answer: &Answer, outcome: Option<Outcome>) -> Result<(), String> {
        self.seen.clone_from(&answer.views);
        if let Kind::CoordinatorStarted { rebooted: true } = event.kind {
            self.move_clocks(event.at);
        }
        self.now = event.at;
        self.take(event)?;
        self.settle();
        while self.fail_what_has_no_value() {
            self.settle();
        }
        self.follow_held();
        self.grant();
        for n in 0..self.records.len() {
            self.compare(n).map_err(|e| format!("event {}: step {n}: {e}", event.seq))?;
        }
        self.compare_deadline(answer.deadline).map_err(|e| format!("event {}: {e}", event.seq))?;
        self.compare_question(answer.question).map_err(|e| format!("event {}: {e}", event.seq))?;
        self.compare_values(&answer.values).map_err(|e| format!("event {}: {e}", event.seq))?;
        self.compare_outcome(outcome).map_err(|e| format!("event {}: {e}", event.seq))
    }
}
