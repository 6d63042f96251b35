//! The trace of a run, taken by a receiver that is made of OpenTelemetry's published classes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use podturn_turn::Kind;
use prost::Message;

use super::pod::{PIECE, PIECES, Pod, Scripts};

/// One request: its head, and what was in it.
struct Taken {
    head: String,
    request: ExportTraceServiceRequest,
}

/// A collector on loopback that answers each request with the next of these statuses, and with the last one from then on.
fn collector(statuses: &'static [&'static str]) -> (SocketAddr, Receiver<Taken>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it has one");
    let (tell, taken) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let request = read_request(&stream);
            answer(&mut stream, statuses[number.min(statuses.len() - 1)]).expect("it takes an answer");
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, taken)
}

fn read_request(stream: &TcpStream) -> Taken {
    let mut stream = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        stream.read_line(&mut head).expect("a head");
        if let Some(value) = head[from..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    Taken { head, request: ExportTraceServiceRequest::decode(body.as_slice()).expect("a request of OTLP") }
}

fn answer(stream: &mut TcpStream, status: &str) -> std::io::Result<()> {
    let answer = format!("HTTP/1.1 {status} x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes())
}

/// A collector that answers its one request when it is told to.
fn slow_collector() -> (SocketAddr, Receiver<Taken>, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listener.local_addr().expect("it has one");
    let ((tell, taken), (allow, allowed)) = (channel(), channel());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let _ = tell.send(read_request(&stream));
        if allowed.recv().is_ok() {
            let _ = answer(&mut stream, "200"); // whoever has waited too long is not there any more
        }
    });
    (address, taken, allow)
}

fn next(taken: &Receiver<Taken>) -> Taken {
    taken.recv_timeout(PIECE * PIECES).expect("a trace was sent")
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> &'a str {
    let found =
        attributes.iter().find(|attribute| attribute.key == key).and_then(|it| it.value.as_ref()?.value.as_ref());
    match found {
        Some(Value::StringValue(text)) => text,
        Some(other) => panic!("{key}: {other:?}"),
        None => "",
    }
}

