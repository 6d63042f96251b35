//! Traces of `podturn run`: its own environment asks for them, and every command gets its place in one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::channel;

use super::pod::Place;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_run_is_a_part_of_the_trace_that_it_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let endpoint = format!("http://{}", listener.local_addr().expect("it has one"));
    let (tell, taken) = channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().expect("a connection").0);
        let mut length = 0;
        for line in stream.by_ref().lines().map(|line| line.expect("a head")).take_while(|line| !line.is_empty()) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("a body");
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("it takes an answer");
        tell.send(body).expect("the test waits");
    });
    let place = Place::new();
    let mut pod = place.pod("steps: [a, own]", &[("a", "echo $TRACEPARENT"), ("own", "echo $TRACEPARENT")]);
    pod["spec"]["containers"][1]["env"] = serde_json::json!([{ "name": "TRACEPARENT", "value": "mine" }]);
    let file = place.write(&pod);
    let mut command = place.command(&file, &[]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).env("TRACEPARENT", PARENT);
    let ended = Place::start_command(command).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let [told] = ended.said("a")[..] else { panic!("{}", ended.all()) };
    let [_, trace, span, _] = told.split('-').collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!(trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(ended.said("own"), ["mine"], "what a manifest says stays");
    let body = taken.recv().expect("a trace was sent");
    for id in [span, "b7ad6b7169203331"] {
        let id = u64::from_str_radix(id, 16).expect("an id").to_be_bytes();
        assert!(body.windows(8).any(|window| window == id), "{id:x?} is in it");
    }
}

#[test]
fn nothing_is_different_where_nobody_asks_for_traces() {
    let place = Place::new();
    let file = place.write(&place.pod("steps: [a]", &[("a", "echo ${TRACEPARENT-none}")]));
    let mut command = place.command(&file, &["--json"]);
    command.env("TRACEPARENT", PARENT).env("OTEL_SERVICE_NAME", "x");
    let ended = Place::start_command(command).end();
    assert!(ended.err.iter().any(|line| line.ends_with("| none")), "{}", ended.all());
}
