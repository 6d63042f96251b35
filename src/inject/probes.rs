//! What becomes of a step's own probes and hooks, which count from the start of its container: they are asked through
//! `podturn-probe`, which knows whether the step's command runs (docs/operations.md, "A step's own probes and hooks").
//!
//! ```text
//! turned(step, programs, share, container) ─> Turned { entries, hooks, changes, findings }
//! ```
//! Pure, and the same for every look at a container: `refuse` tells the findings, `wire` makes the changes.
//!
//! Belongs here: which entry becomes what. Does not belong here: how it is written into the text (`edit`), and what a
//! handler means (`handler`).

use podturn_wire::names;
use serde_json::{Map, Value, json};

use super::handler::{Finding, Handler, Whose, duration, seconds};
use super::tree::Tree;
use crate::plan::yaml::Node;

/// The kubelet waits one second longer than the question takes: then what was wrong stands in its event.
const MARGIN: u64 = 1;

/// What is written for one step.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Turned {
    /// Entries of the container with their new values. Those that are there are replaced.
    pub entries: Vec<(&'static str, Value)>,
    /// The shim's words for the hooks, which come before its two dashes. As a container's command they are expanded by the
    /// kubelet, so each `$` is written twice.
    pub hooks: Vec<String>,
    /// What was done, and what for.
    pub changes: Vec<(&'static str, &'static str)>,
    /// What is odd, or cannot be.
    pub findings: Vec<Finding>,
    /// Where `podturn-probe` is in the step's container.
    program: String,
    /// How long a step may take to stop when the pod is deleted, in ms.
    share: u64,
}

/// What has to be written for a step with this container, which has podturn's programs in that directory. `share` is how long
/// the step may take to stop when the pod is deleted, in ms ([`share_of`]).
pub(super) fn turned(step: &str, programs: &str, share: u64, container: &Node) -> Turned {
    let program = format!("{programs}/{}", names::PROBE);
    let mut turned = Turned { program, share, ..Turned::default() };
    let mut read = |key: &'static str| {
        let node = container.get(key).filter(|node| !node.is_null())?;
        match Asked::read(node, Whose { step, what: key, container, is_hook: false }) {
            Ok(asked) => Some((node, asked)),
            Err(finding) => {
                turned.findings.push(finding);
                None
            }
        }
    };
    let (startup, liveness) = (read("startupProbe"), read("livenessProbe"));
    turned.probes(startup, liveness);
    if let Some(lifecycle) = container.get("lifecycle").filter(|node| node.entries().is_some_and(|all| !all.is_empty()))
    {
        turned.hooks(step, container, lifecycle);
    }
    turned
}

/// A step's share of the time that a deleted pod has (docs/operations.md, "Deleting a pod"), in ms.
pub(super) fn share_of(grace_period: u64, termination_grace_period_seconds: u64) -> u64 {
    grace_period.min((termination_grace_period_seconds * 1000).saturating_sub(1000) / 4)
}

/// A probe.
struct Asked {
    handler: Handler,
    delay: u64,
    timeout: u64,
    period: u64,
    failures: u64,
}

impl Asked {
    fn read(node: &Node, whose: Whose<'_>) -> Result<Self, Finding> {
        let number = |key| seconds(node, key, whose);
        Ok(Self {
            handler: Handler::read(node, whose)?,
            delay: number("initialDelaySeconds")?,
            timeout: number("timeoutSeconds")?,
            period: number("periodSeconds")?,
            failures: number("failureThreshold")?,
        })
    }

    /// How long failures in a row take to count, in seconds.
    fn window(&self) -> u64 {
        self.period * self.failures
    }

    /// As words of `podturn-probe`. Failures until `forgive` seconds after the begin do not count.
    fn question(&self, name: &str, forgive: u64) -> Vec<String> {
        let mut words = vec![name.to_owned()];
        words.extend(self.handler.question());
        let default = [("--delay", self.delay, 0), ("--timeout", self.timeout, 1), ("--forgive", forgive, 0)];
        for (option, value, default) in default {
            if value != default {
                words.extend([option.to_owned(), duration(value)]);
            }
        }
        words
    }
}

