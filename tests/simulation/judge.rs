//! What has to hold, whatever happens. The judge keeps its own record of what the processes really did, and asks the core
//! only what was concluded, never what is true.

use std::collections::BTreeSet;

use podturn_turn::{Condition, Event, Kind, Outcome, Phase, Plan, Reason, State, Time};
use podturn_wire::{Exit, InstanceId, Report, Then, Turn, exit};

use crate::pod::{Pod, RUN, SECOND, id};

/// Whoever is silent for so long may count as deaf: the rings of an unanswered turn are given up after 31 s.
const DEAF_AFTER: Time = 25 * SECOND;

/// One attempt, as it really went.
#[derive(Clone, Debug)]
struct Deed {
    attempt: u32,
    instance: InstanceId,
    /// Its command was started, or that was tried.
    is_started: bool,
    /// How its command really ended, by itself or by a signal of its shim.
    exit: Option<Exit>,
    /// How a report says that it ended.
    reported: Option<Exit>,
}

/// What really happened to one step.
#[derive(Clone, Debug, Default)]
struct Record {
    deeds: Vec<Deed>,
    /// Every instance, with its shim's process.
    instances: Vec<(InstanceId, usize)>,
    /// Its newest report, as it was written.
    reported: Option<Report>,
    /// An arrival had been written when the coordinator woke up last.
    arrived_before_wake: bool,
    /// What turns of this run ever gave to whom.
    given: BTreeSet<(InstanceId, u32)>,
    /// What was journaled as never to begin.
    called_back: BTreeSet<(InstanceId, u32)>,
    /// Whose end is in the journal.
    told: BTreeSet<(InstanceId, u32)>,
    arrivals: BTreeSet<InstanceId>,
    /// Whose process is in the journal. Who was dead before a coordinator could look has no tree that anybody could name.
    known: BTreeSet<InstanceId>,
    /// Somebody outside stopped it, or it stood still for longer than anybody waits.
    was_stopped: bool,
    was_deaf: bool,
    /// For how long it did nothing though it could have, in ns.
    idle: Time,
    survivors: bool,
    newest_turn: u64,
}

/// The record, and the conclusions that were journaled.
pub(crate) struct Judge {
    state: State,
    records: Vec<Record>,
    was_cancelled: bool,
    /// The coordinator was killed for good.
    is_abandoned: bool,
    finished: Option<Outcome>,
}

impl Judge {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            state: State::new(plan.clone(), RUN),
            records: vec![Record::default(); plan.steps.len()],
            was_cancelled: false,
            is_abandoned: false,
            finished: None,
        }
    }

    pub(crate) fn note_instance(&mut self, step: usize, instance: InstanceId, shim: usize) {
        self.records[step].instances.push((instance, shim));
    }

    pub(crate) fn note_command_end(&mut self, step: usize, attempt: u32, exit: Exit) {
        if let Some(deed) = self.records[step].deeds.iter_mut().find(|deed| deed.attempt == attempt) {
            deed.exit = Some(exit);
        }
    }

    pub(crate) fn note_wake(&mut self) {
        for record in &mut self.records {
            record.arrived_before_wake = record.reported.is_some();
        }
    }

    pub(crate) fn note_cancel(&mut self) {
        self.was_cancelled = true;
    }

    pub(crate) fn note_stop(&mut self, step: usize) {
        self.records[step].was_stopped = true;
    }

    /// The shim could have acted for so long and did not.
    pub(crate) fn note_idle(&mut self, step: usize, long: Time) {
        self.records[step].idle += long;
        self.records[step].was_deaf |= self.records[step].idle > DEAF_AFTER;
    }

    pub(crate) fn note_coordinator_gone(&mut self, for_good: bool) {
        self.is_abandoned |= for_good;
    }
}

impl Record {
    fn instance_of(&self, shim: usize) -> Option<InstanceId> {
        self.instances.iter().find(|(_, process)| *process == shim).map(|(instance, _)| *instance)
    }

