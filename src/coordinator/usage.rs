//! What the steps use while they run, for people: a look at their process trees every now and then, on the thread beside the loop.
//!
//! Belongs here: whose processes are looked at, how often, and which looks are kept. Does not belong here: the look itself (room
//! `process`), the form of a sample (`volume::usage`). Nothing is decided by it.
//!
//! Nothing runs: nothing is looked at, and nobody wakes. Whoever is not to be seen (another process namespace) is not measured, and
//! what its shim says at the end is all there is. That is said: once in the log, and of each such step while it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use podturn_turn::{Phase, Process, State, StepId, Time};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::desk::Coordinator;
use super::log::SampleLog;
use super::seat::Seat;
use super::world::World;
use crate::process::{self, Used};
use crate::volume::published;
use crate::volume::usage::{Peaks, Sample, UsageFile};

/// The shortest time between two looks, and from an attempt's begin to the first one.
const SOONEST: Duration = Duration::from_millis(250);

/// A look is followed by a pause of this many times what it took, so that looking takes less than 0.4 % of a core, however many
/// processes there are.
const PAUSE: u32 = 250;

/// Looks are kept once in this part of an attempt's age, and no more than once a second.
const KEPT: Time = 32;

/// A little less than a second: looks are never quite on time.
const SOONEST_KEPT: Time = 900_000_000;

/// An attempt that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watched {
    step: StepId,
    name: Arc<str>,
    attempt: u32,
    /// When it began (`CLOCK_BOOTTIME`, ns).
    begun: Time,
    shim: Process,
}

impl<W: World> Coordinator<W> {
    /// The attempts that run now, of shims that can be seen.
    fn watched(&self, names: &[Arc<str>]) -> Vec<Watched> {
        let steps = (0..self.seats.len() as u32).map(StepId).zip(&self.seats);
        let watched = steps.filter(|(step, _)| self.runs(*step)).filter_map(|(step, seat)| {
            let shim = seat.told.process(self.state.instance(step)?).filter(|process| process.pid > 0)?;
            let (attempt, begun) = (self.state.attempt(step), self.state.begun_at(step)?);
            Some(Watched { step, name: Arc::clone(&names[step.index()]), attempt, begun, shim: shim.clone() })
        });
        watched.collect()
    }

    /// The steps that run now, of shims that have connected and cannot be seen.
    fn unseen(&self) -> Vec<StepId> {
        let steps = (0..self.seats.len() as u32).map(StepId).zip(&self.seats);
        let is_unseen = |(step, seat): &(StepId, &Seat)| {
            let instance = self.state.instance(*step).filter(|_| self.runs(*step) && seat.present_link().is_some());
            instance.is_some_and(|instance| seat.told.process(instance).is_none())
        };
        steps.filter(is_unseen).map(|(step, _)| step).collect()
    }

    fn runs(&self, step: StepId) -> bool {
        matches!(self.state.phase(step), Phase::Running | Phase::Ready | Phase::Stopping)
    }
}

/// What is known of one step's attempts.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Of each attempt that was looked at.
    peaks: HashMap<u32, Peaks>,
    /// The newest look, and at which attempt.
    now: Option<(u32, Used)>,
}

type Shared = Arc<Mutex<Vec<Seen>>>;

/// What the loop knows of it.
pub(super) struct Measuring {
    names: Vec<Arc<str>>,
    watched: watch::Sender<Vec<Watched>>,
    seen: Shared,
    keeper: Arc<Mutex<Keeper>>,
    unseen: Unseen,
}

