//! The screen, from top to bottom: how the run stands, the steps, the selected one, the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::widgets::{Block, Clear, Widget};

use super::super::Act;
use super::super::graph::{Line, style};
use super::super::signs::{PHASES, sign};
use super::super::table::{between, duration};
use super::columns::{ALL, Column, fitting};
use super::keys::{Asking, OF_A_STEP};
use super::text::{clean, cut, fill, width, wrap};
use super::{Look, Over, Teller, Watch, is_running};

/// From this width on the selected step stands beside the others, else below them.
const WIDE: u16 = 120;

/// The least that it has there.
const BESIDE: u16 = 46;

/// Below this height there is room for the steps alone, or for the selected one.
const LOW: u16 = 14;

/// Names are cut to no less than this before a column is left out.
const NAME_LEAST: usize = 12;

/// The edges of a box without Unicode.
const ASCII: border::Set<'_> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// What the keys do, in the words of the help.
const KEYS: [(&str, &str); 13] = [
    ("up, down, j, k", "select a step"),
    ("PgUp, PgDn, g, G", "ten steps on, the first, the last"),
    ("Enter", "the selected step alone; arrows move through it"),
    ("a", "approve the step"),
    ("r", "retry it, when it is Paused"),
    ("s", "skip it, when it waits or is Paused"),
    ("x", "stop it"),
    ("p", "pause the plan, or resume it"),
    ("c", "cancel the plan"),
    ("?", "this help"),
    ("q, Ctrl-C", "leave: the run goes on"),
    ("", ""),
    ("y", "is asked for first, whatever changes the run"),
];

impl Watch {
    /// Draws the screen. `now` is the present time (RFC 3339). What is seen of a long text is brought back to where there is some.
    pub fn draw(&mut self, now: &str, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.height < 3 || area.width < 10 {
            buffer.set_stringn(area.x, area.y, "too small", usize::from(area.width), Style::new());
            return;
        }
        self.draw_head(now, row(area, 0), buffer);
        self.draw_foot(row(area, area.height - 1), buffer);
        let body = Rect { y: area.y + 1, height: area.height - 2, ..area };
        match self.alone {
            true => self.draw_step(now, body, buffer),
            _ if area.width >= WIDE => {
                let left = Rect { width: self.enough().min(body.width - BESIDE), ..body };
                self.draw_steps(now, left, buffer);
                let right = Rect { x: left.right() + 1, width: body.width - left.width - 1, ..body };
                let edge = if self.look.unicode { "│" } else { "|" };
                for y in body.top()..body.bottom() {
                    buffer.set_string(left.right(), y, edge, self.dim());
                }
                self.draw_step(now, Rect { x: right.x + 1, width: right.width.saturating_sub(1), ..right }, buffer);
            }
            _ if area.height >= LOW => {
                let most = body.height - body.height * 2 / 5;
                let steps = u16::try_from(self.lines.len() + 1).unwrap_or(u16::MAX).min(most);
                self.draw_steps(now, Rect { height: steps, ..body }, buffer);
                self.draw_step(now, Rect { y: body.y + steps, height: body.height - steps, ..body }, buffer);
            }
            _ => self.draw_steps(now, body, buffer),
        }
        match self.over.clone() {
            Some(Over::Help) => self.draw_help(area, buffer),
            Some(Over::Sure(asking)) => self.draw_question(&asking, area, buffer),
            None => {}
        }
    }

