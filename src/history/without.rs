//! What the run would have taken without a wait: the same steps, played again with one thing changed.
//!
//! The answer is only given for runs that the play can follow: with nothing changed it has to end every step as the run did. A
//! run in which a shim was lost, a container was stopped from outside or the node rebooted is none of these.

use podturn_turn::{Event, Kind, Plan, Probed, Request, StepId, Time};
use podturn_wire::{Exit, RunId};

use super::play::{Act, Script, Scripts, play};
use super::{History, Record, StepHistory, What};

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// Nothing: the run as it was.
    Nothing,
    /// Every container is there from the start.
    Container,
    /// People approve, and decide about failures, at once.
    People,
    /// Nobody holds turns back.
    Hold,
    /// `maxParallel` has no limit.
    Slot,
    /// Every pool has room for all.
    Pools,
    /// The next attempt follows at once.
    Backoff,
    /// podturn takes no time.
    Handoff,
    /// All of these.
    Everything,
}

/// How long the run would have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Without {
    /// Without what.
    pub removed: Removed,
    /// How long, in ns.
    pub length: Time,
}

impl Removed {
    /// Each of them, but for `Nothing`.
    pub const ALL: [Self; 8] = [
        Self::Container,
        Self::People,
        Self::Hold,
        Self::Slot,
        Self::Pools,
        Self::Backoff,
        Self::Handoff,
        Self::Everything,
    ];

    fn covers(self, other: Self) -> bool {
        self == other || self == Self::Everything
    }

    /// Whether some step waited so.
    fn is_in(self, history: &History) -> bool {
        history.waits().iter().any(|(what, _)| match what {
            What::Container => self.covers(Self::Container),
            What::Approval | What::Decision => self.covers(Self::People),
            What::Hold => self.covers(Self::Hold),
            What::Slot(_) => self.covers(Self::Slot),
            What::Pool(..) => self.covers(Self::Pools),
            What::Backoff => self.covers(Self::Backoff),
            What::Handoff => self.covers(Self::Handoff),
            What::Attempt(_) | What::Dependencies | What::Others | What::When => false,
        })
    }
}

/// How much the play of an unchanged run may differ from it: shims were notified, and clocks read, at real moments.
const TOLERANCE: (Time, Time) = (50_000_000, 50); // 50 ms, and a fiftieth of the run

impl History {
    /// What the run would have taken without each wait that it had. `None`: the play cannot follow it.
    #[must_use]
    pub fn without(&self, record: &Record) -> Option<Vec<Without>> {
        self.state.outcome.as_ref()?;
        let scripts = scripts(self, &record.events)?;
        let (same, ends) = length(&record.plan, record.run, &scripts, Removed::Nothing)?;
        let as_it_was: Vec<String> = self.state.steps.iter().map(|step| step.phase.clone()).collect();
        let (least, fraction) = TOLERANCE;
        if ends != as_it_was || same.abs_diff(self.end) > least.max(self.end / fraction) {
            return None;
        }
        let present = Removed::ALL.into_iter().filter(|removed| removed.is_in(self));
        let lengths = present.filter_map(|removed| {
            let (length, _) = length(&record.plan, record.run, &scripts, removed)?;
            Some(Without { removed, length })
        });
        Some(lengths.collect())
    }
}

/// How long it takes, and the phase in which each step ends.
fn length(plan: &Plan, run: RunId, scripts: &Scripts, removed: Removed) -> Option<(Time, Vec<String>)> {
    let mut plan = plan.clone();
    let mut scripts = scripts.clone();
    if removed.covers(Removed::Slot) {
        plan.max_parallel = None;
    }
    if removed.covers(Removed::Pools) {
        plan.pools.iter_mut().for_each(|pool| pool.capacity = u32::MAX);
    }
    if removed.covers(Removed::Hold) {
        scripts.requests.retain(|(_, request)| !matches!(request, Request::Pause | Request::Resume));
    }
    if removed.covers(Removed::Backoff) {
        plan.steps.iter_mut().for_each(|step| step.retry.backoff.duration = 0);
    }
    for script in &mut scripts.steps {
        change(script, removed);
    }
    let events = play(&plan, run, &scripts)?;
    let mut core = podturn_turn::State::new(plan, run);
    events.iter().try_for_each(|event| core.next(event)).ok()?;
    let ids = || (0..core.plan().steps.len() as u32).map(StepId);
    let end = ids().filter_map(|id| core.ended_at(id)).max()?;
    Some((end, ids().map(|id| format!("{:?}", core.phase(id))).collect()))
}

