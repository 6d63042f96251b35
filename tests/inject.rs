//! `podturn inject` and `podturn uninject`, case by case.
//!
//! A case is three files in `tests/inject`: `NAME.in.yaml` (or `.json`), `NAME.out.yaml` as it has to come out, and
//! `NAME.report`: the command, and below it what a person sees on stderr. A case that is refused has no output. To add one,
//! write the input and a report with the command alone; then, as after a wanted change, run with `PODTURN_BLESS=1` and read
//! the difference before it is committed.
//!
//! Of each output is asked, too: is it a fixed point, does `uninject` give the input back byte for byte, and does the
//! Kubernetes API's own schema take it (`kubernetes-validate`, as `.ci/run` installs it).

#[path = "support/not_validated.rs"]
mod not_validated;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use not_validated::not_validated;
use podturn::inject::{Format, convert};
use podturn::plan::SourceFile;
use serde_json::{Value, json};

/// Kubernetes versions whose schemas have to take the outputs: all that have native sidecars.
const VERSIONS: [&str; 9] = ["1.29", "1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"];

/// Those before them, which have to take a coordinator that is an ordinary container.
const VERSIONS_BEFORE_SIDECARS: [&str; 4] = ["1.25", "1.26", "1.27", "1.28"];

/// The first of them whose pods have resources of their own.
const RESTART_RULES_SINCE: &str = "1.35";
const POD_RESOURCES_SINCE: &str = "1.34";

/// One case, and what came of it.
struct Case {
    name: String,
    /// `json` or `yaml`.
    kind: &'static str,
    /// The words after `podturn`.
    command: Vec<String>,
    report: String,
    stdout: String,
    is_wired: bool,
}

