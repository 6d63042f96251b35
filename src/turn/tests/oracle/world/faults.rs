//! What a run would rather be without: deaths, restarts, reboots, cancels, late words, a full volume.

use podturn_turn::{Kind, Phase, Probed, Request, State, Time};
use podturn_wire::{Ended, Exit, Usage};

use super::{Container, MS, Place, RUN, Shim, World, id};

impl World {
    /// Something that a run would rather be without.
    pub(super) fn fault(&mut self) -> Result<(), String> {
        let n = self.tape.draw(self.places.len());
        match self.tape.draw(30) {
            16 => self.deaf(n),
            17 => self.fill_the_volume(),
            0..=4 => {
                let survivors = self.tape.chance(8);
                self.kill(n, survivors);
                Ok(())
            }
            5 | 6 => {
                self.stop_from_outside(n);
                Ok(())
            }
            7 | 8 => self.restart_coordinator(),
            9 => self.reboot(),
            10 | 11 => {
                if self.cancels == 3 || !self.tape.chance(2) {
                    return Ok(());
                }
                self.cancels += 1;
                self.request(Request::Cancel)
            }
            18 | 19 | 27 | 28 => self.lose_readiness(n),
            20 => self.decide(n),
            21..=23 => self.ask_for_something(),
            24 => self.untimely_outputs(n),
            25 | 26 => self.delete(),
            12 => self.speak_for_the_dead(n),
            13 => self.read_again(n),
            14 => self.tell(Kind::Deadline),
            _ => {
                self.now += self.tape.draw(60_000) as Time * MS;
                Ok(())
            }
        }
    }

    /// The coordinator tells it once; what comes after it still fits, or is told by nobody.
    fn fill_the_volume(&mut self) -> Result<(), String> {
        if self.is_full || !self.tape.chance(4) {
            return Ok(());
        }
        self.is_full = true;
        self.tell(Kind::VolumeFull)
    }

    /// The coordinator gives up an instance that does not answer. Without an attempt it is not heard of again.
    fn deaf(&mut self, n: usize) -> Result<(), String> {
        let Container::Up(Shim { instance, .. }) = self.places[n].container else { return Ok(()) };
        let view = self.state.view(id(n));
        if !view.arrived || view.instance != Some(instance) {
            return Ok(());
        }
        if matches!(view.phase, Phase::Pending | Phase::Backoff | Phase::Awaiting | Phase::Paused) {
            self.kill(n, false);
        }
        self.tell(Kind::Deaf { step: id(n), instance })
    }

    /// A probe that fails, or one whose word comes after the attempt that it was of.
    fn lose_readiness(&mut self, n: usize) -> Result<(), String> {
        let is_probed = |place: &Place| match &place.container {
            Container::Up(shim) => {
                shim.command.is_some() && matches!(shim.readiness, Some(Probed::Ready | Probed::Unready))
            }
            Container::Absent(_) | Container::Gone => false,
        };
        let probed: Vec<usize> = (0..self.places.len()).filter(|n| is_probed(&self.places[*n])).collect();
        if let Some(n) = probed.get(n % probed.len().max(1)).copied().filter(|_| !self.tape.chance(4)) {
            // Whoever counts should not find the second after it was ready once; it would mean nothing.
            let found = self.tape.pick(&[Probed::Unready, Probed::Unready, Probed::NotReady]);
            return self.found(n, found);
        }
        let view = self.state.view(id(n));
        let Some(instance) = view.instance.filter(|_| self.plan.steps[n].service) else { return Ok(()) };
        let readiness = self.tape.pick(&[Probed::Ready, Probed::Unready, Probed::NotReady]);
        let attempt = view.attempts.saturating_sub(1);
        self.tell(Kind::Probed {
            step: id(n),
            instance,
            report: 0,
            attempt,
            probed_at: self.now,
            readiness,
            why: String::new(),
        })
    }

    /// The runtime sends a stop signal from outside the pod's process namespace.
    fn stop_from_outside(&mut self, n: usize) {
        let place = &mut self.places[n];
        if let Container::Up(shim) = &mut place.container {
            shim.reports += 1;
            place.mail.push_back(Kind::StopSignal {
                step: id(n),
                instance: shim.instance,
                report: shim.reports,
                signal: 15,
            });
        }
    }

