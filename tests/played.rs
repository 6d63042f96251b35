//! What `podturn run` plays is what `podturn inject` writes: the pod that is wired in memory, and the one that is read from the text
//! which `inject` has written, are one.

use std::fs;
use std::path::{Path, PathBuf};

use podturn::inject::{PODTURN, PODTURN_INIT, inject};
use podturn::local::{self, LocalPod, Program};
use podturn::plan::yaml::Node;
use podturn::plan::{Manifest, Placement, PodFacts, SourceFile};

/// The manifests that people start from, and the inputs of the cases of `podturn inject`.
fn inputs() -> Vec<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        ["manifests", "tests/inject"].map(|directory| fs::read_dir(package.join(directory)).expect("it is there"));
    let mut files: Vec<PathBuf> = files.into_iter().flatten().map(|entry| entry.expect("a file").path()).collect();
    let is_input = |name: &str| [".yaml", ".json"].iter().any(|end| name.ends_with(end)) && !name.contains(".out.");
    files.retain(|file| file.file_name().is_some_and(|name| is_input(&name.to_string_lossy())));
    files.sort();
    files
}

/// Volumes that only a cluster has.
fn stand_ins(manifest: &Manifest) -> Vec<(String, PathBuf)> {
    let volumes = manifest.spec.get("volumes").and_then(Node::items).unwrap_or_default();
    let claims = volumes.iter().filter(|volume| volume.get("persistentVolumeClaim").is_some());
    claims.filter_map(|claim| Some((claim.get("name")?.as_str()?.to_owned(), PathBuf::from("/tmp")))).collect()
}

/// The pod as `podturn run` plays it; `None`: it cannot, or its plan is no plan.
fn played(manifest: &Manifest) -> Option<LocalPod> {
    let facts = PodFacts { placement: Placement::Sidecar, ..manifest.facts.clone() };
    let checked = manifest.check(&facts).ok()?;
    local::runnable(manifest, &checked, &local::options(), &stand_ins(manifest)).ok().map(|wired| wired.pod)
}

/// What `podturn run` says to podturn's own containers besides, for whoever sits before it.
fn as_in_a_cluster(mut pod: LocalPod) -> LocalPod {
    for container in &mut pod.init_containers {
        if container.name == PODTURN_INIT {
            assert!(container.is_quiet, "the plan's warnings are told once");
            container.is_quiet = false;
        }
        if let Program::Podturn(arguments) = &mut container.program
            && container.name == PODTURN
        {
            assert_eq!(arguments.split_off(1), ["--quiet", "--log=text"]);
        }
    }
    pod
}

#[test]
fn what_run_plays_is_what_inject_writes() {
    let mut names = Vec::new();
    for file in inputs() {
        let (name, text) = (file.display().to_string(), fs::read_to_string(&file).expect("it can be read"));
        // Those with no plan or several, with a plan that is none, and with what only a cluster has are other tests' business.
        let Ok(manifest) = Manifest::read(&name, text.clone()) else { continue };
        if manifest.is_wired {
            continue;
        }
        let Some(in_memory) = played(&manifest) else { continue };
        let written = inject(&SourceFile::new(name.clone(), text), &local::options());
        let written = written.unwrap_or_else(|wrong| panic!("{}", wrong.render(false))).text;
        let wired = Manifest::read(&name, written).unwrap_or_else(|wrong| panic!("{}", wrong.render(false)));
        let from_text = played(&wired).unwrap_or_else(|| panic!("{name} is played once it is wired"));
        assert_eq!(as_in_a_cluster(in_memory), from_text, "{name}");
        names.push(name);
    }
    assert!(names.len() >= 30, "most of them are played: {names:#?}");
}
