//! A volume of our own, laid out for a plan of three steps.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use podturn::plan::{PodFacts, Source, check};
use podturn::volume::{Bell, Durability, Mailboxes, Placement, Run, Volume, lay_out};
use podturn_turn::{Event, Kind, Plan, StepId};
use podturn_wire::{RunId, VERSION};
use tempfile::TempDir;

pub(crate) const PLAN: &str = "steps: { build: {}, test: { dependsOn: [build] }, report: { finally: true } }";
pub(crate) const BUILD: StepId = StepId(0);
pub(crate) const STEPS: [StepId; 3] = [StepId(0), StepId(1), StepId(2)];

pub(crate) struct House {
    /// Removed with everything in it when the house goes.
    _directory: Option<TempDir>,
    pub(crate) volume: Volume,
    pub(crate) run: Run,
}

impl House {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut house = Self::at(directory.path());
        house._directory = Some(directory);
        house
    }

    /// A house in a directory that is somebody else's to remove.
    pub(crate) fn at(path: &Path) -> Self {
        // The steps' users have to get through.
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own directory");
        let volume = Volume::open(path).expect("a directory");
        let run = lay_out(&volume, wanted(1)).expect("there is room");
        Self { _directory: None, volume, run }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.volume.path().join(name)
    }

    pub(crate) fn mailboxes(&self) -> Mailboxes {
        let names = self.run.plan.steps.iter().map(|step| step.name.as_str());
        self.volume.mailboxes(names, self.run.durability).expect("they were laid out")
    }
}

pub(crate) fn plan(text: &str) -> Plan {
    check(&Source::file("plan", text), &PodFacts::default()).unwrap_or_else(|error| panic!("{error}")).plan
}

/// What an init container of the pod `pod-1` wants in its first boot.
pub(crate) fn wanted(run: u64) -> Run {
    Run {
        version: VERSION,
        run: RunId(run),
        boot_id: "boot-1".to_owned(),
        pod_uid: Some("pod-1".to_owned()),
        placement: Placement::Container,
        durability: Durability::Process,
        bell: Bell::Socket,
        plan: plan(PLAN),
        termination_grace_seconds: 30,
        resources: BTreeMap::new(),
    }
}

pub(crate) fn started(seq: u64) -> Event {
    Event { seq, at: seq * 1000, kind: Kind::CoordinatorStarted { rebooted: false } }
}

/// Everything beneath a directory: kind, mode and content of each file.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("it can be listed") {
            let path = entry.expect("it can be listed").path();
            let meta = fs::symlink_metadata(&path).expect("it is there");
            let kind = meta.file_type();
            let content = if kind.is_file() { fs::read(&path).expect("it can be read") } else { Vec::new() };
            let word = match kind {
                _ if kind.is_dir() => "directory",
                _ if kind.is_file() => "file",
                _ if kind.is_socket() => "socket",
                _ => "other",
            };
            let mode = meta.permissions().mode() & 0o7777;
            let text = format!("{word} {mode:o} {}", String::from_utf8_lossy(&content));
            found.insert(path.strip_prefix(root).expect("it is beneath").to_owned(), text);
            if kind.is_dir() {
                open.push(path);
            }
        }
    }
    found
}
