//! Readiness over the network: the probes of Kubernetes that need no look inside a step's container.
//!
//! Belongs here: trying them (`http.rs`, `grpc.rs`, `reach.rs`), when a try is due, and what tries in a row come to (`count.rs`). Does not
//! belong here: what a verdict means for the plan (the core), and probes inside the container (the shim's).
//!
//! One task a service whose attempt runs, and none otherwise. A try is part of its task, so that a task that is dropped leaves no
//! connection behind. A task ends with `NotReady`, which is final.

mod count;
mod grpc;
mod http;
mod location;
mod reach;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use podturn_turn::{Phase, Probe, Probed, Readiness, State, StepId, Time};
use podturn_wire::InstanceId;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use self::count::{Count, Known};
use self::location::Url;

/// How the tries name themselves, where the kubelet says `kube-probe/1.36`.
const AGENT: &str = concat!("podturn-probe/", env!("CARGO_PKG_VERSION"));

/// What one try came to. A success may be worth a warning; a failure says why.
type Tried = Result<Option<String>, String>;

/// Verdicts that may wait for the coordinator: it takes one before it does anything else, and a service has one at a time.
const VERDICTS: usize = 16;

/// What is tried: an attempt of a step in one life of its shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    /// Whose.
    pub(super) step: StepId,
    /// Of which instance.
    pub(super) instance: InstanceId,
    /// Which attempt.
    pub(super) attempt: u32,
}

/// What the tries of an attempt have come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Of what.
    pub(super) of: Probing,
    /// What.
    pub(super) readiness: Probed,
    /// Why it is not ready.
    pub(super) why: Option<String>,
}

/// The probers of one run.
pub(super) struct Probers {
    services: Vec<Service>,
    sender: mpsc::Sender<Found>,
    found: mpsc::Receiver<Found>,
}

/// A step that is ready by the network.
struct Service {
    step: StepId,
    name: Arc<str>,
    readiness: Arc<Readiness>,
    /// Kept also when it has said its last, so that it is not begun again.
    prober: Option<(Probing, Prober)>,
}

impl Probers {
    /// For the network probes of this plan; `None`: it has none.
    pub(super) fn of(state: &State) -> Option<Self> {
        let steps = state.plan().steps.iter().zip(0..);
        let services: Vec<Service> = steps
            .filter_map(|(step, index)| {
                let readiness = step.readiness.as_ref().filter(|readiness| readiness.probe.is_network())?;
                let (name, readiness) = (step.name.as_str().into(), Arc::new(readiness.clone()));
                Some(Service { step: StepId(index), name, readiness, prober: None })
            })
            .collect();
        let (sender, found) = mpsc::channel(VERDICTS);
        (!services.is_empty()).then_some(Self { services, sender, found })
    }

    /// Begins and ends probers, so that each attempt that runs has one. One look a service with a network probe.
    pub(super) fn follow(&mut self, state: &State, now: Time) {
        for service in &mut self.services {
            let wanted = wanted(state, service.step);
            let present = service.prober.as_ref().map(|(probing, _)| *probing);
            if wanted == present {
                continue;
            }
            service.prober = wanted.map(|probing| {
                let (first, known) = service.begin(state, now);
                let (readiness, sender) = (Arc::clone(&service.readiness), self.sender.clone());
                let task = follow(Arc::clone(&service.name), probing, readiness, first, known, sender);
                (probing, Prober(tokio::spawn(task).abort_handle()))
            });
        }
    }

    /// The next verdict. It may be of an attempt that is over by now.
    pub(super) async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }
}

fn wanted(state: &State, step: StepId) -> Option<Probing> {
    let runs = matches!(state.phase(step), Phase::Running | Phase::Ready);
    let instance = state.instance(step).filter(|_| runs)?;
    Some(Probing { step, instance, attempt: state.attempt(step) })
}

impl Service {
    /// When the first try is due from now on, and what is known by then: more than nothing after a restart of the coordinator.
    fn begin(&self, state: &State, now: Time) -> (Duration, Known) {
        let known = match (state.phase(self.step), state.ready_at(self.step)) {
            (Phase::Ready, _) => Known::Ready,
            (_, Some(_)) => Known::Lost,
            (_, None) => Known::Never,
        };
        let begun = state.begun_at(self.step).unwrap_or(now);
        let age = Duration::from_nanos(now.saturating_sub(begun));
        (seconds(self.readiness.initial_delay_seconds).saturating_sub(age), known)
    }
}

const fn seconds(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}

/// A task that is tried no more once this is dropped.
struct Prober(AbortHandle);

impl Drop for Prober {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tries until the attempt is `NotReady`, or for ever.
async fn follow(
    name: Arc<str>,
    of: Probing,
    readiness: Arc<Readiness>,
    first: Duration,
    known: Known,
    sender: mpsc::Sender<Found>,
) {
    let attempt = || {
        let (readiness, name) = (Arc::clone(&readiness), Arc::clone(&name));
        async move {
            let tried = try_once(&readiness.probe).await;
            tracing::debug!(step = &*name, attempt = of.attempt, "probe: {tried:?}");
            if let Ok(Some(warning)) = &tried {
                tracing::warn!(step = &*name, attempt = of.attempt, "probe: {warning}");
            }
            tried.map(drop)
        }
    };
    let tell = |readiness, why| {
        let sender = sender.clone();
        async move { sender.send(Found { of, readiness, why }).await.is_ok() }
    };
    schedule(&readiness, first, known, attempt, tell).await;
}

/// When tries are due, and what they come to. A try that takes longer than a period is followed by the next one at once, as the
/// kubelet does it. `tell` returns whether anybody listens.
async fn schedule<T, F>(
    readiness: &Readiness,
    first: Duration,
    known: Known,
    mut attempt: impl FnMut() -> T,
    mut tell: impl FnMut(Probed, Option<String>) -> F,
) where
    T: Future<Output = Result<(), String>>,
    F: Future<Output = bool>,
{
    let limit = seconds(readiness.timeout_seconds);
    let mut count = Count::new(readiness, known);
    let mut due = interval_at(Instant::now() + first, seconds(readiness.period_seconds));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let tried = timeout(limit, attempt()).await;
        let tried = tried.unwrap_or_else(|_| Err(format!("no answer within {} s", readiness.timeout_seconds)));
        let Some(verdict) = count.note(tried.is_ok()) else { continue };
        if !tell(verdict, tried.err()).await || verdict == Probed::NotReady {
            return;
        }
    }
}

/// One try, without a limit of time.
async fn try_once(probe: &Probe) -> Tried {
    match probe {
        Probe::HttpGet { https: true, .. } => Err("HTTPS is not probed".to_owned()), // the plan's check refuses it
        Probe::HttpGet { host, port, path, headers, https: false } => {
            let url = Url { https: false, host: host.clone(), port: *port, path: path.clone() };
            http::get(url, headers).await
        }
        Probe::TcpSocket { host, port } => reach::connect(host, *port).await.map(|_| None),
        Probe::Grpc { port, service } => grpc::check(*port, service).await,
        Probe::Exec { .. } | Probe::File { .. } | Probe::Log { .. } => {
            Err("this is tried inside the step's container".to_owned())
        }
    }
}
