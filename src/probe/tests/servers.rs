//! What is probed: small servers on ports of this machine.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::LOCATION;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

/// Runs a story with the servers that it starts; they are gone with it.
pub(crate) fn story(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, story);
}

/// As `story`, on a clock that stands still while anything is to be done, and jumps to the next moment when nothing is.
pub(crate) fn story_in_jumps(story: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    LocalSet::new().block_on(&runtime, story);
}

/// A listener on a port that the kernel picks.
pub(crate) async fn listen(address: &str) -> (TcpListener, u16) {
    let listener = TcpListener::bind((address, 0)).await.expect("a port of this machine");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

/// A port on which nobody listens. It is kept bound, so that nobody else can.
pub(crate) fn refusing() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port of this machine");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, port)
}

/// What a server does with each connection.
async fn serve<F: Future<Output = ()> + 'static>(address: &str, each: impl Fn(TcpStream) -> F + 'static) -> u16 {
    let (listener, port) = listen(address).await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(each(stream));
        }
    });
    port
}

/// Takes connections, and says nothing. The count is of those that are open.
pub(crate) async fn silent() -> (u16, Rc<Cell<usize>>) {
    let open = Rc::new(Cell::new(0));
    let counter = Rc::clone(&open);
    let port = serve("127.0.0.1", move |mut stream| {
        let counter = Rc::clone(&counter);
        async move {
            counter.set(counter.get() + 1);
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            counter.set(counter.get() - 1);
        }
    });
    (port.await, open)
}

/// Says this to whoever connects, whatever it is asked, and hangs up.
pub(crate) async fn saying(words: &'static [u8]) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    serve("127.0.0.1", move |mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(words).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// Answers by the path: `/200`, `/to?URL` is a redirect to there, `/loop` one to itself, `/big` more than is read, `/echo` a status
/// of 200 if the request is as `wants` has it, else 400.
pub(crate) async fn web(address: &str, wants: fn(&HeaderMap) -> bool) -> u16 {
    serve(address, move |stream| async move {
        let answer = service_fn(move |request| async move { Ok::<_, Infallible>(answer(&request, wants)) });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    })
    .await
}

fn answer(request: &Request<Incoming>, wants: fn(&HeaderMap) -> bool) -> Response<Full<Bytes>> {
    let redirect = |to: &str| Response::builder().status(302).header(LOCATION, to);
    let status = |status: u16| Response::builder().status(status);
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let (response, body) = match path {
        "/to" => (redirect(query), Bytes::new()),
        "/loop" => (redirect("loop"), Bytes::new()),
        "/big" => (status(200), vec![b'x'; 1 << 20].into()),
        "/echo" => (status(if wants(request.headers()) { 200 } else { 400 }), Bytes::new()),
        path => (status(path[1..].parse().unwrap_or(404)), Bytes::new()),
    };
    response.body(Full::new(body)).expect("a response")
}

/// Answers one request after the other with these statuses, the last one for ever, and tells of each.
pub(crate) async fn changing(statuses: &'static [u16]) -> (u16, mpsc::UnboundedReceiver<()>) {
    let (answered, told) = mpsc::unbounded_channel();
    let served = Rc::new(Cell::new(0));
    let port = serve("127.0.0.1", move |stream| {
        let (served, answered) = (Rc::clone(&served), answered.clone());
        async move {
            let answer = service_fn(|_| {
                let index = served.replace(served.get() + 1).min(statuses.len() - 1);
                let response = Response::builder().status(statuses[index]).body(Full::<Bytes>::default());
                async { Ok::<_, Infallible>(response.expect("a response")) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            let _ = answered.send(());
        }
    });
    (port.await, told)
}

/// A health service: "" and "db" serve, "sick" does not; others it does not know.
pub(crate) async fn health() -> u16 {
    serve("127.0.0.1", |stream| async move {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            spawn_local(async move {
                let path = request.uri().path().to_owned();
                let mut body = request.into_body();
                let mut asked = Vec::new();
                while let Some(Ok(chunk)) = body.data().await {
                    asked.extend_from_slice(&chunk);
                }
                let (code, status) = match (path.as_str(), asked.get(7..).unwrap_or_default()) {
                    ("/grpc.health.v1.Health/Check", b"" | b"db") => ("0", Some(1)),
                    ("/grpc.health.v1.Health/Check", b"sick") => ("0", Some(2)),
                    ("/grpc.health.v1.Health/Check", _) => ("5", None),
                    _ => ("12", None),
                };
                let head = Response::builder().header("content-type", "application/grpc");
                let Some(status) = status else {
                    let only = head.header("grpc-status", code).header("grpc-message", "unknown service");
                    let _ = respond.send_response(only.body(()).expect("a response"), true);
                    return;
                };
                let mut stream = respond.send_response(head.body(()).expect("a response"), false).expect("it is asked");
                stream.send_data(vec![0, 0, 0, 0, 2, 8, status].into(), false).expect("it is asked");
                let trailers = [("grpc-status", code)]
                    .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
                stream.send_trailers(trailers.into_iter().collect()).expect("it is asked");
            });
        }
    })
    .await
}
