//! Hooks and probes of containers, and the way down, as a kubelet plays them. What is expected here was measured on a real one.

use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::pod::{Place, add, container, sidecar};

/// A hook or a probe that runs a script in its container.
fn exec(script: &str) -> Value {
    json!({ "exec": { "command": ["sh", "-c", script] } })
}

/// Notes its stop signal, and ends.
fn polite(name: &str) -> String {
    format!("trap 'echo {name} TERM >> /notes/witness; exit 0' TERM; echo begun; sleep 1000 & wait")
}

const NOTE: &str = "echo $HOSTNAME $WHO >> /notes/witness";

#[test]
fn a_post_start_hook_gates_what_is_created_after_its_container() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("first");
        place.gate("second");
        let mut pod = place.pod(
            "steps: [a]",
            &[("other", "echo begun; read _ < /notes/end"), ("a", "echo a >> /notes/witness; echo begun")],
        );
        place.gate("end");
        let mut server = sidecar("server", "echo begun; sleep 1000");
        server["env"] = json!([{ "name": "WHO", "value": "hook" }]);
        server["lifecycle"] = json!({ "postStart": exec(&format!("read _ < /notes/first; {NOTE}")) });
        pod["spec"]["initContainers"] = json!([server, container("next", "echo next >> /notes/witness")]);
        pod["spec"]["containers"][0]["lifecycle"] =
            json!({ "postStart": exec("read _ < /notes/second; echo second >> /notes/witness") });
        let mut run = place.start(&pod, &[]);
        run.wait_said("server", "begun");
        let _first = place.open_gate("first");
        run.wait_said("other", "begun");
        let _second = place.open_gate("second");
        run.wait_said("a", "begun");
        let _end = place.open_gate("end");
        let ended = run.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
        assert_eq!(place.lines("witness"), ["story hook", "next", "second", "a"], "{}", ended.all());
    }
}

#[test]
fn a_post_start_hook_that_fails_stops_its_container_and_says_why() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("other", "trap 'exit 7' TERM; sleep 1000 & wait"), ("a", "")]);
    pod["spec"]["containers"][0]["lifecycle"] = json!({ "postStart": exec("echo no such table >&2; exit 3") });
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    let told = "other: its postStart hook failed (its command ended with 3: no such table), so it is stopped";
    assert_eq!(ended.said_on_stderr("podturn"), [told], "{}", ended.all());
    assert!(ended.err.iter().any(|line| line == "container other ended with 7"), "{}", ended.all());
}

/// What belongs to a step's container in a cluster without a plan belongs to its turn, as `podturn inject` wires it.
#[test]
fn the_hooks_and_probes_of_a_step_belong_to_its_turn() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("first");
        place.gate("never");
        let scripts = [
            ("a", "echo begun; read _ < /notes/first; echo a >> /notes/witness"),
            ("b", "trap 'echo b TERM >> /notes/witness; exit 0' TERM; echo begun; sleep 1000 & wait"),
        ];
        let mut pod = place.pod("steps: [a, b]", &scripts);
        pod["spec"]["containers"][1]["lifecycle"] = json!({
            "postStart": exec("echo b begins >> /notes/witness; touch /notes/sick"),
            "preStop": exec("echo b is stopped >> /notes/witness"),
        });
        // While b waits nobody is asked, so it does not matter that this would fail.
        let mut probe = exec("echo asked >> /notes/probes; test ! -e /notes/sick");
        probe["periodSeconds"] = json!(1);
        probe["failureThreshold"] = json!(1);
        pod["spec"]["containers"][1]["livenessProbe"] = probe;
        let mut run = place.start(&pod, &["--json"]);
        run.wait_said("a", "begun");
        assert!(!place.path("notes/probes").exists(), "b has no turn yet");
        let _first = place.open_gate("first");
        let ended = run.end();
        assert_eq!(ended.steps(), ["a Succeeded Completed 1", "b Failed Interrupted 1"], "{}", ended.all());
        assert_eq!(place.lines("witness"), ["a", "b begins", "b is stopped", "b TERM"], "{}", ended.all());
    }
}

