//! `podturn --pod NAME ...` and `kubectl podturn ...`, beside a run and after its end.

use std::fs::File;
use std::os::unix::fs::symlink;

use super::cluster::{Cluster, Ended, Running};
use super::run::hangs;

const PROXY: &str = include_str!("../../manifests/proxy-job.yaml");

/// Checks what a command says, and its code.
fn assert_says(ended: &Ended, code: i32, out: &str, err: &str) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    assert!(ended.out.contains(out) && ended.err.contains(err), "{out:?} and {err:?}: {ended:#?}");
}

#[test]
fn a_run_in_a_pod_is_looked_into_and_told_what_to_do() {
    let Some(cluster) = Cluster::new() else { return };
    let mut run = Running::start(cluster.run_command(&hangs("exit 1"), &["--engine", "kubectl"]));
    run.wait_said("itest    | testing");
    let pod = ["--pod", "database-test", "-n", "ci"];
    let ask = |words: &[&str]| cluster.podturn(&[&pod, words].concat());
    let status = ask(&["status"]);
    assert_says(&status, 0, "itest     Running", "");
    assert_eq!(status.err, "", "nothing but what podturn says");
    assert_says(&ask(&["why", "itest"]), 0, "itest", "");
    // Codes and words are those of the command in the pod.
    assert_says(
        &ask(&["why", "nobody"]),
        2,
        "",
        "error: the plan has no step nobody; it has database, migrate, itest\n",
    );
    let refused = ask(&["retry", "itest"]);
    assert_says(&refused, 1, "", "no: ");
    assert!(!refused.err.contains("exit code"), "kubectl's own words about it are left out: {refused:#?}");
    assert!(cluster.was_called(&[
        "--namespace",
        "ci",
        "exec",
        "database-test",
        "-c",
        "podturn",
        "--",
        "podturn",
        "why",
        "itest"
    ]));

    // The page is written here, and not in the pod.
    assert_says(&ask(&["report", "-o", "now.html"]), 0, "", "");
    assert!(std::fs::read_to_string(cluster.path("tmp/now.html")).expect("a page").contains("itest"));
    // And the manifest that is to be changed is here.
    let manifest = cluster.path("pod.yaml");
    assert_says(&ask(&["advise", manifest.to_str().expect("UTF-8")]), 0, "migrate", "");
    assert!(!cluster.calls().iter().flatten().any(|word| word == "advise"), "{:?}", cluster.calls());
    assert_says(&ask(&["stop", "itest"]), 0, "itest is told to stop\n", "");
    let ended = run.end();
    assert_eq!(ended.code, Some(143), "{ended:#?}");

    // The pod has ended, and its log tells.
    let from_log = "pod database-test has ended (Failed): this is what its coordinator's log tells\n";
    assert_says(&ask(&["status"]), 0, "itest     Cancelled  StopRequested", from_log);
    assert_says(&ask(&["why", "itest"]), 0, "itest", from_log);
    assert_says(&ask(&["cancel"]), 1, "", "no: the plan has ended: Cancelled\n");
    let state = ask(&["status", "--json"]);
    assert!(state.steps().iter().any(|step| step.starts_with(r#""itest" "Cancelled""#)), "{state:#?}");
    // The page is the one that the log itself makes, with what the steps used.
    let log = cluster.ended_as("kubectl", &["logs", "database-test", "-c", "podturn"]).out;
    assert!(log.contains(r#""podturn":"usage""#), "{log}");
    let file = cluster.path("log");
    std::fs::write(&file, log).expect("it can be written");
    let of_log = cluster.podturn(&["report", "-o", "-", "--from-logs", file.to_str().expect("UTF-8")]);
    assert!(ask(&["report", "-o", "-"]).out == of_log.out, "what attempts used is on it too");
    let left: Vec<_> = std::fs::read_dir(cluster.path("tmp")).expect("it is there").flatten().collect();
    assert!(left.iter().all(|file| file.file_name() == "now.html"), "{left:?}");
}

#[test]
fn kubectl_finds_podturn_as_its_plugin() {
    let Some(cluster) = Cluster::new() else { return };
    let program = cluster.path("bin/kubectl-podturn");
    symlink(env!("CARGO_BIN_EXE_podturn"), &program).expect("a fresh name");
    let plugin = |words: &[&str]| cluster.ended_as(program.to_str().expect("UTF-8"), words);
    assert_eq!(cluster.run(PROXY, &["--engine", "kubectl"]).code, Some(0));
    let told = plugin(&["status", "job/proxy-job", "-n", "ci"]);
    assert_says(&told, 0, "proxy      Succeeded  Stopped", "pod proxy-job has ended (Succeeded)");
    assert!(cluster.was_called(&["--namespace", "ci", "logs", "proxy-job", "-c", "podturn"]), "{:?}", cluster.calls());
    assert_says(&plugin(&["-n", "ci", "why", "proxy-job", "load"]), 0, "load", "");
    assert_says(&plugin(&["why", "proxy-job"]), 2, "", "required arguments were not provided");
    let mut unread = cluster.command_as(program.to_str().expect("UTF-8"), &["status", "proxy-job"]);
    unread.stdout(File::options().write(true).open("/dev/full").expect("full(4)"));
    let unread = unread.output().expect("podturn starts");
    assert_eq!(unread.status.code(), Some(125), "{unread:?}");
    assert!(String::from_utf8_lossy(&unread.stderr).contains("cannot write to stdout"), "{unread:?}");
    assert!(std::fs::read_dir(cluster.path("tmp")).expect("it is there").next().is_none(), "nothing is left of it");
    // As podturn itself has it.
    assert_says(&plugin(&["--pod", "nobody", "status"]), 2, "", "NotFound");
    assert_says(&plugin(&["graph", "proxy-job", "--color", "always"]), 0, "\x1b[", "");
    assert_says(&plugin(&["status", "nobody"]), 2, "", "NotFound");
    assert_says(&plugin(&["status"]), 2, "", "error: which pod? kubectl podturn status POD");
    assert_says(&plugin(&[]), 0, "Usage: kubectl podturn VERB POD", "");
    assert_says(&plugin(&["--version"]), 0, concat!("podturn ", env!("CARGO_PKG_VERSION")), "");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/quickstart.yaml");
    assert_says(&plugin(&["check", file]), 0, "", "");
}

#[test]
fn what_is_not_about_a_run_does_not_go_with_a_pod() {
    let Some(cluster) = Cluster::new() else { return };
    assert_says(&cluster.podturn(&["--pod", "p", "inject", "x"]), 2, "", "inject is not about a run");
    assert_says(
        &cluster.podturn(&["-n", "ci", "status"]),
        2,
        "",
        "--namespace in front of a command goes with --pod NAME",
    );
    assert_says(&cluster.podturn(&["--pod", "nobody", "status"]), 2, "", "NotFound");
    assert_says(
        &cluster.podturn(&["--pod", "deployment/app", "status"]), // a name that says nothing: bad input
        2,
        "",
        "a deployment may have several pods",
    );
}
