//! Moments in which nobody has anything to do but to look, which are many where there are no bells.
//!
//! Belongs here: which of them are no choices, and when nothing will ever happen. Does not belong here: what happens.

use podturn_turn::Time;

use crate::play::{Actor, Pause, Play};
use crate::pod::{MILLISECOND, Pod};
use crate::{desk, shim};

/// Where nobody has bells, nobody does anything any more if for so long nobody did more than look and touch: longer than any
/// silence that means something, which is 3 s and a look.
const STILL_FOR: Time = 3_500 * MILLISECOND;

/// What becomes of a moment in which nobody has anything to do but to look.
pub(crate) enum Quiet {
    /// It is none.
    No,
    /// This one looks, and sees nothing new.
    Look(Actor),
    /// Time passes until the next look.
    Time,
    /// Nothing will ever happen.
    Still,
}

impl Play {
    /// Looks that show nothing are no choices: each would be one more place for the same story. Of the time in which there
    /// is nothing else one moment is a choice, and then again whenever somebody has seen a touch.
    pub(crate) fn quiet(&self) -> Quiet {
        let pod = self.pod.borrow();
        if pod.case.has_bells() || pod.due_command().is_some() {
            return Quiet::No;
        }
        let actors = std::iter::once(Actor::Coordinator).chain((0..self.shims.len()).map(Actor::Shim));
        let mut able = actors.filter(|actor| self.can_go(&pod, *actor));
        if let Some(first) = able.next() {
            let is_nothing = self.sees_nothing(&pod, first) && able.all(|actor| self.sees_nothing(&pod, actor));
            return if is_nothing { Quiet::Look(first) } else { Quiet::No };
        }
        let (event, look) = (self.next_time(&pod), self.next_look(&pod));
        match (event, look) {
            (None, _) if pod.now > pod.busy_at + STILL_FOR => Quiet::Still,
            (event, Some(look)) if !self.is_fresh && event.is_none_or(|event| look < event) => Quiet::Time,
            _ => Quiet::No,
        }
    }

    /// Whether this actor, which can go, would only look, and see nothing new.
    fn sees_nothing(&self, pod: &Pod, actor: Actor) -> bool {
        let is_open = |until: &Option<Time>| until.is_none_or(|at| at > pod.now);
        match actor {
            Actor::Coordinator => match &self.coordinator {
                Some((_, Pause::Look(until, _))) => is_open(until) && desk::is_nothing_new(pod),
                _ => false,
            },
            Actor::Shim(step) => match &self.shims[step] {
                Some((_, Pause::Look(until, _), _)) => is_open(until) && shim::is_nothing_new(pod, step),
                _ => false,
            },
        }
    }

    pub(crate) fn next_look(&self, pod: &Pod) -> Option<Time> {
        let due = |pause: &Pause| match pause {
            Pause::Look(_, due) => Some(*due),
            _ => None,
        };
        let coordinator = self.coordinator.iter().filter_map(|(_, pause)| due(pause));
        let shims = self.shims.iter().flatten().filter_map(|(_, pause, _)| due(pause));
        coordinator.chain(shims).filter(|at| *at > pod.now).min()
    }
}
