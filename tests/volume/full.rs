//! A full volume is a defined end: nothing is half-written, and the reserve has room for the last words.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use nix::errno::Errno;
use podturn::volume::published::{State, WallClock};
use podturn::volume::{Durability, Journal};
use podturn_turn::{Event, Kind, State as Core};
use podturn_wire::{MESSAGE_MAX, Text, Then, names};

use crate::house::{House, STEPS, plan, started};
use crate::small_volume::on_a_small_volume;

/// Takes all the room that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("an inode is free");
    while file.write(&[1; 4096]).is_ok() {}
}

fn long_event(seq: u64) -> Event {
    let process = podturn_turn::Process { pid: 1, start_ticks: 2, session: None, cgroup: Some("x".repeat(9000)) };
    let (step, instance) = (STEPS[0], podturn_wire::InstanceId(1));
    Event { seq, at: seq, kind: Kind::Connected { step, instance, process } }
}

#[test]
fn a_write_that_does_not_fit_is_undone_and_the_reserve_has_room_for_the_end() {
    on_a_small_volume("512k", |path| {
        let house = House::at(path);
        let (mut journal, _) = Journal::open(&house.volume, Durability::Process).expect("there is room");
        journal.append(&[started(1)]).expect("there is room");
        let before = fs::read(house.path(names::JOURNAL)).expect("the journal");
        fill(&house.path("ballast"));

        let error = journal.append(&[started(2), long_event(3)]).expect_err("there is no room");
        assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32), "{error}");
        assert_eq!(fs::read(house.path(names::JOURNAL)).expect("the journal"), before, "all or nothing");

        journal.release_reserve();
        journal.append(&[Event { kind: Kind::VolumeFull, ..started(2) }]).expect("the reserve is for this");
        let mailboxes = house.mailboxes();
        for step in STEPS {
            let mut turn = mailboxes.read_turn(step).expect("a turn").expect("the first one");
            turn.then = Then::Exit { code: 1, message: Text::truncated(&"m".repeat(MESSAGE_MAX)) };
            mailboxes.write_turn(step, &turn).expect("the reserve is for this");
            assert_eq!(mailboxes.read_turn(step).expect("a turn"), Some(turn));
        }
        drop(journal);
        let (_, events) = Journal::open(&house.volume, Durability::Process).expect("it is whole");
        assert_eq!(events.len(), 2);
    });
}

/// What could not be published must not take the room that is kept for the journal.
#[test]
fn a_view_that_does_not_fit_leaves_the_old_one_and_no_rubbish() {
    on_a_small_volume("512k", |path| {
        let house = House::at(path);
        let clock = WallClock { boottime: 0, realtime: 0 };
        let small = State::of(&Core::new(house.run.plan.clone(), house.run.run), clock);
        house.volume.publish(&small).expect("there is room");
        let before = fs::read(house.path(names::STATE)).expect("the state");
        let steps: Vec<String> = (0..4000).map(|number| format!("step-{number}")).collect();
        let large = State::of(&Core::new(plan(&format!("steps: [{}]", steps.join(", "))), house.run.run), clock);
        let error = house.volume.publish(&large).expect_err("there is no room");
        assert_eq!(error.error.raw_os_error(), Some(Errno::ENOSPC as i32), "{error}");
        assert_eq!(fs::read(house.path(names::STATE)).expect("the state"), before);
        assert!(!house.path(".state.json.new").exists(), "the room is free again");
        fs::write(house.path("other"), [1; 64 * 1024]).expect("the room is free again");
    });
}
