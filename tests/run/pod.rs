//! One `podturn run` under way: a manifest, what it has said so far, and the processes of its pod.
//!
//! Every wait is for a line, the end of an output or the end of a process, with a limit that only a broken podturn reaches.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No wait of a test is longer than this.
pub(crate) const PIECE: Duration = Duration::from_secs(1);
pub(crate) const PIECES: u32 = 30;

const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");

/// The user whom everybody knows and nobody is.
const NOBODY: u32 = 65534;

/// A place for one test: the manifest, `notes` (which every container sees at `/notes`), and the directory for temporary
/// files of the run.
pub(crate) struct Place {
    root: TempDir,
    /// Run as another user than this one.
    user: Option<u32>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::new_in(&std::env::temp_dir())
    }

    pub(crate) fn new_in(parent: &Path) -> Self {
        let root = TempDir::new_in(parent).expect("a directory for temporary files");
        for name in ["notes", "tmp"] {
            fs::create_dir(root.path().join(name)).expect("a fresh directory");
        }
        Self { root, user: None }
    }

    /// As `new`, for a run by the user nobody, if this user can become that.
    pub(crate) fn of_nobody() -> Self {
        let mut place = Self::new();
        if nix::unistd::geteuid().is_root() {
            place.user = Some(NOBODY);
        }
        for directory in [".", "notes", "tmp"] {
            let mode = fs::Permissions::from_mode(if directory == "." { 0o755 } else { 0o777 });
            fs::set_permissions(place.path(directory), mode).expect("it is ours");
        }
        // Where this program was built may be closed to others.
        fs::copy(PODTURN, place.path("podturn")).expect("a copy");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A path that the containers know as `/notes/NAME`.
    pub(crate) fn notes(&self, name: &str) -> PathBuf {
        self.path("notes").join(name)
    }

    /// A named pipe: `read _ < /notes/NAME` waits there.
    pub(crate) fn gate(&self, name: &str) {
        mkfifo(&self.notes(name), Mode::from_bits_truncate(0o666)).expect("a fresh name");
    }

    /// Whoever waits at the gate, or comes to it as long as the result is held, goes on.
    pub(crate) fn open_gate(&self, name: &str) -> File {
        // Read-write: opening does not wait for a reader, and what is written stays (fifo(7)).
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let mut gate = options.open(self.notes(name)).expect("the story has made the gate");
        gate.write_all(&[b'\n'; 64]).expect("a pipe has room for a page");
        gate
    }

    /// What the containers wrote to `/notes/NAME`, line by line.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.notes(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A pod in which each container runs a shell's script and sees `/notes`.
    pub(crate) fn pod(&self, plan: &str, containers: &[(&str, &str)]) -> Value {
        let containers: Vec<Value> = containers.iter().map(|(name, script)| container(name, script)).collect();
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "story", "annotations": { "podturn.dev/plan": plan } },
            "spec": {
                "restartPolicy": "Never",
                "volumes": [{ "name": "notes", "hostPath": { "path": self.path("notes") } }],
                "containers": containers,
            },
        })
    }

    /// Starts `podturn run` on a manifest.
    pub(crate) fn start(&self, manifest: &Value, arguments: &[&str]) -> Run {
        self.start_file(&self.write(manifest), arguments)
    }

    /// Writes a manifest into a file.
    pub(crate) fn write(&self, manifest: &Value) -> PathBuf {
        let file = self.path("pod.json");
        fs::write(&file, manifest.to_string()).expect("it can be written");
        file
    }

    /// Starts `podturn run` on a file.
    pub(crate) fn start_file(&self, file: &Path, arguments: &[&str]) -> Run {
        Self::start_command(self.command(file, arguments))
    }

    /// Starts a command of `command`. What it says to a pipe is heard.
    pub(crate) fn start_command(mut command: Command) -> Run {
        let mut child = command.spawn().expect("podturn is executable");
        let (tell, lines) = channel();
        if let Some(out) = child.stdout.take() {
            listen(out, Stream::Out, tell.clone());
        }
        if let Some(err) = child.stderr.take() {
            listen(err, Stream::Err, tell);
        }
        Run { child, lines, out: Vec::new(), err: Vec::new() }
    }

    /// `podturn run`, not started.
    pub(crate) fn command(&self, file: &Path, arguments: &[&str]) -> Command {
        let mut command = self.podturn(&["run"]);
        command.args(arguments).arg(file);
        command
    }

    /// The program, where this user may read it.
    pub(crate) fn program(&self) -> PathBuf {
        let own = self.path("podturn");
        if own.exists() { own } else { PathBuf::from(PODTURN) }
    }

    /// Another `podturn`, by the same user on the same machine: a second terminal. Its exit code, stdout and stderr.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.podturn(arguments).output().expect("podturn is executable");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it says UTF-8");
        (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
    }

    /// Waits until every step's container is there, or has been.
    pub(crate) fn wait_arrived(&self) {
        let mut last = String::new();
        let all_there = (0..1000).any(|_| {
            last = self.ask(&["status", "--json"]).1;
            let state: Value = serde_json::from_str(&last).unwrap_or_default();
            let steps = state["steps"].as_array().map_or(&[][..], Vec::as_slice);
            !steps.is_empty() && steps.iter().all(|step| step["arrived"] == true || step["endedAt"].is_string())
        });
        assert!(all_there, "{last}");
    }

    /// A command of podturn, not started.
    pub(crate) fn podturn(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments).env("TMPDIR", self.path("tmp")).env_remove("PODTURN_VOLUME");
        for name in ["CLICOLOR_FORCE", "CI"] {
            command.env_remove(name); // either would allow colours where the terminal does not
        }
        for name in ["GITHUB_STEP_SUMMARY", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "TRACEPARENT"] {
            command.env_remove(name); // that of whoever runs the tests
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, manifest: &Value, arguments: &[&str]) -> Ended {
        self.start(manifest, arguments).end()
    }

    /// Where the volumes of a run under way are, seen from outside: they are mounted in the run's mount namespace only.
    pub(crate) fn volumes(&self, run: &Run) -> PathBuf {
        let inside = self.left()[0].join("volumes");
        let root = Path::new("/proc").join(run.pid().to_string()).join("root");
        root.join(inside.strip_prefix("/").expect("it is absolute"))
    }

    /// What the run has left in the directory for temporary files.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(self.path("tmp")).expect("it is there").map(|entry| entry.expect("an entry").path()).collect()
    }
}