    fn draw_head(&self, now: &str, area: Rect, buffer: &mut Buffer) {
        let state = &self.state;
        let mut words = Vec::new();
        match (&state.outcome, self.teller) {
            (Some(outcome), _) => words.push(format!("the run has ended: {outcome}{}", self.lasted(now))),
            (None, Teller::Coordinator) if state.paused => words.push("paused by a person".to_owned()),
            (None, Teller::Coordinator) => words.push(format!("running{}", self.lasted(now))),
            (None, Teller::Silence) => words.push("no coordinator answers: it stood so at last".to_owned()),
            (None, Teller::Record) => words.push("the log ends here".to_owned()),
        }
        let over = state.steps.iter().filter(|step| step.ended_at.is_some()).count();
        words.push(format!("{over} of {} done", state.steps.len()));
        if state.outcome.is_none() {
            match state.steps.iter().filter(|step| Act::awaited_by(step).is_some()).count() {
                0 => {}
                1 => words.push("1 waits for you".to_owned()),
                count => words.push(format!("{count} wait for you")),
            }
            let running = state.steps.iter().filter(|step| is_running(step)).count();
            words.push(format!("{running} running"));
        }
        let separator = if self.look.unicode { " · " } else { ", " };
        let text = format!(" podturn {}", words.join(separator));
        let (room, run) = (usize::from(area.width), format!("run {} ", state.run));
        let text = match room.checked_sub(width(&run)) {
            Some(left) if width(&text) < left => format!("{}{run}", fill(&text, left, self.look)),
            _ => fill(&text, room, self.look),
        };
        let attention = match state.outcome.as_deref() {
            Some("Succeeded") => style("Succeeded"),
            Some("Failed") => style("Failed"),
            _ => anstyle::Style::new(),
        };
        buffer.set_string(
            area.x,
            area.y,
            text,
            self.paint(attention).add_modifier(Modifier::REVERSED | Modifier::BOLD),
        );
    }

    fn lasted(&self, now: &str) -> String {
        let start = self.state.started_at.as_deref();
        let end = self.state.ended_at.as_deref().or_else(|| self.goes_on().then_some(now));
        let lasted = start.zip(end).and_then(|(start, end)| between(start, end));
        lasted
            .map(|ms| format!(" {} {}", if self.goes_on() { "for" } else { "after" }, duration(ms)))
            .unwrap_or_default()
    }

    /// What came of a request; or the keys, those that suit the selected step first.
    fn draw_foot(&self, area: Rect, buffer: &mut Buffer) {
        let room = usize::from(area.width);
        if !self.notice.is_empty() {
            let text = format!(" {}", clean(&self.notice, self.look));
            buffer.set_string(area.x, area.y, fill(&text, room, self.look), self.paint(style("Awaiting")));
            return;
        }
        let mut keys = vec!["? help".to_owned(), "q quit".to_owned()];
        keys.push(if self.alone { "Enter all steps" } else { "Enter more" }.to_owned());
        if self.goes_on() {
            let suiting = OF_A_STEP.iter().filter(|(_, act)| self.selected().is_some_and(|step| act.suits(step)));
            keys.extend(suiting.map(|(key, act)| format!("{key} {}", act.word())));
            keys.push(if self.state.paused { "p resume" } else { "p pause" }.to_owned());
            keys.push("c cancel".to_owned());
        } else {
            keys.push("read-only".to_owned());
        }
        let mut text = String::new();
        for key in keys {
            if width(&text) + 2 + width(&key) > room {
                break;
            }
            text.push_str(if text.is_empty() { " " } else { "  " });
            text.push_str(&key);
        }
        buffer.set_string(area.x, area.y, fill(&text, room, self.look), self.dim());
    }

    fn draw_steps(&self, now: &str, area: Rect, buffer: &mut Buffer) {
        let room = usize::from(area.width);
        let shape = self.shape(room);
        let title = self.titles(&shape);
        buffer.set_string(area.x, area.y, fill(&title, room, self.look), self.dim());
        let height = usize::from(area.height.saturating_sub(1));
        let selected = self.lines.iter().position(|line| line.step == Some(self.selected)).unwrap_or(0);
        let first = selected.saturating_sub(height / 2).min(self.lines.len().saturating_sub(height));
        for (y, line) in (area.y + 1..).zip(self.lines.iter().skip(first).take(height)) {
            self.draw_line(line, &shape, now, Rect { y, height: 1, ..area }, buffer);
        }
    }

    /// As wide as lines are that lack nothing.
    fn enough(&self) -> u16 {
        let lanes = self.lines.iter().map(|line| line.lanes.chars().count()).max().unwrap_or(0);
        let names = self.state.steps.iter().map(|step| width(&step.name)).max().unwrap_or(0);
        let columns: usize = ALL.iter().map(|column| column.width() + 2).sum();
        u16::try_from(3 + lanes + names + columns + 10).unwrap_or(u16::MAX)
    }

