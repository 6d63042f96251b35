//! A pod of plain processes: a volume, the real `podturn init`, `podturn coordinate` and shims, and what their steps wrote
//! down. The test is the kubelet: it starts, kills and restarts what the story says.
//!
//! Every wait here is for an event (a file that changed, a process that ended), with a limit that only a broken podturn
//! reaches.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use podturn_turn::Event;
use serde_json::Value;
use tempfile::TempDir;

use super::changes;

/// No wait of a test is longer than so many pieces of this. In pieces, because a machine that stands still for a minute, as
/// virtual ones do, uses up one of them, and whoever is waited for gets the rest.
pub(crate) const PIECE: Duration = Duration::from_secs(1);
pub(crate) const PIECES: u32 = 60;

pub(crate) const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");

/// Steps by name, and what each one's shell runs between writing down that it has begun and that it has ended.
pub(crate) type Scripts<'a> = &'a [(&'a str, &'a str)];

/// One pod. Whatever still lives of it dies with it.
pub(crate) struct Pod {
    root: PathBuf,
    logs: PathBuf,
    _directory: Option<TempDir>,
    plan: String,
    /// `PODTURN_POD`; empty: the documented defaults.
    pub(crate) facts: String,
    /// What `podturn init` is told besides.
    pub(crate) options: &'static [&'static str],
    scripts: BTreeMap<String, String>,
    /// What the shims of these steps have besides: `--post-start` and `--pre-stop`, each with a script.
    hooks: BTreeMap<String, Vec<String>>,
    containers: BTreeMap<String, Child>,
    pub(crate) coordinator: Option<Child>,
    /// Gates that were opened stay open as long as somebody holds them.
    open_gates: Vec<File>,
    changes: Receiver<()>,
    watcher: RecommendedWatcher,
}

impl Pod {
    /// A pod whose init container has not run yet.
    pub(crate) fn planned(plan: &str, scripts: Scripts<'_>) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let mut pod = Self::planned_in(directory.path(), plan, scripts);
        pod._directory = Some(directory);
        pod
    }

    /// As `planned`, in a directory that is somebody else's to remove.
    pub(crate) fn planned_in(root: &Path, plan: &str, scripts: Scripts<'_>) -> Self {
        let (volume, notes) = (root.join("volume"), root.join("notes"));
        for directory in [&volume, &notes] {
            fs::create_dir_all(directory).expect("a fresh directory");
        }
        let (watcher, changes) = changes::of(&[&volume, &notes]);
        Self {
            root: root.to_owned(),
            logs: root.to_owned(),
            _directory: None,
            plan: plan.to_owned(),
            facts: String::new(),
            options: &[],
            scripts: scripts.iter().map(|(name, script)| ((*name).to_owned(), (*script).to_owned())).collect(),
            hooks: BTreeMap::new(),
            containers: BTreeMap::new(),
            coordinator: None,
            open_gates: Vec::new(),
            changes,
            watcher,
        }
    }

    /// A pod whose init container has run.
    pub(crate) fn laid_out(plan: &str, scripts: Scripts<'_>) -> Self {
        let mut pod = Self::planned(plan, scripts);
        pod.init();
        pod
    }

    /// A pod in which everything runs.
    pub(crate) fn running(plan: &str, scripts: Scripts<'_>) -> Self {
        let mut pod = Self::laid_out(plan, scripts);
        pod.coordinate();
        pod.start_all();
        pod
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volume").join(name)
    }

    /// Gives a step's shim a hook, before it is started.
    pub(crate) fn hook(&mut self, step: &str, option: &str, script: &str) {
        let words = [option, "3", "sh", "-c", script].map(str::to_owned);
        self.hooks.entry(step.to_owned()).or_default().extend(words);
    }

    /// A path that the steps know as `$NOTES/name`.
    pub(crate) fn notes(&self, name: &str) -> PathBuf {
        self.root.join("notes").join(name)
    }

    // --- starting ---

