//! One try of a gRPC probe: `grpc.health.v1.Health/Check` (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>) over plain
//! HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), as `pkg/probe/grpc/grpc.go` of Kubernetes does it.
//!
//! The two messages are a string and an enumeration: so few bytes need no generated code.

use h2::RecvStream;
use h2::client::SendRequest;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Request, StatusCode};

use super::location::Url;
use super::{AGENT, Tried, reach};

const METHOD: &str = "/grpc.health.v1.Health/Check";

/// More than any answer of the health service has, in bytes.
const ANSWER_MAX: usize = 4096;

/// gRPC's prefix of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Asks whether `service` serves; empty: the whole server.
pub(super) async fn check(port: u16, service: &str) -> Tried {
    let (stream, address) = reach::connect("", port).await?;
    let url = Url { https: false, host: address.ip().to_string(), port, path: METHOD.to_owned() };
    let broken = |error: h2::Error| format!("{address}: {error}");
    let (sender, connection) = h2::client::handshake(stream).await.map_err(broken)?;
    // Both in this one task, so that a try that is dropped leaves nothing behind.
    let exchange = exchange(sender, &url, service);
    tokio::pin!(exchange);
    let answer = tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = connection => exchange.await, // it has ended: what came before is still to be read
    };
    judge(&answer.map_err(broken)?)
}

/// What came back.
#[derive(Debug, Default)]
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    /// `grpc-status` and `grpc-message` stand here, behind the body or, without one, before it.
    trailers: HeaderMap,
}

async fn exchange(sender: SendRequest<Bytes>, url: &Url, service: &str) -> Result<Answer, h2::Error> {
    let mut sender = sender.ready().await?;
    let request = Request::post(format!("http://{}{}", url.authority(), url.path))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, AGENT);
    let request = request.body(()).map_err(|_| h2::Reason::INTERNAL_ERROR)?;
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(question(service), true)?;
    let (head, mut body) = response.await?.into_parts();
    let bytes = read(&mut body).await?;
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    Ok(Answer { status: head.status, body: bytes, trailers })
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_MAX {
            return Err(h2::Reason::ENHANCE_YOUR_CALM.into());
        }
    }
    Ok(bytes)
}

fn judge(answer: &Answer) -> Tried {
    let trailer = |name: &str| answer.trailers.get(name).and_then(|value| value.to_str().ok());
    match trailer("grpc-status") {
        None => return Err(format!("HTTP status {} without a gRPC status: this is no gRPC server", answer.status)),
        Some("0") => {}
        Some("12") => return Err("the server has no grpc.health.v1.Health".to_owned()),
        Some(code) => return Err(format!("gRPC status {code}: {}", trailer("grpc-message").unwrap_or_default())),
    }
    match serving_status(&answer.body) {
        Some(1) => Ok(None),
        Some(0) => Err("the service is UNKNOWN".to_owned()),
        Some(2) => Err("the service is NOT_SERVING".to_owned()),
        Some(3) => Err("the service is SERVICE_UNKNOWN".to_owned()),
        Some(other) => Err(format!("the service has the status {other}")),
        None => Err("the answer is no HealthCheckResponse".to_owned()),
    }
}

/// A `HealthCheckRequest`: field 1, the service.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    [&[0], &(message.len() as u32).to_be_bytes()[..], &message].concat().into()
}

/// Field 1 of a `HealthCheckResponse`. Left out it is 0, as every field of proto3; what a later version adds is passed over
/// (<https://protobuf.dev/programming-guides/encoding/>).
fn serving_status(body: &[u8]) -> Option<u64> {
    let (prefix, mut message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    if prefix[0] != 0 || length as usize != message.len() {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let skipped = match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        message = message.get(skipped..)?;
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_by_its_name() {
        assert_eq!(question(""), [0, 0, 0, 0, 0][..]);
        assert_eq!(question("db"), [0, 0, 0, 0, 4, 0x0a, 2, b'd', b'b'][..]);
        let long = question(&"x".repeat(200)); // its length takes two bytes
        assert_eq!(long[..8], [0, 0, 0, 0, 203, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn a_status_is_found_in_an_answer() {
        let table: [(&[u8], Option<u64>); 10] = [
            (&[0, 0, 0, 0, 2, 0x08, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 0x08, 2], Some(2)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 5, 0x12, 1, 7, 0x08, 1], Some(1)), // a field that we do not know
            (&[0, 0, 0, 0, 3, 0x08, 0x81, 0], Some(1)),
            (&[1, 0, 0, 0, 2, 0x08, 1], None), // compressed
            (&[0, 0, 0, 0, 2, 0x08], None),
            (&[0, 0, 0, 0, 1, 0x08], None),
            (&[0, 0, 0, 0, 2, 0x12, 9], None),
            (&[], None),
        ];
        for (body, status) in table {
            assert_eq!(serving_status(body), status, "{body:?}");
        }
    }
}
