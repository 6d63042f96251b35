//! What must hold for every page; `tests/browser` looks at it in a real browser.

use std::process::{Command, Stdio};

use podturn_turn::{Condition, Dependency, Event, Kind, Outputs, Plan, StepId};
use podturn_wire::{Ended, Exit, InstanceId, RunId, Usage};

use super::{ACT, ACT_HASH, Live, SCRIPT, SCRIPT_HASH, report};
use crate::history::{History, Record};
use crate::plan::{PodFacts, Source, check};
use crate::volume::usage::Sample;

const SECOND: u64 = 1_000_000_000;

fn plan(text: &str) -> Plan {
    check(&Source::file("plan.yaml".to_owned(), text.to_owned()), &PodFacts::default()).expect("the plan is right").plan
}

/// A record in which each of these happens a second after the one before.
fn record(plan: Plan, kinds: Vec<Kind>) -> Record {
    let events = kinds.into_iter().zip(1u64..).map(|(kind, seq)| Event { seq, at: seq * SECOND, kind });
    Record {
        run: RunId(0xab),
        plan,
        events: events.collect(),
        started: Some(1_764_000_000_000),
        usage: Vec::new(),
        resources: Default::default(),
        until: None,
        is_rehearsal: false,
    }
}

fn one_step(step: u32, code: u8, outputs: Option<Outputs>, from: u64) -> Vec<Kind> {
    let (step, instance) = (StepId(step), InstanceId(9));
    let at = |seq: u64| (from + seq) * SECOND;
    let usage = Usage { cpu: 1_234, max_rss: 204_800 };
    let ended = Ended { at: at(3), exit: Exit::Code(code), timed_out: false, usage };
    let mut kinds = vec![
        Kind::Arrived { step, instance, report: 1, last: None, references: Vec::new() },
        Kind::Begun { step, instance, report: 2, attempt: 1, started_at: at(2) },
    ];
    kinds.extend(outputs.map(|outputs| Kind::Outputs { step, attempt: 1, outputs }));
    kinds.push(Kind::Ended { step, instance, report: 3, attempt: 1, started_at: at(2), ended });
    kinds
}

#[test]
fn a_page_tells_the_whole_story_without_its_script() {
    let mut kinds = vec![Kind::CoordinatorStarted { rebooted: false }];
    kinds.extend(one_step(0, 0, None, 1));
    kinds.extend(one_step(1, 3, None, 4));
    let record =
        record(plan("steps: { build: {}, test: { dependsOn: [build] }, publish: { dependsOn: [test] } }"), kinds);
    let page = report(&record).expect("the record is sound");
    for told in [
        "<title>Failed - podturn run 00000000000000ab</title>",
        "<a href=\"#s1\">test</a>: Failed (ExitCode): its command ended with code 3",
        "2025-11-24 16:00:00 UTC",
        "attempt 1: ExitCode",
        "200 MiB",
        "2.46s",
        "test Failed (ExitCode 3)",
        "waited for its dependencies",
        "Would have taken",
        "id=\"graph\"",
        "class=\"node p-Omitted\" id=\"g2\"",
        "&quot;dependsOn&quot;",
    ] {
        assert!(page.contains(told), "{told}\n{page}");
    }
}

/// A log may say anything of what was used.
#[test]
fn attempts_are_drawn_one_by_one_and_no_figure_is_too_large() {
    let (step, instance, usage) = (StepId(0), InstanceId(9), Usage { cpu: u64::MAX, max_rss: u64::MAX });
    let begun = |attempt, at: u64| Kind::Begun { step, instance, report: at, attempt, started_at: at * SECOND };
    let ended = |attempt, at: u64, code| {
        let ended = Ended { at: at * SECOND, exit: Exit::Code(code), timed_out: false, usage };
        Kind::Ended { step, instance, report: at, attempt, started_at: (at - 1) * SECOND, ended }
    };
    let arrived = Kind::Arrived { step, instance, report: 1, last: None, references: Vec::new() };
    let start = Kind::CoordinatorStarted { rebooted: false };
    let kinds = vec![start, arrived, begun(1, 3), ended(1, 4, 1), Kind::Deadline, begun(2, 6), ended(2, 7, 0)];
    let mut record = record(plan("steps: { a: { retry: { limit: 1, backoff: { duration: 0s } } } }"), kinds);
    for (attempt, amount) in [(1, 500), (2, u64::MAX)] {
        record.usage.push(Sample {
            step: "a".to_owned(),
            attempt,
            after_ms: amount,
            cpu_ms: amount,
            rss_kib: amount,
            max_rss_kib: amount,
            processes: 1,
            read_bytes: None,
            write_bytes: None,
        });
    }
    let page = report(&record).expect("the record is sound");
    let row = page.lines().find(|line| line.contains("<tr id=\"u0\"")).expect("a row for the step");
    assert_eq!(row.matches(" d=\"M0 ").count(), 2, "CPU and memory of the first attempt, from its begin: {row}");
    assert_eq!(row.matches(" M180 ").count(), 2, "the second one began after three seconds of four: {row}");
}

