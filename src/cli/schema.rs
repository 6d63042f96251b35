//! `podturn schema`: the JSON Schemas of what podturn reads and writes, and the plan reference made from them.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::control::control_schema;
use crate::lint::lint_schema;
use crate::plan::{plan_reference, plan_schema, pod_schema};
use crate::volume::phases::phases_schema;
use crate::volume::published::state_schema;
use crate::volume::schema::{journal_schema, log_schema, report_schema, turn_schema};
use crate::volume::usage::usage_schema;

/// Arguments of `podturn schema`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  podturn schema plan > plan.schema.json      for an editor: completion and errors while typing
  podturn schema turn                         what another shim would have to read
  podturn schema plan --markdown > docs/plan-reference.md")]
pub(super) struct Arguments {
    /// What to describe
    #[arg(value_enum)]
    document: Document,
    /// Print the plan reference for people instead (only for `plan`)
    #[arg(long)]
    markdown: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Document {
    /// A plan: the annotation podturn.dev/plan, or PODTURN_PLAN
    Plan,
    /// What inject tells the init container of the pod: PODTURN_POD
    Pod,
    /// turn.json: coordinator to shim
    Turn,
    /// report.json: shim to coordinator
    Report,
    /// state.json: the published view of a run
    State,
    /// One line of journal.jsonl: an event the coordinator acted on
    Journal,
    /// One line of usage.jsonl: what an attempt used so far
    Usage,
    /// public/phases.json: what containers see that are no steps
    Phases,
    /// One line of the coordinator's log, where that is JSON
    Log,
    /// The control API: the bodies of a request and its answer
    Control,
    /// What `podturn lint --output json` prints
    Lint,
}

/// Prints the schema on stdout.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.markdown {
        if arguments.document != Document::Plan {
            anstream::eprintln!("error: --markdown is there for `podturn schema plan` only");
            return ExitCode::from(super::input::BAD_INPUT);
        }
        super::show!("{}", plan_reference());
        return ExitCode::SUCCESS;
    }
    let schema = match arguments.document {
        Document::Plan => plan_schema(),
        Document::Pod => pod_schema(),
        Document::Turn => turn_schema(),
        Document::Report => report_schema(),
        Document::State => state_schema(),
        Document::Journal => journal_schema(),
        Document::Usage => usage_schema(),
        Document::Phases => phases_schema(),
        Document::Log => log_schema(),
        Document::Control => control_schema(),
        Document::Lint => lint_schema(),
    };
    super::showln!("{:#}", schema.to_value());
    ExitCode::SUCCESS
}
