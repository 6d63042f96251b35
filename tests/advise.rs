//! `podturn advise`: real runs in, requests and limits out.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PODTURN: &str = env!("CARGO_BIN_EXE_podturn");

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations:
    podturn.dev/plan: |
      steps: { big: {}, small: { dependsOn: [big] }, never: { dependsOn: [big: Failed] } }
spec:
  restartPolicy: Never
  containers:
    - name: big # the one that sorts
      image: busybox
      command: [sh, -c, 'x=$(head -c 40000000 /dev/zero | tr \"\\0\" x); sleep 1']
      resources:
        requests: { cpu: 4, memory: 1Gi } # far too much
        limits:
          memory: 1Gi
    - name: small
      image: busybox
      command: [\"true\"]
    - { name: never, image: busybox, command: [\"true\"], resources: { limits: { cpu: \"1\" } } }
";

fn podturn(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(PODTURN);
    // Volumes that are kept go with the test.
    command.env("TMPDIR", directory);
    command.args(arguments).current_dir(directory).env_remove("PODTURN_VOLUME").output().expect("podturn is executable")
}

/// A run of this pod, whose volume is kept; the place of it.
fn ran(directory: &Path) -> String {
    fs::write(directory.join("pod.yaml"), POD).expect("the file can be written");
    let ended = podturn(&["run", "pod.yaml", "--keep"], directory);
    assert!(ended.status.success(), "{}{}", text(&ended.stdout), text(&ended.stderr));
    let told = text(&ended.stderr);
    let place = told.lines().find_map(|line| line.split_once("the volumes of this run are in "));
    let volumes = fs::read_dir(place.expect("it says where they are").1).expect("they are there");
    let mut volumes = volumes.flatten().map(|entry| entry.path());
    let volume = volumes.find(|volume| volume.join("run.json").exists()).expect("one is podturn's");
    volume.display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_real_run_becomes_a_table_and_a_patch_that_keeps_what_people_wrote() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = ran(directory.path());
    let told = podturn(&["advise", "pod.yaml", "--volume", &kept], directory.path());
    let table = text(&told.stdout);
    assert!(told.status.success(), "{table}{}", text(&told.stderr));
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("big").contains("1024Mi -> "), "{table}");
    assert!(line("small").contains("- -> "), "{table}");
    assert!(table.contains("not measured, and left as it is: never"), "{table}");
    assert!(table.contains("with a margin of 20 %"), "{table}");
    assert!(table.contains("-        requests: { cpu: 4, memory: 1Gi } # far too much"), "{table}");
    assert_eq!(fs::read_to_string(directory.path().join("pod.yaml")).expect("it is there"), POD, "it only tells");

    let written = podturn(&["advise", "pod.yaml", "--volume", &kept, "--write", "--margin", "50%"], directory.path());
    assert!(written.status.success(), "{}", text(&written.stderr));
    let new = fs::read_to_string(directory.path().join("pod.yaml")).expect("it is there");
    for kept in ["# the one that sorts", "# far too much", "    - { name: never, image: busybox"] {
        assert!(new.contains(kept), "{kept}: {new}");
    }
    let memory = new.split("memory: ").nth(1).and_then(|rest| rest.split("Mi").next()).expect("an amount in Mi");
    let memory: u64 = memory.parse().expect("a number");
    assert!((57..160).contains(&memory), "40 MB, some shells, and a half more: {new}");
    let failed = podturn(&["advise", "pod.yaml", "--volume", &kept, "-o", "no/such.yaml"], directory.path());
    assert_eq!(failed.status.code(), Some(125));
    assert!(text(&failed.stderr).contains("cannot write no/such.yaml: "), "{}", text(&failed.stderr));
    let again = podturn(&["advise", "pod.yaml", "--volume", &kept, "--margin", "50"], directory.path());
    assert!(text(&again.stdout).contains("nothing has to be changed"), "{}", text(&again.stdout));
    let runs = podturn(&["run", "pod.yaml"], directory.path());
    assert!(runs.status.success(), "what is advised is enough: {}", text(&runs.stderr));
}

#[test]
fn the_report_shows_requests_and_limits_beside_what_was_used() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = ran(directory.path());
    let page = text(&podturn(&["report", "--volume", &kept, "-o", "-"], directory.path()).stdout);
    let row = page.lines().find(|line| line.contains("<tr id=\"u0\"")).expect("a row for the first step");
    assert!(row.contains("<td class=\"n\">4.00</td>") && row.contains("<td class=\"n\">1.0 GiB</td>"), "{row}");
    assert_eq!(row.matches("<svg").count(), 2, "{row}");
    assert!(page.contains("<tr id=\"u2\" hidden></tr>"), "a step that never ran has none");
}

#[test]
fn what_was_not_measured_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let kept = ran(directory.path());
    let other = POD.replace("big", "huge").replace("small", "tiny").replace("never", "maybe");
    fs::write(directory.path().join("other.yaml"), other).expect("the file can be written");
    let told = podturn(&["advise", "other.yaml", "--volume", &kept], directory.path());
    assert_eq!(told.status.code(), Some(1), "{}", text(&told.stdout));
    assert!(text(&told.stderr).contains("is it the manifest of these runs?"), "{}", text(&told.stderr));

    let wired = podturn(&["inject", "pod.yaml"], directory.path());
    fs::write(directory.path().join("wired.yaml"), wired.stdout).expect("the file can be written");
    let told = podturn(&["advise", "wired.yaml", "--volume", &kept], directory.path());
    assert_eq!(told.status.code(), Some(2));
    assert!(text(&told.stderr).contains("podturn uninject"), "{}", text(&told.stderr));
}

#[test]
fn a_directory_without_a_run_is_told_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/quickstart.yaml");
    let output = podturn(&["advise", "--volume", ".", &manifest.display().to_string()], directory.path());
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.starts_with("error: . holds no run") && told.contains("help: --volume names"), "{told}");
}
