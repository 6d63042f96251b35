//! What each step used against what it asks for: a table with two small charts in each row.
//!
//! The charts show nothing that the row does not say in numbers: the most, the average, request and limit.

use std::fmt::Write as _;

use super::{Page, length};
use crate::history::{AttemptHistory, Piece, SHORT, thousandths};
use crate::view::escape::Escaped;
use crate::view::table::bytes;

/// The size of a chart, in its own units.
const WIDTH: u64 = 240;
const HEIGHT: u64 = 44;

/// The least that a chart of CPU reaches up to: a tenth of a core, in thousandths.
const LEAST_CPU: u64 = 100;

/// And one of memory: 1 MiB, in KiB.
const LEAST_MEMORY: u64 = 1024;

/// A request or limit so many times above all that was used is not drawn: the rest would be a flat line.
const FAR: u64 = 4;

/// Why a step has no curves.
const UNSEEN: &str = "<small>not seen while it runs: its container has a process namespace of its own, or a runtime that names no processes. \
                      What it used is told at the end of each attempt</small>";

/// What is drawn of one step.
#[derive(Default)]
struct Used {
    /// Thousandths of a core. Times are since the step's first begin.
    cpu: Vec<Piece>,
    /// KiB.
    memory: Vec<Piece>,
    /// KiB.
    peak: u64,
    /// In ms.
    cpu_time: u64,
    /// How long its attempts ran, in ns.
    ran: u64,
    /// From the first begin to the newest end.
    total: u64,
    processes: u32,
    read: Option<u64>,
    written: Option<u64>,
}

impl Used {
    /// `now`: the end of an attempt that still runs.
    fn of(attempts: &[AttemptHistory], now: u64) -> Self {
        let mut used = Self::default();
        let Some(first) = attempts.first().map(|attempt| attempt.begun) else { return used };
        for attempt in attempts {
            used.add(attempt, attempt.begun - first, now);
        }
        used
    }

    fn add(&mut self, attempt: &AttemptHistory, begun: u64, now: u64) {
        let length = attempt.length(now);
        let later = |piece: Piece| Piece { from: begun + piece.from, to: begun + piece.to, ..piece };
        self.cpu.extend(attempt.rates(now).into_iter().map(later));
        let mut at = 0;
        for sample in &attempt.samples {
            let to = sample.after_ms.saturating_mul(1_000_000).min(length);
            if to > at {
                self.memory.push(later(Piece { from: at, to, level: sample.rss_kib }));
                at = to;
            }
        }
        let last = attempt.samples.last().map(|sample| sample.rss_kib).or(attempt.end.map(|end| end.usage.max_rss));
        self.memory.extend(last.filter(|_| length > at).map(|level| later(Piece { from: at, to: length, level })));
        let peaks = attempt.peaks();
        self.peak = self.peak.max(attempt.memory());
        self.processes = self.processes.max(peaks.processes);
        self.read = self.read.max(peaks.read_bytes);
        self.written = self.written.max(peaks.write_bytes);
        self.cpu_time = self.cpu_time.saturating_add(attempt.cpu_time());
        self.ran = self.ran.saturating_add(length);
        self.total = self.total.max(begun.saturating_add(length));
    }

    /// The most of a rate, among the pieces that are long enough to have one.
    fn most_cpu(&self) -> u64 {
        let most = |least| self.cpu.iter().filter(|piece| piece.length() >= least).map(|piece| piece.level).max();
        most(SHORT).or_else(|| most(0)).unwrap_or(0)
    }

    fn average_cpu(&self) -> u64 {
        thousandths(self.cpu_time, self.ran)
    }
}