/// The spans by their names, the first of a name alone; and all of them, checked as a trace.
fn spans(taken: &Taken) -> (HashMap<String, Span>, Vec<Span>) {
    let all: Vec<Span> =
        taken.request.resource_spans.iter().flat_map(|it| &it.scope_spans).flat_map(|it| it.spans.clone()).collect();
    let by_id: HashMap<&[u8], &Span> = all.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    assert_eq!(by_id.len(), all.len(), "no id twice");
    for span in &all {
        assert!(span.trace_id.len() == 16 && span.span_id.len() == 8 && span.span_id != [0; 8], "{span:?}");
        assert_eq!(span.trace_id, all[0].trace_id, "one trace");
        assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        let Some(parent) = by_id.get(span.parent_span_id.as_slice()) else {
            assert_eq!(span.span_id, all[0].span_id, "only the run has no parent here: {span:?}");
            continue;
        };
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{span:?} in {parent:?}");
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{span:?} in {parent:?}");
        assert!(span.links.iter().all(|link| by_id.contains_key(link.span_id.as_slice())), "{span:?}");
    }
    let mut named = HashMap::new();
    for span in &all {
        named.entry(span.name.clone()).or_insert_with(|| span.clone());
    }
    (named, all)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A run whose coordinator is told of a collector.
fn traced(plan: &str, scripts: Scripts<'_>, variables: &[(&str, &str)]) -> Pod {
    let mut pod = Pod::laid_out(plan, scripts);
    coordinate(&mut pod, variables);
    pod
}

fn coordinate(pod: &mut Pod, variables: &[(&str, &str)]) {
    let mut coordinator = pod.coordinator_command();
    pod.coordinator = Some(coordinator.envs(variables.iter().copied()).spawn().expect("podturn is executable"));
}

const PLAN: &str = "parameters: { TRACEPARENT: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' }\n\
                    steps: { build: { retry: { limit: 1 } }, test: { dependsOn: [build] }, publish: { dependsOn: [test] } }";
const TELL: &str = "echo $PODTURN_STEP $PODTURN_ATTEMPT '$(params.TRACEPARENT)' >> $NOTES/told";

#[test]
fn a_run_is_one_trace_and_each_command_knows_its_place_in_it() {
    let (address, taken) = collector(&["200"]);
    let scripts = [
        ("build", format!("{TELL}; [ $PODTURN_ATTEMPT = 2 ]")),
        ("test", format!("{TELL}; exit 3")),
        ("publish", TELL.to_owned()),
    ];
    let scripts: Vec<(&str, &str)> = scripts.iter().map(|(name, script)| (*name, script.as_str())).collect();
    let mut pod = traced(
        PLAN,
        &scripts,
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue%20team"),
            ("OTEL_SERVICE_NAME", "nightly"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=ci"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ],
    );
    pod.start_all();
    let (_, code) = pod.end();
    assert_eq!(code, 1, "{}", pod.everything());

    let trace = next(&taken);
    let head = trace.head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(
        head.contains("content-type: application/x-protobuf\r\n") && head.contains("x-tenant: blue team\r\n"),
        "{head}"
    );
    let resource = trace.request.resource_spans[0].resource.as_ref().expect("a resource");
    assert_eq!(text(&resource.attributes, "service.name"), "nightly");
    assert_eq!(text(&resource.attributes, "deployment.environment.name"), "ci");

    assert!(!head.contains("content-encoding"), "{head}");
    let log = fs::read_to_string(pod.log("coordinator")).expect("a log");
    assert_eq!(log.matches("OTEL_EXPORTER_OTLP_COMPRESSION is").count(), 1, "said once: {log}");

    let (named, all) = spans(&trace);
    let run = &named["RUN nightly"];
    assert_eq!(hex(&run.trace_id), "0af7651916cd43dd8448eb211c80319c", "the parameter's");
    assert_eq!(hex(&run.parent_span_id), "b7ad6b7169203331");
    assert_eq!(run.kind(), SpanKind::Server);
    assert_eq!(run.status.as_ref().expect("it failed").code(), StatusCode::Error);
    assert_eq!(text(&run.attributes, "cicd.pipeline.result"), "failure");
    assert_eq!(text(&run.attributes, "cicd.pipeline.run.id"), pod.state()["run"]);
    for (step, result) in [("build", "success"), ("test", "failure"), ("publish", "skip")] {
        let span = &named[&format!("RUN {step}")];
        assert_eq!(span.parent_span_id, run.span_id);
        assert_eq!(text(&span.attributes, "cicd.pipeline.task.name"), step);
        assert_eq!(text(&span.attributes, "cicd.pipeline.task.run.result"), result, "{step}");
    }
    assert_eq!(named["RUN test"].links[0].span_id, named["RUN build"].span_id);
    assert_eq!(text(&named["RUN test"].attributes, "error.type"), "ExitCode");

    let told = fs::read_to_string(pod.notes("told")).expect("the commands wrote it");
    let attempts: HashSet<String> =
        all.iter().filter(|span| span.name.ends_with(" attempt")).map(|span| hex(&span.span_id)).collect();
    assert_eq!(told.lines().count(), 3, "{told}");
    for line in told.lines() {
        let context = line.rsplit(' ').next().expect("three words");
        let [_, trace, span, flags] = context.split('-').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!((trace, flags), ("0af7651916cd43dd8448eb211c80319c", "01"), "{line}");
        assert!(attempts.contains(span), "{line} is a span of {attempts:?}");
    }
    assert_eq!(attempts.len(), 3, "each of its own");
}

#[test]
fn a_coordinator_that_takes_over_sends_the_whole_trace_once() {
    let (address, taken) = collector(&["200"]);
    let endpoint = format!("http://{address}/somewhere");
    let variables = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str())];
    let scripts: Scripts<'_> = &[("build", "gate gate"), ("test", "")];
    let mut pod = Pod::laid_out("steps: { build: {}, test: { dependsOn: [build] } }", scripts);
    pod.gate("gate");
    coordinate(&mut pod, &variables);
    pod.start_all();
    pod.wait_event("build has begun", |event| matches!(event.kind, Kind::Begun { .. }));
    pod.kill_coordinator();
    coordinate(&mut pod, &variables);
    pod.open_gate("gate");
    let (_, code) = pod.end();
    assert_eq!(code, 0, "{}", pod.everything());
    let trace = next(&taken);
    assert!(trace.head.starts_with("POST /somewhere HTTP/1.1\r\n"), "{}", trace.head);
    let (named, all) = spans(&trace);
    let are_no_waits = all.iter().filter(|span| !span.name.starts_with("wait: "));
    assert_eq!(are_no_waits.count(), 5, "a run, two steps, two attempts: {all:#?}");
    let run = pod.state()["run"].as_str().expect("an id").to_owned();
    assert!(hex(&named["RUN podturn"].trace_id).ends_with(&run), "whoever knows the run finds its trace");
    assert!(taken.try_recv().is_err(), "the first coordinator had sent nothing");
}

