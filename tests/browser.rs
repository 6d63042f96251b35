//! The report in a real browser: makes pages of played runs, and lets `tests/browser/*.mjs` look at them in Chromium.
//!
//! Needs `/usr/bin/chromium`, `node`, and `npm ci` in `tests/browser`; says so and passes where one of them is absent, unless
//! `PODTURN_BROWSER=1` says that it has to be there. `PODTURN_PICTURES=1` writes the picture of the README anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use podturn::history::{Act, Record, Script, Scripts, play};
use podturn::plan::{PodFacts, Source, check};
use podturn::view;
use podturn::volume::Resources;
use podturn::volume::usage::Sample;
use podturn_turn::Outputs;
use podturn_wire::{Exit, RunId};

const MS: u64 = 1_000_000;
const CHROMIUM: &str = "/usr/bin/chromium";

/// The story that is on the page: everything that a step can wait for, a flaky test, a failure, and a name for HTML.
const STORY: &str = "
maxParallel: 2
steps:
  clone: {}
  build: { dependsOn: [clone] }
  db: { service: true, readiness: { tcpSocket: { port: 5432 } } }
  unit: { dependsOn: [build], retry: { limit: 3, backoff: { duration: 8s } } }
  lint: { dependsOn: [build], allowFailure: true }
  scan: { dependsOn: [build] }
  itest: { dependsOn: [build, db] }
  package: { dependsOn: [unit, lint, scan, itest] }
  deploy: { dependsOn: [package], approval: 'to production?' }
  rollback: { dependsOn: [deploy: Failed] }
  smoke: { dependsOn: [deploy] }
  notify: { finally: true }
";

fn act(ms: u64, code: u8) -> Act {
    let mut outputs = Outputs::default();
    if code == 0 && ms > 20_000 {
        outputs.values.insert("version".to_owned(), "<img src=x onerror=alert(1)> 1.4.2".to_owned());
    }
    let (runs, exit) = (Some(ms * MS), Exit::Code(code));
    Act {
        handoff: MS,
        runs,
        probed: None,
        stops: 2_000 * MS,
        told: MS / 2,
        exit,
        stopped: exit,
        timed_out: false,
        outputs,
    }
}

fn script(arrives: u64, acts: &[(u64, u8)]) -> Script {
    let acts = acts.iter().map(|(ms, code)| act(*ms, *code)).collect();
    Script { arrives: Some(arrives * MS), acts, ..Script::default() }
}

fn record(plan: &str, scripts: BTreeMap<&str, Script>) -> Record {
    let source = Source::file("plan.yaml".to_owned(), plan.to_owned());
    let plan = check(&source, &PodFacts::default()).expect("the plan is right").plan;
    let of =
        |name: &str| scripts.get(name).cloned().unwrap_or_else(|| script(0, &[(1_000 + name.len() as u64 * 37, 0)]));
    let scripts = Scripts { steps: plan.steps.iter().map(|step| of(&step.name)).collect(), ..Scripts::default() };
    let events = play(&plan, RunId(0x5eed), &scripts).expect("it ends");
    Record {
        run: RunId(0x5eed),
        plan,
        events,
        started: Some(1_795_687_034_000),
        usage: Vec::new(),
        resources: Default::default(),
        until: None,
        is_rehearsal: false,
    }
}

fn story() -> Record {
    let mut db = script(0, &[(0, 0)]);
    (db.acts[0].runs, db.acts[0].probed) = (None, Some((9_000 * MS, podturn_turn::Probed::Ready)));
    let mut deploy = script(1_000, &[(9_000, 7)]);
    deploy.approval = Some(21_000 * MS);
    let mut story = record(
        STORY,
        [
            ("clone", script(1_500, &[(6_000, 0)])),
            ("build", script(400, &[(24_000, 0)])),
            ("db", db),
            ("unit", script(0, &[(11_000, 1), (12_000, 1), (14_000, 0)])),
            ("lint", script(0, &[(7_000, 2)])),
            ("scan", script(38_000, &[(16_000, 0)])),
            ("itest", script(0, &[(18_000, 0)])),
            ("package", script(0, &[(5_000, 0)])),
            ("deploy", deploy),
            ("rollback", script(0, &[(6_000, 0)])),
        ]
        .into(),
    );
    for (step, attempt, seconds) in [("build", 1, 24), ("unit", 1, 11), ("unit", 2, 12), ("unit", 3, 14), ("db", 1, 60)]
    {
        story.usage.extend(used(step, attempt, seconds));
    }
    let asked = |cpu, memory: u64| Resources {
        cpu_request: Some(cpu),
        cpu_limit: Some(cpu * 2),
        memory_request: Some(memory << 20),
        memory_limit: Some(memory << 21),
    };
    story.resources.insert("build".to_owned(), asked(900, 300));
    story.resources.insert("unit".to_owned(), asked(500, 150));
    story.resources.insert("db".to_owned(), asked(8_000, 4_096));
    story
}

/// A sample each second: work in waves, and memory that grows.
fn used(step: &str, attempt: u32, seconds: u64) -> impl Iterator<Item = Sample> {
    let mut cpu_ms = 0;
    (1..=seconds).map(move |second| {
        cpu_ms += 200 + second % 5 * 300;
        Sample {
            step: step.to_owned(),
            attempt,
            after_ms: second * 1_000 - 100,
            cpu_ms,
            rss_kib: (40 + second * 12) << 10,
            max_rss_kib: (20 + second * 10) << 10,
            processes: 3,
            read_bytes: Some(second << 20),
            write_bytes: Some(second << 12),
        }
    })
}

