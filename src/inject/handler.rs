//! A handler of a Kubernetes probe or hook (`exec`, `httpGet`, `tcpSocket`, `sleep`) as a question for `podturn-probe`.
//!
//! Belongs here: what a handler says, and what of it nobody could ask in a step's place. Does not belong here: when it is
//! asked (`probes`).

use std::net::IpAddr;

use crate::plan::diagnostic::quote;
use crate::plan::yaml::{Node, Typed};
use crate::plan::{CONTAINER_NUMBERS, Span, container_number, container_ports};

/// The longest URL that `podturn-probe` takes (`src/shim/wait_network.rs`), less the longest address and port.
const PATH_MAX: usize = 900;

/// As many fields of a request does it take (`src/shim/answer_arguments.rs`).
const HEADERS_MAX: usize = 32;

/// Together they have to fit into its request with the rest (`src/shim/answer_http.rs`).
const HEADERS_LENGTH_MAX: usize = 12 * 1024;

/// What is odd about a container's probes or hooks, or cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub span: Span,
    pub message: String,
    pub help: String,
    pub is_error: bool,
}

impl Finding {
    pub(super) fn error(node: &Node, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span: node.place(), message: message.into(), help: help.into(), is_error: true }
    }
}

/// What a handler does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    /// Runs these words.
    Exec(Vec<String>),
    /// Asks a server: words of `podturn-probe`.
    Network(Vec<String>),
    /// Waits so many seconds.
    Sleep(u64),
}

/// Where a handler stands, for what is said of it.
#[derive(Clone, Copy)]
pub(super) struct Whose<'w> {
    pub step: &'w str,
    /// `livenessProbe`, `postStart`, ...
    pub what: &'w str,
    pub container: &'w Node,
    pub is_hook: bool,
}

impl Handler {
    /// What this node has for a handler.
    ///
    /// # Errors
    /// What the kubelet does and `podturn-probe` cannot, and what no kubelet takes either.
    pub(super) fn read(node: &Node, whose: Whose<'_>) -> Result<Self, Finding> {
        let one = |key: &str| node.get(key).filter(|value| !value.is_null());
        if let Some(grpc) = one("grpc").filter(|_| !whose.is_hook) {
            let help =
                "write `tcpSocket` with its port, or `exec` with a client that the image has (grpc_health_probe)";
            return Err(Finding::error(
                grpc,
                format!("{} asks by gRPC, which podturn cannot do in its place", whose.named()),
                help,
            ));
        }
        match (one("exec"), one("httpGet"), one("tcpSocket"), one("sleep")) {
            (Some(exec), None, None, None) => words(exec, whose).map(Self::Exec),
            (None, Some(get), None, None) => http(get, whose).map(Self::Network),
            (None, None, Some(tcp), None) if !whose.is_hook => {
                let server = format!("{}:{}", host(tcp, whose)?, port(tcp, whose)?);
                Ok(Self::Network(vec!["--tcp".to_owned(), server]))
            }
            (None, None, None, Some(sleep)) if whose.is_hook => seconds(sleep, "seconds", whose).map(Self::Sleep),
            _ => {
                let kinds = if whose.is_hook { "exec, httpGet or sleep" } else { "exec, httpGet or tcpSocket" };
                Err(Finding::error(
                    node,
                    format!("{} has to have one of {kinds}", whose.named()),
                    "no kubelet can do anything else, either",
                ))
            }
        }
    }

    /// As words of `podturn-probe`.
    pub(super) fn question(&self) -> Vec<String> {
        match self {
            Self::Exec(words) => {
                let count = ["--exec".to_owned(), words.len().to_string()];
                count.into_iter().chain(words.iter().cloned()).collect()
            }
            Self::Network(words) => words.clone(),
            Self::Sleep(seconds) => vec!["--sleep".to_owned(), duration(*seconds)],
        }
    }
}

impl Whose<'_> {
    fn named(self) -> String {
        format!("the {} of step {}", self.what, quote(self.step))
    }
}

fn words(exec: &Node, whose: Whose<'_>) -> Result<Vec<String>, Finding> {
    let words = exec.get("command").and_then(Node::items).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| {
        Finding::error(exec, format!("{} has no command", whose.named()), "write `command: [...]`, as the API asks for")
    })?;
    let texts = words.iter().map(|word| word.as_str().map(str::to_owned).ok_or(word));
    texts.collect::<Result<_, _>>().map_err(|word: &Node| {
        Finding::error(word, format!("a word of a command is a string, not {}", word.describe()), "put it in quotes")
    })
}

