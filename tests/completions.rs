//! The completion scripts that `podturn completions` prints, in the shells that they are for; and what kubectl asks for.

#![expect(clippy::print_stderr, reason = "a test that cannot run here says so")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");

fn script(directory: &Path, shell: &str) -> PathBuf {
    let printed = Command::new(PODTURN).args(["completions", shell]).output().expect("podturn is executable");
    assert!(printed.status.success(), "{printed:?}");
    let file = directory.join(shell);
    std::fs::write(&file, printed.stdout).expect("it can be written");
    file
}

/// What a shell's script prints; `None`: it is not installed, which is said, and is a failure where `CI` is set.
fn said(shell: &str, text: &str) -> Option<String> {
    let output = match Command::new(shell).args(["-c", text]).output() {
        Ok(output) => output,
        Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {shell} is not installed");
            return None;
        }
        Err(error) => panic!("{shell}: {error}"),
    };
    assert!(output.status.success(), "{shell}: {output:?}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn bash_completes_commands_options_and_values() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = script(directory.path(), "bash");
    let told = |words: &[&str]| {
        let (last, before) = words.split_last().expect("words");
        let text = format!(
            "source {}; COMP_WORDS=({} '{last}'); COMP_CWORD={}; _podturn podturn '{last}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            file.display(),
            before.join(" "),
            before.len(),
            before.last().expect("the program")
        );
        said("bash", &text).expect("bash is everywhere")
    };
    assert_eq!(told(&["podturn", "wat"]), "watch\n");
    assert_eq!(told(&["podturn", "graph", "--out"]), "--output\n");
    assert_eq!(told(&["podturn", "graph", "--output", "m"]), "mermaid\n");
}

#[test]
fn fish_completes_commands_options_and_values() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = script(directory.path(), "fish");
    let told = |words: &str| said("fish", &format!("source {}; complete -C '{words}'", file.display()));
    let Some(commands) = told("podturn wat") else { return };
    assert!(commands.starts_with("watch\tShow a run"), "{commands}");
    assert!(told("podturn graph --out").is_some_and(|told| told.starts_with("--output\t")));
    assert!(told("podturn graph --output ").is_some_and(|told| told.contains("mermaid\t")));
}

/// zsh completes in its line editor alone; what it asks the script for is seen to be there.
#[test]
fn zsh_takes_the_script_for_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = script(directory.path(), "zsh");
    let text = format!(
        "autoload -Uz compinit; compinit -u -D; source {}; echo ${{_comps[podturn]}}; whence -w _podturn \
         _podturn_commands",
        file.display()
    );
    let Some(told) = said("zsh", &text) else { return };
    assert!(told.starts_with("_podturn\n"), "{told}");
    assert!(told.contains("_podturn: function") && told.contains("_podturn_commands: function"), "{told}");
}

/// kubectl's own completion, `kubectl __complete`, finds the program by its name.
#[test]
fn kubectl_completes_its_plugin() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["kubectl-podturn", "kubectl_complete-podturn"] {
        symlink(PODTURN, directory.path().join(name)).expect("a fresh name");
    }
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").expect("PATH"));
    let told = |words: &[&str]| {
        let mut kubectl = Command::new("kubectl");
        kubectl.arg("__complete").arg("podturn").args(words).env("PATH", &path).env("KUBECONFIG", "/dev/null");
        kubectl.output().ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let Some(commands) = told(&["wat"]) else {
        assert!(std::env::var_os("CI").is_none(), "kubectl is not installed");
        return eprintln!("SKIPPED: kubectl is not installed");
    };
    assert!(commands.starts_with("watch\tShow a run") && commands.contains(":4"), "{commands}");
    let values = told(&["graph", "my-pod", "--output", "m"]).unwrap_or_default();
    assert!(values.starts_with("mermaid\t"), "{values}");
}
