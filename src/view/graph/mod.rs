//! The DAG as text, Mermaid, DOT and SVG.
//!
//! Belongs here: which edges and boxes are drawn, where, and how. Does not belong here: what a step did (`history`).
//!
//! Two things keep a plan of hundreds of steps legible. An edge that others imply is not drawn (`a -> c` beside `a -> b -> c`).
//! And steps that wait for the same ones and are waited for by the same ones, such as the legs of a matrix, are one block, with one
//! edge for all of them.

mod dot;
mod layers;
mod mermaid;
mod svg;
mod text;

use podturn_turn::{Condition, Plan};

pub use text::Width;
pub(super) use text::{Line, style};

use super::table::duration;
use crate::volume::published::State;

/// So many steps in the same place are drawn as one block.
const BLOCK_LEAST: usize = 4;

/// Above this many steps the edges that others imply are drawn as well: looking for them would take too long.
const REDUCED_MOST: usize = 4_000;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Graph {
    /// In the plan's order.
    pub(super) nodes: Vec<Node>,
    /// Those that are drawn.
    pub(super) edges: Vec<Edge>,
    /// Which steps stand together, each in the plan's order; most are alone.
    pub(super) blocks: Vec<Vec<usize>>,
    /// How many edges are not drawn because others imply them.
    pub(super) implied: usize,
}

/// One step.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    /// Its phase, in a run.
    pub(super) phase: Option<String>,
    /// How long it ran, or what else is worth a word.
    pub(super) note: String,
    /// Its sentence, in a run.
    pub(super) message: String,
    pub(super) service: bool,
    pub(super) finally: bool,
}

/// One dependency: `to` waits for `from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The condition, if it is not the usual one.
    pub(super) label: Option<&'static str>,
}

impl Graph {
    /// The DAG of a plan.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let nodes = plan.steps.iter().map(|step| Node {
            name: step.name.clone(),
            phase: None,
            note: String::new(),
            message: String::new(),
            service: step.service,
            finally: step.finally,
        });
        let edges = plan.steps.iter().enumerate().flat_map(|(to, step)| {
            step.depends_on.iter().map(move |dependency| {
                let service = plan.steps[dependency.step.index()].service;
                Edge { from: dependency.step.index(), to, label: label(dependency.condition, service) }
            })
        });
        let (nodes, all): (Vec<Node>, Vec<Edge>) = (nodes.collect(), edges.collect());
        let edges = if nodes.len() <= REDUCED_MOST { without_implied(nodes.len(), &all) } else { all.clone() };
        let blocks = blocks(&nodes, &edges);
        Self { nodes, implied: all.len() - edges.len(), edges, blocks }
    }

    /// The DAG of a run.
    #[must_use]
    pub fn of_run(plan: &Plan, state: &State) -> Self {
        let mut graph = Self::of_plan(plan);
        graph.tell(state);
        graph
    }

    /// Takes over how its run stands.
    pub(super) fn tell(&mut self, state: &State) {
        for (node, step) in self.nodes.iter_mut().zip(&state.steps) {
            node.phase = Some(step.phase.clone());
            node.note = step.duration_ms.map(duration).unwrap_or_default();
            node.message.clone_from(&step.message);
        }
    }

    /// For each step, its block.
    fn block_of(&self) -> Vec<usize> {
        let mut of = vec![0; self.nodes.len()];
        for (block, nodes) in self.blocks.iter().enumerate() {
            nodes.iter().for_each(|node| of[*node] = block);
        }
        of
    }

    /// The edges between blocks, each once.
    fn block_edges(&self) -> Vec<Edge> {
        let of = self.block_of();
        let mut edges: Vec<Edge> =
            self.edges.iter().map(|edge| Edge { from: of[edge.from], to: of[edge.to], label: edge.label }).collect();
        edges.sort();
        edges.dedup();
        edges
    }
}

/// `None`: what everybody expects of such a step.
const fn label(condition: Condition, service: bool) -> Option<&'static str> {
    match condition {
        Condition::Started => Some("Started"),
        Condition::Ready => None,
        Condition::Succeeded if service => Some("Succeeded"),
        Condition::Succeeded => None,
        Condition::Failed => Some("Failed"),
        Condition::Completed => Some("Completed"),
    }
}

/// Leaves out an edge whose steps are joined by a longer way as well. An edge with a condition of its own says something that no
/// way says.
fn without_implied(count: usize, edges: &[Edge]) -> Vec<Edge> {
    let words = count.div_ceil(64);
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    edges.iter().for_each(|edge| after[edge.from].push(edge.to));
    // For each step, those that come after it by a way of one edge or more.
    let mut reach = vec![vec![0u64; words]; count];
    for node in order(count, edges).into_iter().rev() {
        for next in &after[node] {
            let (below, mine) = if *next < node {
                let (low, high) = reach.split_at_mut(node);
                (&low[*next], &mut high[0])
            } else {
                let (low, high) = reach.split_at_mut(*next);
                (&high[0], &mut low[node])
            };
            mine.iter_mut().zip(below).for_each(|(mine, below)| *mine |= below);
            mine[next / 64] |= 1 << (next % 64);
        }
    }
    let reaches = |from: usize, to: usize| reach[from][to / 64] >> (to % 64) & 1 == 1;
    let is_implied = |edge: &&Edge| {
        edge.label.is_none() && after[edge.from].iter().any(|next| *next != edge.to && reaches(*next, edge.to))
    };
    edges.iter().filter(|edge| !is_implied(edge)).cloned().collect()
}

/// Every step after those that it waits for; where that leaves a choice, in the plan's order.
fn order(count: usize, edges: &[Edge]) -> Vec<usize> {
    let mut open = vec![0usize; count];
    let mut after: Vec<Vec<usize>> = vec![Vec::new(); count];
    for edge in edges {
        open[edge.to] += 1;
        after[edge.from].push(edge.to);
    }
    let mut due: std::collections::BTreeSet<usize> = (0..count).filter(|node| open[*node] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(node) = due.pop_first() {
        order.push(node);
        for next in &after[node] {
            open[*next] -= 1;
            if open[*next] == 0 {
                due.insert(*next);
            }
        }
    }
    order
}

/// Who waits for whom, who waits for it, and what else sets a step apart.
type Place<'a> = (Vec<(usize, Option<&'a str>)>, Vec<(usize, Option<&'a str>)>, bool, bool);

/// Steps that stand in the same place, in the order of the first of them.
fn blocks(nodes: &[Node], edges: &[Edge]) -> Vec<Vec<usize>> {
    let mut places: Vec<Place<'_>> =
        nodes.iter().map(|node| (Vec::new(), Vec::new(), node.service, node.finally)).collect();
    for edge in edges {
        places[edge.to].0.push((edge.from, edge.label));
        places[edge.from].1.push((edge.to, edge.label));
    }
    for place in &mut places {
        place.0.sort_unstable();
        place.1.sort_unstable();
    }
    let mut known: std::collections::BTreeMap<&Place<'_>, usize> = std::collections::BTreeMap::new();
    let mut together: Vec<Vec<usize>> = Vec::new();
    for (node, place) in places.iter().enumerate() {
        let block = *known.entry(place).or_insert_with(|| {
            together.push(Vec::new());
            together.len() - 1
        });
        together[block].push(node);
    }
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for nodes in together {
        match nodes.len() {
            BLOCK_LEAST.. => blocks.push(nodes),
            _ => blocks.extend(nodes.into_iter().map(|node| vec![node])),
        }
    }
    blocks.sort();
    blocks
}