    /// The pod is deleted: every container gets its signal at once, and the coordinator hears of it about then.
    fn delete(&mut self) -> Result<(), String> {
        if !self.tape.chance(2) {
            return Ok(());
        }
        self.is_deleted = true;
        for n in 0..self.places.len() {
            if self.tape.chance(2) {
                self.stop_from_outside(n);
                // The signals come before the sign that they are meant for everybody.
                if self.places[n].mail.len() == 1 && self.tape.chance(2) {
                    self.deliver(n)?;
                }
            }
        }
        let grace = self.tape.pick(&[30_000, 10_000, 600_000, 3, 0]);
        self.request(Request::Terminate { grace })
    }

    /// The coordinator dies and its successor replays the journal: turns are a function of the state, so nothing changes.
    fn restart_coordinator(&mut self) -> Result<(), String> {
        let mut state = State::new(self.plan.clone(), RUN);
        for event in &self.journal {
            state.next(event).map_err(|e| format!("replay refuses event {}: {e}", event.seq))?;
        }
        for n in 0..self.places.len() {
            if state.turn_for(id(n)) != self.state.turn_for(id(n)) {
                return Err(format!("after a replay step {n} has another turn"));
            }
            if let Some(turn) = &self.places[n].turn {
                state.raise_turn(id(n), turn.turn);
            }
        }
        if state.next_deadline() != self.state.next_deadline() {
            return Err("after a replay the next deadline is another".into());
        }
        // A new coordinator writes the turns that differ from their files: none does.
        while state.poll_turn().is_some() {}
        self.state = state;
        self.tell(Kind::CoordinatorStarted { rebooted: false })
    }

    /// The node reboots: every process of the run is gone, and the clock begins anew.
    fn reboot(&mut self) -> Result<(), String> {
        if !self.tape.chance(2) {
            return Ok(());
        }
        // "What the mailboxes still tell of before the reboot is told before this, at the time of the event before."
        self.now = self.state.now();
        for n in 0..self.places.len() {
            self.tell_the_report(n)?;
        }
        for n in 0..self.places.len() {
            self.kill(n, false);
            let place = &mut self.places[n];
            place.mail.clear();
            if let Container::Absent(comes) = &mut place.container {
                *comes = comes.map(|_| 20_000 * MS);
            }
        }
        self.now = (1 + self.tape.draw(10_000) as Time) * MS;
        self.tell(Kind::CoordinatorStarted { rebooted: true })
    }

    /// What the step's mailbox holds; on some volumes a reboot takes that away too.
    fn tell_the_report(&mut self, n: usize) -> Result<(), String> {
        let mail = std::mem::take(&mut self.places[n].mail);
        if self.tape.chance(4) {
            return Ok(());
        }
        for kind in mail.into_iter().filter(|kind| !matches!(kind, Kind::Lost { .. })) {
            self.tell_outputs(n, &kind)?;
            self.tell(kind)?;
        }
        Ok(())
    }

    /// The coordinator reads a report that it has read before, also one of an attempt that is over.
    fn read_again(&mut self, n: usize) -> Result<(), String> {
        match self.places[n].heard.clone() {
            Some(kind @ (Kind::Begun { .. } | Kind::Ended { .. })) => self.tell(kind),
            _ => Ok(()),
        }
    }

    /// A word of an instance whose successor is known: it means nothing any more (rules C4 and C5).
    fn speak_for_the_dead(&mut self, n: usize) -> Result<(), String> {
        let place = &self.places[n];
        let known = self.state.view(id(n)).instance;
        let Some(instance) = place.dead.first().copied().filter(|_| known.is_some_and(|k| !place.dead.contains(&k)))
        else {
            return Ok(());
        };
        let attempt = u32::try_from(1 + self.tape.draw(3)).expect("small");
        let (step, report, started_at) = (id(n), 99, self.now);
        let ended = Ended { at: self.now, exit: Exit::Code(0), timed_out: false, usage: Usage::default() };
        let found = |readiness| Kind::Probed {
            step,
            instance,
            report,
            attempt,
            probed_at: started_at,
            readiness,
            why: String::new(),
        };
        let word = match self.tape.draw(6) {
            4 => found(Probed::Ready),
            5 => found(self.tape.pick(&[Probed::Unready, Probed::NotReady])),
            0 => Kind::Lost { step, instance, survivors: false },
            1 => Kind::Begun { step, instance, report, attempt, started_at },
            2 => Kind::Ended { step, instance, report, attempt, started_at, ended },
            _ => Kind::StopSignal { step, instance, report, signal: 15 },
        };
        self.tell(word)
    }
}
