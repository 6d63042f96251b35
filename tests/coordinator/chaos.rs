//! Random plans, and shims and coordinators that are killed at random moments. Whatever happens: everything ends, the order
//! is kept, no attempt is begun twice, no two attempts of a step overlap, and the end is told truthfully.
//!
//! Moments are counted in records of the journal, and a little random work beyond, not in time. Each round's seed is printed;
//! `PODTURN_SEED` plays one again (as far as the kernel's scheduling lets it).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::pod::{Pod, check_witness};

/// Rounds of each test, and how many must have been killed in all of them.
const ROUNDS: u64 = 36;
const KILLS: usize = 100;
/// Rounds that are played side by side.
const AT_A_TIME: usize = 8;

/// The generator `SplitMix64` (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// A step of a random plan.
struct Step {
    name: String,
    needs: Vec<String>,
    retries: usize,
    /// How many attempts its command fails.
    failures: usize,
}

fn steps(random: &mut Random) -> Vec<Step> {
    let count = 3 + random.below(4);
    (0..count)
        .map(|index| Step {
            name: format!("s{index}"),
            needs: (0..index).filter(|_| random.one_in(2)).map(|need| format!("s{need}")).collect(),
            retries: random.below(3),
            failures: if random.one_in(3) { 1 + random.below(2) } else { 0 },
        })
        .collect()
}

fn plan(steps: &[Step]) -> String {
    let step = |step: &Step| {
        format!("  {}: {{dependsOn: [{}], retry: {{limit: {}}}}}\n", step.name, step.needs.join(", "), step.retries)
    };
    // A shim that is killed before it arrived is one that never came.
    format!("arrivalTimeout: 4s\nsteps:\n{}", steps.iter().map(step).collect::<String>())
}

/// One run and its killer.
struct Round {
    pod: Pod,
    random: Random,
    names: Vec<String>,
    /// Containers come back after their death, as under `restartPolicy: Always`.
    restarts: bool,
    killed_shims: BTreeSet<String>,
    kills: usize,
}

