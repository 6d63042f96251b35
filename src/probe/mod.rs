//! One try of a probe over the network, as the kubelet does it, and what tries in a row come to.
//!
//! Belongs here: HTTP, TCP and gRPC tries (`http.rs`, `reach.rs`, `grpc.rs`), and rows of them (`row.rs`). Does not belong here: when a
//! try is due and what it means (the coordinator has that for steps, the local pod for containers), and tries inside a container.
//!
//! A try is one future: dropped, or out of time, it leaves no task and no connection behind.

mod grpc;
mod http;
mod location;
mod reach;
mod row;
#[cfg(test)]
pub(crate) mod tests;

use podturn_turn::Probe;

pub use row::Row;

use self::location::Url;

/// How the tries name themselves, where the kubelet says `kube-probe/1.36`.
const AGENT: &str = concat!("podturn-probe/", env!("CARGO_PKG_VERSION"));

/// What one try came to. A success may be worth a warning; a failure says why.
pub type Tried = Result<Option<String>, String>;

/// One try, without a limit of time.
pub async fn try_once(probe: &Probe) -> Tried {
    match probe {
        Probe::HttpGet { https: true, .. } => Err("HTTPS is not probed".to_owned()), // who reads a probe refuses it
        Probe::HttpGet { host, port, path, headers, https: false } => {
            let url = Url { https: false, host: host.clone(), port: *port, path: path.clone() };
            http::get(url, headers).await
        }
        Probe::TcpSocket { host, port } => reach::connect(host, *port).await.map(|_| None),
        Probe::Grpc { port, service } => grpc::check(*port, service).await,
        Probe::Exec { .. } | Probe::File { .. } | Probe::Log { .. } => {
            Err("this is tried inside the container".to_owned())
        }
    }
}