/// On deletion all hooks begin at once, each container's signal follows its own; the sidecars are last, from the last one up.
#[test]
fn on_deletion_hooks_come_before_signals_and_sidecars_go_last() {
    for place in [Place::new(), Place::of_nobody()] {
        let mut pod = place.pod("steps: [a]", &[("other", &polite("other")), ("a", "")]);
        let hook = |name: &str| json!({ "preStop": exec(&format!("echo {name} hook >> /notes/witness")) });
        pod["spec"]["containers"][0]["lifecycle"] = hook("other");
        pod["spec"]["initContainers"] = json!([sidecar("one", &polite("one")), sidecar("two", &polite("two"))]);
        for (index, name) in ["one", "two"].into_iter().enumerate() {
            pod["spec"]["initContainers"][index]["lifecycle"] = hook(name);
        }
        let mut run = place.start(&pod, &[]);
        for name in ["one", "two", "other"] {
            run.wait_said(name, "begun");
        }
        run.signal(Signal::SIGINT);
        let ended = run.end();
        let mut lines = place.lines("witness");
        let signals = lines.split_off(3);
        lines.sort();
        assert_eq!(lines, ["one hook", "other hook", "two hook"], "{}", ended.all());
        assert_eq!(signals, ["other TERM", "two TERM", "one TERM"], "{}", ended.all());
    }
}

/// At a normal end only sidecars are left, and theirs are the only hooks.
#[test]
fn at_a_normal_end_only_the_hooks_of_sidecars_run() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("other", "echo over"), ("a", "")]);
    pod["spec"]["containers"][0]["lifecycle"] = json!({ "preStop": exec("echo never >> /notes/witness") });
    let mut server = sidecar("server", &polite("server"));
    server["lifecycle"] = json!({ "preStop": exec("echo hook >> /notes/witness") });
    server["startupProbe"] = exec("true"); // its trap is set
    pod["spec"]["initContainers"] = json!([server]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(place.lines("witness"), ["hook", "server TERM"], "{}", ended.all());
}

