//! The pictures in `docs/pictures/`: real runs of five manifests, each as it is and with a failure, in the middle of which the graph, the
//! terminal and the live page are drawn, and at the end the report.
//!
//! `just pictures` makes them anew: `PODTURN_PICTURES=1 cargo test --test pictures`, which needs `/usr/bin/chromium`, `node`, `pngquant`,
//! and `npm ci` in `tests/browser`. Without it they are only seen to be there. Look at them before you commit them.

#[path = "../support/pty.rs"]
mod pty;
mod screen;
mod stories;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use pty::Screen;
use stories::{STORIES, Story};

/// What is drawn of each story.
const KINDS: [&str; 4] = ["graph.svg", "watch.svg", "page.png", "report.png"];

/// What one picture, and all of them together, may add to the repository, in bytes.
const MOST: u64 = 120 * 1024;
const MOST_IN_ALL: u64 = 2 * 1024 * 1024;

/// The terminal of the pictures, in columns and lines.
const SIZE: (u16, u16) = (100, 22);

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names() -> impl Iterator<Item = String> {
    STORIES.iter().flat_map(|story| KINDS.iter().map(|kind| format!("{}-{}-{kind}", story.manifest, story.way)))
}

/// The pictures that a page of the documentation shows.
fn shown(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository(page)).expect("a page of the documentation");
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter_map(|link| link.strip_prefix("pictures/")).map(str::to_owned).collect()
}

#[test]
fn every_picture_is_there_small_and_shown() {
    let wanted: BTreeSet<String> = names().collect();
    let files = fs::read_dir(repository("docs/pictures")).expect("the pictures").map(|entry| entry.expect("a file"));
    let mut sum = 0;
    let mut there = BTreeSet::new();
    for file in files {
        let name = file.file_name().into_string().expect("UTF-8");
        let length = file.metadata().expect("a file").len();
        assert!(length > 0 && length <= MOST, "{name} has {length} bytes");
        sum += length;
        there.insert(name);
    }
    assert_eq!(there, wanted, "docs/pictures has what `just pictures` makes, and nothing else");
    assert_eq!(shown("docs/pictures.md"), wanted, "docs/pictures.md leads through all of them");
    assert!(sum <= MOST_IN_ALL, "all together have {sum} bytes");
}

#[test]
fn each_manifest_goes_well_and_fails() {
    for manifest in ["build-scan-publish", "database-test", "proxy-job", "services-in-order", "train-evaluate"] {
        let ways: Vec<&str> =
            STORIES.iter().filter(|story| story.manifest == manifest).map(|story| story.way).collect();
        assert_eq!(ways, ["good", "failing"], "{manifest}");
    }
    STORIES.iter().for_each(|story| drop(changed(story, Path::new("/volume"))));
}

/// The manifest as the story has it. Its volume is a directory that is seen from here.
fn changed(story: &Story, volume: &Path) -> String {
    let file = format!("manifests/{}.yaml", story.manifest);
    let text = fs::read_to_string(repository(&file)).expect("a manifest");
    let volume = format!("hostPath: {{ path: {} }}", volume.display());
    [("emptyDir: {}", volume.as_str())].iter().chain(story.changes).fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{file} has exactly one {from:?}");
        text.replace(from, to)
    })
}

#[test]
fn the_pictures_are_made() {
    if std::env::var_os("PODTURN_PICTURES").is_none() {
        return; // nothing is tested: this is how they are made
    }
    let only = std::env::var("PODTURN_PICTURES").unwrap_or_default();
    for story in STORIES.iter().filter(|story| only == "1" || format!("{}-{}", story.manifest, story.way) == only) {
        draw(story);
    }
}

/// A run under way. It dies with this.
struct Run {
    child: Child,
    directory: tempfile::TempDir,
    /// Where its page is.
    url: String,
}

