//! The loop itself: one epoll(7) for bells, connections, deaths and the clock, and the signals to this process.
//!
//! Everything happens on one thread and in one place, so that the time from a ring to the next one is a few system calls. What
//! people ask and what network probes find comes from the thread beside it (`beside.rs`).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use podturn_turn::{Answer, Outcome, Request, StepId, Time};
use tokio::sync::{mpsc, oneshot};

use super::asked::{self, Asked, Told};
use super::beside::{Beside, News};
use super::desk::{Coordinator, Failure};
use super::ground::Ground;
use super::log::{Log, Teller};
use super::look::Looks;
use super::probe::Probers;
use super::public::Public;
use super::usage::Measuring;
use super::world::{Link, World};
use crate::process;
use crate::trace::Context;
use crate::volume::alive::Watched;
use crate::volume::bell::{self, Received};
use crate::volume::usage::{Sample, UsageFile};
use crate::volume::{Bell, Journal, Locked, Mailboxes, Placement, Run, Volume, VolumeError, published};

/// How long a change of the state may wait for more of them before it is published, in ns.
const PUBLISH_PAUSE: Time = 50_000_000;
/// How long it may wait at most.
const PUBLISH_LATEST: Time = 1_000_000_000;
/// So many times what it took lies between two publications of nothing but what steps use, and `PUBLISH_LATEST` at least.
const PUBLISH_SELDOM: Time = 500;
/// How much of a deleted pod's time is kept for its containers to end, in ms.
const LAST_MOMENT: u64 = 1_000;
/// How many ready descriptors are taken at once.
const BATCH: usize = 32;
/// So many are taken from one bell before all others are looked at again. Whoever calls anew as soon as it is let go would hold up the
/// rest for ever; who is left is told of again, since epoll(7) is level-triggered here.
const CALLERS: usize = 8;

/// Opens the control socket: what is to be kept as long as it should be open, and where its questions come out.
pub type OpenControl = fn(&Volume) -> (Box<dyn std::any::Any>, Option<mpsc::Receiver<Asked>>);

/// How a coordinator ended.
#[derive(Debug)]
pub struct Finished {
    /// How the plan ended.
    pub outcome: Outcome,
    /// What was published last.
    pub state: published::State,
    /// Where it ran.
    pub placement: Placement,
}

/// Why a coordinator could not go on.
#[derive(Debug)]
pub enum ServeError {
    /// The init container has not laid the volume out.
    NotLaidOut,
    /// Another coordinator holds the lock.
    Locked,
    /// The volume cannot be used.
    Volume(VolumeError),
    /// The journal cannot be written, or does not fit the plan.
    Failure(Failure),
    /// A system call failed that should not.
    System(std::io::Error),
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotLaidOut => f.write_str("nobody has laid this volume out: `podturn init` comes first"),
            Self::Locked => f.write_str("another coordinator is at work on this volume"),
            Self::Volume(error) => error.fmt(f),
            Self::Failure(failure) => failure.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<VolumeError> for ServeError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

impl From<Failure> for ServeError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<std::io::Error> for ServeError {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

impl From<nix::Error> for ServeError {
    fn from(errno: nix::Error) -> Self {
        Self::System(errno.into())
    }
}

/// Coordinates the run on this volume until it ends: as a sidecar when it is told to, as an ordinary container when every
/// step has ended. `trace`: what commands that ask for it are told to be a part of.
///
/// # Errors
/// A [`ServeError`] after which another coordinator may take over.
pub fn serve(
    volume: &Volume,
    open: OpenControl,
    log: Option<Log>,
    trace: Option<Context>,
) -> Result<Finished, ServeError> {
    let _lock = volume.lock().map_err(|locked| match locked {
        Locked::Held => ServeError::Locked,
        Locked::Failed(error) => ServeError::Volume(error),
    })?;
    let mut run = volume.read_run()?.ok_or(ServeError::NotLaidOut)?;
    process::raise_open_files()?;
    let mut server = Server::open(volume, &mut run, open, log, trace)?;
    let finished = server.work();
    server.tell_log(finished.as_ref().ok().map(|finished| &finished.state));
    finished
}

/// What a ready descriptor is, as epoll's 64 bits of user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Clock,
    Signals,
    News,
    Bell(StepId),
    Connection(Link),
    Death(Link),
    PublicBell,
    Listener(u32),
    Arrivals,
}

impl Token {
    const fn data(self) -> u64 {
        match self {
            Self::Clock => 0,
            Self::Signals => 6 << 32,
            Self::News => 7 << 32,
            Self::Bell(step) => 1 << 32 | step.0 as u64,
            Self::Connection(link) => 2 << 32 | link.0 as u64,
            Self::Death(link) => 3 << 32 | link.0 as u64,
            Self::PublicBell => 4 << 32,
            Self::Listener(name) => 5 << 32 | name as u64,
            Self::Arrivals => 8 << 32,
        }
    }

