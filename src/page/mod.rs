//! The live page: the report of a run that goes on, over HTTP, brought up to date once a second.
//!
//! Belongs here: connections, who gets which part when, and who may act. Does not belong here: what is on the page (`view`), what a
//! request does (`control` hands it to the coordinator). Without a token it is read-only.
//!
//! It has a thread of its own, which stands back for everybody else's, and reads the volume as any other onlooker does: whoever is
//! connected, however slowly or wrongly, costs the coordinator next to nothing.

mod accept;
mod answers;
mod guard;
mod versions;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::process;
use crate::volume::Volume;
pub use guard::{Guard, TOKEN_LEAST};
use versions::Versions;

/// As many may be connected at once. Who comes then is sent away at once, so that descriptors never run out.
const CONNECTIONS: usize = 128;

/// How long a request may take to be sent.
const REQUEST: Duration = Duration::from_secs(10);

/// How long no connection is taken after one could not be, for want of a descriptor.
const AFTER_AN_ERROR: Duration = Duration::from_millis(100);

/// How long the end waits for those who look on to be shown it.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The page, being served.
#[derive(Debug)]
pub struct Served {
    /// Where.
    pub address: SocketAddr,
    over: watch::Sender<bool>,
    done: Receiver<()>,
}

impl Served {
    /// The run is over: shows it to whoever looks on, and ends.
    pub fn finish(self) {
        let _ = self.over.send(true);
        let _ = self.done.recv_timeout(2 * LAST_LOOK);
    }
}

/// Where people come in.
struct Door {
    address: SocketAddr,
    guard: Guard,
}

/// Serves the page of this volume's run from now on, on a thread of its own.
///
/// # Errors
/// When the address cannot be listened on.
pub fn listen(address: SocketAddr, guard: Guard, volume: &Volume) -> io::Result<Served> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let volume = volume.clone();
    let (over, is_over) = watch::channel(false);
    let (ended, done) = std::sync::mpsc::channel();
    process::spawn("page", move || {
        if let Err(error) = process::stand_back() {
            tracing::debug!("the page takes its share of the processor: {error}");
        }
        let served = LocalSet::new().block_on(&runtime, accept(listener, Door { address, guard }, volume, is_over));
        if let Err(error) = served {
            tracing::warn!("the page is served no more: {error}");
        }
        let _ = ended.send(());
    })?;
    Ok(Served { address, over, done })
}

async fn accept(
    listener: TcpListener,
    door: Door,
    volume: Volume,
    mut is_over: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let versions = Rc::new(Versions::of(volume, door.guard.acts()));
    let door = Rc::new(door);
    let open = Rc::new(());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = is_over.changed() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(AFTER_AN_ERROR).await;
            continue;
        };
        if Rc::strong_count(&open) > CONNECTIONS {
            continue; // closed at once
        }
        let (door, versions, open, is_over) = (door.clone(), versions.clone(), open.clone(), is_over.clone());
        tokio::task::spawn_local(async move {
            let _open = open;
            let service =
                service_fn(|request| answers::answer(request, door.clone(), versions.clone(), is_over.clone()));
            let mut server = hyper::server::conn::http1::Builder::new();
            server.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(REQUEST).max_buf_size(16 * 1024);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!("a connection to the page ended: {error}");
            }
        });
    }
    let all_gone = async {
        while Rc::strong_count(&open) > 1 {
            tokio::time::sleep(AFTER_AN_ERROR / 10).await;
        }
    };
    let _ = tokio::time::timeout(LAST_LOOK, all_gone).await;
    Ok(())
}
