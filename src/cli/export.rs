//! `podturn export`: a plan as an object of an engine whose steps are pods of their own.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{input, podturn_failed, written};
use crate::export::{self, Target};
use crate::plan::SourceFile;

/// Arguments of `podturn export`.
#[derive(clap::Args)]
#[command(after_long_help = "\
One pod is one node. A plan that outgrows it goes to an engine that already exists: each step becomes a pod of its own. What \
the engine cannot say is an error, with its place and what to do; --lossy makes it a warning, and a comment in the output \
where it would be. docs/export.md in podturn's source has the tables of what becomes what.

Examples:
  podturn export --to argo pod.yaml > workflow.yaml        an Argo Workflow
  podturn export --to jobset --lossy -o set.yaml pod.yaml  a JobSet, with comments for what it cannot say
  kubectl kustomize . | podturn export --to argo -

Exit codes: 0 written; 2 the plan cannot run, or the engine cannot say something of it (nothing is written then).")]
pub(super) struct Arguments {
    /// A manifest with a plan (annotation podturn.dev/plan); - for stdin
    file: PathBuf,
    /// The engine
    #[arg(long, value_enum, value_name = "ENGINE")]
    to: Engine,
    /// Leave out what the engine cannot say, with a comment in its place
    #[arg(long)]
    lossy: bool,
    /// Write to this file; - for stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    /// A Workflow of Argo Workflows
    Argo,
    /// A JobSet of Kubernetes SIG Apps
    #[value(name = "jobset")]
    JobSet,
}

impl From<Engine> for Target {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Argo => Self::Argo,
            Engine::JobSet => Self::JobSet,
        }
    }
}

/// Writes the plan in the engine's words; on stderr what it cannot say.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let exported = input::read(&arguments.file).and_then(|input::Text { name, text }| {
        export::export(&SourceFile::new(name, text), arguments.to.into(), arguments.lossy)
    });
    let exported = match exported {
        Ok(exported) => exported,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    input::print(&exported.told);
    match written::put(&arguments.output, &exported.text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => podturn_failed(&error),
    }
}
