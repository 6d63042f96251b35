//! Which plays are played, and how a failure is shortened and told.

use crate::broken::Rule;
use crate::case::Case;
use crate::chooser::{Chooser, Deviation, Dice, Schedule};
use crate::play::{Ending, play};

pub(crate) fn by_schedule(case: &Case, schedule: Schedule, rule: Option<Rule>) -> Ending {
    play(case, Chooser::scripted(schedule), rule, false)
}

/// Every schedule of a case with so many deviations from the default order, faults included: each play shows which choices it had, and each of those after its last
/// deviation is one more schedule. Returns how many plays that was, and the schedule of the first failure.
pub(crate) fn every_schedule(case: &Case, deviations: usize) -> (u64, Option<Schedule>) {
    let mut open = vec![Schedule::default()];
    let mut plays = 0;
    while let Some(schedule) = open.pop() {
        plays += 1;
        let ending = by_schedule(case, schedule.clone(), None);
        if ending.wrong.is_some() {
            return (plays, Some(schedule));
        }
        if schedule.0.len() >= deviations {
            continue;
        }
        let from = schedule.0.last().map_or(0, |last| last.point as usize + 1);
        for (point, width) in ending.widths.iter().enumerate().skip(from) {
            for choice in 1..u32::from(*width) {
                let mut longer = schedule.clone();
                longer.0.push(Deviation { point: point as u32, choice });
                open.push(longer);
            }
        }
    }
    (plays, None)
}

/// Plays of random plans with random schedules; the first failure.
pub(crate) fn random_plays(mut seeds: impl Iterator<Item = u64>, rule: Option<Rule>) -> Option<(Case, Schedule)> {
    seeds.find_map(|seed| {
        let case = Case::of_seed(seed);
        let ending = play(&case, Chooser::random(Dice(!seed)), rule, false);
        ending.wrong.map(|_| (case, ending.taken))
    })
}

/// Plays of the small cases with random schedules.
fn small_plays(first: u64, count: u64, rule: Option<Rule>) -> Option<(Case, Schedule)> {
    let cases = Case::all_small();
    (first..first + count).find_map(|seed| {
        let case = &cases[seed as usize % cases.len()];
        let ending = play(case, Chooser::random(Dice(seed)), rule, false);
        ending.wrong.map(|_| (case.clone(), ending.taken))
    })
}

/// A play in which the missing rule is missed.
pub(crate) fn find(rule: Rule, budget: u64) -> Option<(Case, Schedule, String)> {
    let found = small_plays(1, budget, Some(rule)).or_else(|| random_plays(1..=budget, Some(rule)));
    let (case, schedule) = found?;
    let schedule = shorten(&case, schedule, Some(rule));
    let words = by_schedule(&case, schedule.clone(), Some(rule)).wrong.unwrap_or_default();
    Some((case, schedule, words))
}

/// The same failure, or another one, with fewer deviations.
fn shorten(case: &Case, mut schedule: Schedule, rule: Option<Rule>) -> Schedule {
    let fails = |schedule: &Schedule| by_schedule(case, schedule.clone(), rule).wrong.is_some();
    let mut index = schedule.0.len();
    while index > 0 {
        index -= 1;
        let mut shorter = schedule.clone();
        shorter.0.remove(index);
        if fails(&shorter) {
            schedule = shorter;
        }
    }
    schedule
}

/// What happened in a play, line by line.
pub(crate) fn story(case: &Case, schedule: &Schedule, rule: Option<Rule>) -> String {
    let ending = play(case, Chooser::scripted(schedule.clone()), rule, true);
    let verdict =
        ending.wrong.map_or_else(|| format!("right: {:?}", ending.outcome), |wrong| format!("WRONG: {wrong}"));
    format!("{}\n{verdict}", ending.trace.join("\n"))
}

/// Tells a failure so that it can be understood and seen again.
pub(crate) fn assert_right(case: &Case, wrong: Option<Schedule>) {
    let Some(schedule) = wrong else { return };
    println!("wrong, before it is shortened: PODTURN_SIM_PLAY='{} {schedule}'", case.name);
    let schedule = shorten(case, schedule, None);
    let told = story(case, &schedule, None);
    panic!(
        "{told}\n\nto see it again: PODTURN_SIM_PLAY='{} {schedule}' cargo test --test simulation -- one_play --nocapture",
        case.name
    );
}

/// A number from the environment.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}
