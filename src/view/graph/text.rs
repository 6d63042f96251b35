//! The DAG in a terminal: a line a step, with the edges as lanes on the left, as `git log --graph` draws them.

use anstyle::{AnsiColor, Style};

use super::Graph;
use crate::view::signs::{PHASES, sign};

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Width {
    /// Columns.
    pub columns: usize,
    /// Characters beyond ASCII.
    pub unicode: bool,
}

/// Names are padded to no more than this.
const NAME_MOST: usize = 32;

/// As many dependencies are named.
const NAMED_MOST: usize = 4;

/// More lanes than this say nothing to anybody.
const LANES_MOST: usize = 12;

/// One line of the picture, for a view that puts more beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::view) struct Line {
    /// The lanes, with the step's sign among them.
    pub(in crate::view) lanes: String,
    /// Which of the characters of `lanes` is the sign.
    pub(in crate::view) sign: usize,
    /// The step, by its place in the plan; `None`: the head of a block.
    pub(in crate::view) step: Option<usize>,
    /// What is said of a block: how many it has, and who it waits for.
    pub(in crate::view) block: String,
}

/// One line before it has its text.
struct Row {
    /// The lanes of its own line, and of further lines below it.
    lanes: String,
    below: String,
    /// Which of the characters of `lanes` is the block's own.
    own: usize,
    block: usize,
}

impl Graph {
    /// A line a step, in an order in which they could run. The signs have colours; whoever prints it takes them away where there are
    /// none.
    #[must_use]
    pub fn text(&self, width: Width) -> String {
        let count = self.nodes.len();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let implied = match self.implied {
            0 => String::new(),
            implied => format!(", without {implied} edge{} that others imply", plural(implied)),
        };
        let mut text = format!("{count} step{}{implied}\n", plural(count));
        let rows = self.rows(width.unicode);
        let widest = rows.iter().map(|row| row.lanes.chars().count()).max().unwrap_or(0);
        let names = self.nodes.iter().map(|node| node.name.chars().count()).max().unwrap_or(0).min(NAME_MOST);
        for row in &rows {
            self.write_row(row, widest, names, width, &mut text);
        }
        text.push_str(&self.legend(width));
        text
    }

    /// The picture as lines, in an order in which the steps could run: one for each step, and one above each block.
    pub(in crate::view) fn lines(&self, unicode: bool) -> Vec<Line> {
        let mut lines = Vec::with_capacity(self.nodes.len());
        for row in self.rows(unicode) {
            let nodes = &self.blocks[row.block];
            if let [node] = nodes.as_slice() {
                lines.push(Line { lanes: row.lanes, sign: row.own, step: Some(*node), block: String::new() });
                continue;
            }
            let block = format!("{} steps  {}", nodes.len(), self.after(nodes[0], unicode)).trim_end().to_owned();
            lines.push(Line { lanes: row.lanes, sign: row.own, step: None, block });
            let sign = row.below.chars().count() + usize::from(!row.below.is_empty());
            for node in nodes {
                let lanes = format!("{:sign$}{}", row.below, self.sign(*node, unicode));
                lines.push(Line { lanes, sign, step: Some(*node), block: String::new() });
            }
        }
        lines
    }

    fn write_row(&self, row: &Row, widest: usize, names: usize, width: Width, text: &mut String) {
        let nodes = &self.blocks[row.block];
        if let [node] = nodes.as_slice() {
            let line = format!("{:widest$} {}", row.lanes, self.about(*node, names, width.unicode));
            text.push_str(&self.painted(*node, &cut(line.trim_end(), width), row.own));
            text.push('\n');
            return;
        }
        let after = self.after(nodes[0], width.unicode);
        let line = format!("{:widest$} {} steps  {after}", row.lanes, nodes.len());
        text.push_str(&cut(line.trim_end(), width));
        text.push('\n');
        let room = width.columns.saturating_sub(widest + 3).max(20);
        let (mut line, mut length) = (String::new(), 0);
        for node in nodes {
            let word = format!("{} {}", self.sign(*node, width.unicode), self.nodes[*node].name);
            let word = cut(&word, Width { columns: room, ..width });
            if length > 0 && length + 2 + word.chars().count() > room {
                text.push_str(&format!("{:widest$}   {line}\n", row.below));
                (line, length) = (String::new(), 0);
            }
            if length > 0 {
                line.push_str("  ");
                length += 2;
            }
            length += word.chars().count();
            line.push_str(&self.painted(*node, &word, 0));
        }
        text.push_str(&format!("{:widest$}   {line}\n", row.below));
    }

