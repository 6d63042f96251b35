//! The terminal: taken, read and given back.

use std::io::{self, Write};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::{cursor, execute, terminal};
use tokio::sync::mpsc::Sender;

use super::News;
use crate::view::watch::Key;

/// What a terminal is taken for that does not say how large it is: `kubectl exec` tells of that a moment later.
const SIZE: (u16, u16) = (80, 24);

/// A thread, since a terminal is read by waiting for it. It ends with the process.
pub(super) fn listen_to_keys(tell: Sender<News>) {
    std::thread::spawn(move || {
        loop {
            let news = match event::read() {
                Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => match known(key.code, key.modifiers) {
                    Some(key) => News::Key(key),
                    None => continue,
                },
                Ok(_) => continue, // a new size among them, of which the loop hears by itself
                Err(_) => News::Leave,
            };
            let is_last = matches!(news, News::Leave);
            if tell.blocking_send(news).is_err() || is_last {
                return;
            }
        }
    });
}

fn known(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        _ if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => return None,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Char(character) => Key::Char(character),
        _ => return None,
    })
}

/// The terminal while it shows one thing. What was there before comes back with the end of this, also after a panic.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        terminal::enable_raw_mode()?;
        let screen = Self(());
        execute!(
            io::stdout(),
            terminal::EnterAlternateScreen,
            terminal::Clear(terminal::ClearType::All),
            cursor::Hide
        )?;
        Ok(screen)
    }

    pub(super) fn size(&self) -> (u16, u16) {
        terminal::size().ok().filter(|(width, height)| *width > 0 && *height > 0).unwrap_or(SIZE)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Nobody reads what could not be said here.
fn give_back() {
    let _ = execute!(io::stdout(), terminal::LeaveAlternateScreen, cursor::Show);
    let _ = terminal::disable_raw_mode();
    let _ = io::stdout().flush();
}
