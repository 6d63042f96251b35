//! One try of an HTTP probe, as the kubelet does it.
//!
//! Sources: <https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes>, and
//! `pkg/probe/http/http.go` and `request.go` of Kubernetes. A status from 200 to 399 is a success; a redirect is followed on the same host
//! alone, and up to ten times; elsewhere it counts as a success that is worth a warning. So does one to HTTPS, which the kubelet would follow
//! (`docs/decisions.md` says why podturn has no TLS).

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::location::{Url, escaped};
use super::{AGENT, Tried, reach};

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// How much of a body is read, in bytes, so that a server that is not slow sees no broken connection.
const BODY_MAX: usize = 10 * 1024;

/// Asks, and follows.
pub(super) async fn get(mut url: Url, headers: &[(String, String)]) -> Tried {
    let mut headers = request_headers(headers)?;
    url.path = escaped(url.path.split('#').next().unwrap_or("/"));
    let mut asked: Option<String> = None;
    for _ in 0..=REDIRECTS_MAX {
        let (status, location) = ask(&mut url, &headers).await?;
        if !(200..400).contains(&status.as_u16()) {
            return Err(format!("HTTP status {status}"));
        }
        let Some(location) = location.filter(|_| is_redirect(status)) else {
            return Ok((status.as_u16() >= 300).then(|| format!("HTTP status {status} counts as a success")));
        };
        let (next, is_relative) = url.join(&location)?;
        if next.host != *asked.get_or_insert_with(|| url.host.clone()) {
            return Ok(Some(format!("a redirect to another host counts as a success: {location}")));
        }
        if next.https {
            return Ok(Some(format!("a redirect to HTTPS counts as a success: {location}")));
        }
        if !is_relative {
            headers.remove(HOST);
        }
        url = next;
    }
    Ok(Some(format!("more than {REDIRECTS_MAX} redirects count as a success")))
}

const fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The manifest's, and those that it does not name. A default is taken out by an empty value.
fn request_headers(given: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let parsed = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(value).ok());
        let (name, value) = parsed.ok_or_else(|| format!("{name:?} with {value:?} is no HTTP header"))?;
        headers.append(name, value);
    }
    for (name, value) in [(USER_AGENT, AGENT), (ACCEPT, "*/*")] {
        match headers.get(&name).map(HeaderValue::is_empty) {
            None => drop(headers.insert(name, HeaderValue::from_static(value))),
            Some(true) => drop(headers.remove(name)),
            Some(false) => {}
        }
    }
    if headers.get(HOST).is_some_and(HeaderValue::is_empty) {
        headers.remove(HOST);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

/// One request and its answer, on a connection of its own. A host that was empty is the address that answered.
async fn ask(url: &mut Url, headers: &HeaderMap) -> Result<(StatusCode, Option<String>), String> {
    let (stream, address) = reach::connect(&url.host, url.port).await?;
    if url.host.is_empty() {
        url.host = address.ip().to_string();
    }
    let broken = |error: hyper::Error| format!("{address}: {error}");
    let mut request = Request::get(url.path.as_str()).body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    *request.headers_mut() = headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::from_str(&url.authority()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HOST, host);
    }
    let mut builder = http1::Builder::new();
    builder.title_case_headers(true); // servers that compare names by case do exist
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Both in this one task, so that a try that is dropped leaves nothing behind.
    let exchange = async {
        let response = sender.send_request(request).await?;
        read(response).await
    };
    tokio::pin!(exchange);
    let read = tokio::select! {
        biased;
        read = &mut exchange => read,
        _ = connection => exchange.await, // it has ended: what came before is still to be read
    };
    read.map_err(broken)
}

async fn read(response: Response<Incoming>) -> hyper::Result<(StatusCode, Option<String>)> {
    let status = response.status();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut body = response.into_body();
    let mut length = 0;
    while length < BODY_MAX {
        let Some(frame) = body.frame().await else { break };
        length += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok((status, location))
}
