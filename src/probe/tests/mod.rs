//! Tries against real servers.

pub(crate) mod servers;
mod tries;

use podturn_turn::Probe;

pub(crate) fn tcp(port: u16) -> Probe {
    Probe::TcpSocket { host: String::new(), port }
}

pub(crate) fn http(port: u16, path: &str) -> Probe {
    Probe::HttpGet { host: String::new(), port, path: path.to_owned(), https: false, headers: Vec::new() }
}

pub(crate) fn grpc(port: u16, service: &str) -> Probe {
    Probe::Grpc { port, service: service.to_owned() }
}
