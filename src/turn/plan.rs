//! The checked plan: the graph that the core runs. It is made by `podturn`'s `plan` room, which refuses everything that
//! could not run; the core may therefore index by [`StepId`] and rely on the absence of cycles.
//!
//! Belongs here: types with the meaning of each value. Does not belong here: reading or checking a plan's source.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A duration in milliseconds.
pub type Millis = u64;

/// A moment: nanoseconds of `CLOCK_BOOTTIME`.
pub type Time = u64;

/// The place of a step in the plan: an index into [`Plan::steps`], so that the order of ids is the plan's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepId(pub u32);

impl StepId {
    /// The index into [`Plan::steps`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// In the plan's order.
    pub steps: Vec<Step>,
    /// How many attempts may run at once; `None`: no limit.
    pub max_parallel: Option<u32>,
    /// Named capacities.
    pub pools: Vec<Pool>,
    /// For all steps that are not `finally`, from the coordinator's first start on.
    pub timeout: Option<Millis>,
    /// What a failure does to the rest.
    pub on_failure: OnFailure,
    /// Between stop signal and SIGKILL.
    pub grace_period: Millis,
    /// How long a step that is due may be without its container.
    pub arrival_timeout: Millis,
    /// How long a waiting shim outlives a lost coordinator.
    pub coordinator_grace: Millis,
    /// How long a failure waits for a person under [`OnFailure::Pause`]; `None`: as long as the plan's `timeout` allows.
    pub pause_timeout: Option<Millis>,
    /// Whether the pod's containers restart for ever (`restartPolicy: Always`): a service that no dependent holds up is
    /// then kept until the pod is deleted or the plan is cancelled.
    pub long_running: bool,
    /// The plan's parameters with their values for this run, in the plan's order.
    pub parameters: Vec<Parameter>,
}

/// A value that whoever makes the pod chooses, known before the first step runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name: that of the init container's environment variable.
    pub name: String,
    /// The variable's value, or the plan's default.
    pub value: String,
}

/// A container that takes part in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The container's name.
    pub name: String,
    /// What has to be met before its turn.
    pub depends_on: Vec<Dependency>,
    /// Attempts after the first one.
    pub retry: Retry,
    /// Codes that count as success.
    pub success_exit_codes: Vec<u8>,
    /// For one attempt.
    pub timeout: Option<Millis>,
    /// A failure counts as success for dependents and outcome.
    pub allow_failure: bool,
    /// Runs once every other step has ended, whatever happened. Has all of them as ancestors.
    pub finally: bool,
    /// Units of pools that an attempt holds while it runs.
    pub uses: Vec<Use>,
    /// What stop sends first: a Linux signal number.
    pub stop_signal: u8,
    /// When the kubelet starts this container again: a lost shim may then be followed by a new instance.
    pub restarts: Restarts,
    /// Where the step's last line goes (`terminationMessagePath`); empty when the container's policy is not `File`.
    pub termination_log: String,
    /// Long-running: it is ready by probe, and stopped once nobody needs it any more.
    pub service: bool,
    /// When a service counts as ready; `None`: as soon as it has begun.
    pub readiness: Option<Readiness>,
    /// A CEL expression that decides whether the step runs, asked once its dependencies are met.
    pub when: Option<String>,
    /// What a person is asked before the step's turn (may be empty); `None`: nobody is asked.
    pub approval: Option<String>,
}

/// A probe and its thresholds, with Kubernetes' meanings and defaults
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe>).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// What is tried.
    pub probe: Probe,
    /// From the attempt's begin to the first try.
    pub initial_delay_seconds: u32,
    /// From one try to the next; at least 1.
    pub period_seconds: u32,
    /// How long one try may take; at least 1.
    pub timeout_seconds: u32,
    /// Successes in a row that make it ready; at least 1.
    pub success_threshold: u32,
    /// Failures in a row that are `NotReady` before the first success, and unset Ready after it; at least 1.
    pub failure_threshold: u32,
}

/// What a readiness tries. `exec`, `file` and `log` are seen inside the step's own container, so its shim tries them; the
/// network ones belong to the coordinator, which shares the pod's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Probe {
    /// A command that ends with code 0.
    Exec {
        /// The command and its arguments, without a shell.
        command: Vec<String>,
    },
    /// An HTTP GET that is answered with a status from 200 to 399.
    HttpGet {
        /// The host to connect to; empty: the pod itself.
        host: String,
        /// The port's number.
        port: u16,
        /// The path with its query, with a leading `/`.
        path: String,
        /// TLS without a check of the certificate, as the kubelet does it.
        https: bool,
        /// Further headers, name and value.
        headers: Vec<(String, String)>,
    },
    /// A connection that is accepted.
    TcpSocket {
        /// The host to connect to; empty: the pod itself.
        host: String,
        /// The port's number.
        port: u16,
    },
    /// `grpc.health.v1.Health/Check` that is answered with `SERVING`.
    Grpc {
        /// The port's number.
        port: u16,
        /// The service that is asked for; empty: the whole server.
        service: String,
    },
    /// A file that is there, and is not older than the attempt.
    File {
        /// Its absolute path in the step's container.
        path: String,
    },
    /// A line of the command's stdout or stderr that contains this text.
    Log {
        /// The text, not empty.
        contains: String,
    },
}