    fn process_of(&self, instance: InstanceId) -> Option<usize> {
        self.instances.iter().find(|(known, _)| *known == instance).map(|(_, process)| *process)
    }

    fn newest(&self) -> Option<&Deed> {
        self.deeds.iter().max_by_key(|deed| deed.attempt)
    }
}

impl Pod {
    fn record(&self, step: usize) -> &Record {
        &self.judge.records[step]
    }

    fn record_mut(&mut self, step: usize) -> &mut Record {
        &mut self.judge.records[step]
    }

    fn object(&mut self, step: usize, what: impl std::fmt::Display) {
        let words = format!("step s{step}: {what}");
        self.say(|| format!("WRONG {words}"));
        self.wrong.get_or_insert(words);
    }

    // --- what a shim does ---

    /// It writes its report.
    pub(crate) fn judge_report(&mut self, step: usize, shim: usize, bytes: &[u8]) {
        let Ok(report) = Report::parse(bytes) else { return self.object(step, "a report that is none") };
        let record = self.record_mut(step);
        let before = record.reported.replace(report);
        if before.is_some_and(|before| before.instance == report.instance && before.seq >= report.seq) {
            return self.object(step, "the numbers of reports do not grow");
        }
        if record.instance_of(shim) != Some(report.instance) {
            return self.object(step, "a report of somebody else");
        }
        let Some(attempt) = report.attempt else { return };
        let exit = report.ended.map(|ended| ended.exit);
        match record.deeds.iter_mut().find(|deed| deed.attempt == attempt) {
            Some(deed) if deed.instance == report.instance => deed.reported = deed.reported.or(exit),
            // Called back before it was started, and given again.
            Some(deed) if deed.reported == Some(Exit::NotStarted) => {
                (deed.instance, deed.reported) = (report.instance, exit);
            }
            Some(_) => self.object(step, format!("attempt {attempt} is begun twice")),
            None => {
                let instance = report.instance;
                record.deeds.push(Deed { attempt, instance, is_started: false, exit: None, reported: exit });
            }
        }
    }

    /// It starts a command.
    pub(crate) fn judge_start(&mut self, step: usize, shim: usize, attempt: u32) {
        let record = self.record(step);
        // What nobody could name, nobody could wait for.
        let could_be_seen =
            |shim: usize| record.instance_of(shim).is_none_or(|instance| record.known.contains(&instance));
        let is_beside = self.of_attempts(step).into_iter().any(|left| could_be_seen(self.processes[left].shim));
        if is_beside {
            self.object(step, format!("attempt {attempt} starts beside what an earlier one has left"));
        }
        if let Some(missing) = self.missing_dependency(step) {
            self.object(step, format!("attempt {attempt} starts before its dependency s{missing}"));
        }
        let (phase, newest) = (self.judge.state.phase(id(step)), self.judge.state.attempt(id(step)));
        if (phase.is_end() || newest != attempt) && !self.record(step).was_deaf {
            self.object(step, format!("attempt {attempt} starts, but the step is {phase:?} at attempt {newest}"));
        }
        let record = self.record_mut(step);
        let Some(instance) = record.instance_of(shim) else { return };
        if !record.given.contains(&(instance, attempt)) {
            return self.object(step, format!("attempt {attempt} was given to nobody, or to another instance"));
        }
        if record.called_back.contains(&(instance, attempt)) {
            return self.object(step, format!("attempt {attempt} starts after it was called back"));
        }
        let found = record.deeds.iter_mut().find(|deed| deed.attempt == attempt);
        match found {
            Some(deed) if deed.is_started => self.object(step, format!("attempt {attempt} is started twice")),
            Some(deed) => deed.is_started = true,
            None => self.object(step, format!("attempt {attempt} starts and no report says so")),
        }
    }

