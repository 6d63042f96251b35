//! What the core tells outside: turns for shims, views for people. Pure readings of the state, but for the list of
//! turns that changed.

use alloc::string::String;
use alloc::vec::Vec;
use podturn_wire::{Ended, InstanceId, Text, Then, Turn, exit};

use crate::timers::Timer;
use crate::track::{Attempt, Rest};
use crate::{Condition, Dependency, Outputs, Phase, Reason, Restarts, State, StepId, Time, words};

/// What can be told of a step. Everything a view shows comes from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepView {
    /// Where it is.
    pub phase: Phase,
    /// Why it is there, for steps that have ended (and for `Backoff` and `Stopping`: why).
    pub reason: Option<Reason>,
    /// The same as a sentence that a person understands.
    pub message: String,
    /// Attempts begun or granted so far.
    pub attempts: u32,
    /// The newest instance of its shim, also when it is gone.
    pub instance: Option<InstanceId>,
    /// Whether a container of this step is there now.
    pub arrived: bool,
    /// When its conditions were met.
    pub due_at: Option<Time>,
    /// When its first attempt was begun.
    pub started_at: Option<Time>,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// When the newest attempt became ready for the first time.
    pub ready_at: Option<Time>,
    /// What its command left for others.
    pub outputs: Outputs,
    /// The last attempt's end.
    pub last_end: Option<Ended>,
    /// The code that its container ends with, once it has ended.
    pub container_exit_code: Option<u8>,
    /// When its next attempt is due, in `Backoff`.
    pub next_attempt_at: Option<Time>,
    /// Every attempt that is over, oldest first.
    pub history: Vec<Attempt>,
}

/// What a step that has not got its turn waits for: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Dependencies that are not met yet; how many.
    Dependencies(u32),
    /// A finally step: every other step to end.
    Others,
    /// The value of its `when`.
    When,
    /// A person's approval.
    Approval,
    /// A person who decides what becomes of its failure.
    Decision,
    /// Its container.
    Container,
    /// The end of its backoff.
    Backoff,
    /// All turns are held back: a person has paused the plan, or a failed step waits for one.
    Hold,
    /// A place under `maxParallel`, or units of a pool.
    Slot,
}

impl State {
    /// What the step waits for; `None`: it does not wait for a turn.
    #[must_use]
    pub fn waits_for(&self, step: StepId) -> Option<Waits> {
        let track = self.track(step);
        match track.phase {
            Phase::Awaiting => Some(Waits::Approval),
            Phase::Paused => Some(Waits::Decision),
            Phase::Pending | Phase::Backoff => Some(match track.timer {
                _ if track.unmet > 0 => Waits::Dependencies(track.unmet),
                _ if self.step(step).finally && !self.halt.main_is_over => Waits::Others,
                _ if self.questions.contains(&step) => Waits::When,
                Some((_, Timer::Backoff)) => Waits::Backoff,
                _ if !track.has_container() => Waits::Container,
                _ if self.is_held() => Waits::Hold,
                _ => Waits::Slot,
            }),
            Phase::Granted | Phase::Running | Phase::Ready | Phase::Stopping => None,
            Phase::Succeeded | Phase::Failed | Phase::Skipped | Phase::Omitted | Phase::Cancelled => None,
        }
    }

    /// Whether the condition is met now.
    #[must_use]
    pub fn is_met(&self, dependency: Dependency) -> bool {
        let on = self.track(dependency.step);
        let service = self.step(dependency.step).service;
        match dependency.condition {
            Condition::Started => on.started_at.is_some(),
            Condition::Ready if service => matches!(on.phase, Phase::Ready | Phase::Skipped),
            Condition::Ready | Condition::Succeeded => match on.phase {
                Phase::Succeeded | Phase::Skipped => true,
                phase => phase == Phase::Failed && self.step(dependency.step).allow_failure,
            },
            Condition::Failed => on.phase == Phase::Failed,
            Condition::Completed => on.phase.is_end(),
        }
    }

    /// A step whose desired turn changed since it was last asked for here; grants first. Each is given out once.
    pub fn poll_turn(&mut self) -> Option<StepId> {
        loop {
            let step = self.granted.pop_front().or_else(|| self.changed.pop_front())?;
            if core::mem::take(&mut self.track_mut(step).changed) {
                return Some(step);
            }
        }
    }

