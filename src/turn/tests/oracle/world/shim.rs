//! The shim's side of the world: it reads its turn, begins, runs a command, reports, and goes (rules S1 to S8).

use podturn_turn::{Kind, Phase, Probed, Restarts, Time};
use podturn_wire::{Ended, Exit, InstanceId, Last, StartStage, Then, Usage};

use super::{Command, Container, FOR_EVER, MS, Report, Shim, World, id};

impl World {
    /// The shim reads its turn file and obeys it (rules S5 to S8).
    pub(super) fn read(&mut self, n: usize) -> Result<(), String> {
        let place = &mut self.places[n];
        let (Container::Up(shim), Some(turn)) = (&mut place.container, &place.turn) else { return Ok(()) };
        shim.read = Some(turn.turn);
        if turn.instance != Some(shim.instance) {
            return Ok(());
        }
        place.report.last = None;
        match (turn.attempt, &mut shim.command) {
            (Some(wanted), Some(_)) if wanted != shim.begun => {
                return Err(format!("step {n} is told to run attempt {wanted} while attempt {} runs", shim.begun));
            }
            (Some(wanted), None) if wanted > shim.begun => {
                shim.begun = wanted;
                shim.about_to_start = true;
                place.has_begun = true;
                shim.reports += 1;
                place.report =
                    Report { own: Some(Last { attempt: wanted, started_at: self.now, ended: None }), last: None };
                place.mail.push_back(Kind::Begun {
                    step: id(n),
                    instance: shim.instance,
                    report: shim.reports,
                    attempt: wanted,
                    started_at: self.now,
                });
            }
            (Some(_), _) => {}
            (None, Some(command)) => {
                let stopped = self.now + self.tape.draw(12_000) as Time * MS;
                if stopped < command.ends_at {
                    command.ends_at = stopped;
                    command.exit =
                        self.tape.pick(&[Exit::Signal { number: 15, oom: false }, Exit::Code(0), Exit::Code(3)]);
                    command.timed_out = false;
                }
            }
            (None, None) => {
                if let Then::Exit { code, .. } = turn.then {
                    self.leave(n, false, code);
                }
            }
        }
        Ok(())
    }

    /// Rule S6: the turn is read once more between 'begun' and the start of the command.
    pub(super) fn start(&mut self, n: usize) -> Result<(), String> {
        let place = &mut self.places[n];
        let Container::Up(shim) = &mut place.container else { return Ok(()) };
        shim.about_to_start = false;
        let wanted = place.turn.as_ref().filter(|t| t.instance == Some(shim.instance)).and_then(|t| t.attempt);
        if wanted == Some(shim.begun) {
            let attempt = shim.begun;
            if place.started.contains(&attempt) {
                return Err(format!("attempt {attempt} of step {n} is started twice"));
            }
            place.started.push(attempt);
            let command = self.new_command(n);
            if let Container::Up(shim) = &mut self.places[n].container {
                shim.command = Some(command);
                shim.readiness = None;
            }
            self.check_start(n)
        } else {
            let command = Command { started_at: self.now, ends_at: self.now, exit: Exit::NotStarted, timed_out: false };
            shim.command = Some(command);
            Ok(())
        }
    }

    /// How the command will go, if nobody stops it.
    fn new_command(&mut self, n: usize) -> Command {
        let exits = [
            Exit::Code(0),
            Exit::Code(0),
            Exit::Code(0),
            Exit::Code(0),
            Exit::Code(1),
            Exit::Code(3),
            Exit::Code(42),
            Exit::Signal { number: 11, oom: false },
            Exit::Signal { number: 9, oom: true },
            Exit::StartError { stage: StartStage::Exec, errno: 2 },
            Exit::StartError { stage: StartStage::Exec, errno: 13 },
        ];
        let exit = if self.is_calm && self.tape.draw(4) < 3 { Exit::Code(0) } else { self.tape.pick(&exits) };
        let takes = match exit {
            Exit::StartError { .. } => 0,
            Exit::Code(0) if self.plan.steps[n].service && self.tape.draw(4) < 3 => FOR_EVER,
            _ => self.tape.draw(10_000) as Time * self.tape.pick(&[MS, MS, 10 * MS, 100 * MS]),
        };
        let started_at = self.places[n].report.own.map_or(self.now, |own| own.started_at);
        let mut command = Command { started_at, ends_at: self.now.saturating_add(takes), exit, timed_out: false };
        if let Some(limit) = self.plan.steps[n].timeout {
            let limit = started_at + limit * MS;
            if command.ends_at > limit {
                command.ends_at = self.now.max(limit) + self.tape.draw(100) as Time * MS;
                command.timed_out = true;
                command.exit = self.tape.pick(&[Exit::Signal { number: 15, oom: false }, Exit::Code(0)]);
            }
        }
        command
    }

