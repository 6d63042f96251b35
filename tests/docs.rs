//! The pages: every link leads somewhere, every path that is named is there, and every command that is shown is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages with their texts, by their paths in the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let directories = ["", "docs", "manifests"].map(|directory| fs::read_dir(package().join(directory)));
    let files = directories.into_iter().flat_map(|directory| directory.expect("it is there"));
    let files =
        files.map(|entry| entry.expect("a file").path()).filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages: BTreeMap<PathBuf, String> = files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("it is UTF-8");
            (path.strip_prefix(package()).expect("it is in the package").to_owned(), text)
        })
        .collect();
    assert!(pages.len() >= 20, "they are there: {:?}", pages.keys());
    pages
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_fence && !is_code
    })
}

/// What stands between single back-quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for (page, text) in &pages {
        let links = prose(text).flat_map(|line| line.split("](").skip(1)).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains("://")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => page.clone(),
                file => page.with_file_name(file),
            };
            let is_there = package().join(&to).exists();
            // `docs/../README.md` is a page too.
            let whole = package().join(&to).canonicalize().unwrap_or_default();
            let target =
                whole.strip_prefix(package().canonicalize().expect("the package")).ok().and_then(|to| pages.get(to));
            let has_heading = heading.is_empty() || target.is_some_and(|text| anchors(text).contains(heading));
            if !is_there || !has_heading {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn every_path_that_is_named_is_there() {
    let ours = ["src/", "tests/", "docs/", "images/", "benches/", "manifests/", ".ci/"];
    let mut wrong = Vec::new();
    for (page, text) in pages() {
        let words = quoted(&text).filter_map(|words| words.split(' ').next());
        let paths = words.filter(|word| ours.iter().any(|room| word.starts_with(room)));
        for path in paths.filter(|path| !path.contains("NAME") && !path.contains('*')) {
            if !package().join(path).exists() {
                wrong.push(format!("{}: {path}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these are not there:\n{}", wrong.join("\n"));
}

/// `--help` of a command of podturn's; `None`: there is no such command.
fn help(verb: &str) -> Option<String> {
    let asked = Command::new(env!("CARGO_BIN_EXE_podturn")).args([verb, "--help"]).output().expect("podturn starts");
    asked.status.success().then(|| String::from_utf8_lossy(&asked.stdout).into_owned())
}

/// Commands of podturn's in a text: what follows the program's name, up to the end of the line or of the command.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let code = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    let all = code.chain(quoted(text)).map(str::trim_start);
    let begun = all.filter_map(|line| line.strip_prefix("$ ").unwrap_or(line).strip_prefix("podturn "));
    begun
        .map(|command| {
            let end = command.find(['|', '#', ';', '>', '&', '`', '(', ',']).unwrap_or(command.len());
            command[..end].split_whitespace().take_while(|word| *word != "--").collect()
        })
        .collect()
}

#[test]
fn every_command_that_is_shown_is_one_and_has_its_options() {
    let mut helps: BTreeMap<String, Option<String>> = BTreeMap::new();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (page, text) in pages() {
        for command in commands(&text) {
            let [verb, words @ ..] = command.as_slice() else { continue };
            // A word in capitals, a placeholder, or the kind of a sentence that is no command.
            if !verb.starts_with(|c: char| c.is_ascii_lowercase()) {
                continue;
            }
            count += 1;
            let options = words.iter().filter(|word| word.starts_with("--"));
            match helps.entry((*verb).to_owned()).or_insert_with(|| help(verb)) {
                None => wrong.push(format!("{}: there is no podturn {verb}", page.display())),
                Some(help) => {
                    let known = |option: &str| help.split([' ', '\n', '=', '[', ',']).any(|word| word == option);
                    let unknown = options
                        .map(|option| option.split(['=', '[', ']']).next().unwrap_or(option))
                        .filter(|option| !known(option));
                    wrong.extend(unknown.map(|option| format!("{}: podturn {verb} has no {option}", page.display())));
                }
            }
        }
    }
    assert!(count > 100, "the pages show commands: {count}");
    assert!(wrong.is_empty(), "these cannot be typed:\n{}", wrong.join("\n"));
}