    /// With the sign at this character in its phase's colour, for terminals that have some.
    fn painted(&self, node: usize, line: &str, sign: usize) -> String {
        let Some(style) = self.nodes[node].phase.as_deref().map(style) else { return line.to_owned() };
        let at = |characters: usize| line.char_indices().nth(characters).map_or(line.len(), |(at, _)| at);
        let (from, to) = (at(sign), at(sign + 1));
        format!("{}{style}{}{style:#}{}", &line[..from], &line[from..to], &line[to..])
    }

    /// What is said of a step beside its place.
    fn about(&self, node: usize, names: usize, unicode: bool) -> String {
        let it = &self.nodes[node];
        let mut words = vec![format!("{:names$}", it.name)];
        words.extend(it.phase.iter().map(|phase| format!("{phase:9}")));
        if it.phase.is_some() {
            words.push(format!("{:>6}", it.note));
        }
        words.extend(it.service.then(|| "service".to_owned()));
        words.extend(it.finally.then(|| "finally".to_owned()));
        words.push(self.after(node, unicode));
        words.join("  ")
    }

    /// Who it waits for.
    fn after(&self, node: usize, unicode: bool) -> String {
        let names: Vec<String> = self
            .edges
            .iter()
            .filter(|edge| edge.to == node)
            .map(|edge| match edge.label {
                Some(label) => format!("{} ({label})", self.nodes[edge.from].name),
                None => self.nodes[edge.from].name.clone(),
            })
            .collect();
        let arrow = if unicode { "←" } else { "<-" };
        match names.len() {
            0 => String::new(),
            1..=NAMED_MOST => format!("{arrow} {}", names.join(", ")),
            count => {
                let named = NAMED_MOST - 1;
                format!("{arrow} {} and {} more", names[..named].join(", "), count - named)
            }
        }
    }

    fn sign(&self, node: usize, unicode: bool) -> &'static str {
        let sign = self.nodes[node].phase.as_deref().and_then(sign);
        match (sign, unicode) {
            (Some(sign), true) => sign.unicode,
            (Some(sign), false) => sign.ascii,
            (None, true) => "○",
            (None, false) => "o",
        }
    }

    /// The signs that were used, what they mean, and how often.
    fn legend(&self, width: Width) -> String {
        let counts = PHASES.iter().filter_map(|phase| {
            let count = self.nodes.iter().filter(|node| node.phase.as_deref() == Some(phase)).count();
            let sign = sign(phase).map(|sign| if width.unicode { sign.unicode } else { sign.ascii })?;
            (count > 0).then(|| format!("{sign} {phase} {count}"))
        });
        let mut lines: Vec<String> = Vec::new();
        for count in counts {
            match lines.last_mut() {
                Some(line) if line.chars().count() + 3 + count.chars().count() <= width.columns => {
                    line.push_str("   ");
                    line.push_str(&count);
                }
                _ => lines.push(count),
            }
        }
        if lines.is_empty() { String::new() } else { format!("\n{}\n", lines.join("\n")) }
    }

    fn rows(&self, unicode: bool) -> Vec<Row> {
        let edges = self.block_edges();
        let order = super::order(self.blocks.len(), &edges);
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.blocks.len()];
        let mut left = vec![0usize; self.blocks.len()];
        for edge in &edges {
            if !before[edge.to].contains(&edge.from) {
                before[edge.to].push(edge.from);
                left[edge.from] += 1;
            }
        }
        let mut lanes = Lanes { lanes: Vec::new(), left, unicode };
        let mut rows = Vec::with_capacity(order.len());
        for block in order {
            let sign =
                if self.blocks[block].len() > 1 { None } else { Some(self.sign(self.blocks[block][0], unicode)) };
            let (line, below, own) = lanes.place(block, &before[block], sign);
            rows.push(Row { lanes: line, below, own: 2 * own, block });
        }
        if rows.iter().any(|row| row.lanes.chars().count() > 2 * LANES_MOST) {
            for row in &mut rows {
                let nodes = &self.blocks[row.block];
                row.lanes = if nodes.len() > 1 { mark(unicode) } else { self.sign(nodes[0], unicode) }.to_owned();
                row.below.clear();
                row.own = 0;
            }
        }
        rows
    }
}

