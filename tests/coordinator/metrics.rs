//! `/metrics`: what promtool says of it, and what a real Prometheus makes of a real run.
//!
//! Debian's package `prometheus` has both programs. Where it is absent these tests say so and pass, unless `CI` is set. Prometheus is
//! one of the test's own, on ports of its own: whether the package's service runs makes no difference.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use tempfile::TempDir;

use super::page::shown_as;
use super::pod::{PIECE, PIECES, Scripts};

const PLAN: &str = "pools: { licences: 3 }\nsteps: { build: {}, test: { dependsOn: [build], uses: { licences: 2 } } }";
const SCRIPTS: Scripts<'static> = &[("build", "read _ < $NOTES/gate"), ("test", "read _ < $NOTES/second")];

fn is_installed() -> bool {
    let has =
        |program: &str| Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let Some(absent) = ["prometheus", "promtool"].into_iter().find(|program| has(program).is_err()) else {
        return true;
    };
    let loud = format!("\n*** NOT TESTED: what Prometheus makes of the metrics: {absent} is not installed ***\n\n");
    assert!(std::env::var_os("CI").is_none(), "{loud}");
    // Not by println, which the test runner keeps to itself when a test passes.
    std::io::stderr().write_all(loud.as_bytes()).expect("writing to stderr");
    false
}

/// The head and the body of an answer.
fn get(address: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_scraper_gets_the_form_that_it_asks_for_and_promtool_finds_no_fault() {
    let (mut pod, address) = shown_as(PLAN, SCRIPTS);
    let running = "podturn_step_phase{step=\"build\",phase=\"Running\"} 1.0\n";
    let (head, text) = get(address, "/metrics", "*/*");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(text.contains(running) && !text.contains("# EOF"), "{text}");
    let (head, openmetrics) = get(address, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(openmetrics.contains(running) && openmetrics.ends_with("# EOF\n"), "{openmetrics}");
    if is_installed() {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = promtool.spawn().expect("it was there just now");
        promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let output = promtool.wait_with_output().expect("it is our child");
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
    }
    pod.gate("second");
    pod.open_gate("gate");
    pod.open_gate("second");
    pod.end();
}

/// A Prometheus, and the alerts that it sends. It dies with this.
struct Prometheus {
    child: Child,
    log: std::path::PathBuf,
    alerts: Receiver<Value>,
    _directory: TempDir,
}

impl Prometheus {
    /// Scrapes `target`, and sends an alert for each step that runs.
    fn watching(target: SocketAddr) -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        let (alertmanager, alerts) = alertmanager();
        let write = |name: &str, text: String| fs::write(directory.path().join(name), text).expect("a fresh directory");
        write("rules.yml", RULES.to_owned());
        write(
            "prometheus.yml",
            format!(
                "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
                 rule_files: [rules.yml]\n\
                 scrape_configs: [{{ job_name: podturn, static_configs: [{{ targets: ['{target}'] }}] }}]\n\
                 alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{alertmanager}'] }}] }}] }}\n"
            ),
        );
        let child = start(directory.path());
        Self { child, log: directory.path().join("log"), alerts, _directory: directory }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has sent an alert for this step.
    fn wait_alert(&self, step: &str) {
        let mut pieces = PIECES;
        while pieces > 0 {
            match self.alerts.recv_timeout(PIECE) {
                Ok(alerts) => {
                    let mut alerts = alerts.as_array().into_iter().flatten();
                    if alerts.any(|alert| alert["labels"]["step"] == step) {
                        return;
                    }
                }
                Err(_) => pieces -= 1,
            }
        }
        panic!("there should be an alert for {step}\n{}", self.log());
    }

    /// Asks its API.
    fn ask(&self, path: &str) -> Value {
        let log = self.log();
        let mut listening = log.lines().filter(|line| line.contains("Listening on"));
        let address = listening.find_map(|line| line.split("address=").nth(1));
        let address = address.unwrap_or_else(|| panic!("it says where it listens\n{log}"));
        let address = address.split_whitespace().next().and_then(|word| word.parse().ok()).expect("an address");
        let (_, body) = get(address, &format!("/api/v1/{path}"), "application/json");
        // A long answer comes in chunks, and each has its length before it: the JSON is one line of them all.
        let json: String = body.lines().filter(|line| line.len() > 8).collect();
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The newest value of a series.
    fn value(&self, series: &str) -> f64 {
        let query: String = series.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.ask(&format!("query?query={query}"));
        let value = answer["data"]["result"][0]["value"][1].as_str();
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{series}: {answer}\n{}", self.log()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const RULES: &str = "\
groups:
- name: podturn
  rules:
  - alert: Runs
    expr: podturn_step_phase{phase=\"Running\"} == 1
";

fn start(directory: &Path) -> Child {
    let log = File::create(directory.join("log")).expect("a fresh directory");
    let mut prometheus = Command::new("prometheus");
    prometheus.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]);
    prometheus.current_dir(directory).stdin(Stdio::null());
    prometheus.stdout(log.try_clone().expect("a descriptor")).stderr(log);
    prometheus.spawn().expect("it was there just now")
}

/// Where alerts may be sent, and those that were.
fn alertmanager() -> (SocketAddr, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (tell, alerts) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
                let line = line.to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap_or_default());
            }
            let mut body = vec![0; length];
            let _ = reader.read_exact(&mut body);
            let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            if serde_json::from_slice(&body).is_ok_and(|alerts| tell.send(alerts).is_err()) {
                return; // the story is over
            }
        }
    });
    (address, alerts)
}

#[test]
fn a_real_prometheus_watches_a_run() {
    if !is_installed() {
        return;
    }
    let (mut pod, address) = shown_as(PLAN, SCRIPTS);
    pod.gate("second");
    let prometheus = Prometheus::watching(address);
    prometheus.wait_alert("build");
    pod.open_gate("gate");
    prometheus.wait_alert("test");

    for (series, value) in [
        ("up", 1.0),
        ("podturn_step_phase{step=\"build\",phase=\"Succeeded\"}", 1.0),
        ("sum(podturn_step_phase)", 2.0),
        ("podturn_step_attempts_total{step=\"build\"}", 1.0),
        ("podturn_step_exit_code{step=\"build\"}", 0.0),
        ("podturn_pool_units_in_use{pool=\"licences\"}", 2.0),
        ("podturn_coordinator_restarts_total", 0.0),
        ("sum(podturn_outcome)", 0.0),
    ] {
        assert_eq!(prometheus.value(series), value, "{series}");
    }
    assert!(prometheus.value("podturn_step_memory_peak_bytes") > 0.0, "a shell has some memory");
    let run = pod.state()["run"].as_str().expect("a run has an id").to_owned();
    assert_eq!(prometheus.value(&format!("podturn_run_info{{run=\"{run}\"}}")), 1.0);
    let known = prometheus.ask("targets/metadata?metric=podturn_step_waiting_seconds");
    assert_eq!(known["data"][0]["unit"], "seconds", "it took OpenMetrics, where units are told: {known}");

    pod.open_gate("second");
    let (ends, code) = pod.end();
    assert!(code == 0 && ends.values().all(|code| *code == 0), "{}", pod.everything());
}