#[test]
fn every_case_comes_out_as_expected() {
    let cases = cases();
    assert!(cases.len() >= 60, "the table is there");
    let is_blessed = std::env::var_os("PODTURN_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in &cases {
        for (end, got) in [(format!("out.{}", case.kind), case.output()), ("report".to_owned(), Some(&case.report))] {
            let path = directory().join(format!("{}.{end}", case.name));
            let wanted = fs::read_to_string(&path).ok();
            match got {
                Some(got) if is_blessed => fs::write(&path, got).expect("the expectation can be written"),
                None if is_blessed && wanted.is_some() => fs::remove_file(&path).expect("it can be removed"),
                got if got != wanted.as_ref() => {
                    let [wanted, got] =
                        [wanted.as_ref(), got].map(|text| text.map_or("(no file)", |text| text.as_str()));
                    wrong.push(format!("{}.{end}\n--- wanted\n{wanted}\n--- got\n{got}", case.name));
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_wired_manifest_is_left_alone_and_can_be_taken_back() {
    for case in cases().iter().filter(|case| case.is_manifest() && !case.has("--output") && !case.is_function()) {
        let mut again = case.command.clone();
        *again.last_mut().expect("a command has a file") = "-".to_owned();
        let second = podturn(&again, &case.stdout);
        assert_eq!(
            text(&second.stdout),
            case.stdout,
            "{}: a second inject changed it: {}",
            case.name,
            text(&second.stderr)
        );
        let back = podturn(&["uninject".to_owned(), "-".to_owned()], &case.stdout);
        if case.has("--drop-plan-annotation") {
            assert!(back.status.code() == Some(2) && text(&back.stderr).contains("use the file that it was made from"));
            continue;
        }
        let mut original = fs::read_to_string(directory().join(case.input())).expect("the input");
        if original.contains("podturn.dev/injected:") {
            // It was wired before: what comes back is what that began with.
            original = text(&podturn(&["uninject".to_owned(), "-".to_owned()], &original).stdout);
        }
        assert_eq!(text(&back.stdout), original, "{}: {}", case.name, text(&back.stderr));
    }
}

#[test]
fn the_api_takes_every_output() {
    let validate = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/kubernetes-validate");
    if !validate.exists() {
        return not_validated(&format!("{} is not there (.ci/run installs it)", validate.display()));
    }
    let scratch = tempfile::tempdir().expect("a directory for the test");
    let (mut files, mut older, mut newer, mut newest) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for case in cases().iter().filter(|case| case.is_manifest()) {
        let path = scratch.path().join(format!("{}.yaml", case.name));
        // Of what the validator does not know (other kinds, lists, generateName), the pods in it.
        let is_known = !case.name.starts_with("crd-")
            && !["kind: List", "\"List\"", "ResourceList", "generateName"]
                .iter()
                .any(|word| case.stdout.contains(word));
        let text = if is_known { case.stdout.clone() } else { pods(&case.stdout) };
        fs::write(&path, text).expect("the output can be written");
        let has_pod_resources = case.command.contains(&"--pod-resources".to_owned());
        // The schema of 1.33 knows image volumes; inject asks for 1.35.
        match case.stdout.contains("restartPolicyRules") || case.has("--shim-from") {
            true => newest.push(path),
            false if has_pod_resources => newer.push(path),
            false if case.has("--placement") => older.push(path),
            false => files.push(path),
        }
    }
    for files in [&files, &older, &newer, &newest] {
        assert!(!files.is_empty(), "there is something to validate");
    }
    for version in VERSIONS_BEFORE_SIDECARS.into_iter().chain(VERSIONS) {
        let mut command = std::process::Command::new(&validate);
        command.args(["--strict", "-k", version]).args(&older);
        for (since, files) in [(VERSIONS[0], &files), (POD_RESOURCES_SINCE, &newer), (RESTART_RULES_SINCE, &newest)] {
            if version >= since {
                command.args(files);
            }
        }
        let output = match command.output() {
            // Its Python may be root's own, where this runs as another user after root has.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return not_validated(&format!("this user cannot run {}", validate.display()));
            }
            output => output.expect("the validator starts"),
        };
        assert!(output.status.success(), "Kubernetes {version}:\n{}{}", text(&output.stdout), text(&output.stderr));
    }
}

/// What Pod Security `restricted` asks of a container (kubernetes.io, "Pod Security Standards"), what a ResourceQuota asks for, and a root
/// that nothing is written to: whatever the options, and whatever else is in the pod.
#[test]
fn the_containers_of_podturn_may_run_anywhere() {
    let mut seen = 0;
    // What somebody wired by hand is his own.
    for case in cases().iter().filter(|case| case.is_manifest() && case.name != "wired-by-hand") {
        let pods = pods(&case.stdout);
        for pod in pods.split("\n---\n").filter(|pod| !pod.is_empty()) {
            let pod: Value = serde_json::from_str(pod).expect("it is JSON");
            let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
            let all = lists.into_iter().filter_map(Value::as_array).flatten();
            let own: Vec<&Value> =
                all.filter(|container| container["name"] == "podturn-init" || container["name"] == "podturn").collect();
            assert!(own.is_empty() || own.len() == 2, "{}: both or none: {own:?}", case.name);
            for container in own {
                may_run_anywhere(container).unwrap_or_else(|lacks| panic!("{}: {lacks}: {container}", case.name));
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen} were looked at");
}

/// What a container of podturn's lacks.
fn may_run_anywhere(container: &Value) -> Result<(), String> {
    let security = &container["securityContext"];
    for (field, wanted) in [
        ("runAsNonRoot", json!(true)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("capabilities", json!({ "drop": ["ALL"] })),
        ("seccompProfile", json!({ "type": "RuntimeDefault" })),
    ] {
        if security[field] != wanted {
            return Err(format!("{field} is not {wanted}"));
        }
    }
    for forbidden in ["privileged", "procMount", "seLinuxOptions", "windowsOptions"] {
        if !security[forbidden].is_null() {
            return Err(format!("{forbidden} is not its own to ask for"));
        }
    }
    if security["runAsUser"] == 0 || container["ports"].as_array().is_some_and(|ports| !ports.is_empty()) {
        return Err("it is root, or has a port of the host".to_owned());
    }
    for (part, resource) in [("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")] {
        if !container["resources"][part][resource].is_string() {
            return Err(format!("no {part} of {resource}"));
        }
    }
    Ok(())
}

#[test]
fn a_difference_is_in_colour_where_colours_are_wanted() {
    let diff = |more: &[&str]| {
        let words = ["inject", "--diff", "diff.in.yaml"].iter().chain(more).map(|word| (*word).to_owned());
        text(&podturn(&words.collect::<Vec<_>>(), "").stdout)
    };
    let (plain, coloured) = (diff(&[]), diff(&["--color", "always"]));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain, "the colours are all that is different");
    let mut signs = [0, 0];
    for line in coloured.lines() {
        let line_without = anstream::adapter::strip_str(line).to_string();
        let colour = match line_without.as_bytes().first() {
            _ if line_without.starts_with("--- ") || line_without.starts_with("+++ ") => "1", // bold
            Some(b'@') => "36",
            Some(b'-') => "31",
            Some(b'+') => "32",
            _ => {
                assert_eq!(line, line_without, "what is the same has none");
                continue;
            }
        };
        assert_eq!(line, format!("\x1b[{colour}m{line_without}\x1b[0m"));
        signs[0] += usize::from(colour == "31");
        signs[1] += usize::from(colour == "32");
    }
    assert!(signs.iter().all(|count| *count > 0), "{coloured}");
}

/// Its manifests by name and nothing else, as `kubectl apply -f DIRECTORY` takes them.
#[test]
fn a_directory_is_all_of_its_manifests() {
    let scratch = tempfile::tempdir().expect("a directory for the test");
    let place = |name: &str| scratch.path().join("manifests").join(name);
    fs::create_dir_all(place("below")).expect("room");
    for (case, name) in [
        ("pod.in.yaml", "b.yaml"),
        ("job.in.yaml", "a.yml"),
        ("json.in.json", "c.json"),
        ("daemonset.in.yaml", "notes.txt"),
        ("daemonset.in.yaml", "below/d.yaml"),
    ] {
        fs::copy(directory().join(case), place(name)).expect("room");
    }
    let run =
        |arguments: &[&str]| clean(scratch.path()).arg("inject").args(arguments).output().expect("podturn starts");
    let of_directory = run(&["manifests"]);
    assert!(of_directory.status.success(), "{}", text(&of_directory.stderr));
    let of_files = run(&["manifests/a.yml", "manifests/b.yaml", "manifests/c.json"]);
    assert_eq!(text(&of_directory.stdout), text(&of_files.stdout));
    assert_eq!(text(&of_directory.stderr), text(&of_files.stderr), "each is reported by its own name");
    for name in ["a.yml", "b.yaml", "c.json"] {
        assert!(text(&of_directory.stderr).contains(&format!("manifests/{name}: ")), "{}", text(&of_directory.stderr));
    }
    assert!(!text(&of_directory.stdout).contains("DaemonSet"), "neither other files nor what lies deeper");
    fs::create_dir(scratch.path().join("empty")).expect("room");
    let empty = run(&["empty"]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(text(&empty.stderr).contains("empty has no *.yaml, *.yml or *.json"), "{}", text(&empty.stderr));
}

/// Each place where defaults come from, and which of two wins: the command line, the environment, the file that is named, or that lies
/// there, and what is written in the program.
#[test]
fn options_come_from_the_command_line_the_environment_and_a_file() {
    let scratch = tempfile::tempdir().expect("a directory for the test");
    let write = |name: &str, text: &str| fs::write(scratch.path().join(name), text).expect("room");
    write("pod.yaml", &fs::read_to_string(directory().join("pod.in.yaml")).expect("the input"));
    write("own.yaml", "image: from/own-file:1\nuser: 2000\n");
    let run = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = clean(scratch.path());
        let output = command.arg("inject").args(arguments).arg("pod.yaml");
        let output = output.envs(environment.iter().copied()).output().expect("podturn starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let has = |out: &str, words: &[&str]| words.iter().for_each(|word| assert!(out.contains(word), "{word}:\n{out}"));
    has(&run(&[], &[]), &["image: localhost/podturn:", "runAsUser: 65532", "sizeLimit: 64Mi"]);
    has(&run(&["--config", "own.yaml"], &[]), &["image: from/own-file:1", "runAsUser: 2000"]);
    has(&run(&[], &[("PODTURN_CONFIG", "own.yaml")]), &["image: from/own-file:1"]);
    write(".podturn.yaml", "image: from/file:1\nsize-limit: 1Gi\nuser: 3000\nno-share-pid: true\n");
    let out = run(&[], &[]);
    has(&out, &["image: from/file:1", "runAsUser: 3000", "sizeLimit: 1Gi"]);
    assert!(!out.contains("shareProcessNamespace"), "{out}");
    // Of the coordinator's variables a name alone has the value that it has here, and the command line comes before the file.
    write("env.yaml", "coordinator-env: [TOLD_HERE, PODTURN_LOG=info, PODTURN_LISTEN=127.0.0.1:1]\n");
    let arguments = ["--config", "env.yaml", "--coordinator-env", "PODTURN_LISTEN=127.0.0.1:2"];
    let out = run(&arguments, &[("TOLD_HERE", "there")]);
    has(&out, &["{ name: TOLD_HERE, value: there }", "{ name: PODTURN_LOG, value: info }"]);
    assert!(out.contains("127.0.0.1:2") && !out.contains("127.0.0.1:1"), "{out}");
    has(&run(&["--config", "own.yaml"], &[]), &["image: from/own-file:1", "sizeLimit: 64Mi"]);
    let environment = [
        ("PODTURN_IMAGE", "from/environment:1"),
        ("PODTURN_PULL_POLICY", "Always"),
        ("PODTURN_USER", "4000"),
        ("PODTURN_VOLUME_MEDIUM", "disk"),
        ("PODTURN_SIZE_LIMIT", "2Gi"),
        ("PODTURN_DURABILITY", "node"),
        ("PODTURN_ACTIVE_DEADLINE", "2h"),
        ("PODTURN_KUBERNETES", "1.30"),
    ];
    let out = run(&[], &environment);
    has(&out, &["image: from/environment:1", "imagePullPolicy: Always", "runAsUser: 4000", "sizeLimit: 2Gi"]);
    has(&out, &["\"--durability\", node", "activeDeadlineSeconds: 7200"]);
    assert!(!out.contains("medium: Memory"), "{out}");
    let out = run(&[], &[("PODTURN_PLACEMENT", "container")]);
    assert!(!out.contains("restartPolicy: Always"), "{out}");
    let out = run(&["--image", "from/line:1", "--user", "5000"], &environment);
    has(&out, &["image: from/line:1", "runAsUser: 5000", "sizeLimit: 2Gi"]);
}

#[test]
fn an_image_without_a_name_is_refused() {
    for (arguments, image) in [(vec!["--image", ""], None), (vec![], Some(""))] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podturn"));
        command.env_remove("PODTURN_IMAGE").envs(image.map(|image| ("PODTURN_IMAGE", image)));
        let output = command.arg("inject").args(arguments).arg("job.in.yaml").current_dir(directory()).output();
        let output = output.expect("podturn starts");
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains("--image"), "{}", text(&output.stderr));
    }
}

impl Case {
    fn input(&self) -> String {
        format!("{}.in.{}", self.name, self.kind)
    }

    fn has(&self, option: &str) -> bool {
        self.command.iter().any(|word| word == option)
    }

    /// A KRM function says in its list what it did, and so each time something else.
    fn is_function(&self) -> bool {
        self.name.starts_with("krm")
    }

    /// Whether the output is a manifest, and wired.
    fn is_manifest(&self) -> bool {
        self.is_wired && !self.has("--diff")
    }

    /// What has to be in the output's file: nothing, where it was refused.
    fn output(&self) -> Option<&String> {
        (!self.stdout.is_empty()).then_some(&self.stdout)
    }
}

/// All pods of a text, each as an object of its own.
fn pods(text: &str) -> String {
    fn collect(value: &Value, found: &mut Vec<String>) {
        if value["spec"]["containers"].is_array() {
            let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" }, "spec": value["spec"] });
            found.push(pod.to_string());
        }
        let inner = value.as_object().into_iter().flat_map(|map| map.values());
        inner.chain(value.as_array().into_iter().flatten()).for_each(|value| collect(value, found));
    }
    let json = convert(&SourceFile::new("output", text), Format::Json).expect("the output is YAML");
    let mut found = Vec::new();
    collect(&serde_json::from_str(&json).expect("it is JSON"), &mut found);
    found.join("\n---\n")
}

fn cases() -> Vec<Case> {
    let entries = fs::read_dir(directory()).expect("the table is there");
    let mut names: Vec<(String, &'static str)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let yaml = name.strip_suffix(".in.yaml").map(|name| (name.to_owned(), "yaml"));
            yaml.or_else(|| name.strip_suffix(".in.json").map(|name| (name.to_owned(), "json")))
        })
        .collect();
    names.sort();
    names.into_iter().map(|(name, kind)| case(name, kind)).collect()
}

/// Runs a case: the first line of its report is its command.
fn case(name: String, kind: &'static str) -> Case {
    let input = format!("{name}.in.{kind}");
    let report = fs::read_to_string(directory().join(format!("{name}.report"))).unwrap_or_default();
    let default = format!("$ podturn inject {input}");
    let line = report.lines().next().filter(|line| line.starts_with("$ podturn ")).unwrap_or(&default).to_owned();
    let command: Vec<String> = line.split_whitespace().skip(2).map(str::to_owned).collect();
    assert!(command.iter().any(|word| *word == input || word == "-"), "{name}: its command names another file: {line}");
    let stdin = fs::read_to_string(directory().join(&input)).expect("the input");
    let output = podturn(&command, &stdin);
    let code = output.status.code().expect("it ends by itself");
    let is_wired = code == 0;
    let is_function = name.starts_with("krm");
    assert!(is_wired || is_function || output.stdout.is_empty(), "{name}: what is refused gives no manifest");
    let code = if is_wired { String::new() } else { format!("(exit code {code})\n") };
    let report = format!("{line}\n{}{code}", text(&output.stderr));
    Case { name, kind, command, report, stdout: text(&output.stdout), is_wired }
}

fn podturn(arguments: &[String], stdin: &str) -> std::process::Output {
    clean(&directory()).args(arguments).write_stdin(stdin).output().expect("podturn starts")
}

/// The program in this directory, for somebody who has set nothing that it looks at.
fn clean(place: &Path) -> Command {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PODTURN_")) {
        command.env_remove(name);
    }
    command.current_dir(place).env_remove("CLICOLOR_FORCE");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is UTF-8")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject")
}