/// Whoever is there may say 'later', or nothing at all; that nobody is there is known at once.
#[test]
fn a_collector_that_is_slow_or_absent_costs_the_trace_and_nothing_else() {
    let (busy, taken) = collector(&["503", "429", "200"]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback"); // connections wait in its queue
    let refuses = { TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("it has one") };
    let (bad, _kept) = collector(&["400"]);
    let silent_address = silent.local_addr().expect("it has one");
    for (address, said) in [
        (busy, None),
        (silent_address, Some("took longer than 1000 ms")),
        (refuses, Some("refused")),
        (bad, Some("answered 400")),
    ] {
        let endpoint = format!("http://{address}");
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")];
        let mut pod = traced("steps: [a]", &[("a", "")], &variables);
        pod.start_all();
        let (ends, code) = pod.end();
        assert!(code == 0 && ends["a"] == 0, "{}", pod.everything());
        let log = fs::read_to_string(pod.log("coordinator")).expect("a log");
        match said {
            Some(said) => assert!(log.contains("the trace was not sent") && log.contains(said), "{said}: {log}"),
            None => assert!(!log.contains("was not sent"), "{log}"),
        }
    }
    assert_eq!(taken.try_iter().count(), 3, "until it was taken");
}

/// The containers of the steps have ended before the trace is sent: each of them, whatever the collector does.
#[test]
fn no_step_waits_for_a_collector() {
    // podturn waits ten seconds for an answer and no longer. A machine that stood still that long shows nothing, and is asked again.
    let is_sent_after_all_ends = || {
        let (address, taken, allow) = slow_collector();
        let endpoint = format!("http://{address}");
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "10000")];
        let plan = "steps: { a: {}, b: { dependsOn: [a] }, last: { finally: true } }";
        let mut pod = traced(plan, &[("a", ""), ("b", "exit 3"), ("last", "")], &variables);
        pod.start_all();
        let trace = next(&taken);
        assert!(trace.head.starts_with("POST /v1/traces "), "{}", trace.head);
        let ends = pod.container_ends();
        assert_eq!(ends.into_values().collect::<Vec<_>>(), [0, 3, 0], "{}", pod.everything());
        assert_eq!(pod.outcome(), "Failed");
        allow.send(()).expect("it waits");
        assert_eq!(pod.coordinator_end(), 1, "{}", pod.everything());
        let log = fs::read_to_string(pod.log("coordinator")).expect("a log");
        !log.contains("the trace was not sent")
    };
    assert!(
        (0..3).any(|_| is_sent_after_all_ends()),
        "the answer to the trace came after the ends of all, and was taken"
    );
}

#[test]
fn what_cannot_be_is_said_and_a_trace_that_nobody_keeps_is_not_sent() {
    let (address, taken) = collector(&["200"]);
    let endpoint = format!("http://{address}");
    let unsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318")], "podturn has no TLS"),
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "podturn has http/protobuf",
        ),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_SDK_DISABLED", "true")], ""),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_TRACES_EXPORTER", "none")], ""),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("TRACEPARENT", unsampled)], ""),
    ];
    for (variables, said) in cases {
        let mut pod = traced("steps: [a]", &[("a", "")], variables);
        pod.start_all();
        assert_eq!(pod.end().1, 0, "{}", pod.everything());
        let log = fs::read_to_string(pod.log("coordinator")).expect("a log");
        assert_eq!(log.contains("no trace is sent"), !said.is_empty(), "{log}");
        assert!(log.contains(said), "{log}");
    }
    assert!(taken.try_recv().is_err(), "nothing was sent");
}
