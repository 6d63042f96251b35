//! Traces for whoever collects them (OpenTelemetry): which spans there are by their ids, what the environment asks for, and the sending.
//!
//! Belongs here: W3C trace contexts, ids, the `OTEL_*` variables, OTLP over HTTP. Does not belong here: what a span says of a run
//! (`view::traces`).
//!
//! Ids are computed from the run's, so the context of an attempt can be handed to its command long before its span is sent, and a
//! coordinator that takes over computes the same ones.

mod context;
mod export;
pub mod message;
mod settings;

pub use context::{Context, Parent, SpanId, TraceId};
pub use export::{NotSent, export};
pub use settings::{NotAsked, Settings};

/// The plan's parameter whose value is a trace context: what its default, or the init container's variable of that name, says is the
/// run's parent; and in a step it is the context of the attempt, if traces are sent.
pub const PARAMETER: &str = "TRACEPARENT";

/// The same as a step's command line or environment writes it.
pub const REFERENCE: &str = "params.TRACEPARENT";

/// Where among a step's references the attempt's context is asked for. Mostly nowhere.
#[must_use]
pub fn places(references: &[String]) -> Vec<usize> {
    let is_context = |reference: &str| reference.split(":-").next() == Some(REFERENCE);
    let all = references.iter().enumerate();
    all.filter(|(_, reference)| is_context(reference)).map(|(place, _)| place).collect()
}
