//! What each step used against what it asks for: a table with two small charts in each row.
//!
//! The charts show nothing that the row does not say in numbers: the most, the average, request and limit.

use std::fmt::Write as _;

use super::summary::memory;
use super::{Page, length};
use crate::history::AttemptHistory;
use crate::view::escape::Escaped;

/// The size of a chart, in its own units.
const WIDTH: u64 = 240;
const HEIGHT: u64 = 44;

/// A request or limit so many times above all that was used is not drawn: the rest would be a flat line.
const FAR: u64 = 4;

/// A piece of time shorter than this says nothing about a rate, in ns: `/proc` counts in ticks of 10 ms.
const SHORT: u64 = 200_000_000;

/// A level that held from one moment to another, both in ns since the step's first begin.
struct Piece {
    from: u64,
    to: u64,
    level: u64,
}

/// What is drawn of one step.
#[derive(Default)]
struct Used {
    /// Processor time in a time, in thousandths of a core.
    cpu: Vec<Piece>,
    /// KiB.
    memory: Vec<Piece>,
    /// The most memory, in KiB: of a moment that nobody looked at, that of the largest process.
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
            let end = attempt.ended.unwrap_or(now).max(attempt.begun);
            used.add(attempt, attempt.begun - first, end - first);
        }
        used
    }

    fn add(&mut self, attempt: &AttemptHistory, from: u64, to: u64) {
        let (mut at, mut cpu, mut rss) = (from, 0, None);
        for sample in &attempt.samples {
            let until = (from + sample.after_ms * 1_000_000).min(to);
            if until > at {
                self.rate(at, until, sample.cpu_ms.saturating_sub(cpu));
                self.memory.push(Piece { from: at, to: until, level: sample.rss_kib });
                (at, cpu) = (until, cpu.max(sample.cpu_ms));
            }
            rss = Some(sample.rss_kib);
            self.processes = self.processes.max(sample.processes);
            self.read = self.read.max(sample.read_bytes);
            self.written = self.written.max(sample.write_bytes);
        }
        // What the shim said at the end is exact. How the last moments were shared out nobody saw.
        if let Some(end) = attempt.end {
            if to.saturating_sub(at) >= SHORT || attempt.samples.is_empty() {
                self.rate(at, to, end.usage.cpu.saturating_sub(cpu));
            }
            cpu = cpu.max(end.usage.cpu);
            if attempt.samples.is_empty() {
                rss = Some(end.usage.max_rss);
            }
        }
        self.memory.extend(rss.filter(|_| to > at).map(|level| Piece { from: at, to, level }));
        let most = attempt.samples.iter().map(|sample| sample.rss_kib.max(sample.max_rss_kib)).max().unwrap_or(0);
        self.peak = self.peak.max(most).max(attempt.end.map_or(0, |end| end.usage.max_rss));
        self.cpu_time += cpu;
        self.ran += to - from;
        self.total = self.total.max(to);
    }

    fn rate(&mut self, from: u64, to: u64, cpu_ms: u64) {
        let level = u64::try_from(u128::from(cpu_ms) * 1_000_000_000 / u128::from(to.saturating_sub(from).max(1)));
        self.cpu.push(Piece { from, to, level: level.unwrap_or(0) });
    }

    /// The most of a rate, among the pieces that are long enough to have one.
    fn most_cpu(&self) -> u64 {
        let long = self.cpu.iter().filter(|piece| piece.to - piece.from >= SHORT).map(|piece| piece.level).max();
        long.or(self.cpu.iter().map(|piece| piece.level).max()).unwrap_or(0)
    }

    fn average_cpu(&self) -> u64 {
        self.cpu_time * 1_000_000_000 / self.ran.max(1)
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
             <span class=\"hint\">Memory is the sum of the resident sets of a step's processes, without the page cache.</span></p>\n\
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
        let (average, most) = (used.average_cpu(), used.most_cpu());
        let _ = write!(html, "<tr id=\"u{index}\"><th scope=\"row\">{}</th><td>", Escaped(name));
        write_chart(&used.cpu, used.total, (request, limit), &format!("CPU of {name}"), html);
        let amount = |amount: Option<u64>| amount.map(cores).unwrap_or_default();
        let number = |text: String, html: &mut String| {
            let _ = write!(html, "<td class=\"n\">{text}</td>");
        };
        html.push_str("</td>");
        for text in [cores(average), cores(most), amount(request), amount(limit)] {
            number(text, html);
        }
        html.push_str("<td>");
        let kib = |bytes: u64| bytes / 1024;
        let (request, limit) = (resources.memory_request.map(kib), resources.memory_limit.map(kib));
        write_chart(&used.memory, used.total, (request, limit), &format!("memory of {name}"), html);
        html.push_str("</td>");
        let peak = Some(used.peak).filter(|peak| *peak > 0);
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| memory(bytes / 1024)).unwrap_or_default();
        let processes = if used.processes > 0 { used.processes.to_string() } else { String::new() };
        for text in [
            peak.map(memory).unwrap_or_default(),
            request.map(memory).unwrap_or_default(),
            limit.map(memory).unwrap_or_default(),
            processes,
            bytes(used.read),
            bytes(used.written),
        ] {
            number(text, html);
        }
        html.push_str("</tr>\n");
    }
}

/// A line over time, with request and limit as levels.
fn write_chart(
    pieces: &[Piece],
    total: u64,
    (request, limit): (Option<u64>, Option<u64>),
    what: &str,
    html: &mut String,
) {
    let most = pieces.iter().map(|piece| piece.level).max().unwrap_or(0);
    let is_near = |level: &u64| *level <= most.saturating_mul(FAR);
    let levels = [("u-request", request.filter(is_near)), ("u-limit", limit.filter(is_near))];
    let top = levels.iter().filter_map(|(_, level)| *level).max().unwrap_or(0).max(most).max(1);
    let (x, y) =
        (|at: u64| scaled(at, total, WIDTH * 10), |level: u64| HEIGHT * 10 - 10 - scaled(level, top, HEIGHT * 10 - 30));
    let mut line = String::new();
    for piece in pieces {
        let (from, to, level) = (x(piece.from), x(piece.to), y(piece.level));
        let _ = write!(
            line,
            "{}{} {} L{} {} ",
            if line.is_empty() { 'M' } else { 'L' },
            tenths(from),
            tenths(level),
            tenths(to),
            tenths(level)
        );
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
