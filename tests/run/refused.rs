//! What a person sees whose manifest asks for what cannot be had here: the whole of stderr, for one small file a rule.
//!
//! `tests/run/refused/NAME.yaml` is the input of `podturn run`, `NAME.stderr` what it has to print; nothing runs. After a
//! wanted change run with `PODTURN_BLESS=1` and read the difference before it is committed.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

use super::{cases, golden};

#[test]
fn every_refusal_is_told_as_expected() {
    let files = cases::files(&directory(), ".yaml");
    assert!(files.len() > 8, "the table is there");
    let wrong: Vec<String> = files.iter().filter_map(|case| difference(case)).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n\n{}", wrong.len(), files.len(), wrong.join("\n"));
}

fn difference(yaml: &Path) -> Option<String> {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    command.current_dir(directory()).env_remove("CLICOLOR_FORCE");
    let output = command.arg("run").arg(yaml.file_name().expect("a case has a name")).output().expect("podturn starts");
    let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{}\n{stderr}", yaml.display());
    assert!(output.stdout.is_empty(), "{}", yaml.display());
    golden::difference(&yaml.with_extension("stderr"), &stderr)
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/refused")
}
