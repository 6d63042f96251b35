//! `readiness`: Kubernetes' probe fields, and podturn's two own probes.
//!
//! Belongs here: what each field may be, with Kubernetes' defaults
//! (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe>). Does not belong here: trying a
//! probe.

use podturn_turn::{Probe, Readiness};

use super::diagnostic::{Reporter, quote};
use super::facts::PortFacts;
use super::fields::{Fields, Record, integer, list, word, wrong};
use super::source::Span;
use super::yaml::{Node, Typed};

/// The probes. A readiness has just one of them.
pub(super) const PROBES: [&str; 6] = ["exec", "httpGet", "tcpSocket", "grpc", "file", "log"];

/// Numbers: the field, its default and its least value.
pub(super) const NUMBERS: [(&str, u32, u32); 5] = [
    ("initialDelaySeconds", 0, 0),
    ("periodSeconds", 10, 1),
    ("timeoutSeconds", 1, 1),
    ("successThreshold", 1, 1),
    ("failureThreshold", 3, 1),
];

pub(super) const READINESS: Fields = Fields {
    what: "a readiness",
    known: &[
        "exec",
        "httpGet",
        "tcpSocket",
        "grpc",
        "file",
        "log",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
    ],
};

pub(super) const EXEC: Fields = Fields { what: "exec", known: &["command"] };
pub(super) const HTTP_GET: Fields =
    Fields { what: "httpGet", known: &["path", "port", "host", "scheme", "httpHeaders"] };
pub(super) const HEADER: Fields = Fields { what: "a header", known: &["name", "value"] };
pub(super) const TCP_SOCKET: Fields = Fields { what: "tcpSocket", known: &["port", "host"] };
pub(super) const GRPC: Fields = Fields { what: "grpc", known: &["port", "service"] };
pub(super) const FILE: Fields = Fields { what: "file", known: &["path"] };
pub(super) const LOG: Fields = Fields { what: "log", known: &["contains"] };

/// A day: what is longer is a mistake.
const SECONDS_MAX: u32 = 86_400;

/// What the API takes for a number of a container's probe or hook.
pub const CONTAINER_NUMBERS: &str = "0 to 2147483647";

/// A probe of a container, as Kubernetes has it.
const CONTAINER_PROBE: Fields = Fields {
    what: "a container's probe",
    known: &[
        "exec",
        "httpGet",
        "tcpSocket",
        "grpc",
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
        "terminationGracePeriodSeconds",
    ],
};

/// Reads a readiness. Named ports are looked up in `ports`, those of the step's container.
pub(super) fn readiness(node: &Node, ports: &[PortFacts], reporter: &mut Reporter) -> Option<Readiness> {
    let record = READINESS.read(node, reporter)?;
    let numbers = NUMBERS.map(|(key, default, least)| match record.get(key, reporter) {
        Some(node) => integer(node, key, least..=SECONDS_MAX, reporter).unwrap_or(default),
        None => default,
    });
    Some(with_numbers(the_probe(node, &record, &READINESS, "a readiness", ports, reporter)?, numbers))
}

/// Reads a `livenessProbe`, `readinessProbe` or `startupProbe` of a container; what is wrong with it is told to `reporter`, and then
/// there is none.
pub fn container_probe(node: &Node, ports: &[PortFacts], reporter: &mut Reporter) -> Option<Readiness> {
    let record = CONTAINER_PROBE.read(node, reporter)?;
    let numbers = NUMBERS.map(|(key, default, _)| {
        container_number(node, key).unwrap_or_else(|value| {
            wrong(value, key, reporter).help(format!("it is a whole number from {CONTAINER_NUMBERS}"));
            default
        })
    });
    Some(with_numbers(the_probe(node, &record, &CONTAINER_PROBE, "this", ports, reporter)?, numbers))
}

/// A number of a container's probe or hook, as the API takes it: one that is not there, or 0, is the default (`SetDefaults_Probe` of
/// Kubernetes' `pkg/apis/core/v1/defaults.go`; `ValidateNonnegativeField` is all that its validation asks for).
///
/// # Errors
/// The value, where it is none of [`CONTAINER_NUMBERS`].
pub fn container_number<'n>(node: &'n Node, key: &str) -> Result<u32, &'n Node> {
    let Some(value) = node.get(key).filter(|value| !value.is_null()) else { return Ok(default_of(key)) };
    match value.typed() {
        Some(Typed::Integer(0)) => Ok(default_of(key)),
        Some(Typed::Integer(number)) => {
            i32::try_from(number).ok().and_then(|number| number.try_into().ok()).ok_or(value)
        }
        _ => Err(value),
    }
}

