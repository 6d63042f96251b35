//! A pod as this engine runs it: what is left of a manifest once it is wired and everything is looked up.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A pod, ready to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name, which is its host name too.
    pub name: String,
    /// Between SIGTERM and SIGKILL for the sidecars at the end, in seconds.
    pub grace_seconds: u64,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// Init containers and native sidecars, in their order.
    pub init_containers: Vec<Container>,
    /// The containers, in their order.
    pub containers: Vec<Container>,
    /// Its containers are started again whenever they end (`restartPolicy: Always`): it ends when it is asked to.
    pub restarts: bool,
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
}

/// A file of a volume that holds values.
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
    /// It is started again whenever it ends: a native sidecar.
    pub is_sidecar: bool,
    /// It has a turn in the plan.
    pub is_step: bool,
    /// What it says is only of interest if it fails: it is podturn's own.
    pub is_quiet: bool,
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
