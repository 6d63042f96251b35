//! `podturn graph` of a plan and of a run, in each of its forms, against `tests/graph/pipeline.*` and `tests/graph/run.*`; and what makes
//! large plans legible.
//!
//! `tests/graph/run.log` is what the coordinator of a run had said when seven of its ten steps had been decided in one way or another.
//!
//! `PODTURN_BLESS=1 cargo test --test graph` writes the files anew. Read what has changed before you commit it.

#[path = "support/golden.rs"]
mod golden;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

fn podturn() -> Command {
    let mut podturn = Command::new(env!("CARGO_BIN_EXE_podturn"));
    podturn.env_remove("PODTURN_VOLUME").env_remove("COLUMNS").env_remove("CLICOLOR_FORCE").env("LC_ALL", "C.UTF-8");
    podturn
}

fn graph(plan: &str, arguments: &[&str]) -> String {
    let ended = podturn().arg("graph").arg("-").args(arguments).write_stdin(plan).output().expect("podturn runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("it is UTF-8")
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graph").join(name)
}

/// Each form: the end of its file's name, and how it is asked for.
const FORMS: [(&str, &[&str]); 5] = [
    ("txt", &[]),
    ("ascii.txt", &["--ascii"]),
    ("mmd", &["-o", "mermaid"]),
    ("dot", &["-o", "dot"]),
    ("svg", &["-o", "svg"]),
];

#[track_caller]
fn compare(name: &str, drawn: &str) {
    if let Some(difference) = golden::difference(&file(name), drawn) {
        panic!("{difference}");
    }
}

#[test]
fn a_plan_is_drawn_as_expected_in_every_form() {
    let plan = fs::read_to_string(file("pipeline.yaml")).expect("the plan");
    for (end, arguments) in FORMS {
        compare(&format!("pipeline.{end}"), &graph(&plan, arguments));
    }
}

/// What `podturn graph` draws of the run, in colour or not.
fn graph_of_run(arguments: &[&str]) -> String {
    let ended = podturn().args(["graph", "--from-logs"]).arg(file("run.log")).args(arguments).output();
    let ended = ended.expect("podturn runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).expect("it is UTF-8")
}

#[test]
fn a_run_is_drawn_with_its_phases_in_every_form() {
    for (end, arguments) in FORMS {
        compare(&format!("run.{end}"), &graph_of_run(arguments));
    }
    for text in [graph_of_run(&[]), graph_of_run(&["--ascii"])] {
        assert!(text.lines().all(|line| line.chars().count() <= 80), "what the signs mean has room too\n{text}");
    }
}

/// Each phase is a sign and a colour: whoever sees no colours reads the same.
#[test]
fn the_phases_of_a_run_are_signs_and_colours() {
    let (text, mermaid, svg) =
        (graph_of_run(&["--color", "always"]), graph_of_run(&["-o", "mermaid"]), graph_of_run(&["-o", "svg"]));
    for (step, phase, sign, escapes, class) in [
        ("build", "Succeeded", "✓", "\x1b[32m", "good"),
        ("lint", "Failed", "✗", "\x1b[1m\x1b[31m", "bad"),
        ("db", "Ready", "●", "\x1b[34m", "active"),
        ("itest", "Running", "▶", "\x1b[34m", "active"),
        ("docs", "Skipped", "»", "\x1b[2m", "none"),
        ("rescue", "Omitted", "–", "\x1b[2m", "none"),
        ("unit", "Backoff", "↻", "\x1b[33m", "waiting"),
        ("sign", "Awaiting", "?", "\x1b[33m", "waiting"),
    ] {
        let line = text.lines().find(|line| line.contains(&format!(" {step} "))).expect("a line a step");
        assert!(line.contains(&format!("{escapes}{sign}\x1b[0m")) && line.contains(phase), "{step}: {line:?}");
        let node = mermaid.lines().find(|line| line.contains(&format!("\"{sign} {step}\""))).expect("a node a step");
        assert!(node.ends_with(&format!(":::{class}")), "{node}");
        assert!(mermaid.contains(&format!("classDef {class} fill:#")), "{mermaid}");
        let group = svg.lines().find(|line| line.contains(&format!(">{step}</text>"))).expect("a group a step");
        assert!(group.contains(&format!("p-{phase}")) && group.contains(&format!(">{sign}</text>")), "{group}");
        assert!(svg.contains(&format!(".graph .p-{phase} > rect")), "{phase} has a colour");
    }
    let plain: String = anstream::adapter::strip_str(&text).to_string();
    assert_eq!(plain, graph_of_run(&["--color", "never"]), "the colours are all that is different");
    assert_eq!(plain, graph_of_run(&[]), "and there are none in a pipe");
}

/// locale(7): the first of the three that is set decides, and an empty one is not set.
#[test]
fn without_unicode_in_the_locale_there_is_none_in_the_picture() {
    let [unicode, ascii] = ["run.txt", "run.ascii.txt"].map(|name| fs::read_to_string(file(name)).expect("a picture"));
    assert!(ascii.is_ascii() && !unicode.is_ascii());
    for (all, kind, lang, drawn) in [
        ("C", "", "", &ascii),
        ("POSIX", "C.UTF-8", "C.UTF-8", &ascii),
        ("", "", "C", &ascii),
        ("", "de_DE.ISO-8859-1", "C.UTF-8", &ascii),
        ("", "", "", &unicode),
        ("", "", "de_DE.utf8", &unicode),
        ("C.UTF-8", "C", "C", &unicode),
    ] {
        let mut podturn = podturn();
        podturn.env("LC_ALL", all).env("LC_CTYPE", kind).env("LANG", lang);
        let ended = podturn.args(["graph", "--from-logs"]).arg(file("run.log")).output().expect("podturn runs");
        assert_eq!(&String::from_utf8_lossy(&ended.stdout), drawn, "LC_ALL={all} LC_CTYPE={kind} LANG={lang}");
    }
}

/// A build, 50 test legs, a gate, 50 more, ...: what a matrix makes.
fn matrix(stages: usize, legs: usize) -> String {
    let mut plan = String::from("steps:\n  gate-0: {}\n");
    for stage in 0..stages {
        let names: Vec<String> = (0..legs).map(|leg| format!("leg-{stage}-{leg}")).collect();
        names.iter().for_each(|name| {
            let _ = writeln!(plan, "  {name}: {{ dependsOn: [gate-{stage}] }}");
        });
        let _ = writeln!(plan, "  gate-{}: {{ dependsOn: [{}] }}", stage + 1, names.join(", "));
    }
    plan
}

#[test]
fn three_hundred_steps_fit_a_terminal_and_a_screen() {
    let plan = matrix(6, 49);
    let text = graph(&plan, &[]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!((0..49).all(|leg| text.contains(&format!("○ leg-5-{leg}"))), "every step is there\n{text}");

    let svg = graph(&plan, &["-o", "svg"]);
    assert_eq!(svg.matches("class=\"edge\"").count(), 12, "one edge for all the legs of a stage");
    let size = |name: &str| {
        let rest = svg.split(&format!(" {name}=\"")).nth(1).expect("the picture has a size");
        rest.split('"').next().and_then(|size| size.parse::<u32>().ok()).expect("in px")
    };
    assert!(size("width") <= 1_600 || size("height") <= 1_600, "{} x {}", size("width"), size("height"));
}

#[test]
fn a_long_chain_goes_downwards() {
    let names: Vec<String> = (0..300).map(|step| format!("step-{step}")).collect();
    let svg = graph(&format!("steps: [{}]", names.join(", ")), &["-o", "svg"]);
    let width = svg.split(" width=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the picture has a width");
    assert!(width.parse::<u32>().expect("in px") < 200, "{width}");
}

#[test]
fn an_edge_that_others_imply_is_not_drawn_but_one_with_a_condition_of_its_own_is() {
    let plan =
        "steps:\n  a: {}\n  b: { dependsOn: [a] }\n  c: { dependsOn: [a, b] }\n  d: { dependsOn: [b, a: Completed] }\n";
    let mermaid = graph(plan, &["-o", "mermaid"]);
    let edges: Vec<&str> = mermaid.lines().filter(|line| line.contains("-->")).map(str::trim).collect();
    assert_eq!(edges, ["s0 --> s1", "s1 --> s2", "s1 --> s3", "s0 -->|Completed| s3"]);
    assert!(graph(plan, &[]).starts_with("4 steps, without 1 edge that others imply\n"));
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let ended =
        podturn().args(["graph", "-"]).write_stdin("steps: { a: { dependsOn: [a] } }").output().expect("it runs");
    assert_eq!(ended.status.code(), Some(2));
    let ended = podturn().args(["graph", "--volume", "/nonexistent"]).output().expect("it runs");
    assert_eq!(ended.status.code(), Some(2), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// In a coordinator's container, or in somebody's profile, the variable is always set.
#[test]
fn a_variable_that_names_a_volume_does_not_stand_against_a_file() {
    let plan = fs::read_to_string(file("pipeline.yaml")).expect("the plan");
    let by_variable = || {
        let mut podturn = podturn();
        podturn.env("PODTURN_VOLUME", "/nowhere").arg("graph");
        podturn
    };
    let ended = by_variable().arg("-").write_stdin(plan).output().expect("podturn runs");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let ended = by_variable().args(["--from-logs", "-"]).write_stdin("").output().expect("podturn runs");
    assert!(!String::from_utf8_lossy(&ended.stderr).contains("cannot be used with"), "the log is what is asked for");
    let ended = by_variable().output().expect("podturn runs");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("/nowhere"), "without either the variable says where");
}