impl Round {
    fn new(seed: u64, restarts: bool) -> (Self, Vec<Step>) {
        let mut random = Random(seed);
        let steps = steps(&mut random);
        let scripts: Vec<(&str, String)> = steps
            .iter()
            .map(|step| (step.name.as_str(), format!("[ \"$PODTURN_ATTEMPT\" -gt {} ] || return 5", step.failures)))
            .collect();
        let scripts: Vec<(&str, &str)> = scripts.iter().map(|(name, script)| (*name, script.as_str())).collect();
        let mut pod = Pod::planned(&plan(&steps), &scripts);
        if restarts {
            let containers = steps.iter().map(|step| format!(r#"{{"name": "{}", "restarts": "Always"}}"#, step.name));
            pod.facts = format!(r#"{{"containers": [{}]}}"#, containers.collect::<Vec<_>>().join(", "));
        }
        pod.init();
        let names = steps.iter().map(|step| step.name.clone()).collect();
        (Self { pod, random, names, restarts, killed_shims: BTreeSet::new(), kills: 0 }, steps)
    }

    /// Kills until the run has ended, or there were enough.
    fn kill_at_random(&mut self) {
        let kills = 3 + self.random.below(5);
        let mut records = 0;
        while self.kills < kills {
            records += 1 + self.random.below(8);
            let pod = &mut self.pod;
            pod.wait_until("the next record, or the end", || pod.journal().len() >= records || is_over(pod));
            if is_over(&self.pod) {
                return;
            }
            for _ in 0..self.random.below(200_000) {
                std::hint::spin_loop();
            }
            match self.random.below(5) {
                0 | 1 => self.kill_a_shim(),
                2 => self.kill_both(),
                _ => self.kill_the_coordinator(),
            }
        }
    }

    fn kill_a_shim(&mut self) {
        let name = self.names[self.random.below(self.names.len())].clone();
        if !self.pod.lives(&name) {
            return;
        }
        self.pod.kill_shim(&name);
        self.kills += 1;
        if self.restarts {
            self.pod.start(&name);
        }
        self.killed_shims.insert(name);
    }

    fn kill_both(&mut self) {
        self.pod.kill_coordinator();
        self.kills += 1;
        self.kill_a_shim();
        self.pod.coordinate();
    }

    fn kill_the_coordinator(&mut self) {
        if self.pod.has_coordinator() {
            self.pod.kill_coordinator();
            self.kills += 1;
            self.pod.coordinate();
        }
    }

    /// Everything that must be true now, or the first thing that is not.
    fn verdict(&mut self, steps: &[Step]) -> Result<(), String> {
        self.pod.wait_until("the end is published", || is_over(&self.pod));
        let codes = if self.restarts { BTreeMap::new() } else { self.pod.container_ends() };
        if !self.restarts {
            self.pod.coordinator_end();
        }
        let needs = |name: &str| steps.iter().find(|step| step.name == name).map_or(vec![], |step| step.needs.clone());
        check_witness(&self.pod.witness(), needs)?;
        let ends = self.pod.ends();
        for step in steps {
            self.judge(step, &ends, codes.get(&step.name).copied())?;
        }
        let has_failed = ends.values().any(|end| end.starts_with("Failed"));
        let outcome = if has_failed { "Failed" } else { "Succeeded" };
        (self.pod.outcome() == outcome).then_some(()).ok_or(format!("the outcome should be {outcome}"))
    }

    fn judge(&self, step: &Step, ends: &BTreeMap<String, String>, code: Option<i32>) -> Result<(), String> {
        let name = &step.name;
        let (phase, reason) = ends[name].split_once(' ').unwrap_or_default();
        let was_killed = self.killed_shims.contains(name);
        let needs_met = step.needs.iter().all(|need| ends[need].starts_with("Succeeded"));
        let expected = match (needs_met, was_killed) {
            // An undisturbed step's end follows from the plan alone.
            (true, false) if step.failures <= step.retries => phase == "Succeeded",
            (true, false) => (phase, reason) == ("Failed", "ExitCode"),
            (false, false) => phase == "Omitted",
            (true, true) => {
                phase == "Succeeded" || matches!((phase, reason), ("Failed", "ShimLost" | "ExitCode" | "NeverArrived"))
            }
            (false, true) => phase == "Omitted" || (phase, reason) == ("Failed", "ShimLost"),
        };
        if !expected {
            return Err(format!(
                "{name} should not be {phase} {reason} (killed: {was_killed}, needs met: {needs_met})"
            ));
        }
        // Success is the one end that a step can prove itself.
        let succeeded =
            self.pod.witness().iter().any(|line| line.starts_with(&format!("{name} ")) && line.ends_with("end 0"));
        if phase == "Succeeded" && !succeeded {
            return Err(format!("{name} Succeeded without having run to its end"));
        }
        match code {
            Some(0) if phase == "Failed" => Err(format!("{name} Failed and exits 0")),
            Some(code) if code != 0 && phase != "Failed" && !was_killed => {
                Err(format!("{name} is {phase}, exits {code}"))
            }
            _ => Ok(()),
        }
    }
}

fn is_over(pod: &Pod) -> bool {
    pod.published().is_some_and(|state| state["outcome"].is_string())
}

/// Plays rounds, some at a time: most of a round is waiting for a container that never comes.
fn rounds(restarts: bool) {
    let replay = std::env::var("PODTURN_SEED").ok().and_then(|seed| seed.parse().ok());
    // How many kills fit into a round hangs on the machine's speed: more rounds than `ROUNDS` where they were too few.
    let (first, last) = replay.map_or((1, 4 * ROUNDS), |seed| (seed, seed));
    let (next, kills) = (AtomicU64::new(first), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let is_enough = seed > ROUNDS && kills.load(Ordering::Relaxed) >= KILLS;
                    if seed > last || (replay.is_none() && is_enough) {
                        return;
                    }
                    kills.fetch_add(play(seed, restarts), Ordering::Relaxed);
                }
            });
        }
    });
    let kills = kills.into_inner();
    println!("{kills} kills, all plans ended as they should (restarts: {restarts})");
    assert!(replay.is_some() || kills >= KILLS, "only {kills} kills");
}

/// Plays one round; how many were killed in it.
fn play(seed: u64, restarts: bool) -> usize {
    let (mut round, steps) = Round::new(seed, restarts);
    round.pod.coordinate();
    round.pod.start_all();
    round.kill_at_random();
    if let Err(broken) = round.verdict(&steps) {
        panic!("PODTURN_SEED={seed}: {broken}\n{}", round.pod.everything());
    }
    round.kills
}

#[test]
fn random_kills_where_containers_are_not_restarted() {
    rounds(false);
}

#[test]
fn random_kills_where_containers_are_restarted() {
    rounds(true);
}
