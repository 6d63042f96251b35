//! The protocol's shim side, as a whole. The tags S1 to S10 are the rules of `docs/protocol.md`.
//!
//! One loop: wait; take signals, then a packet, then what is due. Every change of the outside world is one call of
//! [`Sys`], so whoever runs this over a simulated world can stop it anywhere.

use podturn_wire::{Ended, Exit, Packet, StartStage, TERMINATION_LOG_MAX, Text, Then, Turn, Usage, exit};

use crate::command::{MILLISECOND, Running, after};
use crate::mailbox::Mailbox;
use crate::readiness::{Change, Due, Readiness};
use crate::signals::{self, Held};
use crate::words::{self, Line};
use crate::{Errno, Found, Notice, Received, Sys};

/// How often a lost coordinator is looked for, in ns: often enough to be there when it is back, rarely enough to cost
/// nothing (rule S4).
const CONNECT_EVERY: u64 = 100 * MILLISECOND;

/// How soon it is looked for at first, in ns; then after twice that, up to `CONNECT_EVERY`. In most pods shim and
/// coordinator start together, and whoever comes a moment too early should not pay for it with a whole period.
const CONNECT_SOON: u64 = 5 * MILLISECOND;

/// The shim ends, with this exit code.
struct End(u8);

/// Lives the life of one instance, and returns the exit code of the container.
pub fn run(sys: &mut impl Sys) -> u8 {
    let (mailbox, turn) = match Mailbox::open(sys) {
        Ok(opened) => opened,
        Err(trouble) => {
            sys.say(words::turn_trouble(&trouble).as_str());
            return exit::SHIM_FAILED;
        }
    };
    let now = sys.now();
    let mut shim = Shim {
        sys,
        mailbox,
        bell: Bell { connected: false, retry_at: now, pause: CONNECT_SOON, alone_since: Some(now) },
        grace: turn.coordinator_grace,
        signal: turn.signal,
        termination_log: turn.termination_log,
        running: None,
        held: None,
        parked: false,
        own_code: None,
        oom_before: None,
        oom_before_is_old: false,
        is_clear: false,
    };
    let End(code) = match shim.arrive() {
        Ok(()) => shim.serve(),
        Err(end) => end,
    };
    code
}

/// The state of the connection.
struct Bell {
    connected: bool,
    /// When to connect again, while not connected.
    retry_at: u64,
    /// How long after the next failure that will be.
    pause: u64,
    /// Since when the grace clock runs. Only a ring on the present connection stops it (rule S4): a coordinator that
    /// listens but never answers is as good as none.
    alone_since: Option<u64>,
}

struct Shim<'a, S> {
    sys: &'a mut S,
    mailbox: Mailbox,
    bell: Bell,
    /// `coordinatorGrace` of the newest turn, in ms.
    grace: u64,
    /// The step's own stop signal.
    signal: u8,
    termination_log: Text<TERMINATION_LOG_MAX>,
    running: Option<Running>,
    held: Option<Held>,
    parked: bool,
    /// The exit code of the command that ended last, for S9.
    own_code: Option<u8>,
    /// The out-of-memory counter before the command was started.
    oom_before: Option<u64>,
    /// An attempt has run since that was read.
    oom_before_is_old: bool,
    /// The outputs are empty, and no attempt has begun since.
    is_clear: bool,
}

