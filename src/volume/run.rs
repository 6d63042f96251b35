//! `run.json`: the init container's stamp, and all that a coordinator has to know besides the journal.

use std::collections::BTreeMap;

use podturn_turn::Plan;
use podturn_wire::RunId;
use serde::{Deserialize, Serialize};

/// One run of a plan, as the init container laid it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The version of the protocol.
    pub version: u64,
    /// Never used again.
    pub run: RunId,
    /// The boot in which a coordinator last started, or the volume was laid out (`/proc/sys/kernel/random/boot_id`):
    /// another one tells that the node was rebooted.
    pub boot_id: String,
    /// The pod's uid, where the init container was told: the same pod after a reboot goes on with the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    /// Where the coordinator runs.
    pub placement: Placement,
    /// What has to survive.
    pub durability: Durability,
    /// How shims and coordinator notice each other.
    #[serde(default, skip_serializing_if = "Bell::is_socket")]
    pub bell: Bell,
    /// The checked plan.
    pub plan: Plan,
    /// The pod's `terminationGracePeriodSeconds`.
    #[serde(default = "default_grace")]
    pub termination_grace_seconds: u64,
    /// What the steps' containers ask for, by name; those of which nothing is known are not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, Resources>,
}

/// What a container asks for, and what it may not exceed: for people, beside what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_request: Option<u64>,
    /// Thousandths of a core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_request: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<u64>,
}

/// Where the coordinator runs, which decides when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// A native sidecar: it ends when the kubelet tells it to, always with 0.
    Sidecar,
    /// An ordinary container: it ends when every step has, with a code that says how.
    Container,
}

/// How shims and coordinator notice each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Bell {
    /// By Unix sockets, which ring and tell life from death at once.
    #[default]
    Socket,
    /// By looking at each other's files several times a second, where containers share no sockets.
    File,
}

impl Bell {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_socket(&self) -> bool {
        *self == Self::Socket
    }
}

/// What has to survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// The death of any process.
    #[default]
    Process,
    /// The node's as well: journal and turns are synced to the disk before what follows from them.
    Node,
}

/// Kubernetes' own.
const fn default_grace() -> u64 {
    30
}