#[test]
fn a_hook_that_takes_too_long_uses_up_the_grace_and_who_does_not_mind_is_killed() {
    let place = Place::new();
    let stubborn = "trap 'echo not yet' TERM; echo begun; while :; do sleep 1000 & wait; done";
    let mut pod = place.pod("steps: [a]", &[("other", stubborn), ("a", "")]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    pod["spec"]["containers"][0]["lifecycle"] = json!({ "preStop": exec("sleep 1000") });
    let mut run = place.start(&pod, &[]);
    run.wait_said("other", "begun");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    let told = ["other: its preStop hook used up the grace, and was ended", "other: the grace is over, SIGKILL"];
    let said = ended.said_on_stderr("podturn");
    assert!(told.iter().all(|line| said.contains(line)), "{}", ended.all());
    assert_eq!(ended.said("other"), ["begun", "not yet"], "{}", ended.all());
    assert!(ended.err.iter().any(|line| line == "container other ended with 137"), "{}", ended.all());
}

#[test]
fn a_container_gets_the_stop_signal_that_it_asks_for() {
    let place = Place::new();
    let script = "trap 'echo USR1; exit 0' USR1; trap 'echo TERM; exit 1' TERM; echo begun; sleep 1000 & wait";
    let mut pod = place.pod("steps: [a]", &[("other", script), ("a", "")]);
    pod["spec"]["containers"][0]["lifecycle"] = json!({ "stopSignal": "SIGUSR1" });
    let mut run = place.start(&pod, &[]);
    run.wait_said("other", "begun");
    run.signal(Signal::SIGINT);
    let ended = run.end();
    assert_eq!(ended.said("other"), ["begun", "USR1"], "{}", ended.all());
}

#[test]
fn a_startup_probe_gates_what_is_created_after_a_sidecar() {
    for place in [Place::new(), Place::of_nobody()] {
        place.gate("gate");
        let mut pod = place.pod("steps: [a]", &[("a", "echo a >> /notes/witness")]);
        let script = "echo begun; read _ < /notes/gate; echo up >> /notes/witness; touch /tmp/up; sleep 1000";
        let mut server = sidecar("server", script);
        server["startupProbe"] = exec("test -e /tmp/up"); // its own /tmp
        server["startupProbe"]["periodSeconds"] = json!(1);
        server["startupProbe"]["failureThreshold"] = json!(1000);
        pod["spec"]["initContainers"] = json!([server]);
        let mut run = place.start(&pod, &[]);
        run.wait_said("server", "begun");
        let _gate = place.open_gate("gate");
        let ended = run.end();
        assert_eq!((ended.code, place.lines("witness")), (0, vec!["up".to_owned(), "a".to_owned()]), "{}", ended.all());
    }
}

/// The others get nothing.
#[test]
fn a_failed_liveness_probe_stops_that_container_alone_and_it_comes_back() {
    let place = Place::new();
    place.gate("gate");
    let mut pod = place.pod("steps: [a]", &[("a", "trap 'echo hurt' TERM; read _ < /notes/gate; echo unhurt")]);
    let script = "trap 'echo stopped; exit 5' TERM; echo begun >> /notes/starts; echo begun; sleep 1000 & wait";
    let mut server = sidecar("server", script);
    server["livenessProbe"] = exec("! test -e /notes/sick || { echo fever; exit 9; }");
    server["livenessProbe"]["periodSeconds"] = json!(1);
    server["livenessProbe"]["failureThreshold"] = json!(2);
    pod["spec"]["initContainers"] = json!([server]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("server", "begun");
    fs::write(place.notes("sick"), "").expect("it can be written");
    let told = "server: its liveness probe failed 2 times (its command ended with 9: fever), so it is stopped";
    run.wait_said("podturn", told);
    fs::remove_file(place.notes("sick")).expect("it is there");
    run.wait_said("podturn", "server ended with 5 and is started again, as a kubelet would");
    assert!((0..1_000_000).any(|_| place.lines("starts").len() == 2), "it comes back");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!((ended.code, ended.said("a")), (0, vec!["unhurt"]), "{}", ended.all());
}

#[test]
fn readiness_is_shown_when_it_changes() {
    let place = Place::new();
    place.gate("gate");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let mut pod = place.pod("steps: [a]", &[("web", "read _ < /notes/gate"), ("a", "")]);
    let web = &mut pod["spec"]["containers"][0];
    web["ports"] = json!([{ "name": "http", "containerPort": port }]);
    web["readinessProbe"] = json!({ "tcpSocket": { "port": "http" }, "periodSeconds": 1, "failureThreshold": 1 });
    let mut run = place.start(&pod, &[]);
    run.wait_said("podturn", "web is ready");
    drop(listener);
    run.wait_said("podturn", &format!("web is not ready any more: 127.0.0.1:{port}: Connection refused"));
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
}

/// Its files, environment, directory and user, and nothing of this machine's.
#[test]
fn what_runs_in_a_container_sees_what_it_sees() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("other", "read _ < /notes/gate"), ("a", "echo begun")]);
    place.gate("gate");
    add(&mut pod["spec"]["volumes"], json!({ "name": "data", "emptyDir": {} }));
    let other = &mut pod["spec"]["containers"][0];
    add(&mut other["volumeMounts"], json!({ "name": "data", "mountPath": "/data" }));
    other["workingDir"] = json!("/data");
    other["env"] = json!([{ "name": "GREETING", "value": "hello" }]);
    let script =
        "echo $GREETING > here; cp /data/here /notes/seen; id -u > /notes/user; ls /proc/self/fd > /notes/open";
    other["lifecycle"] = json!({ "postStart": exec(script) });
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        other["securityContext"] = json!({ "runAsUser": 1234 });
        for file in ["seen", "user", "open"] {
            fs::write(place.notes(file), "").expect("it can be written");
            fs::set_permissions(place.notes(file), std::os::unix::fs::PermissionsExt::from_mode(0o666))
                .expect("it is ours");
        }
    }
    let mut run = place.start(&pod, &[]);
    run.wait_said("a", "begun"); // it was created after the hook
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(place.lines("seen"), ["hello"], "{}", ended.all());
    assert_eq!(place.lines("user"), [if is_root { "1234" } else { "0" }], "{}", ended.all());
    assert_eq!(place.lines("open"), ["0", "1", "2", "3"], "the listing's own is the last one");
}