/// The edges that are under way: a lane for each block that somebody below still waits for.
struct Lanes {
    lanes: Vec<Option<usize>>,
    /// How many below wait for each block.
    left: Vec<usize>,
    unicode: bool,
}

impl Lanes {
    /// The line of a block, the lanes below it, and its own lane.
    fn place(&mut self, block: usize, before: &[usize], sign: Option<&'static str>) -> (String, String, usize) {
        let joined: Vec<usize> = (0..self.lanes.len())
            .filter(|lane| self.lanes[*lane].is_some_and(|source| before.contains(&source)))
            .collect();
        before.iter().for_each(|source| self.left[*source] -= 1);
        let ending: Vec<usize> =
            joined.iter().copied().filter(|lane| self.lanes[*lane].is_some_and(|it| self.left[it] == 0)).collect();
        let own = ending.first().copied().or_else(|| self.lanes.iter().position(Option::is_none));
        let own = own.unwrap_or(self.lanes.len());
        if own == self.lanes.len() {
            self.lanes.push(None);
        }
        let line = self.draw(own, &joined, &ending, sign.unwrap_or(mark(self.unicode)));
        ending.iter().for_each(|lane| self.lanes[*lane] = None);
        self.lanes[own] = (self.left[block] > 0).then_some(block);
        let below: Vec<&str> =
            self.lanes.iter().map(|lane| if lane.is_some() { self.glyph('│') } else { " " }).collect();
        let below = below.join(" ").trim_end().to_owned();
        while self.lanes.last() == Some(&None) {
            self.lanes.pop();
        }
        (line, below, own)
    }

    fn draw(&self, own: usize, joined: &[usize], ending: &[usize], sign: &str) -> String {
        let first = joined.iter().copied().chain([own]).min().unwrap_or(own);
        let last = joined.iter().copied().chain([own]).max().unwrap_or(own);
        let mut line = String::new();
        for lane in 0..self.lanes.len() {
            let is_between = first < lane && lane < last;
            let glyph = match (joined.contains(&lane), ending.contains(&lane)) {
                _ if lane == own => sign,
                (true, true) if is_between => self.glyph('┴'),
                (true, true) if lane < own => self.glyph('╰'),
                (true, true) => self.glyph('╯'),
                (true, false) if is_between => self.glyph('┼'),
                (true, false) if lane < own => self.glyph('├'),
                (true, false) => self.glyph('┤'),
                (false, _) if self.lanes[lane].is_some() => self.glyph('│'),
                (false, _) if is_between => self.glyph('─'),
                (false, _) => " ",
            };
            line.push_str(glyph);
            line.push_str(if first <= lane && lane < last { self.glyph('─') } else { " " });
        }
        line.trim_end().to_owned()
    }

    const fn glyph(&self, unicode: char) -> &'static str {
        match (unicode, self.unicode) {
            ('│', true) => "│",
            ('│', false) => "|",
            ('─', true) => "─",
            ('─', false) => "-",
            ('├', true) => "├",
            ('┤', true) => "┤",
            ('┼', true) => "┼",
            ('┴', true) => "┴",
            ('╰', true) => "╰",
            ('╰', false) => "`",
            ('╯', true) => "╯",
            ('╯', false) => "'",
            _ => "+",
        }
    }
}

/// The colour of a phase, bold where a person should look.
pub(in crate::view) fn style(phase: &str) -> Style {
    let colour = match phase {
        "Granted" | "Running" | "Ready" => AnsiColor::Blue,
        "Awaiting" | "Paused" | "Backoff" | "Stopping" => AnsiColor::Yellow,
        "Succeeded" => AnsiColor::Green,
        "Failed" => AnsiColor::Red,
        _ => return Style::new().dimmed(),
    };
    let style = Style::new().fg_color(Some(colour.into()));
    if matches!(phase, "Failed" | "Awaiting" | "Paused") { style.bold() } else { style }
}

/// Stands for a block.
const fn mark(unicode: bool) -> &'static str {
    if unicode { "▤" } else { "#" }
}

/// A line is cut rather than wrapped: the lanes of a wrapped one would be torn.
fn cut(line: &str, width: Width) -> String {
    if line.trim_end_matches('\n').chars().count() <= width.columns {
        return line.to_owned();
    }
    let end = if width.unicode { "…" } else { "..." };
    let kept: String = line.chars().take(width.columns.saturating_sub(end.chars().count())).collect();
    format!("{}{end}{}", kept.trim_end(), if line.ends_with('\n') { "\n" } else { "" })
}
