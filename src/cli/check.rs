//! `podturn check`: whether a plan can run, and how podturn understands it.

use std::path::PathBuf;
use std::process::ExitCode;

use podturn_turn::{Condition, Plan, Probe, Step};

use super::input;
use crate::plan::{Checked, Diagnostics, Manifest, PodFacts, Source, canonical, check, yaml};

/// Arguments of `podturn check`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  podturn check pod.yaml              the plan of the one pod in this manifest that has one
  podturn check plan.yaml             a plan by itself; the names of containers cannot be checked then
  kubectl kustomize . | podturn check -
  podturn check --json pod.yaml       the plan as podturn understands it, for other programs

Exit codes: 0 the plan can run, 2 it cannot (every error is printed, with its place).")]
pub(super) struct Arguments {
    /// A manifest with a plan (annotation podturn.dev/plan), or a plan by itself; - for stdin
    file: PathBuf,
    /// Print the checked plan as JSON, in the plan's own language
    #[arg(long)]
    json: bool,
}

/// Prints the plan on stdout, or on stderr what is wrong with it.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match load(arguments) {
        Ok((title, checked)) => {
            input::print(&checked.warnings);
            let text = if arguments.json { canonical(&checked.plan) } else { summary(&title, &checked) };
            super::showln!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(diagnostics) => input::refuse(&diagnostics),
    }
}

fn load(arguments: &Arguments) -> Result<(String, Checked), Diagnostics> {
    let input::Text { name, text } = input::read(&arguments.file)?;
    let source = Source::file(name.clone(), text);
    if !Manifest::is_one(&yaml::parse(&source)?) {
        let checked = check(&source, &PodFacts::default())?;
        return Ok((name, checked));
    }
    let manifest = Manifest::read(&name, source.text())?;
    let checked = manifest.check(&manifest.facts)?;
    Ok((format!("{name}: {} {}", manifest.kind, manifest.name), checked))
}

/// One line a step: its name, what it waits for, and what else was said of it.
fn summary(title: &str, checked: &Checked) -> String {
    let plan = &checked.plan;
    let count = plan.steps.len();
    let mut text = format!("{title}: a plan of {count} step{}\n", if count == 1 { "" } else { "s" });
    let width = plan.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    for step in &plan.steps {
        let matrix = checked.instance(&step.name).map_or_else(String::new, |it| format!("; {}", it.describe()));
        let line = format!("  {:width$}  {}{}{matrix}", step.name, waits_for(step, plan), kind(step));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What is special about the step, if anything is.
fn kind(step: &Step) -> String {
    let mut text = String::new();
    if let Some(when) = &step.when {
        text.push_str(&format!(", when {when}"));
    }
    if step.approval.is_some() {
        text.push_str(", once a person approves it");
    }
    let probe = step.readiness.as_ref().map(|readiness| match &readiness.probe {
        Probe::Exec { .. } => "exec",
        Probe::HttpGet { .. } => "httpGet",
        Probe::TcpSocket { .. } => "tcpSocket",
        Probe::Grpc { .. } => "grpc",
        Probe::File { .. } => "file",
        Probe::Log { .. } => "log",
    });
    match (step.service, probe) {
        (true, Some(probe)) => text.push_str(&format!("; a service, ready by {probe}")),
        (true, None) => text.push_str("; a service, ready when it has begun"),
        (false, _) => {}
    }
    text
}

fn waits_for(step: &Step, plan: &Plan) -> String {
    let names: Vec<String> = step
        .depends_on
        .iter()
        .map(|dependency| {
            let name = &plan.steps[dependency.step.index()].name;
            match dependency.condition {
                Condition::Succeeded => name.clone(),
                other => format!("{name} ({other:?})"),
            }
        })
        .collect();
    match (step.finally, names.is_empty()) {
        (true, true) => "at the end, whatever happened".to_owned(),
        (true, false) => format!("at the end, after {}", names.join(", ")),
        (false, true) => "at once".to_owned(),
        (false, false) => format!("after {}", names.join(", ")),
    }
}
