//! What a person can ask of a run, and beside which step each of it is offered: the same on every screen.

use crate::volume::published::Step;

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the verbs of the command line")]
pub enum Act {
    Approve,
    Retry,
    Skip,
    Stop,
    Pause,
    Resume,
    Cancel,
}

impl Act {
    /// Those about one step, in the order in which they are offered.
    pub(super) const OF_A_STEP: [Self; 4] = [Self::Approve, Self::Retry, Self::Skip, Self::Stop];

    pub(super) fn is_about_a_step(self) -> bool {
        Self::OF_A_STEP.contains(&self)
    }

    /// Whether it is offered beside this step: it will hardly be refused. The coordinator decides, whatever is shown.
    pub(super) fn suits(self, step: &Step) -> bool {
        let phase = step.phase.as_str();
        match self {
            // Also long before it is asked; once that was done, it waits for something else.
            Self::Approve if phase == "Pending" => {
                step.approval.is_some() && matches!(step.waits_for.as_deref(), Some("Dependencies" | "Others" | "When"))
            }
            Self::Approve => phase == "Awaiting",
            Self::Retry => phase == "Paused",
            Self::Skip => matches!(phase, "Pending" | "Awaiting" | "Backoff" | "Paused"),
            Self::Stop => matches!(phase, "Granted" | "Running" | "Ready"),
            Self::Pause | Self::Resume | Self::Cancel => true,
        }
    }

    /// What a person has to ask for before this step goes on; `None`: nothing.
    #[must_use]
    pub fn awaited_by(step: &Step) -> Option<Self> {
        match step.waits_for.as_deref()? {
            "Approval" => Some(Self::Approve),
            "Decision" => Some(Self::Retry),
            _ => None,
        }
    }

    /// The word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    /// What it will do.
    pub(super) const fn means(self) -> &'static str {
        match self {
            Self::Approve => "It gets its turn as soon as it could run.",
            Self::Retry => "It runs again, in the same container.",
            Self::Skip => "It counts as done for all that depends on it, without having run.",
            Self::Stop => "What it runs is stopped: a task is Cancelled then, a service has Succeeded.",
            Self::Pause => "No step gets a turn until `resume`. What runs goes on, and so do all time limits.",
            Self::Resume => "Steps get their turns again.",
            Self::Cancel => "What runs is stopped, what waits is Cancelled, then finally steps run.",
        }
    }
}