/// A container that runs a shell's script and sees `/notes`.
pub(crate) fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": "busybox:1.37", "command": ["sh", "-c", script],
        "volumeMounts": [{ "name": "notes", "mountPath": "/notes" }],
    })
}

/// A native sidecar.
pub(crate) fn sidecar(name: &str, script: &str) -> Value {
    let mut sidecar = container(name, script);
    sidecar["restartPolicy"] = json!("Always");
    sidecar
}

/// Adds to a list of the manifest.
pub(crate) fn add(list: &mut Value, item: Value) {
    list.as_array_mut().expect("a list").push(item);
}

/// Where a line was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

fn listen(source: impl Read + Send + 'static, stream: Stream, tell: Sender<(Stream, String)>) {
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            if tell.send((stream, text)).is_err() {
                return;
            }
            line.clear();
        }
    });
}

/// A `podturn run` under way. Whatever still lives of it dies with it.
pub(crate) struct Run {
    child: Child,
    lines: Receiver<(Stream, String)>,
    out: Vec<String>,
    err: Vec<String>,
}

/// A `podturn run` that is over.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code, or 128 + n as a shell says it.
    pub(crate) code: i32,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

impl Run {
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// What was asked to be a pipe; it is closed when it is dropped.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it is our child");
    }

    /// Takes the next line; `None`: both outputs have ended.
    fn take(&mut self) -> Option<()> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        // In pieces: a machine that stands still for a minute uses up one of them.
        let timeout = Err(Timeout);
        let line = (0..PIECES).map(|_| self.lines.recv_timeout(PIECE)).find(|line| !matches!(line, Err(Timeout)));
        match line.unwrap_or(timeout) {
            Ok((Stream::Out, line)) => self.out.push(line),
            Ok((Stream::Err, line)) => self.err.push(line),
            Err(Disconnected) => return None,
            Err(Timeout) => panic!("it says nothing more\nstdout: {:#?}\nstderr: {:#?}", self.out, self.err),
        }
        Some(())
    }

    /// Waits until the container, or podturn itself, has said a line that begins so.
    pub(crate) fn wait_said(&mut self, container: &str, line: &str) {
        let is_there = |lines: &[String]| said(lines, container).iter().any(|known| known.starts_with(line));
        self.wait_until(&format!("{container} never said {line:?}"), is_there);
    }

    /// Waits until there is a line that begins so, with no container's name before it.
    pub(crate) fn wait_line(&mut self, line: &str) {
        self.wait_until(&format!("{line:?} never came"), |lines| lines.iter().any(|known| known.starts_with(line)));
    }

    fn wait_until(&mut self, otherwise: &str, is_there: impl Fn(&[String]) -> bool) {
        while !is_there(&self.out) && !is_there(&self.err) {
            let (out, err) = (&self.out, &self.err);
            let shown = format!("{otherwise}\nstdout: {out:#?}\nstderr: {err:#?}");
            assert!(self.take().is_some(), "{shown}");
        }
    }

    /// Waits for the end. Both outputs end with the last process that holds them.
    pub(crate) fn end(mut self) -> Ended {
        while self.take().is_some() {}
        let status = self.child.wait().expect("it is our child");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().expect("it did not exit"));
        Ended { code, out: std::mem::take(&mut self.out), err: std::mem::take(&mut self.err) }
    }

    /// The processes of the pod: those in a process namespace whose first process is a child of `podturn run`.
    pub(crate) fn pod(&self) -> Vec<Member> {
        let all = processes();
        let of_run = |member: &&Member| member.parent == self.pid().as_raw();
        let Some(namespace) = all.iter().find(of_run).and_then(|member| member.namespace.clone()) else {
            return Vec::new();
        };
        all.into_iter().filter(|member| member.namespace.as_ref() == Some(&namespace)).collect()
    }

    /// The pod's process whose arguments contain the text.
    pub(crate) fn process(&self, arguments: &str) -> Pid {
        let pod = self.pod();
        let found = pod.iter().find(|member| member.arguments.contains(arguments));
        Pid::from_raw(found.unwrap_or_else(|| panic!("no {arguments:?} in {pod:#?}")).pid)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The state that `--json` prints.
    pub(crate) fn state(&self) -> Value {
        let text = self.out.join("\n");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}\n{:#?}", self.err))
    }

    /// How each step ended: `NAME PHASE REASON ATTEMPTS`.
    pub(crate) fn steps(&self) -> Vec<String> {
        let state = self.state();
        let word = |step: &Value, name: &str| step[name].as_str().unwrap_or("-").to_owned();
        let line = |step: &Value| {
            format!("{} {} {} {}", word(step, "name"), word(step, "phase"), word(step, "reason"), step["attempt"])
        };
        state["steps"].as_array().expect("a list").iter().map(line).collect()
    }

    /// The volume that podturn works on, of a run that keeps its volumes.
    pub(crate) fn kept(&self) -> PathBuf {
        let place = self.err.iter().find_map(|line| line.split_once("the volumes of this run are in "));
        let (_, volumes) = place.expect("it says where they are");
        of_podturn(Path::new(volumes))
    }

    /// What a container has said on stdout, without the prefix.
    pub(crate) fn said(&self, container: &str) -> Vec<&str> {
        said(&self.out, container)
    }

    /// What a container has said on stderr, without the prefix and without the shim's word at its end.
    pub(crate) fn said_on_stderr(&self, container: &str) -> Vec<&str> {
        said(&self.err, container)
    }

    pub(crate) fn all(&self) -> String {
        format!("code {}\nstdout: {:#?}\nstderr: {:#?}", self.code, self.out, self.err)
    }
}