impl Turned {
    fn probes(&mut self, startup: Option<(&Node, Asked)>, liveness: Option<(&Node, Asked)>) {
        let program = self.program.clone();
        let slot = |node: &Node, words: Vec<Vec<String>>, timeout: u64| {
            let command: Vec<String> = [program.clone()].into_iter().chain(words.into_iter().flatten()).collect();
            probe(node, &command, timeout + MARGIN)
        };
        if let Some((node, asked)) = &startup {
            // While the step waits it passes at once, and the livenessProbe takes over: it asks for the start-up, too.
            self.entries.push(("startupProbe", slot(node, vec![asked.question("startup", 0)], asked.timeout)));
            self.changes.push((
                "startupProbe",
                "every attempt is protected while it starts up, by the livenessProbe; waiting is no failure",
            ));
        }
        match (&startup, &liveness) {
            (Some((_, first)), Some((node, then))) => {
                let forgive = (first.delay + first.window()).saturating_sub(then.window());
                let forgive = if forgive > first.delay { forgive } else { 0 };
                let words = vec![first.question("startup", forgive), then.question("liveness", 0)];
                self.entries.push(("livenessProbe", slot(node, words, first.timeout.max(then.timeout))));
            }
            (Some((node, first)), None) => {
                self.entries.push(("livenessProbe", slot(node, vec![first.question("startup", 0)], first.timeout)));
            }
            (None, Some((node, then))) => {
                self.entries.push(("livenessProbe", slot(node, vec![then.question("liveness", 0)], then.timeout)));
            }
            (None, None) => {}
        }
        if liveness.is_some() {
            self.changes.push(("livenessProbe", "asked only while the step's command runs, and counted from its turn"));
        }
    }

    fn hooks(&mut self, step: &str, container: &Node, lifecycle: &Node) {
        let hooks = [
            ("postStart", "--post-start", "the shim runs it at the turn, beside the command"),
            ("preStop", "--pre-stop", "the shim runs it before the stop signal, whoever stops the command"),
        ];
        for (what, option, why) in hooks {
            let Some(node) = lifecycle.get(what).filter(|node| !node.is_null()) else { continue };
            let words = match Handler::read(node, Whose { step, what, container, is_hook: true }) {
                Ok(Handler::Exec(words)) => words,
                Ok(other) => {
                    self.drains(node, &other, what);
                    [self.program.clone(), "hook".to_owned()].into_iter().chain(other.question()).collect()
                }
                Err(finding) => {
                    self.findings.push(finding);
                    continue;
                }
            };
            self.hooks.extend([option.to_owned(), words.len().to_string()]);
            self.hooks.extend(words.iter().map(|word| word.replace('$', "$$")));
            self.changes.push((what, why));
        }
        if !self.hooks.is_empty() {
            let others = lifecycle.entries().unwrap_or_default().iter();
            let others = others.filter(|entry| hooks.iter().all(|(what, ..)| entry.key != *what));
            let left = others.map(|entry| (entry.key.clone(), Tree::from(&entry.value).to_json())).collect();
            self.entries.push(("lifecycle", Value::Object(left)));
        }
    }

    /// A preStop hook that takes all the time that there is leaves none for the stop signal.
    fn drains(&mut self, node: &Node, handler: &Handler, what: &str) {
        if let Handler::Sleep(seconds) = handler
            && what == "preStop"
            && seconds * 1000 >= self.share
        {
            let [sleeps, share] = [duration(*seconds), format!("{}s", self.share as f64 / 1000.0)];
            self.findings.push(Finding {
                span: node.place(),
                message: format!(
                    "this hook takes {sleeps} of the {share} in which a step has to stop when the pod is deleted"
                ),
                help: "that is `gracePeriod`, and at most a quarter of terminationGracePeriodSeconds: make both longer"
                    .to_owned(),
                is_error: false,
            });
        }
    }
}

