//! The DAG as a picture: boxes in layers, from left to right, or downwards where the plan is a long chain.
//!
//! Everything that has a colour has a class, so that the page that holds the picture, light or dark, says which.

use std::fmt::Write as _;

use super::layers::{self, Places};
use super::{Edge, Graph};
use crate::view::escape::Escaped;
use crate::view::signs::sign;

/// The colours of a picture that stands alone.
const STYLE: [&str; 2] = [include_str!("../colours.css"), include_str!("graph.css")];

/// The room for one step, in px. A character of the 12 px fixed-width font takes 7.25 px at most in the usual ones.
const CELL: f64 = 28.0;
const CHARACTER: f64 = 7.25;
/// Between two steps of a block, two blocks of a layer, and two layers.
const INSIDE: f64 = 4.0;
const BESIDE: f64 = 14.0;
const BETWEEN: f64 = 56.0;
const MARGIN: f64 = 12.0;
/// A page that is a little too narrow shows the picture smaller, down to this part of its size.
const SMALLEST: f64 = 0.75;
/// Longer names are cut; the whole one is in the title.
const NAME_MOST: usize = 30;
/// A picture that would be wider than this, and a good deal wider than high, goes downwards.
const WIDE: f64 = 2_400.0;

/// How the steps of a block stand.
#[derive(Clone, Copy, Debug)]
struct Shape {
    columns: usize,
    rows: usize,
    cell: f64,
}

impl Shape {
    fn width(self) -> f64 {
        self.columns as f64 * (self.cell + INSIDE) - INSIDE + self.frame() * 2.0
    }

    fn height(self) -> f64 {
        self.rows as f64 * (CELL + INSIDE) - INSIDE + self.frame() * 2.0
    }

    /// A block of several has a frame around it.
    fn frame(self) -> f64 {
        if self.columns * self.rows > 1 { 6.0 } else { 0.0 }
    }
}

/// Where everything is drawn.
struct Drawing {
    shapes: Vec<Shape>,
    places: Places,
    /// Where each layer begins, and how much room it has, in the direction of the edges.
    layers: Vec<(f64, f64)>,
    downwards: bool,
    width: f64,
    height: f64,
}

impl Graph {
    /// A whole document, with its own colours.
    #[must_use]
    pub fn svg(&self) -> String {
        self.picture(&format!("<style>{}</style>", STYLE.concat()), "")
    }

    /// For a page that has the colours. `prefix`: of the ids of the steps, which are their places in the plan.
    #[must_use]
    pub fn inline_svg(&self, prefix: &str) -> String {
        self.picture("", prefix)
    }