/// The one of these volumes that podturn works on.
pub(crate) fn of_podturn(volumes: &Path) -> PathBuf {
    let mut volumes = fs::read_dir(volumes).expect("they are there").flatten().map(|entry| entry.path());
    volumes.find(|volume| volume.join("run.json").exists()).expect("one is podturn's")
}

fn said<'l>(lines: &'l [String], container: &str) -> Vec<&'l str> {
    let of = |line: &'l String| {
        let (name, text) = line.split_once(" | ")?;
        (name.trim_end() == container).then_some(text)
    };
    lines.iter().filter_map(of).collect()
}

/// One process of this machine.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) pid: i32,
    parent: i32,
    namespace: Option<PathBuf>,
    arguments: String,
}

fn processes() -> Vec<Member> {
    let pids = fs::read_dir("/proc").expect("proc(5)").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let of = |name: &str| format!("/proc/{pid}/{name}");
        let stat = fs::read_to_string(of("stat")).ok()?;
        let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let arguments = fs::read(of("cmdline")).ok()?;
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        Some(Member { pid, parent, namespace: fs::read_link(of("ns/pid")).ok(), arguments })
    })
    .collect()
}

/// A process that is watched, so that its number can not become another one's unnoticed (pidfd_open(2)).
pub(crate) struct Watched {
    pid: i32,
    pidfd: OwnedFd,
}

impl Watched {
    /// `None`: it is gone already.
    pub(crate) fn new(pid: i32) -> Option<Self> {
        // SAFETY: a plain system call without pointers; it makes a descriptor that belongs to nobody else.
        unsafe {
            let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
            i32::try_from(fd).ok().filter(|fd| *fd >= 0).map(|fd| Self { pid, pidfd: OwnedFd::from_raw_fd(fd) })
        }
    }

    /// Waits for its end.
    pub(crate) fn wait_end(&self) {
        assert!(self.ends_in_time(), "process {} should have ended", self.pid);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ended| ended > 0)
    }

    fn ends_in_time(&self) -> bool {
        let piece = PollTimeout::try_from(PIECE).expect("a second");
        let mut pieces = PIECES;
        while pieces > 0 {
            match poll(&mut [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)], piece) {
                Err(Errno::EINTR) => {}
                Ok(0) => pieces -= 1,
                other => return other.expect("poll(2)") > 0,
            }
        }
        false
    }
}