fn change(script: &mut Script, removed: Removed) {
    if removed.covers(Removed::Container) {
        script.arrives = script.arrives.map(|_| 0);
    }
    if removed.covers(Removed::People) {
        script.approval = script.approval.map(|_| 0);
        script.decisions.values_mut().for_each(|(wait, _)| *wait = 0);
    }
    if removed.covers(Removed::Handoff) {
        script.acts.iter_mut().for_each(|act| (act.handoff, act.told) = (0, 0));
    }
}

/// What each step did, as something that can be done again. `None`: something happened that no script tells of.
fn scripts(history: &History, events: &[Event]) -> Option<Scripts> {
    let mut scripts = Scripts { steps: history.steps.iter().map(script).collect::<Option<_>>()?, ..Scripts::default() };
    let start = events.first()?.at;
    let mut arrivals = vec![0u32; history.steps.len()];
    for event in events {
        let at = event.at.saturating_sub(start);
        match &event.kind {
            Kind::CoordinatorStarted { rebooted: true }
            | Kind::Deaf { .. }
            | Kind::StopSignal { .. }
            | Kind::VolumeFull
            | Kind::Lost { survivors: true, .. }
            | Kind::Requested { request: Request::Terminate { .. } } => return None,
            Kind::Lost { step, .. } if history.steps[step.index()].ended.is_none_or(|ended| ended > at) => return None,
            Kind::Arrived { step, references, .. } => {
                arrivals[step.index()] += 1;
                scripts.steps[step.index()].references.clone_from(references);
            }
            Kind::Outputs { step, attempt, outputs } => {
                let act = scripts.steps[step.index()].acts.get_mut(*attempt as usize - 1);
                act?.outputs = outputs.clone();
            }
            Kind::Decided { step, decision } => scripts.steps[step.index()].when = Some(decision.clone()),
            Kind::Requested { request: Request::Approve { step } } => {
                scripts.steps[step.index()].approval = Some(waited(&history.steps[step.index()], What::Approval, at));
            }
            Kind::Requested { request: Request::Retry { step, attempt } } => {
                let wait = waited(&history.steps[step.index()], What::Decision, at);
                scripts.steps[step.index()].decisions.insert(*attempt, (wait, true));
            }
            Kind::Requested { request: Request::Skip { step, attempt } }
                if is_paused(&history.steps[step.index()], at) =>
            {
                let wait = waited(&history.steps[step.index()], What::Decision, at);
                scripts.steps[step.index()].decisions.insert(*attempt, (wait, false));
            }
            Kind::Requested { request } => scripts.requests.push((at, *request)),
            Kind::CoordinatorStarted { .. }
            | Kind::Lost { .. }
            | Kind::Begun { .. }
            | Kind::Ended { .. }
            | Kind::Probed { .. }
            | Kind::Connected { .. }
            | Kind::NotBegun { .. }
            | Kind::Deadline => {}
        }
    }
    arrivals.iter().all(|count| *count <= 1).then_some(scripts)
}

/// How long a wait was that ended at this moment; 0 also for one that was none.
fn waited(step: &StepHistory, what: What, at: Time) -> Time {
    step.spans.iter().find(|span| span.what == what && span.to == at).map_or(0, super::Span::length)
}

/// Whether a person's word at this moment was about a failure.
fn is_paused(step: &StepHistory, at: Time) -> bool {
    step.spans.iter().any(|span| span.what == What::Decision && span.to == at)
}

fn script(step: &StepHistory) -> Option<Script> {
    let mut script = Script { arrives: step.arrived, ..Script::default() };
    for (index, span) in step.spans.iter().enumerate() {
        let What::Attempt(number) = span.what else { continue };
        let before = index.checked_sub(1).map(|before| step.spans[before]);
        let handoff =
            |span: Option<&super::Span>| span.filter(|span| span.what == What::Handoff).map_or(0, super::Span::length);
        script.acts.push(act(step, number, handoff(before.as_ref()), handoff(step.spans.get(index + 1)))?);
    }
    Some(script)
}

fn act(step: &StepHistory, number: usize, handoff: Time, told: Time) -> Option<Act> {
    let attempt = &step.attempts[number];
    let (ended, end) = (attempt.ended?, attempt.end?);
    Some(Act {
        handoff,
        runs: attempt.stopping.is_none().then(|| ended - attempt.begun),
        probed: attempt.ready.map(|at| (at - attempt.begun, Probed::Ready)),
        stops: attempt.stopping.map_or(0, |at| ended.saturating_sub(at)),
        told,
        exit: end.exit,
        stopped: end.exit,
        timed_out: end.timed_out,
        outputs: podturn_turn::Outputs::default(),
    })
    .filter(|act| act.exit != Exit::NotStarted)
}
