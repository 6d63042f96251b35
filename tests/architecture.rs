//! The walls of the house: dependencies between the rooms point downwards only (`ARCHITECTURE.md`).
//!
//! The three crates `wire`, `turn` and `shim` are guarded by the compiler. This test guards the rooms of the root
//! package by reading their `use` lines and paths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each room may reach, directly. `wire` and `turn` are crates below all of these.
const MAY_USE: &[(&str, &[&str])] = &[
    ("when", &[]),
    ("trace", &[]),
    ("plan", &["when"]),
    ("images", &["plan"]),
    ("volume", &[]),
    ("process", &[]),
    ("probe", &[]),
    ("coordinator", &["when", "trace", "volume", "process", "probe"]),
    ("control", &["coordinator", "volume"]),
    ("inject", &["plan", "images"]),
    ("lint", &["when", "plan", "inject"]),
    ("export", &["when", "plan", "inject"]),
    ("history", &["volume"]),
    ("rehearsal", &["when", "history"]),
    ("view", &["plan", "trace", "volume", "history"]),
    ("page", &["volume", "process", "history", "view", "control"]),
    ("local", &["plan", "inject", "coordinator", "volume", "process", "probe"]),
    ("engine", &["plan", "inject", "history", "local", "volume"]),
    (
        "cli",
        &[
            "engine",
            "plan",
            "images",
            "volume",
            "process",
            "coordinator",
            "control",
            "inject",
            "export",
            "lint",
            "history",
            "trace",
            "rehearsal",
            "view",
            "page",
            "local",
        ],
    ),
];

#[test]
fn every_room_reaches_only_the_rooms_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, below) in MAY_USE {
        for file in sources(&root().join(room)) {
            let text = fs::read_to_string(&file).expect("a source file of ours is readable");
            for (number, line) in text.lines().enumerate() {
                for target in rooms_named_in(line) {
                    if target != *room && allowed.contains_key(target) && !below.contains(&target) {
                        wrong.push(format!("{}:{}: {room} reaches {target}", file.display(), number + 1));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_test_knows_every_room() {
    let known: Vec<&str> = MAY_USE.iter().map(|(room, _)| *room).chain(["wire", "turn", "shim"]).collect();
    for entry in fs::read_dir(root()).expect("src is a directory") {
        let entry = entry.expect("src can be listed");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        if entry.path().is_dir() {
            assert!(known.contains(&name.as_str()), "room {name} is not in MAY_USE");
        }
    }
}

#[test]
fn an_arrow_is_seen_in_every_spelling() {
    let spellings = [
        "use crate::volume::Journal;",
        "use crate::{plan::Plan, volume};",
        "    let j = crate::volume::Journal::open();",
        "    pub(crate) use crate::volume as v;",
    ];
    for line in spellings {
        assert!(rooms_named_in(line).contains(&"volume"), "{line}");
    }
    assert!(rooms_named_in("// see crate::volume").is_empty(), "a comment is no arrow");
}

/// The table of invariants in `ARCHITECTURE.md` names files and, after each of them, tests in it.
#[test]
fn every_test_that_an_invariant_names_is_there() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(package.join("ARCHITECTURE.md")).expect("the map of the code");
    let table = text.split("## The invariants").nth(1).expect("the table of invariants");
    let (mut named, mut source) = (0, String::new());
    for row in table.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()) {
        let tests = row.split(" | ").nth(1).expect("a column of tests");
        for name in tests.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                source = fs::read_to_string(package.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            } else {
                assert!(source.contains(&format!("fn {name}(")), "ARCHITECTURE.md names {name}, and it is gone");
                named += 1;
            }
        }
    }
    assert!(named >= 20, "the table was read: {named}");
}

/// The last column of the tables in `docs/semantics.md` names a file, and after it stories (`*title*`) or tests in it; a golden file
/// (`.stderr`) stands for itself.
#[test]
fn every_test_that_a_rule_names_is_there() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(package.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut rules, mut wrong) = (0, Vec::new());
    for row in read("docs/semantics.md").lines().filter(|line| line.starts_with("| ")) {
        let [rule, _, shown] = row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>()[..] else {
            panic!("three columns: {row}");
        };
        if rule == "---" || shown == "shown by" {
            continue;
        }
        let (mut source, mut named) = (String::new(), 0);
        for name in quoted(shown) {
            match name {
                Quoted::Code(file) if file.ends_with(".txt") => {
                    source = read(&format!("src/turn/tests/stories/{file}"));
                    continue;
                }
                Quoted::Code(file) if file.ends_with(".rs") => {
                    source = read(file);
                    continue;
                }
                Quoted::Code(golden) if golden.ends_with(".stderr") => drop(read(golden)),
                Quoted::Code(test) if source.contains(&format!("fn {test}(")) => {}
                Quoted::Title(title) if source.lines().any(|line| line.strip_prefix("== ") == Some(title)) => {}
                Quoted::Code(gone) | Quoted::Title(gone) => {
                    wrong.push(format!("`{rule}` names `{gone}`, and it is gone"))
                }
            }
            named += 1;
        }
        if named == 0 {
            wrong.push(format!("`{rule}` names no test"));
        }
        rules += 1;
    }
    assert!(wrong.is_empty(), "docs/semantics.md:\n{}", wrong.join("\n"));
    assert!(rules >= 80, "the tables were read: {rules}");
}

enum Quoted<'t> {
    /// In backquotes.
    Code(&'t str),
    /// Between asterisks; may have backquotes in it.
    Title(&'t str),
}

fn quoted(text: &str) -> Vec<Quoted<'_>> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(['*', '`']) {
        let mark = &rest[at..=at];
        let (name, after) = rest[at + 1..].split_once(mark).unwrap_or_else(|| panic!("{mark} is closed: {text}"));
        found.push(if mark == "*" { Quoted::Title(name) } else { Quoted::Code(name) });
        rest = after;
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The first path segments after `crate::` in a line, those of a braced list included.
fn rooms_named_in(line: &str) -> Vec<&str> {
    let code = line.split("//").next().unwrap_or("");
    let mut rooms = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(list.split(',').map(|item| first_segment(item.trim()))),
            None => rooms.push(first_segment(rest)),
        }
    }
    rooms
}

fn first_segment(path: &str) -> &str {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.expect("a room can be listed").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
