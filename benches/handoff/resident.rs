//! What blocked shims and an idle coordinator cost: memory, CPU and wake-ups over a stretch of time in which nothing
//! happens; and how soon the death of a shim is acted on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::contender::Pod;
use crate::ground::{Ground, Stamps, now, pause, text, wait_until};

/// Blocked shims in the pod that is observed.
pub(crate) const BLOCKED: usize = 50;

/// What a process holds, and what it used while it was observed.
pub(crate) struct Cost {
    /// Resident, in KiB.
    pub(crate) resident: u64,
    /// Resident and shared with nobody, in KiB.
    pub(crate) private: u64,
    /// Nanoseconds on a CPU, of all its threads.
    pub(crate) cpu: u64,
    /// How often they were woken.
    pub(crate) wakeups: u64,
}

/// What a thread used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Nanoseconds on a CPU.
    pub(crate) cpu: u64,
    /// How often it was woken.
    pub(crate) wakeups: u64,
}

/// Observes a coordinator and its blocked shims, the medians of which are second.
pub(crate) fn observe(ground: &Ground, stretch: Duration) -> (Cost, Cost) {
    let stamps = Stamps::new(ground.memory.path());
    let mut plan = String::from("steps:\n  s0: {}\n");
    for step in 1..=BLOCKED {
        plan.push_str(&format!("  s{step}: {{ dependsOn: [s0] }}\n"));
    }
    let mut pod = Pod::start(ground.memory.path(), &plan, BLOCKED + 1);
    let shims: Vec<u32> = (1..=BLOCKED).map(|step| pod.start_shim(step, &ground.step(&stamps, step))).collect();
    pod.wait_for_arrivals(BLOCKED);
    let before: Vec<Cost> = shims.iter().map(|&pid| cost(pid)).collect();
    let coordinator_before = cost(pod.coordinator);
    pause(stretch);
    let spent = |pid: u32, before: &Cost| {
        let now = cost(pid);
        Cost { cpu: now.cpu - before.cpu, wakeups: now.wakeups - before.wakeups, ..now }
    };
    let after: Vec<Cost> = shims.iter().zip(&before).map(|(&pid, before)| spent(pid, before)).collect();
    let median = |value: fn(&Cost) -> u64| {
        let mut values: Vec<u64> = after.iter().map(value).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let most = |value: fn(&Cost) -> u64| after.iter().map(value).max().unwrap_or(0);
    let shim = Cost {
        resident: median(|cost| cost.resident),
        private: median(|cost| cost.private),
        cpu: most(|cost| cost.cpu),
        wakeups: most(|cost| cost.wakeups),
    };
    (spent(pod.coordinator, &coordinator_before), shim)
}

/// Nanoseconds from the SIGKILL of a step's shim until the command of a step that waits for this failure has started.
pub(crate) fn death_to_next(ground: &Ground) -> u64 {
    let stamps = Stamps::new(ground.memory.path());
    let plan = "steps:\n  s0: {}\n  s1: { dependsOn: [s0: Failed] }\n";
    let mut pod = Pod::start(ground.memory.path(), plan, 2);
    pod.start_shim(1, &ground.step(&stamps, 1));
    pod.wait_for_arrivals(1);
    let mut holds = ground.step(&stamps, 0);
    holds.push("hold".to_owned());
    let shim = pod.start_shim(0, &holds);
    wait_until("the step to run", || stamps.of(0).start > 0);
    pause(Duration::from_millis(30));
    let killed = now();
    kill(Pid::from_raw(shim.cast_signed()), Signal::SIGKILL).expect("killing a shim of our own");
    pod.wait();
    stamps.of(1).start - killed
}

fn cost(pid: u32) -> Cost {
    let rollup = fields(pid, "smaps_rollup");
    let threads = threads(pid);
    let kib = |name: &str| rollup.get(name).copied().unwrap_or_else(|| panic!("no {name} in smaps_rollup"));
    Cost {
        resident: kib("Rss"),
        private: kib("Private_Clean") + kib("Private_Dirty"),
        cpu: threads.values().map(|spent| spent.cpu).sum(),
        wakeups: threads.values().map(|spent| spent.wakeups).sum(),
    }
}

/// What each thread of a process has used so far, by the threads' names. Those of one name are taken together.
pub(crate) fn threads(pid: u32) -> BTreeMap<String, Spent> {
    let mut threads: BTreeMap<String, Spent> = BTreeMap::new();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process is there");
    for task in tasks {
        let task = format!("task/{}", text(Path::new(&task.expect("a thread").file_name())));
        let name = read(pid, &format!("{task}/comm")).trim().to_owned();
        let schedstat = read(pid, &format!("{task}/schedstat"));
        let cpu = schedstat.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        let spent = threads.entry(name).or_default();
        spent.cpu += cpu.expect("schedstat begins with a number");
        spent.wakeups += fields(pid, &format!("{task}/status"))["voluntary_ctxt_switches"];
    }
    threads
}

fn read(pid: u32, file: &str) -> String {
    // Shims and coordinator are not dumpable, so that only root can look into them here: see proc(5).
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {path} (as root?): {error}"))
}

/// The `Name: number` lines of a file in `/proc/PID`.
fn fields(pid: u32, file: &str) -> BTreeMap<String, u64> {
    let number = |value: &str| value.split_whitespace().next().and_then(|number| number.parse().ok());
    let lines = read(pid, file);
    let pairs = lines.lines().filter_map(|line| line.split_once(':'));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), number(value)?))).collect()
}
