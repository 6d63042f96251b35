//! Laying out: the same volume at the end, whatever was there before and wherever it was interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use assert_cmd::cargo::CommandCargoExt;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, mkdirat, umask};
use nix::unistd::mkfifo;
use podturn::volume::published::{State, WallClock};
use podturn::volume::{Durability, Journal, Run, bell, lay_out, lay_out_without_shim};
use podturn_turn::State as Core;
use podturn_wire::{RunId, names};

use crate::house::{BUILD, House, PLAN, STEPS, started, tree, wanted};

/// A volume on which a run has left all there can be: journal, state, turns, reports, outputs, bells.
fn used() -> House {
    let house = House::new();
    let (mut journal, _) = Journal::open(&house.volume, Durability::Process).expect("there is room");
    journal.append(&[started(1)]).expect("there is room");
    let clock = WallClock { boottime: 0, realtime: 0 };
    house.volume.publish(&State::of(&Core::new(house.run.plan.clone(), house.run.run), clock)).expect("there is room");
    let mailboxes = house.mailboxes();
    for (step, name) in STEPS.into_iter().zip(["build", "test", "report"]) {
        drop(bell::listen(&mailboxes, name).expect("a bell"));
        let turn = mailboxes.read_turn(step).expect("a turn").expect("the first one");
        mailboxes.write_turn(step, &podturn_wire::Turn { turn: 5, ..turn }).expect("there is room");
        let out = house.path("steps").join(name).join(names::OUT);
        fs::write(out.join(names::REPORT), "{}").expect("there is room");
        fs::create_dir(out.join(names::OUTPUTS)).expect("there is room");
        fs::write(out.join("outputs/version"), "1").expect("there is room");
    }
    house
}

fn fresh_tree() -> std::collections::BTreeMap<std::path::PathBuf, String> {
    let house = House::new();
    lay_out(&house.volume, next()).expect("there is room");
    tree(house.volume.path())
}

/// The next run on the same volume: another pod's.
fn next() -> Run {
    Run { pod_uid: Some("pod-2".to_owned()), ..wanted(2) }
}

#[test]
fn steps_that_have_the_shim_from_elsewhere_find_nothing_to_execute() {
    let house = House::new();
    lay_out_without_shim(&house.volume, next()).expect("there is room");
    let is_program = |(path, _): &(std::path::PathBuf, String)| {
        let file = fs::metadata(house.volume.path().join(path)).expect("it is there");
        file.is_file() && file.mode() & 0o111 != 0
    };
    let in_mailboxes = tree(&house.path("steps")).into_iter();
    let found: Vec<_> =
        in_mailboxes.map(|(path, what)| (house.path("steps").join(path), what)).filter(is_program).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(house.path("steps/build/in/turn.json").exists(), "the turn is where it always is");
}

#[test]
fn a_step_finds_what_it_needs_and_nothing_it_may_change() {
    let house = House::new();
    let mode = |name: &str| fs::metadata(house.path(name)).expect("it is there").mode() & 0o7777;
    assert_eq!((mode("steps/build"), mode("steps/build/in"), mode("steps/build/out")), (0o755, 0o755, 0o777));
    assert_eq!((mode("steps/build/in/podturn-shim"), mode("steps/build/in/turn.json")), (0o755, 0o644));
    let shim = |step: &str| fs::metadata(house.path("steps").join(step).join("in/podturn-shim")).expect("the shim");
    assert_eq!(shim("build").ino(), shim("report").ino(), "one file for all");
    let turn = house.mailboxes().read_turn(BUILD).expect("a turn").expect("rule C1");
    assert_eq!((turn.run, turn.instance, turn.turn, turn.attempt), (RunId(1), None, 0, None));
    assert_eq!((turn.signal, turn.grace, turn.coordinator_grace), (15, 10_000, 30_000));
    let stamp = house.volume.read_run().expect("a stamp").expect("it is there");
    assert_eq!(stamp, house.run);
}

#[test]
fn another_pods_run_leaves_nothing_behind() {
    let house = used();
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::write(outside.path().join("precious"), "1").expect("there is room");
    let out = house.path("steps/build/out");
    symlink(outside.path(), out.join("link")).expect("a link");
    fs::create_dir_all(out.join("shut/inside")).expect("there is room");
    fs::set_permissions(out.join("shut"), fs::Permissions::from_mode(0o000)).expect("our own directory");
    mkfifo(&out.join("fifo"), Mode::from_bits_truncate(0o600)).expect("a FIFO");
    let run = lay_out(&house.volume, next()).expect("it can be laid out anew");
    assert_eq!(run, next());
    assert_eq!(tree(house.volume.path()), fresh_tree());
    assert!(outside.path().join("precious").exists(), "links are not followed");
}

