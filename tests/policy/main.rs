//! `podturn policy`: what the policies make of pods, beside what `podturn inject` makes of them.

mod server;

#[path = "../support/objects.rs"]
mod objects;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use objects::objects;
use podturn::inject::{Deadline, Format, Medium, Options, ShimFrom, convert, inject, policy};
use podturn::plan::{PodFacts, Source, SourceFile, check_wired};
use serde_json::{Value, json};
use server::Server;

fn server(options: &Options) -> Server {
    Server::new(&objects(&policy(options).expect("these options are fine")))
}

/// A pod as the API server reads it: what is null, or an empty list, is not there.
fn pod(text: &str) -> Value {
    fn is_there(value: &Value) -> bool {
        !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
    }
    fn cleaned(value: Value) -> Value {
        match value {
            Value::Object(fields) => fields
                .into_iter()
                .filter(|(_, value)| is_there(value))
                .map(|(key, value)| (key, cleaned(value)))
                .collect(),
            Value::Array(items) => items.into_iter().map(cleaned).collect(),
            other => other,
        }
    }
    cleaned(objects(text).remove(0))
}

fn wired(text: &str, options: &Options) -> Option<Value> {
    let done = inject(&SourceFile::new("pod.yaml", text), options).ok()?;
    Some(pod(&done.text))
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All pods of this repository that have a plan and are whole manifests of their own.
fn pods() -> Vec<(String, String)> {
    let files =
        ["manifests", "tests/inject"].into_iter().flat_map(|folder| fs::read_dir(repository(folder)).expect(folder));
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let is_input = |path: &&PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".yaml") && (path.parent() == Some(&repository("manifests")) || name.ends_with(".in.yaml"))
    };
    let mut found = Vec::new();
    for path in paths.iter().filter(is_input) {
        let text = fs::read_to_string(path).expect("a manifest");
        let Ok(json) = convert(&SourceFile::new("pod.yaml", text.as_str()), Format::Json) else { continue };
        let object: Value = serde_json::from_str(&json).expect("JSON");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if object["kind"] == "Pod"
            && !text.contains("PODTURN_PLAN")
            && object["metadata"]["annotations"]["podturn.dev/plan"].is_string()
        {
            found.push((name, text));
        }
    }
    found
}

/// What the API server writes into a pod that leaves it out, as far as podturn reads it.
fn with_defaults(mut pod: Value) -> Value {
    let spec = &mut pod["spec"];
    let put = |object: &mut Value, key: &str, value: Value| {
        if object.get(key).is_none() {
            object[key] = value;
        }
    };
    put(spec, "restartPolicy", "Always".into());
    put(spec, "terminationGracePeriodSeconds", 30.into());
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            put(container, "terminationMessagePath", "/dev/termination-log".into());
            put(container, "terminationMessagePolicy", "File".into());
            put(container, "resources", json!({}));
        }
    }
    pod
}

/// The value of a variable of the init container of podturn's, taken out.
fn taken(pod: &mut Value, name: &str) -> Value {
    let env = pod["spec"]["initContainers"][0]["env"].as_array_mut().expect("variables");
    let at = env.iter().position(|variable| variable["name"] == name).expect(name);
    env.remove(at)
}

/// Whether both ways lead to the same: no matrix, all containers are steps, and nothing that only `inject` turns.
fn is_for_both(pod: &Value, injected: &Value) -> bool {
    let containers = |pod: &Value| pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let shim =
        |container: &Value| container["command"][0].as_str().is_some_and(|word| word.starts_with("/podturn/steps/"));
    let turned = ["livenessProbe", "startupProbe", "lifecycle"];
    containers(pod).len() == containers(injected).len()
        && containers(injected).iter().all(shim)
        && containers(pod).iter().all(|container| turned.iter().all(|key| container.get(key).is_none()))
}

#[test]
fn the_policy_wires_a_pod_as_inject_does() {
    let options = Options { deadline: Deadline::Seconds(3600), restart_rules: false, ..Options::default() };
    let server = server(&options);
    let compared = pods().iter().filter(|(name, text)| is_the_same(name, text, &options, &server)).count();
    assert!(compared >= 12, "{compared} pods were compared");
}

