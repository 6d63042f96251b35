//! One try of a network probe: does it answer as Kubernetes would want it to?
//!
//! Belongs here: TCP, HTTP and gRPC as far as a probe needs them. Does not belong here: how often, and how long.

use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE, USER_AGENT};
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use podturn_turn::Probe;
use tokio::net::TcpStream;

/// What an HTTP probe calls itself unless a header says otherwise.
const AGENT: &str = concat!("podturn/", env!("CARGO_PKG_VERSION"));

/// Tries once, for as long as it takes. A probe that is not for the network is no success.
pub(super) async fn attempt(probe: &Probe) -> Result<(), String> {
    match probe {
        Probe::TcpSocket { host, port } => connect(host, *port).await.map(drop),
        Probe::HttpGet { https: true, .. } => Err("HTTPS is not probed by this version".to_owned()),
        Probe::HttpGet { host, port, path, headers, https: false } => http(host, *port, path, headers).await,
        Probe::Grpc { port, service } => grpc(*port, service).await,
        Probe::Exec { .. } | Probe::File { .. } | Probe::Log { .. } => Err("it belongs to the shim".to_owned()),
    }
}

/// To the pod itself unless there is a host: all its containers share one network.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let connected = match host {
        "" => match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => Ok(stream),
            Err(error) => TcpStream::connect(("::1", port)).await.map_err(|_| error),
        },
        host => TcpStream::connect((host, port)).await,
    };
    connected.map_err(|error| format!("port {port} does not accept a connection: {error}"))
}

/// A status from 200 to 399 is a success (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Probe>).
/// A redirection is not followed.
async fn http(host: &str, port: u16, path: &str, headers: &[(String, String)]) -> Result<(), String> {
    let stream = connect(host, port).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let work = tokio::spawn(connection);
    let authority = if host.is_empty() { "localhost" } else { host };
    let mut request = Request::get(path).header(HOST, format!("{authority}:{port}")).header(ACCEPT, "*/*");
    let has_agent = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
    if !has_agent {
        request = request.header(USER_AGENT, AGENT);
    }
    let mut request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    for (name, value) in headers {
        let name: HeaderName = name.parse().map_err(|_| format!("{name} cannot be a header"))?;
        let value =
            HeaderValue::from_str(value).map_err(|_| format!("the value of {name} cannot be that of a header"))?;
        request.headers_mut().insert(name, value);
    }
    let answer = sender.send_request(request).await.map_err(|error| error.to_string());
    work.abort();
    let status = answer?.status();
    match (StatusCode::OK.as_u16()..400).contains(&status.as_u16()) {
        true => Ok(()),
        false => Err(format!("the answer is {status}")),
    }
}

/// `grpc.health.v1.Health/Check` (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>), whose two messages
/// are a string and an enumeration: so few bytes need no generated code.
async fn grpc(port: u16, service: &str) -> Result<(), String> {
    let stream = connect("", port).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let work = tokio::spawn(connection);
    let request = Request::post(format!("http://localhost:{port}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT)
        .body(Full::new(Bytes::from(question(service))))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(|error| error.to_string());
    let read = match answer {
        Ok(answer) => {
            let early = answer.headers().get("grpc-status").cloned();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string());
            body.map(|body| (early.or_else(|| body.trailers()?.get("grpc-status").cloned()), body.to_bytes()))
        }
        Err(error) => Err(error),
    };
    work.abort();
    let (status, body) = read?;
    match status.as_ref().and_then(|status| status.to_str().ok()) {
        Some("0") => {}
        Some(status) => return Err(format!("the health service answers with gRPC status {status}")),
        None => return Err("the answer is not one of gRPC".to_owned()),
    }
    match serving(&body) {
        Some(1) => Ok(()),
        Some(state) => Err(format!("the health service answers {state}, which is not SERVING")),
        None => Err("the answer is not one of the health service".to_owned()),
    }
}

/// A `HealthCheckRequest` behind gRPC's prefix of five bytes: not compressed, and its length.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a); // field 1, a string
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f | 0x80) as u8);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], &length[..], &message[..]].concat()
}