fn default_of(key: &str) -> u32 {
    NUMBERS.iter().find(|(known, ..)| *known == key).map_or(0, |(_, default, _)| *default)
}

/// Reads what a hook does that is said as for a probe: `exec` or `httpGet`.
pub fn container_hook(kind: &str, node: &Node, ports: &[PortFacts], reporter: &mut Reporter) -> Option<Probe> {
    probe(kind, node, ports, reporter)
}

fn with_numbers(probe: Probe, numbers: [u32; 5]) -> Readiness {
    let [initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold] = numbers;
    Readiness { probe, initial_delay_seconds, period_seconds, timeout_seconds, success_threshold, failure_threshold }
}

/// The one probe that is there.
fn the_probe(
    node: &Node,
    record: &Record<'_>,
    fields: &Fields,
    what: &str,
    ports: &[PortFacts],
    reporter: &mut Reporter,
) -> Option<Probe> {
    let there: Vec<&str> = PROBES.into_iter().filter(|probe| record.has(probe)).collect();
    let [one] = there.as_slice() else {
        let keys = node.entries().into_iter().flatten().map(|entry| entry.key.as_str());
        if there.is_empty() && keys.into_iter().any(|key| !fields.known.contains(&key)) {
            return None; // a misspelt probe was told already
        }
        let message = match there.as_slice() {
            [] => format!("{what} needs a probe"),
            _ => format!("{what} has one probe, and here are {}", there.join(" and ")),
        };
        let known: Vec<&str> = PROBES.into_iter().filter(|probe| fields.known.contains(probe)).collect();
        reporter.error(node.span, message).help(format!("write one of {}", known.join(", ")));
        return None;
    };
    probe(one, record.get(one, reporter)?, ports, reporter)
}

fn probe(name: &str, node: &Node, ports: &[PortFacts], reporter: &mut Reporter) -> Option<Probe> {
    match name {
        "exec" => exec(node, reporter),
        "httpGet" => http_get(node, ports, reporter),
        "tcpSocket" => {
            let record = TCP_SOCKET.read(node, reporter)?;
            let host = host(&record, reporter);
            Some(Probe::TcpSocket { host, port: port(&record, ports, reporter)? })
        }
        "grpc" => {
            let record = GRPC.read(node, reporter)?;
            let service = text(&record, "service", reporter).unwrap_or_default();
            Some(Probe::Grpc { port: port(&record, ports, reporter)?, service })
        }
        "file" => {
            let record = FILE.read(node, reporter)?;
            let path = needed(&record, "path", reporter)?;
            if !path.starts_with('/') {
                let span = record.get("path", reporter).map_or(record.span, |node| node.span);
                reporter
                    .error(span, format!("the path {} is not absolute", quote(&path)))
                    .help("begin it with a slash");
                return None;
            }
            Some(Probe::File { path })
        }
        _ => {
            let record = LOG.read(node, reporter)?;
            Some(Probe::Log { contains: needed(&record, "contains", reporter)? })
        }
    }
}

fn exec(node: &Node, reporter: &mut Reporter) -> Option<Probe> {
    let record = EXEC.read(node, reporter)?;
    let Some(node) = record.get("command", reporter) else {
        reporter
            .error(Span::empty(record.span.start), "exec has no command")
            .help("add `command: [PROGRAM, ARGUMENT]`");
        return None;
    };
    let items = list(node, "command", reporter)?;
    if items.is_empty() {
        reporter.error(node.span, "command cannot be empty").help("write [PROGRAM, ARGUMENT]");
        return None;
    }
    let mut command = Vec::with_capacity(items.len());
    for item in items {
        command.push(string(item, "an argument", reporter)?);
    }
    Some(Probe::Exec { command })
}

fn http_get(node: &Node, ports: &[PortFacts], reporter: &mut Reporter) -> Option<Probe> {
    let record = HTTP_GET.read(node, reporter)?;
    let path = text(&record, "path", reporter).unwrap_or_default();
    let path = if path.starts_with('/') { path } else { format!("/{path}") };
    let https = match record.get("scheme", reporter) {
        Some(node) => {
            let https = word(node, "scheme", &[("HTTP", false), ("HTTPS", true)], reporter)?;
            if https {
                let diagnostic = reporter.error(node.span, "podturn does not probe over HTTPS");
                diagnostic.help("use tcpSocket, or exec with a client of the image, as in [curl, -fsk, URL]");
            }
            https
        }
        None => false,
    };
    let mut headers = Vec::new();
    if let Some(node) = record.get("httpHeaders", reporter) {
        for item in list(node, "httpHeaders", reporter)? {
            let header = HEADER.read(item, reporter)?;
            headers.push((needed(&header, "name", reporter)?, text(&header, "value", reporter).unwrap_or_default()));
        }
    }
    let host = host(&record, reporter);
    Some(Probe::HttpGet { host, port: port(&record, ports, reporter)?, path, https, headers })
}