    fn picture(&self, style: &str, prefix: &str) -> String {
        let edges = self.block_edges();
        let drawing = self.drawing(&edges);
        let (width, height) = (drawing.width.ceil(), drawing.height.ceil());
        let least = (width * SMALLEST).ceil();
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" style=\"max-width:100%;min-width:{least}px;height:auto\" role=\"img\"><title>The plan as a graph of {} steps</title>{style}\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
            self.nodes.len()
        );
        edges.iter().zip(&drawing.places.bends).for_each(|(edge, bends)| drawing.write_edge(edge, bends, &mut text));
        for block in 0..self.blocks.len() {
            self.write_block(block, &drawing, prefix, &mut text);
        }
        text.push_str("</svg>\n");
        text
    }

    fn drawing(&self, edges: &[Edge]) -> Drawing {
        let sideways = self.drawing_in(edges, false);
        if sideways.width > WIDE && sideways.width > 3.0 * sideways.height {
            let downwards = self.drawing_in(edges, true);
            if downwards.width < sideways.width {
                return downwards;
            }
        }
        sideways
    }

    fn drawing_in(&self, edges: &[Edge], downwards: bool) -> Drawing {
        let shapes: Vec<Shape> = self.blocks.iter().map(|nodes| self.shape(nodes, downwards)).collect();
        let across = |shape: &Shape| if downwards { shape.width() } else { shape.height() };
        let along = |shape: &Shape| if downwards { shape.height() } else { shape.width() };
        let last: Vec<bool> = self.blocks.iter().map(|nodes| self.nodes[nodes[0]].finally).collect();
        let pairs: Vec<(usize, usize)> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
        let places = layers::place(&shapes.iter().map(across).collect::<Vec<_>>(), &pairs, &last, BESIDE);
        let mut room = vec![0.0f64; places.layers];
        for (shape, layer) in shapes.iter().zip(&places.layer) {
            room[*layer] = room[*layer].max(along(shape));
        }
        let between = if downwards { BETWEEN * 0.6 } else { BETWEEN };
        let mut at = MARGIN;
        let mut layers = Vec::with_capacity(room.len());
        for room in room {
            layers.push((at, room));
            at += room + between;
        }
        let length = at - between + MARGIN;
        let across = places.across + 2.0 * MARGIN;
        let (width, height) = if downwards { (across, length) } else { (length, across) };
        Drawing { shapes, places, layers, downwards, width: width.max(60.0), height: height.max(40.0) }
    }

    fn shape(&self, nodes: &[usize], downwards: bool) -> Shape {
        let room = |node: &usize| {
            let it = &self.nodes[*node];
            let note = if it.note.is_empty() { 0 } else { it.note.chars().count() + 2 };
            it.name.chars().count().min(NAME_MOST) + note
        };
        let cell = nodes.iter().map(room).max().unwrap_or(0) as f64 * CHARACTER + 36.0;
        let count = nodes.len();
        let rows = match downwards {
            true => count.div_ceil(6),
            false => ((count as f64 * 2.5).sqrt().ceil() as usize).min(count),
        };
        Shape { columns: count.div_ceil(rows.max(1)), rows: rows.max(1), cell }
    }

    fn write_block(&self, block: usize, drawing: &Drawing, prefix: &str, text: &mut String) {
        let (nodes, shape) = (&self.blocks[block], drawing.shapes[block]);
        let (x, y) = drawing.corner(block);
        if nodes.len() > 1 {
            let (width, height) = (shape.width(), shape.height());
            let _ = writeln!(
                text,
                "<rect class=\"block\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\"/>"
            );
        }
        for (index, node) in nodes.iter().enumerate() {
            let (column, row) = ((index / shape.rows) as f64, (index % shape.rows) as f64);
            let x = x + shape.frame() + column * (shape.cell + INSIDE);
            let y = y + shape.frame() + row * (CELL + INSIDE);
            self.write_node(*node, x, y, shape.cell, prefix, text);
        }
    }

    fn write_node(&self, node: usize, x: f64, y: f64, width: f64, prefix: &str, text: &mut String) {
        let it = &self.nodes[node];
        let phase = it.phase.as_deref().filter(|phase| sign(phase).is_some()).unwrap_or("Planned");
        let mark = it.phase.as_deref().and_then(sign).map_or("", |sign| sign.unicode);
        let mut title = it.name.clone();
        title.extend(it.service.then_some(" (service)"));
        title.extend(it.finally.then_some(" (finally)"));
        match (it.message.is_empty(), &it.phase) {
            (false, _) => title.push_str(&format!(": {}", it.message)),
            (true, Some(phase)) => title.push_str(&format!(": {phase}")),
            (true, None) => {}
        }
        let kind = match (it.service, it.finally) {
            (true, _) => " service",
            (_, true) => " finally",
            _ => "",
        };
        let id = if prefix.is_empty() { String::new() } else { format!(" id=\"{prefix}{node}\"") };
        let radius = if it.service { CELL / 2.0 } else { 5.0 };
        let _ = write!(
            text,
            "<g class=\"node p-{phase}{kind}\"{id} transform=\"translate({x:.1} {y:.1})\"><title>{}</title>\
             <rect width=\"{width:.1}\" height=\"{CELL}\" rx=\"{radius}\"/>",
            Escaped(&title)
        );
        let mut name: String = it.name.chars().take(NAME_MOST).collect();
        if name.len() < it.name.len() {
            name.pop();
            name.push('…');
        }
        if !mark.is_empty() {
            let _ = write!(text, "<text class=\"sign\" x=\"14\" y=\"18.5\">{mark}</text>");
        }
        let left = if mark.is_empty() { 14 } else { 26 };
        let _ = write!(text, "<text x=\"{left}\" y=\"18.5\">{}</text>", Escaped(&name));
        if !it.note.is_empty() {
            let _ =
                write!(text, "<text class=\"note\" x=\"{:.1}\" y=\"18.5\">{}</text>", width - 9.0, Escaped(&it.note));
        }
        text.push_str("</g>\n");
    }
}

impl Drawing {
    /// The upper left corner of a block, which stands in the middle of its layer.
    fn corner(&self, block: usize) -> (f64, f64) {
        let shape = self.shapes[block];
        let (start, room) = self.layers[self.places.layer[block]];
        let middle = self.places.middle[block] + MARGIN;
        match self.downwards {
            true => (middle - shape.width() / 2.0, start + (room - shape.height()) / 2.0),
            false => (start, middle - shape.height() / 2.0),
        }
    }

    fn write_edge(&self, edge: &Edge, bends: &[(usize, f64)], text: &mut String) {
        let end = |block: usize, is_source: bool| {
            let ((x, y), shape) = (self.corner(block), self.shapes[block]);
            let far = if is_source { 1.0 } else { 0.0 };
            match self.downwards {
                true => (y + far * shape.height(), x + shape.width() / 2.0),
                false => (x + far * shape.width(), y + shape.height() / 2.0),
            }
        };
        // Along the edge, and across it: turned at the end if the picture goes downwards.
        let (mut at, to) = (end(edge.from, true), end(edge.to, false));
        let point = |(along, across): (f64, f64)| match self.downwards {
            true => format!("{across:.1} {along:.1}"),
            false => format!("{along:.1} {across:.1}"),
        };
        let mut path = format!("M{}", point(at));
        let mut curve = |at: (f64, f64), next: (f64, f64)| {
            let half = (next.0 - at.0) / 2.0;
            let _ = write!(path, "C{} {} {}", point((at.0 + half, at.1)), point((next.0 - half, next.1)), point(next));
        };
        for (layer, across) in bends {
            let (start, room) = self.layers[*layer];
            let (enter, leave) = ((start, across + MARGIN), (start + room, across + MARGIN));
            curve(at, enter);
            curve(enter, leave);
            at = leave;
        }
        curve(at, to);
        let class = edge.label.map(|label| format!(" on-{label}")).unwrap_or_default();
        let _ = writeln!(text, "<path class=\"edge{class}\" d=\"{path}\" marker-end=\"url(#arrow)\"/>");
        if let Some(label) = edge.label {
            let near = (to.0 - 8.0, to.1 - 5.0);
            let (x, y) = if self.downwards { (near.1 + 9.0, near.0) } else { near };
            let anchor = if self.downwards { "start" } else { "end" };
            let _ = writeln!(
                text,
                "<text class=\"label\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{label}</text>"
            );
        }
    }
}
