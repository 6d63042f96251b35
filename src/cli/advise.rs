//! `podturn advise`: from what runs used to what the next one should ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::place::Place;
use super::written::put;
use super::{difference, input, podturn_failed, record};
use crate::history::{History, Measured, measured};
use crate::inject::{self, NewResources, bytes, millicores, with_resources};
use crate::plan::site::Templates;
use crate::plan::{Amounts, Diagnostic, Diagnostics, Manifest, Reporter, SourceFile};
use crate::view::{Advised, advice};
use crate::volume::Resources;

/// What has to be said when a file has nothing to be advised about.
const NOTHING: &str = "none of the steps of this file was measured: is it the manifest of these runs?";

/// Arguments of `podturn advise`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Without anything else it prints a table (now, measured, advised) and the change of the manifest as a patch. The manifest is the one \
that you wrote, not what `podturn inject` made of it. Several runs are one measurement: the most memory of any of them counts.

Examples:
  podturn advise pod.yaml                                        from the `podturn run` that is under way
  podturn advise pod.yaml --volume archive/RUN1 --volume archive/RUN2
  kubectl logs POD -c podturn | podturn advise pod.yaml --from-logs - --write

Exit codes: 0 advised, or nothing to change; 1 no step of this file was measured; 2 there is no run, or the file cannot be \
edited; 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// The manifest
    file: PathBuf,
    /// A run's shared volume, a copy of it, or its archive; may be repeated. Default: what PODTURN_VOLUME says, else
    /// /podturn, else that of the one `podturn run` of yours on this machine
    #[arg(long, value_name = "DIR")]
    volume: Vec<PathBuf>,
    /// A coordinator's log instead of a volume; - for stdin; may be repeated
    #[arg(long, value_name = "FILE")]
    from_logs: Vec<PathBuf>,
    /// What is added to what was measured, in percent
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = percent)]
    margin: u64,
    /// Write the change into the file
    #[arg(long, conflicts_with = "output")]
    write: bool,
    /// Write the changed manifest there; - for stdout, and the table goes to stderr
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn percent(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    number.parse().ok().filter(|margin| *margin <= 1000).ok_or_else(|| "a number from 0 to 1000, such as 20".to_owned())
}