    /// The desired content of the step's turn file.
    #[must_use]
    pub fn turn_for(&self, step: StepId) -> Turn {
        let (track, plan) = (self.track(step), self.step(step));
        let then = match track.desired.rest {
            Rest::Stay => Then::Stay,
            Rest::Leave => Then::Exit { code: exit::CANCELLED, message: Text::truncated(words::LEAVES) },
            Rest::Over { leaving: false } if plan.restarts == Restarts::Always => Then::Park, // exiting would make the kubelet run the step again
            Rest::Over { .. } => {
                let message = Text::truncated(&self.message(step));
                Then::Exit { code: self.container_exit_code(step).unwrap_or(exit::OK), message }
            }
        };
        Turn {
            run: self.run,
            instance: track.desired.instance,
            turn: track.turn,
            ack: track.ack,
            attempt: track.desired.attempt,
            then,
            signal: plan.stop_signal,
            grace: track.desired.grace,
            timeout: plan.timeout,
            coordinator_grace: self.plan.coordinator_grace,
            termination_log: Text::truncated(&plan.termination_log),
        }
    }

    /// Makes sure that the step's next turn number is above `turn` (found in a turn file or report that the journal does
    /// not know). If the present one is not, it gets a new number and is given out again.
    pub fn raise_turn(&mut self, step: StepId, turn: u64) {
        let track = self.track_mut(step);
        if turn <= track.turn {
            return;
        }
        track.turn = turn;
        if track.instance.is_some() {
            track.turn = turn.saturating_add(1);
            self.give_out(step);
        }
    }

    /// What can be told of a step.
    #[must_use]
    pub fn view(&self, step: StepId) -> StepView {
        let track = self.track(step);
        StepView {
            phase: track.phase,
            reason: track.reason,
            message: self.message(step),
            attempts: track.attempt,
            instance: track.instance,
            arrived: track.arrived,
            due_at: track.due_at,
            started_at: track.started_at,
            ready_at: track.ready_at,
            outputs: track.outputs.clone(),
            ended_at: track.ended_at,
            last_end: track.last_end(),
            container_exit_code: self.container_exit_code(step),
            next_attempt_at: track.timer.filter(|(_, timer)| *timer == Timer::Backoff).map(|(at, _)| at),
            history: track.attempts.clone(),
        }
    }

    /// Whether a person has paused the plan.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.halt.paused
    }

    /// The units of a pool (an index into [`crate::Plan::pools`]) that are held now.
    #[must_use]
    pub fn pool_in_use(&self, pool: usize) -> u32 {
        self.plan.pools[pool].capacity.saturating_sub(self.slots.free_units(pool))
    }

    /// The table of exit codes, from its last row upwards.
    fn container_exit_code(&self, step: StepId) -> Option<u8> {
        let track = self.track(step);
        let own = track.last_end().map_or(exit::OK, |ended| ended.exit.code());
        match (track.phase, track.reason) {
            (Phase::Succeeded | Phase::Skipped | Phase::Omitted, _) => Some(exit::OK),
            (Phase::Cancelled, _) => Some(exit::CANCELLED),
            (Phase::Failed, _) if self.step(step).allow_failure => Some(exit::OK),
            (Phase::Failed, Some(Reason::TimedOut)) => Some(exit::TIMED_OUT),
            (Phase::Failed, _) if own == exit::OK => Some(exit::FAILED),
            // With this code it would be started again, for ever.
            (Phase::Failed, _) if own == exit::KILLED && self.step(step).restarts == Restarts::WhenKilled => {
                Some(exit::FAILED)
            }
            (Phase::Failed, _) => Some(own),
            (Phase::Pending | Phase::Awaiting | Phase::Granted | Phase::Running | Phase::Ready, _) => None,
            (Phase::Backoff | Phase::Paused | Phase::Stopping, _) => None,
        }
    }

    /// Numbers the turns that this event changed: the end of settling, so that one event makes at most one turn a step.
    pub(crate) fn note_turns(&mut self) {
        let mut touched = core::mem::take(&mut self.touched);
        let deleted = self.halt.terminating.is_some();
        let grace = self.halt.terminating.map_or(self.plan.grace_period, |budget| budget.stop);
        for step in touched.drain(..) {
            self.work += 1;
            let track = self.track_mut(step);
            let wanted = track.wanted(grace, deleted);
            if wanted != track.desired {
                track.desired = wanted;
                track.turn = track.turn.saturating_add(1);
                self.give_out(step);
            }
        }
        self.touched = touched; // keeps its room for the next event
    }

    fn give_out(&mut self, step: StepId) {
        let track = self.track_mut(step);
        track.changed = true;
        if track.phase == Phase::Granted {
            self.granted.push_back(step);
        } else {
            self.changed.push_back(step);
        }
    }
}