#[test]
fn the_policy_keeps_the_options_that_inject_keeps() {
    let image = "registry.example/podturn@sha256:0123";
    let all = [
        Options { image: image.to_owned(), pull_policy: Some("Always".to_owned()), ..Options::default() },
        Options { user: None, share_pid: false, whole_volume: true, ..Options::default() },
        Options { shim_from: ShimFrom::Image(None), ..Options::default() },
        Options { medium: Medium::Disk, size_limit: "1Gi".to_owned(), durable: true, ..Options::default() },
        Options { parameters: [("BRANCH".to_owned(), "it's \"so\": $$x".to_owned())].into(), ..Options::default() },
    ];
    let pods = pods();
    for options in all.map(|options| Options { deadline: Deadline::Off, restart_rules: false, ..options }) {
        let server = server(&options);
        let chosen = ["build-scan-publish.yaml", "guaranteed.in.yaml", "existing-init-containers.in.yaml"];
        let chosen = pods.iter().filter(|(name, _)| chosen.contains(&name.as_str()));
        assert_eq!(chosen.filter(|(name, text)| is_the_same(name, text, &options, &server)).count(), 3, "{options:?}");
    }
}

/// Compares a pod as the policy makes it with what inject makes of it; false where the two differ on purpose.
fn is_the_same(name: &str, text: &str, options: &Options, server: &Server) -> bool {
    let Some(mut injected) = wired(text, options) else { return false };
    let pod = pod(text);
    if !is_for_both(&pod, &injected) {
        return false;
    }
    injected["metadata"]["annotations"].as_object_mut().expect("annotations").remove("podturn.dev/injected");
    let plan = taken(&mut injected, "PODTURN_PLAN");
    let facts = taken(&mut injected, "PODTURN_POD");
    let mut by_inject = facts_in(name, &facts);
    for container in &mut by_inject.containers {
        container.resources = Default::default(); // only shown beside what was used: the policy does not hand them over
    }
    for (created, injected) in [(pod.clone(), injected.clone()), (with_defaults(pod), with_defaults_of(&injected))] {
        let mut got = server.create(&created).unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        let source = taken(&mut got, "PODTURN_PLAN");
        let path = &source["valueFrom"]["fieldRef"]["fieldPath"];
        assert_eq!(path, "metadata.annotations['podturn.dev/plan']", "{name}");
        let auto = facts_in(name, &taken(&mut got, "PODTURN_POD"));
        assert_eq!(PodFacts { all_wired: false, ..auto.clone() }, by_inject, "{name}");
        // The init container makes the same plan of both.
        let annotation = created["metadata"]["annotations"]["podturn.dev/plan"].as_str().expect("a plan");
        let plan = plan["value"].as_str().expect("a plan").replace("$$", "$");
        let [plan, annotation] = [(plan.as_str(), &by_inject), (annotation, &auto)].map(|(text, facts)| {
            let checked = check_wired(&Source::file("PODTURN_PLAN", text), facts);
            checked.unwrap_or_else(|wrong| panic!("{name}: {}", wrong.render(false))).plan
        });
        assert_eq!(plan, annotation, "{name}");
        assert_eq!(got, injected, "{name}");
    }
    true
}

fn facts_in(name: &str, variable: &Value) -> PodFacts {
    let text = variable["value"].as_str().expect("a value").replace("$$", "$");
    PodFacts::parse(&text).unwrap_or_else(|_| panic!("{name}: {text}"))
}

/// As the API server would store what inject wrote: with the defaults of the containers that were there, but those of podturn's own
/// are written after the policies.
fn with_defaults_of(injected: &Value) -> Value {
    let mut pod = with_defaults(injected.clone());
    let ours = |container: &Value| ["podturn", "podturn-init"].iter().any(|name| container["name"] == *name);
    let init = pod["spec"]["initContainers"].as_array_mut().expect("podturn's own, at least");
    for container in init.iter_mut().filter(|container| ours(container)) {
        for key in ["terminationMessagePath", "terminationMessagePolicy"] {
            container.as_object_mut().expect("a container").remove(key);
        }
    }
    pod
}

/// A pod whose steps are these containers, with a plan.
fn written(plan: &str, containers: &str, rest: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    podturn.dev/plan: |\n      {}\nspec:\n  \
         restartPolicy: Never\n{rest}  containers:\n{containers}",
        plan.replace('\n', "\n      ")
    )
}

