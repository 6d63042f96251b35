//! One life of a container, from its start to its end: its hooks, its probes, and its way down.
//!
//! Each life is a task. It tells the kubelet what happens ([`Event`]) and is told to stop ([`Stop`]). Does not belong here: what
//! follows for others, and whether there is another life (`kubelet`).

use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout, timeout_at};

use super::attempts::{run_hook, try_probe};
use super::pod::{Container, ContainerProbe};
use super::runtime::{Entered, Runtime, Started, exit_code};
use crate::probe::Row;

/// However late a container's stop signal comes, SIGKILL comes this much later (`minimumGracePeriodInSeconds` of the kubelet).
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// Something that happened to a container.
#[derive(Debug)]
pub(super) struct Event {
    /// Which one.
    pub(super) name: String,
    /// What.
    pub(super) what: What,
}

/// What happened.
#[derive(Debug)]
pub(super) enum What {
    /// It runs, and its `postStart` hook has returned: the one after it may be created.
    Created,
    /// Its startup probe has passed, if it has one.
    Started,
    /// Its `preStop` hook has returned, or there is none.
    PreStopped,
    /// It has ended, with this code.
    Ended(i32),
}

/// The order to stop.
pub(super) struct Stop {
    /// How long until SIGKILL, from now on.
    pub(super) grace: Duration,
    /// Whether its `preStop` hook runs.
    pub(super) has_hook: bool,
    /// It waits for its turn before it gets its signal.
    pub(super) turn: Option<oneshot::Receiver<()>>,
}

/// A container that runs.
pub(super) struct Life {
    pub(super) runtime: Arc<Runtime>,
    pub(super) container: Arc<Container>,
    pub(super) pid: Pid,
    /// The pod's grace.
    pub(super) grace: Duration,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

/// How often and how long something is tried.
enum Tried {
    Succeeded,
    Failed(String),
}

impl Life {
    /// Lives to the end. The first order counts.
    pub(super) async fn live(self, started: Started, mut orders: mpsc::UnboundedReceiver<Stop>) {
        let Started { mut child, mut entered, verdict, .. } = started;
        let ended = {
            let end = child.wait();
            tokio::pin!(end);
            let stop = tokio::select! {
                ended = &mut end => Err(ended),
                stop = self.care(&mut entered) => Ok(stop),
                Some(stop) = orders.recv() => Ok(stop),
            };
            match stop {
                Err(ended) => ended,
                Ok(stop) => tokio::select! {
                    ended = &mut end => ended,
                    never = self.go_down(stop, &mut entered) => match never {},
                },
            }
        };
        let code = ended.map_or(-1, exit_code);
        if let Some(verdict) = verdict {
            let _ = verdict.send(code != 0);
        }
        self.tell(What::Ended(code));
    }

    fn tell(&self, what: What) {
        let _ = self.events.send(Event { name: self.container.name.clone(), what }); // the pod is over, then
    }

    fn say(&self, text: &str) {
        self.runtime.say(format!("{}{text}", self.container.name));
    }

    // --- while it should live ---

    /// Takes care of it, until it has to be stopped.
    async fn care(&self, entered: &mut Entered) -> Stop {
        entered.wait().await;
        if let Some(hook) = &self.container.post_start
            && let Err(why) = run_hook(&self.runtime, &self.container, self.pid, hook).await
        {
            self.say(&format!(": its postStart hook failed ({why}), so it is stopped"));
            return self.stop(None);
        }
        self.tell(What::Created);
        if let Some(probe) = &self.container.startup_probe {
            let mut failure = None;
            self.follow(probe, |tried| {
                if let Tried::Failed(why) = tried {
                    failure = Some(why);
                }
                true
            })
            .await;
            if let Some(why) = failure {
                self.say(&format!(
                    ": its startup probe failed {} times ({why}), so it is stopped",
                    probe.failure_threshold
                ));
                return self.stop(probe.grace_seconds);
            }
        }
        self.tell(What::Started);
        tokio::select! {
            stop = self.follow_liveness() => stop,
            never = self.follow_readiness() => match never {},
        }
    }

