//! Pods of every form: sidecars, templates, stdin, wired by hand.

use std::io::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::pod::{Place, add, container, sidecar};

#[test]
fn short_plans_order_containers_too() {
    for plan in ["steps: [first, second]", "sequential"] {
        let place = Place::new();
        let note = "echo $PODTURN_STEP >> /notes/witness";
        let ended = place.run(&place.pod(plan, &[("first", note), ("second", note)]), &[]);
        assert_eq!(ended.code, 0, "{plan}: {}", ended.all());
        assert_eq!(place.lines("witness"), ["first", "second"], "{plan}");
    }
}

#[test]
fn a_sidecar_of_the_pod_lives_as_long_as_its_plan() {
    let place = Place::new();
    place.gate("gate");
    let mut pod = place.pod("steps: [a, b]", &[("a", "read _ < /notes/gate; echo served"), ("b", "")]);
    let server = "trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait";
    pod["spec"]["initContainers"] = json!([sidecar("server", server)]);
    let mut run = place.start(&pod, &[]);
    run.wait_said("server", "ready");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!((ended.said("a"), ended.said("server")), (vec!["served"], vec!["ready", "bye"]), "{}", ended.all());
}

/// Also while init containers run, which may wait for it.
#[test]
fn a_sidecar_that_dies_is_started_again() {
    let place = Place::new();
    place.gate("third");
    let mut pod = place.pod("steps: [a]", &[("a", "echo here")]);
    let server = "echo x >> /notes/starts; if [ $(wc -l < /notes/starts) = 3 ]; then echo > /notes/third; sleep 1000; fi; exit 5";
    let waits = container("waits", "read _ < /notes/third");
    pod["spec"]["initContainers"] = json!([sidecar("server", server), waits]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let told = ended.said_on_stderr("podturn");
    assert_eq!(told, ["server ended with 5 and is started again, as a kubelet would"; 2], "{}", ended.all());
}

#[test]
fn a_service_is_ready_when_its_log_says_so() {
    let place = Place::new();
    place.gate("gate");
    let plan = "steps: { db: { service: true, readiness: { log: { contains: accepts connections } } }, user: { dependsOn: [db] } }";
    let db =
        "echo starting; read _ < /notes/gate; echo db >> /notes/witness; echo it accepts connections now; sleep 1000";
    let mut run = place.start(&place.pod(plan, &[("db", db), ("user", "echo user >> /notes/witness")]), &["--json"]);
    run.wait_said("db", "starting");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!(ended.steps(), ["db Succeeded Stopped 1", "user Succeeded Completed 1"], "{}", ended.all());
    assert_eq!(place.lines("witness"), ["db", "user"]);
    assert_eq!(ended.said_on_stderr("db")[..2], ["starting", "it accepts connections now"], "its log is passed on");
}

#[test]
fn templates_run_like_pods() {
    for kind in ["Job", "CronJob"] {
        let place = Place::new();
        let pod = place.pod("steps: [a]", &[("a", "hostname")]);
        let job = json!({ "template": { "metadata": pod["metadata"], "spec": pod["spec"] } });
        let spec = if kind == "Job" { job } else { json!({ "schedule": "@daily", "jobTemplate": { "spec": job } }) };
        let object = json!({ "apiVersion": "batch/v1", "kind": kind, "metadata": { "name": "nightly" }, "spec": spec });
        let ended = place.run(&object, &[]);
        assert_eq!((ended.code, ended.said("a")), (0, vec!["nightly"]), "{kind}: {}", ended.all());
    }
}

#[test]
fn a_manifest_can_come_from_stdin() {
    let place = Place::new();
    let mut command = place.command("-".as_ref(), &[]);
    let mut run = Place::start_command({
        command.stdin(Stdio::piped());
        command
    });
    let manifest = place.pod("steps: [a]", &[("a", "echo here; cat")]).to_string();
    run.stdin().write_all(manifest.as_bytes()).expect("a pipe has room for it");
    let ended = run.end();
    assert_eq!((ended.code, ended.said("a")), (0, vec!["here"]), "{}", ended.all());
}

/// A pod whose shims and coordinator somebody put there by hand, the coordinator as an ordinary container.
#[test]
fn a_pod_wired_by_hand_runs_as_it_is() {
    let place = Place::new();
    let plan = "steps: {a: {}, b: {dependsOn: [a]}}";
    let ended = place.run(&wired(&place, plan, &[("b", "echo two"), ("a", "echo one")]), &[]);
    assert_eq!((ended.code, ended.said("a"), ended.said("b")), (0, vec!["one"], vec!["two"]), "{}", ended.all());
    let place = Place::new();
    let ended = place.run(&wired(&place, plan, &[("b", "echo two"), ("a", "exit 3")]), &["--json"]);
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.steps(), ["a Failed ExitCode 1", "b Omitted DependencyLost 0"]);
}

