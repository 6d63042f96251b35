//! Readiness over the network: the probes of Kubernetes that need no look inside a step's container.
//!
//! Belongs here: when a try is due, and what tries in a row come to (`count.rs`). Does not belong here: the try itself (room `probe`),
//! what a verdict means for the plan (the core), and probes inside the container (the shim's).
//!
//! One task a service whose attempt runs, and none otherwise. A try is part of its task, so that a task that is dropped leaves no
//! connection behind. A task ends with `NotReady`, which is final.

mod count;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use podturn_turn::{Phase, Probed, Readiness, State, StepId, Time};
use podturn_wire::InstanceId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use self::count::{Count, Known};
use crate::probe::{Tried, try_once};
use crate::volume::published::{self, ProbeFailures};

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
    /// Where the tries are made.
    runtime: Handle,
    verdicts: mpsc::Sender<Found>,
}

/// A step that is ready by the network.
struct Service {
    step: StepId,
    name: Arc<str>,
    readiness: Arc<Readiness>,
    /// Kept also when it has said its last, so that it is not begun again.
    prober: Option<(Probing, Prober)>,
}

/// The failures since the last success, for people: nothing is decided by them.
type Failures = Arc<Mutex<Option<ProbeFailures>>>;

impl Probers {
    /// For the network probes of this plan, which are tried on this runtime and tell what they come to; `None`: it has none. A
    /// verdict may be of an attempt that is over by the time it is read.
    pub(super) fn of(state: &State, runtime: Handle, verdicts: mpsc::Sender<Found>) -> Option<Self> {
        let steps = state.plan().steps.iter().zip(0..);
        let services: Vec<Service> = steps
            .filter_map(|(step, index)| {
                let readiness = step.readiness.as_ref().filter(|readiness| readiness.probe.is_network())?;
                let (name, readiness) = (step.name.as_str().into(), Arc::new(readiness.clone()));
                Some(Service { step: StepId(index), name, readiness, prober: None })
            })
            .collect();
        (!services.is_empty()).then_some(Self { services, runtime, verdicts })
    }

    /// Begins and ends probers, so that each attempt that runs has one. One look a service with a network probe.
    pub(super) fn follow(&mut self, state: &State, now: Time) {
        for service in &mut self.services {
            let wanted = wanted(state, service.step);
            let present = service.prober.as_ref().map(|(probing, _)| *probing);
            if wanted == present {
                continue;
            }
            service.prober = wanted.map(|of| {
                let tries = service.tries(of, state, now);
                let failures = Arc::clone(&tries.failures);
                let task = self.runtime.spawn(tries.follow(self.verdicts.clone())).abort_handle();
                (of, Prober { task, failures })
            });
        }
    }

    /// Adds to the view why services are not ready.
    pub(super) fn add_to(&self, view: &mut published::State) {
        for service in &self.services {
            let Some((_, prober)) = &service.prober else { continue };
            let failures = prober.failures.lock().unwrap_or_else(PoisonError::into_inner);
            view.steps[service.step.index()].probe_failures.clone_from(&failures);
        }
    }
}

fn wanted(state: &State, step: StepId) -> Option<Probing> {
    let runs = matches!(state.phase(step), Phase::Running | Phase::Ready);
    let instance = state.instance(step).filter(|_| runs)?;
    Some(Probing { step, instance, attempt: state.attempt(step) })
}

impl Service {
    /// The tries of an attempt, from now on. Something is known by then after a restart of the coordinator.
    fn tries(&self, of: Probing, state: &State, now: Time) -> Tries {
        let known = match (state.phase(self.step), state.ready_at(self.step)) {
            (Phase::Ready, _) => Known::Ready,
            (_, Some(_)) => Known::Lost,
            (_, None) => Known::Never,
        };
        let age = Duration::from_nanos(now.saturating_sub(state.begun_at(self.step).unwrap_or(now)));
        let first = seconds(self.readiness.initial_delay_seconds).saturating_sub(age);
        let (name, readiness) = (Arc::clone(&self.name), Arc::clone(&self.readiness));
        Tries { of, name, readiness, first, known, failures: Failures::default() }
    }
}

const fn seconds(count: u32) -> Duration {
    Duration::from_secs(count as u64)
}

/// A task that is tried no more once this is dropped.
struct Prober {
    task: AbortHandle,
    failures: Failures,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tries of one attempt.
struct Tries {
    of: Probing,
    name: Arc<str>,
    readiness: Arc<Readiness>,
    /// How long it is until the first one.
    first: Duration,
    known: Known,
    failures: Failures,
}

impl Tries {
    /// Tries until the attempt is `NotReady`, or for ever.
    async fn follow(self, sender: mpsc::Sender<Found>) {
        let readiness = Arc::clone(&self.readiness);
        let attempt = move || {
            let readiness = Arc::clone(&readiness);
            async move { try_once(&readiness.probe).await }
        };
        let of = self.of;
        let tell = move |readiness, why| {
            let sender = sender.clone();
            async move { sender.send(Found { of, readiness, why }).await.is_ok() }
        };
        self.schedule(attempt, tell).await;
    }

    /// When tries are due, and what they come to. A try that takes longer than a period is followed by the next one at once,
    /// as the kubelet does it. `tell` returns whether anybody listens.
    async fn schedule<T, F>(&self, mut attempt: impl FnMut() -> T, mut tell: impl FnMut(Probed, Option<String>) -> F)
    where
        T: Future<Output = Tried>,
        F: Future<Output = bool>,
    {
        let limit = seconds(self.readiness.timeout_seconds);
        let mut count = Count::new(&self.readiness, self.known);
        let mut due = interval_at(Instant::now() + self.first, seconds(self.readiness.period_seconds));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned = None;
        loop {
            due.tick().await;
            let tried = timeout(limit, attempt()).await;
            let tried = tried.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
            self.log(&tried, &mut warned);
            self.note(&tried);
            let Some(verdict) = count.note(tried.is_ok()) else { continue };
            if !tell(verdict, tried.err()).await || verdict == Probed::NotReady {
                return;
            }
        }
    }

    fn note(&self, tried: &Tried) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failures.as_ref().map_or(0, |failures| failures.in_a_row);
        *failures =
            tried.as_ref().err().map(|why| ProbeFailures { in_a_row: before.saturating_add(1), last: why.clone() });
    }

    /// What is odd about a success is said once, and not at every try.
    fn log(&self, tried: &Tried, warned: &mut Option<String>) {
        tracing::debug!(step = &*self.name, attempt = self.of.attempt, "a try of the probe: {tried:?}");
        if let Ok(Some(warning)) = tried
            && warned.as_ref() != Some(warning)
        {
            tracing::warn!(step = &*self.name, attempt = self.of.attempt, "the probe succeeded, but: {warning}");
            *warned = Some(warning.clone());
        }
    }
}
