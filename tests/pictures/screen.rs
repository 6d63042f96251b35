//! What stands on a terminal, as an SVG document: the same rows and columns in whatever font there is.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// The room for one character, in px, of a font of [`FONT`] px: the lines of the DAG have to meet between two rows.
const WIDTH: f64 = 7.8;
const HEIGHT: f64 = 15.5;
const FONT: u32 = 13;
const MARGIN: f64 = 12.0;

const PAPER: &str = "#15161b";
const INK: &str = "#ececf2";
const SOFT: &str = "#a9a9b6";

/// The colours of a terminal, as `view::watch` uses them: black, red, green, yellow, blue, magenta, cyan, white.
const COLOURS: [&str; 8] = ["#33343d", "#ff958c", "#6fd088", "#e0b34a", "#7db0ff", "#bb9bf5", "#6fd0d0", "#ececf2"];

/// How a cell looks.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    ink: &'static str,
    paper: Option<&'static str>,
    is_bold: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let ink = colour(cell.fgcolor()).unwrap_or(if cell.dim() { SOFT } else { INK });
        let paper = colour(cell.bgcolor());
        let (ink, paper) = if cell.inverse() { (paper.unwrap_or(PAPER), Some(ink)) } else { (ink, paper) };
        Self { ink, paper, is_bold: cell.bold() }
    }
}

fn colour(colour: Color) -> Option<&'static str> {
    match colour {
        Color::Idx(index) => COLOURS.get(usize::from(index % 8)).copied(),
        Color::Default | Color::Rgb(..) => None,
    }
}

/// The document. `title`: what a screen reader says of it.
pub(crate) fn svg(screen: &Screen, title: &str) -> String {
    let (lines, columns) = (screen.size().0.get(), screen.size().1.get());
    let (width, height) = (f64::from(columns) * WIDTH + MARGIN * 2.0, f64::from(lines) * HEIGHT + MARGIN * 2.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         role=\"img\"><title>{title}</title>\n<style>text {{ font: {FONT}px ui-monospace, SFMono-Regular, Menlo, Consolas, \
         \"DejaVu Sans Mono\", \"Liberation Mono\", monospace; white-space: pre }}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{PAPER}\"/>\n"
    );
    for line in 0..lines {
        let mut column = 0;
        while column < columns {
            column = write_run(screen, line, column, &mut text);
        }
    }
    text.push_str("</svg>\n");
    text
}

/// Writes the cells from there on that look alike; gives the column behind them.
fn write_run(screen: &Screen, line: u16, from: u16, text: &mut String) -> u16 {
    let cell = |column| screen.cell(line, column);
    let Some(look) = cell(from).map(Look::of) else { return from + 1 };
    let (mut to, mut run) = (from, String::new());
    while let Some(cell) = cell(to).filter(|cell| Look::of(cell) == look) {
        if !cell.is_wide_continuation() {
            run.push_str(if cell.has_contents() { cell.contents() } else { " " });
        }
        to += 1;
    }
    let (x, y) = (f64::from(from) * WIDTH + MARGIN, f64::from(line) * HEIGHT + MARGIN);
    if let Some(paper) = look.paper {
        let width = f64::from(to - from) * WIDTH;
        let _ = writeln!(
            text,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{HEIGHT}\" fill=\"{paper}\"/>"
        );
    }
    let shown = run.trim_end();
    if !shown.is_empty() {
        let cells = f64::from(to - from) - run.chars().rev().take_while(|character| *character == ' ').count() as f64;
        let bold = if look.is_bold { " font-weight=\"bold\"" } else { "" };
        let shown = shown.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            text,
            "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{bold}>{shown}</text>",
            y + f64::from(FONT) * 0.93,
            cells * WIDTH,
            look.ink
        );
    }
    to
}