    const fn of(data: u64) -> Self {
        let index = data as u32;
        match data >> 32 {
            0 => Self::Clock,
            1 => Self::Bell(StepId(index)),
            2 => Self::Connection(Link(index)),
            3 => Self::Death(Link(index)),
            4 => Self::PublicBell,
            5 => Self::Listener(index),
            6 => Self::Signals,
            7 => Self::News,
            _ => Self::Arrivals,
        }
    }
}

struct Server<'a> {
    volume: &'a Volume,
    coordinator: Coordinator<Ground>,
    placement: Placement,
    /// The pod's `terminationGracePeriodSeconds`, but for a moment to say how it ended, in ms.
    pod_grace: u64,
    bells: Vec<OwnedFd>,
    /// Instead of bells.
    looks: Option<Looks>,
    public: Public,
    epoll: Epoll,
    signals: SignalFd,
    clock: TimerFd,
    clock_at: Option<Time>,
    publisher: Publisher,
    /// `None`: nobody wants the log as JSON.
    teller: Option<Teller>,
    told_to_end: bool,
    /// `None`: no step is ready by the network.
    probers: Option<Probers>,
    measuring: Measuring,
    beside: Beside,
    /// Requests that are told as events, and are answered once those are in the journal.
    answers: Vec<(oneshot::Sender<Told>, Told)>,
}

/// When the state has to be published.
#[derive(Default)]
struct Publisher {
    /// The newest event that was seen here.
    seen: Option<u64>,
    /// The first and the last change since then.
    changes: Option<(Time, Time)>,
    decided: bool,
    /// When what steps use is shown, if nothing else happens; and when that may be at the soonest.
    measured: Option<Time>,
    soonest: Time,
}

