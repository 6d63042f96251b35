//! `podturn status`: how a run stands; `podturn why`: why a step is where it is.

use std::process::ExitCode;

use super::place::{self, Place, Seen};
use super::{input, podturn_failed};
use crate::view;
use crate::volume::news::Changes;
use crate::volume::published::State;

/// Arguments of `podturn status`.
#[derive(clap::Args)]
#[command(after_long_help = "\
It reads state.json, so it works on a live run, after its end, and on a copy of the volume.

Examples:
  podturn --pod POD status                            in a cluster, by kubectl exec POD -c podturn -- podturn status
  podturn status                                      beside a `podturn run` in another terminal
  podturn status --volume ./copy --json | jq .outcome

Exit codes: 0 shown, 2 there is no run, 125 podturn itself failed.")]
pub(super) struct Arguments {
    /// Print the state as JSON
    #[arg(long)]
    json: bool,
    /// Show every new state, until the plan has ended
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    place: Place,
}

/// Shows how the run stands.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let volume = match arguments.place.find() {
        Ok(volume) => volume,
        Err(code) => return code,
    };
    // Before the first look, so that nothing is missed between the two.
    let changes = arguments.follow.then(|| Changes::of(&volume)).transpose();
    let changes = match changes {
        Ok(changes) => changes,
        Err(error) => return podturn_failed(&error),
    };
    let mut shown = None;
    loop {
        let seen = match place::read(&volume) {
            Ok(seen) => seen,
            Err(code) => return code,
        };
        let state = &seen.state;
        if shown != Some(state.seq) {
            shown = Some(state.seq);
            show(&seen, arguments);
        }
        let Some(changes) = changes.as_ref().filter(|_| state.outcome.is_none()) else { return ExitCode::SUCCESS };
        if let Err(error) = changes.wait() {
            return podturn_failed(&error);
        }
    }
}

fn show(Seen { state, stale }: &Seen, arguments: &Arguments) {
    if arguments.json && arguments.follow {
        super::showln!("{}", serde_json::to_string(state).unwrap_or_default()); // one line each
    } else if arguments.json {
        super::showln!("{}", serde_json::to_string_pretty(state).unwrap_or_default());
    } else {
        super::show!("{}{}", view::table(state), sentences(state));
        if *stale {
            super::showln!("{}", place::STALE);
        }
    }
    if arguments.follow && !arguments.json && state.outcome.is_none() {
        super::showln!();
    }
}

fn sentences(state: &State) -> String {
    if state.outcome.is_some() { view::sentences(state) } else { view::standing(state, &view::now()) }
}

/// Arguments of `podturn why`.
#[derive(clap::Args)]
#[command(after_long_help = "\
The whole chain of what the step waits for, down to the cause; of a step that has ended, why it ended so.

Example:
  podturn why publish

Exit codes: 0 shown, 2 there is no run or no such step, 125 podturn itself failed.")]
pub(super) struct WhyArguments {
    /// The step
    step: String,
    #[command(flatten)]
    place: Place,
}

/// Shows why the step is where it is.
pub(super) fn why(arguments: &WhyArguments) -> ExitCode {
    let Seen { state, stale } = match arguments.place.look() {
        Ok(seen) => seen,
        Err(code) => return code,
    };
    let Some(text) = view::why(&state, &arguments.step, &view::now()) else {
        let names: Vec<&str> = state.steps.iter().map(|step| step.name.as_str()).collect();
        anstream::eprintln!("error: the plan has no step {}; it has {}", arguments.step, names.join(", "));
        return ExitCode::from(input::BAD_INPUT);
    };
    super::show!("{text}");
    if stale {
        super::showln!("{}", place::STALE);
    }
    ExitCode::SUCCESS
}
