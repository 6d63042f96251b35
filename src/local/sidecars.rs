//! Native sidecars under way: each is started again when it ends, until the pod does.

use std::collections::HashMap;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::task::JoinSet;

use super::kubelet::pid_of;

/// How long a sidecar that died again waits before its next start: a kubelet begins with 10 s, and nobody would wait so long
/// on their own machine.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// The sidecars of a pod.
#[derive(Default)]
pub(super) struct Sidecars {
    running: JoinSet<(String, io::Result<ExitStatus>)>,
    pauses: JoinSet<String>,
    pids: HashMap<String, Pid>,
    restarts: HashMap<String, u32>,
}

/// Something that the kubelet has to do.
pub(super) enum Event {
    /// It has ended: its name, the number of its process, and how.
    Ended(String, Option<Pid>, io::Result<ExitStatus>),
    /// It has to be started again.
    Due(String),
}

impl Sidecars {
    /// This one was started.
    pub(super) fn started(&mut self, name: &str, mut child: Child) {
        self.pids.extend(pid_of(&child).map(|pid| (name.to_owned(), pid)));
        let name = name.to_owned();
        self.running.spawn(async move { (name, child.wait().await) });
    }

    /// It is due at once the first time, and after a pause from then on.
    pub(super) fn plan_restart(&mut self, name: String) {
        let restarts = self.restarts.entry(name.clone()).or_default();
        let pause = if *restarts == 0 { Duration::ZERO } else { RESTART_PAUSE };
        *restarts += 1;
        self.pauses.spawn(async move {
            tokio::time::sleep(pause).await;
            name
        });
    }

    /// Waits for the next event. Nothing is lost if it is dropped.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            Some(Ok((name, status))) = self.running.join_next() => {
                let pid = self.pids.remove(&name);
                Event::Ended(name, pid, status)
            }
            Some(Ok(name)) = self.pauses.join_next() => Event::Due(name),
            else => std::future::pending().await,
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        for pid in self.pids.values() {
            let _ = kill(*pid, signal);
        }
    }

    /// Waits until none is left; nobody is started again.
    pub(super) async fn all_ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }
}