impl<'a> Server<'a> {
    fn open(
        volume: &'a Volume,
        run: &mut Run,
        open: OpenControl,
        log: Option<Log>,
        trace: Option<Context>,
    ) -> Result<Self, ServeError> {
        let names: Vec<String> = run.plan.steps.iter().map(|step| step.name.clone()).collect();
        let mailboxes = volume.mailboxes(names.iter().map(String::as_str), run.durability)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let (bells, watched) = match run.bell {
            Bell::Socket => (hang_up_bells(&mailboxes, &names, &epoll)?, None),
            Bell::File => (Vec::new(), Some(begin_to_watch(volume, &names, &epoll)?)),
        };
        let looks = watched.as_ref().map(|_| Looks::new(names.len()));
        let public = Public::open(volume, run.bell)?;
        if let Some(bell) = public.bell() {
            watch(&epoll, bell, Token::PublicBell)?;
        }
        let clock = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        watch(&epoll, &clock, Token::Clock)?;
        let (journal, events) = Journal::open(volume, run.durability)?;
        let boot_id = process::boot_id()?;
        let rebooted = boot_id != run.boot_id;
        let mut ground = Ground::new(mailboxes, journal, names, trace);
        if let Some(watched) = watched {
            ground.watch(watched);
        }
        let coordinator = Coordinator::start(ground, run.plan.clone(), run.run, &events, rebooted)?;
        if rebooted {
            run.boot_id = boot_id;
            volume.write_run(run)?; // after the journal says so: a crash in between only says it twice
        }
        let sample_log = log.as_ref().map(Log::for_samples);
        let mut teller = log.map(|log| {
            let mut teller = Teller::new(log);
            let started_at = coordinator.state().first_start().map(|at| wall_clock().show(at));
            teller.run(run, started_at);
            teller.events(events, &run.plan);
            teller
        });
        let (file, before) = open_usage(volume);
        if let Some(teller) = &mut teller {
            teller.samples(&before);
        }
        let signals = take_signals()?;
        watch(&epoll, &signals, Token::Signals)?;
        // Not before the lock is held: the socket of a coordinator that lives must not be taken away.
        let beside = Beside::start(volume, open)?;
        watch(&epoll, &beside.bell(), Token::News)?;
        let (runtime, verdicts) = beside.for_probes();
        let probers = Probers::of(coordinator.state(), runtime, verdicts);
        let measuring = Measuring::start(coordinator.state(), (file, &before), sample_log, beside.for_usage());
        Ok(Self {
            volume,
            coordinator,
            placement: run.placement,
            pod_grace: run.termination_grace_seconds.saturating_mul(1000).saturating_sub(LAST_MOMENT),
            bells,
            looks,
            public,
            epoll,
            signals,
            clock,
            clock_at: None,
            publisher: Publisher::default(),
            teller,
            told_to_end: false,
            probers,
            measuring,
            beside,
            answers: Vec::new(),
        })
    }

    fn work(&mut self) -> Result<Finished, ServeError> {
        loop {
            self.coordinator.settle()?;
            self.answer_all();
            let now = self.coordinator.world().now();
            if let Some(probers) = &mut self.probers {
                probers.follow(self.coordinator.state(), now);
            }
            self.publish_if_due();
            if let Some(outcome) = self.finished() {
                self.coordinator.world().mailboxes.remove_spares();
                self.measuring.finish();
                let state = self.publish();
                return Ok(Finished { outcome, state, placement: self.placement });
            }
            if self.coordinator.has_news() {
                continue; // somebody has come at the last moment
            }
            self.coordinator.world().mailboxes.remove_spares();
            self.set_clock()?;
            self.wait()?;
        }
    }

    fn finished(&mut self) -> Option<Outcome> {
        match self.placement {
            Placement::Sidecar => self.coordinator.finished().filter(|_| self.told_to_end),
            Placement::Container if self.told_to_end => self.coordinator.finished(),
            Placement::Container => self.coordinator.finished_for_good(),
        }
    }

