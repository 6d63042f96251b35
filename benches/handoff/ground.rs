//! What every contender stands on: the compiled step and floor, directories in memory and on disk, stamps, and children
//! that are gone when the benchmark is.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::graph::Graph;

/// Nothing that is measured takes a hundredth of it: whoever needs longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Programs and directories of one execution of the benchmark.
pub(crate) struct Ground {
    pub(crate) memory: tempfile::TempDir,
    pub(crate) disk: tempfile::TempDir,
    pub(crate) stamp: PathBuf,
    pub(crate) floor: PathBuf,
}

impl Ground {
    /// Compiles the two C programs with the machine's `cc`.
    pub(crate) fn prepare() -> Self {
        let new_directory = |parent: &str| {
            let made = tempfile::Builder::new().prefix("podturn-bench-").tempdir_in(parent);
            made.unwrap_or_else(|error| panic!("making a directory in {parent}: {error}"))
        };
        let memory = new_directory("/dev/shm");
        let disk = new_directory(env!("CARGO_TARGET_TMPDIR"));
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/handoff");
        let compile = |name: &str, options: &[&str]| {
            let program = disk.path().join(name);
            let mut cc = Command::new("cc");
            cc.args(["-O2", "-s", "-static", "-o"]).arg(&program).args(options);
            let status = cc.arg(sources.join(format!("{name}.c"))).status();
            assert!(status.is_ok_and(|status| status.success()), "compiling {name}.c with {cc:?}");
            program
        };
        let stamp = compile("stamp", &["-nostdlib", "-nostartfiles", "-fno-stack-protector"]);
        let floor = compile("floor", &[]);
        Self { memory, disk, stamp, floor }
    }

    /// The command line of a step.
    pub(crate) fn step(&self, stamps: &Stamps, index: usize) -> Vec<String> {
        vec![text(&self.stamp), text(&stamps.path), index.to_string()]
    }
}

/// The file into which every step of one run writes when it started and ended. Always in memory.
pub(crate) struct Stamps {
    pub(crate) path: PathBuf,
    file: std::fs::File,
}

/// When a step started and ended, in nanoseconds of `CLOCK_BOOTTIME`; 0: it has not.
#[derive(Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Stamps {
    pub(crate) fn new(directory: &Path) -> Self {
        let path = directory.join("stamps");
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.expect("making the file of stamps");
        file.set_len(65536).expect("making room for 4,096 steps");
        Self { path, file }
    }

    pub(crate) fn of(&self, step: usize) -> Stamp {
        let mut pair = [0; 16];
        self.file.read_exact_at(&mut pair, 16 * step as u64).expect("reading a stamp");
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        Stamp { start: number(&pair[..8]), end: number(&pair[8..]) }
    }

    /// All stamps of a run, once it is seen that every step ran, and ran in order: a contender that breaks the order is
    /// no contender.
    pub(crate) fn checked(&self, graph: &Graph) -> Vec<Stamp> {
        let stamps: Vec<Stamp> = (0..graph.len()).map(|step| self.of(step)).collect();
        for (step, dependencies) in graph.dependencies.iter().enumerate() {
            assert!(stamps[step].start > 0 && stamps[step].end > 0, "{}: step {step} did not run", graph.name);
            for &dependency in dependencies {
                let in_order = stamps[dependency].end <= stamps[step].start;
                assert!(in_order, "{}: step {step} ran before step {dependency} had ended", graph.name);
            }
        }
        stamps
    }
}

/// Children that do not outlive this value.
#[derive(Default)]
pub(crate) struct Children(Vec<Child>);

impl Children {
    /// Starts a program without input and output.
    pub(crate) fn start(&mut self, command: &mut Command) -> u32 {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.add(command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}")))
    }

    pub(crate) fn add(&mut self, child: Child) -> u32 {
        let pid = child.id();
        self.0.push(child);
        pid
    }

    /// Waits for all of them.
    pub(crate) fn wait(mut self) {
        while let Some(mut child) = self.0.pop() {
            wait_until("a program to end", || child.try_wait().expect("waiting for a child").is_some());
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks every millisecond: seldom enough not to be in the way of what is measured.
pub(crate) fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !come() {
        assert!(begun.elapsed() < LIMIT, "waited for {what} for {LIMIT:?}");
        pause(Duration::from_millis(1));
    }
}

/// Lets time pass: to observe what is idle, and to let what was just started come to rest.
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Nanoseconds of `CLOCK_BOOTTIME`, the clock of the stamps.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("reading the clock");
    u64::try_from(Duration::from(now).as_nanos()).expect("a time since boot")
}

/// A path as text; all of ours are.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
