//! Tries against real servers, and the schedule on a clock that jumps.

mod schedule;
mod servers;
mod tries;

use podturn_turn::{Probe, Readiness};

/// A readiness with Kubernetes' defaults.
fn readiness(probe: Probe) -> Readiness {
    Readiness {
        probe,
        initial_delay_seconds: 0,
        period_seconds: 10,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 3,
    }
}

fn tcp(port: u16) -> Probe {
    Probe::TcpSocket { host: String::new(), port }
}

fn http(port: u16, path: &str) -> Probe {
    Probe::HttpGet { host: String::new(), port, path: path.to_owned(), https: false, headers: Vec::new() }
}

fn grpc(port: u16, service: &str) -> Probe {
    Probe::Grpc { port, service: service.to_owned() }
}
