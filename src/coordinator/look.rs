//! Looking where there are no bells (`--bell file`): what is new on the volume becomes what a bell would have told.
//!
//! Belongs here: what counts as a connection, as its end, and as a death, when all that can be seen are files and a lock. Does
//! not belong here: what follows from them (`desk.rs`, `deaths.rs`), which is the same as with bells.
//!
//! A shim takes its lock before it reports, so who reports has one. Where its lock is seen, the kernel says at once when its
//! process is gone; where it is not, because the runtime keeps locks within a container, there is only the report that it touches
//! once a second. A silence is no death: it is the end of a connection whose process may live (rules C9 and C10).

use podturn_turn::{StepId, Time};
use podturn_wire::alive::{BEAT_EVERY, LOOK_EVERY, SILENT_AFTER};
use podturn_wire::{InstanceId, Packet};

use super::desk::Coordinator;
use super::world::{Link, Sight};
use crate::volume::alive::{Holder, Stamp};

/// One coordinator's looks.
pub struct Looks {
    seen: Vec<Seen>,
    next_at: Time,
    beat_at: Time,
}

/// What was seen of one step.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// It was looked at, so what is new has come since then.
    is_known: bool,
    stamp: Option<Stamp>,
    /// When that was new.
    news_at: Time,
    /// The instance that reports, and its connection, once there was a sign of its life.
    instance: Option<InstanceId>,
    line: Option<Line>,
    /// A lock was seen here: then one that is not held any more is a death.
    are_locks_seen: bool,
}

#[derive(Clone, Copy)]
struct Line {
    link: Link,
    /// By its lock, or only by its touches.
    is_locked: bool,
}

impl Looks {
    /// At so many steps, of which nothing was seen yet.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { seen: vec![Seen::default(); steps], next_at: 0, beat_at: 0 }
    }

    /// When to look.
    #[must_use]
    pub const fn next_at(&self) -> Time {
        self.next_at
    }

    /// Looks at those steps of which something has come. Returns what `look` does.
    pub fn look_early<S: Sight>(&mut self, coordinator: &mut Coordinator<S>) -> Vec<Link> {
        let mut new = Vec::new();
        for step in coordinator.world().arrivals() {
            let now = coordinator.world().now();
            new.extend(self.look_at(step, coordinator, now));
        }
        new
    }

    /// Looks at everybody. Returns connections whose processes can be watched.
    pub fn look<S: Sight>(&mut self, coordinator: &mut Coordinator<S>) -> Vec<Link> {
        let now = coordinator.world().now();
        self.next_at = now + LOOK_EVERY;
        if now >= self.beat_at {
            self.beat_at = now + BEAT_EVERY;
            coordinator.world().beat();
        }
        let steps = (0..self.seen.len() as u32).map(StepId);
        steps.filter_map(|step| self.look_at(step, coordinator, now)).collect()
    }

    /// Somebody's witness told of a death under this number. It may be another one's by now: whoever is told of a death and of
    /// an arrival at once may have heard of the arrival first, and the number is used again.
    pub fn died<S: Sight>(&mut self, step: StepId, link: Link, coordinator: &mut Coordinator<S>) {
        let world = coordinator.world();
        if !world.has_witness(link) || !world.is_peer_dead(link) {
            return;
        }
        coordinator.died(step, link);
        let seen = &mut self.seen[step.index()];
        if seen.line.is_some_and(|line| line.link == link) {
            (seen.line, seen.instance) = (None, None);
        }
    }

    fn look_at<S: Sight>(&mut self, step: StepId, coordinator: &mut Coordinator<S>, now: Time) -> Option<Link> {
        let stamp = coordinator.world().stamp(step);
        let seen = &mut self.seen[step.index()];
        let (was_looked_at, is_news) = (std::mem::replace(&mut seen.is_known, true), stamp != seen.stamp);
        if is_news {
            (seen.stamp, seen.news_at) = (stamp, now);
            if let Some(instance) = coordinator.read_report(step).map(|report| report.instance) {
                self.part_from_others(step, instance, coordinator);
            }
        }
        let new = match self.seen[step.index()].line {
            None => self.meet(step, is_news && was_looked_at, coordinator),
            Some(line) => {
                self.check(step, line, coordinator, now);
                None
            }
        };
        if is_news {
            coordinator.looked(step);
        }
        new
    }

    /// Where another instance reports than before (rule C4), the connection of the one before is over.
    fn part_from_others<S: Sight>(&mut self, step: StepId, instance: InstanceId, coordinator: &mut Coordinator<S>) {
        let seen = &mut self.seen[step.index()];
        let Some(before) = seen.instance.replace(instance).filter(|before| *before != instance) else { return };
        if let Some(line) = seen.line.take() {
            let lives = line.is_locked && coordinator.world().holder(step, before) != Holder::Nobody;
            coordinator.world().note_silent(line.link, lives);
            coordinator.ended(step, line.link);
        }
    }

    /// A shim that reports and has no connection gets one, if anything says that it lives, or did a moment ago.
    fn meet<S: Sight>(&mut self, step: StepId, is_touched: bool, coordinator: &mut Coordinator<S>) -> Option<Link> {
        let seen = &mut self.seen[step.index()];
        let instance = seen.instance?;
        let world = coordinator.world();
        let holder = world.holder(step, instance);
        let is_locked = seen.are_locks_seen || holder != Holder::Nobody;
        if !is_locked && !is_touched {
            return None;
        }
        let witness = match holder {
            // The number may have been used again before it was asked for.
            Holder::Process(pid @ 1..) => {
                world.witness(pid).filter(|_| world.holder(step, instance) == holder).map(|witness| (pid, witness))
            }
            _ => None,
        };
        let link = world.keep_seen(step, witness);
        seen.are_locks_seen = is_locked;
        seen.line = Some(Line { link, is_locked });
        coordinator.connected(step, link);
        coordinator.packet(step, link, Packet { instance, hello: true });
        Some(link)
    }

    /// Whether the connection has ended.
    fn check<S: Sight>(&mut self, step: StepId, line: Line, coordinator: &mut Coordinator<S>, now: Time) {
        let seen = &mut self.seen[step.index()];
        let Some(instance) = seen.instance else { return };
        let is_over = match line.is_locked {
            // Where its process can be watched, that alone is the witness.
            true => {
                let world = coordinator.world();
                !world.has_witness(line.link) && world.holder(step, instance) == Holder::Nobody
            }
            false => now.saturating_sub(seen.news_at) > SILENT_AFTER,
        };
        if !is_over {
            return;
        }
        // Of a step that has ended nothing is waited for but that its shim is gone.
        let is_dead = line.is_locked || coordinator.state().phase(step).is_end();
        seen.line = None;
        if is_dead {
            seen.instance = None;
        }
        coordinator.world().note_silent(line.link, !is_dead);
        coordinator.ended(step, line.link);
    }
}
