//! What is answered to whom.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::versions::Versions;
use super::{Door, accept};
use crate::control;
use crate::view::metrics;

/// How often a page is brought up to date.
const EVERY: Duration = Duration::from_secs(1);

/// How long the coordinator may take to say that it is there.
const ALIVE: Duration = Duration::from_secs(2);

/// How long the body of a request may take to be sent, and how many bytes it may have.
const BODY: Duration = Duration::from_secs(2);
const BODY_MOST: usize = 4 * 1024;

type Answer = Response<Content>;

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    door: Rc<Door>,
    versions: Rc<Versions>,
    is_over: watch::Receiver<bool>,
) -> Result<Answer, Infallible> {
    let looks = matches!(request.method(), &Method::GET | &Method::HEAD);
    let refused = match looks {
        true => door.guard.may_look(request.headers(), door.address),
        false => door.guard.may_act(request.headers()),
    };
    if let Err((status, words)) = refused {
        return Ok(text(status, words));
    }
    if looks { Ok(show(&request, versions, is_over).await) } else { Ok(act(request, versions.volume().path()).await) }
}

/// What a person with the token asks for, handed on to the coordinator as `control.sock` takes it.
async fn act(request: Request<Incoming>, volume: &Path) -> Answer {
    if request.method() != Method::POST || request.uri().path() != control::REQUESTS {
        return text(StatusCode::METHOD_NOT_ALLOWED, "there is POST /v1/requests\n");
    }
    let body = timeout(BODY, Limited::new(request.into_body(), BODY_MOST).collect()).await;
    let Ok(Ok(body)) = body else { return text(StatusCode::BAD_REQUEST, "a request is short, and comes at once\n") };
    match control::relay(volume, body.to_bytes()).await {
        Ok((status, answer)) => {
            let mut answer = with("application/json", answer);
            *answer.status_mut() = status;
            answer
        }
        Err(error) => {
            tracing::warn!("a request from the page was not answered: {error}");
            text(StatusCode::SERVICE_UNAVAILABLE, "the coordinator does not answer\n")
        }
    }
}

async fn show(request: &Request<Incoming>, versions: Rc<Versions>, is_over: watch::Receiver<bool>) -> Answer {
    match request.uri().path() {
        "/" => {
            let page = versions.newest(false).map(|version| version.page());
            paced("text/html; charset=utf-8", page, &versions).await
        }
        "/events" => events(request.uri().query(), versions, is_over),
        "/state.json" => versions.state().map_or_else(nothing_yet, |state| {
            with("application/json", serde_json::to_vec(&state).unwrap_or_default().into())
        }),
        "/metrics" => {
            let is_open = accept::wants_openmetrics(request.headers());
            let kind = if is_open { metrics::OPENMETRICS } else { metrics::PROMETHEUS };
            paced(kind, versions.metrics(is_open), &versions).await
        }
        "/healthz" => {
            let alive = timeout(ALIVE, control::state(versions.volume().path())).await;
            match alive {
                Ok(Ok(_)) => text(StatusCode::OK, "ok\n"),
                _ => text(StatusCode::SERVICE_UNAVAILABLE, "the coordinator does not answer\n"),
            }
        }
        "/readyz" => match versions.state() {
            None => nothing_yet(),
            Some(state) if state.outcome.as_deref() == Some("Failed") => {
                text(StatusCode::SERVICE_UNAVAILABLE, "the plan has Failed\n")
            }
            Some(_) => text(StatusCode::OK, "ok\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "there are /, /events, /state.json, /metrics, /healthz and /readyz\n"),
    }
}

async fn paced(kind: &'static str, content: Option<Bytes>, versions: &Versions) -> Answer {
    let Some(content) = content else { return nothing_yet() };
    versions.keep_pace(content.len()).await;
    with(kind, content)
}

fn nothing_yet() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "nothing has begun\n")
}

fn text(status: StatusCode, words: &'static str) -> Answer {
    let mut answer = with("text/plain; charset=utf-8", words.into());
    *answer.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

fn with(kind: &'static str, content: Bytes) -> Answer {
    dress(kind, Content::Whole(Full::new(content)))
}

fn dress(kind: &'static str, content: Content) -> Answer {
    let mut answer = Response::new(content);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    answer
}

/// Server-sent events: what changes on the page, from the version that it has.
fn events(query: Option<&str>, versions: Rc<Versions>, is_over: watch::Receiver<bool>) -> Answer {
    let has = query.and_then(|query| query.strip_prefix("version=")?.parse().ok()).unwrap_or(0);
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(feed(versions, has, is_over, sender));
    dress("text/event-stream", Content::Events(receiver))
}

/// Keeps one page up to date. The next version is made when the one before has been taken, so a slow one skips some.
async fn feed(versions: Rc<Versions>, mut has: u64, mut is_over: watch::Receiver<bool>, to: mpsc::Sender<Bytes>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let over = *is_over.borrow_and_update();
        if let Some(version) = versions.newest(over) {
            if version.number != has {
                let change = version.change_from(has);
                has = version.number;
                if to.send(change).await.is_err() {
                    return;
                }
            }
            if version.is_last || over {
                let _ = to.send(Bytes::from_static(b"event: end\ndata: \n\n")).await;
                return;
            }
        }
        tokio::select! {
            _ = tick.tick() => {}
            _ = is_over.changed() => {}
            () = to.closed() => return,
        }
    }
}

/// What an answer contains.
pub(super) enum Content {
    Whole(Full<Bytes>),
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Events(feed) => feed.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Events(_) => hyper::body::SizeHint::default(),
        }
    }
}
