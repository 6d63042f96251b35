//! Rules that are taken out: each one from outside, by a world that is not what it should be.

use podturn::coordinator::{Link, Sight, World, WriteError};
use podturn::volume::alive::{Holder, Stamp};
use podturn_shim::{Errno, Found, Notice, Ready, Reaped, Received, Schedule, StartFailure, Sys};
use podturn_turn::{Event, Process, StepId, Time};
use podturn_wire::{InstanceId, Packet, Report, Strings, Turn};

use crate::pod::{RUN, bytes_of_report, bytes_of_turn};

/// What is taken out. The letter and number are the rule's in `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// S1: the report of the instance before is not read.
    OldReportUnread,
    /// S1: a report of another run is taken for one's own.
    OldReportOfAnotherRun,
    /// S2: packets name nobody.
    PacketsWithoutInstance,
    /// S3: arrivals are not written.
    ArrivalUnwritten,
    /// S5: turns for other instances are obeyed.
    TurnsOfOthers,
    /// S6: the turn is not read again between begun and start.
    SecondReadStale,
    /// S6: begun is not written.
    BegunUnwritten,
    /// S7: an end is not written.
    EndUnwritten,
    /// S8: after an end the turn is not read.
    NoReadAfterAnEnd,
    /// S10: what an earlier instance began is dropped after the first report.
    LastDroppedAtOnce,
    /// C2: the mailboxes are not read at the start.
    NotReadAtStart,
    /// C6: the end of a connection counts as death.
    EndIsDeath,
    /// C6: nobody looks for what is left.
    NoSweep,
    /// C9: whoever has no connection counts as alive.
    MissingLives,
    /// C10: the report is read before the turn without attempt is written.
    ReadBeforeCallBack,
    /// The journal's promise: what was journaled is there after a crash.
    JournalForgets,
    /// File mode, C6: whoever is not seen for 3 s counts as dead.
    SilenceIsDeath,
    /// File mode, C6: a death is judged without another look at the report.
    DeathUnread,
    /// File mode: a shim closes a descriptor of `in/alive`, and so loses its lock.
    LockEndsEarly,
}

impl Rule {
    pub(crate) const ALL: [Self; 19] = [
        Self::OldReportUnread,
        Self::OldReportOfAnotherRun,
        Self::PacketsWithoutInstance,
        Self::ArrivalUnwritten,
        Self::TurnsOfOthers,
        Self::SecondReadStale,
        Self::BegunUnwritten,
        Self::EndUnwritten,
        Self::NoReadAfterAnEnd,
        Self::LastDroppedAtOnce,
        Self::NotReadAtStart,
        Self::EndIsDeath,
        Self::NoSweep,
        Self::MissingLives,
        Self::ReadBeforeCallBack,
        Self::JournalForgets,
        Self::SilenceIsDeath,
        Self::DeathUnread,
        Self::LockEndsEarly,
    ];
}

/// A world, and the rule that is taken out of it, if any.
pub(crate) struct Broken<T> {
    inner: T,
    rule: Option<Rule>,
    /// The shim's own instance.
    instance: InstanceId,
    bytes: Vec<u8>,
    /// The newest turn that was really read, and the newest report that was written.
    turn: Vec<u8>,
    report: Option<Report>,
    written: u32,
    /// The coordinator's last look at each mailbox.
    seen: Vec<(StepId, Option<Report>)>,
    is_rung: bool,
    /// A turn without attempt was written just now.
    is_called_back: bool,
    /// Somebody was found dead, and nobody has looked since.
    is_dead: bool,
}

impl<T> Broken<T> {
    pub(crate) fn new(inner: T, rule: Option<Rule>) -> Self {
        Self {
            inner,
            rule,
            instance: InstanceId(0),
            bytes: Vec::new(),
            turn: Vec::new(),
            report: None,
            written: 0,
            seen: Vec::new(),
            is_rung: false,
            is_called_back: false,
            is_dead: false,
        }
    }

    fn is(&self, rule: Rule) -> bool {
        self.rule == Some(rule)
    }
}

impl<S: Sys> Sys for Broken<S> {
    fn now(&mut self) -> u64 {
        self.inner.now()
    }

    fn random(&mut self) -> u64 {
        let number = self.inner.random();
        self.instance = InstanceId(number);
        number
    }

