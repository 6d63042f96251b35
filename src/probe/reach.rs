//! Connections to what a probe names.
//!
//! Names are not looked up: podturn's image has no resolver. A host is an address, `localhost`, or empty for the pod itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpStream;

/// The pod's own addresses beyond loopback that are tried at most.
const OWN_MAX: usize = 16;

/// Connects; the error says to what, and why not.
pub(super) async fn connect(host: &str, port: u16) -> Result<(TcpStream, SocketAddr), String> {
    let mut first = None;
    for address in addresses(host)?.into_iter().map(|ip| SocketAddr::new(ip, port)) {
        match TcpStream::connect(address).await {
            Ok(stream) if is_itself(&stream) => {
                first.get_or_insert_with(|| format!("{address}: nothing listens there"));
            }
            Ok(stream) => return Ok((stream, address)),
            Err(error) => {
                first.get_or_insert_with(|| format!("{address}: {error}"));
            }
        }
    }
    Err(first.unwrap_or_else(|| format!("{host} has no address")))
}

/// A socket that connects to its own port, which the kernel picked just so, meets itself: TCP allows both sides to open
/// (RFC 9293, 3.5).
fn is_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
}

fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match (host, bare.parse()) {
        // Loopback first: a server that listens everywhere is there too. One that listens on the pod's address alone is
        // what the kubelet, which tries nothing but that, would find.
        ("", _) => Ok(loopback.into_iter().chain(own()).collect()),
        ("localhost", _) => Ok(loopback.to_vec()),
        (_, Ok(ip)) => Ok(vec![ip]),
        (_, Err(_)) => Err(format!("{host} is a name, and names are not looked up")),
    }
}

/// The addresses of this network namespace that are not loopback. Those of a link need an interface beside them.
fn own() -> impl Iterator<Item = IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let ip = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let is_link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    ip.filter(move |ip| !ip.is_loopback() && !is_link_local(ip)).take(OWN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_the_pod() {
        let of = |host: &str| addresses(host).map(|all| all.iter().map(IpAddr::to_string).collect::<Vec<_>>());
        assert_eq!(of("192.0.2.1").as_deref(), Ok(&["192.0.2.1".to_owned()][..]));
        assert_eq!(of("[2001:db8::1]").as_deref(), Ok(&["2001:db8::1".to_owned()][..]));
        assert_eq!(of("localhost").map(|all| all.join(" ")), Ok("127.0.0.1 ::1".to_owned()));
        assert_eq!(of("").map(|all| all[..2].join(" ")), Ok("127.0.0.1 ::1".to_owned()));
        assert!(of("").is_ok_and(|all| !all.iter().any(|ip| ip.starts_with("fe80:"))));
        assert_eq!(of("db.example"), Err("db.example is a name, and names are not looked up".to_owned()));
    }
}