fn http(get: &Node, whose: Whose<'_>) -> Result<Vec<String>, Finding> {
    if let Some(scheme) = get.get("scheme").filter(|scheme| scheme.as_str() != Some("HTTP")) {
        let help =
            "write `exec` with a client that the image has (`curl -k`, `wget --no-check-certificate`), or `tcpSocket`";
        let message = format!("{} asks by {}, which podturn cannot do in its place", whose.named(), shown(scheme));
        return Err(Finding::error(scheme, message, help));
    }
    let path = get.get("path").and_then(Node::as_str).unwrap_or_default();
    let target = target(path);
    if target.len() > PATH_MAX {
        let message = format!("the path is longer than the {PATH_MAX} bytes that podturn-probe takes");
        return Err(Finding::error(get, message, "write `exec` with a client that the image has"));
    }
    let url = format!("http://{}:{}{target}", host(get, whose)?, port(get, whose)?);
    let mut words = vec!["--http".to_owned(), url];
    for line in headers(get)? {
        words.extend(["--header".to_owned(), line]);
    }
    Ok(words)
}

/// A path as it stands in a request: what is no part of a URL is escaped (RFC 3986), and a fragment stays at home.
fn target(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let escaped = path.bytes().map(|byte| match byte {
        0x21..=0x7e => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    slash.chars().map(String::from).chain(escaped).collect()
}

fn headers(get: &Node) -> Result<Vec<String>, Finding> {
    let list = get.get("httpHeaders");
    let items = list.and_then(Node::items).unwrap_or_default();
    let mut lines = Vec::new();
    for item in items {
        let text = |key: &str| item.get(key).and_then(Node::as_str).unwrap_or_default();
        let line = format!("{}: {}", text("name"), text("value"));
        if text("name").is_empty() || line.chars().any(char::is_control) {
            return Err(Finding::error(
                item,
                "this is no field of an HTTP request",
                "a header has a `name` and a `value` of one line",
            ));
        }
        lines.push(line);
    }
    let length: usize = lines.iter().map(String::len).sum();
    match list.filter(|_| lines.len() > HEADERS_MAX || length > HEADERS_LENGTH_MAX) {
        None => Ok(lines),
        Some(list) => {
            let message = format!("podturn-probe takes {HEADERS_MAX} headers, and {HEADERS_LENGTH_MAX} bytes of them");
            Err(Finding::error(list, message, "write `exec` with a client that the image has"))
        }
    }
}

/// Whom to ask: `pod` is the pod's own address, where the kubelet asks.
fn host(node: &Node, whose: Whose<'_>) -> Result<String, Finding> {
    let Some(host) = node.get("host").filter(|host| !host.is_null() && host.as_str() != Some("")) else {
        return Ok("pod".to_owned());
    };
    match host.as_str() {
        Some("localhost") => Ok("localhost".to_owned()),
        text => match text.unwrap_or_default().trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) => Ok(ip.to_string()),
            Ok(IpAddr::V6(ip)) => {
                let groups: Vec<String> = ip.segments().iter().map(|group| format!("{group:x}")).collect();
                Ok(format!("[{}]", groups.join(":")))
            }
            Err(_) => {
                let message = format!("{} asks a host by its name, which podturn does not look up", whose.named());
                Err(Finding::error(
                    host,
                    message,
                    "write an address or localhost, or leave `host` out: then it is the pod's own address",
                ))
            }
        },
    }
}

fn shown(node: &Node) -> String {
    node.as_str().map_or_else(|| node.describe(), quote)
}

/// A number, or the name of one of the container's ports.
fn port(node: &Node, whose: Whose<'_>) -> Result<u16, Finding> {
    let Some(port) = node.get("port") else {
        return Err(Finding::error(
            node,
            format!("{} has no port", whose.named()),
            "write `port: 8080`, or the name of a port of this container",
        ));
    };
    let number = match port.typed() {
        Some(Typed::Integer(number)) => u16::try_from(number).ok(),
        Some(Typed::String(name)) => named_port(name, whose.container),
        _ => None,
    };
    number.filter(|number| *number > 0).ok_or_else(|| {
        let message = format!("{} asks at {}, which is no port of this container", whose.named(), shown(port));
        Finding::error(port, message, "write a number from 1 to 65535, or the `name` of an entry of `ports`")
    })
}

fn named_port(name: &str, container: &Node) -> Option<u16> {
    container_ports(container).into_iter().find(|port| port.name == name).map(|port| port.container_port)
}

/// A number of seconds or times.
pub(super) fn seconds(node: &Node, key: &str, whose: Whose<'_>) -> Result<u64, Finding> {
    container_number(node, key).map(u64::from).map_err(|value| {
        let message = format!("{key} of {} is a whole number, not {}", whose.named(), value.describe());
        Finding::error(value, message, format!("Kubernetes takes {CONTAINER_NUMBERS} here"))
    })
}

/// Seconds as a person writes them: `1h30m`, `90s` as `1m30s`.
pub(super) fn duration(seconds: u64) -> String {
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "1ms".to_owned() } else { text }
}