    fn pid(&mut self) -> u32 {
        self.inner.pid()
    }

    fn read_turn(&mut self) -> Result<&[u8], Errno> {
        let fresh = self.inner.read_turn()?.to_vec();
        let just = |is: fn(&Report) -> bool| self.report.as_ref().is_some_and(is);
        let is_stale = match self.rule {
            Some(Rule::SecondReadStale) => just(|report| report.attempt.is_some() && report.ended.is_none()),
            Some(Rule::NoReadAfterAnEnd) => just(|report| report.ended.is_some()) && !self.is_rung,
            _ => false,
        };
        if !is_stale {
            self.turn = fresh;
        }
        self.bytes = self.turn.clone();
        if self.is(Rule::TurnsOfOthers)
            && let Ok(turn) = Turn::parse(&self.bytes)
            && turn.instance.is_some()
        {
            self.bytes = bytes_of_turn(&Turn { instance: Some(self.instance), ..turn });
        }
        Ok(&self.bytes)
    }

    fn read_report(&mut self) -> Result<&[u8], Errno> {
        if self.is(Rule::OldReportUnread) {
            return Err(Errno::ENOENT);
        }
        self.bytes = self.inner.read_report()?.to_vec();
        if self.is(Rule::OldReportOfAnotherRun)
            && let Ok(report) = Report::parse(&self.bytes)
        {
            self.bytes = bytes_of_report(&Report { run: RUN, ..report });
        }
        Ok(&self.bytes)
    }

    fn references(&mut self) -> Strings<'static> {
        self.inner.references()
    }

    fn write_report(&mut self, report: &Report, references: Strings<'_>) -> Result<(), Errno> {
        self.written += 1;
        self.is_rung = false;
        self.report = Some(*report);
        let begins = report.attempt.is_some() && report.ended.is_none();
        match self.rule {
            Some(Rule::ArrivalUnwritten) if self.written == 1 => Ok(()),
            Some(Rule::BegunUnwritten) if begins => Ok(()),
            Some(Rule::EndUnwritten) if report.ended.is_some() => Ok(()),
            Some(Rule::LastDroppedAtOnce) => self.inner.write_report(&Report { last: None, ..*report }, references),
            _ => self.inner.write_report(report, references),
        }
    }

    fn clear_outputs(&mut self) -> Result<(), Errno> {
        self.inner.clear_outputs()
    }

    fn make_outputs(&mut self) -> bool {
        self.inner.make_outputs()
    }

    fn connect(&mut self, instance: InstanceId) -> Result<(), Errno> {
        self.inner.connect(instance)
    }

    fn disconnect(&mut self) {
        self.inner.disconnect();
    }

    fn send(&mut self, packet: &[u8]) {
        if self.is(Rule::PacketsWithoutInstance) {
            let hello = packet.ends_with(b"h");
            return self.inner.send(&Packet { instance: InstanceId(0), hello }.bytes());
        }
        self.inner.send(packet);
    }

    fn receive(&mut self) -> Received {
        let received = self.inner.receive();
        self.is_rung |= received == Received::Ring;
        received
    }

    fn wait(&mut self, until: Option<u64>) -> Ready {
        self.inner.wait(until)
    }

    fn next_signal(&mut self) -> Option<Notice> {
        self.inner.next_signal()
    }

    fn start(&mut self, attempt: u32) -> Result<Option<Schedule>, StartFailure> {
        self.inner.start(attempt)
    }

    fn signal_command(&mut self, number: u8) {
        self.inner.signal_command(number);
    }

    fn start_pre_stop(&mut self) -> bool {
        self.inner.start_pre_stop()
    }

    fn probe(&mut self) -> Found {
        self.inner.probe()
    }

    fn end_probe(&mut self) {
        self.inner.end_probe();
    }

    fn pass_output_on(&mut self) -> bool {
        self.inner.pass_output_on()
    }

    fn end_attempt(&mut self) -> bool {
        self.inner.end_attempt()
    }

    fn reap(&mut self) -> Reaped {
        self.inner.reap()
    }

    fn end_leftovers(&mut self) -> Result<(), Errno> {
        self.inner.end_leftovers()
    }

    fn oom_kills(&mut self) -> Option<u64> {
        self.inner.oom_kills()
    }

    fn write_termination_log(&mut self, path: &str, line: &str) {
        self.inner.write_termination_log(path, line);
    }

    fn say(&mut self, line: &str) {
        self.inner.say(line);
    }
}

