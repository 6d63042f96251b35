//! `state.json`: it fits its schema at every moment of a run, and comes back as it was.

use std::fs;

use podturn::volume::published::{State, WallClock, state_schema};
use podturn_turn::{Event, Kind, State as Core, StepId};
use podturn_wire::{Ended, Exit, InstanceId, Usage, names};
use serde_json::Value;

use crate::house::House;

const BOOTTIME: u64 = 1_000_000_000;
/// 2026-01-02T03:04:05Z.
const REALTIME: u64 = 1_767_323_045_000_000_000;

/// One failed attempt of `build`, which makes `test` Omitted, and `report` run.
fn story() -> Vec<Kind> {
    let instance = InstanceId(9);
    let arrived = |step| Kind::Arrived { step, instance, report: 1, last: None, references: Vec::new() };
    let ended = |step, exit| {
        let usage = Usage { cpu: 12, max_rss: 3400 };
        let ended = Ended { at: BOOTTIME + 1_500_000_000, exit, timed_out: false, usage };
        Kind::Ended { step, instance, report: 3, attempt: 1, started_at: BOOTTIME, ended }
    };
    let begun = |step| Kind::Begun { step, instance, report: 2, attempt: 1, started_at: BOOTTIME };
    let (build, report) = (StepId(0), StepId(2));
    vec![
        Kind::CoordinatorStarted { rebooted: false },
        arrived(build),
        arrived(report),
        begun(build),
        ended(build, Exit::Signal { number: 9, oom: false }),
        begun(report),
        ended(report, Exit::Code(0)),
    ]
}

#[test]
fn the_state_fits_its_schema_at_every_moment_and_comes_back() {
    let house = House::new();
    let validator = jsonschema::validator_for(&state_schema().to_value()).expect("the schema is one");
    let clock = WallClock { boottime: BOOTTIME, realtime: REALTIME };
    let mut core = Core::new(house.run.plan.clone(), house.run.run);
    for (seq, kind) in (1..).zip(story()) {
        core.next(&Event { seq, at: BOOTTIME + (seq - 1) * 1_000_000_000, kind }).expect("the story is possible");
        let state = State::of(&core, clock);
        house.volume.publish(&state).expect("there is room");
        let text = fs::read_to_string(house.path(names::STATE)).expect("the state");
        let value: Value = serde_json::from_str(&text).expect("it is JSON");
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{text}\n{}", errors.join("\n"));
        assert_eq!(serde_json::from_str::<State>(&text).expect("it is a state"), state);
        assert!(!text.contains("null"), "what there is nothing to say of is not there: {text}");
    }
    let end: Value = serde_json::to_value(State::of(&core, clock)).expect("it is JSON");
    assert_eq!(end["outcome"], "Failed");
    assert_eq!(end["startedAt"], "2026-01-02T03:04:05.000Z");
    let build = &end["steps"][0];
    assert_eq!((&build["phase"], &build["reason"]), (&"Failed".into(), &"Signal".into()));
    assert_eq!((&build["exitCode"], &build["containerExitCode"]), (&137.into(), &137.into()));
    assert_eq!(build["durationMs"], 1500);
    assert_eq!(build["endedAt"], "2026-01-02T03:04:06.500Z");
    assert_eq!(build["attempts"][0]["signal"], 9);
    assert_eq!(build["attempts"][0]["maxRssKib"], 3400);
    assert_eq!((&end["steps"][1]["phase"], end["steps"][1].get("exitCode")), (&"Omitted".into(), None));
    assert_eq!(end["steps"][2]["phase"], "Succeeded");
}
