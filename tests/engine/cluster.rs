//! A cluster of local pods, and podturn beside it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::changes;

const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");
const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/kubectl");

/// The cluster; its pods end with it.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
}

/// How a command ended: its code, and what it printed on stdout and stderr.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Cluster {
    /// `None` where there is no Python, which is said on stderr, and is a failure where `CI` is set.
    pub(crate) fn new() -> Option<Self> {
        let has_python = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
        if !has_python {
            assert!(std::env::var_os("CI").is_none(), "python3 is not installed");
            eprintln!("\n*** NO CLUSTER: python3 is not installed ***\n");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["bin", "cluster", "tmp"] {
            fs::create_dir(directory.path().join(name)).expect("a fresh directory");
        }
        std::os::unix::fs::symlink(STAND_IN, directory.path().join("bin/kubectl")).expect("a fresh name");
        Some(Self { directory })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command of podturn, not started, by this name of the program.
    pub(crate) fn command_as(&self, program: &str, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").expect("PATH");
        let real = std::env::split_paths(&path).map(|directory| directory.join("kubectl")).find(|file| file.exists());
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("tmp")).env("TMPDIR", self.path("tmp"));
        command.env("PATH", format!("{}:{path}", self.path("bin").display())).env("NO_COLOR", "1");
        command.env("STAND_IN", self.path("cluster")).env("PODTURN", PODTURN).env_remove("PODTURN_VOLUME");
        if let Some(real) = real {
            command.env("KUBECTL", real);
        } else {
            assert!(std::env::var_os("CI").is_none(), "kubectl is not installed: apt-get install kubernetes-client");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn podturn(&self, arguments: &[&str]) -> Ended {
        self.ended_as(PODTURN, arguments)
    }

    /// The same program under this name.
    pub(crate) fn ended_as(&self, program: &str, arguments: &[&str]) -> Ended {
        Ended::of(self.command_as(program, arguments))
    }

    /// `podturn run` of a manifest, not started.
    pub(crate) fn run_command(&self, manifest: &str, options: &[&str]) -> Command {
        let file = self.path("pod.yaml");
        fs::write(&file, manifest).expect("it can be written");
        self.command_as(PODTURN, &[&["run"], options, &[file.to_str().expect("UTF-8")]].concat())
    }

    pub(crate) fn run(&self, manifest: &str, options: &[&str]) -> Ended {
        Ended::of(self.run_command(manifest, options))
    }

    /// What kubectl was called with, a call a line.
    pub(crate) fn calls(&self) -> Vec<Vec<String>> {
        let calls = fs::read_to_string(self.path("cluster/calls")).unwrap_or_default();
        calls.lines().map(|call| serde_json::from_str(call).expect("a list of words")).collect()
    }

    /// Whether kubectl was called with these words among others, in this order.
    pub(crate) fn was_called(&self, words: &[&str]) -> bool {
        self.calls().iter().any(|call| call.windows(words.len()).any(|some| some == words))
    }

    /// Waits until kubectl was called with these words.
    pub(crate) fn wait_called(&self, words: &[&str]) {
        let (_watcher, changes) = changes::of(&[&self.path("cluster")]);
        let mut pieces = 60; // of a second: this machine may stand still for a while
        while !self.was_called(words) {
            pieces -= u32::from(changes.recv_timeout(Duration::from_secs(1)).is_err());
            assert!(pieces > 0, "kubectl was never called with {words:?}: {:?}", self.calls());
        }
    }

    /// The pods that are there.
    pub(crate) fn pods(&self) -> Vec<String> {
        let files =
            fs::read_dir(self.path("cluster")).expect("it is there").map(|file| file.expect("a file").file_name());
        let names: Vec<String> = files.map(|name| name.into_string().expect("UTF-8")).collect();
        let is_deleted = |name: &str| names.iter().any(|other| *other == format!("{name}.deleted"));
        let pods = names.iter().filter_map(|name| name.strip_suffix(".object")).filter(|name| !is_deleted(name));
        pods.map(str::to_owned).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for file in fs::read_dir(self.path("cluster")).into_iter().flatten().flatten() {
            let path = file.path();
            let runs = path.extension().is_some_and(|end| end == "pid") && !path.with_extension("code").exists();
            if let Some(pid) = fs::read_to_string(&path).ok().filter(|_| runs).and_then(|pid| pid.parse().ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // everything of the pod ends with it
            }
        }
    }
}

impl Ended {
    fn of(mut command: Command) -> Self {
        let output = command.output().expect("podturn starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Name, phase, reason, attempts and codes of each step.
    pub(crate) fn steps(&self) -> Vec<String> {
        let state: Value = serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        let keys = ["name", "phase", "reason", "attempt", "exitCode", "containerExitCode"];
        let line = |step: &Value| keys.map(|key| step[key].to_string()).join(" ");
        state["steps"].as_array().expect("a list").iter().map(line).collect()
    }

    /// The lines on stdout, sorted: those of different steps come as they come.
    pub(crate) fn lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.out.lines().collect();
        lines.sort_unstable();
        lines
    }
}

/// A command under way.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    err: BufReader<ChildStderr>,
    said: String,
    noted: String,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("podturn starts");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let err = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, out, err, said: String::new(), noted: String::new() }
    }

    /// Waits until it has said this line on stdout.
    pub(crate) fn wait_said(&mut self, line: &str) {
        while !self.said.ends_with(&format!("{line}\n")) {
            let read = self.out.read_line(&mut self.said).expect("a pipe can be read");
            assert!(read > 0, "it never said {line:?}: {}", self.said);
        }
    }

    /// Waits until it has said this on stderr.
    pub(crate) fn wait_noted(&mut self, text: &str) {
        while !self.noted.contains(text) {
            let read = self.err.read_line(&mut self.noted).expect("a pipe can be read");
            assert!(read > 0, "it never said {text:?}: {}", self.noted);
        }
    }

    pub(crate) fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).expect("our child");
    }

    pub(crate) fn end(mut self) -> Ended {
        self.out.read_to_string(&mut self.said).expect("UTF-8");
        self.err.read_to_string(&mut self.noted).expect("UTF-8");
        Ended { code: self.child.wait().expect("our child").code(), out: self.said, err: self.noted }
    }
}
