//! The manifests in `manifests/`, in real containers of real images with a shared process namespace: `podman kube play`.
//!
//! What podman 4 leaves out of a pod is left to other tests: it ignores `subPath` (so the whole volume is mounted here,
//! which the protocol allows), knows no native sidecars, and restarts nothing under `restartPolicy: Never`.

mod engine;
mod people;
#[path = "../support/pty.rs"]
mod pty;
mod store;
mod watch;
mod wired;

use std::collections::BTreeMap;

use nix::sys::stat::Mode;
use store::Store;

const BY_HAND: &str = include_str!("../../manifests/by-hand.yaml");
const MAVEN: &str = include_str!("../../manifests/maven.yaml");
const BUILDS: &str = "echo building; echo 'the app' > /work/app";
const STEPS: [&str; 5] = ["build", "test", "greet", "publish", "report"];

/// The manifest with the whole volume mounted where a kubelet would mount a step's mailbox by `subPath`.
fn without_sub_paths(manifest: &str) -> String {
    let mut lines = Vec::new();
    for line in manifest.lines() {
        match line.split_once(", mountPath: /podturn/steps/") {
            Some((volume, mailbox)) if mailbox.contains("/in,") => {
                lines.push(format!("{volume}, mountPath: /podturn }}"))
            }
            Some(_) => {}
            None => lines.push(line.to_owned()),
        }
    }
    let manifest = lines.join("\n");
    assert!(!manifest.contains("subPath:"), "a subPath mount that this test does not know:\n{manifest}");
    manifest
}

/// The manifest with something else in one place.
fn with(manifest: &str, from: &str, to: &str) -> String {
    assert_eq!(manifest.matches(from).count(), 1, "the manifest should have exactly one {from:?}");
    manifest.replace(from, to)
}

