//! `podturn lint`: what would be refused, and what will probably hurt.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;

use super::{inject, input, manifests};
use crate::lint::{Finding, Linted, Report, lint, sarif};
use crate::plan::{Diagnostic, Diagnostics, Severity, SourceFile};

/// Arguments of `podturn lint`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Three levels: an `error` would be refused, a `warning` will probably hurt, an `info` is worth knowing and often meant so.
Errors and warnings make the exit code 1; with --strict, infos do, too. Each finding has a code; docs/lint.md says of each \
why it hurts and how it is put right.

What is meant as it is can be silenced in the manifest, with an annotation of the pod or of the object that makes it:
  podturn.dev/lint-ignore: PT202, PT301:build        a code, or a code for one step
A code that silences nothing is a finding itself. Options of `inject` count here too: they say how the pod will be wired.

Examples:
  podturn lint pod.yaml
  podturn lint manifests/                            all manifests of a directory; objects without a plan are passed over
  kubectl kustomize overlays/ci | podturn lint -
  podturn lint --output sarif manifests/ > lint.sarif
  podturn lint --level warning --job-defaults job.yaml

Exit codes: 0 nothing found, 1 something found, 2 a file cannot be read, 125 the findings cannot be written.")]
pub(super) struct Arguments {
    /// Manifests, or directories of manifests (*.yaml, *.yml, *.json); - for stdin
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How findings are printed
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
    /// The lowest level that is shown, and counts
    #[arg(long, value_enum, default_value = "info")]
    level: LevelName,
    /// Let infos make the exit code 1, too
    #[arg(long)]
    strict: bool,
    #[command(flatten, next_help_heading = "How `inject` would wire the pods")]
    wanted: inject::Wanted,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people: each with its line and a caret
    Text,
    /// For programs (`podturn schema lint`)
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

#[derive(Clone, Copy, ValueEnum)]
enum LevelName {
    Error,
    Warning,
    Info,
}

impl LevelName {
    fn shows(self, severity: Severity) -> bool {
        match (self, severity) {
            (_, Severity::Error) | (Self::Info, Severity::Info) => true,
            (Self::Warning | Self::Info, Severity::Warning) => true,
            (Self::Error, Severity::Warning) | (Self::Error | Self::Warning, Severity::Info) => false,
        }
    }
}

/// Prints the findings on stdout; what cannot be read is told on stderr.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let read = manifests::read(&arguments.files)
        .and_then(|files| Ok((arguments.wanted.options(None, files.iter().map(Arc::clone))?, files)));
    let (options, files) = match read {
        Ok(read) => read,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    let mut all = Linted::default();
    let mut unreadable = Diagnostics::default();
    for file in &files {
        match lint(file, &options) {
            Ok(linted) => all.append(linted),
            Err(wrong) => unreadable.append(wrong),
        }
    }
    let shown = |finding: &Finding| arguments.level.shows(finding.diagnostic.severity);
    all.findings.retain(shown);
    all.silenced.retain(shown);
    let counts = |finding: &Finding| arguments.strict || finding.diagnostic.severity != Severity::Info;
    let code = match unreadable.has_errors() {
        true => input::BAD_INPUT,
        false => u8::from(all.findings.iter().any(counts)),
    };
    super::show!("{}", text(&all, &files, arguments.output));
    input::print(&unreadable);
    if all.pods == 0 && all.findings.is_empty() && !unreadable.has_errors() {
        input::print(&nothing().into());
    }
    ExitCode::from(code)
}

fn text(all: &Linted, files: &[Arc<SourceFile>], output: Output) -> String {
    match output {
        Output::Text => {
            let shown = |finding: &Finding| format!("{}\n\n", finding.diagnostic.render_coded(finding.rule.code, true));
            let findings: String = all.findings.iter().map(shown).collect();
            format!("{findings}{}\n", summary(all, files.len()))
        }
        Output::Json => format!("{:#}\n", serde_json::to_value(Report::of(all)).unwrap_or_default()),
        Output::Sarif => format!("{:#}\n", sarif(all)),
    }
}

fn summary(all: &Linted, files: usize) -> String {
    let of = |severity| all.findings.iter().filter(|finding| finding.diagnostic.severity == severity).count();
    let mut counts = Vec::new();
    for (severity, one, many) in [
        (Severity::Error, "error", "errors"),
        (Severity::Warning, "warning", "warnings"),
        (Severity::Info, "info", "infos"),
    ] {
        match of(severity) {
            0 => {}
            1 => counts.push(format!("1 {one}")),
            count => counts.push(format!("{count} {many}")),
        }
    }
    let found = if counts.is_empty() { "nothing found".to_owned() } else { counts.join(", ") };
    let silenced = match all.silenced.len() {
        0 => String::new(),
        count => format!(", {count} silenced"),
    };
    let more = if all.more > 0 { format!(", and {} more that are not shown", all.more) } else { String::new() };
    let [pods, files] = [(all.pods, "pod with a plan", "pods with a plan"), (files, "file", "files")]
        .map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many }));
    format!("{pods} in {files}: {found}{silenced}{more}")
}

fn nothing() -> Diagnostic {
    let mut diagnostic = Diagnostic::warning("no pod here has a plan: nothing was looked at");
    diagnostic.help(format!(
        "a plan is the annotation {} of a pod, or of its Job; `podturn check` takes a plan by itself",
        crate::plan::ANNOTATION
    ));
    diagnostic
}
