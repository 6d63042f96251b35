//! The DAG for Graphviz.

use std::fmt::Write as _;

use super::Graph;
use crate::view::signs::sign;

impl Graph {
    /// A digraph in the DOT language.
    #[must_use]
    pub fn dot(&self) -> String {
        let mut text = String::from(
            "digraph plan {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white];\n",
        );
        for node in &self.nodes {
            let mut attributes = String::new();
            let phase = node.phase.as_deref();
            if let Some((phase, sign)) = phase.and_then(|phase| Some((phase, sign(phase)?))) {
                let label = format!("{} {}", sign.unicode, node.name);
                let _ = write!(attributes, ", label={}, fillcolor=\"{}\"", quoted(&label), fill(phase));
            }
            if node.service {
                attributes.push_str(", shape=ellipse");
            }
            if node.finally {
                attributes.push_str(", peripheries=2");
            }
            let _ = match attributes.strip_prefix(", ") {
                Some(attributes) => writeln!(text, "  {} [{attributes}];", quoted(&node.name)),
                None => writeln!(text, "  {};", quoted(&node.name)),
            };
        }
        for edge in &self.edges {
            let (from, to) = (quoted(&self.nodes[edge.from].name), quoted(&self.nodes[edge.to].name));
            let label = edge.label.map(|label| format!(" [label=\"{label}\"]")).unwrap_or_default();
            let _ = writeln!(text, "  {from} -> {to}{label};");
        }
        text.push_str("}\n");
        text
    }
}

/// A quoted string of DOT, in which only the quote has to be escaped; a backslash would begin one of its own.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "))
}

fn fill(phase: &str) -> &'static str {
    match phase {
        "Granted" | "Running" | "Ready" => "#cfe3ff",
        "Awaiting" | "Paused" | "Backoff" | "Stopping" => "#ffe9b8",
        "Succeeded" => "#d3f2d9",
        "Failed" => "#ffd3d0",
        "Skipped" | "Omitted" | "Cancelled" => "#e6e6ea",
        _ => "#ffffff",
    }
}