impl<W> Broken<W> {
    fn remembered(&self, step: StepId) -> Option<Report> {
        self.seen.iter().find(|(known, _)| *known == step).and_then(|(_, report)| *report)
    }
}

impl<W: World> World for Broken<W> {
    fn now(&mut self) -> Time {
        self.inner.now()
    }

    fn append(&mut self, events: &[Event]) -> Result<(), WriteError> {
        if self.is(Rule::JournalForgets)
            && events.iter().any(|event| matches!(event.kind, podturn_turn::Kind::Begun { .. }))
        {
            return Ok(());
        }
        self.inner.append(events)
    }

    fn release_reserve(&mut self) {
        self.inner.release_reserve();
    }

    fn read_report(&mut self, step: StepId) -> Option<Report> {
        self.written += 1;
        if self.is(Rule::NotReadAtStart) && !self.is_rung {
            return None;
        }
        if self.is(Rule::ReadBeforeCallBack) && std::mem::take(&mut self.is_called_back) {
            return self.remembered(step);
        }
        if self.is(Rule::DeathUnread) && self.is_dead {
            return self.remembered(step);
        }
        let report = self.inner.read_report(step);
        self.seen.retain(|(known, _)| *known != step);
        self.seen.push((step, report));
        report
    }

    fn read_references(&mut self, step: StepId, instance: podturn_wire::InstanceId) -> Vec<String> {
        self.inner.read_references(step, instance)
    }

    fn read_outputs(&mut self, step: StepId) -> podturn_turn::Outputs {
        self.inner.read_outputs(step)
    }

    fn read_turn(&mut self, step: StepId) -> Option<Turn> {
        self.inner.read_turn(step)
    }

    fn write_turn(
        &mut self,
        step: StepId,
        turn: &Turn,
        enclosing: &podturn::coordinator::Enclosing,
    ) -> Result<(), WriteError> {
        self.is_called_back = turn.attempt.is_none();
        self.inner.write_turn(step, turn, enclosing)
    }

    fn ring(&mut self, link: Link) {
        self.inner.ring(link);
    }

    fn peer(&mut self, link: Link) -> Option<Process> {
        self.is_rung = true; // only a hello asks for the peer
        self.inner.peer(link)
    }

    fn is_peer_dead(&mut self, link: Link) -> bool {
        self.is_dead = self.inner.is_peer_dead(link) || self.is(Rule::EndIsDeath);
        self.is_dead
    }

    fn hang_up(&mut self, link: Link) {
        self.inner.hang_up(link);
    }

    fn is_alive(&mut self, process: &Process) -> bool {
        self.inner.is_alive(process) || self.is(Rule::MissingLives)
    }

    fn kill(&mut self, process: &Process) -> bool {
        self.inner.kill(process)
    }

    fn sweep(&mut self, process: &Process) -> bool {
        !self.is(Rule::NoSweep) && self.inner.sweep(process)
    }
}

impl<W: Sight> Sight for Broken<W> {
    type Witness = W::Witness;

    fn arrivals(&mut self) -> Vec<StepId> {
        self.inner.arrivals()
    }

    fn stamp(&mut self, step: StepId) -> Option<Stamp> {
        self.is_dead = false;
        self.inner.stamp(step)
    }

    fn holder(&mut self, step: StepId, instance: InstanceId) -> Holder {
        let has_begun = |report: Report| report.instance == instance && report.attempt.is_some();
        match self.remembered(step).is_some_and(has_begun) {
            true if self.is(Rule::LockEndsEarly) => Holder::Nobody,
            _ => self.inner.holder(step, instance),
        }
    }

    fn beat(&mut self) {
        self.inner.beat();
    }

    fn witness(&mut self, pid: u32) -> Option<W::Witness> {
        self.inner.witness(pid)
    }

    fn keep_seen(&mut self, step: StepId, process: Option<(u32, W::Witness)>) -> Link {
        self.inner.keep_seen(step, process)
    }

    fn note_silent(&mut self, link: Link, is_silent: bool) {
        self.inner.note_silent(link, is_silent && !self.is(Rule::SilenceIsDeath));
    }

    fn has_witness(&mut self, link: Link) -> bool {
        self.inner.has_witness(link)
    }
}