    fn wait(&mut self) -> Result<(), ServeError> {
        let mut events = [EpollEvent::empty(); BATCH];
        match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => self.handle_all(&events[..count]),
            Err(Errno::EINTR) => Ok(()), // it was stopped and goes on, see signal(7)
            Err(errno) => Err(errno.into()),
        }
    }

    fn handle_signals(&mut self) -> Result<(), ServeError> {
        while let Some(received) = self.signals.read_signal()? {
            if received.ssi_signo == Signal::SIGINT as u32 {
                self.handle_signal(Request::Cancel);
            } else {
                self.handle_signal(Request::Terminate { grace: self.pod_grace });
            }
        }
        Ok(())
    }

    fn handle_news(&mut self) {
        for news in self.beside.take() {
            match news {
                News::Asked(asked) => self.handle_question(asked),
                News::Found(found) => self.coordinator.probed(found),
                News::Measured => self.publisher.note_measured(self.coordinator.world().now()),
            }
        }
    }

    /// SIGTERM is the kubelet's: the pod is being deleted, which the `preStop` hook has said already where there is one. SIGINT
    /// is a person's at a terminal. After the end either is what a sidecar waits for. To a sidecar of a pod that is being deleted
    /// the kubelet's comes after every ordinary container has ended, and it creates none any more: nothing can run.
    fn handle_signal(&mut self, request: Request) {
        let answer = self.coordinator.state().answer(request);
        let is_last = matches!((request, &answer), (Request::Terminate { .. }, Answer::Done(_)));
        if is_last && self.placement == Placement::Sidecar {
            self.handle_signal(Request::Cancel);
        } else if let Answer::Does(what) = answer {
            tracing::warn!("{what}");
            self.coordinator.requested(request);
        }
        self.told_to_end = true;
    }

    fn handle_question(&mut self, asked: Asked) {
        let asker = match asked {
            Asked::State(asker, _) | Asked::Request(asker, ..) => asker,
        };
        let may = asked::may_ask(asker, self.coordinator.shims());
        match (asked, may) {
            (Asked::State(_, answer), Err(told)) => drop(answer.send(Err(told))),
            (Asked::Request(_, _, answer), Err(told)) => drop(answer.send(told)),
            (Asked::State(_, answer), Ok(())) => {
                drop(answer.send(Ok(self.view())));
            }
            (Asked::Request(_, ask, answer), Ok(())) => {
                match asked::understand(&ask, self.coordinator.state(), self.pod_grace) {
                    Err(told) => drop(answer.send(told)),
                    Ok(request) => self.handle_request(request, answer),
                }
            }
        }
    }

    fn handle_request(&mut self, request: Request, answer: oneshot::Sender<Told>) {
        let told = Told::from(self.coordinator.state().answer(request));
        if told.result == asked::Verdict::Done {
            if matches!(request, Request::Terminate { .. }) {
                tracing::warn!("{}", told.message); // nobody sees what a hook prints
            }
            self.coordinator.requested(request);
            self.answers.push((answer, told)); // once it is in the journal
        } else {
            drop(answer.send(told));
        }
    }

    fn answer_all(&mut self) {
        for (answer, told) in self.answers.drain(..) {
            drop(answer.send(told)); // whoever asked may be gone
        }
    }

    /// Time comes last: a report that waits wins over a deadline.
    fn handle_all(&mut self, events: &[EpollEvent]) -> Result<(), ServeError> {
        let mut time_is_up = false;
        for event in events {
            match Token::of(event.data()) {
                Token::Clock => time_is_up = true,
                Token::Signals => self.handle_signals()?,
                Token::News => self.handle_news(),
                Token::Bell(step) => self.handle_bell(step)?,
                Token::Connection(link) => self.handle_connection(link)?,
                Token::Death(link) => self.handle_death(link),
                Token::PublicBell => self.handle_public_bell()?,
                Token::Listener(name) => self.public.hear(name),
                Token::Arrivals => self.look(Looks::look_early)?,
            }
        }
        if time_is_up {
            self.clock.wait()?;
            self.clock_at = None;
            let now = self.coordinator.world().now();
            if self.looks.as_ref().is_some_and(|looks| looks.next_at() <= now) {
                self.look(Looks::look)?;
            }
            self.coordinator.wake();
        }
        Ok(())
    }

    fn handle_bell(&mut self, step: StepId) -> Result<(), ServeError> {
        for _ in 0..CALLERS {
            let Some(socket) = bell::accept(self.bells[step.index()].as_fd())? else { return Ok(()) };
            let link = self.coordinator.world().keep(step, socket);
            if let Some(socket) = self.coordinator.world().connection(link).and_then(|kept| kept.socket.as_ref()) {
                watch(&self.epoll, socket, Token::Connection(link))?;
            }
            self.coordinator.connected(step, link);
        }
        Ok(())
    }

    fn look(&mut self, how: fn(&mut Looks, &mut Coordinator<Ground>) -> Vec<Link>) -> Result<(), ServeError> {
        let Some(looks) = &mut self.looks else { return Ok(()) };
        for link in how(looks, &mut self.coordinator) {
            self.watch_death(link)?;
        }
        Ok(())
    }

    fn handle_public_bell(&mut self) -> Result<(), ServeError> {
        for _ in 0..CALLERS {
            let Some(came) = self.public.accept()? else { return Ok(()) };
            if let Some((name, socket)) = came {
                watch(&self.epoll, socket, Token::Listener(name))?;
            }
        }
        Ok(())
    }

    fn handle_connection(&mut self, link: Link) -> Result<(), ServeError> {
        let Some(connection) = self.coordinator.world().connection(link) else { return Ok(()) };
        let step = connection.step;
        let Some(received) = connection.socket.as_ref().map(|socket| bell::receive(socket.as_fd())) else {
            return Ok(());
        };
        match received {
            Received::Packet(packet) => self.coordinator.packet(step, link, packet),
            Received::Ended => {
                connection.socket = None; // closed, and so no longer watched
                self.coordinator.ended(step, link);
                self.watch_death(link)?;
            }
            Received::Foreign | Received::Nothing => {}
        }
        Ok(())
    }

    /// The connection has ended and the process has not: its pidfd will tell.
    fn watch_death(&mut self, link: Link) -> Result<(), ServeError> {
        let connection = self.coordinator.world().connection(link).filter(|connection| connection.socket.is_none());
        if let Some(pidfd) = connection.and_then(|connection| connection.pidfd.as_ref()) {
            watch(&self.epoll, pidfd, Token::Death(link))?;
        }
        Ok(())
    }

    fn handle_death(&mut self, link: Link) {
        let connection = self.coordinator.world().connection(link);
        if let Some(step) =
            connection.filter(|connection| connection.socket.is_none()).map(|connection| connection.step)
        {
            match &mut self.looks {
                None => self.coordinator.died(step, link),
                Some(looks) => looks.died(step, link, &mut self.coordinator),
            }
        }
    }

    // --- the clock ---

    /// A clock that goes off too early costs one wake-up, and setting it anew for each event costs more.
    fn set_clock(&mut self) -> Result<(), ServeError> {
        let now = self.coordinator.world().now();
        let last_call = self.coordinator.last_call().filter(|at| self.placement == Placement::Container && *at > now);
        let look = self.looks.as_ref().map(Looks::next_at);
        let wanted = [self.coordinator.next_wake(), self.publisher.due(), last_call, look].into_iter().flatten().min();
        let Some(at) = wanted.filter(|at| self.clock_at.is_none_or(|set| *at < set)) else { return Ok(()) };
        let at_least = at.max(1); // zero would stop the clock
        let time = TimeSpec::new((at_least / 1_000_000_000) as i64, (at_least % 1_000_000_000) as i64);
        self.clock.set(Expiration::OneShot(time), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        self.clock_at = Some(at);
        Ok(())
    }

    // --- the published state ---

    fn publish_if_due(&mut self) {
        let now = self.coordinator.world().now();
        let (seq, decided) = (self.coordinator.state().seq(), self.coordinator.state().outcome().is_some());
        self.publisher.note(seq, decided, now);
        if self.publisher.due().is_some_and(|at| at <= now) {
            self.publish();
        }
    }

    fn view(&self) -> published::State {
        let mut view = published::State::of(self.coordinator.state(), wall_clock());
        if let Some(probers) = &self.probers {
            probers.add_to(&mut view);
        }
        self.measuring.add_to(&mut view);
        view
    }

    fn publish(&mut self) -> published::State {
        let begun = self.coordinator.world().now();
        self.measuring.follow(&self.coordinator);
        let state = self.view();
        if let Err(error) = self.volume.publish(&state) {
            tracing::warn!("the state is not published: {error}");
        }
        if let Err(error) = self.public.show(self.volume, self.coordinator.state()) {
            tracing::warn!("the phases are not published: {error}");
        }
        self.publisher.seen = Some(state.seq);
        self.publisher.changes = None;
        self.publisher.note_published(begun, self.coordinator.world().now());
        self.tell_log(Some(&state));
        state
    }

    /// What has happened since this was last called goes into the log: not before turns are rung and the state is published.
    fn tell_log(&mut self, state: Option<&published::State>) {
        let events = self.coordinator.take_applied();
        let Some(teller) = &mut self.teller else {
            let plan = self.coordinator.state().plan();
            for event in events {
                let step = event.kind.step().map_or("", |step| plan.steps[step.index()].name.as_str());
                tracing::info!(seq = event.seq, at = event.at, step, kind = ?event.kind);
            }
            return;
        };
        teller.events(events, self.coordinator.state().plan());
        if let Some(state) = state {
            teller.outcome(state);
        }
        teller.flush();
    }
}

