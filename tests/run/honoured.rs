//! What a manifest says of its containers, as the containers find it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

use serde_json::json;

use super::pod::{Place, add};

#[test]
fn a_command_gets_the_manifests_environment_and_no_other() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "")]);
    let container = &mut pod["spec"]["containers"][0];
    container["command"] = json!(["env"]);
    container["env"] = json!([
        { "name": "GREETING", "value": "hello" },
        { "name": "WHO", "value": "$(GREETING) $(HOSTNAME) $$(GREETING) $(NONE)" },
        { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
        { "name": "HOME", "value": "/home/sweet" },
    ]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let mut variables = ended.said("a");
    variables.sort_unstable();
    assert_eq!(
        variables,
        [
            "GREETING=hello",
            "HOME=/home/sweet",
            "HOSTNAME=story",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "POD=story",
            "PODTURN_ATTEMPT=1",
            "PODTURN_OUTPUTS=/podturn/steps/a/out/outputs",
            "PODTURN_STEP=a",
            "WHO=hello story $(GREETING) $(NONE)",
        ]
    );
}

#[test]
fn arguments_follow_the_command_with_references_replaced() {
    let place = Place::new();
    let mut pod = place.pod("steps: [a]", &[("a", "")]);
    let container = &mut pod["spec"]["containers"][0];
    container["command"] = json!(["printf", "%s\\n"]);
    container["args"] = json!(["$(A)", "$$(A)", "$(B)", "two words", ""]);
    container["env"] = json!([{ "name": "A", "value": "1" }]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.said("a"), ["1", "$(A)", "$(B)", "two words", ""], "{}", ended.all());
}

#[test]
fn it_starts_where_the_manifest_says_with_nothing_on_stdin_and_a_session_of_its_own() {
    let place = Place::new();
    // The kubelet makes one `$` of two. The listing's own descriptor is 3.
    let session = "ps -o sid= -p $$$$ | tr -d ' '";
    let script = format!("pwd; readlink /proc/self/fd/0; echo $(ls /proc/self/fd) $(hostname); {session}");
    let mut pod = place.pod("steps: [a, b]", &[("a", &script), ("b", session)]);
    pod["spec"]["containers"][0]["workingDir"] = json!("/workspace/deep/inside");
    let mut command = place.command(&place.write(&pod), &[]);
    // A descriptor that podturn itself has inherited, as from a shell with many.
    // SAFETY: dup2(2) may be called between fork and exec.
    unsafe { command.pre_exec(|| nix::unistd::dup2_raw(std::io::stdout(), 77).map(drop).map_err(Into::into)) };
    let ended = Place::start_command(command).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let [directory, stdin, open_and_host, session] = ended.said("a")[..] else { panic!("{}", ended.all()) };
    assert_eq!((directory, stdin, open_and_host), ("/workspace/deep/inside", "/dev/null", "0 1 2 3 story"));
    assert_ne!([session], ended.said("b")[..], "each container has its own");
}

#[test]
fn volumes_are_where_the_manifest_says() {
    let place = Place::new();
    let first = "mkdir -p /all/part /all/read; echo kept > /all/part/file; echo shown > /all/read/file; echo hostly > /notes/file";
    let second = "cat /part/file /read/file /notes/file; ls -A /part; echo no > /read/file; echo $?";
    let mut pod = place.pod("steps: [a, b]", &[("a", first), ("b", second)]);
    add(&mut pod["spec"]["volumes"], json!({ "name": "data", "emptyDir": {} }));
    add(
        &mut pod["spec"]["volumes"],
        json!({ "name": "other", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }),
    );
    add(&mut pod["spec"]["containers"][0]["volumeMounts"], json!({ "name": "data", "mountPath": "/all" }));
    pod["spec"]["containers"][1]["volumeMounts"] = json!([
        { "name": "other", "mountPath": "/part/deep" },
        { "name": "notes", "mountPath": "/notes", "readOnly": true },
        { "name": "data", "mountPath": "/part", "subPath": "part" },
        { "name": "data", "mountPath": "/read", "subPath": "read", "readOnly": true },
    ]);
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.said("b"), ["kept", "shown", "hostly", "deep", "file", "2"], "{}", ended.all());
    assert_eq!(place.lines("file"), ["hostly"], "a hostPath is the machine's own");
}

