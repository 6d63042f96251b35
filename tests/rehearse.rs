//! `podturn rehearse`, as a person sees it: each `tests/rehearse/*.txt` is a command line and all that it prints. `manifest-*.txt` are
//! of those in `manifests/` that people start from, as they are and when something fails.
//!
//! `PODTURN_BLESS=1 cargo test --test rehearse` writes the files anew. Read what has changed before you commit it.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/golden.rs"]
mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rehearse")
}

fn rehearse(arguments: &[&str]) -> Output {
    let mut podturn = Command::new(env!("CARGO_BIN_EXE_podturn"));
    podturn.current_dir(place()).arg("rehearse").args(arguments).output().expect("podturn runs")
}

/// What the command of the first line prints: stdout, stderr, and the exit code.
fn told(command: &str) -> String {
    let words: Vec<&str> = command.split_whitespace().collect();
    let ["$", "podturn", "rehearse", arguments @ ..] = words.as_slice() else {
        panic!("the first line is `$ podturn rehearse ...`: {command}")
    };
    let ended = rehearse(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is UTF-8");
    let code = ended.status.code().expect("it ends by itself");
    format!("{command}\n{}{}exit code {code}\n", text(ended.stdout), text(ended.stderr))
}

#[test]
fn every_rehearsal_goes_as_expected() {
    let stories = cases::files(&place(), ".txt");
    assert!(stories.len() >= 30, "they are there: {stories:?}");
    let mut wrong = Vec::new();
    for story in stories {
        let wanted = fs::read_to_string(&story).expect("a story");
        let got = told(wanted.lines().next().expect("a command"));
        wrong.extend(golden::difference(&story, &got));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_number_draws_the_same_run_and_another_one_does_not() {
    let drawn = |seed| rehearse(&["release.yaml", "--seed", seed]).stdout;
    assert_eq!(drawn("7"), drawn("7"));
    assert_ne!(drawn("7"), drawn("8"));
}

#[test]
fn the_page_of_a_rehearsal_says_that_nothing_was_run() {
    let page = rehearse(&["release.yaml", "--fail", "build=3", "-o", "-"]).stdout;
    let page = String::from_utf8(page).expect("it is UTF-8");
    for told in ["<!doctype html>", "Nothing was run", "its command ended with code 3", "id=\"timeline\""] {
        assert!(page.contains(told), "{told}\n{page}");
    }
    assert!(!page.contains("podturn run <code>") && !page.contains("<dt>Started</dt>"), "{page}");

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("page.html");
    let ended = rehearse(&["release.yaml", "--fail", "build=3", "-o", file.to_str().expect("it is UTF-8")]);
    assert!(ended.stdout.starts_with(b"A rehearsal"), "the table is printed too");
    assert_eq!(fs::read_to_string(file).expect("it is written"), page);
}