/// What cannot be measured.
#[derive(Default)]
struct Unseen {
    steps: Vec<StepId>,
    is_told: bool,
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Measuring {
    /// Begins. `before`: what an earlier coordinator saw. `news` is told when there is something new to be shown.
    pub(super) fn start(
        state: &State,
        (file, before): (Option<UsageFile>, &[Sample]),
        log: Option<SampleLog>,
        (runtime, news): (Handle, mpsc::Sender<()>),
    ) -> Self {
        let names: Vec<Arc<str>> = state.plan().steps.iter().map(|step| step.name.as_str().into()).collect();
        let mut seen = vec![Seen::default(); names.len()];
        for sample in before {
            if let Some(index) = names.iter().position(|name| **name == *sample.step) {
                seen[index].peaks.entry(sample.attempt).or_default().add(sample);
            }
        }
        let seen = Arc::new(Mutex::new(seen));
        let (watched, wanted) = watch::channel(Vec::new());
        let keeper = Arc::new(Mutex::new(Keeper { attempts: Vec::new(), file, log }));
        let looking = Looking { seen: Arc::clone(&seen), keeper: Arc::clone(&keeper), news };
        runtime.spawn(looking.follow(wanted));
        Self { names, watched, seen, keeper, unseen: Unseen::default() }
    }

    /// Keeps what was not kept yet: what is shown from now on is all that will ever be known.
    pub(super) fn finish(&self) {
        lock(&self.keeper).turn_to(Vec::new());
    }

    /// Says who runs now.
    pub(super) fn follow<W: World>(&mut self, coordinator: &Coordinator<W>) {
        let watched = coordinator.watched(&self.names);
        self.watched.send_if_modified(|known| {
            let is_new = *known != watched;
            *known = watched;
            is_new
        });
        self.unseen.steps = coordinator.unseen();
        if let (Some(step), false) = (self.unseen.steps.first(), self.unseen.is_told) {
            tracing::warn!(
                "what {} uses cannot be seen while it runs, since its processes cannot be told (a process namespace of its own, or a runtime that names none); what it used is told at its end",
                self.names[step.index()]
            );
            self.unseen.is_told = true;
        }
    }

    /// Adds to the view what attempts use and used.
    pub(super) fn add_to(&self, view: &mut published::State) {
        for step in &self.unseen.steps {
            view.steps[step.index()].unseen = true;
        }
        let seen = lock(&self.seen);
        for (step, seen) in view.steps.iter_mut().zip(seen.iter()) {
            for attempt in &mut step.attempts {
                if let Some(peaks) = seen.peaks.get(&attempt.attempt) {
                    attempt.add_usage(peaks);
                }
            }
            let runs = matches!(step.phase.as_str(), "Running" | "Ready" | "Stopping");
            let now = seen.now.filter(|(attempt, _)| runs && *attempt == step.attempt);
            step.usage = now.and_then(|(attempt, used)| {
                let peaks = seen.peaks.get(&attempt)?;
                Some(published::Usage {
                    cpu_ms: peaks.cpu_ms,
                    rss_kib: used.rss,
                    peak_rss_kib: peaks.rss_kib,
                    max_rss_kib: peaks.max_rss_kib,
                    processes: used.processes,
                    read_bytes: peaks.read_bytes,
                    write_bytes: peaks.write_bytes,
                })
            });
        }
    }
}

/// One attempt under observation.
struct Observed {
    of: Watched,
    /// What its shim itself had used when the attempt was first seen: earlier attempts'.
    before: Option<u64>,
    /// Processor time and the largest resident set so far, which can only grow.
    most: (u64, u64),
    /// The newest sample, where it has not been kept yet.
    open: Option<Sample>,
    kept_at: Option<Time>,
}

/// Attempts under observation, and where samples of them go.
struct Keeper {
    attempts: Vec<Observed>,
    file: Option<UsageFile>,
    log: Option<SampleLog>,
}

/// The task that looks.
struct Looking {
    seen: Shared,
    keeper: Arc<Mutex<Keeper>>,
    news: mpsc::Sender<()>,
}

impl Looking {
    /// Looks as long as anything runs, and until nobody says any more who does.
    async fn follow(self, mut wanted: watch::Receiver<Vec<Watched>>) {
        let mut earliest = Instant::now();
        loop {
            let watched = wanted.borrow_and_update().clone();
            let pause = {
                let mut keeper = lock(&self.keeper);
                keeper.turn_to(watched);
                keeper.pause()
            };
            let Some(pause) = pause else {
                match wanted.changed().await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            };
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                () = sleep_until(earliest.max(Instant::now() + pause)) => {
                    let took = self.look();
                    earliest = Instant::now() + (took * PAUSE).max(SOONEST);
                    let _ = self.news.try_send(()); // one that waits is enough
                }
            }
        }
    }