    fn podturn(&self, verb: &str) -> Command {
        let mut command = Command::new(PODTURN);
        command.arg(verb).arg("--volume").arg(self.volume("")).stdin(Stdio::null());
        let traced = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "TRACEPARENT"];
        for name in ["PODTURN_PLAN", "PODTURN_POD", "PODTURN_POD_UID"].into_iter().chain(traced) {
            command.env_remove(name);
        }
        command
    }

    /// Another `podturn` that looks at this run or speaks to it: its exit code and what it says.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(PODTURN);
        let output = command.args(arguments).env("PODTURN_VOLUME", self.volume("")).output().expect("it starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().expect("it exits"), String::from_utf8(text).expect("it says UTF-8"))
    }

    /// Runs the init container to its end.
    pub(crate) fn init(&mut self) {
        let mut init = self.podturn("init");
        init.args(self.options).env("PODTURN_PLAN", &self.plan).stdout(Stdio::null());
        if !self.facts.is_empty() {
            init.env("PODTURN_POD", &self.facts);
        }
        assert!(init.status().expect("podturn is executable").success(), "the plan is right");
        for name in self.scripts.keys() {
            for half in ["in", "out"] {
                let half = self.volume("steps").join(name).join(half);
                self.watcher.watch(&half, RecursiveMode::NonRecursive).expect("inotify(7)");
            }
        }
    }

    /// `podturn coordinate`, not started. What it says goes to `coordinator.log`.
    pub(crate) fn coordinator_command(&self) -> Command {
        let mut command = self.podturn("coordinate");
        command.env("PODTURN_LOG", "info");
        self.with_log(&mut command, "coordinator");
        command
    }

    fn with_log(&self, command: &mut Command, name: &str) {
        let log = File::options().create(true).append(true).open(self.log(name)).expect("a writable directory");
        command.stdout(log.try_clone().expect("a descriptor")).stderr(log);
    }

    /// What a container, or `coordinator`, has said.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// What is said goes here from now on, and not where the volume is.
    pub(crate) fn keep_logs_in(&mut self, directory: &Path) {
        directory.clone_into(&mut self.logs);
    }

    /// Starts a coordinator. An earlier one is the story's to end.
    pub(crate) fn coordinate(&mut self) {
        self.coordinator = Some(self.coordinator_command().spawn().expect("podturn is executable"));
    }

    /// Starts a coordinator that can name no process of the steps, as where the pod shares no process namespace. `false`: this machine
    /// allows nobody such a namespace.
    #[must_use]
    pub(crate) fn coordinate_apart(&mut self) -> bool {
        let as_user: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
        let options = [as_user, &["--pid", "--fork", "--mount-proc", "--kill-child"]].concat();
        let allowed = Command::new("unshare").args(&options).arg("true").stderr(Stdio::null()).status();
        if !allowed.is_ok_and(|status| status.success()) {
            println!("SKIPPED: no process namespaces for this user: unshare {options:?} fails");
            return false;
        }
        let inside = self.coordinator_command();
        let mut command = Command::new("unshare");
        command.args(options).arg(inside.get_program()).args(inside.get_args()).stdin(Stdio::null());
        command.envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.with_log(&mut command, "coordinator");
        self.coordinator = Some(command.spawn().expect("it was there just now"));
        true
    }

    /// Starts the containers of all steps.
    pub(crate) fn start_all(&mut self) {
        for name in self.scripts.keys().cloned().collect::<Vec<_>>() {
            self.start(&name);
        }
    }

    /// Starts, or restarts, the step's container: a shim in a session of its own, as a container's first process is.
    pub(crate) fn start(&mut self, name: &str) {
        let script = &self.scripts[name];
        let shell = format!(
            "say() {{ echo \"$PODTURN_STEP $PODTURN_ATTEMPT $1\" >> \"$NOTES/witness\"; }}\n\
             gate() {{ read -r _ < \"$NOTES/$1\"; }}\n\
             body() {{ :; {script}\n}}\n\
             say begin; body; code=$?; say \"end $code\"; exit $code"
        );
        let mut shim = Command::new(self.volume("steps").join(name).join("in/podturn-shim"));
        let hooks = self.hooks.get(name).into_iter().flatten();
        shim.arg("run").args(hooks).args(["--", "sh", "-c", &shell]).env("NOTES", self.notes("")).stdin(Stdio::null());
        self.with_log(&mut shim, name);
        // SAFETY: setsid(2) is allowed between fork and exec.
        unsafe { shim.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into)) };
        let old = self.containers.insert(name.to_owned(), shim.spawn().expect("the shim is executable"));
        if let Some(mut old) = old {
            old.wait().expect("a container is restarted after its end");
        }
    }

    // --- gates: a step that says `gate NAME` waits there ---

    pub(crate) fn gate(&self, name: &str) {
        mkfifo(&self.notes(name), Mode::S_IRWXU).expect("a fresh name");
    }

    /// Whoever waits at the gate, or comes to it later, goes on.
    pub(crate) fn open_gate(&mut self, name: &str) {
        // Read-write: opening does not wait for a reader, and what is written stays (fifo(7)).
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let mut gate = options.open(self.notes(name)).expect("the story has made the gate");
        gate.write_all(&[b'\n'; 64]).expect("a pipe has room for a page");
        self.open_gates.push(gate);
    }

    // --- waiting ---

    /// Waits until `ready` says so, looking again whenever something on the volume or in the notes has changed.
    pub(crate) fn wait_until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let mut pieces = PIECES;
        while !ready() {
            if self.changes.recv_timeout(PIECE).is_err() {
                pieces -= 1;
                assert!(pieces > 0, "{what} should have come true\n{}", self.everything());
            }
            self.changes.try_iter().for_each(drop); // one look is enough for all that has changed by now
        }
    }

    /// Waits until this outcome is published.
    pub(crate) fn wait_outcome(&self, outcome: &str) {
        self.wait_until(outcome, || self.published().is_some_and(|state| state["outcome"] == outcome));
    }

    /// Waits until a step has written this down.
    pub(crate) fn wait_note(&self, note: &str) {
        self.wait_until(note, || self.witness().iter().any(|line| line == note));
    }

    /// Waits until the journal holds such an event.
    pub(crate) fn wait_event(&self, what: &str, wanted: impl Fn(&Event) -> bool) {
        self.wait_until(what, || self.journal().iter().any(&wanted));
    }

    /// Waits until as many coordinators as this have begun to work: before that, a signal that stops one finds nobody to hear it.
    pub(crate) fn wait_started(&self, times: usize) {
        let is_start = |event: &Event| matches!(event.kind, podturn_turn::Kind::CoordinatorStarted { .. });
        self.wait_until("a start", || self.journal().iter().filter(|event| is_start(event)).count() >= times);
    }

    /// Waits for the end of a process: its exit code, or 128 + n as a shell says it.
    fn wait_child(&self, who: &str, mut child: Child) -> i32 {
        let has_ended = child.try_wait().expect("it is our child").is_some();
        if !has_ended && !ends_in_time(pid(&child)) {
            let _ = child.kill();
            panic!("{who} should have ended\n{}", self.everything());
        }
        let status = child.wait().expect("it is our child");
        status.code().unwrap_or_else(|| 128 + status.signal().expect("it did not exit"))
    }

    /// Waits for the end of the step's container.
    pub(crate) fn container_end(&mut self, name: &str) -> i32 {
        let child = self.containers.remove(name).expect("the story has started it");
        self.wait_child(name, child)
    }

    /// Waits for the ends of all containers that the story has started.
    pub(crate) fn container_ends(&mut self) -> BTreeMap<String, i32> {
        let names: Vec<String> = self.containers.keys().cloned().collect();
        names.into_iter().map(|name| (name.clone(), self.container_end(&name))).collect()
    }

    /// Waits for the end of the coordinator.
    pub(crate) fn coordinator_end(&mut self) -> i32 {
        let child = self.coordinator.take().expect("the story has started it");
        self.wait_child("the coordinator", child)
    }

    /// Waits for the end of everything: the exit codes of the containers, then the coordinator's.
    pub(crate) fn end(&mut self) -> (BTreeMap<String, i32>, i32) {
        let containers = self.container_ends();
        (containers, self.coordinator_end())
    }

    // --- killing ---

    pub(crate) fn shim(&self, name: &str) -> Pid {
        pid(&self.containers[name])
    }

    /// Whether there is a coordinator that has not ended.
    pub(crate) fn has_coordinator(&mut self) -> bool {
        self.coordinator.as_mut().is_some_and(|child| child.try_wait().expect("it is our child").is_none())
    }

    /// Whether the step's container has not ended.
    pub(crate) fn lives(&mut self, name: &str) -> bool {
        let child = self.containers.get_mut(name);
        child.is_some_and(|child| child.try_wait().expect("it is our child").is_none())
    }

    /// The step's container is the story's own from now on: another one may be started beside it.
    pub(crate) fn leave(&mut self, name: &str) -> Child {
        self.containers.remove(name).expect("the story has started it")
    }

    pub(crate) fn signal_coordinator(&self, signal: Signal) {
        kill(pid(self.coordinator.as_ref().expect("the story has started it")), signal).expect("it is our child");
    }

    /// SIGKILLs the coordinator, and waits until it is gone.
    pub(crate) fn kill_coordinator(&mut self) {
        self.signal_coordinator(Signal::SIGKILL);
        self.coordinator_end();
    }

    /// SIGKILLs the step's shim, and waits until it is gone.
    pub(crate) fn kill_shim(&mut self, name: &str) {
        let child = self.containers.get_mut(name).expect("the story has started it");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    // --- what was written ---

    /// What the steps wrote down, oldest first: `STEP ATTEMPT begin` and `STEP ATTEMPT end CODE`.
    pub(crate) fn witness(&self) -> Vec<String> {
        let text = fs::read_to_string(self.notes("witness")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Every whole event of the journal.
    pub(crate) fn journal(&self) -> Vec<Event> {
        let text = fs::read_to_string(self.volume("journal.jsonl")).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// What was published last, if anything was.
    pub(crate) fn published(&self) -> Option<Value> {
        let text = fs::read_to_string(self.volume("state.json")).ok()?;
        Some(serde_json::from_str(&text).expect("it is whole"))
    }

    pub(crate) fn state(&self) -> Value {
        self.published().expect("the coordinator has published a state")
    }

    pub(crate) fn outcome(&self) -> String {
        self.state()["outcome"].as_str().expect("the plan has ended").to_owned()
    }

    /// How each step ended: `PHASE REASON`.
    pub(crate) fn ends(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let steps = state["steps"].as_array().expect("a list").iter();
        let word = |step: &Value, name: &str| step[name].as_str().unwrap_or("-").to_owned();
        steps.map(|step| (word(step, "name"), format!("{} {}", word(step, "phase"), word(step, "reason")))).collect()
    }

    /// All that is known, for a story that failed.
    pub(crate) fn everything(&self) -> String {
        let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
        let mut text = format!(
            "plan: {}\nwitness: {:#?}\nstate: {}\njournal:\n{}\ncoordinator:\n{}\n",
            self.plan,
            self.witness(),
            read(self.volume("state.json")),
            read(self.volume("journal.jsonl")),
            read(self.log("coordinator")),
        );
        for name in self.scripts.keys() {
            let mailbox = self.volume("steps").join(name);
            text.push_str(&format!(
                "{name}: {}\n  turn: {}\n  report: {}\n",
                read(self.log(name)),
                read(mailbox.join("in/turn.json")),
                read(mailbox.join("out/report.json"))
            ));
        }
        text
    }
}

impl Drop for Pod {
    /// The shims' commands die with them.
    fn drop(&mut self) {
        for child in self.coordinator.iter_mut().chain(self.containers.values_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Whether a child, not yet waited for, ends within the time.
pub(crate) fn ends_in_time(pid: Pid) -> bool {
    // SAFETY: a plain system call without pointers; it makes a descriptor that belongs to nobody else.
    let pidfd = unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0);
        assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor"))
    };
    let piece = PollTimeout::try_from(PIECE).expect("a second");
    let mut pieces = PIECES;
    while pieces > 0 {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, piece) {
            Err(Errno::EINTR) => {}
            Ok(0) => pieces -= 1,
            other => return other.expect("poll(2)") > 0,
        }
    }
    false
}

/// What must hold of every run, whatever was killed when: no attempt was begun twice, no two attempts of a step overlap,
/// attempts follow each other, and nothing began before what it needs had ended with 0. `needs` names for a step those that
/// it depends on. An attempt whose shim was killed has no end: then only the next one's begin shows it was over.
pub(crate) fn check_witness(witness: &[String], needs: impl Fn(&str) -> Vec<String>) -> Result<(), String> {
    let mut begun: BTreeMap<&str, u32> = BTreeMap::new();
    let mut succeeded: Vec<&str> = Vec::new();
    for line in witness {
        let words: Vec<&str> = line.split(' ').collect();
        let &[step, attempt, ref what @ ..] = words.as_slice() else { return Err(format!("odd line: {line}")) };
        let attempt: u32 = attempt.parse().map_err(|_| format!("odd line: {line}"))?;
        let newest = begun.entry(step).or_default();
        match *what {
            ["begin"] if attempt <= *newest => return Err(format!("{line}: begun after attempt {newest}")),
            ["begin"] => *newest = attempt,
            ["end", _] if attempt != *newest => return Err(format!("{line}: it overlaps attempt {newest}")),
            ["end", code] => succeeded.extend((code == "0").then_some(step)),
            _ => return Err(format!("odd line: {line}")),
        }
        if what == ["begin"]
            && let Some(missing) = needs(step).into_iter().find(|need| !succeeded.contains(&need.as_str()))
        {
            return Err(format!("{line}: before {missing} succeeded"));
        }
    }
    Ok(())
}
