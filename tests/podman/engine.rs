//! `podturn run --engine podman`: the same files in real containers, and they end as they do on `podturn run`'s own engine.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::store::{Store, add_script};
use super::with;

const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");
const QUICKSTART: &str = include_str!("../../manifests/quickstart.yaml");
const BUILD: &str = include_str!("../../manifests/build-scan-publish.yaml");
const DATABASE: &str = include_str!("../../manifests/database-test.yaml");
const PROXY: &str = include_str!("../../manifests/proxy-job.yaml");

/// The test hangs, and takes a moment to stop.
const HANGS: (&str, &str) = (
    "echo \"insert somebody\" > /run/database/requests",
    "trap 'echo stopping; exit 1' TERM; echo testing; sleep 1000 & wait",
);

/// `podturn run` of a manifest, and what it leads to.
struct Engine<'s> {
    store: &'s Store,
    directory: tempfile::TempDir,
}

/// How a run ended: its code, and what it printed on stdout and stderr.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl<'s> Engine<'s> {
    fn new(store: &'s Store) -> Self {
        Self { store, directory: tempfile::tempdir().expect("a directory") }
    }

    fn command(&self, engine: &str, manifest: &str, options: &[&str]) -> Command {
        let file: PathBuf = self.directory.path().join("pod.yaml");
        std::fs::write(&file, manifest).expect("it can be written");
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new(PODTURN);
        command.args(["run", "--engine", engine]).args(options).arg(file);
        command.env("PATH", format!("{}:{path}", self.store.path().display())).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, engine: &str, manifest: &str, options: &[&str]) -> Ended {
        let output = self.command(engine, manifest, options).output().expect("podturn starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs it here and on podman: the same code, and the same steps with the same ends. Gives what podman's said.
    fn same(&self, manifest: &str) -> Ended {
        let [here, there] = ["local", "podman"].map(|engine| self.run(engine, manifest, &["--json"]));
        assert_eq!(here.code, there.code, "{here:#?}\n{there:#?}");
        assert_eq!(here.steps(), there.steps(), "{there:#?}");
        self.assert_nothing_is_left();
        there
    }

    fn assert_nothing_is_left(&self) {
        for list in [["ps", "--all", "--quiet"], ["pod", "ls", "--quiet"], ["volume", "ls", "--quiet"]] {
            assert_eq!(self.store.podman(&list), "", "podman {list:?}");
        }
    }
}

impl Ended {
    /// Name, phase, reason, attempts and codes of each step.
    fn steps(&self) -> Vec<String> {
        let state: Value = serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        let line = |step: &Value| {
            ["name", "phase", "reason", "attempt", "exitCode", "containerExitCode"]
                .map(|key| step[key].to_string())
                .join(" ")
        };
        state["steps"].as_array().expect("a list").iter().map(line).collect()
    }

    /// The table at the end, without its times.
    fn table(&self) -> Vec<Vec<String>> {
        let rows =
            self.err.lines().skip_while(|line| !line.starts_with("STEP ")).take_while(|line| line.contains("  "));
        rows.map(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            words.iter().take(4).chain(words.last()).map(|word| (*word).to_owned()).collect()
        })
        .collect()
    }
}

#[test]
fn a_manifest_runs_on_podman_as_it_runs_here() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    for manifest in [QUICKSTART, BUILD, DATABASE, PROXY] {
        let there = engine.same(manifest);
        assert_eq!(there.code, Some(0), "{there:#?}");
    }
    let [here, there] = ["local", "podman"].map(|name| engine.run(name, QUICKSTART, &[]));
    assert_eq!(here.table(), there.table(), "{there:#?}");
    assert_eq!(there.table().len(), 7, "{there:#?}");
    // Whatever tar makes of it: it is another one in the image.
    let sorted = |text: &str| {
        let mut lines: Vec<String> =
            text.lines().filter(|line| !line.starts_with("package ")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&here.out), sorted(&there.out), "each line has its step in front, here as there");
}

