//! Stories: one rule each, as text. A story is a plan and what happens to it; below each event stands what the core
//! makes of it. `tests/script/mod.rs` says how to read and write one.
//!
//! `PODTURN_REWRITE=1 cargo test -p podturn-turn --test stories` writes what the core says into the files. Read the
//! difference before you commit it.

mod script;

use std::path::PathBuf;

fn run(file: &str) {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "stories", file].iter().collect();
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let actual = script::play(&expected);
    if actual == expected {
        return;
    }
    if std::env::var_os("PODTURN_REWRITE").is_some() {
        std::fs::write(&path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    for (number, (was, is)) in expected.lines().zip(actual.lines()).enumerate() {
        assert_eq!(is, was, "{file}:{}: the core says (left) what the story does not (right)", number + 1);
    }
    panic!("{file}: the core says more or less than the story:\n{actual}");
}

macro_rules! stories {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { run(concat!(stringify!($name), ".txt")); })*

        #[test]
        fn every_file_is_played() {
            let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "stories"].iter().collect();
            let mut found: Vec<String> = std::fs::read_dir(directory)
                .expect("the stories are there")
                .map(|entry| entry.expect("a directory entry").file_name().to_string_lossy().into_owned())
                .collect();
            let mut played = vec![$(concat!(stringify!($name), ".txt").to_string()),*];
            found.sort();
            played.sort();
            assert_eq!(found, played);
        }
    };
}

stories![
    attempts,
    cancelling,
    conditions,
    containers,
    failures,
    finally,
    interruptions,
    person,
    questions,
    reboots,
    retries,
    services,
    slots,
    timeouts
];
