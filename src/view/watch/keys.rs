//! What a key does: moves the selection, or asks for something, which is asked back first.

use super::super::Act;
use super::{Over, Teller, Watch};

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

/// The keys that ask for something of the selected step, in the order in which they are shown.
pub(super) const OF_A_STEP: [(char, Act); 4] =
    [('a', Act::Approve), ('r', Act::Retry), ('s', Act::Skip), ('x', Act::Stop)];

/// What the key asks for. `p` ends a pause, if there is one.
fn act_of(key: char, paused: bool) -> Option<Act> {
    match key {
        'p' if paused => Some(Act::Resume),
        'p' => Some(Act::Pause),
        'c' => Some(Act::Cancel),
        _ => OF_A_STEP.into_iter().find(|(of, _)| *of == key).map(|(_, act)| act),
    }
}

impl Watch {
    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Option<Wish> {
        self.notice.clear();
        if key == Key::Interrupt {
            return Some(Wish::Quit);
        }
        match self.over.take() {
            Some(Over::Sure(asking)) if matches!(key, Key::Char('y' | 'Y')) => return Some(Wish::Ask(asking)),
            Some(Over::Sure(_)) => self.note("nothing was asked for"),
            Some(Over::Help) => {} // any key will do: nobody has to know one
            None => return self.press_on_steps(key),
        }
        None
    }

    fn press_on_steps(&mut self, key: Key) -> Option<Wish> {
        match key {
            Key::Char('q') => return Some(Wish::Quit),
            Key::Char('?' | 'h') => self.over = Some(Over::Help),
            Key::Enter => (self.alone, self.scroll) = (!self.alone, 0),
            Key::Escape => (self.alone, self.scroll) = (false, 0),
            Key::Up | Key::Char('k') => self.go(-1),
            Key::Down | Key::Char('j') => self.go(1),
            Key::PageUp => self.go(-PAGE.cast_signed()),
            Key::PageDown | Key::Char(' ') => self.go(PAGE.cast_signed()),
            Key::Home | Key::Char('g') => self.go(isize::MIN),
            Key::End | Key::Char('G') => self.go(isize::MAX),
            Key::Char(letter) => {
                if let Some(act) = act_of(letter, self.state.paused) {
                    self.ask_back(act);
                }
            }
            Key::Interrupt => {}
        }
        None
    }

    /// Moves the selection, or what is seen of the one step.
    fn go(&mut self, by: isize) {
        if self.alone {
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
        self.over = Some(Over::Sure(asking));
    }
}