/// Twenty stages of fifty legs.
fn thousand() -> Record {
    let mut plan = String::from("maxParallel: 40\nsteps:\n");
    for step in 0..1_000 {
        let stage = step / 50;
        let needs: Vec<String> = match stage {
            0 => Vec::new(),
            _ => (0..2).map(|leg| format!("s{}-{}", stage - 1, (step % 50 + leg * 7) % 50)).collect(),
        };
        plan.push_str(&format!("  s{stage}-{}: {{ dependsOn: [{}] }}\n", step % 50, needs.join(", ")));
    }
    record(&plan, BTreeMap::new())
}

/// Skips, and says so, where there is no browser.
fn has_browser(browser: &Path) -> bool {
    let Some(absent) = what_is_absent(browser) else { return true };
    assert!(std::env::var_os("PODTURN_BROWSER").is_none(), "{absent}");
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("SKIPPED: no page was looked at in a browser: {absent}");
    }
    false
}

fn what_is_absent(browser: &Path) -> Option<String> {
    if !Path::new(CHROMIUM).exists() {
        return Some(format!("{CHROMIUM} is not installed"));
    }
    if Command::new("node").arg("--version").output().is_err() {
        return Some("node is not installed".to_owned());
    }
    let modules = browser.join("node_modules/playwright-core");
    (!modules.exists()).then(|| "`npm ci` was not run in tests/browser".to_owned())
}

#[test]
fn the_report_is_right_in_a_real_browser() {
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !has_browser(&browser) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory for the test");
    for (name, record) in [("story.html", story()), ("thousand.html", thousand())] {
        let page = view::report(&record).expect("what was played fits");
        fs::write(directory.path().join(name), page).expect("the page can be written");
    }
    let looked =
        Command::new("node").arg("report.mjs").arg(directory.path()).current_dir(&browser).output().expect("node");
    let said = String::from_utf8_lossy(&looked.stdout).into_owned() + &String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success(), "{said}");
    if std::env::var_os("PODTURN_PICTURES").is_some() {
        let picture = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.png");
        let page = directory.path().join("story.html");
        let drawn = Command::new("node")
            .arg("picture.mjs")
            .arg(page)
            .arg(picture)
            .current_dir(&browser)
            .status()
            .expect("node");
        assert!(drawn.success(), "the picture is drawn");
    }
}

/// A `podturn run` with a page: the process, where the page is, and what it says until its end.
fn with_page(
    file: &Path,
    variables: &[(&str, &str)],
) -> (std::process::Child, String, std::thread::JoinHandle<String>) {
    let mut run = Command::new(env!("CARGO_BIN_EXE_podturn"));
    run.args(["run", "--listen", "127.0.0.1:0"]).arg(file).stdin(Stdio::null()).stdout(Stdio::null());
    run.envs(variables.iter().copied());
    let mut run = run.stderr(Stdio::piped()).spawn().expect("podturn runs");
    let mut said = BufReader::new(run.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let url = said.find_map(|line| line.split("at http://").nth(1).map(|place| format!("http://{place}")));
    let url = url.expect("it says where the page is");
    let rest = std::thread::spawn(move || said.collect::<Vec<String>>().join("\n"));
    (run, url, rest)
}

#[test]
fn a_person_with_the_token_acts_on_a_live_page() {
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !has_browser(&browser) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = directory.path().join("pod.yaml");
    let plan = "steps: { first: { approval: true }, second: { dependsOn: [first] }, third: { dependsOn: [second] } }";
    let container = |name| format!("{{ name: {name}, image: busybox, command: [sleep, '600'] }}");
    let containers = ["first", "second", "third"].map(container).join(", ");
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: acts, annotations: {{ podturn.dev/plan: '{plan}' }} }}\n\
         spec: {{ restartPolicy: Never, containers: [{containers}] }}\n"
    );
    fs::write(&file, manifest).expect("the manifest can be written");
    let token = "correct-horse-battery";
    let (mut run, url, rest) = with_page(&file, &[("PODTURN_LISTEN_TOKEN", token)]);
    let looked = Command::new("node").arg("act.mjs").arg(url).arg(token).current_dir(&browser).output().expect("node");
    if !looked.status.success() {
        run.kill().expect("it is our child");
    }
    let ended = run.wait().expect("it ends");
    let shown = String::from_utf8_lossy(&looked.stderr);
    let rest = rest.join().expect("no panic");
    assert!(looked.status.success(), "{shown}\n{rest}");
    assert_eq!(ended.code(), Some(143), "{rest}");
}

#[test]
fn a_live_page_follows_its_run() {
    let browser = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !has_browser(&browser) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory for the test");
    let gate = directory.path().join("open");
    let manifest = format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: live
  annotations: {{ podturn.dev/plan: 'steps: {{ first: {{}}, second: {{ dependsOn: [first] }} }}' }}
spec:
  restartPolicy: Never
  volumes: [{{ name: gate, hostPath: {{ path: {} }} }}]
  containers:
    - name: first
      image: busybox
      command: [sh, -c, 'while ! [ -e /gate/open ]; do sleep 0.1; done']
      volumeMounts: [{{ name: gate, mountPath: /gate }}]
    - {{ name: second, image: busybox, command: [sh, -c, 'true'] }}
",
        directory.path().display()
    );
    let file = directory.path().join("pod.yaml");
    fs::write(&file, manifest).expect("the manifest can be written");
    let (mut run, url, rest) = with_page(&file, &[]);
    let looked = Command::new("node").arg("live.mjs").arg(url).arg(&gate).current_dir(&browser).output().expect("node");
    fs::write(&gate, "").expect("the gate can be opened, whatever came of it");
    let ended = run.wait().expect("it ends");
    let shown = String::from_utf8_lossy(&looked.stderr);
    assert!(looked.status.success() && ended.success(), "{shown}\n{}", rest.join().expect("no panic"));
}
