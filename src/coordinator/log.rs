//! The log as JSON, on its way out: off the path of every hand-off, and never waited for.
//!
//! Lines are collected while things happen and given away when the state is published, to a thread that writes them. Who does not
//! read the log (a full pipe) stops that thread and nobody else; what does not fit is counted and said.

use std::io::{self, Write};
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use podturn_turn::{Event, Plan};

use crate::process;
use crate::volume::log::Line;
use crate::volume::usage::Sample;
use crate::volume::{Run, published};

/// So many pieces may wait for the reader. Each is what happened between two publications of the state.
const PIECES: usize = 64;

/// No more than this is kept while the reader does not read, in bytes.
const KEPT_MOST: usize = 4 << 20;

/// How long the end waits for a reader.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where lines go. A clone goes to the same place.
#[derive(Clone, Debug)]
pub struct Log {
    pieces: SyncSender<Piece>,
    now: fn() -> String,
}

/// What goes to the thread.
#[derive(Debug)]
enum Piece {
    Lines(Vec<u8>),
    /// Somebody waits until everything before this is written.
    Written(Sender<()>),
}

/// What is kept until the end, to wait for the last line.
#[derive(Debug)]
pub struct Writer(SyncSender<Piece>);

impl Log {
    /// Starts the thread that writes to `out`. `now`: the present time as RFC 3339.
    ///
    /// # Errors
    /// When no thread is to be had.
    pub fn start(mut out: impl Write + Send + 'static, now: fn() -> String) -> io::Result<(Self, Writer)> {
        let (pieces, written) = sync_channel(PIECES);
        process::spawn("log", move || {
            for piece in written {
                match piece {
                    Piece::Lines(lines) if out.write_all(&lines).and_then(|()| out.flush()).is_err() => return, // nobody reads it
                    Piece::Lines(_) => {}
                    Piece::Written(asker) => drop(asker.send(())),
                }
            }
        })?;
        Ok((Self { pieces: pieces.clone(), now }, Writer(pieces)))
    }

    /// Where samples go. They are not worth waiting for either.
    pub(super) fn for_samples(&self) -> SampleLog {
        SampleLog(self.clone())
    }

    /// A message for people.
    pub fn message(&self, level: &str, message: String) {
        let mut line = Vec::new();
        Line::Message { time: (self.now)(), level: level.to_owned(), message }.write(&mut line);
        let _ = self.pieces.try_send(Piece::Lines(line)); // it is not worth waiting for
    }
}

/// The way of samples into the log.
pub(super) struct SampleLog(Log);

impl SampleLog {
    /// `false`: the reader does not read, and they are dropped.
    pub(super) fn write(&self, samples: Vec<Sample>) -> bool {
        let time = (self.0.now)();
        let mut lines = Vec::new();
        samples.into_iter().for_each(|sample| Line::Usage { time: time.clone(), sample }.write(&mut lines));
        self.0.pieces.try_send(Piece::Lines(lines)).is_ok()
    }
}

impl Writer {
    /// Waits until everything that was given away by now is written, for a while.
    pub fn catch_up(&self) {
        let (asker, written) = channel();
        if self.0.try_send(Piece::Written(asker)).is_ok() {
            let _ = written.recv_timeout(LAST_WORDS);
        }
    }
}

/// What one coordinator has to say.
pub(super) struct Teller {
    log: Log,
    /// Not taken by the thread yet.
    kept: Vec<u8>,
    lost: u64,
    /// The newest end that was told: when a view shows its times by another reading of the clocks, it is told again.
    told: Option<(Option<String>, Option<String>)>,
}

impl Teller {
    pub(super) const fn new(log: Log) -> Self {
        Self { log, kept: Vec::new(), lost: 0, told: None }
    }

    pub(super) fn run(&mut self, run: &Run, started_at: Option<String>) {
        let time = (self.log.now)();
        self.add(&Line::Run { time, started_at, run: run.clone() });
    }

    pub(super) fn events(&mut self, events: Vec<Event>, plan: &Plan) {
        if events.is_empty() {
            return;
        }
        let time = (self.log.now)();
        for event in events {
            let name = event.kind.step().and_then(|step| plan.steps.get(step.index())).map(|step| step.name.clone());
            self.add(&Line::Event { time: time.clone(), name, event });
        }
    }

    /// Tells what an earlier coordinator saw.
    pub(super) fn samples(&mut self, samples: &[Sample]) {
        for sample in samples {
            self.add(&Line::Usage { time: (self.log.now)(), sample: sample.clone() });
        }
    }

    /// Tells how it ended.
    pub(super) fn outcome(&mut self, state: &published::State) {
        let Some(outcome) = state.outcome.clone() else { return };
        let (started_at, ended_at) = (state.started_at.clone(), state.ended_at.clone());
        if self.told.replace((started_at.clone(), ended_at.clone())) != Some((started_at.clone(), ended_at.clone())) {
            self.add(&Line::Outcome { time: (self.log.now)(), outcome, started_at, ended_at });
        }
    }

    fn add(&mut self, line: &Line) {
        if self.kept.len() > KEPT_MOST {
            self.lost += 1;
        } else {
            line.write(&mut self.kept);
        }
    }

    /// Gives away what was collected.
    pub(super) fn flush(&mut self) {
        if self.kept.is_empty() && self.lost == 0 {
            return;
        }
        if self.lost > 0 && self.kept.len() <= KEPT_MOST {
            let lines = std::mem::take(&mut self.lost);
            Line::Lost { lines }.write(&mut self.kept);
        }
        match self.log.pieces.try_send(Piece::Lines(std::mem::take(&mut self.kept))) {
            Ok(()) => {}
            Err(TrySendError::Full(Piece::Lines(lines))) => self.kept = lines,
            Err(TrySendError::Full(Piece::Written(_))) => {}
            Err(TrySendError::Disconnected(_)) => {} // nobody will ever read it
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};

    use super::*;

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no thread has panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn noon() -> String {
        "2026-11-24T12:00:00Z".to_owned()
    }

    #[test]
    fn what_was_said_is_written_by_the_end() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (log, writer) = Log::start(Shared(written.clone()), noon).expect("a thread");
        log.message("warn", "the volume is nearly full".to_owned());
        writer.catch_up();
        let text = String::from_utf8(written.lock().expect("no thread has panicked").clone()).expect("it is UTF-8");
        let line = "{\"podturn\":\"message\",\"time\":\"2026-11-24T12:00:00Z\",\"level\":\"warn\",\"message\":\"the volume is nearly full\"}\n";
        assert_eq!(text, line);
    }

    /// A pipe that nobody reads: the first write never comes back.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_holds_nobody_up_and_the_loss_is_counted() {
        let (_never, stuck) = mpsc::channel();
        let (log, _writer) = Log::start(Stuck(stuck), noon).expect("a thread");
        let mut teller = Teller::new(log);
        for _ in 0..60_000 {
            teller.add(&Line::Message { time: noon(), level: "info".to_owned(), message: "x".repeat(100) });
            teller.flush();
        }
        assert!(teller.kept.len() < KEPT_MOST + 1_000 && teller.lost > 0, "{} {}", teller.kept.len(), teller.lost);
    }
}