/// It waits for steps (`podturn-shim wait`), and would wait for itself if it were one.
#[test]
fn a_container_that_only_waits_for_steps_is_left_alone() {
    let text = fs::read_to_string(repository("tests/inject/onlooker.in.yaml")).expect("a case of inject");
    let written = pod(&text);
    let created = server(&Options::default()).create(&written).expect("it is wired");
    assert_eq!(created["spec"]["containers"][1], written["spec"]["containers"][1], "the onlooker");
    assert_eq!(created["spec"]["containers"][0]["command"][0], "/podturn/steps/a/in/podturn-shim");
    let facts = created["spec"]["initContainers"][0]["env"][1].clone();
    let steps: Vec<String> = facts_in("onlooker", &facts).containers.into_iter().map(|known| known.name).collect();
    assert_eq!(steps, ["a"]);
}

/// `build` can only go on once `helper` has run, which the plan does not name.
#[test]
fn a_wired_container_that_the_plan_does_not_name_gets_its_turn_at_once() {
    let text = written(
        "timeout: 1m\nsteps: { test: { dependsOn: [build] }, build: {} }",
        "    - { name: test, image: busybox, command: [sh, -c, 'echo tested'] }\n    \
         - { name: build, image: busybox, command: [sh, -c, 'until test -e /work/here; do sleep 0.05; done; echo built'], \
         volumeMounts: [{ name: work, mountPath: /work }] }\n    \
         - { name: helper, image: busybox, command: [sh, -c, 'touch /work/here; echo helped'], volumeMounts: [{ name: work, mountPath: /work }] }\n",
        "  volumes: [{ name: work, emptyDir: {} }]\n",
    );
    let mut created = server(&Options::default()).create(&pod(&text)).expect("it is wired");
    // What the kubelet does with a `fieldRef`.
    let plan = created["metadata"]["annotations"]["podturn.dev/plan"].clone();
    created["spec"]["initContainers"][0]["env"][0] = json!({ "name": "PODTURN_PLAN", "value": plan });
    let mut command = podturn();
    command.args(["run", "-"]).write_stdin(created.to_string());
    let output = command.output().expect("podturn starts");
    let [out, said] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(0), "{out}{said}");
    let order =
        ["helped", "built", "tested"].map(|word| out.find(word).unwrap_or_else(|| panic!("{word}: {out}{said}")));
    assert!(order.is_sorted(), "{out}");
}

#[test]
fn what_the_policy_cannot_wire_is_refused_in_words() {
    let server = server(&Options::default());
    let step = |more: &str| format!("    - {{ name: a, image: i, command: [x]{more} }}\n");
    let table = [
        (step(", livenessProbe: { exec: { command: [y] } }"), "", "a livenessProbe or startupProbe of a step"),
        (step(", startupProbe: { tcpSocket: { port: 1 } }"), "", "a livenessProbe or startupProbe of a step"),
        (step(", lifecycle: { preStop: { sleep: { seconds: 1 } } }"), "", "a postStart or preStop hook of a step"),
        (step(", restartPolicy: Always"), "", "neither a restartPolicy nor restartPolicyRules of its own"),
        (
            step(", restartPolicy: Never, restartPolicyRules: [{ action: Restart }]"),
            "",
            "is what `podturn inject` takes",
        ),
        (step(", volumeMounts: [{ name: v, mountPath: /podturn/steps }]"), "", "/podturn is where steps"),
        (step(", volumeMounts: [{ name: v, mountPath: /podturn }]"), "", "/podturn is where steps"),
        (step(", terminationMessagePath: '/a\"b'"), "", "the terminationMessagePath of a step"),
        (step(""), "  os: { name: windows }\n", "a Linux program"),
        ("    - { name: a, image: i }\n".to_owned(), "", "no container with a command"),
    ];
    for (containers, rest, wanted) in table {
        let refused = server.create(&pod(&written("steps: [a]", &containers, rest))).expect_err(wanted);
        assert!(
            refused.len() == 1 && refused[0].starts_with("podturn: ") && refused[0].contains(wanted),
            "{refused:?}"
        );
    }
    let on_failure = written("steps: [a]", &step(""), "").replace("Never", "OnFailure");
    assert!(server.create(&pod(&on_failure)).expect_err("OnFailure")[0].contains("OnFailure"));
    let long = written(&format!("steps: [a] # {}", "x".repeat(131_000)), &step(""), "");
    assert!(server.create(&pod(&long)).expect_err("a long plan")[0].contains("too long"));
    // Nothing of this is asked of what the policy does not wire.
    let unnoticed = step(", readinessProbe: { exec: { command: [y] } }, lifecycle: { stopSignal: SIGQUIT }");
    server.create(&pod(&written("steps: [a]", &unnoticed, ""))).expect("fine");
    let without_plan =
        pod(&written("x", &step(", restartPolicy: Always"), "")).to_string().replace("podturn.dev/plan", "x/y");
    let without_plan: Value = serde_json::from_str(&without_plan).expect("JSON");
    assert_eq!(server.create(&without_plan).as_ref(), Ok(&without_plan), "without a plan it is nobody's");
}

