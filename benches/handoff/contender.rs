//! Who is compared: each runs a graph of steps once, with everybody started and waiting before the first step goes.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::graph::Graph;
use crate::ground::{Children, Ground, Stamp, Stamps, pause, text, wait_until};
use crate::onlookers::Onlookers;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// podturn, its volume in memory, as an emptyDir with `medium: Memory`.
    Memory,
    /// The same, while somebody looks at its page and somebody else scrapes its metrics.
    Watched,
    /// podturn, its volume on this machine's disk.
    Disk,
    /// The least that a coordinator and shims can do: `floor.c`.
    Floor,
    /// `make -j64`.
    Make,
    /// `sh -c 'a && b'`.
    Sh,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] = [Self::Memory, Self::Watched, Self::Disk, Self::Floor, Self::Make, Self::Sh];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "podturn, in memory",
            Self::Watched => "the same, a page open and a scraper",
            Self::Disk => "podturn, on disk",
            Self::Floor => "bare socket floor",
            Self::Make => "make -j64",
            Self::Sh => "sh",
        }
    }

    /// Runs the graph once.
    pub(crate) fn run(self, ground: &Ground, graph: &Graph) -> Vec<Stamp> {
        let stamps = Stamps::new(ground.memory.path());
        match self {
            Self::Memory => run_podturn(ground, ground.memory.path(), graph, &stamps, None),
            Self::Watched => {
                let onlookers = Onlookers::new();
                run_podturn(ground, ground.memory.path(), graph, &stamps, Some(&onlookers));
                onlookers.leave();
            }
            Self::Disk => run_podturn(ground, ground.disk.path(), graph, &stamps, None),
            Self::Floor => run_floor(ground, graph, &stamps),
            Self::Make => {
                let makefile = ground.memory.path().join("Makefile");
                let content = graph.makefile(&text(&ground.stamp), &text(&stamps.path));
                std::fs::write(&makefile, content).expect("writing the makefile");
                run_alone(Command::new("make").args(["-r", "-R", "-s", "-j64", "-f"]).arg(&makefile));
            }
            Self::Sh => {
                let script = ground.memory.path().join("script");
                let content = graph.script(&text(&ground.stamp), &text(&stamps.path));
                std::fs::write(&script, content).expect("writing the script");
                run_alone(Command::new("sh").arg(&script));
            }
        }
        stamps.checked(graph)
    }
}

fn run_alone(command: &mut Command) {
    let mut children = Children::default();
    children.start(command);
    children.wait();
}

fn run_podturn(ground: &Ground, parent: &Path, graph: &Graph, stamps: &Stamps, onlookers: Option<&Onlookers>) {
    let listen = onlookers.map(|onlookers| format!("--listen={}", onlookers.address));
    let mut pod = Pod::start_with(parent, &graph.plan(), graph.len(), listen.as_deref());
    for step in 1..graph.len() {
        pod.start_shim(step, &ground.step(stamps, step));
    }
    pod.wait_for_arrivals(graph.len() - 1);
    onlookers.inspect(|onlookers| onlookers.wait());
    pod.start_shim(0, &ground.step(stamps, 0));
    pod.wait();
}

fn run_floor(ground: &Ground, graph: &Graph, stamps: &Stamps) {
    let directory = tempfile::tempdir_in(ground.memory.path()).expect("making the floor's directory");
    let (socket, edges) = (directory.path().join("socket"), directory.path().join("edges"));
    std::fs::write(&edges, graph.edges()).expect("writing the floor's graph");
    let mut children = Children::default();
    let mut coordinator = Command::new(&ground.floor);
    coordinator.arg("coordinate").args([&socket, &edges]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut coordinator = coordinator.spawn().expect("starting the floor's coordinator");
    let output = coordinator.stdout.take().expect("a pipe");
    children.add(coordinator);
    wait_until("the floor's socket", || socket.exists());
    let mut start_shim = |step: usize| {
        let mut shim = Command::new(&ground.floor);
        children.start(shim.arg("shim").arg(&socket).arg(step.to_string()).args(ground.step(stamps, step)));
    };
    (1..graph.len()).for_each(&mut start_shim);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).expect("reading what the floor's coordinator says");
    assert_eq!(line, "waiting\n", "the floor's coordinator ended");
    settle();
    start_shim(0);
    children.wait();
}

/// What was just started comes to rest: pages are faulted in, the published state is written.
fn settle() {
    pause(Duration::from_millis(30));
}

/// A coordinator and the shims of its steps, as a pod has them, but as processes of this machine.
pub(crate) struct Pod {
    pub(crate) volume: PathBuf,
    pub(crate) coordinator: u32,
    children: Children,
    _directory: tempfile::TempDir,
}

impl Pod {
    /// Lays out a volume for the plan and starts its coordinator.
    pub(crate) fn start(parent: &Path, plan: &str, steps: usize) -> Self {
        Self::start_with(parent, plan, steps, None)
    }

    /// The same with another argument for the coordinator.
    fn start_with(parent: &Path, plan: &str, steps: usize, argument: Option<&str>) -> Self {
        let directory = tempfile::tempdir_in(parent).expect("making the volume");
        let volume = directory.path().to_owned();
        let podturn = crate::program();
        let mut init = Command::new(&podturn);
        init.arg("init").arg("--volume").arg(&volume).env("PODTURN_PLAN", plan).stdout(Stdio::null());
        let status = init.status().unwrap_or_else(|error| panic!("starting {init:?}: {error}"));
        assert!(status.success(), "podturn init: {status}");
        let mut children = Children::default();
        let coordinator = children
            .start(Command::new(podturn).args(["coordinate", "--quiet", "--volume"]).arg(&volume).args(argument));
        let last_bell = volume.join(format!("steps/s{}/in/bell", steps - 1));
        wait_until("the coordinator's sockets", || last_bell.exists());
        Self { volume, coordinator, children, _directory: directory }
    }

    /// Starts the shim of a step with its command.
    pub(crate) fn start_shim(&mut self, step: usize, command: &[String]) -> u32 {
        let shim = self.volume.join(format!("steps/s{step}/in/podturn-shim"));
        self.children.start(Command::new(shim).args(["run", "--"]).args(command))
    }

    /// Waits until the coordinator has taken notice of so many steps, and then until all is quiet.
    pub(crate) fn wait_for_arrivals(&self, steps: usize) {
        let journal = self.volume.join("journal.jsonl");
        wait_until("the steps to arrive", || {
            let journal = std::fs::read_to_string(&journal).unwrap_or_default();
            journal.matches(r#""event":"arrived""#).count() == steps
        });
        settle();
    }

    /// Waits for the shims, and for the coordinator, which ends after them.
    pub(crate) fn wait(self) {
        self.children.wait();
    }
}
