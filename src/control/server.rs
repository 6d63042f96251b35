//! The server: takes connections, reads requests, hands them to the coordinator and writes what it answers.
//!
//! A connection is one question, and has [`WITHIN`] for all of it. When all places are taken, the oldest connection gives way to
//! the new one: whoever says nothing, half a request, or takes no answer keeps nobody out, however often it connects.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use podturn_wire::names;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use super::{REQUEST_MAX, REQUESTS, STATE};
use crate::coordinator::asked::{Ask, Asked, Asker, Told, Verdict};
use crate::volume::Volume;

/// How many may be connected at once: more than people and hooks need, and few enough descriptors.
const CONNECTIONS: usize = 16;

/// How long a connection may last. A question and its answer take milliseconds; a person who types a request into `nc` has time.
const WITHIN: Duration = Duration::from_secs(10);

/// How long no connection is taken after one could not be, for want of a descriptor.
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);

/// The open socket. It is removed with this.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

/// Opens the socket and listens, on the present runtime. The questions come out of the receiver. Only one coordinator is at work
/// on a volume, so a socket that is there already is one that nobody listens to any more.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(volume: &Volume) -> io::Result<(Control, mpsc::Receiver<Asked>)> {
    let path = volume.path().join(names::CONTROL);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let (questions, receiver) = mpsc::channel(CONNECTIONS);
    let task = tokio::spawn(accept(listener, questions));
    Ok((Control { path, task }, receiver))
}

async fn accept(listener: UnixListener, questions: mpsc::Sender<Asked>) {
    let mut talks = Talks::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => talks.begin(stream, questions.clone()),
            Err(_) => sleep(AFTER_AN_ERROR).await,
        }
        // Otherwise a crowd that is taken at once would push each other out before anybody was listened to.
        yield_now().await;
    }
}

/// The connections. They end with this.
#[derive(Default)]
struct Talks {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Talks {
    fn begin(&mut self, stream: UnixStream, questions: mpsc::Sender<Asked>) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|talk| !talk.is_finished());
        if self.oldest_first.len() == CONNECTIONS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            oldest.abort();
        }
        let talk = async move {
            if timeout(WITHIN, converse(stream, questions)).await.is_err() {
                tracing::debug!("a connection to the control socket took longer than {} s", WITHIN.as_secs());
            }
        };
        self.oldest_first.push_back(self.tasks.spawn(talk));
    }
}

async fn converse(stream: UnixStream, questions: mpsc::Sender<Asked>) {
    let Ok(peer) = stream.peer_cred() else { return };
    let asker = Asker { pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0), uid: peer.uid() };
    let service = service_fn(|request| {
        let questions = questions.clone();
        async move { Ok::<_, Infallible>(answer(request, asker, &questions).await) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    if let Err(error) = server.keep_alive(false).serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!("a connection to the control socket ended: {error}");
    }
}

async fn answer(request: Request<Incoming>, asker: Asker, questions: &mpsc::Sender<Asked>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    match (&parts.method, parts.uri.path()) {
        (&Method::GET, STATE) => {
            let (sender, told) = oneshot::channel();
            if questions.send(Asked::State(asker, sender)).await.is_err() {
                return gone();
            }
            match told.await {
                Ok(Ok(state)) => json(StatusCode::OK, &state),
                Ok(Err(told)) => say(&told),
                Err(_) => gone(),
            }
        }
        (&Method::POST, REQUESTS) => match read(body).await {
            Ok(ask) => {
                let (sender, told) = oneshot::channel();
                if questions.send(Asked::Request(asker, ask, sender)).await.is_err() {
                    return gone();
                }
                told.await.map_or_else(|_| gone(), |told| say(&told))
            }
            Err(why) => say(&Told::new(Verdict::Bad, why)),
        },
        (_, STATE | REQUESTS) => {
            json(StatusCode::METHOD_NOT_ALLOWED, &Told::new(Verdict::Bad, "GET /v1/state or POST /v1/requests"))
        }
        _ => json(StatusCode::NOT_FOUND, &Told::new(Verdict::Bad, "there are /v1/state and /v1/requests")),
    }
}

async fn read(body: Incoming) -> Result<Ask, String> {
    let bytes = Limited::new(body, REQUEST_MAX).collect().await.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| format!("this is not a request: {error}"))
}

fn say(told: &Told) -> Response<Full<Bytes>> {
    let status = match told.result {
        Verdict::Done | Verdict::Already => StatusCode::OK,
        Verdict::Refused => StatusCode::CONFLICT,
        Verdict::NoSuchStep => StatusCode::NOT_FOUND,
        Verdict::Bad => StatusCode::BAD_REQUEST,
        Verdict::Forbidden => StatusCode::FORBIDDEN,
    };
    json(status, told)
}

/// The coordinator ends before it has answered: nothing was done, or what was done is in the journal.
fn gone() -> Response<Full<Bytes>> {
    json(StatusCode::SERVICE_UNAVAILABLE, &Told::new(Verdict::Refused, "the coordinator is ending: ask again"))
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(bytes)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
