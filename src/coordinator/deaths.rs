//! How an end is told from a silence (rules C4, C6, C9, C10).
//!
//! A step is judged lost only when its shim is dead by the kernel's word, nothing of its process tree lives, and its last
//! report was read. Whatever cannot be seen is waited for, but never without a limit.

use podturn_turn::{Kind, StepId, Time};
use podturn_wire::{InstanceId, Report};

use super::desk::{Coordinator, RECONNECT_WINDOW, SECOND};
use super::seat::Burial;
use super::world::{Link, World};

/// How soon after the first look at a dead shim's tree the second one comes; then twice that, and so on.
const FIRST_PAUSE: Time = 1_000_000;
/// How soon after a SIGKILL that no connection will tell the end of somebody looks.
const KILL_PAUSE: Time = SECOND / 100;
/// The longest pause between two looks.
const LONGEST_PAUSE: Time = SECOND / 4;
/// For how many windows somebody who may live is waited for: as long as for the answer to a turn. A machine that stands
/// still for a few seconds must not cost a step.
const WINDOWS: u32 = 10;
/// Beyond the grace period, for a shim that should end and cannot be ended from here.
const MARGIN: Time = 5 * SECOND;

impl<W: World> Coordinator<W> {
    /// The end of a connection is a death only if the process is dead as well: it can end while both sides live, and it
    /// ends a little before a dying process is dead.
    pub(super) fn handle_end_of_line(&mut self, step: StepId, link: Link) {
        let dead = self.world.is_peer_dead(link);
        let now = self.world.now();
        let seat = &mut self.seats[step.index()];
        let Some(line) = seat.lines.iter_mut().find(|line| line.link == link) else { return };
        line.ended = true;
        let instance = line.instance;
        if dead {
            self.handle_death(step, link);
        } else if instance.is_some() && instance == seat.told.present() && seat.present_link().is_none() {
            seat.examine_at = Some(now + RECONNECT_WINDOW);
        } else if instance.is_none() {
            self.forget(step, link); // nobody who said a word
        }
    }

    /// The process of an ended connection is dead. Its last report may be unread, its arrival included.
    pub(super) fn handle_death(&mut self, step: StepId, link: Link) {
        let instance =
            self.seats[step.index()].lines.iter().find(|line| line.link == link).and_then(|line| line.instance);
        self.forget(step, link);
        self.read(step);
        let present = self.seats[step.index()].told.present();
        if let Some(instance) = instance.filter(|instance| present == Some(*instance)) {
            if self.state.phase(step).is_end() {
                self.lose(step, instance, false); // it was judged by its report, and nothing of it begins again
            } else {
                self.bury(step, instance);
            }
        }
    }

    fn forget(&mut self, step: StepId, link: Link) {
        self.seats[step.index()].lines.retain(|line| line.link != link);
        self.world.hang_up(link);
    }

    /// A new instance has reported (rule C4). It proves the old one dead, but not what the old one left behind: until that
    /// is gone, the arrival is not told, and so gets no turn.
    pub(super) fn is_held_up(&mut self, step: StepId, report: &Report) -> bool {
        let seat = &self.seats[step.index()];
        let Some(old) = seat.told.present().filter(|_| seat.told.is_arrival(report)) else { return false };
        self.tree_lives(step, old)
    }

    /// The instance is dead: judge it, once its tree is.
    fn bury(&mut self, step: StepId, instance: InstanceId) {
        let seat = &mut self.seats[step.index()];
        (seat.examine_at, seat.unanswered) = (None, None);
        if !self.tree_lives(step, instance) {
            self.conclude(step, instance, false);
        }
    }

    /// Whether something of the instance's tree lives; if so, the wait for it begins. A step that has ended was judged by
    /// its report, and nothing of it begins again: nobody has to look.
    fn tree_lives(&mut self, step: StepId, instance: InstanceId) -> bool {
        if self.seats[step.index()].burial.is_some() {
            return true;
        }
        if self.state.phase(step).is_end() {
            return false;
        }
        let Some(process) = self.seats[step.index()].told.process(instance).cloned() else { return false };
        if !self.world.sweep(&process) {
            return false;
        }
        let now = self.world.now();
        let until = now + self.grace();
        let next_at = now + FIRST_PAUSE;
        let burial = Burial { instance, process, until, next_at, pause: FIRST_PAUSE };
        let seat = &mut self.seats[step.index()];
        // Nobody else gives the instance up: at the latest in a grace period its end is judged by what the next one remembers.
        (seat.burial, seat.give_up_at) = (Some(burial), None);
        true
    }