impl<S: Sys> Shim<'_, S> {
    fn arrive(&mut self) -> Result<(), End> {
        self.connect()?; // S2
        self.publish()?; // S3
        self.oom_before = self.sys.oom_kills();
        self.is_clear = self.sys.make_outputs(); // now, so that nobody has to wait for it at the turn
        Ok(())
    }

    fn serve(&mut self) -> End {
        loop {
            if let Err(end) = self.wait_and_handle() {
                return end;
            }
        }
    }

    fn wait_and_handle(&mut self) -> Result<(), End> {
        let until = self.deadline();
        let ready = self.sys.wait(until);
        // Signals first: a command that has ended by itself was not stopped by the turn that comes with the packet.
        if ready.signals {
            self.handle_signals()?;
        }
        if ready.bell {
            self.handle_bell()?;
        }
        if ready.output && self.sys.pass_output_on() {
            let now = self.sys.now();
            if let Some(readiness) = self.readiness() {
                readiness.handle_hint(now);
            }
            return self.attend_probe(now);
        }
        match until {
            Some(at) if self.sys.now() >= at => self.handle_time(),
            _ => Ok(()),
        }
    }

    // --- the bell ---

    /// One packet at most: what is left wakes the next wait, and the end of the connection comes after all of them (S4).
    fn handle_bell(&mut self) -> Result<(), End> {
        match self.sys.receive() {
            Received::Nothing => Ok(()),
            Received::Ring => {
                self.bell.alone_since = None;
                self.obey()
            }
            Received::Closed => {
                self.sys.disconnect();
                self.bell.connected = false;
                let now = self.sys.now();
                self.bell.alone_since.get_or_insert(now);
                self.pass_held_on();
                self.reconnect()
            }
        }
    }

    fn reconnect(&mut self) -> Result<(), End> {
        self.connect()?;
        self.ring();
        Ok(())
    }

    /// Connects and says hello (S2), or plans the next try.
    fn connect(&mut self) -> Result<(), End> {
        match self.sys.connect(self.mailbox.report.instance) {
            Ok(()) => {
                (self.bell.connected, self.bell.pause) = (true, CONNECT_SOON);
                self.send(true);
                return Ok(());
            }
            Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::EAGAIN) => {}
            // A running command is finished whatever becomes of the bell; nothing can be waited for without it.
            Err(_) if self.running.is_some() => {}
            Err(errno) => return Err(self.fail(&words::bell_trouble(errno))),
        }
        self.bell.retry_at = self.sys.now().saturating_add(self.bell.pause);
        self.bell.pause = (self.bell.pause * 2).min(CONNECT_EVERY);
        Ok(())
    }

    fn ring(&mut self) {
        if self.bell.connected {
            self.send(false);
        }
    }

    /// Every packet says who speaks (S2).
    fn send(&mut self, hello: bool) {
        self.sys.send(&Packet { instance: self.mailbox.report.instance, hello }.bytes());
    }

    /// Writes the report and rings. A report that cannot be written is the end: nobody would ever learn of it.
    fn publish(&mut self) -> Result<(), End> {
        self.write()?;
        self.ring();
        Ok(())
    }

    fn write(&mut self) -> Result<(), End> {
        let written = self.mailbox.write(self.sys);
        written.map_err(|errno| self.fail(&words::report_trouble(errno)))
    }

    // --- turns ---

    /// Reads the turn and acts on it, until there is nothing new in it (S8).
    fn obey(&mut self) -> Result<(), End> {
        while let Some(turn) = self.read_turn() {
            if self.running.is_some() {
                return self.obey_while_running(&turn);
            }
            self.parked = false;
            match (turn.attempt, &turn.then) {
                (Some(attempt), _) if attempt > self.mailbox.newest_begun() => {
                    self.attempt(attempt)?;
                    if self.running.is_some() {
                        return Ok(());
                    }
                    continue;
                }
                (None, Then::Exit { code, message }) => return Err(self.exit(*code, message.as_str())),
                (None, Then::Park) => self.parked = true,
                (None, Then::Stay) | (Some(_), _) => {}
            }
            if self.mailbox.is_answered() {
                return Ok(());
            }
            self.publish()?; // S7: answered with its number
        }
        Ok(())
    }

    fn obey_while_running(&mut self, turn: &Turn) -> Result<(), End> {
        let now = self.sys.now();
        if let Some(running) = &mut self.running {
            running.take_limits(now, turn);
            if turn.attempt != Some(running.attempt)
                && let Some(signal) = running.handle_unwanted(now)
            {
                self.held = None;
                self.stop(signal);
            }
        }
        if self.mailbox.is_answered() { Ok(()) } else { self.publish() }
    }

    /// The turn, if it is for this instance; from then on it counts as acted on. An unreadable one is said and left
    /// alone: the coordinator rings again for the next.
    fn read_turn(&mut self) -> Option<Turn> {
        let turn = match self.mailbox.read_turn(self.sys) {
            Ok(turn) => turn?,
            Err(trouble) => {
                self.sys.say(words::turn_trouble(&trouble).as_str());
                return None;
            }
        };
        self.grace = turn.coordinator_grace;
        self.signal = turn.signal;
        self.termination_log = turn.termination_log;
        self.mailbox.report.turn = turn.turn;
        if let Some(held) = &mut self.held {
            held.handle_ack(turn.ack);
            if self.running.is_none() && held.deadline().is_none() {
                self.held = None;
            }
        }
        self.mailbox.acknowledge_last(); // S10
        Some(turn)
    }

    fn exit(&mut self, code: u8, message: &str) -> End {
        if !message.is_empty() {
            self.tell(message);
        }
        End(code)
    }

    // --- attempts ---

    /// S6. Afterwards the command runs, or its end is reported.
    fn attempt(&mut self, attempt: u32) -> Result<(), End> {
        let started_at = self.sys.now();
        self.mailbox.begin(attempt, started_at);
        if let Err(errno) = self.clear() {
            return self.start_failed(StartStage::Clear, errno);
        }
        self.write()?; // begun; if that fails, nothing is started
        if self.oom_before_is_old {
            // Only before a retry: on the way from one step to the next nobody has to wait for it.
            (self.oom_before, self.oom_before_is_old) = (self.sys.oom_kills(), false);
        }
        let turn = match self.read_turn() {
            Some(turn) if turn.attempt == Some(attempt) => turn,
            _ => {
                let at = self.sys.now();
                return self.ended(at, Exit::NotStarted, false, Usage::default());
            }
        };
        match self.sys.start(attempt) {
            Ok(schedule) => {
                let readiness = schedule.map(|schedule| Readiness::new(schedule, started_at));
                self.running = Some(Running::new(attempt, started_at, &turn, readiness));
                self.ring();
                Ok(())
            }
            Err(failure) => self.start_failed(failure.stage, failure.errno),
        }
    }

    /// Takes away what was before the attempt.
    fn clear(&mut self) -> Result<(), Errno> {
        self.sys.end_leftovers()?;
        if core::mem::take(&mut self.is_clear) { Ok(()) } else { self.sys.clear_outputs() }
    }

    #[cold]
    #[inline(never)]
    fn start_failed(&mut self, stage: StartStage, errno: Errno) -> Result<(), End> {
        self.sys.say(words::not_started(stage, errno).as_str());
        let exit = Exit::StartError { stage, errno: errno.0 };
        self.own_code = Some(exit.code());
        let at = self.sys.now();
        self.ended(at, exit, false, Usage::default())
    }

    /// S7.
    fn ended(&mut self, at: u64, exit: Exit, timed_out: bool, usage: Usage) -> Result<(), End> {
        self.mailbox.report.ended = Some(Ended { at, exit, timed_out, usage });
        self.publish()
    }

    /// A child has ended. If it was the command: what it left is ended too, then its end is told.
    fn handle_child(&mut self) -> Result<(), End> {
        let reaped = self.sys.reap();
        let Some((exit, usage)) = reaped.command else {
            self.handle_hook_ends(reaped.hooks);
            return self.handle_probe_end(reaped.probe);
        };
        let Some(running) = self.running.take() else { return Ok(()) };
        let at = self.sys.now(); // what it left behind may take long to end, and is not its time
        let exit = match exit {
            Exit::Signal { number: signals::KILL, .. } => {
                let oom = self.oom_before.is_some_and(|before| self.sys.oom_kills().is_some_and(|now| now > before));
                Exit::Signal { number: signals::KILL, oom }
            }
            other => other,
        };
        let exit = match running.hook_failed {
            Some(code) => Exit::StartError { stage: StartStage::PostStart, errno: u16::from(code) },
            None => exit,
        };
        if self.sys.end_leftovers().is_err() {
            self.sys.say(words::leftovers().as_str());
        }
        if !self.sys.end_attempt() {
            self.sys.say(words::output_lost().as_str());
        }
        self.held = None;
        self.own_code = Some(if running.timed_out { exit::TIMED_OUT } else { exit.code() });
        self.ended(at, exit, running.timed_out, usage)?;
        self.oom_before_is_old = true;
        self.obey() // S8
    }

    /// A `postStart` hook that fails ends its attempt, as it ends a container elsewhere; the end of a `preStop` hook is what
    /// the stop signal waits for.
    #[cold]
    #[inline(never)]
    fn handle_hook_ends(&mut self, [post_start, pre_stop]: [Option<u8>; 2]) {
        let now = self.sys.now();
        let Some(running) = &mut self.running else { return };
        if let Some(signal) = pre_stop.and_then(|_| running.pre_stop.replace(0)) {
            self.sys.signal_command(signal);
        }
        if let Some(code @ 1..) = post_start
            && let Some(signal) = running.handle_unwanted(now)
        {
            running.hook_failed = Some(code);
            self.held = None;
            self.sys.say(words::hook_failed(code).as_str());
            self.stop(signal);
        }
    }

    /// The command gets this signal; a stop signal comes after its `preStop` hook, if it has one that has not run yet.
    #[cold]
    #[inline(never)]
    fn stop(&mut self, signal: u8) {
        self.sys.end_probe();
        if let Some(running) = &mut self.running
            && signal != signals::KILL
            && running.pre_stop.is_none()
            && self.sys.start_pre_stop()
        {
            running.pre_stop = Some(signal);
        } else {
            self.sys.signal_command(signal);
        }
    }

    // --- readiness ---

    fn readiness(&mut self) -> Option<&mut Readiness> {
        self.running.as_mut()?.readiness.as_mut()
    }

    /// Does what is due of the probe.
    fn attend_probe(&mut self, now: u64) -> Result<(), End> {
        match self.readiness() {
            None => Ok(()),
            Some(_) => self.handle_probe_time(now),
        }
    }

    #[cold]
    #[inline(never)]
    fn handle_probe_time(&mut self, now: u64) -> Result<(), End> {
        match self.readiness().and_then(|readiness| readiness.poll_due(now)) {
            None => Ok(()),
            Some(Due::GiveUp) => {
                self.sys.end_probe();
                self.handle_probed(now, false)
            }
            Some(Due::Try) => match self.sys.probe() {
                Found::Running => {
                    if let Some(readiness) = self.readiness() {
                        readiness.handle_begun(now);
                    }
                    Ok(())
                }
                found => self.handle_probed(now, found == Found::Success),
            },
        }
    }

    #[cold]
    #[inline(never)]
    fn handle_probe_end(&mut self, success: Option<bool>) -> Result<(), End> {
        let Some(success) = success else { return Ok(()) };
        if self.readiness().is_none_or(|readiness| !readiness.handle_over()) {
            return Ok(());
        }
        let now = self.sys.now();
        self.handle_probed(now, success)
    }

    #[cold]
    fn handle_probed(&mut self, now: u64, success: bool) -> Result<(), End> {
        let change = self.readiness().and_then(|readiness| readiness.handle_result(success));
        let report = &mut self.mailbox.report;
        match change {
            None => return Ok(()),
            Some(Change::Ready) => report.ready_at = Some(now),
            Some(Change::Unready) => report.ready_at = None,
            Some(Change::NotReady) => report.not_ready_at = Some(now),
        }
        self.publish()
    }

    // --- signals ---

    fn handle_signals(&mut self) -> Result<(), End> {
        while let Some(notice) = self.sys.next_signal() {
            match notice {
                Notice::Child => self.handle_child()?,
                Notice::Signal { number, outside } => self.handle_signal(number, outside)?,
            }
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn handle_signal(&mut self, number: u8, outside: bool) -> Result<(), End> {
        let stop = signals::is_stop(number, self.signal);
        match &self.running {
            // It gets one when its hook has ended.
            Some(Running { pre_stop: Some(1..), .. }) if stop && outside => Ok(()),
            // The coordinator decides who is stopped when, if there is one.
            Some(running) if stop && outside && !running.is_stopping() => {
                if self.bell.connected {
                    return self.hold(number);
                }
                self.stop(number);
                Ok(())
            }
            Some(_) => {
                self.sys.signal_command(number);
                Ok(())
            }
            // While it waits, a stop signal is meant for the shim, whoever sent it.
            None if stop => self.hold(number),
            None => Ok(()),
        }
    }

    #[cold]
    fn hold(&mut self, number: u8) -> Result<(), End> {
        if self.held.is_some() {
            return Ok(());
        }
        self.mailbox.report.stop_signal = Some(number);
        self.publish()?;
        self.held = Some(Held::new(number, self.mailbox.report.seq, self.sys.now()));
        Ok(())
    }

    /// Nobody answers for the held signal: a running command gets it after all.
    fn pass_held_on(&mut self) {
        if self.running.is_some()
            && let Some(held) = self.held.take()
        {
            self.stop(held.number);
        }
    }

    // --- time ---

    fn deadline(&self) -> Option<u64> {
        let reconnect = (!self.bell.connected).then_some(self.bell.retry_at);
        let running = self.running.as_ref().and_then(Running::deadline);
        let probe = self.running.as_ref().and_then(|running| running.readiness.as_ref()?.deadline());
        let held = self.held.as_ref().and_then(Held::deadline);
        [reconnect, running, probe, held, self.grace_ends()].into_iter().flatten().min()
    }

    /// When a waiting shim gives its coordinator up (S9). A running command is finished first, and a parked shim stays:
    /// its end would make the kubelet run the step again.
    fn grace_ends(&self) -> Option<u64> {
        if self.running.is_some() || self.parked {
            return None;
        }
        self.bell.alone_since.map(|since| after(since, self.grace))
    }

    /// A held signal has waited for as long as it may.
    fn is_unanswered(&self, now: u64) -> bool {
        self.held.as_ref().and_then(Held::deadline).is_some_and(|at| now >= at)
    }

    fn handle_time(&mut self) -> Result<(), End> {
        let now = self.sys.now();
        if let Some(signal) = self.running.as_mut().and_then(|running| running.handle_time(now)) {
            self.stop(signal);
        }
        self.attend_probe(now)?;
        if self.is_unanswered(now) {
            self.obey()?; // as below: the answer may have come without its ring
        }
        if self.is_unanswered(now) {
            if self.running.is_none() {
                return Err(End(self.own_code.unwrap_or(exit::CANCELLED)));
            }
            self.pass_held_on();
        }
        if !self.bell.connected && now >= self.bell.retry_at {
            self.reconnect()?;
        }
        if self.grace_ends().is_some_and(|at| now >= at) {
            self.obey()?; // S9: a turn may have come whose ring did not
            if self.grace_ends().is_some_and(|at| now >= at) {
                self.tell(words::coordinator_lost(self.grace).as_str());
                return Err(End(self.own_code.unwrap_or(exit::SHIM_FAILED)));
            }
        }
        Ok(())
    }

    // --- last words ---

    fn fail(&mut self, line: &Line) -> End {
        self.tell(line.as_str());
        End(exit::SHIM_FAILED)
    }

    /// To stderr, and to the termination log if the container has one that is still empty.
    #[cold]
    fn tell(&mut self, line: &str) {
        if !self.termination_log.is_empty() {
            self.sys.write_termination_log(self.termination_log.as_str(), line);
        }
        self.sys.say(line);
    }
}
