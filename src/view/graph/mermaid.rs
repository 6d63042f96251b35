//! The DAG for Mermaid, which GitHub and GitLab draw in a Markdown file.

use std::fmt::Write as _;

use super::Graph;
use crate::view::signs::sign;

/// What each phase looks like: legible on a light and on a dark page, since it brings its own text colour.
const CLASSES: &str = "  classDef active fill:#cfe3ff,stroke:#1f5fbf,color:#0b1f3a
  classDef waiting fill:#ffe9b8,stroke:#8a6100,color:#2e2000
  classDef good fill:#d3f2d9,stroke:#1a7431,color:#06280f
  classDef bad fill:#ffd3d0,stroke:#b3261e,color:#3d0805
  classDef none fill:#e6e6ea,stroke:#61616b,color:#22222a
";

impl Graph {
    /// A flowchart.
    #[must_use]
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let mut has_phases = false;
        for (index, node) in self.nodes.iter().enumerate() {
            let phase = node.phase.as_deref();
            let sign = phase.and_then(sign).map(|sign| format!("{} ", sign.unicode)).unwrap_or_default();
            let label = format!("\"{sign}{}\"", escaped(&node.name));
            let shape = match (node.service, node.finally) {
                (true, _) => format!("([{label}])"),
                (_, true) => format!("[[{label}]]"),
                _ => format!("[{label}]"),
            };
            has_phases |= phase.is_some();
            let class = phase.map(|phase| format!(":::{}", class(phase))).unwrap_or_default();
            let _ = writeln!(text, "  s{index}{shape}{class}");
        }
        for edge in &self.edges {
            let label = edge.label.map(|label| format!("|{label}|")).unwrap_or_default();
            let _ = writeln!(text, "  s{} -->{label} s{}", edge.from, edge.to);
        }
        if has_phases {
            text.push_str(CLASSES);
        }
        text
    }
}

fn class(phase: &str) -> &'static str {
    match phase {
        "Granted" | "Running" | "Ready" => "active",
        "Awaiting" | "Paused" | "Backoff" | "Stopping" => "waiting",
        "Succeeded" => "good",
        "Failed" => "bad",
        _ => "none",
    }
}

/// Mermaid's own form of character references.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' | ' ' => out.push(character),
            other => out.push_str(&format!("#{};", u32::from(other))),
        }
    }
    out
}
