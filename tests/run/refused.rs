//! What a person sees whose manifest asks for what cannot be had here: the whole of stderr, for one small file a rule.
//!
//! `tests/run/refused/NAME.yaml` is the input of `podturn run`, `NAME.stderr` what it has to print; nothing runs. After a
//! wanted change run with `PODTURN_BLESS=1` and read the difference before it is committed.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

#[test]
fn every_refusal_is_told_as_expected() {
    let cases = cases();
    assert!(cases.len() > 8, "the table is there");
    let wrong: Vec<String> = cases.iter().filter_map(|case| difference(case)).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn difference(yaml: &Path) -> Option<String> {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    command.current_dir(directory()).env_remove("CLICOLOR_FORCE");
    let output = command.arg("run").arg(yaml.file_name().expect("a case has a name")).output().expect("podturn starts");
    let stderr = String::from_utf8(output.stderr).expect("messages are UTF-8");
    assert_eq!(output.status.code(), Some(2), "{}\n{stderr}", yaml.display());
    assert!(output.stdout.is_empty(), "{}", yaml.display());
    let expected = yaml.with_extension("stderr");
    if std::env::var_os("PODTURN_BLESS").is_some() {
        fs::write(&expected, &stderr).expect("the expectation can be written");
    }
    let wanted = fs::read_to_string(&expected).unwrap_or_default();
    (wanted != stderr).then(|| format!("{}\n--- wanted\n{wanted}\n--- got\n{stderr}", yaml.display()))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/refused")
}

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(directory()).expect("the table is there");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    cases
}