    /// Whether the next thing that is found out about the command's readiness is due. One that is ready stays so, but for a fault.
    pub(super) fn can_probe(&self, n: usize, shim: &Shim) -> bool {
        let Some(readiness) = &self.plan.steps[n].readiness else { return false };
        // The coordinator tries what it knows to run.
        let known = !readiness.probe.is_network()
            || (self.state.phase(id(n)) == Phase::Running && self.state.view(id(n)).instance == Some(shim.instance));
        shim.command.is_some() && known && matches!(shim.readiness, None | Some(Probed::Unready))
    }

    pub(super) fn probe(&mut self, n: usize) -> Result<(), String> {
        let found = self.tape.pick(&[Probed::Ready, Probed::Ready, Probed::Ready, Probed::NotReady]);
        let Container::Up(shim) = &self.places[n].container else { return Ok(()) };
        let was_ready = shim.readiness.is_some();
        self.found(n, if was_ready { Probed::Ready } else { found })
    }

    /// A readiness is found: told at once by the coordinator, which tries network probes, or in a report.
    pub(super) fn found(&mut self, n: usize, readiness: Probed) -> Result<(), String> {
        let by_the_shim = self.plan.steps[n].readiness.as_ref().is_some_and(|r| !r.probe.is_network());
        let place = &mut self.places[n];
        let Container::Up(shim) = &mut place.container else { return Ok(()) };
        shim.readiness = Some(readiness);
        shim.reports += u64::from(by_the_shim);
        let report = if by_the_shim { shim.reports } else { 0 };
        let (instance, attempt) = (shim.instance, shim.begun);
        let kind =
            Kind::Probed { step: id(n), instance, report, attempt, probed_at: self.now, readiness, why: String::new() };
        if by_the_shim {
            place.mail.push_back(kind);
            return Ok(());
        }
        self.tell(kind)
    }

    /// The command has ended, and the shim writes it down (rule S7).
    pub(super) fn end(&mut self, n: usize) {
        let place = &mut self.places[n];
        let Container::Up(shim) = &mut place.container else { return };
        let Some(command) = shim.command.take() else { return };
        let has_run = matches!(command.exit, Exit::Code(_) | Exit::Signal { .. });
        shim.reports += 1;
        shim.read = None;
        let ended = Ended {
            at: command.ends_at,
            exit: command.exit,
            timed_out: command.timed_out,
            usage: Usage { cpu: 1, max_rss: 1 },
        };
        let started_at = place.report.own.map_or(command.started_at, |own| own.started_at);
        place.report.own = Some(Last { attempt: shim.begun, started_at, ended: Some(ended) });
        place.mail.push_back(Kind::Ended {
            step: id(n),
            instance: shim.instance,
            report: shim.reports,
            attempt: shim.begun,
            started_at,
            ended,
        });
        place.outputs.clear();
        if has_run {
            self.leave_outputs(n);
        }
    }

    /// A new instance arrives (rules S1 to S3). It overwrites what nobody has read yet of the one before, so that only `last` tells it.
    pub(super) fn create(&mut self, n: usize) {
        self.instances += 1;
        let instance = InstanceId(self.instances);
        let place = &mut self.places[n];
        let last = place.report.own.or(place.report.last);
        place.report = Report { own: None, last };
        place.called_back = None;
        place.mail.retain(|kind| matches!(kind, Kind::Lost { .. }));
        if self.tape.chance(2) {
            // The new one is noticed before the end of the old one's connection.
            let late = std::mem::take(&mut place.mail);
            place.mail.push_back(Kind::Arrived {
                step: id(n),
                instance,
                report: 1,
                last,
                references: place.references.clone(),
            });
            place.mail.extend(late);
        } else {
            place.mail.push_back(Kind::Arrived {
                step: id(n),
                instance,
                report: 1,
                last,
                references: place.references.clone(),
            });
        }
        place.container = Container::Up(Shim {
            instance,
            reports: 1,
            read: None,
            begun: 0,
            about_to_start: false,
            command: None,
            readiness: None,
        });
    }

    /// The shim was killed, and with it its command.
    pub(super) fn kill(&mut self, n: usize, survivors: bool) {
        self.leave(n, survivors, 137);
    }

    /// The shim is gone with this code, and with it its command.
    fn leave(&mut self, n: usize, survivors: bool, code: u8) {
        let comes = match self.tape.draw(6) {
            5 => None,
            _ if self.is_deleted => None,
            _ => Some(self.now + self.tape.draw(30_000) as Time * MS),
        };
        let restarts = match self.plan.steps[n].restarts {
            Restarts::Always => true,
            Restarts::WhenKilled => code == 137,
            Restarts::Never => false,
        };
        let place = &mut self.places[n];
        let next = if restarts { Container::Absent(comes) } else { Container::Gone };
        let Container::Up(shim) = std::mem::replace(&mut place.container, next) else { return };
        place.dead.push(shim.instance);
        place.mail.push_back(Kind::Lost { step: id(n), instance: shim.instance, survivors });
    }
}
