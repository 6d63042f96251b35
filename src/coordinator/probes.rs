//! Readiness over the network: who is probed, how often, and what a row of tries says.
//!
//! Belongs here: Kubernetes' rules for periods and thresholds
//! (<https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#configure-probes>).
//! Does not belong here: one try (`tries.rs`), and what follows from a verdict (the core).

use std::time::Duration;

use podturn_turn::{Phase, Probed, Readiness, State, StepId, Time};
use podturn_wire::InstanceId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::tries;

/// What was found of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) whose: Whose,
    pub(super) readiness: Probed,
}

/// One attempt of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whose {
    pub(super) step: StepId,
    pub(super) instance: InstanceId,
    pub(super) attempt: u32,
}

/// The probers of a run. Steps without a network probe cost nothing.
pub(super) struct Probers {
    /// Steps that have a network probe, with the prober at work.
    steps: Vec<(StepId, Option<Prober>)>,
    sender: mpsc::Sender<Finding>,
}

struct Prober {
    whose: Whose,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probers {
    /// The probers, and where their findings come out.
    pub(super) fn new(state: &State) -> (Self, mpsc::Receiver<Finding>) {
        let (sender, findings) = mpsc::channel(16);
        let ids = (0..state.plan().steps.len() as u32).map(StepId);
        let is_ours = |id: &StepId| {
            let readiness = state.plan().steps[id.index()].readiness.as_ref();
            readiness.is_some_and(|readiness| readiness.probe.is_network())
        };
        (Self { steps: ids.filter(is_ours).map(|id| (id, None)).collect(), sender }, findings)
    }

    /// Begins to probe attempts that have begun, and leaves those alone that are over.
    pub(super) fn update(&mut self, state: &State, now: Time) {
        for (step, prober) in &mut self.steps {
            let wanted = wanted(state, *step);
            if wanted == prober.as_ref().map(|prober| prober.whose) {
                continue;
            }
            *prober = wanted.and_then(|whose| {
                let readiness = state.plan().steps[step.index()].readiness.clone()?;
                let begun_at = state.begun_at(*step).unwrap_or(now);
                let age = Duration::from_nanos(now.saturating_sub(begun_at));
                let delay = Duration::from_secs(u64::from(readiness.initial_delay_seconds)).saturating_sub(age);
                let row = Row::new(&readiness, state.phase(*step) == Phase::Ready, state.ready_at(*step).is_some());
                let task = tokio::spawn(probe(whose, readiness, row, delay, self.sender.clone()));
                Some(Prober { whose, task })
            });
        }
    }
}

fn wanted(state: &State, step: StepId) -> Option<Whose> {
    match state.phase(step) {
        Phase::Running | Phase::Ready => {
            Some(Whose { step, instance: state.instance(step)?, attempt: state.attempt(step) })
        }
        _ => None,
    }
}

async fn probe(whose: Whose, readiness: Readiness, mut row: Row, delay: Duration, findings: mpsc::Sender<Finding>) {
    sleep(delay).await;
    let mut ticks = interval(Duration::from_secs(u64::from(readiness.period_seconds.max(1))));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limit = Duration::from_secs(u64::from(readiness.timeout_seconds.max(1)));
    loop {
        ticks.tick().await;
        let result = timeout(limit, tries::attempt(&readiness.probe)).await;
        let why = match result {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some(format!("no answer within {} s", limit.as_secs())),
        };
        if let Some(why) = &why {
            tracing::debug!(step = whose.step.0, "a probe failed: {why}");
        }
        if let Some(verdict) = row.add(why.is_none()) {
            if let Some(why) = why {
                tracing::warn!(step = whose.step.0, "{verdict:?}: {why}");
            }
            if findings.send(Finding { whose, readiness: verdict }).await.is_err() || verdict == Probed::NotReady {
                return;
            }
        }
    }
}

/// A row of successes or failures.
#[derive(Clone, Copy, Debug)]
struct Row {
    successes: u32,
    failures: u32,
    success_threshold: u32,
    failure_threshold: u32,
    is_ready: bool,
    was_ready: bool,
}

impl Row {
    fn new(readiness: &Readiness, is_ready: bool, was_ready: bool) -> Self {
        Self {
            successes: 0,
            failures: 0,
            success_threshold: readiness.success_threshold,
            failure_threshold: readiness.failure_threshold,
            is_ready,
            was_ready,
        }
    }

    /// Adds a try, and says what it changes.
    fn add(&mut self, success: bool) -> Option<Probed> {
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
            let becomes = !self.is_ready && self.successes >= self.success_threshold;
            (self.is_ready, self.was_ready) = (self.is_ready || becomes, self.was_ready || becomes);
            return becomes.then_some(Probed::Ready);
        }
        (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        if self.failures < self.failure_threshold {
            return None;
        }
        match (self.was_ready, std::mem::replace(&mut self.is_ready, false)) {
            (true, true) => Some(Probed::Unready),
            (true, false) => None,
            (false, _) => Some(Probed::NotReady),
        }
    }
}

#[cfg(test)]
mod tests {
    use podturn_turn::Probe;

    use super::*;

    fn readiness(success_threshold: u32, failure_threshold: u32) -> Readiness {
        Readiness {
            probe: Probe::TcpSocket { host: String::new(), port: 1 },
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold,
            failure_threshold,
        }
    }

    /// `+` a success, `-` a failure; below each what it says: `R`eady, `U`nready, `N`otReady, or nothing.
    #[test]
    fn a_row_of_tries_says_what_kubernetes_says() {
        let table = [
            (1, 3, "+", "R"),
            (1, 3, "--+", "  R"),
            (1, 3, "---", "  N"),
            (1, 3, "--+--+---+", "  R     UR"),
            (2, 1, "+", " "),
            (2, 3, "+-++", "   R"),
            (2, 2, "++--+-++", " R U   R"),
            (1, 1, "+-----+", "RU    R"),
        ];
        for (success, failure, tries, expected) in table {
            let mut row = Row::new(&readiness(success, failure), false, false);
            let said: String = tries
                .chars()
                .map(|one| match row.add(one == '+') {
                    Some(Probed::Ready) => 'R',
                    Some(Probed::Unready) => 'U',
                    Some(Probed::NotReady) => 'N',
                    None => ' ',
                })
                .collect();
            assert_eq!(said, expected, "{success} {failure} {tries}");
        }
    }

    #[test]
    fn a_coordinator_that_comes_later_goes_on_where_the_one_before_was() {
        let mut row = Row::new(&readiness(1, 2), true, true);
        assert_eq!([row.add(true), row.add(false), row.add(false)], [None, None, Some(Probed::Unready)]);
        let mut row = Row::new(&readiness(1, 2), false, true);
        assert_eq!([row.add(false), row.add(false), row.add(true)], [None, None, Some(Probed::Ready)]);
    }
}
