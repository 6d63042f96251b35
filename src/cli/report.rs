//! `podturn report`: a run as one HTML page.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::place::Place;
use super::{input, podturn_failed, record};
use crate::history::Record;
use crate::view;

/// Arguments of `podturn report`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The page is one file that asks for nothing from outside: the graph, the timeline with attempts and waits, the critical path and \
what the run would have taken without each wait, all steps, the plan. It works of a run that goes on, after its end, and of a copy of \
its volume.

A kubelet removes the volumes of a pod that has ended; its log is kept longer, and is complete.

Examples:
  podturn report                                            beside a `podturn run` in another terminal
  kubectl exec POD -c podturn -- podturn report -o - > run.html
  kubectl logs POD -c podturn | podturn report --from-logs -
  podturn report --volume ./copy -o run.html

Exit codes: 0 written, 2 there is no run, or the log is not of one, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// Where to write it; - for stdout. Default: podturn-RUN.html
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The coordinator's log instead of a volume; - for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "volume")]
    from_logs: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// Writes the page.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let record = match &arguments.from_logs {
        Some(log) => record::of_log(log),
        None => arguments.place.find().and_then(|volume| record::of_volume(&volume)),
    };
    let record: Record = match record {
        Ok(record) => record,
        Err(code) => return code,
    };
    let page = match view::report(&record) {
        Ok(page) => page,
        Err(impossible) => {
            anstream::eprintln!("error: this is not one run, whole: {impossible}");
            return ExitCode::from(input::BAD_INPUT);
        }
    };
    let file = arguments.output.clone().unwrap_or_else(|| PathBuf::from(format!("podturn-{}.html", record.run)));
    let written = match file == Path::new("-") {
        true => std::io::stdout().lock().write_all(page.as_bytes()),
        false => std::fs::write(&file, page),
    };
    if let Err(error) = written {
        return podturn_failed(&std::io::Error::other(format!("cannot write {}: {error}", file.display())));
    }
    if arguments.output.is_none() {
        anstream::println!("{}", file.display());
    }
    ExitCode::SUCCESS
}