pub(crate) fn wired(place: &Place, plan: &str, steps: &[(&str, &str)]) -> Value {
    let mut pod = place.pod("", steps);
    let (spec, whole) = (&mut pod["spec"], json!({ "name": "turns", "mountPath": "/podturn" }));
    add(&mut spec["volumes"], json!({ "name": "turns", "emptyDir": { "medium": "Memory", "sizeLimit": "64Mi" } }));
    for container in spec["containers"].as_array_mut().expect("a list") {
        let name = container["name"].as_str().expect("a name").to_owned();
        let words = container["command"].as_array_mut().expect("a list");
        words.splice(0..0, [json!(format!("/podturn/steps/{name}/in/podturn-shim")), json!("run"), json!("--")]);
        for half in ["in", "out"] {
            let part = format!("steps/{name}/{half}");
            let path = format!("/podturn/{part}");
            let mount = json!({ "name": "turns", "mountPath": path, "subPath": part, "readOnly": half == "in" });
            add(&mut container["volumeMounts"], mount);
        }
    }
    add(
        &mut spec["containers"],
        json!({ "name": "podturn", "image": "registry/podturn:1", "args": ["coordinate"], "volumeMounts": [whole] }),
    );
    spec["initContainers"] = json!([{
        "name": "podturn-init", "image": "registry/podturn:1", "args": ["init"], "volumeMounts": [whole],
        "env": [{ "name": "PODTURN_PLAN", "value": plan }],
    }]);
    pod["metadata"]["annotations"] = json!({});
    pod
}

/// As a cluster gets it: the coordinator as another user, with its liveness probe and its hook.
#[test]
fn a_pod_that_inject_has_wired_runs_as_it_is() {
    for place in [Place::new(), Place::of_nobody()] {
        let plan = "steps: {build: {}, test: {dependsOn: [build]}, report: {finally: true}}";
        let hangs = "trap 'echo stopping; exit 1' TERM; echo begun; sleep 1000 & wait";
        let steps = [("test", hangs), ("build", "echo built"), ("report", "echo $PODTURN_STEP >> /notes/witness")];
        let (code, wired, err) = place.ask(&["inject", &place.write(&place.pod(plan, &steps)).display().to_string()]);
        assert_eq!(code, 0, "{err}");
        let mut wired: Value = serde_json::from_str(&wired).expect("it is JSON, as what was given");
        let coordinator = &mut wired["spec"]["initContainers"][1];
        coordinator["livenessProbe"]["initialDelaySeconds"] = json!(0);
        coordinator["livenessProbe"]["periodSeconds"] = json!(1);
        let mut run = place.start(&wired, &["--json"]);
        run.wait_said("test", "begun");
        place.wait_arrived();
        run.signal(Signal::SIGINT);
        let ended = run.end();
        let steps = ["build Succeeded Completed 1", "test Cancelled PodDeleted 1", "report Succeeded Completed 1"];
        assert_eq!((ended.code, ended.steps()), (143, steps.map(str::to_owned).to_vec()), "{}", ended.all());
        assert_eq!(place.lines("witness"), ["report"]);
        assert!(!ended.err.iter().any(|line| line.contains("probe failed")), "{}", ended.all());
    }
}

/// The image volume is this program's own shim here, whatever image it names.
#[test]
fn a_pod_whose_shim_comes_out_of_an_image_runs_as_it_is() {
    let place = Place::new();
    let plan = "steps: {build: {}, test: {dependsOn: [build]}}";
    let pod = place.pod(plan, &[("test", "ls /podturn/steps/test/in; exit 3"), ("build", "echo $0 built")]);
    let (code, wired, err) =
        place.ask(&["inject", "--shim-from", "image:own/shim:1", &place.write(&pod).display().to_string()]);
    assert_eq!(code, 0, "{err}");
    assert!(wired.contains("/podturn/steps/build/shim/podturn-shim"), "{wired}");
    let ended = place.run(&serde_json::from_str(&wired).expect("it is JSON, as what was given"), &[]);
    assert_eq!((ended.code, ended.said("build")), (1, vec!["sh built"]), "{}", ended.all());
    assert_eq!(ended.said("test"), ["bell", "turn.json"], "nothing to execute where the turns are");
}