    /// Looks at all of them. Returns how long that took.
    fn look(&self) -> Duration {
        let now = process::now();
        let shims: Vec<Process> = lock(&self.keeper).attempts.iter().map(|observed| observed.of.shim.clone()).collect();
        let used = process::measure(&shims); // nobody who wants the lock waits for this
        lock(&self.keeper).take(used, now, &self.seen);
        Duration::from_nanos(process::now().saturating_sub(now))
    }
}

impl Keeper {
    /// Observes these attempts from now on. What was not kept of others is.
    fn turn_to(&mut self, watched: Vec<Watched>) {
        let known = std::mem::take(&mut self.attempts);
        let (mut stay, over): (Vec<_>, Vec<_>) = known.into_iter().partition(|observed| watched.contains(&observed.of));
        self.keep(over.into_iter().filter_map(|observed| observed.open).collect());
        for of in watched {
            if !stay.iter().any(|observed| observed.of == of) {
                stay.push(Observed { of, before: None, most: (0, 0), open: None, kept_at: None });
            }
        }
        self.attempts = stay;
    }

    /// Until the next look; `None`: nothing runs. Young attempts are looked at more often than old ones.
    fn pause(&self) -> Option<Duration> {
        let now = process::now();
        let ages = self.attempts.iter().map(|observed| Duration::from_nanos(now.saturating_sub(observed.of.begun)));
        Some(match ages.min()? {
            age if age < Duration::from_secs(1) => SOONEST,
            age if age < Duration::from_secs(60) => Duration::from_secs(1),
            age if age < Duration::from_secs(600) => Duration::from_secs(2),
            _ => Duration::from_secs(5),
        })
    }

    fn take(&mut self, used: Vec<Option<Used>>, now: Time, seen: &Shared) {
        let thinning = self.file.as_ref().map_or(1, UsageFile::thinning);
        let mut kept = Vec::new();
        let mut seen = lock(seen);
        for (observed, used) in self.attempts.iter_mut().zip(used) {
            // A command that has just ended has no process any more, and what it used is in its shim's time already.
            let Some(used) = used.filter(|used| used.processes > 0) else { continue };
            let sample = observed.take(used, now);
            let seen = &mut seen[observed.of.step.index()];
            seen.peaks.entry(observed.of.attempt).or_default().add(&sample);
            seen.now = Some((observed.of.attempt, used));
            let age = now.saturating_sub(observed.of.begun);
            let pause = (age / KEPT).max(SOONEST_KEPT).saturating_mul(thinning);
            if observed.kept_at.is_none_or(|at| now.saturating_sub(at) >= pause) {
                observed.kept_at = Some(now);
                kept.extend(observed.open.take());
            }
        }
        drop(seen);
        self.keep(kept);
    }

    /// In the file and in the log, or in neither: a report is the same from both.
    fn keep(&mut self, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        if file.append(&samples) && self.log.as_ref().is_some_and(|log| !log.write(samples)) {
            file.take_back();
        }
    }
}

impl Observed {
    /// The look as a sample, with what is open since the last one that was kept.
    fn take(&mut self, used: Used, now: Time) -> Sample {
        let before = *self.before.get_or_insert(used.root_cpu);
        let (cpu, max_rss) = self.most;
        self.most = (used.cpu.saturating_sub(before).max(cpu), used.max_rss.max(max_rss));
        let (rss, processes) = self.open.as_ref().map_or((0, 0), |open| (open.rss_kib, open.processes));
        let sample = Sample {
            step: self.of.name.as_ref().to_owned(),
            attempt: self.of.attempt,
            after_ms: now.saturating_sub(self.of.begun) / 1_000_000,
            cpu_ms: self.most.0,
            rss_kib: used.rss.max(rss),
            max_rss_kib: self.most.1,
            processes: used.processes.max(processes),
            read_bytes: used.read,
            write_bytes: used.written,
        };
        self.open = Some(sample.clone());
        sample
    }
}
