//! What podturn adds to a pod, by name: the same in a manifest (`wire`) and in a local pod (`local`).

use podturn_wire::names;

use crate::plan::PODTURN_PLAN;

/// The coordinator's container, and the volume: no step can have this name in a pod that podturn wires.
pub const PODTURN: &str = "podturn";

/// The init container that lays the volume out.
pub const PODTURN_INIT: &str = "podturn-init";

/// The init container's variables with the plan and what has to be known of the pod.
pub(super) const VARIABLES: [&str; 2] = [PODTURN_PLAN, crate::plan::PODTURN_POD];

/// How a step's container sees one half of its mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxMount {
    /// Where it is mounted in the container.
    pub path: String,
    /// Which directory of the volume it is.
    pub sub_path: String,
    /// Whether the step can only read it.
    pub read_only: bool,
}

/// The two halves of a step's mailbox.
#[must_use]
pub fn mailbox(step: &str) -> [MailboxMount; 2] {
    [(names::IN, true), (names::OUT, false)].map(|(half, read_only)| {
        let sub_path = format!("{}/{step}/{half}", names::STEPS);
        MailboxMount { path: format!("{}/{sub_path}", names::MOUNT), sub_path, read_only }
    })
}

/// What stands in front of a step's command.
#[must_use]
pub fn shim(step: &str) -> [String; 3] {
    let shim = format!("{}/{}/{step}/{}/{}", names::MOUNT, names::STEPS, names::IN, names::SHIM);
    [shim, "run".to_owned(), "--".to_owned()]
}

/// Whether these are the first words of a command with a shim in front.
pub(super) fn is_shimmed(words: &[Option<&str>]) -> bool {
    matches!(words, [Some(shim), Some("run"), Some("--"), ..] if shim.ends_with(names::SHIM))
}
