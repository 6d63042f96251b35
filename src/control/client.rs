//! The client: one request, one answer.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::http::request::Builder;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use podturn_wire::names;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{REQUESTS, STATE};
use crate::coordinator::asked::{Ask, Told, Verb, Verdict};
use crate::volume::published::State;

/// How long an answer may take. A coordinator that lives takes milliseconds; one that is frozen would be waited for for ever.
const WITHIN: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens there.
    Connect(PathBuf, io::Error),
    /// Somebody listens there, and does not answer.
    Late(PathBuf),
    /// The connection ended, or what came is no answer.
    Broken(String),
}

impl std::fmt::Display for AskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(path, error) => write!(f, "no coordinator answers at {}: {error}", path.display()),
            Self::Late(path) => {
                let (path, limit) = (path.display(), WITHIN.as_secs());
                write!(f, "the coordinator at {path} has not answered within {limit} s: is it stopped (SIGSTOP)?")
            }
            Self::Broken(why) => write!(f, "the coordinator did not answer: {why}"),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks the coordinator of the run on this volume for something.
///
/// # Errors
/// [`AskError`]: whether the request was done is then not known; the same request, with its attempt, may be sent again.
pub async fn ask(volume: &Path, ask: &Ask) -> Result<Told, AskError> {
    let body = serde_json::to_vec(ask).map_err(|error| AskError::Broken(error.to_string()))?;
    let (_, bytes) = exchange(volume, Request::post(REQUESTS), body).await?;
    serde_json::from_slice(&bytes).map_err(|error| AskError::Broken(error.to_string()))
}

/// Asks the coordinator how the run stands now.
///
/// # Errors
/// [`AskError`].
pub async fn state(volume: &Path) -> Result<State, AskError> {
    let (status, bytes) = exchange(volume, Request::get(STATE), Vec::new()).await?;
    if status != StatusCode::OK {
        let told: Result<Told, _> = serde_json::from_slice(&bytes);
        return Err(AskError::Broken(told.map_or_else(|error| error.to_string(), |told| told.message)));
    }
    serde_json::from_slice(&bytes).map_err(|error| AskError::Broken(error.to_string()))
}

/// Hands a request of somebody else on: the status and the body of the answer. That the pod is being deleted is nobody's to say but the
/// kubelet's.
///
/// # Errors
/// [`AskError`], as for [`ask`].
pub async fn relay(volume: &Path, body: Bytes) -> Result<(StatusCode, Bytes), AskError> {
    if serde_json::from_slice(&body).is_ok_and(|ask: Ask| ask.verb == Verb::Terminate) {
        let told = Told::new(Verdict::Forbidden, "`podturn terminating` says this");
        return Ok((StatusCode::FORBIDDEN, serde_json::to_vec(&told).unwrap_or_default().into()));
    }
    exchange(volume, Request::post(REQUESTS), body.into()).await
}

async fn exchange(volume: &Path, request: Builder, body: Vec<u8>) -> Result<(StatusCode, Bytes), AskError> {
    let path = volume.join(names::CONTROL);
    let exchanged = timeout(WITHIN, exchange_over(path.clone(), request, body)).await;
    exchanged.unwrap_or(Err(AskError::Late(path)))
}

async fn exchange_over(path: PathBuf, request: Builder, body: Vec<u8>) -> Result<(StatusCode, Bytes), AskError> {
    let stream = connect(&path).await.map_err(|error| AskError::Connect(path, error))?;
    let broken = |error: hyper::Error| AskError::Broken(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    let request = request.header(HOST, "podturn").header(CONTENT_TYPE, "application/json");
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| AskError::Broken(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status();
    Ok((status, response.into_body().collect().await.map_err(broken)?.to_bytes()))
}

/// By its directory, as bells are: a volume may lie deeper than the 108 bytes of a socket's address reach (unix(7)).
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    UnixStream::connect(short).await
}
