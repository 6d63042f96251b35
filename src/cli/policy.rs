//! `podturn policy`: the wiring of pods as admission policies of a cluster.

use std::process::ExitCode;

use super::input;
use super::wiring::{self, Settings};
use crate::inject;
use crate::plan::{Diagnostic, Diagnostics};

/// Arguments of `podturn policy`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  podturn policy --image my-registry/podturn:0.1.0 | kubectl apply -f -
  podturn policy --user none                          OpenShift, which chooses users itself

It prints a MutatingAdmissionPolicy that wires pods with a plan when they are created, a ValidatingAdmissionPolicy that \
refuses what the first one cannot wire, and their bindings: Kubernetes 1.36 and above. docs/auto-inject.md says what it \
does, and what only `podturn inject` can do.

Exit codes: 0 printed, 2 an option that a policy cannot keep, 125 it cannot be written.")]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

/// Prints both policies on stdout.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    match text(arguments) {
        Ok(text) => {
            super::show!("{text}");
            ExitCode::SUCCESS
        }
        Err(diagnostics) => input::refuse(&diagnostics),
    }
}

fn text(arguments: &Arguments) -> Result<String, Diagnostics> {
    let mut settings = wiring::settings(&arguments.settings, None)?;
    for option in settings.leave_out_what_no_policy_keeps(&arguments.settings) {
        let mut warning =
            Diagnostic::warning(format!("{option} of the file of defaults is left out: no policy can keep it"));
        warning.help("`podturn inject` keeps it, for the pods that it wires");
        input::print(&warning.into());
    }
    let asked = settings.kubernetes();
    if let Some(version) = asked.filter(|version| *version < inject::POLICY_SINCE) {
        let mut diagnostic = Diagnostic::error(format!("Kubernetes {version} does not serve these policies"));
        diagnostic.help(format!("--kubernetes {} and above, or `podturn inject`", inject::POLICY_SINCE));
        return Err(diagnostic.into());
    }
    #[cfg(feature = "resolve")]
    if !settings.resolve.is_empty() {
        return Err(Diagnostic::error("--resolve: a policy sees no images; use `podturn inject` for that pod").into());
    }
    let options = wiring::options(settings)?;
    inject::policy(&options).map_err(|why| Diagnostic::error(why).into())
}
