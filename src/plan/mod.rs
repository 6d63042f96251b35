//! Annotation or file to checked graph. Every value keeps its place in the source, so that errors can point.
//!
//! ```text
//! Manifest::read ───────────────> manifest.check(&facts) ───────┐
//! Source::file("plan.yaml", ..) ────> check(&source, &facts) ───┤
//! Source::file("PODTURN_PLAN", ..) ─> check_wired(.., &facts) ──┴─> Checked { plan, matrices, warnings } | Diagnostics
//!                                                                      └─> canonical(&plan): the plan as JSON
//! ```
//!
//! Belongs here: the plan's language, its errors, and finding a plan in a manifest. Does not belong here: reading files,
//! printing, and changing manifests.

mod canonical;
mod check;
mod containers;
pub mod diagnostic;
mod durations;
mod ends;
mod facts;
mod fields;
mod graph;
mod links;
mod manifest;
mod matrix;
mod names;
mod places;
mod readiness;
mod reference;
mod retry;
mod schema;
mod settings;
mod signals;
pub mod site;
mod source;
mod steps;
mod template;
pub mod yaml;

pub use canonical::canonical;
pub use check::{Checked, check, check_wired};
pub use diagnostic::{Diagnostic, Diagnostics, Place, Reporter, Severity};
pub use durations::{duration_argument, milliseconds};
pub use facts::{
    Amounts, ContainerFacts, ContainerRestarts, PODTURN_POD, PODTURN_POD_UID, Placement, PodFacts, PortFacts,
    ResourceFacts, RestartPolicy, TerminationMessagePolicy,
};
pub use manifest::{ANNOTATION, INJECTED, LINT_IGNORE, Manifest, ports as container_ports};
pub use matrix::{Instance, Matrix};
pub use names::named_step;
pub use places::Places;
pub use readiness::{CONTAINER_NUMBERS, container_hook, container_number, container_probe};
pub use reference::plan_reference;
pub use schema::{plan_schema, pod_schema};
pub use signals::named as named_signal;
pub use signals::signal as stop_signal;
pub use source::{FILE_MAX, Source, SourceFile, Span};
pub use steps::DEFAULT_STOP_SIGNAL;
pub use template::Edit;

/// The name of the environment variable that holds a plan, and of its text in errors.
pub const PODTURN_PLAN: &str = "PODTURN_PLAN";
