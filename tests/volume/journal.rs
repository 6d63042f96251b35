//! The journal: what a crash leaves of it, and what is not to be believed.

use std::fs;

use podturn::volume::{Durability, Journal, Locked};
use podturn_turn::{Kind, Request};
use podturn_wire::names;

use crate::house::{House, started};

fn open(house: &House) -> (Journal, Vec<podturn_turn::Event>) {
    Journal::open(&house.volume, Durability::Process).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_was_appended_comes_back_in_order() {
    let house = House::new();
    let (mut journal, before) = open(&house);
    assert_eq!(before, []);
    let mut events = vec![started(1), started(2), started(3)];
    events[1].kind = Kind::Requested { request: Request::Cancel };
    journal.append(&events[..2]).expect("there is room");
    journal.append(&events[2..]).expect("there is room");
    drop(journal);
    assert_eq!(open(&house).1, events);
}

/// The journal of a coordinator that died while it wrote, cut at every byte of its last line.
#[test]
fn a_torn_last_line_is_cut_and_work_goes_on() {
    let house = House::new();
    let path = house.path(names::JOURNAL);
    open(&house).0.append(&[started(1), started(2)]).expect("there is room");
    let whole = fs::read(&path).expect("the journal");
    let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    for end in first..whole.len() {
        fs::write(&path, &whole[..end]).expect("our own file");
        let (mut journal, events) = open(&house);
        assert_eq!(events, [started(1)], "cut at {end}");
        journal.append(&[started(2)]).expect("there is room");
        assert_eq!(fs::read(&path).expect("the journal"), whole, "cut at {end}");
    }
}

#[test]
fn a_damaged_line_is_refused_by_file_and_number() {
    let house = House::new();
    let path = house.path(names::JOURNAL);
    open(&house).0.append(&[started(1), started(2), started(3)]).expect("there is room");
    let text = fs::read_to_string(&path).expect("the journal");
    for (damage, line) in [("\"seq\":1", 1), ("\"seq\":2", 2), ("\"seq\":3", 3)] {
        fs::write(&path, text.replace(damage, "\"sq\":0")).expect("our own file");
        let error = Journal::open(&house.volume, Durability::Process).expect_err("it is damaged").to_string();
        assert!(error.contains("journal.jsonl") && error.contains(&format!("line {line} ")), "{error}");
        let after = fs::read_to_string(&path).expect("the journal");
        assert_eq!(after.lines().count(), 3, "what a person may want to look at stays");
    }
}

#[test]
fn a_second_coordinator_is_refused_until_the_first_is_gone() {
    let house = House::new();
    let first = house.volume.lock().expect("nobody holds it");
    assert!(matches!(house.volume.lock(), Err(Locked::Held)));
    drop(first);
    house.volume.lock().expect("nobody holds it any more");
}