/// Where to connect to: podturn's image has no resolver.
fn host(record: &Record<'_>, reporter: &mut Reporter) -> String {
    let host = text(record, "host", reporter).unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    let is_address = bare.parse::<std::net::IpAddr>().is_ok();
    if !is_address && !matches!(host.as_str(), "" | "localhost") {
        let span = record.get("host", reporter).map_or(record.span, |node| node.span);
        let diagnostic =
            reporter.error(span, format!("the host {} is a name, and names are not looked up", quote(&host)));
        diagnostic.help(
            "write its address; without `host` it is the pod itself, and a virtual host is a `Host` in httpHeaders",
        );
    }
    host
}

/// A port's number, or the name of one of the container's ports.
fn port(record: &Record<'_>, ports: &[PortFacts], reporter: &mut Reporter) -> Option<u16> {
    let Some(node) = record.get("port", reporter) else {
        if !record.has("port") {
            reporter.error(Span::empty(record.span.start), "this probe has no port").help("add `port: NUMBER`");
        }
        return None;
    };
    let Some(Typed::String(name)) = node.typed() else {
        return integer(node, "port", 1..=65535, reporter).and_then(|number| u16::try_from(number).ok());
    };
    if let Some(known) = ports.iter().find(|port| port.name == name) {
        return Some(known.container_port);
    }
    let nearest = reporter.nearest(name, ports.iter().map(|port| port.name.as_str()));
    let diagnostic = reporter.error(node.span, format!("the container has no port named {}", quote(name)));
    match nearest {
        Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
        None => diagnostic.help("write its number, or give one of the container's `ports` this name"),
    };
    None
}

fn text(record: &Record<'_>, key: &str, reporter: &mut Reporter) -> Option<String> {
    string(record.get(key, reporter)?, key, reporter)
}

fn needed(record: &Record<'_>, key: &str, reporter: &mut Reporter) -> Option<String> {
    if !record.has(key) {
        reporter.error(Span::empty(record.span.start), format!("here `{key}` is needed"));
        return None;
    }
    let text = text(record, key, reporter)?;
    if text.is_empty() {
        reporter.error(record.key_span(key), format!("`{key}` cannot be empty"));
        return None;
    }
    Some(text)
}

/// A string. What YAML would read as something else has to be quoted, as in a manifest.
pub(super) fn string(node: &Node, what: &str, reporter: &mut Reporter) -> Option<String> {
    if let Some(text) = node.as_str() {
        return Some(text.to_owned());
    }
    let diagnostic = wrong(node, what, reporter);
    if node.entries().is_none() && node.items().is_none() {
        diagnostic.help("it is a string: put it in quotes");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::super::yaml::parse;
    use super::*;

    /// What is read of a container's probe with these numbers, and what is said of them.
    fn read(numbers: &str) -> (Option<[u32; 5]>, String) {
        let source = Source::file("probe", format!("{{ tcpSocket: {{ port: 1 }}, {numbers} }}"));
        let nodes = parse(&source).expect("YAML");
        let mut reporter = Reporter::new(source.outer());
        let probe = container_probe(&nodes[0], &[], &mut reporter).map(|read| {
            let Readiness { initial_delay_seconds, period_seconds, timeout_seconds, .. } = read;
            [initial_delay_seconds, period_seconds, timeout_seconds, read.success_threshold, read.failure_threshold]
        });
        (probe, reporter.finish().render(false).trim_end().to_owned())
    }

    /// The API server fills in what is 0, and asks for nothing but that no number is negative.
    #[test]
    fn the_numbers_of_a_containers_probe_are_what_the_api_makes_of_them() {
        let zeros =
            "initialDelaySeconds: 0, periodSeconds: 0, timeoutSeconds: 0, successThreshold: 0, failureThreshold: 0";
        for (numbers, made) in [
            ("", [0, 10, 1, 1, 3]),
            (zeros, [0, 10, 1, 1, 3]),
            ("periodSeconds: ~, failureThreshold: null", [0, 10, 1, 1, 3]),
            ("periodSeconds: 100000, failureThreshold: 2147483647", [0, 100_000, 1, 1, 2_147_483_647]),
        ] {
            assert_eq!(read(numbers), (Some(made), String::new()), "{numbers}");
        }
        for wrong in ["-1", "2147483648", "soon", "1.5"] {
            let told = read(&format!("periodSeconds: {wrong}")).1;
            assert!(told.contains("periodSeconds cannot be") && told.contains(CONTAINER_NUMBERS), "{wrong}: {told}");
        }
    }
}
