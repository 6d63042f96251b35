//! The words of OpenTelemetry's conventions for what podturn has its own words for.

use podturn_turn::Reason;

use crate::history::What;
use crate::view::junit::is_error;

/// `cicd.pipeline.result`.
pub(super) fn outcome_result(outcome: &str) -> &'static str {
    match outcome {
        "Succeeded" => "success",
        "Cancelled" => "cancellation",
        _ => "failure",
    }
}

/// `cicd.pipeline.task.run.result`.
pub(super) fn reason_result(phase: &str, reason: &str) -> &'static str {
    match (phase, reason) {
        (_, "TimedOut" | "PlanTimedOut") => "timeout",
        ("Succeeded", _) => "success",
        ("Skipped" | "Omitted", _) => "skip",
        ("Cancelled", _) => "cancellation",
        (_, reason) if is_error(reason) => "error",
        _ => "failure",
    }
}

/// Whether an attempt that counted so has failed.
pub(super) const fn is_failure(reason: Reason) -> bool {
    match reason {
        Reason::ExitCode
        | Reason::Signal
        | Reason::OOMKilled
        | Reason::TimedOut
        | Reason::ShimLost
        | Reason::EndedEarly
        | Reason::NotReady
        | Reason::NeverArrived
        | Reason::StartError
        | Reason::Interrupted
        | Reason::WhenError
        | Reason::PlanTimedOut
        | Reason::VolumeFull => true,
        Reason::Completed
        | Reason::Stopped
        | Reason::WhenFalse
        | Reason::SkipRequested
        | Reason::StopRequested
        | Reason::DependencyLost
        | Reason::NotNeeded
        | Reason::Draining
        | Reason::FailureElsewhere
        | Reason::CancelRequested
        | Reason::PodDeleted => false,
    }
}

/// What a step waits for: few words, since they are the names of spans.
pub(super) const fn wait(what: What) -> &'static str {
    match what {
        What::Attempt(_) | What::Handoff => "podturn",
        What::Dependencies => "dependencies",
        What::Others => "others",
        What::When => "when",
        What::Approval => "approval",
        What::Container => "container",
        What::Slot(_) => "maxParallel",
        What::Pool(..) => "pool",
        What::Backoff => "backoff",
        What::Decision => "decision",
        What::Hold => "pause",
    }
}
