//! Values from beside the pod: ConfigMaps and Secrets of the same file, and what the pod says of itself, in files and variables.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::pod::{Ended, Place, Run, add};

/// A pod with one step, and what stands beside it.
fn run(place: &Place, script: &str, change: impl FnOnce(&mut Value), beside: &[Value]) -> Ended {
    start(place, script, change, beside, &[]).end()
}

fn start(place: &Place, script: &str, change: impl FnOnce(&mut Value), beside: &[Value], arguments: &[&str]) -> Run {
    let mut pod = place.pod("steps: [a]", &[("a", script)]);
    pod["metadata"]["labels"] = json!({ "app": "shop", "tier": "say \"front\"" });
    pod["metadata"]["namespace"] = json!("team");
    change(&mut pod["spec"]);
    let mut items = beside.to_vec();
    items.push(pod);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    place.start(&list, arguments)
}

fn settings() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" },
        "data": { "level": "debug", "app.conf": "port = 80\n" },
        "binaryData": { "logo": "AAH/" },
    })
}

fn password() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "password" },
        "data": { "user": "c2hvcA==", "word": "b2xk" }, "stringData": { "word": "s3cret" },
    })
}

#[test]
fn a_config_map_and_a_secret_are_files_that_cannot_be_changed() {
    let script = "cd /settings; ls -A; cat app.conf level; od -An -tx1 logo; readlink level ..data; echo x > level; \
                  cat /alone/conf; stat -Lc %a level /secret/deep/word; cat /secret/deep/word; ls /secret /none";
    let place = Place::new();
    let ended = run(
        &place,
        script,
        |spec| {
            add(&mut spec["volumes"], json!({ "name": "settings", "configMap": { "name": "settings" } }));
            let items = json!([{ "key": "word", "path": "deep/word", "mode": 0o400 }]);
            let secret = json!({ "secretName": "password", "items": items, "defaultMode": 0o440 });
            add(&mut spec["volumes"], json!({ "name": "secret", "secret": secret }));
            let none = json!({ "name": "none", "optional": true });
            add(&mut spec["volumes"], json!({ "name": "none", "configMap": none }));
            for (name, path) in [("settings", "/settings"), ("secret", "/secret"), ("none", "/none")] {
                add(&mut spec["containers"][0]["volumeMounts"], json!({ "name": name, "mountPath": path }));
            }
            let alone = json!({ "name": "settings", "mountPath": "/alone/conf", "subPath": "app.conf" });
            add(&mut spec["containers"][0]["volumeMounts"], alone);
        },
        &[settings(), password()],
    );
    let said = ended.said("a").join("|");
    let wanted = "..data|..values|app.conf|level|logo|port = 80|debug 00 01 ff|..data/level|..values|port = 80|644|400|\
                  s3cret/none:||/secret:|deep";
    assert_eq!((ended.code, said.as_str()), (0, wanted), "{}", ended.all());
    assert!(ended.said_on_stderr("a").iter().any(|line| line.contains("Read-only file system")), "{}", ended.all());
}

#[test]
fn one_volume_can_hold_values_of_all_kinds() {
    let script = "cd /all; find . -type f | grep -v '^./[.]' | sort; cat level login labels cores; readlink -f pod/name; cat pod/name";
    let place = Place::new();
    let ended = run(
        &place,
        script,
        |spec| {
            let downward = json!([
                { "path": "pod/name", "fieldRef": { "fieldPath": "metadata.name" } },
                { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
                { "path": "cores", "resourceFieldRef": { "containerName": "a", "resource": "limits.cpu" } },
            ]);
            let sources = json!([
                { "configMap": { "name": "settings", "items": [{ "key": "level", "path": "level" }] } },
                { "secret": { "name": "password", "items": [{ "key": "user", "path": "login" }] } },
                { "downwardAPI": { "items": downward } },
            ]);
            add(&mut spec["volumes"], json!({ "name": "all", "projected": { "sources": sources } }));
            let container = &mut spec["containers"][0];
            container["resources"] = json!({ "limits": { "cpu": "1500m" } });
            add(&mut container["volumeMounts"], json!({ "name": "all", "mountPath": "/all" }));
        },
        &[settings(), password()],
    );
    let said = ended.said("a").join("|");
    let wanted = "debugshopapp=\"shop\"|tier=\"say \\\"front\\\"\"2/all/..values/pod/name|story";
    assert_eq!((ended.code, said.as_str()), (0, wanted), "{}", ended.all());
}

#[test]
fn variables_come_from_config_maps_secrets_and_the_pod() {
    let place = Place::new();
    let ended = run(
        &place,
        "",
        |spec| {
            let container = &mut spec["containers"][0];
            container["command"] = json!(["env"]);
            container["resources"] = json!({ "limits": { "memory": "1Gi" } });
            container["envFrom"] = json!([
                { "prefix": "SET_", "configMapRef": { "name": "settings" } },
                { "secretRef": { "name": "nowhere", "optional": true } },
            ]);
            let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
            container["env"] = json!([
                { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "password", "key": "word" } } },
                { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "no", "optional": true } } },
                { "name": "LEVEL", "value": "<$(SET_level)>" },
                { "name": "APP", "valueFrom": field("metadata.labels['app']") },
                { "name": "ZONE", "valueFrom": field("metadata.labels['zone']") },
                { "name": "TEAM", "valueFrom": field("metadata.namespace") },
                { "name": "MEMORY", "valueFrom": { "resourceFieldRef": { "resource": "limits.memory", "divisor": "1Mi" } } },
            ]);
        },
        &[settings(), password()],
    );
    assert_eq!(ended.code, 0, "{}", ended.all());
    let mut lines = ended.said("a");
    lines.retain(|line| !["PODTURN_", "PATH=", "HOME=", "HOSTNAME="].iter().any(|own| line.starts_with(own)));
    lines.sort_unstable();
    let wanted = [
        "", // the last one's newline
        "APP=shop",
        "LEVEL=<debug>",
        "MEMORY=1024",
        "SET_app.conf=port = 80",
        "SET_level=debug",
        "TEAM=team",
        "WORD=s3cret",
        "ZONE=",
    ];
    assert_eq!(lines, wanted, "{}", ended.all());
    let told = "warning: SET_logo of this ConfigMap cannot be a variable, and is left out";
    assert!(ended.err.iter().any(|line| line.ends_with(told)), "{}", ended.all());
}

