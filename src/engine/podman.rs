//! A pod of podman's: `podman kube play`, `logs --follow`, `wait`, and what is left of it removed at the end.

use std::process::Command;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::image::OwnImage;
use super::logs::Log;
use super::played::Play;
use super::program::{EngineError, Program};
use super::{image, note};
use crate::inject::PODTURN;
use crate::local::{End, Interrupt, Message, Stream, follow, on_its_way_down};

/// How to come by podman.
pub(super) const INSTALL: &str = "apt-get install podman, dnf install podman, ...; --engine local needs nothing";

/// How often podman is asked to remove a pod. It refuses where a container cannot be removed just then, such as one that somebody
/// whose call was broken off had begun to kill, and has removed all others by then.
const REMOVALS: usize = 3;

/// How long the last lines of containers that have ended may take to come from podman.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// podturn's image: this very program, put into podman's store where it is not there yet.
///
/// # Errors
/// When podman is not installed, or does not take it.
pub fn own_image() -> Result<OwnImage, EngineError> {
    image::of_this_program(&|| {
        let mut command = Command::new("podman");
        command.stdin(std::process::Stdio::null());
        command
    })
}

/// A pod that podman runs.
pub struct Podman {
    play: Play,
    program: Program,
    tell: Sender<Message>,
    log: Log,
    talk: JoinSet<()>,
    end: End,
}

impl Podman {
    /// A pod, not started. Messages are sent to `tell`.
    #[must_use]
    pub fn new(play: Play, tell: Sender<Message>) -> Self {
        let program = Program::new("podman", Vec::new(), INSTALL);
        Self { play, program, tell, log: Log::default(), talk: JoinSet::new(), end: End::default() }
    }

    /// Runs the pod to its end; nothing of it is left then, whatever happened.
    ///
    /// # Errors
    /// What podman refused.
    pub async fn run(mut self, interrupts: &mut Receiver<Interrupt>) -> Result<End, EngineError> {
        let done = self.live(interrupts).await;
        self.remove().await;
        done?;
        self.log.conclude(&mut self.end, &self.tell).await;
        Ok(self.end)
    }

    async fn live(&mut self, interrupts: &mut Receiver<Interrupt>) -> Result<(), EngineError> {
        note(&self.tell, format!("pod {} on podman", self.play.name)).await;
        let deadline = self.play.active_deadline_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let play = ["kube", "play", "-"];
        let (program, text) = (self.program.clone(), self.play.text.clone());
        let played = tokio::select! {
            played = program.run("podman kube play", play, Some(&text)) => played,
            _ = interrupts.recv() => {
                (self.end.cancelled, self.end.never_began) = (true, true);
                return Ok(());
            }
            () = until(deadline) => {
                self.end.deadline_exceeded = self.play.active_deadline_seconds;
                return Ok(());
            }
        };
        self.show_init_containers(played.is_err()).await;
        match (played, self.failed_init_container().await) {
            (_, Some((name, code))) => {
                self.end.failed.push((name.clone(), code));
                self.end.init_failed = Some(name);
                return Ok(());
            }
            (Err(error), None) => return Err(error),
            (Ok(_), None) => {}
        }
        for container in self.play.containers.clone() {
            self.follow(&container)?;
        }
        if let Some(codes) = self.attend(deadline, interrupts).await? {
            let failed = self.play.containers.iter().zip(codes).filter(|(name, code)| *code != 0 && *name != PODTURN);
            self.end.failed = failed.map(|(name, code)| (name.clone(), code)).collect();
        }
        let limit = if self.end.killed { crate::local::LAST_WORDS } else { LAST_WORDS };
        let talk = &mut self.talk;
        let _ = timeout(limit, async { while talk.join_next().await.is_some() {} }).await;
        Ok(())
    }

    fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.play.name)
    }

    fn containers(&self) -> Vec<String> {
        self.play.containers.iter().map(|name| self.container(name)).collect()
    }

    // --- what they say ---

    /// What init containers have said: podturn's own says something only if it fails.
    async fn show_init_containers(&mut self, failed: bool) {
        for name in self.play.init_containers.clone() {
            if name == crate::inject::PODTURN_INIT && !failed {
                continue;
            }
            let mut logs = self.program.command(["logs".to_owned(), self.container(&name)]);
            let Ok(output) = logs.output().await else { continue };
            if output.status.success() {
                follow(name.clone(), Stream::Out, output.stdout.as_slice(), self.tell.clone()).await;
                follow(name, Stream::Err, output.stderr.as_slice(), self.tell.clone()).await;
            }
        }
    }

    async fn failed_init_container(&self) -> Option<(String, i32)> {
        for name in &self.play.init_containers {
            let ask = ["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", &self.container(name)];
            let said = self.program.run("podman inspect", ask.map(str::to_owned), None).await.ok()?;
            let (status, code) = said.trim().split_once(' ')?;
            let code = code.parse().ok()?;
            if code != 0 && matches!(status, "exited" | "stopped") {
                return Some((name.clone(), code));
            }
        }
        None
    }

    /// Follows the logs of a container that runs, or has ended.
    fn follow(&mut self, name: &str) -> Result<(), EngineError> {
        let logs = ["logs".to_owned(), "--follow".to_owned(), self.container(name)];
        let mut child = self.program.command(logs).spawn().map_err(|error| self.program.not_started(error))?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else { return Ok(()) };
        let (name, tell, log) = (name.to_owned(), self.tell.clone(), self.log.clone());
        self.talk.spawn(async move {
            if name == PODTURN {
                tokio::join!(log.read(err, tell), super::logs::ignore(out)); // the table at the end is shown by whoever runs this
            } else {
                let out = follow(name.clone(), Stream::Out, out, tell.clone());
                tokio::join!(out, follow(name, Stream::Err, err, tell));
            }
            let _ = child.wait().await;
        });
        Ok(())
    }

    // --- the end ---

    /// Waits until every container has ended, and gives their codes; `None`: nobody wants to wait for that any more.
    async fn attend(
        &mut self,
        deadline: Option<Instant>,
        interrupts: &mut Receiver<Interrupt>,
    ) -> Result<Option<Vec<i32>>, EngineError> {
        let program = self.program.clone();
        let wait = program.run("podman wait", [vec!["wait".to_owned()], self.containers()].concat(), None);
        tokio::pin!(wait);
        let mut errands = JoinSet::new();
        let (mut kill_at, mut active_until) = (None, deadline);
        loop {
            tokio::select! {
                codes = &mut wait => {
                    return codes.map(|codes| Some(codes.lines().filter_map(|code| code.trim().parse().ok()).collect()));
                }
                Some(interrupt) = interrupts.recv() => match (self.is_going(), interrupt) {
                    (true, Interrupt::Asked) => {
                        self.end.killed = true;
                        return Ok(None);
                    }
                    (true, Interrupt::Unread) => {}
                    (false, _) => {
                        self.end.cancelled = true;
                        note(&self.tell, on_its_way_down(self.play.grace_seconds)).await;
                        (kill_at, active_until) = (Some(self.go_down(&mut errands)), None);
                    }
                },
                () = until(active_until) => {
                    self.end.deadline_exceeded = self.play.active_deadline_seconds;
                    (kill_at, active_until) = (Some(self.go_down(&mut errands)), None);
                }
                () = until(kill_at) => {
                    kill_at = None;
                    errands.spawn(signal(self.program.clone(), "KILL", self.containers()));
                }
                Some(_) = errands.join_next() => {}
            }
        }
    }

    const fn is_going(&self) -> bool {
        self.end.cancelled || self.end.deadline_exceeded.is_some()
    }

    /// As a kubelet deletes a pod: the coordinator hears of it, then everybody gets SIGTERM. The steps end in the plan's order.
    /// Returns when the grace is over.
    fn go_down(&self, errands: &mut JoinSet<()>) -> Instant {
        let (program, everybody) = (self.program.clone(), self.containers());
        let tell = ["exec".to_owned(), self.container(PODTURN), "/bin/podturn".to_owned(), "terminating".to_owned()];
        errands.spawn(async move {
            let _ = program.run("podman exec", tell, None).await; // it may have ended
            signal(program, "TERM", everybody).await;
        });
        Instant::now() + Duration::from_secs(self.play.grace_seconds)
    }

    async fn remove_pod(&self) -> Result<String, EngineError> {
        let pod = ["pod", "rm", "--force", "--ignore", "--time", "0", &self.play.name].map(str::to_owned);
        self.program.run("podman pod rm", pod, None).await
    }

    /// Nothing of the pod is left.
    async fn remove(&self) {
        let mut removed = self.remove_pod().await;
        for _ in 1..REMOVALS {
            if matches!(removed, Err(EngineError::Refused { .. })) {
                removed = self.remove_pod().await;
            }
        }
        let volumes = [vec!["volume".to_owned(), "rm".to_owned(), "--force".to_owned()], self.play.volumes.clone()];
        if let Err(error @ EngineError::Refused { .. }) = removed {
            note(&self.tell, format!("{error}; `podman pod rm --force {}` removes what is left", self.play.name)).await;
        }
        if !self.play.volumes.is_empty() {
            let _ = self.program.run("podman volume rm", volumes.concat(), None).await;
        }
    }
}

/// A signal to each of these that still runs.
async fn signal(program: Program, signal: &str, containers: Vec<String>) {
    for container in containers {
        let kill = ["kill".to_owned(), "--signal".to_owned(), signal.to_owned(), container];
        let _ = program.run("podman kill", kill, None).await; // one that has ended gets none
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