/// The `status` of a `HealthCheckResponse`. Absent it is 0, as every field of proto3.
fn serving(body: &[u8]) -> Option<u8> {
    let message = body.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, state, ..] => Some(*state),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper::body::{Frame, Incoming};
    use hyper::service::service_fn;
    use hyper::{HeaderMap, Response};
    use tokio::net::TcpListener;

    use super::*;

    fn probe_http(port: u16, path: &str) -> Probe {
        let headers = vec![("X-Test".to_owned(), "yes".to_owned())];
        Probe::HttpGet { host: String::new(), port, path: path.to_owned(), https: false, headers }
    }

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    /// A port that nobody listens on: it was free a moment ago.
    async fn closed() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("it is bound").port()
    }

    #[test]
    fn tcp_wants_a_connection() {
        block(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            assert_eq!(attempt(&Probe::TcpSocket { host: String::new(), port }).await, Ok(()));
            let port = closed().await;
            let error = attempt(&Probe::TcpSocket { host: String::new(), port }).await.expect_err("nobody is there");
            assert!(error.contains("does not accept a connection"), "{error}");
        });
    }

    #[test]
    fn http_wants_a_status_below_400() {
        async fn answer(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
            let has_header = request.headers().get("x-test").is_some_and(|value| value == "yes");
            let agent = request.headers().get(USER_AGENT).is_some_and(|agent| agent == AGENT);
            let status = match request.uri().path() {
                "/ok" if has_header && agent => 200,
                "/moved" => 302,
                "/missing" => 404,
                _ => 503,
            };
            let mut response = Response::new(Empty::new());
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            Ok(response)
        }
        block(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let server = hyper::server::conn::http1::Builder::new();
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
                }
            });
            let table = [("/ok", None), ("/moved", None), ("/missing", Some("404")), ("/broken", Some("503"))];
            for (path, expected) in table {
                let said = attempt(&probe_http(port, path)).await;
                match expected {
                    None => assert_eq!(said, Ok(()), "{path}"),
                    Some(code) => assert!(said.as_ref().is_err_and(|error| error.contains(code)), "{path}: {said:?}"),
                }
            }
        });
    }

    #[test]
    fn grpc_wants_serving() {
        async fn answer(
            request: Request<Incoming>,
        ) -> Result<
            Response<http_body_util::StreamBody<impl futures_core::Stream<Item = Result<Frame<Bytes>, Infallible>>>>,
            Infallible,
        > {
            let path = request.uri().path().to_owned();
            let asked = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let state = match asked.get(7..) {
                None => 1,
                Some(b"sick") => 2,
                Some(_) => 0,
            };
            let mut trailers = HeaderMap::new();
            let status = if path == "/grpc.health.v1.Health/Check" && state != 0 { "0" } else { "5" };
            trailers.insert("grpc-status", HeaderValue::from_static(status));
            let message = Bytes::from(vec![0, 0, 0, 0, 2, 0x08, state]);
            let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
            Ok(Response::new(http_body_util::StreamBody::new(futures_util::stream::iter(frames))))
        }
        block(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("it is bound").port();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
                }
            });
            let ask = |service: &str| Probe::Grpc { port, service: service.to_owned() };
            assert_eq!(attempt(&ask("")).await, Ok(()));
            let sick = attempt(&ask("sick")).await.expect_err("it is not serving");
            assert!(sick.contains("not SERVING"), "{sick}");
            let unknown = attempt(&ask("other")).await.expect_err("it does not know that");
            assert!(unknown.contains("gRPC status 5"), "{unknown}");
        });
    }

    #[test]
    fn a_long_service_name_has_its_length_in_two_bytes() {
        let name = "x".repeat(200);
        let bytes = question(&name);
        assert_eq!(&bytes[..8], &[0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
    }
}
