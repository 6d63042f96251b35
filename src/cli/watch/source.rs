//! Where a run is looked up: on its volume, or in its coordinator's log.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use podturn_turn::Plan;

use crate::cli::place::{self, Held, Seen};
use crate::cli::{podturn_failed, record, tail};
use crate::view::watch::{Log, Look, Teller, Watch};
use crate::volume::news::Changes;

/// As many last lines of a step are kept in view.
const LINES: usize = 200;

/// Where news comes from.
pub(super) struct Source {
    /// The volume of a run that had not ended when it was opened.
    pub live: Option<Live>,
    /// What is published there.
    pub changes: Option<Changes>,
    pub logs: Logs,
    /// Up to when a log tells of the run (RFC 3339); `None`: it goes on, or has ended.
    pub until: Option<String>,
}

/// A run that goes on, and its volume.
pub(super) struct Live {
    pub volume: Held,
    pub plan: Plan,
}

pub(super) fn of_log(log: &Path, look: Look) -> Result<(Watch, Source), ExitCode> {
    let history = record::played(&record::of_log(log)?)?;
    let teller = if history.state.outcome.is_some() { Teller::Silence } else { Teller::Record };
    let until = history.ends_at;
    Ok((
        Watch::new(&history.plan, history.state, teller, look),
        Source { live: None, changes: None, logs: Logs::Elsewhere, until },
    ))
}

pub(super) fn of_volume(volume: PathBuf, look: Look) -> Result<(Watch, Source), ExitCode> {
    let failed = |error: io::Error| podturn_failed(&error);
    // Before the first look, so that nothing is missed between the two.
    let changes = Changes::of(&volume);
    let Seen { state, doubt, .. } = place::read(&volume)?;
    let plan = record::read_run(&volume)?.plan;
    let logs = Logs::of_volume(&volume);
    let teller = if doubt.is_some() || state.outcome.is_some() { Teller::Silence } else { Teller::Coordinator };
    if state.outcome.is_some() {
        return Ok((Watch::new(&plan, state, teller, look), Source { live: None, changes: None, logs, until: None }));
    }
    let changes = Some(changes.map_err(failed)?);
    let live = Some(Live { volume: Held::of(volume).map_err(failed)?, plan: plan.clone() });
    Ok((Watch::new(&plan, state, teller, look), Source { live, changes, logs, until: None }))
}

/// Where the last lines of steps are.
pub(super) enum Logs {
    /// In the directory of a `podturn run`.
    Run(PathBuf),
    /// A container's log is its runtime's, and no file that other containers see.
    Elsewhere,
}

impl Logs {
    /// A run's volumes are in `volumes` of its directory.
    fn of_volume(volume: &Path) -> Self {
        match volume.ancestors().nth(2) {
            Some(run) if tail::last(run, "", 0).is_some() => Self::Run(run.to_owned()),
            _ => Self::Elsewhere,
        }
    }

    pub(super) fn of_step(&self, step: &str) -> Log {
        let last = match self {
            Self::Run(run) => tail::last(run, step, LINES),
            Self::Elsewhere => None,
        };
        last.map_or_else(|| Log::Elsewhere(format!("its log is not here: kubectl logs POD -c {step}")), Log::Lines)
    }
}
