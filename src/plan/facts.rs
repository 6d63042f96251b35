//! What has to be known of the pod besides the plan: `PODTURN_POD`, and its documented defaults.
//!
//! Belongs here: the data and its JSON form (schema `pod`). Does not belong here: reading a manifest (`manifest` does),
//! and what follows from a fact for the plan (`check` does).

use std::collections::BTreeMap;

use podturn_turn::Restarts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::{SourceFile, Span};

/// The name of the environment variable, and of its text in errors.
pub const PODTURN_POD: &str = "PODTURN_POD";

/// The name of the environment variable with the pod's uid, by which its run goes on after a reboot.
pub const PODTURN_POD_UID: &str = "PODTURN_POD_UID";

/// What podturn has to know of the pod. `podturn inject` hands it to the init container in the environment variable
/// PODTURN_POD; every member may be left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodFacts {
    /// The pod's `restartPolicy`. Default: `Never`.
    pub restart_policy: RestartPolicy,
    /// Where the coordinator runs. Default: `container`.
    pub placement: Placement,
    /// The pod's `terminationGracePeriodSeconds`. Default: 30.
    pub termination_grace_period_seconds: u64,
    /// The pod's ordinary containers, in its order. Empty: not known, so names cannot be checked.
    pub containers: Vec<ContainerFacts>,
    /// The names of the pod's init containers, which are over before the first turn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<String>,
    /// Whether the shim stands in each of `containers`, named by the plan or not. One that the plan does not name is then a step
    /// that depends on nothing: it gets its turn at once. Whoever wires a pod without reading its plan says so, as the
    /// policies of `podturn policy` do. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub all_wired: bool,
    /// Values of the plan's parameters, by name. What is not here comes from the init container's environment variable of
    /// that name, or else has the plan's default.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// What podturn has to know of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerFacts {
    /// Its name.
    pub name: String,
    /// When the kubelet starts it again. Default: as the pod's restart policy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<ContainerRestarts>,
    /// The file for its last message. Default: `/dev/termination-log`.
    #[serde(default = "default_termination_message_path", skip_serializing_if = "is_default_path")]
    pub termination_message_path: String,
    /// Where the kubelet takes its last message from. Default: `File`.
    #[serde(default, skip_serializing_if = "is_default_policy")]
    pub termination_message_policy: TerminationMessagePolicy,
    /// Its named `ports`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortFacts>,
    /// Its `resources`, as far as podturn shows them beside what it used: CPU and memory.
    #[serde(default, skip_serializing_if = "ResourceFacts::is_empty")]
    pub resources: ResourceFacts,
}

/// A container's `resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceFacts {
    /// What it asks for.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub requests: Amounts,
    /// What it may not exceed.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub limits: Amounts,
}

/// Quantities as Kubernetes writes them: `500m`, `128Mi`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Amounts {
    /// Cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Amounts {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}

impl ResourceFacts {
    /// Whether nothing is said.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// When the kubelet starts a container again that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ContainerRestarts {
    /// Never.
    Never,
    /// When its exit code is 137: it was killed (`restartPolicyRules`, KEP-5307).
    WhenKilled,
    /// Always, or by other rules.
    Always,
}

impl ContainerRestarts {
    /// As the core has it.
    pub(super) const fn as_step(self) -> Restarts {
        match self {
            Self::Never => Restarts::Never,
            Self::WhenKilled => Restarts::WhenKilled,
            Self::Always => Restarts::Always,
        }
    }
}

impl RestartPolicy {
    /// What holds for containers without a policy of their own.
    #[must_use]
    pub const fn of_containers(self) -> ContainerRestarts {
        match self {
            Self::Never => ContainerRestarts::Never,
            Self::OnFailure | Self::Always => ContainerRestarts::Always,
        }
    }
}

/// A port of a container that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PortFacts {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: u16,
}

/// The default of `terminationMessagePath` (Kubernetes API, Container v1 core).
pub(super) const TERMINATION_MESSAGE_PATH: &str = "/dev/termination-log";

fn default_termination_message_path() -> String {
    TERMINATION_MESSAGE_PATH.to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn is_default_path(path: &str) -> bool {
    path == TERMINATION_MESSAGE_PATH
}

fn is_default_policy(policy: &TerminationMessagePolicy) -> bool {
    *policy == TerminationMessagePolicy::default()
}

/// A pod's `restartPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Containers that have ended are not started again. Kubernetes' own default is `Always`; a pod that runs a plan
    /// has `Never` in all but rare cases.
    #[default]
    Never,
    /// Refused for a pod with a plan: the kubelet would run failed steps again behind podturn's back.
    OnFailure,
    /// Containers are started again whenever they end.
    Always,
}

/// Where the coordinator runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// A native sidecar, which the kubelet starts again when it dies.
    Sidecar,
    /// An ordinary container.
    #[default]
    Container,
}

/// A container's `terminationMessagePolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TerminationMessagePolicy {
    /// From the file.
    #[default]
    File,
    /// From the file, or from the end of the log where the file is empty and the container failed.
    FallbackToLogsOnError,
}

impl Default for PodFacts {
    fn default() -> Self {
        Self {
            restart_policy: RestartPolicy::default(),
            placement: Placement::default(),
            termination_grace_period_seconds: 30,
            containers: Vec::new(),
            init_containers: Vec::new(),
            all_wired: false,
            parameters: BTreeMap::new(),
        }
    }
}

impl PodFacts {
    /// Reads the value of `PODTURN_POD`.
    ///
    /// # Errors
    /// Text that is not JSON of this form; the place is in the variable's value.
    pub fn parse(json: &str) -> Result<Self, Diagnostics> {
        serde_json::from_str(json).map_err(|error| {
            let file = SourceFile::new(PODTURN_POD, json);
            let line = file.line(error.line().max(1).min(file.text().lines().count().max(1)));
            let offset = (line.start + error.column().saturating_sub(1)).min(line.end);
            let text = error.to_string();
            // serde_json ends its messages with the place, which is already said.
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
            let mut diagnostic = Diagnostic::error(format!("this does not describe a pod: {message}"));
            diagnostic.at(&file, Span::empty(offset)).help("`podturn schema pod` prints what it may hold");
            diagnostic.into()
        })
    }

    /// The container of this name.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerFacts> {
        self.containers.iter().find(|container| container.name == name)
    }
}