/// Prints the advice.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let runs = match histories(arguments) {
        Ok(runs) => runs,
        Err(code) => return code,
    };
    let file = match input::read(&arguments.file) {
        Ok(input::Text { name, text }) => SourceFile::new(&name, text),
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    let done = compare(&file, &measured(&runs), arguments.margin).and_then(|all| {
        let text = with_resources(&file, &Templates::default(), &wanted(&all))?;
        Ok((all, text))
    });
    let (all, text) = match done {
        Ok(done) => done,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    if all.iter().all(|step| step.wanted.is_none()) {
        anstream::eprintln!("error: {}: {NOTHING}", file.name());
        return ExitCode::FAILURE;
    }
    tell(arguments, &file, &advice(&all, arguments.margin), &text)
}

fn tell(arguments: &Arguments, file: &SourceFile, table: &str, text: &str) -> ExitCode {
    let place = if arguments.write { Some(arguments.file.as_path()) } else { arguments.output.as_deref() };
    let Some(place) = place else {
        let patch = difference::between(file.name(), "as advised", file.text(), text);
        let gap = if patch.is_empty() { "\nnothing has to be changed\n" } else { "\n" };
        super::show!("{table}{gap}{patch}");
        return ExitCode::SUCCESS;
    };
    if place == Path::new("-") {
        anstream::eprint!("{table}");
    } else {
        super::show!("{table}");
        if place == arguments.file && text == file.text() {
            return ExitCode::SUCCESS; // it is as it should be
        }
    }
    match put(place, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => podturn_failed(&error),
    }
}

fn histories(arguments: &Arguments) -> Result<Vec<History>, ExitCode> {
    let mut records = Vec::new();
    for volume in &arguments.volume {
        records.push(record::of_volume(volume)?);
    }
    for log in &arguments.from_logs {
        records.push(record::of_log(log)?);
    }
    if records.is_empty() {
        records.push(record::of_volume(&Place::default().find()?)?);
    }
    records.iter().map(record::played).collect()
}

/// The containers of all steps of the file, with what is known of each.
fn compare(
    file: &Arc<SourceFile>,
    measured: &BTreeMap<String, Measured>,
    margin: u64,
) -> Result<Vec<Advised>, Diagnostics> {
    let mut all = Vec::new();
    let mut is_there = false;
    for document in inject::unwired(file)? {
        let mut reporter = Reporter::new(file);
        let manifests = Manifest::all(&document, &Templates::default(), &mut reporter);
        if reporter.has_errors() {
            return Err(reporter.finish());
        }
        for manifest in &manifests {
            is_there = true;
            let checked = manifest.check(&manifest.facts)?;
            for container in &manifest.facts.containers {
                let matrix = checked.matrices.iter().find(|matrix| matrix.step == container.name);
                let names: Vec<&str> = match matrix {
                    Some(matrix) => matrix.instances.iter().map(|instance| instance.name.as_str()).collect(),
                    None => vec![container.name.as_str()],
                };
                let steps = &checked.plan.steps;
                if names.iter().any(|name| steps.iter().any(|step| step.name == *name)) {
                    let now = now(&container.resources.requests, &container.resources.limits);
                    all.push(advised(&container.name, &names, now, measured, margin));
                }
            }
        }
    }
    if !is_there {
        let mut diagnostic = Diagnostic::error(format!("{}: no pod here has a plan", file.name()));
        diagnostic.help(format!("a plan is the annotation {} of a pod, or of its Job", crate::plan::ANNOTATION));
        return Err(diagnostic.into());
    }
    Ok(all)
}

fn now(requests: &Amounts, limits: &Amounts) -> Resources {
    let cpu = |amounts: &Amounts| millicores(amounts.cpu.as_deref()?);
    let memory = |amounts: &Amounts| bytes(amounts.memory.as_deref()?);
    Resources {
        cpu_request: cpu(requests),
        cpu_limit: cpu(limits),
        memory_request: memory(requests),
        memory_limit: memory(limits),
    }
}

/// A container that a matrix makes several steps of gets what is enough for each of them.
fn advised(name: &str, steps: &[&str], now: Resources, measured: &BTreeMap<String, Measured>, margin: u64) -> Advised {
    let known: Vec<&Measured> = steps.iter().filter_map(|step| measured.get(*step)).collect();
    let most = |amount: fn(&Measured) -> u64| known.iter().map(|measured| amount(measured)).max().unwrap_or(0);
    let wanted = known.iter().map(|measured| measured.advise(now, margin)).reduce(|one, other| Resources {
        cpu_request: one.cpu_request.max(other.cpu_request),
        cpu_limit: one.cpu_limit.max(other.cpu_limit),
        memory_request: one.memory_request.max(other.memory_request),
        memory_limit: one.memory_limit.max(other.memory_limit),
    });
    Advised {
        name: name.to_owned(),
        attempts: known.iter().map(|measured| measured.attempts).sum(),
        cpu: (most(Measured::average), most(Measured::enough)),
        memory: most(|measured| measured.memory) * 1024,
        was_killed: known.iter().any(|measured| measured.was_killed),
        now,
        wanted,
    }
}

/// What is to be written: only what differs, so that `1` does not become `1000m`.
fn wanted(all: &[Advised]) -> BTreeMap<String, NewResources> {
    let differs = |now: Option<u64>, wanted: Option<u64>| wanted.filter(|wanted| now != Some(*wanted));
    let new = all.iter().filter_map(|step| {
        let (now, wanted) = (step.now, step.wanted?);
        let new = NewResources {
            cpu_request: differs(now.cpu_request, wanted.cpu_request),
            cpu_limit: differs(now.cpu_limit, wanted.cpu_limit),
            memory_request: differs(now.memory_request, wanted.memory_request),
            memory_limit: differs(now.memory_limit, wanted.memory_limit),
        };
        Some((step.name.clone(), new)).filter(|(_, new)| *new != NewResources::default())
    });
    new.collect()
}
