//! `podturn lint`: the table of codes with its documentation, and the command on files, case by case.
//!
//! `docs/lint.md` has a section for each code, with an example. A line of it that begins with `-` triggers the finding, and
//! what begins with `+` is its fix: the example as it was has to have just that code, and the fixed one none.
//!
//! A case is `tests/lint/NAME.yaml` and `NAME.out`: the command, what it prints, and its exit code. To add one, write the
//! input and an output with the command alone; then, as after a wanted change, run with `PODTURN_BLESS=1` and read the
//! difference before it is committed.

#[path = "../support/cases.rs"]
mod cases;
#[path = "../support/golden.rs"]
mod golden;
mod outputs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use podturn::inject::Options;
use podturn::lint::{RULES, lint};
use podturn::plan::{Severity, SourceFile};

/// A section of the documentation.
struct Section {
    code: String,
    title: String,
    level: String,
    bad: String,
    good: String,
}

#[test]
fn every_code_has_its_section_and_every_section_its_code() {
    let sections = sections();
    let listed: Vec<(&str, &str, &str)> = RULES
        .iter()
        .map(|rule| {
            let level = match rule.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Info => "info",
            };
            (rule.code, rule.title, level)
        })
        .collect();
    let written: Vec<(&str, &str, &str)> = sections
        .iter()
        .map(|section| (section.code.as_str(), section.title.as_str(), section.level.as_str()))
        .collect();
    assert_eq!(written, listed, "docs/lint.md and src/lint/codes.rs, in the same order");
}

#[test]
fn each_example_has_just_its_code_and_its_fix_has_none() {
    for section in sections() {
        let codes = codes_in(&section.bad);
        assert_eq!(codes, BTreeSet::from([section.code.clone()]), "{}:\n{}", section.code, section.bad);
        let left = codes_in(&section.good);
        assert!(left.is_empty(), "{} fixed still has {left:?}:\n{}", section.code, section.good);
    }
}

#[test]
fn what_other_rooms_warn_of_has_a_code_of_the_table() {
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    let mut seen = 0;
    for room in ["src/plan", "src/inject"] {
        for file in sources(&package().join(room)) {
            let text = fs::read_to_string(&file).expect("a source file is readable");
            for code in text.split(".code(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(known.contains(code), "{}: {code} is not in src/lint/codes.rs", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "the codes in other rooms were found: {seen}");
}

#[test]
fn every_case_is_told_as_expected() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in cases::files(&package().join("tests/lint"), ".out") {
        let wanted = fs::read_to_string(&path).expect("an expectation is readable");
        let command =
            wanted.lines().next().and_then(|line| line.strip_prefix("$ ")).expect("the first line is the command");
        let got = format!("$ {command}\n{}", told(command));
        wrong.extend(golden::difference(&path, &got));
        count += 1;
    }
    assert!(count >= 5, "the cases are there: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What the command prints, stdout first, and its exit code.
fn told(command: &str) -> String {
    let words: Vec<&str> = command.split(' ').collect();
    assert_eq!(words[0], "podturn");
    let output = podturn(&words[1..]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}exit code {}\n", text(&output.stdout), text(&output.stderr), output.status.code().expect("it ended"))
}

fn podturn(words: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("podturn").expect("the program is built");
    command.args(words).current_dir(package().join("tests/lint")).env("PODTURN_CONFIG", "/dev/null");
    command.output().expect("it runs")
}

fn codes_in(text: &str) -> BTreeSet<String> {
    let linted = lint(&SourceFile::new("example.yaml", text), &Options::default())
        .unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    assert_eq!(linted.pods, 1, "an example has a pod:\n{text}");
    linted.findings.iter().map(|finding| finding.rule.code.to_owned()).collect()
}

fn sections() -> Vec<Section> {
    let text = fs::read_to_string(package().join("docs/lint.md")).expect("the documentation");
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let (code, title) =
                section.lines().next().and_then(|line| line.split_once(": ")).expect("a heading is CODE: title");
            let level = section.split("\nLevel: ").nth(1).and_then(|rest| rest.split('.').next()).expect("a level");
            let example = section.split("```diff\n").nth(1).and_then(|rest| rest.split("```").next());
            let example = example.unwrap_or_else(|| panic!("{code} has an example"));
            let with = |sign: char| -> String {
                let lines = example.lines().filter(|line| line.starts_with([' ', sign]) || line.is_empty());
                lines.map(|line| format!("{}\n", line.get(1..).unwrap_or_default())).collect()
            };
            let (bad, good) = (with('-'), with('+'));
            Section { code: code.to_owned(), title: title.to_owned(), level: level.to_owned(), bad, good }
        })
        .collect()
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of ours can be listed") {
        let path = entry.expect("a directory of ours can be listed").path();
        if path.is_dir() { found.extend(sources(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