    /// A step that it depends on and that has not done what it should have.
    fn missing_dependency(&self, step: usize) -> Option<usize> {
        let plan = &self.case.plan;
        let missing = plan.steps[step].depends_on.iter().find(|dependency| {
            let other = dependency.step.index();
            let record = self.record(other);
            let newest = record.newest();
            let is_well = newest.is_some_and(|deed| deed.reported == Some(Exit::Code(exit::OK)));
            let is_over = self.judge.state.phase(dependency.step).is_end();
            match dependency.condition {
                Condition::Started => newest.is_none(),
                Condition::Succeeded | Condition::Ready => !(is_well || (is_over && plan.steps[other].allow_failure)),
                Condition::Failed => !is_over || (is_well && !self.may_fail_though_well(other)),
                Condition::Completed => !is_over,
            }
        });
        missing.map(|dependency| dependency.step.index())
    }

    /// Something else than its command's end may count.
    fn may_fail_though_well(&self, step: usize) -> bool {
        let record = self.record(step);
        record.was_stopped || record.was_deaf || self.case.plan.steps[step].timeout.is_some()
    }

    /// It ends by itself.
    pub(crate) fn judge_exit(&mut self, step: usize, code: u8) {
        let turn = self.turn(step);
        let shim = self.containers[step].shim;
        let record = self.record(step);
        let instance = shim.and_then(|shim| record.instance_of(shim));
        let mine = turn.run == RUN && turn.instance == instance && turn.attempt.is_none();
        if let Then::Exit { code: wanted, .. } = turn.then
            && mine
            && wanted != code
        {
            return self.object(step, format!("its turn says exit {wanted}, and it exits {code}"));
        }
        // Of the command that ended last: an attempt that was called back before it was started has none.
        let own = record.deeds.iter().rev().filter(|deed| Some(deed.instance) == instance).find_map(|deed| deed.exit);
        let allowed = [own.map(Exit::code), Some(exit::SHIM_FAILED), Some(exit::CANCELLED), Some(exit::TIMED_OUT)];
        let is_told = mine && matches!(turn.then, Then::Exit { .. });
        let is_start_error = record.deeds.iter().any(|deed| matches!(deed.reported, Some(Exit::StartError { .. })));
        if !is_told && !is_start_error && !allowed.contains(&Some(code)) {
            self.object(step, format!("it exits {code}, and nobody knows why: its command's end is {own:?}"));
        }
    }

    // --- what a coordinator does ---

    /// It writes a turn.
    pub(crate) fn judge_turn(&mut self, step: usize, turn: &Turn) {
        let wanted = self.judge.state.turn_for(id(step));
        if (wanted.attempt, &wanted.then, wanted.instance) != (turn.attempt, &turn.then, turn.instance) {
            self.object(step, "a turn that does not follow from the journal");
        }
        let record = self.record_mut(step);
        if turn.turn < record.newest_turn {
            return self.object(step, "a turn's number falls");
        }
        record.newest_turn = turn.turn;
        if let (Some(instance), Some(attempt)) = (turn.instance, turn.attempt) {
            record.given.insert((instance, attempt));
            if !record.arrivals.contains(&instance) {
                self.object(step, "an attempt for an instance whose arrival is not in the journal");
            }
        }
    }

    /// It journals an event.
    pub(crate) fn judge_event(&mut self, event: &Event) {
        let ended_before: Vec<bool> = self.phases().iter().map(|phase| phase.is_end()).collect();
        if let Err(impossible) = self.judge.state.next(event) {
            self.wrong.get_or_insert(format!("the journal cannot be: {impossible}"));
            return;
        }
        if let Some(step) = event.kind.step().map(|step| step.index()) {
            self.judge_kind(step, &event.kind);
        }
        for (step, phase) in self.phases().into_iter().enumerate() {
            if phase.is_end() && !ended_before[step] {
                self.judge_end_of_step(step, phase);
            }
        }
    }

