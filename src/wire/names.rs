//! Names on the volume: one place for every path, and what a step may be called.

/// The init container's stamp: run id, plan and its hash.
pub const RUN: &str = "run.json";
/// Every event the coordinator acted on, in order.
pub const JOURNAL: &str = "journal.jsonl";
/// The published view of the run.
pub const STATE: &str = "state.json";
/// Held by the one coordinator.
pub const LOCK: &str = "coordinator.lock";
/// The coordinator's control API: a Unix socket that speaks HTTP. Not visible to steps.
pub const CONTROL: &str = "control.sock";
/// The directory of all mailboxes.
pub const STEPS: &str = "steps";
/// The half of a mailbox that the step can only read.
pub const IN: &str = "in";
/// The half of a mailbox that the step writes.
pub const OUT: &str = "out";
/// Coordinator to shim, in `in/`.
pub const TURN: &str = "turn.json";
/// The socket on which the coordinator listens, in `in/`.
pub const BELL: &str = "bell";
/// In `in/`, where there is no bell (`--bell file`): an empty file on which the shim holds a lock.
pub const ALIVE: &str = "alive";
/// The static shim, in `in/`.
pub const SHIM: &str = "podturn-shim";
/// In `in/`: the static program that stands in for the step's own Kubernetes probes and hooks.
pub const PROBE: &str = "podturn-probe";
/// In `out/`: the instance and the attempt whose start-up has passed, as that program has seen.
pub const STARTUP_PASSED: &str = "startup-passed";
/// Shim to coordinator, in `out/`.
pub const REPORT: &str = "report.json";
/// Where the shim writes a report before it renames it, in `out/`.
pub const REPORT_TEMPORARY: &str = ".report.json.new";
/// The command's outputs, in `out/`: one file a key.
pub const OUTPUTS: &str = "outputs";
/// What whoever looks on may see: its own program, the phases, a bell.
pub const PUBLIC: &str = "public";
/// The phases of all steps, in `public/`.
pub const PHASES: &str = "phases.json";
/// Where the volume is mounted in every container.
pub const MOUNT: &str = "/podturn";

/// Whether `name` can be a container's, and so a step's: a DNS-1123 label (RFC 1123 section 2.1 as Kubernetes reads
/// it), that is at most 63 lower-case letters, digits and dashes, with no dash at either end.
#[must_use]
pub fn is_container_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

#[cfg(test)]
mod tests {
    use super::is_container_name;

    #[test]
    fn container_names_are_dns_labels() {
        for good in ["a", "build", "unit-test", "3-12", "0"] {
            assert!(is_container_name(good), "{good}");
        }
        let long = [b'a'; 64];
        let long = core::str::from_utf8(&long).unwrap_or("");
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "\u{e9}", "a/b", "..", long] {
            assert!(!is_container_name(bad), "{bad}");
        }
    }
}
