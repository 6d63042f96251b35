//! What it costs to look at what steps use, thread by thread of the coordinator.
//!
//! Looks are the more frequent the younger an attempt is: four times a second at first, once a second up to a minute, then less often. What
//! is observed here is the once a second. A look goes through all processes that the coordinator can see: in a pod those of the pod, here
//! those of the whole machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::contender::Pod;
use crate::ground::{Ground, Stamps, pause, wait_until};
use crate::resident::{Spent, threads};

/// As many steps run, and as many wait.
pub(crate) const STEPS: usize = 50;

/// How long they are observed.
pub(crate) const STRETCH: Duration = Duration::from_secs(30);

/// Until no attempt is so young any more that it is looked at more often.
const GROWN: Duration = Duration::from_secs(2);

/// What each thread of the coordinator uses while so many steps run, each a shim and its command, and so many wait.
pub(crate) fn observe(ground: &Ground, running: usize, waiting: usize) -> BTreeMap<String, Spent> {
    let stamps = Stamps::new(ground.memory.path());
    // The first step never comes.
    let mut plan = String::from("steps:\n  s0: {}\n");
    for step in 1..=running + waiting {
        let depends_on = if step > running { "dependsOn: [s0]" } else { "" };
        let _ = writeln!(plan, "  s{step}: {{ {depends_on} }}");
    }
    let mut pod = Pod::start(ground.memory.path(), &plan, running + waiting + 1);
    for step in 1..=running + waiting {
        let mut command = ground.step(&stamps, step);
        command.push("hold".to_owned());
        pod.start_shim(step, &command);
    }
    pod.wait_for_arrivals(running + waiting);
    wait_until("the steps to run", || (1..=running).all(|step| stamps.of(step).start > 0));
    pause(GROWN);
    let before = threads(pod.coordinator);
    pause(STRETCH);
    let mut spent = threads(pod.coordinator);
    for (thread, spent) in &mut spent {
        let before = before.get(thread).copied().unwrap_or_default();
        (spent.cpu, spent.wakeups) = (spent.cpu - before.cpu, spent.wakeups - before.wakeups);
    }
    spent
}
