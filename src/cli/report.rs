//! `podturn report`: a run as one HTML page, or in a form for CI systems.

use std::path::PathBuf;
use std::process::ExitCode;

use super::podturn_failed;
use super::record::{Lookup, not_whole};
use super::written::{Format, put};

/// Arguments of `podturn report`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The page is one file that asks for nothing from outside: the graph, the timeline with attempts and waits, the critical path and \
what the run would have taken without each wait, all steps, the plan. It works of a run that goes on, after its end, and of a copy of \
its volume.

JUnit XML has a case per step, Markdown a table, reasons and the graph: what the summary of a CI system has room for.

A kubelet removes the volumes of a pod that has ended; its log is kept longer, and is complete.

Examples:
  podturn report                                            beside a `podturn run` in another terminal
  kubectl exec POD -c podturn -- podturn report -o - > run.html
  kubectl logs POD -c podturn | podturn report --from-logs -
  podturn report --volume ./copy -o run.html
  podturn report --from-logs run.log -o junit.xml           its ending says which form
  podturn report --format markdown -o - >> \"$GITHUB_STEP_SUMMARY\"

Exit codes: 0 written, 2 there is no run, or the log is not of one, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// Where to write it; - for stdout. Default: podturn-RUN.html, or .xml, or .md
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// In which form. Default: as FILE ends (.html, .xml, .md), else html
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    lookup: Lookup,
}

/// Writes it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let record = match arguments.lookup.record() {
        Ok(record) => record,
        Err(code) => return code,
    };
    let named = || arguments.output.as_deref().and_then(Format::of_name);
    let format = arguments.format.or_else(named).unwrap_or(Format::Html);
    let text = match format.write(&record) {
        Ok(text) => text,
        Err(impossible) => return not_whole(&impossible),
    };
    let by_run = || PathBuf::from(format!("podturn-{}.{}", record.run, format.extension()));
    let file = arguments.output.clone().unwrap_or_else(by_run);
    if let Err(error) = put(&file, &text) {
        return podturn_failed(&error);
    }
    if arguments.output.is_none() {
        super::showln!("{}", file.display());
    }
    ExitCode::SUCCESS
}
