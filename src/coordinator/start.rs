//! Recovery, and the first start, which is the same with an empty journal (rule C2): replay, read every mailbox, judge
//! deadlines, write the turns that differ. The rings follow as the shims connect.

use podturn_turn::{Event, Kind, Plan, State, StepId};
use podturn_wire::RunId;

use super::desk::{Coordinator, Failure, RECONNECT_WINDOW};
use super::world::World;

impl<W: World> Coordinator<W> {
    /// Takes up a run where its journal ends. `rebooted`: the node was, since the last start.
    ///
    /// # Errors
    /// A [`Failure`] when the journal does not fit the plan, or cannot be written.
    pub fn start(world: W, plan: Plan, run: RunId, journal: &[Event], rebooted: bool) -> Result<Self, Failure> {
        let mut desk = Self::new(world, State::new(plan, run));
        desk.replay(journal)?;
        let rebooted = rebooted && !journal.is_empty();
        if rebooted {
            desk.read_before_reboot();
        }
        desk.tell_start(rebooted);
        for step in desk.steps() {
            desk.read(step);
        }
        desk.apply()?;
        let now = desk.world.now();
        if desk.state.next_deadline().is_some_and(|at| at <= now) {
            desk.tell(Kind::Deadline); // every mailbox was read just now
            desk.apply()?;
        }
        while desk.state.poll_turn().is_some() {} // all turns are compared below
        desk.steps().for_each(|step| desk.make_current(step));
        desk.settle()?;
        Ok(desk)
    }

    fn steps(&self) -> impl Iterator<Item = StepId> + use<W> {
        (0..self.seats.len() as u32).map(StepId)
    }

    fn replay(&mut self, journal: &[Event]) -> Result<(), Failure> {
        for event in journal {
            self.state.next(event)?;
            self.note(&event.kind);
        }
        Ok(())
    }

    /// What the mailboxes say of the time before the reboot is told as of that time. A report of an instance that the
    /// journal does not know may be from either side of it, but the attempt that it remembers is from before.
    fn read_before_reboot(&mut self) {
        let before = self.state.now();
        for step in self.steps() {
            let Some(report) = self.read_report(step) else { continue };
            let seat = &self.seats[step.index()];
            let Some(instance) = seat.told.present() else { continue };
            let last = if report.instance == instance { report.as_last() } else { report.last };
            let news = last
                .filter(|last| last.attempt == self.state.attempt(step))
                .and_then(|last| seat.told.news_of(step, instance, 0, last));
            news.into_iter().for_each(|kind| self.tell_at(kind, before));
        }
    }

    fn tell_start(&mut self, rebooted: bool) {
        let kind = Kind::CoordinatorStarted { rebooted };
        match rebooted {
            // The clock began anew: the one event that may be earlier than the one before.
            true => {
                let now = self.world.now();
                self.tell_at(kind, now);
            }
            false => self.tell(kind),
        }
    }

    /// Writes the step's turn if it differs from what lies there. Its number is not below any that turn or report show: a
    /// power cut may have kept a turn and lost the end of the journal, and answers count by numbers.
    fn make_current(&mut self, step: StepId) {
        let there = self.world.read_turn(step).filter(|turn| turn.run == self.state.run());
        let shown = self.read_report(step);
        let newest = there.as_ref().map_or(0, |turn| turn.turn).max(shown.map_or(0, |report| report.turn));
        let mut wanted = self.state.turn_for(step);
        if newest > wanted.turn {
            self.state.raise_turn(step, newest);
            wanted = self.state.turn_for(step);
        }
        if there.as_ref() != Some(&wanted) {
            self.deliver(step);
        } else {
            self.call_back(step);
        }
        self.await_present(step);
    }

    /// Whoever the journal or a report shows should connect within the window (rule C9). A process that is dead by now
    /// never will: it is examined at once.
    fn await_present(&mut self, step: StepId) {
        let now = self.world.now();
        let seat = &self.seats[step.index()];
        if let Some(instance) = seat.told.present().filter(|_| seat.present_link().is_none()) {
            let process = seat.told.process(instance).cloned();
            let is_dead = process.is_some_and(|process| !self.world.is_alive(&process));
            let at = if is_dead { now } else { now + RECONNECT_WINDOW };
            self.seats[step.index()].examine_at = Some(at);
        }
        self.rearm(step);
    }
}