/// Those manifests in `manifests/` that podman does not run by `podturn run`, and why.
const NOT_BY_ENGINE: [(&str, &str); 5] = [
    ("auto-inject.yaml", "there is no pod in it"),
    ("by-hand.yaml", "it is wired already: podman plays it as it is, in main.rs"),
    ("maven.yaml", "so is this one"),
    ("services-in-order.yaml", "podman 4 starts the init containers of a pod that always restarts again and again"),
    ("start-order.yaml", "it is wired already, with a native sidecar, which podman does not know"),
];

/// Those that the other tests run there.
const RUN_ABOVE: [&str; 4] = ["quickstart.yaml", "build-scan-publish.yaml", "database-test.yaml", "proxy-job.yaml"];

#[test]
fn each_other_manifest_ends_on_podman_as_it_ends_here() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    let known = NOT_BY_ENGINE.map(|(name, _)| name).into_iter().chain(RUN_ABOVE).collect::<Vec<_>>();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    let names =
        std::fs::read_dir(&directory).expect("it is there").map(|entry| entry.expect("it is there").file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names.retain(|name| name.ends_with(".yaml"));
    assert!(known.iter().all(|known| names.iter().any(|name| name == known)), "{names:?}");
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let manifest = std::fs::read_to_string(directory.join(name)).expect("it is there");
        let there = engine.same(&manifest);
        assert_eq!(there.code, Some(0), "{name}: {there:#?}");
    }
}

