//! The pod's way down: who is told to stop, in which order, and with which grace.
//!
//! Belongs here: an interrupt, a deadline, hooks and turns of sidecars on the way. Does not belong here: what is started (`super`), and
//! how one container stops (`life`).

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Interrupt, Kubelet};
use crate::local::life::Stop;

/// How long containers wait for their signal while the `preStop` hooks of the sidecars run. A kubelet begins both at once, and in
/// which order they come is chance; the coordinator's hook says why the signals come, so that steps stop in their order.
const HEAD_START: Duration = Duration::from_millis(500);

/// The pod's way down.
pub(super) struct Down {
    /// How long each has, from its order on.
    pub(super) grace: Duration,
    /// Whether `preStop` hooks run.
    pub(super) has_hooks: bool,
    /// Sidecars whose `preStop` hook runs.
    pub(super) hooks: HashSet<String>,
    /// The containers get their orders then, or when these hooks have returned; `None`: they have them.
    pub(super) orders_at: Option<Instant>,
    /// Whoever holds these sidecars back from their signal: each goes down after those behind it.
    pub(super) turns: Vec<(String, oneshot::Sender<()>)>,
}

impl Kubelet {
    pub(super) fn handle_interrupt(&mut self, interrupt: Interrupt) {
        match (self.down.is_some(), self.end.cancelled, interrupt) {
            (true, true, Interrupt::Asked) => self.end.killed = true,
            (true, true, Interrupt::Unread) => {}
            // The pod has ended, and what is left are its sidecars.
            (true, false, _) if self.end.deadline_exceeded.is_none() => self.is_hurried = true,
            (true, false, _) => self.end.killed = true,
            (false, _, _) => {
                self.end.cancelled = true;
                let grace = self.pod.grace_seconds;
                self.runtime.say(on_its_way_down(grace));
                self.go_down(true);
            }
        }
    }

    /// The pod was active for too long.
    pub(super) fn exceed(&mut self) {
        let (limit, grace) = (self.pod.active_deadline_seconds, self.pod.grace_seconds);
        self.end.deadline_exceeded = limit;
        let limit = limit.unwrap_or_default();
        self.runtime.say(format!(
            "the pod's activeDeadlineSeconds ({limit}) are over: it ends within {grace} s, as a deletion does"
        ));
        self.go_down(true);
    }

    /// Ends whatever runs, as the kubelet ends a pod (`killContainersWithSyncResult` and `termination_order.go` of Kubernetes): `preStop`
    /// hooks of all at once, then each container's signal; a sidecar gets its own after all containers and the sidecars behind
    /// it have ended. At a normal end only sidecars are left. Nothing is started again.
    pub(super) fn go_down(&mut self, has_hooks: bool) {
        if self.down.is_some() {
            return;
        }
        self.due.abort_all();
        let grace = Duration::from_secs(self.pod.grace_seconds);
        let mut down = Down { grace, has_hooks, hooks: HashSet::new(), orders_at: None, turns: Vec::new() };
        for sidecar in self.pod.init_containers.iter().filter(|container| container.is_sidecar) {
            let Some(orders) = self.standing.get(&sidecar.name).and_then(|standing| standing.orders.as_ref()) else {
                continue;
            };
            let (give, turn) = oneshot::channel();
            let _ = orders.send(Stop { grace, has_hook: has_hooks, turn: Some(turn) });
            if sidecar.pre_stop.is_some() && has_hooks {
                down.hooks.insert(sidecar.name.clone());
            }
            down.turns.push((sidecar.name.clone(), give));
        }
        down.orders_at = Some(Instant::now() + HEAD_START);
        let waits = !down.hooks.is_empty();
        self.down = Some(down);
        if !waits {
            self.order_containers();
        }
        self.give_turns();
    }

    /// A sidecar's hook has returned, or will not any more.
    pub(super) fn note_hook(&mut self, name: &str) {
        let Some(down) = &mut self.down else { return };
        if down.hooks.remove(name) && down.hooks.is_empty() {
            self.order_containers();
        }
    }

    /// Everybody but the sidecars is ordered to stop.
    pub(super) fn order_containers(&mut self) {
        let Some(down) = &mut self.down else { return };
        if down.orders_at.take().is_none() {
            return;
        }
        let all = self.pod.init_containers.iter().chain(&self.pod.containers).filter(|container| !container.is_sidecar);
        for orders in all.filter_map(|container| self.standing.get(&container.name)?.orders.as_ref()) {
            let _ = orders.send(Stop { grace: down.grace, has_hook: down.has_hooks, turn: None });
        }
    }

    /// Gives the last sidecar that lives its turn, once nothing but sidecars lives.
    pub(super) fn give_turns(&mut self) {
        let Some(down) = &mut self.down else { return };
        let lives = |name: &str| self.standing.get(name).is_some_and(|standing| standing.orders.is_some());
        let all = self.pod.init_containers.iter().chain(&self.pod.containers);
        if all.into_iter().any(|container| !container.is_sidecar && lives(&container.name)) {
            return;
        }
        down.turns.retain(|(name, _)| lives(name));
        let last =
            self.pod.init_containers.iter().rev().find(|container| container.is_sidecar && lives(&container.name));
        if let Some(at) = last.and_then(|last| down.turns.iter().position(|(name, _)| *name == last.name)) {
            let _ = down.turns.remove(at).1.send(());
        }
    }
}

/// What is said to whoever asks for the end.
#[must_use]
pub fn on_its_way_down(grace_seconds: u64) -> String {
    format!(
        "ending the pod within {grace_seconds} s, as a deletion does: steps stop in their order, finally steps still run. \
         Once more kills everything at once"
    )
}
