//! Whoever looks at a run while it is measured: a page that is kept up to date, and a scraper, which asks as often as it gets an answer
//! and has rested: far more often than any that is meant.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ground::{pause, wait_until};

/// How long the scraper rests. A real one rests for 15 s.
const REST: Duration = Duration::from_millis(5);

/// A page and a scraper, from their first answers until they leave.
pub(crate) struct Onlookers {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// The page was sent something.
    page: AtomicBool,
    scrapes: AtomicU32,
    is_over: AtomicBool,
}

impl Onlookers {
    /// They come as soon as somebody listens at their address.
    pub(crate) fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let seen = Arc::new(Seen::default());
        let (looks, scrapes) = (Arc::clone(&seen), Arc::clone(&seen));
        let threads = vec![
            std::thread::spawn(move || look(address, &looks)),
            std::thread::spawn(move || scrape(address, &scrapes)),
        ];
        Self { address, seen, threads }
    }

    /// Until both are served.
    pub(crate) fn wait(&self) {
        let is_served = || self.seen.page.load(Ordering::Relaxed) && self.seen.scrapes.load(Ordering::Relaxed) > 0;
        wait_until("the onlookers to be served", is_served);
    }

    pub(crate) fn leave(self) {
        self.seen.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("an onlooker does not panic"));
    }
}

fn look(address: SocketAddr, seen: &Seen) {
    while !seen.is_over.load(Ordering::Relaxed) {
        if let Some(mut stream) = ask(address, "/events?version=0") {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                if seen.page.load(Ordering::Relaxed) {
                    continue;
                }
                // A head alone says only that there is nothing yet.
                let is_event = buffer[..length].windows(6).any(|window| window == b"data: ");
                seen.page.store(is_event, Ordering::Relaxed);
            }
        }
        pause(REST);
    }
}

fn scrape(address: SocketAddr, seen: &Seen) {
    while !seen.is_over.load(Ordering::Relaxed) {
        if let Some(mut stream) = ask(address, "/metrics") {
            let mut text = Vec::new();
            let is_whole = stream.read_to_end(&mut text).is_ok() && text.starts_with(b"HTTP/1.1 200 ");
            seen.scrapes.fetch_add(u32::from(is_whole), Ordering::Relaxed);
        }
        pause(REST);
    }
}

fn ask(address: SocketAddr, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
    Some(stream)
}