/// A step that waits is live, whatever its probe would say; one whose command runs is stopped, and nobody else.
#[test]
fn a_steps_own_liveness_counts_from_its_turn() {
    let place = Place::new();
    place.gate("gate");
    let plan = "steps: {first: {}, shop: {dependsOn: [first]}, last: {dependsOn: [{step: shop, condition: Failed}]}}";
    let shop = "trap 'echo stopped; exit 1' TERM; echo open; sleep 1000 & wait";
    let steps = [("first", "read _ < /notes/gate; echo first"), ("shop", shop), ("last", "echo last")];
    let mut pod = wired(&place, plan, &steps);
    let probe = json!(["/podturn/steps/shop/in/podturn-probe", "liveness", "--tcp", "127.0.0.1:1"]);
    let shop = &mut pod["spec"]["containers"][1];
    shop["livenessProbe"] = json!({ "exec": { "command": probe }, "periodSeconds": 1, "failureThreshold": 1 });
    // It was tried once it is said to be ready: tries go on together.
    shop["readinessProbe"] = json!({ "exec": { "command": ["true"] }, "periodSeconds": 1, "successThreshold": 3 });
    let mut run = place.start(&pod, &["--json"]);
    run.wait_said("podturn", "shop is ready");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    let steps = ["first Succeeded Completed 1", "shop Failed Interrupted 1", "last Succeeded Completed 1"];
    assert_eq!((ended.code, ended.steps()), (1, steps.map(str::to_owned).to_vec()), "{}", ended.all());
    assert!(
        ended.said_on_stderr("podturn").iter().any(|line| line.starts_with("shop: its liveness probe failed")),
        "{}",
        ended.all()
    );
}

/// What a step leaves behind in the background, its output in hand, ends with the step or the run, and holds nobody up.
#[test]
fn a_background_process_with_the_output_in_hand_holds_nobody_up() {
    let place = Place::new();
    let leave = "trap '' TERM HUP; setsid sleep 1000 & echo left";
    let pod = place.pod("steps: [a, b]", &[("a", leave), ("b", "echo after"), ("other", leave)]);
    let ended = place.run(&pod, &[]);
    assert_eq!((ended.code, ended.said("a"), ended.said("b")), (0, vec!["left"], vec!["after"]), "{}", ended.all());
}

#[test]
fn a_path_that_this_machine_does_not_have_is_refused_before_anything_runs() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "echo never")]);
    add(&mut pod["spec"]["volumes"], json!({ "name": "source", "hostPath": { "path": "/nowhere/at/all" } }));
    pod["spec"]["initContainers"] = json!([container("first", "echo never")]);
    let ended = place.run(&pod, &[]);
    assert_eq!((ended.code, ended.out.len()), (2, 0), "{}", ended.all());
    assert_eq!(ended.err[0], "error: volume source: this machine has no /nowhere/at/all", "{}", ended.all());
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// In a user namespace that allows no further one, without the rights of its root: as on a machine that forbids them.
#[test]
fn where_user_namespaces_are_forbidden_it_says_what_to_allow() {
    let place = Place::new();
    let run = place.command(&place.write(&place.pod("steps: [a]", &[("a", "echo never")])), &[]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg("echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"");
    command.arg("sh").arg(run.get_program()).args(run.get_args()).env("TMPDIR", place.path("tmp"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Place::start_command(command).end();
    assert_eq!((ended.code, ended.out.len()), (125, 0), "{}", ended.all());
    let told = ended.err.join("\n");
    assert!(told.contains("Allow it with `sysctl user.max_user_namespaces=15000` (as root)"), "{told}");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

/// podturn has three files open for each container, and needs more of them than a process may have by default; what a
/// container may have is not changed by that.
#[test]
fn a_pod_may_be_wider_than_the_limit_of_open_files() {
    let place = Place::new();
    let names: Vec<String> = (0..12).map(|number| format!("s{number}")).collect();
    let steps: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "ulimit -Sn")).collect();
    let run = place.command(&place.write(&place.pod("sequential", &steps)), &[]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 32; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    command.env("TMPDIR", place.path("tmp"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Place::start_command(command).end();
    assert_eq!((ended.code, ended.said("s11")), (0, vec!["32"]), "{}", ended.all());
}
