//! From stamps to figures, and from figures to a table.

use std::process::Command;

/// The value below which `share` of the values lie; sorts them.
pub(crate) fn quantile(values: &mut [u64], share: f64) -> u64 {
    assert!(!values.is_empty(), "nothing was measured");
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "small counts"
    )]
    let index = ((values.len() - 1) as f64 * share).round() as usize;
    values[index]
}

pub(crate) fn median(values: &mut [u64]) -> u64 {
    quantile(values, 0.5)
}

/// Nanoseconds as microseconds or milliseconds.
pub(crate) fn duration(nanoseconds: u64) -> String {
    match nanoseconds {
        0..10_000_000 => format!("{} us", nanoseconds / 1000),
        _ => format!("{:.1} ms", ratio(nanoseconds, 1_000_000)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of two digits")]
pub(crate) fn ratio(value: u64, reference: u64) -> f64 {
    value as f64 / reference.max(1) as f64
}

/// The machine, as whoever compares figures has to know it.
pub(crate) fn machine() -> String {
    let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpus = line("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let date = Command::new("date").args(["-u", "+%F"]).output().map(|output| output.stdout).unwrap_or_default();
    format!(
        "{}, {cores} cores, Linux {}, {}",
        model.map_or("unknown CPU", |(_, name)| name),
        line("/proc/sys/kernel/osrelease"),
        String::from_utf8_lossy(&date).trim()
    )
}

/// Prints a table in Markdown, so that it can go into `docs/performance.md` as it is.
pub(crate) struct Table;

impl Table {
    pub(crate) fn begin(columns: &[&str]) -> Self {
        println!();
        Self.row(columns);
        Self.row(&vec!["---"; columns.len()]);
        Self
    }

    pub(crate) fn row<T: AsRef<str>>(&self, cells: &[T]) {
        let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
        println!("| {} |", cells.join(" | "));
    }
}