impl Page<'_> {
    /// What stubs use says nothing; a live page may need its place later.
    pub(super) fn has_usage(&self) -> bool {
        let has_run = || self.history.steps.iter().any(|step| !step.attempts.is_empty());
        !self.record.is_rehearsal && (self.record.until.is_some() || has_run())
    }

    pub(super) fn write_usage(&self, html: &mut String) {
        if !self.has_usage() {
            return;
        }
        html.push_str(
            "<section id=\"usage\" aria-labelledby=\"usage-title\">\n<h2 id=\"usage-title\">CPU and memory</h2>\n\
             <p class=\"legend\"><span class=\"key\"><i class=\"u-line\" aria-hidden=\"true\"></i> used</span> \
             <span class=\"key\"><i class=\"u-request\" aria-hidden=\"true\"></i> request</span> \
             <span class=\"key\"><i class=\"u-limit\" aria-hidden=\"true\"></i> limit</span> \
             <span class=\"hint\">Memory is the sum of the resident sets of a step's processes, without the page cache. Not drawn: a request or limit far above all that was used, and what was too short to be looked at twice.</span></p>\n\
             <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"usage-title\"><table class=\"usage\">\n<thead><tr>\
             <th scope=\"col\">Step</th><th scope=\"col\">CPU over time</th><th scope=\"col\" class=\"n\">Average</th>\
             <th scope=\"col\" class=\"n\">Most</th><th scope=\"col\" class=\"n\">Request</th><th scope=\"col\" class=\"n\">Limit</th>\
             <th scope=\"col\">Memory over time</th><th scope=\"col\" class=\"n\">Peak</th><th scope=\"col\" class=\"n\">Request</th>\
             <th scope=\"col\" class=\"n\">Limit</th><th scope=\"col\" class=\"n\">Processes</th><th scope=\"col\" class=\"n\">Read</th>\
             <th scope=\"col\" class=\"n\">Written</th></tr></thead>\n<tbody>\n",
        );
        for index in 0..self.history.steps.len() {
            self.write_used(index, html);
        }
        html.push_str("</tbody>\n</table></div>\n</section>\n");
    }

    /// The row of a step; hidden as long as it has not run.
    pub(super) fn write_used(&self, index: usize, html: &mut String) {
        let (step, name) = (&self.history.steps[index], &self.history.plan.steps[index].name);
        if step.attempts.is_empty() {
            let _ = writeln!(html, "<tr id=\"u{index}\" hidden></tr>");
            return;
        }
        let used = Used::of(&step.attempts, self.history.end);
        let resources = self.record.resources.get(name).copied().unwrap_or_default();
        let (request, limit) = (resources.cpu_request, resources.cpu_limit);
        // What its shim said at the end of an attempt is an average, and the largest process.
        let is_unseen = !step.seen && step.attempts.iter().all(|attempt| attempt.samples.is_empty());
        let (average, most) = (used.average_cpu(), Some(used.most_cpu()).filter(|_| !is_unseen));
        let why = if is_unseen { UNSEEN } else { "" };
        let _ = write!(html, "<tr id=\"u{index}\"><th scope=\"row\">{}{why}</th><td>", Escaped(name));
        write_chart(&used.cpu, used.total, (request, limit), LEAST_CPU, &format!("CPU of {name}"), html);
        let amount = |amount: Option<u64>| amount.map(cores).unwrap_or_default();
        let number = |text: String, html: &mut String| {
            let _ = write!(html, "<td class=\"n\">{text}</td>");
        };
        html.push_str("</td>");
        for text in [cores(average), amount(most), amount(request), amount(limit)] {
            number(text, html);
        }
        html.push_str("<td>");
        let kib = |bytes: u64| bytes / 1024;
        let (request, limit) = (resources.memory_request.map(kib), resources.memory_limit.map(kib));
        write_chart(&used.memory, used.total, (request, limit), LEAST_MEMORY, &format!("memory of {name}"), html);
        html.push_str("</td>");
        let peak = Some(used.peak).filter(|peak| *peak > 0);
        let stored = |amount: Option<u64>| amount.map(kib).map(bytes).unwrap_or_default();
        let processes = if used.processes > 0 { used.processes.to_string() } else { String::new() };
        for text in [
            peak.map(bytes).unwrap_or_default(),
            request.map(bytes).unwrap_or_default(),
            limit.map(bytes).unwrap_or_default(),
            processes,
            stored(used.read),
            stored(used.written),
        ] {
            number(text, html);
        }
        html.push_str("</tr>\n");
    }
}

/// A line over time, with request and limit as levels. It reaches up to `least` at least: next to nothing is to look like it.
fn write_chart(
    pieces: &[Piece],
    total: u64,
    (request, limit): (Option<u64>, Option<u64>),
    least: u64,
    what: &str,
    html: &mut String,
) {
    let most = pieces.iter().map(|piece| piece.level).max().unwrap_or(0);
    let is_near = |level: &u64| *level <= most.saturating_mul(FAR);
    let levels = [("u-request", request.filter(is_near)), ("u-limit", limit.filter(is_near))];
    let top = levels.iter().filter_map(|(_, level)| *level).max().unwrap_or(0).max(most).max(least);
    let (x, y) =
        (|at: u64| scaled(at, total, WIDTH * 10), |level: u64| HEIGHT * 10 - 10 - scaled(level, top, HEIGHT * 10 - 30));
    if pieces.len() < 2 && levels.iter().all(|(_, level)| level.is_none()) {
        return; // one value, which stands beside it
    }
    let (mut line, mut end) = (String::new(), None);
    for piece in pieces {
        // Between two attempts nothing was used.
        let begin = if end == Some(piece.from) { 'L' } else { 'M' };
        let (from, to, level) = (tenths(x(piece.from)), tenths(x(piece.to)), tenths(y(piece.level)));
        let _ = write!(line, "{begin}{from} {level} L{to} {level} ");
        end = Some(piece.to);
    }
    let _ = write!(
        html,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} over {}\">",
        Escaped(what),
        length(total)
    );
    for (class, level) in levels {
        if let Some(level) = level {
            let level = tenths(y(level));
            let _ = write!(html, "<path class=\"{class}\" d=\"M0 {level} H{WIDTH}\"/>");
        }
    }
    let _ = write!(html, "<path class=\"u-line\" d=\"{}\"/></svg>", line.trim_end());
}

/// `amount` of `all`, as a part of `size`.
fn scaled(amount: u64, all: u64, size: u64) -> u64 {
    u64::try_from(u128::from(amount) * u128::from(size) / u128::from(all.max(1))).unwrap_or(0).min(size)
}

fn tenths(number: u64) -> String {
    if number.is_multiple_of(10) { (number / 10).to_string() } else { format!("{}.{}", number / 10, number % 10) }
}

/// Thousandths of a core, as people read them.
fn cores(milli: u64) -> String {
    format!("{}.{:02}", milli / 1000, milli % 1000 / 10)
}