#[test]
fn pods_that_are_wired_already_are_left_alone() {
    let options = Options::default();
    let server = server(&options);
    let wired: Vec<Value> = pods().iter().filter_map(|(_, text)| wired(text, &options)).collect();
    assert!(wired.len() >= 20, "{} pods", wired.len());
    let by_hand = pod(&fs::read_to_string(repository("manifests/by-hand.yaml")).expect("a manifest"));
    for pod in wired.iter().chain([&by_hand]) {
        assert_eq!(server.create(pod).as_ref(), Ok(pod));
    }
}

#[test]
fn the_manifest_is_what_the_command_writes() {
    let path = repository("manifests/auto-inject.yaml");
    let output = podturn().arg("policy").output().expect("podturn starts");
    let got = String::from_utf8(output.stdout).expect("UTF-8");
    if std::env::var_os("PODTURN_BLESS").is_some() {
        fs::write(&path, &got).expect("it can be written");
    }
    let kept = fs::read_to_string(&path).expect("a manifest");
    assert!(kept == got, "run with PODTURN_BLESS=1, and look at the difference");
}

#[test]
fn an_option_that_a_policy_cannot_keep_is_refused() {
    for (option, wanted) in [
        ("--placement=container", "native sidecars"),
        ("--volume-medium=pvc:c", "one claim cannot be"),
        ("--job-defaults", "sees no Jobs"),
        ("--drop-plan-annotation", "where the plan comes from"),
        ("--pod-resources", "which CEL cannot read"),
        ("--kubernetes=1.35", "does not serve these policies"),
        ("--resolve", "sees no images"),
    ] {
        let output = podturn().args(["policy", option]).output().expect("podturn starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2) && output.stdout.is_empty() && said.contains(wanted),
            "{option}: {said}"
        );
    }
}

/// The file of defaults is the one of `podturn inject`, too.
#[test]
fn defaults_that_only_inject_can_keep_are_left_out_and_said() {
    let place = tempfile::tempdir().expect("a directory");
    let defaults = "image: registry.example/podturn:1\njob-defaults: true\npod-resources: true\nresolve: registry\n";
    fs::write(place.path().join(".podturn.yaml"), defaults).expect("room");
    let output = podturn().current_dir(place.path()).arg("policy").output().expect("podturn starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for option in ["job-defaults", "pod-resources", "resolve"] {
        assert!(said.contains(&format!("warning: {option} of the file of defaults is left out")), "{said}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("registry.example/podturn:1"));
    fs::write(place.path().join(".podturn.yaml"), "placement: container\n").expect("room");
    let output = podturn().current_dir(place.path()).arg("policy").output().expect("podturn starts");
    assert_eq!(
        output.status.code(),
        Some(2),
        "what would wire pods otherwise than asked is refused wherever it stands"
    );
}

#[test]
fn a_stdout_that_takes_nothing_is_a_failure_that_is_said() {
    let full = fs::File::options().write(true).open("/dev/full").expect("a disk without room");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podturn"));
    let output = command.arg("policy").stdout(full).output().expect("podturn starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && said.starts_with("error: cannot write to stdout: No space"), "{said}");
}

/// The program, without any options from this environment.
fn podturn() -> Command {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PODTURN_")) {
        command.env_remove(name);
    }
    command.current_dir(repository("tests/policy"));
    command
}