    fn phases(&self) -> Vec<Phase> {
        (0..self.containers.len()).map(|step| self.judge.state.phase(id(step))).collect()
    }

    fn judge_kind(&mut self, step: usize, kind: &Kind) {
        match *kind {
            Kind::Arrived { instance, .. } => {
                if self.record(step).process_of(instance).is_none() {
                    return self.object(step, "somebody has arrived who never was");
                }
                self.record_mut(step).arrivals.insert(instance);
            }
            Kind::Ended { instance, attempt, .. } => drop(self.record_mut(step).told.insert((instance, attempt))),
            Kind::Connected { instance, .. } => drop(self.record_mut(step).known.insert(instance)),
            Kind::Lost { instance, survivors, .. } => {
                self.record_mut(step).survivors |= survivors;
                self.judge_loss(step, instance, survivors);
            }
            Kind::NotBegun { instance, attempt, .. } => {
                // Its begin may have been written after the last look; then it is never started (S6).
                let is_started = self.record(step).deeds.iter().any(|deed| deed.attempt == attempt && deed.is_started);
                if is_started {
                    self.object(step, format!("attempt {attempt} counts as not begun, and its command was started"));
                }
                self.record_mut(step).called_back.insert((instance, attempt));
            }
            _ => {}
        }
    }

    /// Rule C6: dead, nothing left, and every word of it read.
    fn judge_loss(&mut self, step: usize, instance: InstanceId, survivors: bool) {
        let record = self.record(step);
        let Some(shim) = record.process_of(instance) else { return self.object(step, "lost, who never was") };
        let lives = self.exists(shim) || !self.descendants(shim).is_empty();
        let is_seen = self.case.visible && !record.was_deaf && record.known.contains(&instance);
        // A step that has ended is told no more, and a step without an attempt leaves nothing.
        if lives && !survivors && is_seen && !self.judge.state.phase(id(step)).is_end() {
            return self.object(step, "its shim counts as lost, and something of it lives");
        }
        let has_lock = self.lock(step).is_some_and(|(_, holder)| holder == shim);
        if self.exists(shim) && (is_seen || (has_lock && !record.was_deaf)) {
            return self.object(step, "its shim counts as lost, and lives");
        }
        if self.judge.state.phase(id(step)).is_end() {
            return; // it was judged before, and what it says now changes nothing
        }
        let record = self.record(step);
        let is_unread = |deed: &&Deed| {
            deed.instance == instance && deed.reported.is_some() && !record.told.contains(&(instance, deed.attempt))
        };
        if let Some(deed) = record.deeds.iter().find(is_unread) {
            let attempt = deed.attempt;
            self.object(step, format!("lost before the end of attempt {attempt} was read"));
        }
    }

    /// The conclusion against what really happened.
    fn judge_end_of_step(&mut self, step: usize, phase: Phase) {
        let record = self.record(step);
        let reason = self.judge.state.reason(id(step));
        let is_gone_for_sure = !record.survivors && !record.was_deaf;
        let running = self.of_attempts(step).into_iter().any(|entry| {
            let shim = self.processes[entry].shim;
            self.containers[step].command.as_ref().is_some_and(|command| command.entry == entry)
                || (self.exists(shim) && reason == Some(Reason::ShimLost))
        });
        if running && is_gone_for_sure {
            return self.object(step, format!("{phase:?} ({reason:?}), and its command runs"));
        }
        let newest = record.newest();
        let reported = newest.and_then(|deed| deed.reported);
        let fits = match reason {
            Some(Reason::Completed) => reported == Some(Exit::Code(exit::OK)),
            Some(Reason::ExitCode) => matches!(reported, Some(Exit::Code(code)) if code != exit::OK),
            Some(Reason::Signal) => matches!(reported, Some(Exit::Signal { .. })),
            Some(Reason::StartError) => matches!(reported, Some(Exit::StartError { .. })),
            Some(Reason::ShimLost) => {
                // It may have been lost before a further attempt: one before that was timed out is no witness.
                reported != Some(Exit::Code(exit::OK)) || self.may_fail_though_well(step)
            }
            Some(Reason::NeverArrived) => !record.arrived_before_wake || !record.arrivals.is_empty(),
            Some(Reason::CancelRequested) => self.judge.was_cancelled,
            Some(Reason::Interrupted) => record.was_stopped,
            Some(Reason::TimedOut) => self.case.plan.steps[step].timeout.is_some(),
            _ => true,
        };
        if !fits {
            return self.object(step, format!("{phase:?} ({reason:?}), but its newest attempt is {newest:?}"));
        }
        if let Some(deed) = newest
            && let (Some(told), Some(real)) = (deed.reported, deed.exit)
            && told.code() != real.code()
        {
            self.object(step, format!("reported {told:?}, really {real:?}"));
        }
        self.judge_retries(step, phase, reason);
    }