#[test]
fn nothing_that_a_run_brings_is_taken_for_markup() {
    let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'\u{202e}\0";
    let mut hostile = plan("steps: { a: {}, b: { dependsOn: [a] } }");
    hostile.steps[0].name = evil.to_owned();
    hostile.steps[0].when = Some(evil.to_owned());
    hostile.steps[1].depends_on = vec![Dependency { step: StepId(0), condition: Condition::Succeeded }];
    let both = || [(evil.to_owned(), evil.to_owned())].into();
    let mut kinds = vec![Kind::CoordinatorStarted { rebooted: false }];
    kinds.push(Kind::Decided { step: StepId(0), decision: podturn_turn::Decision::Run });
    kinds.extend(one_step(0, 0, Some(Outputs { values: both(), refused: both() }), 2));
    let page = report(&record(hostile, kinds)).expect("the record is sound");
    assert!(page.contains("&lt;/script&gt;"), "it is on the page");
    assert!(!page.contains("<img") && !page.contains("onerror=alert(1)>") && !page.contains('\0'), "as text");
    assert_eq!(page.matches("<script").count(), 1, "our own");
}

#[test]
fn a_page_asks_for_nothing_from_outside() {
    let record = record(plan("steps: { a: {} }"), vec![Kind::CoordinatorStarted { rebooted: false }]);
    let page = report(&record).expect("the record is sound");
    let page = page.replace("http://www.w3.org/2000/svg", ""); // a name, not a place
    for way in ["http:", "https:", "//cdn", "@import", "url(http", "src=\"", "fetch("] {
        assert!(!page.contains(way), "{way}");
    }
}

#[test]
fn what_has_not_ended_is_told_so_far() {
    let mut run = record(plan("steps: { a: {} }"), vec![Kind::CoordinatorStarted { rebooted: false }]);
    run.until = Some(9 * SECOND);
    let history = History::of(&run).expect("it is sound");
    let live = Live::of(&run, &history, false);
    let (page, parts) = (live.page(1), live.parts());
    assert!(parts["summary"].contains("<dt>So far</dt>") && !parts["summary"].contains("<dt>Took</dt>"), "{page}");
    assert!(parts["keys"].contains("the run has waited for this"), "it is brought up to date: {}", parts["keys"]);
    assert!(page.contains("the run has waited for this") && !page.contains("the end waited for this"), "{page}");
    let mut kinds = vec![Kind::CoordinatorStarted { rebooted: false }];
    kinds.extend(one_step(0, 0, None, 1));
    let page = report(&record(plan("steps: { a: {} }"), kinds)).expect("it is sound");
    assert!(page.contains("<dt>Took</dt>") && page.contains("the end waited for this"), "{page}");
}

#[test]
fn what_shapes_mean_is_said_where_there_are_such() {
    let page = |text: &str| {
        let run = record(plan(text), vec![Kind::CoordinatorStarted { rebooted: false }]);
        report(&run).expect("it is sound")
    };
    let words = ["round ends: a service", "thick frame: a finally step", "red dashes: only after a failure"];
    let all = page(
        "steps: { db: { service: true }, a: { dependsOn: [db] }, b: { dependsOn: [a: Failed] }, c: { finally: true } }",
    );
    assert!(words.iter().all(|word| all.contains(word)), "{all}");
    let plain = page("steps: { a: {}, b: { dependsOn: [a] } }");
    assert!(words.iter().all(|word| !plain.contains(word)), "{plain}");
}