impl Probe {
    /// Whether the coordinator tries it, over the pod's network.
    #[must_use]
    pub const fn is_network(&self) -> bool {
        match self {
            Self::HttpGet { .. } | Self::TcpSocket { .. } | Self::Grpc { .. } => true,
            Self::Exec { .. } | Self::File { .. } | Self::Log { .. } => false,
        }
    }
}

/// One thing a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// On whom.
    pub step: StepId,
    /// For what.
    pub condition: Condition,
}

/// What a dependency has to do before its dependent gets its turn. Each is met or lost once its step has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Has begun an attempt. Lost when it ended without ever beginning.
    Started,
    /// A service: it is ready at the moment its dependent gets its turn, or was Skipped; lost when it ended otherwise. A
    /// task: the same as `Succeeded`.
    Ready,
    /// Succeeded, was Skipped, or Failed with `allowFailure`. Lost when it Failed, was Omitted or Cancelled.
    Succeeded,
    /// Is Failed for good, `allowFailure` or not. Lost when it ended any other way.
    Failed,
    /// Has ended, in whatever way. Never lost.
    Completed,
}

/// A named capacity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its units.
    pub capacity: u32,
}

/// Units of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Use {
    /// Index into [`Plan::pools`].
    pub pool: u32,
    /// How many units.
    pub units: u32,
}

/// What a failure of a step (without `allowFailure`, not `finally`) does to the rest of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Each step decides by its own dependencies.
    Continue,
    /// Nothing new starts, except finally steps, steps that wait for a failure, and what depends on those.
    Drain,
    /// As Drain, and running tasks are stopped at once, with the same exceptions.
    Cancel,
    /// Nothing new starts until a person has decided what becomes of the failed step.
    Pause,
}

/// When an attempt that failed is followed by another one in the same container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Attempts after the first one; 0: no retry.
    pub limit: u32,
    /// How long to wait between them.
    pub backoff: Backoff,
    /// Which failures are retried. All of them by default.
    pub causes: Vec<Cause>,
    /// Narrows [`Cause::ExitCode`] to these codes; empty: all.
    pub exit_codes: Vec<u8>,
}

/// The wait before retry n (from 1): `duration * factor^(n-1)`, at most `cap`, then changed by up to `jitter` of itself in
/// either direction, by a hash of (run, step, attempt).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Before the first retry.
    pub duration: Millis,
    /// In thousandths, so that the core needs no floating point: 2000 doubles.
    pub factor_milli: u32,
    /// The longest wait; `None`: no limit.
    pub cap: Option<Millis>,
    /// In thousandths of the wait, 0 to 1000.
    pub jitter_milli: u32,
}

/// Why an attempt failed, as far as `retry` tells causes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// The command ended with a code that is not a success.
    ExitCode,
    /// A signal ended the command.
    Signal,
    /// The kernel's out-of-memory killer ended the command.
    OOMKilled,
    /// The attempt ran longer than the step's `timeout`.
    TimedOut,
    /// The shim died with the attempt begun.
    ShimLost,
    /// A service ended by itself.
    EndedEarly,
    /// A service did not become ready.
    NotReady,
    /// The step's container was stopped from outside, or its node rebooted.
    Interrupted,
}

impl Cause {
    /// Every cause: the default of `retry.causes`.
    pub const ALL: [Self; 8] = [
        Self::ExitCode,
        Self::Signal,
        Self::OOMKilled,
        Self::TimedOut,
        Self::ShimLost,
        Self::EndedEarly,
        Self::NotReady,
        Self::Interrupted,
    ];
}

/// When the kubelet starts a container again that has ended (`restartPolicy`, `restartPolicyRules`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restarts {
    /// Never: a lost shim is final.
    #[default]
    Never,
    /// When it was killed, by a rule for the exit code 137 (KEP-5307): it shows that code when its shim was killed too, as by an
    /// out-of-memory kill of its whole control group.
    WhenKilled,
    /// Whatever its code: the shim of a step that has ended parks.
    Always,
}