#[test]
fn a_directory_of_this_machine_stands_in_for_a_claim() {
    let place = Place::new();
    let claim = |spec: &mut Value| {
        let claim = json!({ "name": "cache", "persistentVolumeClaim": { "claimName": "cache" } });
        add(&mut spec["volumes"], claim);
        add(&mut spec["containers"][0]["volumeMounts"], json!({ "name": "cache", "mountPath": "/cache" }));
    };
    fs::create_dir(place.path("cache")).expect("a fresh directory");
    let stand_in = format!("cache={}", place.path("cache").display());
    let ended = start(&place, "echo kept > /cache/file", claim, &[], &["--volume", &stand_in]).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(fs::read_to_string(place.path("cache/file")).expect("it was kept"), "kept\n");

    let ended = start(&place, "echo never", claim, &[], &["--volume", "cahce=/tmp"]).end();
    assert_eq!((ended.code, ended.out.len()), (2, 0), "{}", ended.all());
    let told = "error: the pod has no volume cahce\n |\n = help: it has notes, cache";
    assert!(ended.err.join("\n").contains(told), "{}", ended.all());
}

/// `podturn inject --volume-medium pvc:CLAIM` puts the turns on a claim.
#[test]
fn the_turns_of_a_wired_pod_may_lie_in_such_a_directory() {
    let place = Place::new();
    place.gate("gate");
    let pod = place.write(&place.pod("steps: [a]", &[("a", "echo begun; read _ < /notes/gate")]));
    let (code, wired, err) =
        place.ask(&["inject", "--volume-medium", "pvc:runs", "--user", "none", pod.to_str().expect("UTF-8")]);
    assert_eq!(code, 0, "{err}");
    let turns = place.path("turns");
    fs::create_dir(&turns).expect("a fresh directory");
    let stand_in = format!("podturn={}", turns.display());
    let wired: Value = serde_json::from_str(&wired).expect("it is JSON, as what was given");
    let mut run = place.start(&wired, &["--json", "--volume", &stand_in]);
    run.wait_said("a", "begun");
    let (code, out, err) = place.ask(&["status"]);
    assert!(code == 0 && out.contains("Running"), "who asks beside it finds it: {out}{err}");
    let _gate = place.open_gate("gate");
    let ended = run.end();
    assert_eq!((ended.code, ended.steps()), (0, vec!["a Succeeded Completed 1".to_owned()]), "{}", ended.all());
    assert!(place.left().is_empty(), "{:?}", place.left());
    assert!(turns.join("journal.jsonl").exists(), "what is in the directory is its owner's");

    // After a reboot, too, the next run is another pod's, which does not go on with what this one has done.
    let text = fs::read_to_string(turns.join("run.json")).expect("a run");
    let mut stamp: Value = serde_json::from_str(&text).expect("it is JSON");
    stamp["bootId"] = json!("00000000-1111-2222-3333-444444444444");
    fs::remove_file(turns.join("run.json")).expect("it is ours");
    fs::write(turns.join("run.json"), stamp.to_string()).expect("it can be written");
    let ended = place.start(&wired, &["--json", "--volume", &stand_in]).end();
    assert_eq!((ended.code, ended.said_on_stderr("a")[0]), (0, "begun"), "{}", ended.all());
}

/// Maven and Java are stand-ins, found on the PATH of this machine as the containers have it: `mvn` makes the file that `java`
/// looks for, out of the source that it gets.
#[test]
fn the_maven_manifest_runs_as_it_is() {
    let place = Place::new();
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/maven.yaml");
    let text = fs::read_to_string(manifest).expect("the manifest");
    let bin = place.path("notes");
    let tools = [
        (
            "mvn",
            "test $2 = -f && mkdir -p /work/target && cat $3 ${3%pom.xml}App.java > /work/target/app.jar && echo packaged",
        ),
        ("java", "grep -c 'the application runs' $2"),
    ];
    for (name, script) in tools {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).expect("it can be written");
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    // The one change: where the tools are.
    let volume = format!("  volumes:\n    - name: tools\n      hostPath: {{ path: {} }}", bin.display());
    let text = text.replacen("  volumes:", &volume, 1);
    let mount = "      env: [{ name: PATH, value: \"/tools:/usr/bin:/bin\" }]\n      volumeMounts:\n        - { name: tools, mountPath: /tools }\n        - { name: maven-turns, mountPath: /podturn/steps/";
    let text = text.replace("      volumeMounts:\n        - { name: maven-turns, mountPath: /podturn/steps/", mount);
    let file = place.path("maven.yaml");
    fs::write(&file, text).expect("it can be written");
    let ended = place.start_file(&file, &[]).end();
    assert_eq!(
        (ended.code, ended.said("build"), ended.said("app")),
        (0, vec!["packaged"], vec!["1"]),
        "{}",
        ended.all()
    );
}