impl Run {
    fn start(story: &Story) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["tmp", "volume"] {
            fs::create_dir(directory.path().join(name)).expect("a fresh directory");
        }
        let manifest = directory.path().join("manifest.yaml");
        fs::write(&manifest, changed(story, &directory.path().join("volume"))).expect("it can be written");
        let mut command = podturn(directory.path(), &["run", "--listen", "127.0.0.1:0", "--report"]);
        command.arg(directory.path().join("report.html")).arg(manifest);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("podturn runs");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let url = said.find_map(|line| Some(line.split_once("page of this run is at ")?.1.to_owned()));
        std::thread::spawn(move || said.for_each(drop));
        Self { child, directory, url: url.expect("it says where its page is") }
    }

    fn podturn(&self, arguments: &[&str]) -> Command {
        podturn(self.directory.path(), arguments)
    }

    /// Waits until the steps are in these phases, and attempts.
    fn wait(&self, moment: &[(&str, &str)]) {
        let is_there = || {
            let state = self.podturn(&["status", "--json"]).output().expect("podturn runs").stdout;
            let state: Value = serde_json::from_slice(&state).unwrap_or_default();
            let steps = state["steps"].as_array().map_or(&[][..], Vec::as_slice);
            let is_in = |step: &Value, phase: &str| {
                let (phase, attempt) = phase.split_once(' ').map_or((phase, None), |(phase, of)| (phase, Some(of)));
                step["phase"] == phase && attempt.is_none_or(|attempt| step["attempt"].as_u64() == attempt.parse().ok())
            };
            moment.iter().all(|(name, phase)| steps.iter().any(|step| step["name"] == *name && is_in(step, phase)))
        };
        assert!((0..10_000).any(|_| is_there()), "it never came to {moment:?}");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command of podturn that knows of this run and no other.
fn podturn(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podturn"));
    command.args(arguments).env("TMPDIR", directory.join("tmp")).stdin(Stdio::null());
    for name in ["PODTURN_VOLUME", "GITHUB_STEP_SUMMARY", "OTEL_EXPORTER_OTLP_ENDPOINT", "NO_COLOR", "CI"] {
        command.env_remove(name);
    }
    command
}

fn draw(story: &Story) {
    let picture = |kind: &str| {
        assert!(KINDS.contains(&kind), "{kind}");
        repository(&format!("docs/pictures/{}-{}-{kind}", story.manifest, story.way))
    };
    let mut run = Run::start(story);
    run.wait(story.moment);
    let screen = watch(&run);
    let title = format!("podturn watch: {}, {}", story.manifest, story.way);
    fs::write(picture("watch.svg"), screen::svg(screen.parser.screen(), &title)).expect("it can be written");
    let graph = run.podturn(&["graph", "--output", "svg"]).output().expect("podturn runs");
    assert!(graph.status.success(), "{}", String::from_utf8_lossy(&graph.stderr));
    fs::write(picture("graph.svg"), graph.stdout).expect("it can be written");
    photograph(&run.url, &picture("page.png"));
    drop(screen);

    fs::write(run.directory.path().join("volume/go-on"), "").expect("it can be written");
    if story.is_endless {
        kill(Pid::from_raw(run.child.id().cast_signed()), Signal::SIGINT).expect("it is our child");
    }
    run.child.wait().expect("it is our child");
    photograph(run.directory.path().join("report.html").to_str().expect("UTF-8"), &picture("report.png"));
}

/// `podturn watch` once it shows what it knows of the run.
fn watch(run: &Run) -> Screen {
    let mut command = run.podturn(&["watch", "--color", "always"]);
    command.env("TERM", "xterm-256color");
    let mut screen = Screen::start(command, SIZE);
    screen.wait("q quit");
    screen
}

fn photograph(page: &str, picture: &Path) {
    let mut node = Command::new("node");
    node.arg("picture.mjs").arg(page).arg(picture).current_dir(repository("tests/browser"));
    assert!(node.status().is_ok_and(|status| status.success()), "{} is not made", picture.display());
}
