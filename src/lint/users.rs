//! What a step's user may do with files that another step's user wrote.

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use super::volumes::{Mount, mounts};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::{Node, Typed};

const ROOT: i64 = 0;

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    let has_group = pod.spec().get("securityContext").is_some_and(|context| context.get("fsGroup").is_some());
    if has_group {
        return;
    }
    let steps = pod.steps();
    for (volume, mounts) in mounts(pod) {
        for mount in &mounts {
            let Some((reader, user)) = known(pod, &steps, mount).filter(|(_, user)| *user != ROOT) else { continue };
            let writer = mounts.iter().filter(|other| !other.is_read_only && other.meets(mount)).find_map(|other| {
                let is_seen = other.step != mount.step && !pod.order.is_before(mount.step, other.step);
                let (writer, owner) = known(pod, &steps, other).filter(|_| is_seen)?;
                (owner != user && !shares_group(pod, writer, reader)).then_some((other, owner))
            });
            let Some((other, owner)) = writer else { continue };
            let [this, writer] = [mount.step, other.step].map(|step| pod.plan().steps[step].name.as_str());
            let can = match mount.is_read_only {
                true => "can read only what everybody may read of",
                false => "can change nothing, and read only what everybody may read, of",
            };
            let message = format!(
                "{this} runs as user {user}, so it {can} what {writer} (user {owner}) writes into the volume {}",
                quote(&volume)
            );
            found
                .add(codes::OTHER_USER, mount.span, message, &[pod.container_of(this), pod.container_of(writer)])
                .help("one `runAsUser` for both, or `fsGroup` in the pod's securityContext and `umask 002` in what writes");
        }
    }
}

/// The step's container and its user, where the manifest says it: the image's own is not known here.
fn known<'n>(
    pod: &Pod<'_>,
    steps: &[(usize, &podturn_turn::Step, &'n Node)],
    mount: &Mount,
) -> Option<(&'n Node, i64)> {
    let container = steps.iter().find(|(step, ..)| *step == mount.step)?.2;
    Some((container, pod.security(container, "runAsUser")?))
}

/// Whether the writer's group is one of the reader's.
fn shares_group(pod: &Pod<'_>, writer: &Node, reader: &Node) -> bool {
    let Some(group) = pod.security(writer, "runAsGroup") else { return false };
    let more = pod.spec().get("securityContext").and_then(|context| context.get("supplementalGroups")?.items());
    pod.security(reader, "runAsGroup") == Some(group)
        || more.unwrap_or_default().iter().any(|node| node.typed() == Some(Typed::Integer(group)))
}
