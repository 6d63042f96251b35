//! The screen of `podturn watch`: all steps in the DAG's order with its lanes, and what there is to say of the one that is selected.
//!
//! Belongs here: what a key changes on the screen, what it asks of the run, and how the screen looks: a function of what is known, the
//! time and the room there is. Does not belong here: terminals, reading files, asking the coordinator, how much a request may do
//! (the core decides, and its answer is shown).

mod about;
mod columns;
mod draw;
mod keys;
mod text;

use podturn_turn::Plan;

pub(super) use columns::note;
pub use keys::{Asking, Key, Wish};
pub(super) use text::{cut, width};

use super::Act;
use super::graph::{Graph, Line};
use crate::volume::published::{State, Step};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours. Nothing is said by colour alone.
    pub colours: bool,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

/// Who tells how the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// A coordinator, which can be asked for something too.
    Coordinator,
    /// What a coordinator has published, and none answers now: it may be old.
    Silence,
    /// A record of a run: its coordinator's log.
    Record,
}

/// The last lines of the selected step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// There they are, oldest first; the step has written none yet if there are none.
    Lines(Vec<String>),
    /// They are not to be had here: a sentence that says where they are.
    Elsewhere(String),
}

/// What a person looks at: changed by news and by keys.
#[derive(Clone, Debug)]
pub struct Watch {
    graph: Graph,
    lines: Vec<Line>,
    state: State,
    teller: Teller,
    look: Look,
    /// A step, by its place in the plan.
    selected: usize,
    /// The selected step alone is shown.
    alone: bool,
    over: Option<Over>,
    /// How many lines of the selected step are above the screen.
    scroll: usize,
    notice: String,
    log: Log,
}

/// What stands over the rest, and what keys are about then.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Over {
    /// The keys.
    Help,
    /// Whether this is meant.
    Sure(Asking),
}

/// It has got its turn and has not ended.
pub(super) fn is_running(step: &Step) -> bool {
    matches!(step.phase.as_str(), "Granted" | "Running" | "Ready" | "Stopping")
}

impl Watch {
    /// A run as it stands. What a person should look at first is selected.
    #[must_use]
    pub fn new(plan: &Plan, state: State, teller: Teller, look: Look) -> Self {
        let graph = Graph::of_run(plan, &state);
        let lines = graph.lines(look.unicode);
        let log = Log::Elsewhere(String::new());
        let notice = String::new();
        let mut watch =
            Self { graph, lines, state, teller, look, selected: 0, alone: false, over: None, scroll: 0, notice, log };
        watch.selected = watch.first_to_see();
        watch
    }

    /// Takes over how the run stands now. It has to be a state of the same run.
    pub fn tell(&mut self, state: State, teller: Teller) {
        self.graph.tell(&state);
        self.lines = self.graph.lines(self.look.unicode);
        (self.state, self.teller) = (state, teller);
    }

    /// Nobody answers any more.
    pub const fn tell_silence(&mut self) {
        self.teller = Teller::Silence;
    }

    /// Shows a sentence until the next key: what came of a request.
    pub fn note(&mut self, notice: impl Into<String>) {
        self.notice = notice.into();
    }

    /// Takes over the last lines of the selected step.
    pub fn tell_log(&mut self, log: Log) {
        self.log = log;
    }

    /// How the run stands, as it was told last.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The step that is selected; `None`: there are none.
    #[must_use]
    pub fn selected(&self) -> Option<&Step> {
        self.state.steps.get(self.selected)
    }

    /// Whether it is told of something that changes with the time: nothing has to be drawn anew otherwise.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        self.state.outcome.is_none() && matches!(self.teller, Teller::Coordinator)
    }

    /// Who waits for a person, failed, failed and is tried again, runs; else the first one.
    fn first_to_see(&self) -> usize {
        let asks = |step: &&Step| Act::awaited_by(step).is_some();
        let failed = |step: &&Step| step.phase == "Failed" && !step.allow_failure;
        let runs = |step: &&Step| step.phase == "Running";
        let steps = || self.steps_in_order().map(|index| &self.state.steps[index]);
        let again = |step: &&Step| step.phase == "Backoff";
        let found = steps().find(asks).or_else(|| steps().find(failed)).or_else(|| steps().find(again));
        let found = found.or_else(|| steps().find(runs));
        let found = found.or_else(|| steps().next()).map(|step| step.name.as_str());
        self.state.steps.iter().position(|step| Some(step.name.as_str()) == found).unwrap_or(0)
    }

    /// The steps as they stand on the screen, from top to bottom.
    fn steps_in_order(&self) -> impl Iterator<Item = usize> + '_ {
        self.lines.iter().filter_map(|line| line.step).filter(|step| *step < self.state.steps.len())
    }
}