/// podturn's containers are of one user, steps may be of any: what root has made in a directory of its own, another user cannot
/// remove. A kubelet that starts all containers of a pod again (KEP-5532) begins a new run all the same.
#[test]
fn what_a_step_of_another_user_made_does_not_keep_a_new_run_from_beginning() {
    if !nix::unistd::geteuid().is_root() {
        return; // this user cannot be two
    }
    const PODTURN: u32 = 65532;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let volume = directory.path();
    fs::set_permissions(volume, fs::Permissions::from_mode(0o777)).expect("our own directory");
    let ours = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(ours.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let program = ours.path().join("podturn");
    fs::copy(assert_cmd::cargo::cargo_bin("podturn"), &program).expect("another user may read it there");
    let init = || {
        let mut command = Command::new(&program);
        command.arg("init").env_clear().env("PODTURN_VOLUME", volume).env("PODTURN_PLAN", PLAN);
        told(command.uid(PODTURN).gid(PODTURN))
    };
    assert_eq!(init().0, Some(0));
    let fresh = tree(volume);
    for time in 0..2 {
        let out = volume.join("steps/build/out");
        fs::write(out.join(names::REPORT), "{}").expect("there is room");
        for name in [names::OUTPUTS, "shut"] {
            fs::create_dir_all(out.join(name).join("inside")).expect("there is room");
            fs::write(out.join(name).join("version"), "1").expect("there is room");
        }
        fs::set_permissions(out.join("shut"), fs::Permissions::from_mode(0o700)).expect("our own directory");
        let (code, _, err) = init();
        assert_eq!((code, err.as_str()), (Some(0), ""), "time {time}");
        let names = |tree: BTreeMap<PathBuf, String>| -> Vec<PathBuf> {
            tree.into_keys().filter(|path| !path.starts_with(".rubbish")).collect()
        };
        assert_eq!(names(tree(volume)), names(fresh.clone()), "time {time}");
    }
}

/// A step's tree may be deeper than a path has room, or than a process may have open files.
#[test]
fn a_very_deep_tree_of_a_step_is_removed_too() {
    let house = used();
    let open = |at: &OwnedFd, name: &str| openat(at, name, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let out = house.path("steps/build/out");
    let mut at = openat(AT_FDCWD, &out, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).expect("a directory");
    for _ in 0..3000 {
        mkdirat(&at, "deeper", Mode::from_bits_truncate(0o700)).expect("there is room");
        at = open(&at, "deeper").expect("our own directory");
    }
    drop(at);
    let mut command = init(house.volume.path());
    command.env("PODTURN_PLAN", PLAN);
    // SAFETY: setrlimit(2) is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(setrlimit(Resource::RLIMIT_NOFILE, 64, 64)?)) };
    let (code, _, err) = told(&mut command);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let paths = |root: &Path| tree(root).into_keys().collect::<Vec<_>>();
    assert_eq!(paths(house.volume.path()), paths(House::new().volume.path()));
}

/// Every state in which an init container that is killed can leave a volume: what it clears goes in one order, what it
/// makes comes in another.
#[test]
fn an_init_container_that_was_killed_half_way_is_run_again() {
    let clearing = ["run.json", "state.json", "journal.jsonl", ".journal.reserve", "steps/test", "steps/build/in"];
    for count in 1..=clearing.len() {
        let house = used();
        clearing[..count].iter().for_each(|name| remove(&house.path(name)));
        lay_out(&house.volume, next()).unwrap_or_else(|error| panic!("after {:?}: {error}", &clearing[..count]));
        assert_eq!(tree(house.volume.path()), fresh_tree(), "after {:?}", &clearing[..count]);
    }
    let house = used();
    fs::create_dir(house.path(".rubbish")).expect("there is room");
    fs::rename(house.path("steps"), house.path(".rubbish/0")).expect("our own directory");
    fs::rename(house.path(".rubbish/0/build"), house.path(".rubbish/1")).expect("our own directory");
    clearing[..4].iter().for_each(|name| remove(&house.path(name)));
    lay_out(&house.volume, next()).unwrap_or_else(|error| panic!("with half of the rubbish gone: {error}"));
    assert_eq!(tree(house.volume.path()), fresh_tree(), "with half of the rubbish gone");
    let making = [
        "run.json",
        "steps/report/in/turn.json",
        "steps/build/in/turn.json",
        "steps/report/in/podturn-probe",
        "steps/report/in/podturn-shim",
        "steps/report/out",
        "steps/report",
        "steps/build/in",
        "podturn-probe",
        "podturn-shim",
        "steps",
    ];
    for count in 1..=making.len() {
        let house = House::new();
        lay_out(&house.volume, next()).expect("there is room");
        making[..count].iter().for_each(|name| remove(&house.path(name)));
        fs::write(house.path("podturn-shim.new"), "half a shim").expect("there is room");
        fs::write(house.path(".run.json.new"), "{\"vers").expect("there is room");
        lay_out(&house.volume, next()).unwrap_or_else(|error| panic!("without {:?}: {error}", &making[..count]));
        assert_eq!(tree(house.volume.path()), fresh_tree(), "without {:?}", &making[..count]);
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).expect("our own directory");
    } else if path.exists() {
        fs::remove_file(path).expect("our own file");
    }
}

#[test]
fn after_a_reboot_the_same_pod_goes_on_with_its_run() {
    let house = used();
    let before = tree(house.volume.path());
    let again = Run { boot_id: "boot-2".to_owned(), ..wanted(2) };
    let run = lay_out(&house.volume, again).expect("it goes on");
    assert_eq!(run, house.run, "the stamp tells the coordinator of the reboot, so it stays as it was");
    assert_eq!(tree(house.volume.path()), before, "journal, turns and reports stay");
}

#[test]
fn in_any_other_case_it_is_a_new_run() {
    let cases = [
        ("all containers restarted in place", wanted(2)),
        ("another pod after a reboot", Run { boot_id: "boot-2".to_owned(), ..next() }),
        ("nobody knows which pod", Run { boot_id: "boot-2".to_owned(), pod_uid: None, ..wanted(2) }),
    ];
    for (case, again) in cases {
        let house = used();
        assert_eq!(lay_out(&house.volume, again.clone()).expect("there is room"), again, "{case}");
        assert_eq!(Journal::open(&house.volume, Durability::Process).expect("a journal").1, [], "{case}");
        assert!(!house.path("steps/build/out/report.json").exists() && !house.path("steps/build/in/bell").exists());
    }
}

#[test]
fn a_stamp_that_nobody_understands_is_another_runs() {
    let house = used();
    fs::write(house.path(names::RUN), "{\"version\":7}").expect("our own file");
    assert_eq!(lay_out(&house.volume, next()).expect("there is room"), next());
    assert_eq!(tree(house.volume.path()), fresh_tree());
}

// --- podturn init ---

fn init(volume: &Path) -> Command {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    command.arg("init").env_clear().env("PODTURN_VOLUME", volume);
    command
}

/// Exit code, stdout and stderr.
fn told(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("podturn starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn init_lays_out_whatever_the_umask_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut command = init(directory.path());
    command.env("PODTURN_PLAN", PLAN).env("PODTURN_POD_UID", "pod-1");
    // SAFETY: umask(2) is async-signal-safe and cannot fail.
    unsafe {
        command.pre_exec(|| {
            umask(Mode::from_bits_truncate(0o077));
            Ok(())
        })
    };
    let (code, out, err) = told(&mut command);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let house = House::new();
    let modes = |root: &Path| -> Vec<_> {
        let word = |text: String| text.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        tree(root).into_iter().map(|(path, text)| (path, word(text))).collect()
    };
    assert_eq!(modes(directory.path()), modes(house.volume.path()));
    let stamp = fs::read_to_string(directory.path().join(names::RUN)).expect("the stamp");
    let run: Run = serde_json::from_str(&stamp).expect("a stamp");
    assert_eq!(run.pod_uid.as_deref(), Some("pod-1"));
    assert!(out.contains(&run.run.to_string()) && out.lines().count() == 1, "{out}");
}

#[test]
fn init_says_what_is_wrong_and_where() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (code, out, err) = told(&mut init(directory.path()));
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(err.contains("PODTURN_PLAN is not set"), "{err}");

    let (code, _, err) = told(init(directory.path()).env("PODTURN_PLAN", "steps: {a: {dependsOn: [b]}}"));
    assert_eq!(code, Some(2));
    assert!(err.contains("PODTURN_PLAN:1:"), "{err}");

    let (code, _, err) = told(init(directory.path()).env("PODTURN_PLAN", PLAN).env("PODTURN_POD", "{\"x\": 1}"));
    assert_eq!(code, Some(2));
    assert!(err.contains("PODTURN_POD:1:"), "{err}");
    assert_eq!(tree(directory.path()).len(), 0, "nothing is half-done");

    let (code, _, err) = told(init(&directory.path().join("nowhere")).env("PODTURN_PLAN", PLAN));
    assert_eq!(code, Some(125));
    assert!(err.contains("nowhere") && err.contains("is the volume mounted there?"), "{err}");
}

/// A second `init` by mistake must not pull the volume away under a run.
#[test]
fn init_leaves_a_volume_alone_on_which_a_coordinator_works() {
    let house = used();
    let _coordinator = house.volume.lock().expect("nobody holds it");
    let before = tree(house.volume.path());
    let (code, _, err) = told(init(house.volume.path()).env("PODTURN_PLAN", PLAN));
    assert_eq!(code, Some(125));
    assert!(err.contains("coordinator"), "{err}");
    assert_eq!(tree(house.volume.path()), before);
}
