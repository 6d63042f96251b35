//! A server that answers as registries do when something is wrong with them, or not at all.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What it says to a request for a path.
pub(crate) type Answer = fn(path: &str, host: &str) -> String;

/// A listening server. Its threads end with the test's process.
pub(crate) struct Stub {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// One that answers. TLS it does not speak.
    pub(crate) fn answering(answer: Answer) -> Self {
        Self::start(Some(answer))
    }

    /// One that takes connections, and keeps them without a word.
    pub(crate) fn silent() -> Self {
        Self::start(None)
    }

    /// What it was asked for, with the credentials.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test fails with it").clone()
    }

    fn start(answer: Option<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let host = listener.local_addr().expect("it is bound").to_string();
        let stub = Self { host: host.clone(), requests: Arc::default() };
        let requests = Arc::clone(&stub.requests);
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for connection in listener.incoming().map_while(Result::ok) {
                match answer {
                    Some(answer) => serve(&connection, answer, &host, &requests),
                    None => kept.push(connection),
                }
            }
        });
        stub
    }
}

fn serve(connection: &TcpStream, answer: Answer, host: &str, requests: &Mutex<Vec<String>>) {
    let mut writer = connection;
    // A client that speaks TLS (its first byte is that of a handshake, RFC 8446 B.1) hears at once that this is none.
    let mut first = [0];
    if matches!(connection.peek(&mut first), Ok(1)) && first == [0x16] {
        let _ = writer.write_all(&http("400 Bad Request", "", "").into_bytes());
        return;
    }
    let head: Vec<String> = BufReader::new(connection)
        .split(b'\n')
        .map_while(Result::ok)
        .map(|line| String::from_utf8_lossy(&line).trim_end().to_owned())
        .take_while(|line| !line.is_empty())
        .collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let credentials = head.iter().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("-");
    requests.lock().expect("no test fails with it").push(format!("{path} {credentials}"));
    let _ = writer.write_all(answer(path, host).as_bytes());
}

/// An answer in HTTP.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}
