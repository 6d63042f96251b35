//! A sign for each phase: what is said by colour is said by a sign too.

/// What a person sees of a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// One column wide in every terminal font that has it.
    pub unicode: &'static str,
    /// For terminals without Unicode.
    pub ascii: &'static str,
}

/// The sign of a phase, by its word in `state.json`; `None`: there is no such phase.
#[must_use]
pub fn sign(phase: &str) -> Option<Sign> {
    let (unicode, ascii) = match phase {
        "Pending" => ("○", "."),
        "Awaiting" => ("?", "?"),
        "Granted" => ("▷", ">"),
        "Running" => ("▶", ">"),
        "Ready" => ("●", "*"),
        "Backoff" => ("↻", "~"),
        "Paused" => ("‖", "="),
        "Stopping" => ("▽", "v"),
        "Succeeded" => ("✓", "+"),
        "Failed" => ("✗", "x"),
        "Skipped" => ("»", "s"),
        "Omitted" => ("–", "-"),
        "Cancelled" => ("⊘", "c"),
        _ => return None,
    };
    Some(Sign { unicode, ascii })
}

/// Every phase that a step can be in, from its first to its last.
pub const PHASES: [&str; 13] = [
    "Pending",
    "Awaiting",
    "Granted",
    "Running",
    "Ready",
    "Backoff",
    "Paused",
    "Stopping",
    "Succeeded",
    "Failed",
    "Skipped",
    "Omitted",
    "Cancelled",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_phases_that_mean_different_things_look_the_same() {
        let signs: Vec<Sign> = PHASES.iter().filter_map(|phase| sign(phase)).collect();
        assert_eq!(signs.len(), PHASES.len(), "every phase has one");
        for (index, one) in signs.iter().enumerate() {
            let twins = signs[index + 1..].iter().filter(|other| other.unicode == one.unicode).count();
            assert_eq!(twins, 0, "{}", one.unicode);
        }
        assert_eq!(sign("Dancing"), None);
    }
}
