//! The schedule on a clock that jumps.

mod schedule;

use podturn_turn::{Probe, Readiness};

/// A readiness with Kubernetes' defaults.
fn readiness(probe: Probe) -> Readiness {
    Readiness {
        probe,
        initial_delay_seconds: 0,
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
    }
}