    /// How the room of a line is given away.
    fn shape(&self, room: usize) -> Shape {
        let names = self.state.steps.iter().map(|step| width(&step.name)).max().unwrap_or(0).max("STEP".len());
        let longest = |most: usize| names.min(most);
        let lanes = self.lines.iter().map(|line| line.lanes.chars().count()).max().unwrap_or(0);
        // A sign has to be seen, and a name; lanes only where they leave room for these.
        let lanes = if lanes + NAME_LEAST.min(longest(room)) + 3 > room { 1 } else { lanes };
        let left = room.saturating_sub(lanes + 3);
        let columns = fitting(left.saturating_sub(longest(NAME_LEAST)));
        let taken: usize = columns.iter().map(|column| column.width() + 2).sum();
        let name = longest(left.saturating_sub(taken));
        let note = Column::Note.width() + left.saturating_sub(taken + name);
        Shape { lanes, name, columns, note }
    }

    fn titles(&self, shape: &Shape) -> String {
        let mut title = format!("  {:lanes$} {}", "", fill("STEP", shape.name, self.look), lanes = shape.lanes);
        for column in &shape.columns {
            title.push_str(&cell(*column, column.title(), shape, self.look));
        }
        title
    }

    fn draw_line(&self, line: &Line, shape: &Shape, now: &str, area: Rect, buffer: &mut Buffer) {
        let is_selected = line.step == Some(self.selected);
        let room = usize::from(area.width);
        let step = line.step.and_then(|step| self.state.steps.get(step));
        let (lanes, at) = match step.and_then(|step| sign(&step.phase)) {
            Some(sign) if shape.lanes == 1 => (if self.look.unicode { sign.unicode } else { sign.ascii }.to_owned(), 0),
            _ if shape.lanes == 1 => (" ".to_owned(), 0),
            _ => (line.lanes.clone(), line.sign),
        };
        let marker = if is_selected { ">" } else { " " };
        let mut text = format!("{marker} {} ", fill(&lanes, shape.lanes, self.look));
        if let Some(step) = step {
            text.push_str(&fill(&step.name, shape.name, self.look));
            for column in &shape.columns {
                text.push_str(&cell(*column, &column.of(step, now), shape, self.look));
            }
        } else {
            text.push_str(&line.block);
        }
        let base = if is_selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        buffer.set_string(area.x, area.y, fill(text.trim_end(), room, self.look), base);
        if let Some(step) = step {
            let x = area.x.saturating_add(u16::try_from(2 + at).unwrap_or(u16::MAX));
            let painted = Rect { x, width: 1, ..area }.intersection(area);
            buffer.set_style(painted, self.paint(style(&step.phase)));
        }
    }

    /// The selected step, with a line that names it.
    fn draw_step(&mut self, now: &str, area: Rect, buffer: &mut Buffer) {
        let room = usize::from(area.width);
        let Some(step) = self.selected() else { return };
        let line = if self.look.unicode { "─" } else { "-" };
        let title = format!("{line}{line} {} ", step.name);
        let rest = line.repeat(room.saturating_sub(width(&title)));
        buffer.set_string(area.x, area.y, cut(&format!("{title}{rest}"), room, self.look), self.dim());
        let mut lines = self.about(now, room.saturating_sub(1));
        let height = usize::from(area.height.saturating_sub(1));
        // Beside the others: the newest ones that there is room for.
        let last = self.last_lines();
        let most = if self.alone { last.len() } else { height.saturating_sub(lines.len()) };
        lines.extend(last.into_iter().rev().take(most).rev());
        self.scroll = self.scroll.min(lines.len().saturating_sub(height));
        for (y, line) in (area.y + 1..area.bottom()).zip(lines.iter().skip(self.scroll)) {
            let line = cut(line, room.saturating_sub(1), self.look);
            buffer.set_stringn(area.x + 1, y, line, room.saturating_sub(1), Style::new());
        }
    }