fn wall_clock() -> published::WallClock {
    published::WallClock { boottime: process::now(), realtime: process::realtime() }
}

impl Publisher {
    fn note(&mut self, seq: u64, decided: bool, now: Time) {
        if self.seen == Some(seq) {
            return;
        }
        self.seen = Some(seq);
        let first = self.changes.map_or(now, |(first, _)| first);
        self.changes = Some((first, now));
        if decided && !std::mem::replace(&mut self.decided, true) {
            self.changes = Some((0, 0)); // the end is told at once
        }
    }

    fn note_measured(&mut self, now: Time) {
        self.measured.get_or_insert(now.max(self.soonest));
    }

    fn note_published(&mut self, begun: Time, now: Time) {
        self.measured = None;
        self.soonest = now + PUBLISH_LATEST.max(now.saturating_sub(begun).saturating_mul(PUBLISH_SELDOM));
    }

    fn due(&self) -> Option<Time> {
        let changes = self.changes.map(|(first, last)| (first + PUBLISH_LATEST).min(last + PUBLISH_PAUSE));
        [changes, self.measured].into_iter().flatten().min()
    }
}

/// Without the file the samples are shown, and not kept.
fn open_usage(volume: &Volume) -> (Option<UsageFile>, Vec<Sample>) {
    match UsageFile::open(volume) {
        Ok((file, before)) => (Some(file), before),
        Err(error) => {
            tracing::warn!("what steps use is not kept: {error}");
            (None, Vec::new())
        }
    }
}

