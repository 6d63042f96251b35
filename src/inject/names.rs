//! What podturn adds to a pod, by name: the same in a manifest (`wire`) and in a local pod (`local`).

use podturn_wire::names;

use super::options::ShimFrom;
use crate::plan::PODTURN_PLAN;

/// The coordinator's container, and the volume: no step can have this name in a pod that podturn wires.
pub const PODTURN: &str = "podturn";

/// The init container that lays the volume out.
pub const PODTURN_INIT: &str = "podturn-init";

/// The volume that is an image with the shim, where there is one.
pub const PODTURN_SHIM: &str = "podturn-shim";

/// Where that is mounted, beside `in/` and `out/` of the mailbox: from there the shim finds them.
const SHIM_MOUNT: &str = "shim";

/// The init container's variables with the plan and what has to be known of the pod.
pub(super) const VARIABLES: [&str; 2] = [PODTURN_PLAN, crate::plan::PODTURN_POD];

/// How a step's container sees one half of its mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MailboxMount {
    /// Where it is mounted in the container.
    pub path: String,
    /// Which directory of the volume it is.
    pub sub_path: String,
    /// Whether the step can only read it.
    pub read_only: bool,
}

/// The two halves of a step's mailbox.
#[must_use]
pub(super) fn mailbox(step: &str) -> [MailboxMount; 2] {
    [(names::IN, true), (names::OUT, false)].map(|(half, read_only)| {
        let sub_path = format!("{}/{step}/{half}", names::STEPS);
        MailboxMount { path: format!("{}/{sub_path}", names::MOUNT), sub_path, read_only }
    })
}

/// The directory of the shim, and of `podturn-probe`, in a step's container.
pub(super) fn programs(step: &str, from: &ShimFrom) -> String {
    let directory = if *from == ShimFrom::Volume { names::IN } else { SHIM_MOUNT };
    format!("{}/{}/{step}/{directory}", names::MOUNT, names::STEPS)
}

/// What stands in front of a step's command.
#[must_use]
pub(super) fn shim(step: &str, from: &ShimFrom) -> [String; 3] {
    let shim = format!("{}/{}", programs(step, from), names::SHIM);
    [shim, "run".to_owned(), "--".to_owned()]
}

/// How many words stand in front of a command: the shim's own, and those of the hooks that it was given. 0: no shim.
pub(super) fn shim_length(words: &[Option<&str>]) -> usize {
    if !matches!(words, [Some(shim), Some("run"), ..] if shim.ends_with(names::SHIM)) {
        return 0;
    }
    let mut at = 2;
    while let Some(Some("--post-start" | "--pre-stop")) = words.get(at) {
        let count = words.get(at + 1).copied().flatten().and_then(|count| count.parse::<usize>().ok());
        at = at.saturating_add(2).saturating_add(count.unwrap_or(usize::MAX));
    }
    if words.get(at) == Some(&Some("--")) { at + 1 } else { 0 }
}