fn codes<const N: usize>(codes: [(&'static str, u8); N]) -> BTreeMap<&'static str, u8> {
    BTreeMap::from(codes)
}

#[test]
fn the_dag_is_kept_in_real_containers() {
    let Some(store) = Store::new() else { return };
    let pod = store.play("by-hand", &without_sub_paths(BY_HAND));
    let expected = codes([("build", 0), ("test", 0), ("greet", 0), ("publish", 0), ("report", 0)]);
    assert_eq!(pod.exit_codes(&STEPS), expected, "{}", pod.errors("podturn"));
    assert_eq!(pod.exit_code("podturn"), 0);
    // Each has seen what the one before it left, and its log is its own.
    assert_eq!(pod.output("build"), "building\n");
    assert_eq!(pod.output("test"), "testing\nthe app\n");
    assert_eq!(pod.output("greet"), "hello from an empty image\n");
    assert_eq!(pod.output("publish"), "publishing the app\n");
    assert_eq!(pod.output("report"), "reporting\n");
    assert_eq!(pod.errors("build"), "Succeeded: its command ended with code 0\n");
    let journal = std::fs::read_to_string(pod.volume("by-hand-turns").join("journal.jsonl")).expect("the journal");
    assert_eq!(begun(&journal)[0], 0, "build is first: {journal}");
    assert_eq!(begun(&journal)[3..], [3, 4], "publish after both, report at the end: {journal}");
    assert_eq!(pod.state(), "Exited");
}

/// What a kubelet makes of `inject --shim-from image` (KEP-4639), and `podman kube play` 4.3 cannot: the shim comes out of an image
/// that is mounted beside the mailbox, and nothing on the volume can be executed.
#[test]
fn the_shim_runs_out_of_an_image_that_is_mounted() {
    let Some(store) = Store::new() else { return };
    let volume = tempfile::Builder::new().prefix("podturn-").tempdir_in("/tmp").expect("making a directory");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(volume.path(), open).expect("our own directory");
    let at = |part: &str, options: &str| format!("{}{part}:/podturn{part}:{options}", volume.path().display());
    let own = |name: &str| format!("localhost/{name}:{}", env!("CARGO_PKG_VERSION"));
    let (whole, podturn) = (at("", "rw"), own("podturn"));
    let of_pod = ["run", "--network", "host", "--volume", whole.as_str()];
    let plan = ["--env", "PODTURN_PLAN=steps: [build, test]", podturn.as_str(), "init", "--shim-from", "image"];
    store.podman(&[&of_pod[..], &plan].concat());
    store.podman(&[&of_pod[..], &["--detach", "--name", "coordinator", &podturn, "coordinate"]].concat());
    let step = |name: &str, script: &str| {
        let [inside, outside] = ["in:ro", "out:rw"].map(|half| half.split_once(':').expect("two words"));
        let [inside, outside] = [inside, outside].map(|(half, how)| at(&format!("/steps/{name}/{half}"), how));
        let shim = format!("type=image,source={},destination=/podturn/steps/{name}/shim", own("podturn-shim"));
        let program = format!("/podturn/steps/{name}/shim/podturn-shim");
        let options = ["run", "--network", "host", "--volume", &inside, "--volume", &outside, "--mount", &shim];
        store.try_podman(
            &[&options[..], &["localhost/busybox:1.37", &program, "run", "--", "sh", "-c", script]].concat(),
        )
    };
    let writes = "echo x > /podturn/steps/build/shim/podturn-shim";
    let (first, second) = std::thread::scope(|scope| {
        // The later one first, so that it has to wait.
        let second = scope.spawn(|| step("test", "echo $PODTURN_STEP runs; exit 3"));
        (step("build", &format!("{writes}; echo built $?")), second.join().expect("it has not panicked"))
    });
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((first.status.code(), said(&first).as_str()), (Some(0), "built 1\n"), "{first:?}");
    assert!(String::from_utf8_lossy(&first.stderr).contains("Read-only file system"), "{first:?}");
    assert_eq!((second.status.code(), said(&second).as_str()), (Some(3), "test runs\n"), "{second:?}");
    assert_eq!(store.podman(&["wait", "coordinator"]).trim(), "1", "the plan has failed");
    let journal = std::fs::read_to_string(volume.path().join("journal.jsonl")).expect("the journal");
    assert_eq!(begun(&journal), [0, 1], "one after the other: {journal}");
}

/// The steps in the order in which they began, by the journal.
fn begun(journal: &str) -> Vec<u64> {
    let mut began = BTreeMap::new();
    for line in journal.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        if let (Some(step), Some(at)) = (event["step"].as_u64(), event["startedAt"].as_u64()) {
            began.insert(at, step);
        }
    }
    began.into_values().collect()
}

#[test]
fn a_failure_ends_everybody_and_says_why() {
    let Some(store) = Store::new() else { return };
    let pod = store.play("by-hand", &with(&without_sub_paths(BY_HAND), BUILDS, "echo broken >&2; exit 3"));
    let expected = codes([("build", 3), ("test", 0), ("greet", 0), ("publish", 0), ("report", 0)]);
    assert_eq!(pod.exit_codes(&STEPS), expected, "{}", pod.errors("podturn"));
    assert_eq!(pod.exit_code("podturn"), 1, "the coordinator as an ordinary container shows the outcome");
    for omitted in ["test", "greet", "publish"] {
        assert_eq!(pod.output(omitted), "", "{omitted} ran");
    }
    assert_eq!(pod.errors("build"), "broken\nFailed (ExitCode): its command ended with code 3\n");
    assert_eq!(pod.errors("test"), "Omitted (DependencyLost): build Failed (ExitCode 3)\n");
    assert_eq!(pod.errors("publish"), "Omitted (DependencyLost): test was Omitted (DependencyLost)\n");
    assert_eq!(pod.output("report"), "reporting\n");
    assert_eq!(pod.state(), "Exited");
}

#[test]
fn a_killed_step_is_lost_and_nobody_waits_for_it() {
    let Some(store) = Store::new() else { return };
    let stays = "echo building; exec sleep 100000";
    let pod = store.play("by-hand", &with(&without_sub_paths(BY_HAND), BUILDS, stays));
    pod.wait_for_line("build", "building");
    pod.kill("build");
    let expected = codes([("build", 137), ("test", 0), ("greet", 0), ("publish", 0), ("report", 0)]);
    assert_eq!(pod.exit_codes(&STEPS), expected, "{}", pod.errors("podturn"));
    assert_eq!(pod.exit_code("podturn"), 1);
    assert_eq!(pod.errors("test"), "Omitted (DependencyLost): build Failed (ShimLost)\n");
    assert_eq!(pod.output("report"), "reporting\n");
    assert_eq!(pod.state(), "Exited");
}

#[test]
fn without_a_coordinator_what_runs_ends_and_what_waits_gives_up() {
    let Some(store) = Store::new() else { return };
    let manifest = with(&without_sub_paths(BY_HAND), "coordinatorGrace: 30s", "coordinatorGrace: 1s");
    let waits = "mkfifo /work/gate; echo building; cat /work/gate; exit 5";
    let pod = store.play("by-hand", &with(&manifest, BUILDS, waits));
    pod.wait_for_line("build", "building");
    pod.kill("podturn");
    for waiting in ["test", "greet", "publish", "report"] {
        assert_eq!(pod.exit_code(waiting), 125, "{waiting}: {}", pod.errors(waiting));
        let why = "podturn-shim: no coordinator for 1 s (coordinatorGrace): giving up\n";
        assert_eq!(pod.errors(waiting), why, "{waiting}");
    }
    // The others have given up, and the build still runs: it ends by itself, with its own code.
    let gate = pod.volume("by-hand-work").join("gate");
    let gate = nix::fcntl::open(&gate, nix::fcntl::OFlag::O_WRONLY | nix::fcntl::OFlag::O_NONBLOCK, Mode::empty());
    drop(gate.expect("the build reads from its gate"));
    assert_eq!(pod.exit_code("build"), 5, "{}", pod.errors("build"));
    assert_eq!(pod.exit_code("podturn"), 137);
    assert_eq!(pod.state(), "Exited");
}

#[test]
fn the_application_starts_when_maven_has_built_it() {
    let Some(store) = Store::new() else { return };
    let pod = store.play("maven", &without_sub_paths(MAVEN));
    let expected = codes([("build", 0), ("app", 0)]);
    assert_eq!(pod.exit_codes(&["build", "app"]), expected, "{}\n{}", pod.output("build"), pod.errors("podturn"));
    assert!(pod.output("build").contains("BUILD SUCCESS"), "{}", pod.errors("build"));
    assert_eq!(pod.output("app"), "the application runs\n");
    assert_eq!(pod.state(), "Exited");
}

#[test]
fn a_failed_build_ends_the_application_that_waits_for_it() {
    let Some(store) = Store::new() else { return };
    let broken = with(&without_sub_paths(MAVEN), "<finalName>app</finalName>", "<finalName>other</finalName>");
    let pod = store.play("maven", &broken);
    assert_eq!(pod.exit_codes(&["build", "app"]), codes([("build", 1), ("app", 0)]), "{}", pod.errors("podturn"));
    assert_eq!(pod.errors("app"), "Omitted (DependencyLost): build Failed (ExitCode 1)\n");
    assert_eq!(pod.exit_code("podturn"), 1);
    assert_eq!(pod.state(), "Exited");
}
