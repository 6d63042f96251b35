//! What a run's spans say. `tests/coordinator/traces.rs` sends them to a receiver made of the published classes.

use std::collections::HashMap;

use podturn_turn::StepId;

use super::{Source, traces};
use crate::history::Record;
use crate::trace::message::{Span, Value};
use crate::trace::{Context, Parent};
use crate::view::played::{SECOND, act, plan, record};

/// When the runs of these tests began, in ns since 1970.
const BEGIN: u64 = 1_764_000_000_000_000_000;

fn spans(record: &Record, parent: Option<Parent>) -> Vec<Span> {
    let source = Source { service: "release".to_owned(), attributes: Vec::new() };
    let requests = traces(record, &Context::new(record.run, parent), &source).expect("the record is sound");
    requests
        .into_iter()
        .flat_map(|it| it.resource_spans)
        .flat_map(|it| it.scope_spans)
        .flat_map(|it| it.spans)
        .collect()
}

/// A line a span: depth, name, from and to in ms since the begin, result, and what is worth more.
fn told(spans: &[Span]) -> Vec<String> {
    let parents: HashMap<&[u8], &[u8]> =
        spans.iter().map(|span| (span.span_id.as_slice(), span.parent_span_id.as_slice())).collect();
    let depth = |span: &Span| {
        let next = |id: &&[u8]| parents.get(id).copied().filter(|parent| parents.contains_key(parent));
        std::iter::successors(next(&span.span_id.as_slice()), next).count()
    };
    let ms = |at: u64| (at - BEGIN) / 1_000_000;
    let line = |span: &Span| {
        let text = |key: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
            Some(match found {
                Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        };
        let result = text("cicd.pipeline.result").or(text("cicd.pipeline.task.run.result"));
        let result = result.map(|result| format!(" {result}")).unwrap_or_default();
        let error = text("error.type").map(|kind| format!(" {kind}")).unwrap_or_default();
        let message = span.status.as_ref().map(|status| format!(" {:?}", status.message)).unwrap_or_default();
        let (from, to) = (ms(span.start_time_unix_nano), ms(span.end_time_unix_nano));
        let line = format!("{}{} {from}..{to}{result}{error}{message}", "  ".repeat(depth(span)), span.name);
        line.trim_end().to_owned()
    };
    spans.iter().map(line).collect()
}

#[test]
fn a_run_is_a_tree_of_spans() {
    let plan = plan(
        "maxParallel: 1\nsteps:\n  build: {}\n  test: { dependsOn: [build], retry: { limit: 1, backoff: { duration: 2s } } }\n  \
         publish: { dependsOn: [test], approval: true }\n  lint: { allowFailure: true }\n",
    );
    let record = record(plan, &[&[act(3, 0)], &[act(1, 5), act(1, 0)], &[act(1, 7)], &[act(1, 2)]]);
    let expected = "\
RUN release 0..9008 failure ExitCode \"publish: Failed (ExitCode): its command ended with code 7\"
  RUN build 0..3002 success
    build attempt 1..3001
  RUN test 3002..7006 success
    test attempt 3003..4003 ExitCode \"exit code 5\"
    wait: backoff 4004..6004
    test attempt 6005..7005
";
    let lines = told(&spans(&record, None));
    assert_eq!(lines[..7].join("\n") + "\n", expected, "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("    wait: approval ")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("    wait: maxParallel ")), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("  RUN lint ") && line.contains(" failure ExitCode ")),
        "{lines:#?}"
    );
}

#[test]
fn a_step_links_to_those_that_it_waited_for_and_comes_after_them() {
    let record = record(
        plan("steps: { a: {}, b: {}, c: { dependsOn: [a, { step: b, condition: Completed }] } }"),
        &[&[act(1, 0)], &[act(2, 1)], &[act(1, 0)]],
    );
    let spans = spans(&record, None);
    let named = |name: &str| spans.iter().find(|span| span.name == name).expect("it is there");
    let (a, b, c) = (named("RUN a"), named("RUN b"), named("RUN c"));
    let linked: Vec<&[u8]> = c.links.iter().map(|link| link.span_id.as_slice()).collect();
    assert_eq!(linked, [a.span_id.as_slice(), &b.span_id]);
    assert_eq!(c.start_time_unix_nano, b.end_time_unix_nano, "the last of them");
    assert!(a.start_time_unix_nano == BEGIN && c.end_time_unix_nano - BEGIN > 3 * SECOND);
}

#[test]
fn a_run_within_another_trace_is_its_child_and_an_attempt_is_what_its_command_was_told() {
    let parent = Parent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").expect("it is one");
    let record = record(plan("steps: { a: {} }"), &[&[act(1, 0)]]);
    let spans = spans(&record, Some(parent));
    assert!(spans.iter().all(|span| span.trace_id == parent.trace), "one trace");
    assert_eq!(spans[0].parent_span_id, parent.span);
    let told = Context::new(record.run, Some(parent)).of_attempt(StepId(0), 1);
    assert_eq!(spans[2].span_id, told.span);
}

#[test]
fn a_step_that_never_ran_is_a_moment() {
    let record = record(plan("steps: { a: {}, b: { dependsOn: [a] } }"), &[&[act(1, 1)], &[act(1, 0)]]);
    let lines = told(&spans(&record, None));
    assert_eq!(lines.last().map(String::as_str), Some("  RUN b 1002..1002 skip"), "{lines:#?}");
}

#[test]
fn nothing_is_told_before_anything_has_happened() {
    let mut nothing = record(plan("steps: { a: {} }"), &[&[act(1, 0)]]);
    (nothing.events, nothing.started) = (Vec::new(), None);
    assert!(spans(&nothing, None).is_empty());
}