    fn draw_question(&self, asking: &Asking, area: Rect, buffer: &mut Buffer) {
        let what = asking.step.as_deref().unwrap_or("the plan");
        let mut lines = vec![format!("{} {what}?", asking.act.word()), asking.act.means().to_owned()];
        if asking.act == Act::Approve
            && let Some(asked) = self.selected().and_then(|step| step.approval.clone()).filter(|it| !it.is_empty())
        {
            lines.push(format!("It asks: {asked}"));
        }
        lines.extend([String::new(), "y yes   any other key no".to_owned()]);
        self.draw_box(&lines, area, buffer);
    }

    fn draw_help(&self, area: Rect, buffer: &mut Buffer) {
        let mut lines: Vec<String> = KEYS.iter().map(|(key, does)| format!("{key:17} {does}")).collect();
        let signs: Vec<String> = PHASES
            .iter()
            .filter_map(|phase| Some((phase, sign(phase)?)))
            .map(|(phase, sign)| format!("{} {phase:10}", if self.look.unicode { sign.unicode } else { sign.ascii }))
            .collect();
        lines.push(String::new());
        lines.extend(signs.chunks(4).map(|four| four.join(" ").trim_end().to_owned()));
        self.draw_box(&lines, area, buffer);
    }

    /// In the middle, as wide and high as it has to be.
    fn draw_box(&self, lines: &[String], area: Rect, buffer: &mut Buffer) {
        let most = usize::from(area.width.saturating_sub(4)).min(64);
        let lines: Vec<String> = lines.iter().flat_map(|line| wrap(&clean(line, self.look), most)).collect();
        let widest = lines.iter().map(|line| width(line)).max().unwrap_or(0);
        let size = |length: usize, most: u16| u16::try_from(length).unwrap_or(most).min(most);
        let (wide, high) = (size(widest + 4, area.width), size(lines.len() + 2, area.height));
        let place = Rect {
            x: area.x + (area.width - wide) / 2,
            y: area.y + (area.height - high) / 2,
            width: wide,
            height: high,
        };
        Clear.render(place, buffer);
        let edges = if self.look.unicode { border::ROUNDED } else { ASCII };
        Block::bordered().border_set(edges).render(place, buffer);
        let inner = usize::from(wide.saturating_sub(4));
        for (y, line) in (place.y + 1..place.bottom().saturating_sub(1)).zip(&lines) {
            buffer.set_stringn(place.x + 2, y, cut(line, inner, self.look), inner, Style::new());
        }
    }

    fn dim(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// As a style of the other views, for this terminal.
    fn paint(&self, style: anstyle::Style) -> Style {
        let effects = style.get_effects();
        let mut painted = Style::new();
        if effects.contains(anstyle::Effects::BOLD) {
            painted = painted.add_modifier(Modifier::BOLD);
        }
        if effects.contains(anstyle::Effects::DIMMED) {
            painted = painted.add_modifier(Modifier::DIM);
        }
        match style.get_fg_color() {
            Some(anstyle::Color::Ansi(colour)) if self.look.colours => painted.fg(ansi(colour)),
            _ => painted,
        }
    }
}

/// How the room of a line of the table is given away, in columns of the terminal.
struct Shape {
    lanes: usize,
    name: usize,
    columns: Vec<Column>,
    note: usize,
}

fn cell(column: Column, text: &str, shape: &Shape, look: Look) -> String {
    let width = if column == Column::Note { shape.note } else { column.width() };
    match column.is_figure() {
        true => format!("  {:>width$}", cut(text, width, look)),
        false => format!("  {}", fill(text, width, look)),
    }
}

const fn row(area: Rect, index: u16) -> Rect {
    Rect { x: area.x, y: area.y + index, width: area.width, height: 1 }
}

const fn ansi(colour: anstyle::AnsiColor) -> Color {
    match colour {
        anstyle::AnsiColor::Blue => Color::Blue,
        anstyle::AnsiColor::Yellow => Color::Yellow,
        anstyle::AnsiColor::Green => Color::Green,
        anstyle::AnsiColor::Red => Color::Red,
        _ => Color::Reset,
    }
}
