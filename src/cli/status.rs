//! `podturn status`: how a run stands; `podturn why`: why a step is where it is.

use std::io;
use std::process::ExitCode;

use super::place::{self, Held, Seen};
use super::record::Lookup;
use super::{input, podturn_failed};
use crate::view;
use crate::volume::news::Changes;
use crate::volume::published::State;

/// Arguments of `podturn status`.
#[derive(clap::Args)]
#[command(after_long_help = "\
It reads state.json, so it works on a live run, after its end, and on a copy of the volume. Of a pod that has ended, its \
coordinator's log tells as much.

Examples:
  podturn --pod POD status                            in a cluster, by kubectl exec POD -c podturn -- podturn status
  podturn status                                      beside a `podturn run` in another terminal
  podturn status --volume ./copy --json | jq .outcome
  kubectl logs POD -c podturn | podturn status --from-logs -

Exit codes: 0 shown, 2 there is no run, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// Print the state as JSON
    #[arg(long)]
    json: bool,
    /// Show every new state, until the plan has ended
    #[arg(long, conflicts_with = "from_logs")]
    follow: bool,
    #[command(flatten)]
    lookup: Lookup,
}

/// Shows how the run stands.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let shown =
        if arguments.follow { follow(arguments) } else { arguments.lookup.look().map(|seen| show(&seen, arguments)) };
    shown.err().unwrap_or(ExitCode::SUCCESS)
}

/// Shows every new state, until there will be none any more.
fn follow(arguments: &Arguments) -> Result<(), ExitCode> {
    let failed = |error: io::Error| podturn_failed(&error);
    let found = arguments.lookup.place.find()?;
    // Before the first look, so that nothing is missed between the two.
    let changes = Changes::of(&found).map_err(failed)?;
    // A look that comes a moment after the end still finds it.
    let volume = Held::of(found).map_err(failed)?;
    let mut shown = None;
    loop {
        let is_last = !volume.is_in_use();
        if is_last && !volume.has_state() {
            return Err(gone());
        }
        let seen = place::read(volume.path())?;
        let state = &seen.state;
        if shown != Some(state.seq) {
            shown = Some(state.seq);
            show(&seen, arguments);
        }
        if state.outcome.is_some() {
            return Ok(());
        }
        if is_last {
            return Err(gone());
        }
        changes.wait_while(|| volume.is_in_use()).map_err(failed)?;
    }
}

fn gone() -> ExitCode {
    anstream::eprintln!("error: the run is gone, and nobody has said how its plan ended");
    ExitCode::from(input::BAD_INPUT)
}

fn show(Seen { state, at, doubt }: &Seen, arguments: &Arguments) {
    if arguments.json && arguments.follow {
        super::showln!("{}", serde_json::to_string(state).unwrap_or_default()); // one line each
    } else if arguments.json {
        super::showln!("{}", serde_json::to_string_pretty(state).unwrap_or_default());
    } else {
        super::show!("{}{}", view::table(state), sentences(state, at));
        if let Some(doubt) = doubt {
            super::showln!("{doubt}");
        }
    }
    if arguments.follow && !arguments.json && state.outcome.is_none() {
        super::showln!();
    }
}

fn sentences(state: &State, at: &str) -> String {
    if state.outcome.is_some() { view::sentences(state) } else { view::standing(state, at) }
}

/// Arguments of `podturn why`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The whole chain of what the step waits for, down to the cause; of a step that has ended, why it ended so.

Examples:
  podturn why publish
  kubectl logs POD -c podturn | podturn why publish --from-logs -

Exit codes: 0 shown, 2 there is no run or no such step, 125 podturn itself failed.")]
pub(super) struct WhyArguments {
    /// The step
    step: String,
    #[command(flatten)]
    lookup: Lookup,
}

/// Shows why the step is where it is.
pub(super) fn why(arguments: &WhyArguments) -> ExitCode {
    let Seen { state, at, doubt } = match arguments.lookup.look() {
        Ok(seen) => seen,
        Err(code) => return code,
    };
    let Some(text) = view::why(&state, &arguments.step, &at) else {
        let names: Vec<&str> = state.steps.iter().map(|step| step.name.as_str()).collect();
        anstream::eprintln!("error: the plan has no step {}; it has {}", arguments.step, names.join(", "));
        return ExitCode::from(input::BAD_INPUT);
    };
    super::show!("{text}");
    if let Some(doubt) = doubt {
        super::showln!("{doubt}");
    }
    ExitCode::SUCCESS
}
