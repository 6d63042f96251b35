//! A step's `readiness`: a probe in Kubernetes' words, and what podturn adds to them.

use schemars::JsonSchema;

/// A probe, with Kubernetes' names and meanings, and its thresholds. Just one of exec, httpGet, tcpSocket, grpc, file and log.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Readiness {
    /// A command in the step's container that ends with code 0.
    exec: Option<Exec>,
    /// An HTTP GET that is answered with a status from 200 to 399.
    http_get: Option<HttpGet>,
    /// A connection that is accepted.
    tcp_socket: Option<TcpSocket>,
    /// `grpc.health.v1.Health/Check`, answered with SERVING.
    grpc: Option<Grpc>,
    /// A file in the step's container that is not older than the attempt.
    file: Option<FileProbe>,
    /// A line of stdout or stderr.
    log: Option<LogProbe>,
    /// From the begin of the attempt to the first try.
    #[schemars(range(max = 86_400), extend("default" = 0))]
    initial_delay_seconds: Option<u32>,
    /// From one try to the next.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 10))]
    period_seconds: Option<u32>,
    /// How long one try may take.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 1))]
    timeout_seconds: Option<u32>,
    /// Successes in a row that make it ready.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 1))]
    success_threshold: Option<u32>,
    /// Failures in a row: before it was ready for the first time the attempt has failed, `NotReady`; later it is not ready any
    /// more.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 3))]
    failure_threshold: Option<u32>,
}

/// A command.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Exec {
    /// The program and its arguments, without a shell.
    #[schemars(length(min = 1))]
    command: Vec<String>,
}

/// An HTTP GET.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct HttpGet {
    /// Of the URL.
    #[schemars(extend("default" = "/"))]
    path: Option<String>,
    /// Number or name of a port of the container.
    port: Port,
    /// An address, or localhost. Default: the pod itself.
    host: Option<String>,
    /// HTTPS is not probed: it is refused.
    #[schemars(extend("default" = "HTTP"))]
    scheme: Option<Scheme>,
    /// Further headers.
    http_headers: Option<Vec<Header>>,
}

/// How an HTTP GET connects.
#[derive(JsonSchema)]
#[schemars(rename_all = "UPPERCASE")]
enum Scheme {
    /// In plain.
    Http,
    /// With TLS.
    Https,
}

/// A header of a request.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
    /// Its value.
    value: Option<String>,
}

/// A TCP connection.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct TcpSocket {
    /// Number or name of a port of the container.
    port: Port,
    /// An address, or localhost. Default: the pod itself.
    host: Option<String>,
}

/// A gRPC health check.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct Grpc {
    /// Number or name of a port of the container.
    port: Port,
    /// The service to ask for. Default: the whole server.
    service: Option<String>,
}

/// A file.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct FileProbe {
    /// Absolute, in the step's container.
    #[schemars(extend("pattern" = "^/"))]
    path: String,
}

/// A line of output.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
struct LogProbe {
    /// Text that the line contains.
    #[schemars(length(min = 1))]
    contains: String,
}

/// A port.
#[derive(JsonSchema)]
#[schemars(untagged)]
enum Port {
    /// Its number.
    Number(PortNumber),
    /// Its name in the container's `ports`.
    Name(String),
}

/// The number of a port.
#[derive(JsonSchema)]
#[schemars(extend("minimum" = 1, "maximum" = 65_535))]
struct PortNumber(u32);
