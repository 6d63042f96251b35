//! What a person sees who made a mistake: the whole of stderr, for one small file a rule.
//!
//! `tests/plan/NAME.yaml` is the input of `podturn check`, `NAME.stderr` what it has to print. After a wanted change run
//! with `PODTURN_BLESS=1` and read the difference before it is committed.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/golden.rs"]
mod golden;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

#[test]
fn every_mistake_is_told_as_expected() {
    let files = cases::files(&directory(), ".yaml");
    assert!(files.len() > 50, "the table is there");
    let wrong: Vec<String> = files.iter().filter_map(|case| difference(case)).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

/// A case is refused with exit code 2 and an empty stdout, unless all that it tells of are warnings.
fn difference(yaml: &Path) -> Option<String> {
    let name = yaml.file_name().expect("a case has a name");
    let output = podturn().arg("check").arg(name).output().expect("podturn starts");
    let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
    let only_warnings = stderr.contains(": warning: ") && !stderr.contains("error: ");
    assert_eq!(output.status.code(), Some(if only_warnings { 0 } else { 2 }), "{}\n{stderr}", yaml.display());
    assert_eq!(output.stdout.is_empty(), !only_warnings, "{}", yaml.display());
    golden::difference(&yaml.with_extension("stderr"), &stderr)
}

#[test]
fn what_cannot_be_read_is_said() {
    let table: [(&str, &[u8], &str); 3] = [
        ("missing.yaml", b"", "error: cannot read missing.yaml: No such file or directory (os error 2)\n"),
        ("latin1.yaml", b"steps:\n  caf\xe9: {}\n", "error: latin1.yaml:2: this is not UTF-8 (byte 12)\n"),
        (".", b"", "error: cannot read .: Is a directory (os error 21)\n"),
    ];
    let directory = tempfile::tempdir().expect("a directory for the test");
    for (name, content, stderr) in table {
        if !content.is_empty() {
            fs::write(directory.path().join(name), content).expect("the file can be written");
        }
        podturn().current_dir(directory.path()).args(["check", name]).assert().code(2).stdout("").stderr(stderr);
    }
}

#[test]
fn stdin_is_a_file_too() {
    let output =
        podturn().args(["check", "-"]).write_stdin("steps: {a: {dependsOn: [b]}}").output().expect("it starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("<stdin>:1:25: error: step \"a\" depends on \"b\""), "{stderr}");
}

/// 5 MB of anything are refused by their size, before they are looked at.
#[test]
fn five_megabytes_are_refused_unread() {
    for piece in ["[", "a: ", "- ", "\u{e9}", "steps: {}\n", "\0"] {
        let nonsense = piece.repeat(5_000_000 / piece.len() + 1);
        let output = podturn().args(["check", "-"]).write_stdin(nonsense).output().expect("podturn starts");
        assert_eq!(output.status.code(), Some(2), "{piece:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("error: <stdin> is too large"), "{piece:?}: {stderr}");
    }
}

fn podturn() -> Command {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    command.current_dir(directory()).env_remove("CLICOLOR_FORCE");
    command
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan")
}
