//! `podturn inject` and `podturn uninject` of many documents: one is in memory at a time, and nothing is printed before it is known
//! that all of them are good.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use tempfile::TempDir;

/// A pod with a plan.
const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {podturn.dev/plan: sequential}}
spec: {restartPolicy: Never, containers: [{name: a, image: a, command: [a]}]}
";

/// A pod whose plan cannot be read, in its third line.
const WRONG: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: p, annotations: {podturn.dev/plan: nonsense}}
spec: {restartPolicy: Never, containers: [{name: a, image: a, command: [a]}]}
";

/// An object that podturn has nothing to do with, of this many KiB.
fn bystander(kib: usize) -> String {
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bystander}\ndata:\n  lines: |\n".to_owned();
    for line in 0..kib * 16 {
        let _ = writeln!(text, "    {line:<59}");
    }
    text
}

/// These pods, each with a bystander behind it.
fn stream(pods: usize) -> String {
    let bystander = bystander(128);
    (0..pods).map(|_| format!("---\n{POD}---\n{bystander}")).collect()
}

#[test]
fn a_stream_of_any_length_needs_the_memory_of_one_document() {
    let place = TempDir::new().expect("a directory");
    let (short, long) = (place.path().join("short.yaml"), place.path().join("long.yaml"));
    fs::write(&short, stream(10)).expect("it can be written");
    fs::write(&long, stream(200)).expect("it can be written");
    for arguments in [vec!["inject", "--quiet"], vec!["uninject"]] {
        let of_short = memory_for(&arguments, &short, false);
        for by_stdin in [false, true] {
            let of_long = memory_for(&arguments, &long, by_stdin);
            // Twenty-five megabytes of text come in, and go out.
            assert!(of_long < of_short + 4096, "{arguments:?}: {of_short} KiB, then {of_long} KiB");
        }
    }
}

/// The most that it had in memory until it began to print, in KiB.
fn memory_for(arguments: &[&str], file: &Path, by_stdin: bool) -> u64 {
    let mut command = podturn(Path::new("/"), arguments);
    let mut child = match by_stdin {
        true => command.arg("-").stdin(fs::File::open(file).expect("it is there")),
        false => command.arg(file),
    }
    .stdout(Stdio::piped())
    .spawn()
    .expect("podturn starts");
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_exact(&mut [0]).expect("it prints");
    // More than a pipe holds is still to be printed, so it is there.
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc_pid_status(5)");
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("it prints");
    assert!(child.wait().expect("our child").success());
    assert!(rest.len() as u64 + 1 >= fs::metadata(file).expect("it is there").len());
    most.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn everything_that_is_wrong_is_told_in_the_order_of_files_and_lines_and_nothing_is_printed() {
    let place = TempDir::new().expect("a directory");
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("it can be written");
    write("b.yaml", &format!("# The first to be named.\n---\n{POD}---\n{WRONG}...\n---\n{WRONG}"));
    write("a.yaml", &format!("{WRONG}---\n{POD}"));
    let refused = run(&mut podturn(place.path(), &["inject", "b.yaml", "a.yaml"]));
    let said = String::from_utf8_lossy(&refused.stderr);
    let places: Vec<&str> =
        said.lines().filter_map(|line| line.split_once(": error").map(|(place, _)| place)).collect();
    assert_eq!(places, ["b.yaml:10:53", "b.yaml:16:53", "a.yaml:3:53"], "{said}");
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(2), &b""[..]));
}

#[test]
fn a_text_that_is_not_utf_8_is_told_by_the_line_of_its_file() {
    let place = TempDir::new().expect("a directory");
    let mut bytes = format!("---\n{POD}---\na: ").into_bytes();
    let begin = bytes.len();
    bytes.extend(b"\xff\n");
    fs::write(place.path().join("odd.yaml"), bytes).expect("it can be written");
    let refused = run(&mut podturn(place.path(), &["inject", "odd.yaml"]));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said, format!("error: odd.yaml:7: this is not UTF-8 (byte {begin})\n"));
    assert_eq!((refused.status.code(), refused.stdout.as_slice()), (Some(2), &b""[..]));
}

#[test]
fn a_pipe_can_be_looked_through_for_images_before_it_is_wired() {
    let place = TempDir::new().expect("a directory");
    let pipe = place.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a named pipe");
    let map = "images:\n  a:\n    entrypoint: [from-the-image]\n    cmd: []\n";
    fs::write(place.path().join("map.yaml"), map).expect("it can be written");
    let text = format!("---\n{POD}---\n{}", POD.replace(", command: [a]", ""));
    let writer = thread::spawn(move || fs::write(pipe, text).expect("podturn reads it"));
    let wired = run(&mut podturn(place.path(), &["inject", "--resolve=map:map.yaml", "pipe"]));
    writer.join().expect("it has written");
    let out = String::from_utf8_lossy(&wired.stdout);
    assert!(wired.status.success(), "{}", String::from_utf8_lossy(&wired.stderr));
    assert_eq!(out.matches("from-the-image").count(), 1, "{out}");
}

#[test]
fn what_cannot_be_kept_is_no_fault_of_the_manifests_and_few_need_no_file() {
    let place = TempDir::new().expect("a directory");
    for (pods, code) in [(1, 0), (20, 125)] {
        let mut command = podturn(place.path(), &["inject", "--quiet", "-"]);
        command.env("TMPDIR", "/nowhere").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("podturn starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        let writer = thread::spawn(move || stdin.write_all(stream(pods).as_bytes()));
        let ended = child.wait_with_output().expect("our child");
        let _ = writer.join().expect("it ends"); // with a broken pipe, where podturn has given up
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), ended.stdout.is_empty()), (Some(code), code != 0), "{said}");
        if code != 0 {
            assert!(said.contains("cannot write to a temporary file in /nowhere: No such file or directory"), "{said}");
            assert!(said.ends_with("  help: TMPDIR names another directory\n"), "{said}");
        }
    }
}

/// The program in this directory, for somebody who has set nothing that it looks at.
fn podturn(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podturn"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PODTURN_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(place).env_remove("CLICOLOR_FORCE");
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("podturn starts")
}
