//! What CI systems make of a run. The schema is data of Jenkins' xUnit plugin: `tests/report/README.md` says which version.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::junit;
use crate::history::{History, Record};
use crate::view::played::{EVIL, act, plan, record};

fn xml(record: &Record) -> String {
    junit(&History::of(record).expect("the record is sound").state)
}

/// `xmllint` of libxml2 validates; whoever has it not runs the rest.
#[expect(clippy::print_stderr, reason = "whoever runs the test should know")]
fn assert_valid(xml: &str) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report/junit-10.xsd");
    let mut command = Command::new("xmllint");
    command.args(["--noout", "--nonet", "--schema"]).arg(schema).arg("-");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if std::env::var_os("CI").is_none() => return eprintln!("xmllint: {error}: not validated"),
        Err(error) => panic!("xmllint: {error}"),
    };
    child.stdin.take().expect("a pipe").write_all(xml.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}\n{xml}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn each_end_of_a_step_is_a_case_with_a_verdict() {
    let plan = plan(
        "arrivalTimeout: 5s\n\
         steps:\n  fine: {}\n  flaky: { retry: { limit: 2 } }\n  broken: { retry: { limit: 1 } }\n  lint: { allowFailure: true }\n  \
         absent: {}\n  after: { dependsOn: [broken] }\n",
    );
    let record = record(
        plan,
        &[&[act(1, 0)], &[act(1, 3), act(2, 0)], &[act(1, 4), act(1, 5)], &[act(1, 6)], &[], &[act(1, 0)]],
    );
    let xml = xml(&record);
    assert_valid(&xml);
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites name=\"podturn\" tests=\"6\" failures=\"1\" errors=\"1\" time=\"5.000\">
<testsuite name=\"podturn\" id=\"00000000000000ab\" tests=\"6\" failures=\"1\" errors=\"1\" time=\"5.000\" skipped=\"2\" timestamp=\"2025-11-24T16:00:00.000Z\">
<properties>
<property name=\"run\" value=\"00000000000000ab\"/>
<property name=\"outcome\" value=\"Failed\"/>
<property name=\"podturn\" value=\"{version}\"/>
</properties>
<testcase classname=\"podturn\" name=\"fine\" time=\"1.000\"/>
<testcase classname=\"podturn\" name=\"flaky\" time=\"3.002\">
<flakyFailure type=\"ExitCode\" message=\"attempt 1: ExitCode, code 3, after 1.00s\"></flakyFailure>
</testcase>
<testcase classname=\"podturn\" name=\"broken\" time=\"2.002\">
<failure type=\"ExitCode\" message=\"Failed (ExitCode): its command ended with code 5, on attempt 2\">attempt 1: ExitCode, code 4, after 1.00s</failure>
<rerunFailure type=\"ExitCode\" message=\"attempt 2: ExitCode, code 5, after 1.00s\"></rerunFailure>
</testcase>
<testcase classname=\"podturn\" name=\"lint\" time=\"1.000\">
<skipped type=\"ExitCode\" message=\"Failed (ExitCode): its command ended with code 6\"></skipped>
</testcase>
<testcase classname=\"podturn\" name=\"absent\" time=\"0.000\">
<error type=\"NeverArrived\" message=\"Failed (NeverArrived): its container was not there within 5s\"></error>
</testcase>
<testcase classname=\"podturn\" name=\"after\" time=\"0.000\">
<skipped type=\"DependencyLost\" message=\"Omitted (DependencyLost): broken Failed (ExitCode 5)\"></skipped>
</testcase>
</testsuite>
</testsuites>
"
    );
    assert_eq!(xml, expected);
}

#[test]
fn a_plan_whose_time_is_over_has_a_failure_whoever_ran_then() {
    let record_of = |text: &str| record(plan(text), &[&[act(60, 0)]]);
    let task = xml(&record_of("timeout: 3s\nsteps: { slow: {} }"));
    assert_valid(&task);
    assert!(task.contains("<failure type=\"PlanTimedOut\""), "{task}");
    assert!(task.contains("tests=\"1\" failures=\"1\""), "{task}");
}

#[test]
fn a_failed_plan_without_a_failed_step_is_a_case_of_its_own() {
    let record = record(plan("steps: { a: {} }"), &[&[act(1, 0)]]);
    let mut state = History::of(&record).expect("the record is sound").state;
    state.outcome = Some("Failed".to_owned());
    let xml = junit(&state);
    assert_valid(&xml);
    assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("name=\"(the plan)\"><failure "), "{xml}");
}

#[test]
fn what_a_full_volume_has_ended_is_an_error() {
    let record = record(plan("steps: { a: {} }"), &[&[act(1, 0)]]);
    let mut state = History::of(&record).expect("the record is sound").state;
    state.outcome = Some("Failed".to_owned());
    (state.steps[0].phase, state.steps[0].reason) = ("Cancelled".to_owned(), Some("VolumeFull".to_owned()));
    let xml = junit(&state);
    assert_valid(&xml);
    assert!(xml.contains("tests=\"1\" failures=\"0\" errors=\"1\""), "{xml}");
    assert!(xml.contains("<error type=\"VolumeFull\""), "and no other case that speaks of the plan's time: {xml}");
}

#[test]
fn a_run_that_has_just_begun_has_cases_too() {
    let mut record = record(plan("steps: { a: {} }"), &[&[act(1, 0)]]);
    record.events.truncate(1);
    let xml = xml(&record);
    assert_valid(&xml);
    assert!(xml.contains("value=\"Running\"") && xml.contains("<skipped type=\"Pending\""), "{xml}");
}

#[test]
fn nothing_that_a_run_brings_is_taken_for_markup() {
    let mut hostile = plan("steps: { a: {}, b: { dependsOn: [a] } }");
    hostile.steps[0].name = EVIL.to_owned();
    let xml = xml(&record(hostile, &[&[act(1, 1)], &[act(1, 0)]]));
    assert_valid(&xml);
    assert!(xml.contains("name=\"&lt;/failure&gt;]]&gt;&lt;script&gt;"), "{xml}");
    assert_eq!(xml.matches("<failure").count(), 1, "ours: {xml}");
}
