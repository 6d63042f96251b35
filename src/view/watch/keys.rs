//! What a key does: moves the selection, or asks for something, which is asked back first.

use super::{Mode, Teller, Watch};
use crate::volume::published::Step;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the names on the keys")]
pub enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Char(char),
    /// Ctrl-C: it ends the view, never the run.
    Interrupt,
}

/// What a person wants of the world outside the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Leave.
    Quit,
    /// Ask the coordinator for this: it was confirmed.
    Ask(Asking),
}

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the verbs of the command line")]
pub enum Act {
    Approve,
    Retry,
    Skip,
    Stop,
    Pause,
    Resume,
    Cancel,
}

/// A request, as it was meant when the key was pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// What for.
    pub act: Act,
    /// The step that it is about; `None`: the whole plan.
    pub step: Option<String>,
    /// The step's attempt at that moment: what has happened since is not meant.
    pub attempt: Option<u32>,
}

/// As many steps or lines are a page.
const PAGE: usize = 10;

impl Act {
    /// What the key asks for. `p` ends a pause, if there is one.
    const fn of(key: char, paused: bool) -> Option<Self> {
        Some(match key {
            'a' => Self::Approve,
            'r' => Self::Retry,
            's' => Self::Skip,
            'x' => Self::Stop,
            'p' if paused => Self::Resume,
            'p' => Self::Pause,
            'c' => Self::Cancel,
            _ => return None,
        })
    }

    const fn is_about_a_step(self) -> bool {
        matches!(self, Self::Approve | Self::Retry | Self::Skip | Self::Stop)
    }

    /// Whether the key is shown beside this step: it will hardly be refused. The coordinator decides, whatever is shown.
    pub(super) fn suits(self, step: &Step) -> bool {
        let waits = step.waits_for.as_deref();
        match self {
            Self::Approve => waits == Some("Approval"),
            Self::Retry => waits == Some("Decision"),
            Self::Skip => step.ended_at.is_none() && waits.is_some() && waits != Some("Others"),
            Self::Stop => matches!(step.phase.as_str(), "Granted" | "Running" | "Ready"),
            Self::Pause | Self::Resume | Self::Cancel => true,
        }
    }

    /// The word on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }

    /// What it will do.
    pub(super) const fn means(self) -> &'static str {
        match self {
            Self::Approve => "It gets its turn as soon as it could run.",
            Self::Retry => "It runs again, in the same container.",
            Self::Skip => "It counts as done for all that depends on it, without having run.",
            Self::Stop => "What it runs is stopped: a task is Cancelled then, a service has Succeeded.",
            Self::Pause => "No step gets a turn until `resume`. What runs goes on, and so do all time limits.",
            Self::Resume => "Steps get their turns again.",
            Self::Cancel => "What runs is stopped, what waits is Cancelled, then finally steps run.",
        }
    }
}

impl Watch {
    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Option<Wish> {
        self.notice.clear();
        if key == Key::Interrupt {
            return Some(Wish::Quit);
        }
        match &self.mode {
            Mode::Sure(asking) => {
                let asking = asking.clone();
                self.mode = Mode::Steps;
                match key {
                    Key::Char('y' | 'Y') => return Some(Wish::Ask(asking)),
                    _ => self.note("nothing was asked for"),
                }
                None
            }
            Mode::Help => {
                self.mode = Mode::Steps; // any key will do: nobody has to know one
                None
            }
            Mode::Steps | Mode::Step => self.press_on_steps(key),
        }
    }

    fn press_on_steps(&mut self, key: Key) -> Option<Wish> {
        let alone = self.mode == Mode::Step;
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Enter => (self.mode, self.scroll) = (if alone { Mode::Steps } else { Mode::Step }, 0),
            Key::Escape => (self.mode, self.scroll) = (Mode::Steps, 0),
            Key::Up | Key::Char('k') => self.go(alone, -1),
            Key::Down | Key::Char('j') => self.go(alone, 1),
            Key::PageUp => self.go(alone, -PAGE.cast_signed()),
            Key::PageDown | Key::Char(' ') => self.go(alone, PAGE.cast_signed()),
            Key::Home | Key::Char('g') => self.go(alone, isize::MIN),
            Key::End | Key::Char('G') => self.go(alone, isize::MAX),
            Key::Char(letter) => {
                if let Some(act) = Act::of(letter, self.state.paused) {
                    self.ask_back(act);
                }
            }
            Key::Interrupt => {}
        }
        None
    }

    /// Moves the selection, or what is seen of the one step.
    fn go(&mut self, alone: bool, by: isize) {
        if alone {
            self.scroll = self.scroll.saturating_add_signed(by); // as far as there is something: when it is drawn
            return;
        }
        let order: Vec<usize> = self.steps_in_order().collect();
        let Some(last) = order.len().checked_sub(1) else { return };
        let at = order.iter().position(|step| *step == self.selected).unwrap_or(0);
        self.selected = order[at.saturating_add_signed(by).min(last)];
        self.scroll = 0;
    }

    fn ask_back(&mut self, act: Act) {
        if let Some(outcome) = &self.state.outcome {
            self.notice = format!("the run has ended ({outcome}): nothing can be asked of it any more");
            return;
        }
        if self.teller != Teller::Coordinator {
            self.notice = "no coordinator answers here: this can only be looked at".to_owned();
            return;
        }
        let step = self.selected().filter(|_| act.is_about_a_step());
        let asking = Asking { act, step: step.map(|step| step.name.clone()), attempt: step.map(|step| step.attempt) };
        self.mode = Mode::Sure(asking);
    }
}