    /// A failure of its command is retried as often as the plan says.
    fn judge_retries(&mut self, step: usize, phase: Phase, reason: Option<Reason>) {
        let plan = &self.case.plan;
        let is_alone = !self.judge.was_cancelled && plan.timeout.is_none() && !self.record(step).was_stopped;
        let is_free = plan.on_failure == podturn_turn::OnFailure::Continue && is_alone;
        let has_tried = self.judge.state.attempt(id(step));
        let may_try = plan.steps[step].retry.limit + 1;
        if has_tried > may_try {
            self.object(step, format!("{has_tried} attempts of {may_try}"));
        } else if is_free && phase == Phase::Failed && reason == Some(Reason::ExitCode) && has_tried < may_try {
            self.object(step, format!("given up after {has_tried} attempts of {may_try}"));
        }
    }

    // --- the end ---

    /// Rule C12: the coordinator ends as an ordinary container does.
    pub(crate) fn judge_finish(&mut self, outcome: Outcome) {
        self.judge.finished = Some(outcome);
        for step in 0..self.containers.len() {
            let record = self.record(step);
            let instance = self.containers[step].shim.and_then(|shim| record.instance_of(shim));
            // A coordinator that is told to end waits for nobody whom it does not know.
            let is_known = match self.judge.was_cancelled {
                true => instance.is_some_and(|instance| record.arrivals.contains(&instance)),
                false => record.arrived_before_wake,
            };
            let is_known = is_known && !record.was_deaf;
            if self.containers[step].shim.is_some() && is_known && self.case.shows_deaths() {
                self.object(step, "the coordinator ends, and its shim is still there");
            }
        }
    }

    /// Nothing moves any more. Whoever is still there is parked, or waits for a coordinator that never comes.
    pub(crate) fn judge_still(&mut self, coordinated: bool) {
        for step in 0..self.containers.len() {
            if coordinated && !self.judge.state.phase(id(step)).is_end() {
                self.object(step, format!("nothing moves, and it is {:?}", self.judge.state.phase(id(step))));
            }
            let is_there = self.containers[step].shim.is_some();
            let is_parked = matches!(self.turn(step).then, Then::Park);
            let is_new = !coordinated && self.containers[step].began_at + 125 * SECOND > self.now;
            let may_wait = is_parked || is_new;
            if is_there && !may_wait && !self.record(step).was_deaf {
                self.object(step, "its shim waits for ever");
            }
        }
    }

    /// Nobody has anything left to do.
    pub(crate) fn judge_end(&mut self, outcome: Option<Outcome>) {
        if outcome.is_none() && !self.judge.is_abandoned {
            self.wrong.get_or_insert("no coordinator has finished".to_owned());
        }
        for step in 0..self.containers.len() {
            if self.containers[step].shim.is_some() {
                self.object(step, "its shim is left over");
            }
            if !self.judge.is_abandoned && !self.judge.state.phase(id(step)).is_end() {
                self.object(step, "the run is over, and it is not");
            }
        }
    }
}