/// Also by a user to whom nothing around the mount point belongs: what else is there stays to be seen.
#[test]
fn a_mount_point_is_made_where_this_machine_has_none() {
    let beside = |directory: &str| fs::read_dir(directory).expect("it is there").count();
    let inner = usize::from(!fs::exists("/usr/share/doc").expect("it can be asked"));
    let (share, etc) = (beside("/usr/share") + 2 + inner, beside("/etc/ssl") + 1);
    for place in [Place::new(), Place::of_nobody()] {
        let script = "cd /usr/share && cat podturn-a/deep/inside/file podturn-b/file doc/podturn-e/file /etc/ssl/podturn-c/file; cd - ; \
                      ls -A /usr/share | wc -l; ls -A /etc/ssl | wc -l; echo more > /usr/share/podturn-b/more";
        let mut pod = place.pod("steps: [a]", &[("a", script)]);
        fs::write(place.notes("file"), "seen\n").expect("it can be written");
        let container = &mut pod["spec"]["containers"][0];
        container["workingDir"] = json!("/var/lib/podturn-d/work");
        for path in [
            "/usr/share/doc/podturn-e",
            "/usr/share/podturn-a/deep/inside",
            "/etc/ssl/podturn-c",
            "/usr/share/podturn-b",
        ] {
            add(&mut container["volumeMounts"], json!({ "name": "notes", "mountPath": path }));
        }
        let ended = place.run(&pod, &[]);
        let counted = [share, etc].map(|count| count.to_string());
        let expected = ["seen", "seen", "seen", "seen", "/var/lib/podturn-d/work", &counted[0], &counted[1]];
        assert_eq!((ended.code, ended.said("a")), (0, expected.to_vec()), "{}", ended.all());
        assert_eq!(place.lines("more"), ["more"]);
    }
    assert!(!fs::exists("/usr/share/podturn-a").expect("it can be asked"), "nothing of it is this machine's");
}

#[test]
fn what_is_written_elsewhere_is_forgotten() {
    let place = Place::new();
    let witness = "/podturn-test-witness";
    let pod = place.pod(
        "steps: [a, b]",
        &[
            ("a", &format!("touch {witness} /tmp/mine && ls {witness}")),
            ("b", &format!("ls {witness} /tmp/mine; ls -A /tmp")),
        ],
    );
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.said("a"), [witness], "a container can write in its own root: {}", ended.all());
    assert!(ended.said("b").is_empty(), "which is no other's: {}", ended.all());
    assert!(!fs::exists(witness).expect("it can be asked"), "and not this machine's");
}

#[test]
fn a_step_sees_its_own_mailbox_and_can_write_to_its_out_only() {
    let script = "ls /podturn /podturn/steps; for half in in out; do touch /podturn/steps/a/$half/mine && echo wrote to $half; \
                  done; ls -A $WHERE/* && find $WHERE -name journal.jsonl";
    // Files for a time may lie where a container has its own, or where it sees the machine's.
    for place in [Place::new(), Place::new_in(env!("CARGO_TARGET_TMPDIR").as_ref())] {
        let mut pod = place.pod("steps: {a: {}, b: {dependsOn: [a]}}", &[("a", script), ("b", "")]);
        pod["spec"]["containers"][0]["env"] = json!([{ "name": "WHERE", "value": place.path("tmp") }]);
        // A mount point that is made above the machine's does not bring them to light.
        let above = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("podturn-above");
        add(&mut pod["spec"]["containers"][0]["volumeMounts"], json!({ "name": "notes", "mountPath": above }));
        let ended = place.run(&pod, &[]);
        assert_eq!(
            ended.said("a"),
            ["/podturn:", "steps", "", "/podturn/steps:", "a", "wrote to out"],
            "{}",
            ended.all()
        );
        assert!(ended.said_on_stderr("a").iter().any(|line| line.contains("Read-only file system")), "{}", ended.all());
    }
}

#[test]
fn a_runs_directory_is_closed_to_other_users() {
    let place = Place::new();
    place.gate("gate");
    let mut run = place.start(&place.pod("steps: [a]", &[("a", "echo begun; read _ < /notes/gate")]), &[]);
    run.wait_said("a", "begun");
    let mode = |path: &std::path::PathBuf| fs::metadata(path).expect("it is there").mode() & 0o777;
    assert_eq!(place.left().iter().map(mode).collect::<Vec<_>>(), [0o700]);
    let _gate = place.open_gate("gate");
    assert_eq!(run.end().code, 0);
}

#[test]
fn the_termination_log_is_where_the_manifest_says() {
    let place = Place::new();
    let mut pod =
        place.pod("steps: [a]", &[("a", "test -w /dev/termination-log || test -w /var/last-words && echo yes")]);
    pod["spec"]["containers"][0]["terminationMessagePath"] = json!("/var/last-words");
    let ended = place.run(&pod, &["--keep"]);
    assert_eq!(ended.said("a"), ["yes"], "{}", ended.all());
    let log = place.left().pop().expect("it was kept").join("containers/a/termination-log");
    let words = fs::read_to_string(log).expect("it was kept");
    assert_eq!(words.trim_end(), "Succeeded: its command ended with code 0");
}

#[test]
fn a_container_runs_as_the_user_of_its_security_context() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: only root can become others");
        return;
    }
    let place = Place::new();
    let mut pod = place.pod("steps: [a, b, c]", &[("a", ""), ("b", ""), ("c", "")]);
    pod["spec"]["securityContext"] = json!({ "runAsUser": 1234, "runAsGroup": 2345 });
    let containers = pod["spec"]["containers"].as_array_mut().expect("a list");
    for container in containers.iter_mut() {
        container["command"] = json!(["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"]);
    }
    containers[1]["securityContext"] = json!({ "runAsUser": 4321 });
    containers[2]["securityContext"] = json!({ "runAsUser": 0, "runAsGroup": 0 });
    let ended = place.run(&pod, &[]);
    assert_eq!(ended.code, 0, "{}", ended.all());
    let who = ["a", "b", "c"].map(|name| ended.said(name).join(""));
    assert_eq!(who, ["1234 2345 2345", "4321 2345 2345", "0 0 0"]);
}
