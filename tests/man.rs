//! The man pages that `podturn man` writes: one a command, and nothing in them that formatters warn of.

#![expect(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

fn podturn(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_podturn")).args(arguments).output().expect("podturn is executable");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn pages() -> TempDir {
    let place = TempDir::new().expect("a directory for temporary files");
    podturn(&["man", &place.path().join("man1").to_string_lossy()]);
    place
}

fn names(place: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(place.join("man1")).expect("it was made").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_command_of_the_help_has_a_page_and_nothing_else_has() {
    let help = podturn(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let is_head = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let commands = commands.lines().filter(is_head).filter_map(|line| line.split_whitespace().next());
    let mut wanted: BTreeSet<String> =
        commands.filter(|name| *name != "help").map(|name| format!("podturn-{name}.1")).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    wanted.insert("podturn.1".to_owned());
    assert_eq!(names(pages().path()), wanted);
}

#[test]
fn a_page_says_what_the_help_says() {
    let place = pages();
    let page = fs::read_to_string(place.path().join("man1/podturn-watch.1")).expect("it is there");
    for wanted in [".TH podturn-watch 1 ", "\\-\\-from\\-logs", ".SH NOTES", "kubectl exec \\-it POD"] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    assert!(page.is_ascii());
}

/// Runs a formatter on all pages; `None`, said aloud: it is not there.
fn check(program: &str, arguments: &[&str], place: &Path) -> Option<Output> {
    let pages = names(place).into_iter().map(|name| place.join("man1").join(name));
    match Command::new(program).args(arguments).args(pages).env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("not tested: {program}: {error}");
            None
        }
    }
}

#[test]
fn formatters_find_nothing() {
    let place = pages();
    if let Some(found) = check("mandoc", &["-T", "lint", "-W", "warning"], place.path()) {
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "mandoc");
        assert!(found.status.success());
    }
    if let Some(found) = check("groff", &["-man", "-T", "utf8", "-ww"], place.path()) {
        assert_eq!(String::from_utf8_lossy(&found.stderr), "", "groff");
        assert!(found.status.success());
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(text.contains('○') && text.contains('⊘'), "signs are signs");
    }
}
