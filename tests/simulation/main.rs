//! The protocol as a whole, simulated: the real shim and the real coordinator, in a pod of which every call is a place where
//! somebody else may act or something go wrong.
//!
//! `case.rs` is what is played, `pod.rs` what exists, `shim.rs`, `desk.rs` and `sight.rs` the two sides' system calls, `play.rs` who
//! acts next, `quiet.rs` when nobody has to, `judge.rs` what has to hold, `chooser.rs` how choices are made and repeated, `broken.rs` rules that are
//! taken out so that the judge has something to find. Cases whose names end with `-file`, and a part of the seeds, have no bells
//! (`--bell file`): shims and coordinator look at each other's register, and the coordinator at locks.
//!
//! A failure is shortened and told with its schedule. To see it again:
//! `PODTURN_SIM_PLAY='two 12:3 40:1' cargo test --test simulation -- one_play --nocapture`. Longer searches:
//! `PODTURN_SIM_FAULTS=2` (deviations of the small cases), `PODTURN_SIM_SEEDS=100000` and `PODTURN_SIM_FIRST_SEED`.

#![expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]

mod broken;
mod case;
mod chooser;
mod desk;
mod judge;
mod play;
mod pod;
mod quiet;
mod search;
mod shim;
mod sight;

use broken::Rule;
use case::Case;
use chooser::Schedule;
use search::{assert_right, every_schedule, number, random_plays};

#[test]
fn nothing_goes_wrong_where_nothing_deviates() {
    for case in Case::all_small() {
        let ending = search::by_schedule(&case, Schedule::default(), None);
        assert_right(&case, ending.wrong.map(|_| ending.taken));
        assert_eq!(ending.outcome, Some(podturn_turn::Outcome::Succeeded), "{}", case.name);
    }
}

fn in_every_order(cases: impl Iterator<Item = Case>) {
    let deviations = number("PODTURN_SIM_FAULTS", 1) as usize;
    for case in cases {
        let (plays, wrong) = every_schedule(&case, deviations);
        println!("{:<14} {plays:>9} plays, every schedule of up to {deviations} deviations", case.name);
        assert_right(&case, wrong);
    }
}

fn with_bells() -> impl Iterator<Item = Case> {
    Case::all_small().into_iter().filter(Case::has_bells)
}

#[test]
fn one_step_in_every_order_with_every_fault() {
    in_every_order(with_bells().filter(|case| case.plan.steps.len() == 1));
}

#[test]
fn two_steps_in_every_order_with_every_fault() {
    in_every_order(with_bells().filter(|case| case.plan.steps.len() == 2));
}

fn in_file_mode() -> impl Iterator<Item = Case> {
    Case::all_small().into_iter().filter(|case| !case.has_bells())
}

#[test]
fn one_step_in_file_mode_in_every_order_with_every_fault() {
    in_every_order(in_file_mode().filter(|case| case.plan.steps.len() == 1));
}

#[test]
#[ignore = "as long as all others together: .ci/nightly"]
fn two_steps_in_file_mode_in_every_order_with_every_fault() {
    in_every_order(in_file_mode().filter(|case| case.plan.steps.len() == 2));
}

/// Plays that showed faults of the coordinator, each of which was mended then.
#[test]
fn what_went_wrong_once_goes_well() {
    let plays = [
        "seed:100270 0:4 2:7 10:15 31:14 53:1 113:1 120:4 130:3 151:2 172:2 178:2 182:3 183:1 255:3 302:6", // called back while what a dead shim left lives
        "seed:101667 2:1 5:1 17:1 19:13 23:3 25:3 31:16 32:1 36:2 37:2 39:1 51:1 63:3 65:1 69:1 75:2 77:1 78:1 79:2 93:1 99:1 100:1 101:2 103:2 106:2 109:1 116:1 117:1 120:1 127:2 129:1 130:2 141:1 146:1 152:1 154:1 162:1 163:1 176:1 179:1 182:1 188:1 189:2", // given up while what it left lives, and the next one remembers
        "seed:306908 37:2 84:1 110:2 120:1 124:1 126:1 161:1 176:6 178:1 185:1", // a death is told by a number that is the next one's by then
    ];
    for play in plays {
        let mut words = play.split_whitespace();
        let case = words.next().and_then(Case::named).expect("a case");
        let schedule = Schedule::parse(words).expect("deviations");
        let ending = search::by_schedule(&case, schedule, None);
        assert_right(&case, ending.wrong.map(|_| ending.taken));
    }
}

/// Those of the seeds whose plans are played in this mode: every second one.
fn at_random(has_bells: bool, otherwise: u64) {
    let seeds = number("PODTURN_SIM_SEEDS", otherwise);
    let first = number("PODTURN_SIM_FIRST_SEED", 1);
    println!("{} plays from PODTURN_SIM_FIRST_SEED={first}", seeds / 2);
    let seeds = (first..first + seeds).filter(|seed| Case::has_seed_bells(*seed) == has_bells);
    if let Some((case, schedule)) = random_plays(seeds, None) {
        assert_right(&case, Some(schedule));
    }
}

#[test]
fn larger_plans_at_random() {
    at_random(true, 1_500);
}

/// Fewer by default: a play in which everybody looks all the time takes five times as long.
#[test]
fn larger_plans_in_file_mode_at_random() {
    at_random(false, 200);
}

#[test]
#[ignore = "some minutes: .ci/nightly"]
fn each_rule_that_is_taken_out_is_missed() {
    let budget = number("PODTURN_SIM_RULE_SEEDS", 2_000);
    // Without these two the end is the same, only later: every later report says what the arrival said, and who has no
    // connection is given up after its windows. Nobody judges how long that took yet.
    let only_later = [Rule::ArrivalUnwritten, Rule::MissingLives];
    let mut missed = Vec::new();
    for rule in Rule::ALL.into_iter().filter(|rule| !only_later.contains(rule)) {
        match search::find(rule, budget) {
            Some((case, schedule, words)) => println!("{rule:?}: {} {schedule}: {words}", case.name),
            None => missed.push(rule),
        }
    }
    assert!(missed.is_empty(), "nobody misses {missed:?}");
}

/// `PODTURN_SIM_PLAY='CASE POINT:CHOICE...'`: one play, told as a story.
#[test]
fn one_play() {
    let Ok(wanted) = std::env::var("PODTURN_SIM_PLAY") else { return };
    let mut words = wanted.split_whitespace();
    let case = words
        .next()
        .and_then(Case::named)
        .expect("a case: one, two, one-restarts, two-restarts, one-deaf, each of them with -file, seed:N");
    let schedule = Schedule::parse(words).expect("deviations: POINT:CHOICE");
    let rule = std::env::var("PODTURN_SIM_RULE").ok();
    let rule = rule.and_then(|name| Rule::ALL.into_iter().find(|rule| format!("{rule:?}") == name));
    println!("{}", search::story(&case, &schedule, rule));
}