    fn stop(&self, own_grace: Option<u64>) -> Stop {
        Stop { grace: own_grace.map_or(self.grace, Duration::from_secs), has_hook: true, turn: None }
    }

    /// Returns when it has to be stopped.
    async fn follow_liveness(&self) -> Stop {
        let Some(probe) = &self.container.liveness_probe else { return std::future::pending().await };
        let mut failure = String::new();
        self.follow(probe, |tried| match tried {
            Tried::Succeeded => false,
            Tried::Failed(why) => {
                failure = why;
                true
            }
        })
        .await;
        self.say(&format!(
            ": its liveness probe failed {} times ({failure}), so it is stopped",
            probe.failure_threshold
        ));
        self.stop(probe.grace_seconds)
    }

    /// Says when it becomes ready, and when it no longer is.
    async fn follow_readiness(&self) -> std::convert::Infallible {
        let Some(probe) = &self.container.readiness_probe else { return std::future::pending().await };
        let mut is_ready = false;
        loop {
            self.follow(probe, |tried| {
                match tried {
                    Tried::Succeeded if !is_ready => self.say(" is ready"),
                    Tried::Failed(why) if is_ready => self.say(&format!(" is not ready any more: {why}")),
                    Tried::Succeeded => return false,
                    Tried::Failed(_) => return false,
                }
                is_ready = !is_ready;
                false
            })
            .await;
        }
    }

    /// Tries a probe as often as it says, and tells each row that is long enough, until `is_enough` says so. A try that takes longer than
    /// a period is followed by the next one at once, as the kubelet does it.
    async fn follow(&self, probe: &ContainerProbe, mut is_enough: impl FnMut(Tried) -> bool) {
        let seconds = |count: u32| Duration::from_secs(count.into());
        let mut due = interval_at(Instant::now() + seconds(probe.initial_delay_seconds), seconds(probe.period_seconds));
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut row = Row::default();
        loop {
            due.tick().await;
            let tried = try_probe(&self.runtime, &self.container, self.pid, &probe.what);
            let tried = timeout(seconds(probe.timeout_seconds), tried).await;
            let tried = tried.unwrap_or_else(|_| Err(format!("no answer within {} s", probe.timeout_seconds)));
            let threshold = if tried.is_ok() { probe.success_threshold } else { probe.failure_threshold };
            let is_long = row.note(tried.is_ok()) >= threshold;
            if is_long && is_enough(tried.map_or_else(Tried::Failed, |()| Tried::Succeeded)) {
                return;
            }
        }
    }

    // --- on its way down ---

    /// What the kubelet does to end one container (`killContainer` in `pkg/kubelet/kuberuntime/kuberuntime_container.go` of
    /// Kubernetes): hook, turn, signal, SIGKILL. The hook and the wait for the turn are part of the grace.
    async fn go_down(&self, stop: Stop, entered: &mut Entered) -> std::convert::Infallible {
        let end = Instant::now() + stop.grace;
        let _ = timeout_at(end, entered.wait()).await;
        if let Some(hook) = self.container.pre_stop.as_ref().filter(|_| stop.has_hook) {
            match timeout_at(end, run_hook(&self.runtime, &self.container, self.pid, hook)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => self.say(&format!(": its preStop hook failed: {why}")),
                Err(_) => self.say(": its preStop hook used up the grace, and was ended"),
            }
        }
        self.tell(What::PreStopped);
        if let Some(turn) = stop.turn {
            let _ = timeout_at(end, turn).await;
        }
        self.signal(self.container.stop_signal);
        sleep_until(end.max(Instant::now() + LEAST_GRACE)).await;
        self.say(": the grace is over, SIGKILL");
        self.signal(libc::SIGKILL);
        std::future::pending().await
    }

    /// It was not waited for yet, so the number is its own.
    fn signal(&self, number: i32) {
        // SAFETY: kill(2) touches no memory. nix has no real-time signals.
        let _ = unsafe { libc::kill(self.pid.as_raw(), number) };
    }
}
