//! The two registers of the mailbox: which turns count, and the one report.

use podturn_wire::{Ended, Exit, InstanceId, Last, Report, RunId, Strings, Turn};

use crate::words::Trouble;
use crate::{Errno, Sys};

/// What this instance knows of its mailbox.
pub(crate) struct Mailbox {
    /// Everything this instance has to say. Changed by the logic, made public by [`Mailbox::write`].
    pub(crate) report: Report,
    /// What the reports list until a turn shows that it was read.
    references: Strings<'static>,
    /// The turn number in the report that was written last.
    answered: u64,
    /// The newest attempt that was begun, by whatever instance. Outlives `report.last`.
    newest_begun: u32,
}

impl Mailbox {
    /// Learns the run from the turn that lies there, and what an earlier instance left unread (rule S1).
    ///
    /// # Errors
    /// When there is no turn: then nobody laid the mailbox out, or the volume is not what it should be.
    pub(crate) fn open(sys: &mut impl Sys) -> Result<(Self, Turn), Trouble> {
        let turn = parse(sys)?;
        let instance = InstanceId(sys.random());
        let pid = sys.pid();
        // A report that cannot be read is as good as none: only this step could have spoilt it.
        let old = sys.read_report().ok().and_then(|bytes| Report::parse(bytes).ok());
        let last = old.filter(|old| old.run == turn.run).and_then(|old| old.as_last());
        let newest_begun = last.map_or(0, newest_begun);
        let report = arrival(turn.run, instance, pid, last);
        Ok((Self { report, references: sys.references(), answered: 0, newest_begun }, turn))
    }

    /// The number of the newest attempt that was begun, by whatever instance (rule S5).
    pub(crate) fn newest_begun(&self) -> u32 {
        self.newest_begun
    }

    /// Attempt `attempt` is begun, as the next report will say.
    pub(crate) fn begin(&mut self, attempt: u32, at: u64) {
        self.newest_begun = attempt;
        self.report.attempt = Some(attempt);
        self.report.started_at = Some(at);
        self.report.ended = None;
        (self.report.ready_at, self.report.not_ready_at) = (None, None);
    }

    /// A turn for this instance has come, so the coordinator has read the arrival with its references, and what an earlier
    /// instance left (rule S10).
    pub(crate) fn acknowledge_last(&mut self) {
        self.report.last = None;
        self.references = Strings::default();
    }

    /// The turn, if it is one for this instance and not older than what it acted on before (rule S5).
    ///
    /// # Errors
    /// When the file cannot be read or is no turn.
    pub(crate) fn read_turn(&self, sys: &mut impl Sys) -> Result<Option<Turn>, Trouble> {
        let turn = parse(sys)?;
        let mine = turn.run == self.report.run && turn.instance == Some(self.report.instance);
        Ok((mine && turn.turn >= self.report.turn).then_some(turn))
    }

    /// Whether the newest turn that was acted on is in a written report.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered == self.report.turn
    }

    /// Makes the report public, under the next number.
    ///
    /// # Errors
    /// Those of `Sys::write_report`. Then the report before still stands, whole.
    pub(crate) fn write(&mut self, sys: &mut impl Sys) -> Result<(), Errno> {
        self.report.seq += 1;
        sys.write_report(&self.report, self.references)?;
        self.answered = self.report.turn;
        Ok(())
    }
}

/// An attempt that was called back before its command was started may be given again, under its number (rule C7).
fn newest_begun(last: Last) -> u32 {
    match last.ended {
        Some(Ended { exit: Exit::NotStarted, .. }) => last.attempt.saturating_sub(1),
        _ => last.attempt,
    }
}

fn arrival(run: RunId, instance: InstanceId, pid: u32, last: Option<Last>) -> Report {
    Report {
        run,
        instance,
        seq: 0,
        turn: 0,
        attempt: None,
        started_at: None,
        ended: None,
        ready_at: None,
        not_ready_at: None,
        stop_signal: None,
        pid,
        last,
    }
}

fn parse(sys: &mut impl Sys) -> Result<Turn, Trouble> {
    Turn::parse(sys.read_turn()?).map_err(Trouble::Content)
}
