//! Sends spans: OTLP over HTTP, as <https://opentelemetry.io/docs/specs/otlp/#otlphttp> has it. Bounded in time, whoever listens.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::message::{self, Response};
use super::settings::Settings;

/// How long nothing is sent after 'later' was answered.
const LATER: Duration = Duration::from_millis(250);

/// How much of an answer is read, in bytes.
const ANSWER_MOST: usize = 64 * 1024;

/// Why a trace was not sent, or not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// For a person.
    pub why: String,
}

impl std::fmt::Display for NotSent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for NotSent {}

/// Sends the requests, one after another.
///
/// # Errors
/// When one of them cannot be sent, or is not taken, or all of them take longer than they may.
pub async fn export(settings: &Settings, requests: &[message::Request]) -> Result<(), NotSent> {
    let all = async {
        for request in requests {
            send(settings, request.encode_to_vec().into()).await.map_err(|why| NotSent { why })?;
        }
        Ok(())
    };
    timeout(settings.timeout, all).await.unwrap_or_else(|_| {
        Err(NotSent { why: format!("{} took longer than {} ms", settings.endpoint, settings.timeout.as_millis()) })
    })
}

/// Until it is taken, or refused for good. Who is not there is not waited for.
async fn send(settings: &Settings, body: Bytes) -> Result<(), String> {
    loop {
        let (status, answer) = post(settings, body.clone()).await?;
        match status {
            // The specification's list of answers after which to try again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => sleep(LATER).await,
            status if status.is_success() => return taken(&answer),
            status => return Err(format!("{} answered {status}", settings.endpoint)),
        }
    }
}

/// Whether all of it was taken. An answer that is none is no reason to complain.
fn taken(answer: &[u8]) -> Result<(), String> {
    match Response::decode(answer).ok().and_then(|response| response.partial_success) {
        Some(partial) if partial.rejected_spans > 0 => {
            Err(format!("{} spans were not taken: {:?}", partial.rejected_spans, partial.error_message))
        }
        _ => Ok(()),
    }
}

async fn post(settings: &Settings, body: Bytes) -> Result<(StatusCode, Bytes), String> {
    let endpoint = &settings.endpoint;
    let broken = |error: &dyn std::fmt::Display| format!("{endpoint}: {error}");
    let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, endpoint.port_u16().unwrap_or(80))).await.map_err(|e| broken(&e))?;
    let path = endpoint.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).body(Full::new(body)).map_err(|e| broken(&e))?;
    let headers = request.headers_mut();
    headers.extend(settings.headers.clone());
    let authority = endpoint.authority().map_or("", |authority| authority.as_str());
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(|e| broken(&e))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("podturn/", env!("CARGO_PKG_VERSION"))));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| broken(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MOST).collect().await;
        Ok((status, body.map(http_body_util::Collected::to_bytes).unwrap_or_default()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        _ = connection => exchange.await, // it has ended: what came before is still to be read
    }
}
