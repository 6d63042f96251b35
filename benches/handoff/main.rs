//! `cargo bench --bench handoff [-- --rounds N --only WORD --program FILE]`: how long it takes from the end of a step to the start of the
//! next, and what podturn costs while nothing happens. `--only` leaves out all tables but those with this word in their titles; `--program`
//! measures this podturn, such as the image's, `target/image/podturn`.
//!
//! Every step stamps its own start and end. All contenders run in turn in every round, the first rounds are thrown away,
//! and what counts are ratios of medians of one execution: absolute times belong to the machine they were taken on, and
//! none is asserted. On a machine that does other things at the same time, `chrt --rr 1 cargo bench ...` keeps these out.
#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::disallowed_methods, reason = "measuring reads clocks, and observes what is idle by waiting")]
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot measure says so and ends")]

mod contender;
mod figures;
mod graph;
mod ground;
mod onlookers;
mod resident;
mod usage;

use std::collections::BTreeMap;
use std::time::Duration;

use contender::{Contender, Pod};
use figures::{Table, duration, median, quantile, ratio};
use graph::Graph;
use ground::{Ground, Stamp};

/// Rounds thrown away: caches, the page tables of the programs, the frequency of the CPU.
const WARM_UP: usize = 2;

const CHAIN: &str = "hand-off, chain of 20";
const FAN: &str = "1 -> 50 -> 1, first exit to last start";
const LAYERS: &str = "1,000 steps in 20 layers, per step";
const DEATHS: &str = "a shim SIGKILLed -> the command of a dependent runs";
const IDLE: &str = "nothing happens";
const USAGE: &str = "looking at what steps use";
const SIZES: &str = "size";

fn main() {
    let rounds = argument("--rounds").map_or(20, |number| number.parse().expect("--rounds takes a number"));
    let only = argument("--only").unwrap_or_default();
    let is_wanted = |title: &str| title.contains(&only);
    let ground = Ground::prepare();
    println!("{}; {rounds} rounds after {WARM_UP} to warm up", figures::machine());
    let chain = |stamps: &[Stamp]| stamps.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    if is_wanted(CHAIN) {
        compare(&ground, CHAIN, &Graph::chain(20), rounds, chain);
    }
    let fan = |stamps: &[Stamp]| vec![stamps.last().map_or(0, |last| last.start) - stamps[0].end];
    if is_wanted(FAN) {
        compare(&ground, FAN, &Graph::fan(50), rounds, fan);
    }
    let layers = |stamps: &[Stamp]| {
        vec![(stamps.iter().map(|stamp| stamp.end).max().unwrap_or(0) - stamps[0].end) / stamps.len() as u64]
    };
    if is_wanted(LAYERS) {
        compare(&ground, LAYERS, &Graph::layers(20, 50), rounds.div_ceil(4), layers);
    }
    if is_wanted(DEATHS) {
        print_deaths(&ground, rounds);
    }
    if is_wanted(IDLE) {
        print_idle(&ground);
    }
    if is_wanted(USAGE) {
        print_usage(&ground);
    }
    if is_wanted(SIZES) {
        print_sizes(&ground);
    }
}

/// The podturn that is measured.
fn program() -> String {
    argument("--program").unwrap_or_else(|| env!("CARGO_BIN_EXE_podturn").to_owned())
}

/// What follows this option; cargo adds arguments of its own.
fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// Runs all contenders in turn and prints what `measure` makes of their stamps, each beside the others.
fn compare(ground: &Ground, what: &str, graph: &Graph, rounds: usize, measure: impl Fn(&[Stamp]) -> Vec<u64>) {
    let mut values: BTreeMap<Contender, Vec<u64>> = BTreeMap::new();
    for round in 0..WARM_UP + rounds {
        for turn in 0..Contender::ALL.len() {
            // Another one begins each round, so that nobody always runs after the same neighbour.
            let contender = Contender::ALL[(turn + round) % Contender::ALL.len()];
            let measured = measure(&contender.run(ground, graph));
            if round >= WARM_UP {
                values.entry(contender).or_default().extend(measured);
            }
        }
    }
    let medians: BTreeMap<Contender, u64> =
        values.iter_mut().map(|(&contender, values)| (contender, median(values))).collect();
    let table = Table::begin(&[what, "median", "p99", "p99 / median", "x floor", "x make", "x sh"]);
    for (&contender, values) in &mut values {
        let own = medians[&contender];
        let p99 = quantile(values, 0.99);
        let against = |other: Contender| format!("{:.2}", ratio(own, medians[&other]));
        table.row(&[
            contender.name().to_owned(),
            duration(own),
            duration(p99),
            format!("{:.1}", ratio(p99, own)),
            against(Contender::Floor),
            against(Contender::Make),
            against(Contender::Sh),
        ]);
    }
}

fn print_deaths(ground: &Ground, rounds: usize) {
    let mut values: Vec<u64> = (0..rounds).map(|_| resident::death_to_next(ground)).collect();
    let table = Table::begin(&[DEATHS, "median", "p99"]);
    table.row(&["podturn, in memory".to_owned(), duration(median(&mut values)), duration(quantile(&mut values, 0.99))]);
}

fn print_idle(ground: &Ground) {
    let stretch = Duration::from_secs(10);
    let (coordinator, shim) = resident::observe(ground, stretch);
    let what = format!("{IDLE} for {} s", stretch.as_secs());
    let table = Table::begin(&[&what, "resident", "private", "CPU", "wake-ups"]);
    let blocked = format!("a blocked shim (median of {}; the most CPU and wake-ups)", resident::BLOCKED);
    for (name, cost) in [(blocked, shim), (format!("the coordinator of {} steps", resident::BLOCKED + 1), coordinator)]
    {
        let (resident, private) = (format!("{} KiB", cost.resident), format!("{} KiB", cost.private));
        table.row(&[name, resident, private, duration(cost.cpu), cost.wakeups.to_string()]);
    }
}

/// The share of a core that each thread of the coordinator takes, with many steps that run, and with none.
fn print_usage(ground: &Ground) {
    let what = format!("{USAGE}, for {} s", usage::STRETCH.as_secs());
    let table = Table::begin(&[&what, "CPU, of a core", "wake-ups a second"]);
    let seconds = usage::STRETCH.as_secs_f64();
    for (running, waiting) in [(usage::STEPS, usage::STEPS), (0, 2 * usage::STEPS)] {
        let threads = usage::observe(ground, running, waiting);
        let row = |thread: &str, cpu: u64, wakeups: u64| {
            let name = format!("{running} steps run and {waiting} wait: {thread}");
            let share = format!("{:.3} %", ratio(cpu, 10_000_000) / seconds);
            table.row(&[name, share, format!("{:.1}", ratio(wakeups, 1) / seconds)]);
        };
        for (thread, spent) in &threads {
            row(thread, spent.cpu, spent.wakeups);
        }
        let sum = |value: fn(&resident::Spent) -> u64| threads.values().map(value).sum();
        row("all of it", sum(|spent| spent.cpu), sum(|spent| spent.wakeups));
    }
}

fn print_sizes(ground: &Ground) {
    let pod = Pod::start(ground.memory.path(), "steps:\n  s0: {}\n", 1);
    let shim = pod.volume.join("steps/s0/in/podturn-shim");
    let image = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/podturn");
    let table = Table::begin(&[SIZES, "bytes"]);
    for (name, path) in [("shim", shim), ("podturn", program().into()), ("image", image)] {
        let size = std::fs::metadata(&path).map(|metadata| metadata.len().to_string());
        table.row(&[name, &size.unwrap_or_else(|_| "not built: images/build".to_owned())]);
    }
}