/// A probe that runs this command, with the numbers of another one.
fn probe(of: &Node, command: &[String], timeout: u64) -> Value {
    let mut probe = Map::new();
    probe.insert("exec".to_owned(), json!({ "command": command }));
    let mut is_told = false;
    for entry in of.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "exec" | "httpGet" | "tcpSocket" | "grpc" | "initialDelaySeconds" => {}
            "timeoutSeconds" => {
                is_told = true;
                probe.insert(entry.key.clone(), timeout.into());
            }
            _ => {
                probe.insert(entry.key.clone(), Tree::from(&entry.value).to_json());
            }
        }
    }
    if !is_told {
        probe.insert("timeoutSeconds".to_owned(), timeout.into());
    }
    Value::Object(probe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Source;
    use crate::plan::yaml;

    fn of(text: &str) -> Turned {
        let nodes = yaml::parse(&Source::file("pod.yaml", text)).expect("YAML");
        turned("web", "/podturn/steps/web/in", share_of(10_000, 30), &nodes[0])
    }

    /// The words of a probe, without the program.
    fn words(turned: &Turned, key: &str) -> String {
        let entry = turned.entries.iter().find(|(known, _)| *known == key).expect("it is written");
        let words: Vec<&str> =
            entry.1["exec"]["command"].as_array().expect("exec").iter().filter_map(Value::as_str).collect();
        assert_eq!(words[0], "/podturn/steps/web/in/podturn-probe");
        words[1..].join(" ")
    }

    #[test]
    fn a_liveness_probe_keeps_its_numbers_but_for_the_delay() {
        let turned = of(
            "livenessProbe: { httpGet: { path: healthz, port: http }, initialDelaySeconds: 90, timeoutSeconds: 5, \
                         failureThreshold: 2, terminationGracePeriodSeconds: 7 }\nports: [{ name: http, containerPort: 8080 }]",
        );
        assert_eq!(turned.findings, []);
        assert_eq!(
            words(&turned, "livenessProbe"),
            "liveness --http http://pod:8080/healthz --delay 1m30s --timeout 5s"
        );
        let mut numbers = turned.entries[0].1.clone();
        numbers.as_object_mut().expect("a map").remove("exec");
        assert_eq!(numbers, json!({ "timeoutSeconds": 6, "failureThreshold": 2, "terminationGracePeriodSeconds": 7 }));
    }

    /// `forgive`: initialDelaySeconds + 30 x 10 of the one, less 3 x 10 of the other.
    #[test]
    fn liveness_waits_for_the_start_up_of_each_attempt() {
        let turned =
            of("startupProbe: { exec: { command: [test, -e, /up] }, failureThreshold: 30, initialDelaySeconds: 5 }\n\
                         livenessProbe: { tcpSocket: { port: 5432 } }");
        assert_eq!(words(&turned, "startupProbe"), "startup --exec 3 test -e /up --delay 5s");
        assert_eq!(
            words(&turned, "livenessProbe"),
            "startup --exec 3 test -e /up --delay 5s --forgive 4m35s liveness --tcp pod:5432"
        );
    }

    #[test]
    fn a_startup_probe_alone_protects_every_attempt_too() {
        let turned =
            of("startupProbe: { tcpSocket: { port: 80, host: 'fd00::1' }, periodSeconds: 1, failureThreshold: 60 }");
        assert_eq!(words(&turned, "livenessProbe"), "startup --tcp [fd00:0:0:0:0:0:0:1]:80");
        assert_eq!(turned.entries[1].1["failureThreshold"], 60);
        assert_eq!(turned.entries[1].1["periodSeconds"], 1);
    }

    #[test]
    fn a_start_up_that_is_shorter_than_liveness_takes_to_decide_is_not_forgiven() {
        let turned = of("startupProbe: { tcpSocket: { port: 80 }, failureThreshold: 2 }\n\
                         livenessProbe: { tcpSocket: { port: 80 }, failureThreshold: 5 }");
        assert_eq!(words(&turned, "livenessProbe"), "startup --tcp pod:80 liveness --tcp pod:80");
    }

    #[test]
    fn hooks_go_to_the_shim() {
        let turned = of("lifecycle:\n  postStart: { exec: { command: [sh, -c, 'echo $HOME $(date)'] } }\n  \
                         preStop: { sleep: { seconds: 5 } }\n  stopSignal: SIGQUIT");
        assert_eq!(turned.findings, []);
        let (post_start, pre_stop) = turned.hooks.split_at(5);
        assert_eq!(post_start, ["--post-start", "3", "sh", "-c", "echo $$HOME $$(date)"]);
        assert_eq!(pre_stop, ["--pre-stop", "4", "/podturn/steps/web/in/podturn-probe", "hook", "--sleep", "5s"]);
        assert_eq!(turned.entries, [("lifecycle", json!({ "stopSignal": "SIGQUIT" }))]);

        let turned = of(
            "lifecycle: { postStart: { httpGet: { port: 80, path: '/w arm#x', httpHeaders: [{ name: Host, value: shop }] } } }",
        );
        assert_eq!(
            turned.hooks[2..].join(" "),
            "/podturn/steps/web/in/podturn-probe hook --http http://pod:80/w%20arm --header Host: shop"
        );
        assert_eq!(turned.hooks[1], "6");
        assert_eq!(turned.entries, [("lifecycle", json!({}))]);
    }

    #[test]
    fn a_drain_that_takes_all_the_time_there_is_will_surprise() {
        for (seconds, is_told) in [(7, false), (8, true)] {
            let findings = of(&format!("lifecycle: {{ preStop: {{ sleep: {{ seconds: {seconds} }} }} }}")).findings;
            let told: Vec<_> = findings
                .iter()
                .map(|finding| (finding.is_error, finding.message.contains("8s of the 7.25s")))
                .collect();
            assert_eq!(told, if is_told { vec![(false, true)] } else { vec![] }, "{findings:?}");
        }
        assert_eq!((share_of(5_000, 300), share_of(10_000, 0)), (5_000, 0));
    }

    /// As the API server fills them in: 0 is none.
    #[test]
    fn numbers_that_are_0_are_the_defaults() {
        let zeros = "periodSeconds: 0, timeoutSeconds: 0, failureThreshold: 0, initialDelaySeconds: ~";
        let [zeros, none] = [zeros, ""].map(|numbers| {
            let probe = |port: u16| format!("{{ tcpSocket: {{ port: {port} }}, {numbers} }}");
            let turned = of(&format!("startupProbe: {}\nlivenessProbe: {}", probe(1), probe(2)));
            assert_eq!(turned.findings, []);
            ["startupProbe", "livenessProbe"].map(|key| words(&turned, key))
        });
        assert_eq!(zeros, none);
    }

    #[test]
    fn what_cannot_be_asked_in_a_steps_place_is_refused() {
        let table = [
            ("livenessProbe: { grpc: { port: 80 } }", "asks by gRPC"),
            ("startupProbe: { httpGet: { port: 80, scheme: HTTPS } }", "asks by \"HTTPS\""),
            ("livenessProbe: { httpGet: { port: 80, host: db } }", "asks a host by its name"),
            ("livenessProbe: { httpGet: { port: web } }", "which is no port of this container"),
            ("livenessProbe: { tcpSocket: { port: 70000 } }", "which is no port of this container"),
            ("livenessProbe: { tcpSocket: { port: '80' } }", "which is no port of this container"),
            ("livenessProbe: { tcpSocket: {} }", "has no port"),
            ("livenessProbe: { periodSeconds: 5 }", "has to have one of exec, httpGet or tcpSocket"),
            ("livenessProbe: { exec: { command: [] } }", "has no command"),
            ("livenessProbe: { exec: { command: [sleep, 5] } }", "is a string, not"),
            ("livenessProbe: { tcpSocket: { port: 1 }, timeoutSeconds: soon }", "timeoutSeconds of the livenessProbe"),
            ("livenessProbe: { httpGet: { port: 1, httpHeaders: [{ value: x }] } }", "no field of an HTTP request"),
            ("lifecycle: { preStop: { tcpSocket: { port: 1 } } }", "has to have one of exec, httpGet or sleep"),
            (
                "lifecycle: { postStart: { httpGet: { port: 80, scheme: HTTPS } } }",
                "the postStart of step \"web\" asks by",
            ),
        ];
        for (text, message) in table {
            let findings = of(text).findings;
            assert!(
                matches!(&findings[..], [one] if one.is_error && one.message.contains(message)),
                "{text}: {findings:?}"
            );
        }
    }
}