/// A flat line at the top of a box looks like much, and says nothing that the figure beside it does not say.
#[test]
fn one_value_alone_has_no_chart() {
    let mut kinds = vec![Kind::CoordinatorStarted { rebooted: false }];
    kinds.extend(one_step(0, 0, None, 1));
    let mut run = record(plan("steps: { a: {} }"), kinds);
    let row = |run: &Record| {
        let page = report(run).expect("it is sound");
        page.lines().find(|line| line.contains("<tr id=\"u0\"")).expect("a row for the step").to_owned()
    };
    assert!(row(&run).contains("200 MiB") && !row(&run).contains("<svg"), "{}", row(&run));
    let asked = crate::volume::Resources { memory_limit: Some(256 << 20), ..Default::default() };
    run.resources.insert("a".to_owned(), asked);
    assert_eq!(row(&run).matches("<svg").count(), 1, "against its limit it says something: {}", row(&run));
}

/// The same verbs as on the screen of `podturn watch`, whatever a step does.
#[test]
fn every_phase_has_the_buttons_that_suit_it() {
    let run = record(plan("steps: { a: { approval: true } }"), vec![Kind::CoordinatorStarted { rebooted: false }]);
    let history = crate::history::History::of(&run).expect("it is sound");
    let page = super::Page::of(&run, &history, true);
    let verbs = |phase: &str, waits_for: Option<&str>| {
        let mut step = history.state.steps[0].clone();
        (step.phase, step.waits_for) = (phase.to_owned(), waits_for.map(str::to_owned));
        let mut html = String::new();
        page.write_actions(&step, &mut html);
        let verbs = html.split("data-verb=\"").skip(1).filter_map(|rest| rest.split('"').next());
        verbs.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(verbs("Awaiting", Some("Approval")), ["approve", "skip"]);
    assert_eq!(verbs("Pending", Some("Dependencies")), ["approve", "skip"], "long before it is asked");
    assert_eq!(verbs("Pending", Some("Slot")), ["skip"], "it was approved");
    assert_eq!(verbs("Paused", Some("Decision")), ["retry", "skip"]);
    assert_eq!(verbs("Backoff", Some("Backoff")), ["skip"]);
    assert_eq!(verbs("Granted", None), ["stop"]);
    assert_eq!(verbs("Running", None), ["stop"]);
    for phase in ["Stopping", "Succeeded", "Failed", "Skipped", "Omitted", "Cancelled"] {
        assert!(verbs(phase, None).is_empty(), "{phase}");
    }
}

#[test]
fn a_run_that_has_just_begun_has_a_page_too() {
    let record =
        record(plan("steps: { a: {}, b: { dependsOn: [a] } }"), vec![Kind::CoordinatorStarted { rebooted: false }]);
    let page = report(&record).expect("the record is sound");
    assert!(page.contains("is not known: the run has not ended"), "{page}");
}

/// The policy names each script by its hash: `sha256sum` of coreutils, and base64 of `openssl`'s kind.
#[test]
fn the_policy_lets_these_scripts_run() {
    for (script, hash) in [(SCRIPT, SCRIPT_HASH), (ACT, ACT_HASH)] {
        assert_eq!(sha256(script), hash.trim(), "*.js.sha256 is the base64 of the sha256 of *.js");
    }
}

fn sha256(text: &str) -> String {
    let mut child = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("coreutils");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends").stdout;
    let digits = String::from_utf8(output).expect("hex digits").split(' ').next().unwrap_or_default().to_owned();
    let bytes: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hex")).collect();
    base64(&bytes)
}

/// Whoever may not act finds nothing on the page by which they could.
#[test]
fn only_a_page_with_a_token_has_buttons() {
    let kinds = || vec![Kind::CoordinatorStarted { rebooted: false }];
    let run = record(plan("steps: { a: { approval: true }, b: { dependsOn: [a] } }"), kinds());
    let history = History::of(&run).expect("it is sound");
    for page in [report(&run).expect("it is sound"), Live::of(&run, &history, false).page(1)] {
        assert!(!page.contains("<button") && !page.contains("/v1/requests") && !page.contains("id=\"token\""));
    }
    let live = Live::of(&run, &history, true);
    let (page, parts) = (live.page(1), live.parts());
    assert!(page.contains(&format!("'sha256-{}' 'sha256-{}'", SCRIPT_HASH.trim(), ACT_HASH.trim())));
    assert!(parts["s0"].contains("data-verb=\"approve\" data-step=\"a\""), "{}", parts["s0"]);
    assert!(parts["s1"].contains("data-verb=\"skip\" data-step=\"b\""), "{}", parts["s1"]);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}
