//! A service's port: nobody answers there until the service says that it is up, and as soon as it has ended.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen as start, socket,
};
use serde_json::{Value, json};

use super::outputs::spec_of;
use super::questions::QUESTIONS;
use crate::pod::Place;

/// The services whose probes and hooks ask at a port.
const SERVICES: [(&str, &str, u16); 5] = [
    ("deployment-probes.out.yaml", "cache", 6379),
    ("deployment-probes.out.yaml", "web", 8080),
    ("deployment.out.yaml", "db", 5432),
    ("probes.out.yaml", "shop", 8080),
    ("stranger-mysql-fixed.out.yaml", "mysql", 3306),
];

/// Gives each of this file's services a port that nobody else on this machine has, everywhere in the manifest, and somebody who answers
/// there while the service runs. The pods share this machine's network, and several are played at once.
pub(super) fn listen(root: &mut Value, place: &Place, file: &str) {
    // The coordinator's own page: at any port.
    *root = serde_json::from_str(&root.to_string().replace("127.0.0.1:8080", "127.0.0.1:0")).expect("it is JSON still");
    for (_, service, written) in SERVICES.iter().filter(|(of, ..)| *of == file) {
        // Nobody else gets a port that is bound, and nobody can connect to it before listen(2).
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        bind(socket.as_raw_fd(), &SockaddrIn::from(std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)))
            .expect("a port");
        let port = getsockname::<SockaddrIn>(socket.as_raw_fd()).expect("its address").port();
        let text = root.to_string();
        assert!(text.contains(&written.to_string()), "{file} has port {written}");
        *root = serde_json::from_str(&text.replace(&written.to_string(), &port.to_string())).expect("it is JSON still");

        let gate = format!("serves-{service}");
        place.gate(&gate);
        let containers = spec_of(root)["containers"].as_array_mut().expect("a list");
        let container = containers.iter_mut().find(|of| of["name"] == *service).expect("the service");
        let script = container["command"].as_array_mut().expect("words").last_mut().expect("a script");
        // The descriptor stays open until the last process of the service has ended.
        *script = json!(format!("exec 9> /notes/{gate} && echo up >&9 && {}", script.as_str().expect("a text")));
        let gate = place.notes(&gate);
        let note = File::options().write(true).open(place.notes(QUESTIONS)).expect("it is read");
        let service = *service;
        std::thread::spawn(move || {
            answer(&mut File::open(gate).expect("the gate"), socket, &mut Note { service, note })
        });
    }
}

/// Where it is said what somebody has asked a service for.
struct Note {
    service: &'static str,
    note: File,
}

impl Note {
    /// `asked`: the request; empty: somebody connected, and asked nothing.
    fn add(&mut self, asked: &str) {
        let what = asked.split(" HTTP/").next().filter(|what| !what.is_empty()).unwrap_or("connects");
        // Nobody reads it any more: the run is over.
        let _ = self.note.write_all(format!("{}: {what}\n", self.service).as_bytes());
    }
}

/// From the service's word until its end.
fn answer(service: &mut File, socket: OwnedFd, note: &mut Note) {
    service.read_exact(&mut [0; 3]).expect("it says that it is up");
    start(&socket, Backlog::new(16).expect("a number")).expect("the port is ours");
    let listener = TcpListener::from(socket);
    let is_readable = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
    loop {
        let mut both = [&service.as_fd(), &listener.as_fd()].map(|fd| PollFd::new(*fd, PollFlags::POLLIN));
        if poll(&mut both, PollTimeout::NONE).is_err() {
            continue;
        }
        if is_readable(&both[0]) {
            return;
        }
        if let Ok((stream, _)) = listener.accept() {
            note.add(&greet(stream));
        }
    }
}

/// Who only connects is answered by that; who asks by HTTP gets what every path has here. Returns the request.
fn greet(mut stream: TcpStream) -> String {
    let mut asked = Vec::new();
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let mut piece = [0; 512];
    while !asked.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => asked.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    String::from_utf8_lossy(&asked).into_owned()
}