#[test]
fn a_failure_on_podman_is_the_same_failure() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    let failed = engine.same(&with(QUICKSTART, "echo \"compiling", "exit 3; echo \"compiling"));
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    let parameter = ["--param", "BRANCH=feature", "--json"];
    let [here, there] = ["local", "podman"].map(|name| engine.run(name, BUILD, &parameter));
    assert_eq!(here.steps(), there.steps(), "a parameter goes there, too");
    assert!(there.steps().iter().any(|step| step.starts_with(r#""publish" "Skipped""#)), "{there:#?}");
    // An init container of one's own that fails.
    let init = "  initContainers: [{ name: first, image: 'busybox:1.37', command: [sh, -c, 'echo no; exit 4'] }]\n  containers:";
    let init = with(QUICKSTART, "  containers:", init);
    let [here, there] = ["local", "podman"].map(|name| engine.run(name, &init, &[]));
    assert_eq!((here.code, there.code), (Some(1), Some(1)), "{there:#?}");
    assert!(
        there.out.contains("first   | no\n") && there.err.contains("init container first ended with 4"),
        "{there:#?}"
    );
    engine.assert_nothing_is_left();
    // One that goes on for too long: podman waits for its end.
    let long = with(&init, "'echo no; exit 4'", "'sleep 1000'");
    let long = with(&long, "  initContainers:", "  activeDeadlineSeconds: 5\n  initContainers:");
    let late = engine.run("podman", &long, &[]);
    assert_eq!(late.code, Some(1), "{late:#?}");
    assert!(late.err.ends_with("the pod took longer than its activeDeadlineSeconds\n"), "{late:#?}");
    engine.assert_nothing_is_left();
}

/// Starts a run and waits for this line.
fn until_it_says(mut command: Command, line: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.spawn().expect("podturn starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut said = String::new();
    while !said.ends_with(line) {
        assert!(out.read_line(&mut said).expect("a pipe can be read") > 0, "it never said {line:?}: {said}");
    }
    (child, out)
}

fn end(mut child: Child, mut out: impl Read) -> Ended {
    let mut ended = Ended { code: None, out: String::new(), err: String::new() };
    out.read_to_string(&mut ended.out).expect("UTF-8");
    child.stderr.take().expect("a pipe").read_to_string(&mut ended.err).expect("UTF-8");
    ended.code = child.wait().expect("our child").code();
    ended
}

#[test]
fn ctrl_c_ends_a_pod_of_podmans_in_order_and_leaves_nothing() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    let hangs = with(DATABASE, HANGS.0, HANGS.1);
    let (child, out) = until_it_says(engine.command("podman", &hangs, &[]), "itest    | testing\n");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("our child");
    let ended = end(child, out);
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    let phases: Vec<String> = ended.table().iter().skip(1).map(|row| row[..3].join(" ")).collect();
    assert_eq!(phases, ["database Succeeded Stopped", "migrate Succeeded Completed", "itest Cancelled PodDeleted"]);
    assert!(
        ended.out.contains("itest    | stopping\n") && ended.out.contains("database | shutting down\n"),
        "{ended:#?}"
    );
    engine.assert_nothing_is_left();

    // A second one ends everything at once.
    let stubborn =
        with(DATABASE, HANGS.0, "trap 'echo not yet' TERM; echo testing; while :; do sleep 1000 & wait; done");
    let (child, mut out) = until_it_says(engine.command("podman", &stubborn, &[]), "itest    | testing\n");
    let pid = Pid::from_raw(child.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("our child");
    let mut said = String::new();
    while !said.ends_with("itest    | not yet\n") {
        assert!(out.read_line(&mut said).expect("a pipe can be read") > 0, "{said}");
    }
    kill(pid, Signal::SIGINT).expect("our child");
    let ended = end(child, out);
    assert_eq!(ended.code, Some(143), "{ended:#?}");
    assert!(ended.err.ends_with("everything was killed\n"), "{ended:#?}");
    engine.assert_nothing_is_left();
}

/// On a busy machine podman 4.3 was seen to leave a container that was being killed.
#[test]
fn what_podman_does_not_remove_at_once_is_removed_all_the_same() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    let busy = engine.directory.path().join("busy");
    std::fs::create_dir(&busy).expect("a fresh directory");
    let script = "#!/bin/sh\ncase \"$1 $2\" in 'pod rm') mkdir \"${0%/*}/refused\" 2> /dev/null && exit 125 ;; esac\n\
                  export PATH=\"${PATH#*:}\"\nexec podman \"$@\"\n";
    add_script(&busy.join("podman"), script);
    let mut command = engine.command("podman", QUICKSTART, &[]);
    let path = std::env::var("PATH").expect("PATH");
    command.env("PATH", format!("{}:{}:{path}", busy.display(), store.path().display()));
    let output = command.output().expect("podturn starts");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(busy.join("refused").exists(), "it was asked");
    engine.assert_nothing_is_left();
}

#[test]
fn what_podman_cannot_do_is_said_before_anything_runs() {
    let Some(store) = Store::new() else { return };
    let engine = Engine::new(&store);
    let sidecar =
        "  initContainers: [{ name: proxy, image: 'busybox:1.37', command: [sleep, '9'], restartPolicy: Always }]\n";
    let refused = engine.run("podman", &with(QUICKSTART, "  containers:", &format!("{sidecar}  containers:")), &[]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.err.contains("podman knows no native sidecars"), "{refused:#?}");
    let misspelt = engine.run("podman", QUICKSTART, &["--volume", "nobody=/tmp"]);
    assert_eq!(misspelt.code, Some(2), "{misspelt:#?}");
    assert!(misspelt.err.contains("the pod has no volume nobody"), "{misspelt:#?}");
    let mut missing = engine.command("podman", QUICKSTART, &[]);
    let missing = missing.env("PATH", engine.directory.path()).output().expect("podturn starts");
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(missing.status.code(), Some(125), "{said}");
    assert!(said.starts_with("error: podman is not installed: there is none on PATH\n  help: "), "{said}");
    let unknown = engine.run(
        "podman",
        &with(
            QUICKSTART,
            "- name: clone\n      image: busybox:1.37",
            "- name: clone\n      image: localhost/nobody:1\n      imagePullPolicy: Never",
        ),
        &[],
    );
    assert_eq!(unknown.code, Some(125), "{unknown:#?}");
    assert!(unknown.err.contains("localhost/nobody:1"), "{unknown:#?}");
    engine.assert_nothing_is_left();
}