    pub(super) fn handle_burial(&mut self, step: StepId, now: Time) {
        let Some(burial) = self.seats[step.index()].burial.as_mut().filter(|burial| burial.next_at <= now) else {
            return;
        };
        let lives = self.world.sweep(&burial.process);
        if lives && now < burial.until {
            burial.pause = (burial.pause * 2).min(LONGEST_PAUSE);
            burial.next_at = now + burial.pause;
            return;
        }
        let instance = burial.instance;
        self.seats[step.index()].burial = None;
        self.conclude(step, instance, lives);
    }

    /// Tells what the instance, or the one after it, still had to say, and then that it is lost.
    fn conclude(&mut self, step: StepId, instance: InstanceId, survivors: bool) {
        let newcomer = self.read_report(step).filter(|report| report.instance != instance);
        match newcomer {
            None => {
                self.take_in(step);
                self.lose(step, instance, survivors);
            }
            Some(newcomer) if survivors => {
                let told = &self.seats[step.index()].told;
                let last = newcomer.last.filter(|last| last.attempt == self.state.attempt(step));
                let news = last.and_then(|last| told.news_of(step, instance, 0, last));
                news.into_iter().for_each(|kind| self.tell(kind));
                self.lose(step, instance, true);
                self.take_in(step);
            }
            Some(_) => self.take_in(step), // the arrival says it all
        }
    }

    fn lose(&mut self, step: StepId, instance: InstanceId, survivors: bool) {
        let seat = &mut self.seats[step.index()];
        (seat.examine_at, seat.unanswered, seat.give_up_at) = (None, None, None);
        if seat.told.present() == Some(instance) {
            self.tell(Kind::Lost { step, instance, survivors });
        }
    }

    /// An instance that no connection names (rule C9).
    pub(super) fn handle_missing(&mut self, step: StepId, now: Time) {
        let seat = &mut self.seats[step.index()];
        if seat.examine_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let Some(instance) = seat.told.present().filter(|_| seat.present_link().is_none()) else { return };
        let process = seat.told.process(instance).cloned();
        match process {
            Some(process) if !self.world.is_alive(&process) => self.bury(step, instance),
            _ if self.seats[step.index()].windows < WINDOWS => {
                let seat = &mut self.seats[step.index()];
                seat.windows += 1;
                seat.examine_at = Some(now + RECONNECT_WINDOW);
            }
            _ => self.handle_deafness(step, now),
        }
    }

    /// The present instance does not answer (rule C10). It is ended from here where that is allowed, and judged once it is
    /// gone; where not, its attempt is called back, and given up after a bound.
    pub(super) fn handle_deafness(&mut self, step: StepId, now: Time) {
        let seat = &self.seats[step.index()];
        let Some(instance) = seat.told.present() else { return };
        let name = &self.state.plan().steps[step.index()].name;
        tracing::warn!(step = name, %instance, "the shim does not answer");
        let process = seat.told.process(instance).cloned();
        if process.is_some_and(|process| self.world.kill(&process)) {
            // Its connection ends, if it has one; if not, somebody has to look.
            if self.seats[step.index()].present_link().is_none() {
                self.seats[step.index()].examine_at = Some(now + KILL_PAUSE);
            }
            let at = now + self.grace() + MARGIN;
            self.seats[step.index()].give_up_at.get_or_insert(at);
        } else if self.state.holds_slot(step) {
            self.tell(Kind::Deaf { step, instance });
            self.seats[step.index()].give_up_at = Some(now + self.grace() + MARGIN);
        } else {
            self.lose(step, instance, false);
        }
    }

    /// What was killed or called back does not end: a frozen process cannot be judged truthfully.
    pub(super) fn handle_hopeless(&mut self, step: StepId, now: Time) {
        let seat = &mut self.seats[step.index()];
        if seat.give_up_at.take_if(|at| *at <= now).is_some()
            && let Some(instance) = seat.told.present()
        {
            self.read(step);
            self.lose(step, instance, true);
        }
    }

    fn grace(&self) -> Time {
        self.state.plan().grace_period.saturating_mul(1_000_000)
    }
}