/// Keeps SIGTERM and SIGINT, for this thread and all that it starts, until [`serve`] reads them: the first thing that a
/// coordinator does. A pod may be deleted before it listens, and nobody starts it again then.
///
/// # Errors
/// Those of sigprocmask(2): none that can happen.
pub fn hold_signals() -> std::io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&told_by_signals()), None)?)
}

fn told_by_signals() -> SigSet {
    SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT])
}

/// What was held is something to read.
fn take_signals() -> Result<SignalFd, ServeError> {
    hold_signals()?;
    Ok(SignalFd::with_flags(&told_by_signals(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn hang_up_bells(mailboxes: &Mailboxes, names: &[String], epoll: &Epoll) -> Result<Vec<OwnedFd>, ServeError> {
    let mut bells = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let bell = bell::listen(mailboxes, name)?;
        watch(epoll, &bell, Token::Bell(StepId(index as u32)))?;
        bells.push(bell);
    }
    Ok(bells)
}

fn begin_to_watch(volume: &Volume, names: &[String], epoll: &Epoll) -> Result<Watched, ServeError> {
    let watched = Watched::open(volume, names.iter().map(String::as_str))?;
    if let Some(arrivals) = watched.arrivals() {
        watch(epoll, &arrivals, Token::Arrivals)?;
    }
    Ok(watched)
}

fn watch(epoll: &Epoll, fd: &impl AsFd, token: Token) -> Result<(), ServeError> {
    Ok(epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token.data()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back() {
        for token in [
            Token::Clock,
            Token::Bell(StepId(7)),
            Token::Connection(Link(u32::MAX)),
            Token::Death(Link(0)),
            Token::PublicBell,
            Token::Listener(9),
            Token::Signals,
            Token::News,
            Token::Arrivals,
        ] {
            assert_eq!(Token::of(token.data()), token);
        }
    }
}
