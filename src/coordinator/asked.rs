//! What a person asks of the coordinator, and what it answers.
//!
//! Belongs here: the words of the control API, their meaning for the run, and who may ask. Does not belong here: how a
//! question comes in (`control`), and what a request does (the core).

use std::os::unix::fs::MetadataExt;

use podturn_turn::{Answer, Millis, Request, State, StepId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// End the plan: what runs is stopped, what waits is Cancelled, then finally steps run. A second one stops those too.
    Cancel,
    /// The pod is being deleted: everything has to be over within its grace period.
    Terminate,
    /// Give no turn until `resume`. What runs goes on, and so do all time limits.
    Pause,
    /// End a pause.
    Resume,
    /// Run a Paused step again, in place.
    Retry,
    /// Count a step that waits, or is Paused, as Skipped: done, for all that depends on it.
    Skip,
    /// Let a step that needs an approval run.
    Approve,
    /// End one step: a task is Cancelled, a service has Succeeded.
    Stop,
}

impl Verb {
    /// Whether it is about one step.
    #[must_use]
    pub const fn needs_step(self) -> bool {
        match self {
            Self::Cancel | Self::Terminate | Self::Pause | Self::Resume => false,
            Self::Retry | Self::Skip | Self::Approve | Self::Stop => true,
        }
    }
}

/// One request of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ask {
    /// What for.
    pub verb: Verb,
    /// The step that it is about; for retry, skip, approve and stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The attempt that it means. Repeated with it, a request does nothing twice. Without it: the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It is in the journal, and was done.
    Done,
    /// Nothing was left to do.
    Already,
    /// It does not apply now.
    Refused,
    /// There is no such step.
    NoSuchStep,
    /// It is not a request.
    Bad,
    /// Whoever asks may not.
    Forbidden,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// What became of it.
    pub result: Verdict,
    /// The same as a sentence.
    pub message: String,
}

impl Told {
    /// An answer.
    #[must_use]
    pub fn new(result: Verdict, message: impl Into<String>) -> Self {
        Self { result, message: message.into() }
    }
}

/// Who asks, by the kernel's word (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its process, as this process namespace counts; 0: one that cannot be seen from here.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
}

/// A question on its way to the coordinator.
#[derive(Debug)]
pub enum Asked {
    /// How does the run stand? The answer is the published state.
    State(Asker, oneshot::Sender<Result<crate::volume::published::State, Told>>),
    /// Do something.
    Request(Asker, Ask, oneshot::Sender<Told>),
}

/// Whether the asker may: this process' own user and root, and nobody out of a step's container. `steps` are the processes of
/// the shims; a container is told by its mount namespace (`mount_namespaces(7)`).
pub(super) fn may_ask(asker: Asker, steps: impl Iterator<Item = u32>) -> Result<(), Told> {
    let own = nix::unistd::geteuid().as_raw();
    if asker.uid != own && asker.uid != 0 {
        let message = format!("user {} may not control this run: only user {own} and root may", asker.uid);
        return Err(Told::new(Verdict::Forbidden, message));
    }
    let place = |pid: u32| std::fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|meta| (meta.dev(), meta.ino()));
    let theirs = place(asker.pid);
    let is_ours = theirs.is_none() || theirs == place(std::process::id());
    if !is_ours && steps.map(place).any(|step| step == theirs) {
        return Err(Told::new(Verdict::Forbidden, "a step may not control the run that it belongs to"));
    }
    Ok(())
}

/// What the core is asked; or what is wrong with the question.
pub(super) fn understand(ask: &Ask, state: &State, pod_grace: Millis) -> Result<Request, Told> {
    let word = format!("{:?}", ask.verb).to_ascii_lowercase();
    let Some(name) = &ask.step else {
        return match ask.verb {
            Verb::Cancel => Ok(Request::Cancel),
            Verb::Terminate => Ok(Request::Terminate { grace: pod_grace }),
            Verb::Pause => Ok(Request::Pause),
            Verb::Resume => Ok(Request::Resume),
            _ => Err(Told::new(Verdict::Bad, format!("{word} needs a step"))),
        };
    };
    if !ask.verb.needs_step() {
        return Err(Told::new(Verdict::Bad, format!("{word} is for the whole plan: it takes no step")));
    }
    let steps = &state.plan().steps;
    let Some(index) = steps.iter().position(|step| step.name == *name) else {
        let known: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
        let message = format!("the plan has no step {name}; it has {}", known.join(", "));
        return Err(Told::new(Verdict::NoSuchStep, message));
    };
    let step = StepId(index as u32);
    let attempt = ask.attempt.unwrap_or_else(|| state.attempt(step));
    Ok(match ask.verb {
        Verb::Retry => Request::Retry { step, attempt },
        Verb::Skip => Request::Skip { step, attempt },
        Verb::Stop => Request::Stop { step, attempt },
        Verb::Approve | Verb::Cancel | Verb::Terminate | Verb::Pause | Verb::Resume => Request::Approve { step },
    })
}

impl From<Answer> for Told {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Does(message) => Self::new(Verdict::Done, message),
            Answer::Done(message) => Self::new(Verdict::Already, message),
            Answer::No(message) => Self::new(Verdict::Refused, message),
        }
    }
}
