//! A stdout that takes nothing: a full disk, a reader that has gone.

use std::fs::File;
use std::process::{Command, Stdio};

/// Commands that show something, with what they show it of.
const SHOW: [&[&str]; 12] = [
    &["check", "manifests/quickstart.yaml"],
    &["graph", "manifests/quickstart.yaml"],
    &["rehearse", "manifests/quickstart.yaml"],
    &["rehearse", "manifests/quickstart.yaml", "--each-failure"],
    &["rehearse", "manifests/quickstart.yaml", "--report", "-"],
    &["lint", "manifests/quickstart.yaml"],
    &["export", "--to", "argo", "--lossy", "manifests/quickstart.yaml"],
    &["inject", "--diff", "manifests/quickstart.yaml"],
    &["inject", "manifests/quickstart.yaml"],
    &["policy"],
    &["schema", "plan"],
    &["completions", "bash"],
];

fn told(arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podturn"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdout(stdout).env_remove("PODTURN_CONFIG");
    let ended = command.stderr(Stdio::piped()).output().expect("podturn starts");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn a_full_disk_is_a_failure_that_is_said() {
    for arguments in SHOW {
        let full = File::options().write(true).open("/dev/full").expect("full(4)");
        let (code, said) = told(arguments, full.into());
        assert_eq!(code, Some(125), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to stdout: No space"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_reader_that_has_read_enough_hears_no_complaint() {
    for arguments in SHOW {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (code, said) = told(arguments, writer.into());
        assert_eq!(code, Some(125), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("stdout"), "{arguments:?}: {said}");
    }
}
