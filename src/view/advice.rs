//! What steps ask for, what they used, and what they should ask for, as a table.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::volume::Resources;

/// One step, or all that a matrix makes of it.
#[derive(Clone, Debug)]
pub struct Advised {
    /// Its container's name in the manifest.
    pub name: String,
    /// How many attempts were measured; 0: nothing is known of it.
    pub attempts: u32,
    /// Thousandths of a core: on average, and enough for 95 % of the time.
    pub cpu: (u64, u64),
    /// The most memory, in bytes.
    pub memory: u64,
    /// An attempt was killed for its memory.
    pub was_killed: bool,
    /// What it asks for.
    pub now: Resources,
    /// What it should ask for; `None`: nothing is known of it.
    pub wanted: Option<Resources>,
}

/// The table, with what has to be known beside it in sentences.
#[must_use]
pub fn advice(all: &[Advised], margin: u64) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header([
        "STEP",
        "ATTEMPTS",
        "CPU AVG",
        "CPU 95 %",
        "REQUEST",
        "LIMIT",
        "MEMORY PEAK",
        "REQUEST",
        "LIMIT",
    ]);
    for column in 1..9 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for step in all {
        table.add_row(row(step));
    }
    let mut text = table.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>().join("\n") + "\n";
    text.push_str(&format!(
        "\nnow -> advised, with a margin of {margin} %. CPU request: what was enough for 95 % of the time. Memory request and limit: the most \
         that was seen,\nwithout the page cache. A CPU limit is only raised where it would be below the request.\n"
    ));
    for step in all.iter().filter(|step| step.was_killed) {
        let twice = if step.now.memory_limit.is_some() { "its limit" } else { "the most that was seen" };
        text.push_str(&format!(
            "{}: an attempt was killed for its memory, so nobody knows what it would have taken: twice {twice}\n",
            step.name
        ));
    }
    let unknown: Vec<&str> = all.iter().filter(|step| step.wanted.is_none()).map(|step| step.name.as_str()).collect();
    if !unknown.is_empty() {
        text.push_str(&format!("not measured, and left as it is: {}\n", unknown.join(", ")));
    }
    text
}

fn row(step: &Advised) -> [String; 9] {
    let dash = || "-".to_owned();
    let wanted = step.wanted.unwrap_or(step.now);
    let cpu = |now: Option<u64>, wanted: Option<u64>| change(now.map(cores), wanted.map(cores));
    let memory = |now: Option<u64>, wanted: Option<u64>| change(now.map(mebibytes), wanted.map(mebibytes));
    let is_known = step.wanted.is_some();
    let seen = |text: String| if is_known { text } else { dash() };
    [
        step.name.clone(),
        seen(step.attempts.to_string()),
        seen(cores(step.cpu.0)),
        seen(cores(step.cpu.1)),
        cpu(step.now.cpu_request, wanted.cpu_request),
        cpu(step.now.cpu_limit, wanted.cpu_limit),
        seen(mebibytes(step.memory)),
        memory(step.now.memory_request, wanted.memory_request),
        memory(step.now.memory_limit, wanted.memory_limit),
    ]
}

fn change(now: Option<String>, wanted: Option<String>) -> String {
    let dash = || "-".to_owned();
    match (now, wanted) {
        (now, wanted) if now == wanted => now.unwrap_or_else(dash),
        (now, wanted) => format!("{} -> {}", now.unwrap_or_else(dash), wanted.unwrap_or_else(dash)),
    }
}

/// Thousandths of a core as a manifest writes them.
fn cores(milli: u64) -> String {
    if milli.is_multiple_of(1000) { (milli / 1000).to_string() } else { format!("{milli}m") }
}

fn mebibytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 => format!("{}Mi", bytes.div_ceil(1 << 20)),
        bytes => format!("{}Ki", bytes.div_ceil(1 << 10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_doubled_for_a_killed_step_is_said() {
        let killed = |memory_limit| Advised {
            name: "train".to_owned(),
            attempts: 1,
            cpu: (10, 10),
            memory: 64 << 20,
            was_killed: true,
            now: Resources { memory_limit, ..Resources::default() },
            wanted: Some(Resources::default()),
        };
        assert!(advice(&[killed(Some(64 << 20))], 20).contains("twice its limit\n"));
        assert!(advice(&[killed(None)], 20).contains("twice the most that was seen\n"), "it has no limit");
    }
}
