//! The verbs: what a person tells the coordinator of a live run.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use podturn_wire::exit;
use tokio::time::sleep;

use super::place::{self, Place};
use super::{input, podturn_failed};
use crate::control::{self, AskError};
use crate::coordinator::asked::{Ask, Told, Verb, Verdict};

/// How long a hook waits for a coordinator that is beginning.
const A_MOMENT: Duration = Duration::from_secs(2);

/// How often it is asked meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be said of each verb.
pub(super) const HELP: &str = "\
The answer says what was done, or why not; it is kept in the journal before anything follows from it, and asking twice does nothing \
twice. `podturn status` shows what a run waits for, `podturn why STEP` the whole chain.

Examples, for `approve`:
  podturn approve publish                    beside a `podturn run` in another terminal
  podturn --pod POD approve publish          in a cluster; `kubectl podturn approve POD publish` is the same

Exit codes: 0 done, or nothing was left to do; 1 no: it does not apply to the step as it stands, or the plan has ended; 2 there is no run, \
no such step, or somebody else's; 124 no answer in time; 125 no coordinator answers, or podturn itself failed.";

/// Arguments of a verb that is about the whole plan.
#[derive(clap::Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    place: Place,
}

/// Arguments of a verb that is about one step.
#[derive(clap::Args)]
pub(super) struct StepArguments {
    /// The step
    step: String,
    /// The attempt that is meant; with it the same request twice does nothing twice. Default: the newest one
    #[arg(long, value_name = "NUMBER")]
    attempt: Option<u32>,
    #[command(flatten)]
    place: Place,
}

/// Asks, and says what came of it.
pub(super) fn plan(verb: Verb, arguments: &PlanArguments) -> ExitCode {
    find_and_tell(&arguments.place, &Ask { verb, step: None, attempt: None })
}

/// A hook that fails is reported as an event of the pod, and at a normal end it runs as well, when nothing is left to do: so it
/// always succeeds. A pod may be deleted when its coordinator has begun just now: it is waited for.
pub(super) fn terminating(arguments: &PlanArguments) -> ExitCode {
    if let Ok(volume) = arguments.place.find() {
        let _ = tell(&volume, &Ask { verb: Verb::Terminate, step: None, attempt: None }, A_MOMENT);
    }
    ExitCode::SUCCESS
}

/// Asks, and says what came of it.
pub(super) fn step(verb: Verb, arguments: &StepArguments) -> ExitCode {
    find_and_tell(&arguments.place, &Ask { verb, step: Some(arguments.step.clone()), attempt: arguments.attempt })
}

fn find_and_tell(place: &Place, ask: &Ask) -> ExitCode {
    match place.find() {
        Ok(volume) => tell(&volume, ask, Duration::ZERO),
        Err(code) => code,
    }
}

/// `patience`: how long a coordinator that does not answer yet is waited for.
fn tell(volume: &Path, ask: &Ask, patience: Duration) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let told = match runtime {
        Ok(runtime) => runtime.block_on(ask_patiently(volume, ask, patience)),
        Err(error) => return podturn_failed(&error),
    };
    match told {
        Ok(told) => show(&told),
        Err(error @ AskError::Connect(..)) => nobody_listens(volume, &error),
        Err(error @ AskError::Late(_)) => {
            anstream::eprintln!("error: {error}");
            anstream::eprintln!(
                "  help: it may still be done; `podturn status` shows it, and the same request may be sent again"
            );
            ExitCode::from(exit::TIMED_OUT)
        }
        Err(error) => podturn_failed(&error),
    }
}

fn nobody_listens(volume: &Path, error: &AskError) -> ExitCode {
    if let Some(outcome) = place::outcome(volume) {
        anstream::eprintln!("no: the plan has ended: {outcome}");
        return ExitCode::from(exit::FAILED);
    }
    let code = podturn_failed(error);
    anstream::eprintln!("  help: is the run still under way? `podturn status` shows how it stands");
    code
}

async fn ask_patiently(volume: &Path, ask: &Ask, patience: Duration) -> Result<Told, AskError> {
    let mut left = patience;
    loop {
        match control::ask(volume, ask).await {
            Err(AskError::Connect(..)) if !left.is_zero() => sleep(PAUSE.min(left)).await,
            told => return told,
        }
        left = left.saturating_sub(PAUSE);
    }
}

fn show(told: &Told) -> ExitCode {
    match told.result {
        Verdict::Done => {
            super::showln!("{}", told.message);
            ExitCode::SUCCESS
        }
        Verdict::Already => {
            super::showln!("nothing to do: {}", told.message);
            ExitCode::SUCCESS
        }
        Verdict::Refused => {
            anstream::eprintln!("no: {}", told.message);
            ExitCode::from(exit::FAILED)
        }
        Verdict::NoSuchStep | Verdict::Bad | Verdict::Forbidden => {
            anstream::eprintln!("error: {}", told.message);
            ExitCode::from(input::BAD_INPUT)
        }
    }
}
