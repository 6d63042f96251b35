//! A pod as this engine runs it: what is left of a manifest once it is wired and everything is looked up.

use std::path::PathBuf;

use podturn_turn::Probe;
use serde::{Deserialize, Serialize};

/// A pod, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name, which is its host name too.
    pub name: String,
    /// `terminationGracePeriodSeconds`: between the beginning of an end and SIGKILL, in seconds.
    pub grace_seconds: u64,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Init containers and native sidecars, in their order.
    pub init_containers: Vec<Container>,
    /// The containers, in their order.
    pub containers: Vec<Container>,
    /// `activeDeadlineSeconds`: how long it may take, from its start on.
    pub active_deadline_seconds: Option<u64>,
    /// The volume that podturn works on.
    pub turns: String,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name in the pod.
    pub name: String,
    /// What it is.
    pub kind: VolumeKind,
}

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory of this run, on the disk or in memory.
    EmptyDir {
        /// `medium: Memory`.
        in_memory: bool,
        /// `sizeLimit` in bytes; kept for volumes in memory only.
        size: Option<u64>,
    },
    /// A path of this machine.
    HostPath(PathBuf),
    /// Values that were looked up before the run, as files: of ConfigMaps, Secrets, the downward API.
    Files(Vec<VolumeFile>),
    /// The files of an image, as they are in it.
    Image(Vec<VolumeFile>),
}

/// A file of a volume that holds values, or is an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeFile {
    /// Where in the volume: relative, without `..`. A later one at the same place wins.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// What is in it.
    pub content: Vec<u8>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What it runs.
    pub program: Program,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Where its command starts.
    pub working_dir: PathBuf,
    /// Where it sees which volume.
    pub mounts: Vec<Mount>,
    /// `runAsUser`.
    pub user: Option<u32>,
    /// `runAsGroup`.
    pub group: Option<u32>,
    /// `terminationMessagePath`.
    pub termination_log: PathBuf,
    /// It is a native sidecar: it lives beside those after it, and ends after them.
    pub is_sidecar: bool,
    /// When it is started again.
    pub restarts: Restarts,
    /// `lifecycle.postStart`: until it has returned, the container after this one is not created.
    pub post_start: Option<Hook>,
    /// `lifecycle.preStop`: comes before the stop signal.
    pub pre_stop: Option<Hook>,
    /// The number of the signal that asks it to end.
    pub stop_signal: i32,
    /// Whether it has started; until then nothing else is tried.
    pub startup_probe: Option<ContainerProbe>,
    /// Whether it has to be stopped.
    pub liveness_probe: Option<ContainerProbe>,
    /// Whether it is ready.
    pub readiness_probe: Option<ContainerProbe>,
    /// What it says is only of interest if it fails: it is podturn's own.
    pub is_quiet: bool,
}

/// When a container that has ended is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// `restartPolicyRules`: the first one that fits decides (KEP-5307).
    pub rules: Vec<Rule>,
    /// What holds where none fits.
    pub policy: Policy,
}

/// A restart policy, of a pod or of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Not started again.
    Never,
    /// Started again when its code is not 0.
    OnFailure,
    /// Started again.
    Always,
}

/// One of `restartPolicyRules`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Exit codes.
    pub codes: Vec<i32>,
    /// Whether it is about these codes, or about all others.
    pub is_in: bool,
    /// Whether all containers of the pod are started again, and not this one alone (KEP-5532).
    pub is_for_all: bool,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterEnd {
    /// It has ended for good.
    Over,
    /// It is started again.
    Again,
    /// All containers of the pod are.
    AllAgain,
}

impl Restarts {
    /// For a container without rules.
    #[must_use]
    pub const fn by(policy: Policy) -> Self {
        Self { rules: Vec::new(), policy }
    }

    /// What follows from an end with this code.
    #[must_use]
    pub fn after(&self, code: i32) -> AfterEnd {
        match (self.rules.iter().find(|rule| rule.codes.contains(&code) == rule.is_in), self.policy) {
            (Some(rule), _) if rule.is_for_all => AfterEnd::AllAgain,
            (Some(_), _) | (None, Policy::Always) => AfterEnd::Again,
            (None, Policy::OnFailure) if code != 0 => AfterEnd::Again,
            (None, Policy::OnFailure | Policy::Never) => AfterEnd::Over,
        }
    }
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Runs a command in the container.
    Exec(Program),
    /// Asks by HTTP.
    Network(Probe),
    /// Waits, in seconds.
    Sleep(u64),
}

/// A probe of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerProbe {
    /// What is tried.
    pub what: Try,
    /// How long after the start the first try comes, in seconds.
    pub initial_delay_seconds: u32,
    /// How often, in seconds.
    pub period_seconds: u32,
    /// How long a try may take, in seconds.
    pub timeout_seconds: u32,
    /// How many successes in a row count.
    pub success_threshold: u32,
    /// How many failures in a row count.
    pub failure_threshold: u32,
    /// The container's own grace when this probe stops it, in seconds.
    pub grace_seconds: Option<u64>,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Try {
    /// A command in the container that ends with 0.
    Exec(Program),
    /// HTTP, TCP or gRPC.
    Network(Probe),
}

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Program {
    /// A command of this machine, with its arguments.
    Command(Vec<String>),
    /// This program, with these arguments: what the image of podturn runs.
    Podturn(Vec<String>),
}

/// One `volumeMounts` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Which volume.
    pub volume: String,
    /// Where in the container.
    pub path: PathBuf,
    /// Which part of the volume; empty: all of it.
    pub sub_path: PathBuf,
    /// Whether the container can only read it.
    pub read_only: bool,
}

impl Program {
    /// Whether it is the one that coordinates.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        matches!(self, Self::Podturn(arguments) if arguments.first().is_some_and(|first| first == "coordinate"))
    }
}

impl Container {
    /// Whether it is the one that coordinates.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.program.is_coordinator()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides_and_the_policy_after_them() {
        let rule = |codes: &[i32], is_in, is_for_all| Rule { codes: codes.to_vec(), is_in, is_for_all };
        let oom = rule(&[137], true, false);
        let others = rule(&[0, 1], false, true);
        for (rules, policy, code, wanted) in [
            (vec![], Policy::Never, 1, AfterEnd::Over),
            (vec![], Policy::OnFailure, 0, AfterEnd::Over),
            (vec![], Policy::OnFailure, 2, AfterEnd::Again),
            (vec![], Policy::Always, 0, AfterEnd::Again),
            (vec![oom.clone()], Policy::Never, 137, AfterEnd::Again),
            (vec![oom.clone()], Policy::Never, 1, AfterEnd::Over),
            (vec![oom.clone()], Policy::OnFailure, 1, AfterEnd::Again),
            (vec![others.clone(), oom.clone()], Policy::Never, 137, AfterEnd::AllAgain),
            (vec![oom, others.clone()], Policy::Never, 137, AfterEnd::Again),
            (vec![others], Policy::Never, 1, AfterEnd::Over),
        ] {
            let restarts = Restarts { rules, policy };
            assert_eq!(restarts.after(code), wanted, "{restarts:?} after {code}");
        }
    }
}
