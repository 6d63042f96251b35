//! One try: what counts as a success, and what is said of a failure.

use podturn_turn::Probe;
use tokio::task::yield_now;
use tokio::time::{Duration, timeout};

use super::super::{Tried, try_once};
use super::servers::{health, refusing, saying, silent, story, web};
use super::{grpc, http, tcp};

/// Whether it succeeded, and a part of what is said: of a failure why, of a success what is odd about it.
fn expect(tried: &Tried, succeeds: bool, part: &str) {
    let said = match tried {
        Ok(warning) => warning.clone().unwrap_or_default(),
        Err(why) => why.clone(),
    };
    assert_eq!(tried.is_ok(), succeeds, "{tried:?}");
    assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{part:?} is not in {said:?}");
}

#[test]
fn tcp_wants_somebody_who_listens() {
    story(async {
        let (port, _) = silent().await;
        expect(&try_once(&tcp(port)).await, true, "");
        expect(&try_once(&Probe::TcpSocket { host: "localhost".to_owned(), port }).await, true, "");
        let (_bound, port) = refusing();
        expect(&try_once(&tcp(port)).await, false, "Connection refused");
        expect(&try_once(&tcp(port)).await, false, &format!("127.0.0.1:{port}: "));
    });
}

#[test]
fn the_pod_is_found_on_any_of_its_addresses() {
    story(async {
        let own = nix::ifaddrs::getifaddrs().expect("interfaces").filter_map(|interface| interface.address);
        let mut addresses = vec!["127.0.0.1".to_owned(), "::1".to_owned()];
        addresses.extend(own.filter_map(|address| Some(address.as_sockaddr_in()?.ip().to_string())));
        let has_v6 = tokio::net::TcpListener::bind("[::1]:0").await.is_ok();
        for address in addresses.iter().filter(|address| has_v6 || !address.contains(':')) {
            if address.starts_with("127.") && address != "127.0.0.1" {
                continue; // loopback is tried by its usual name alone
            }
            let port = web(address, |_| true).await;
            expect(&try_once(&http(port, "/200")).await, true, "");
        }
    });
}

#[test]
fn http_wants_a_status_from_200_to_399() {
    story(async {
        let port = web("127.0.0.1", |_| true).await;
        let table = [
            ("/200", true, ""),
            ("/204", true, ""),
            ("/big", true, ""),
            ("/304", true, "HTTP status 304 Not Modified counts as a success"),
            ("/302", true, "HTTP status 302 Found counts as a success"), // a redirect to nowhere
            ("/400", false, "HTTP status 400 Bad Request"),
            ("/500", false, "HTTP status 500 Internal Server Error"),
            ("/503#/200", false, "HTTP status 503"),
        ];
        for (path, succeeds, said) in table {
            expect(&try_once(&http(port, path)).await, succeeds, said);
        }
    });
}

#[test]
fn http_follows_redirects_on_the_same_host() {
    story(async {
        let other = web("127.0.0.1", |_| true).await;
        let port = web("127.0.0.1", |_| true).await;
        let to = |target: String| http(port, &format!("/to?{target}"));
        expect(&try_once(&to("/200".to_owned())).await, true, "");
        expect(&try_once(&to("503".to_owned())).await, false, "HTTP status 503");
        expect(&try_once(&to("/to?/to?/500".to_owned())).await, false, "HTTP status 500");
        expect(&try_once(&to(format!("http://127.0.0.1:{other}/404"))).await, false, "HTTP status 404");
        expect(&try_once(&to(format!("//127.0.0.1:{other}/200"))).await, true, "");
        expect(&try_once(&to("http://db.example/500".to_owned())).await, true, "a redirect to another host");
        expect(&try_once(&to(format!("https://127.0.0.1:{other}/500"))).await, true, "a redirect to HTTPS");
        expect(&try_once(&to("ftp://127.0.0.1/".to_owned())).await, false, "which is not HTTP");
        expect(&try_once(&http(port, "/loop")).await, true, "more than 10 redirects");
    });
}

#[test]
fn http_asks_as_the_kubelet_does_but_in_its_own_name() {
    story(async {
        let port = web("127.0.0.1", |headers| {
            let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
            let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
            let agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok()).unwrap_or_default();
            host.starts_with("127.0.0.1:")
                && agent.starts_with("podturn-probe/")
                && is("accept", "*/*")
                && is("connection", "close")
        });
        expect(&try_once(&http(port.await, "/echo")).await, true, "");

        let port = web("127.0.0.1", |headers| {
            let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
            let repeated = headers.get_all("x-role").iter().count();
            is("host", "shop.example")
                && is("accept", "text/plain")
                && !headers.contains_key("user-agent")
                && repeated == 2
        });
        let port = port.await;
        let headers =
            [("Host", "shop.example"), ("Accept", "text/plain"), ("User-Agent", ""), ("X-Role", "a"), ("x-role", "b")];
        let ask = |path: &str| Probe::HttpGet {
            host: String::new(),
            port,
            path: path.to_owned(),
            https: false,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        };
        expect(&try_once(&ask("/echo")).await, true, "");
        expect(&try_once(&ask("/to?/echo")).await, true, ""); // a host of one's own is kept where the redirect names none
        let broken = [("not a name".to_owned(), String::new())];
        let broken =
            Probe::HttpGet { host: String::new(), port, path: "/".to_owned(), https: false, headers: broken.to_vec() };
        expect(&try_once(&broken).await, false, "is no HTTP header");
    });
}

#[test]
fn what_is_no_answer_is_a_failure() {
    story(async {
        let (_bound, port) = refusing();
        expect(&try_once(&http(port, "/")).await, false, "Connection refused");
        expect(&try_once(&grpc(port, "")).await, false, "Connection refused");
        for words in [&b""[..], b"220 mail.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
            let port = saying(words).await;
            expect(&try_once(&http(port, "/")).await, false, &format!("127.0.0.1:{port}: "));
            expect(&try_once(&grpc(port, "")).await, false, &format!("127.0.0.1:{port}: "));
        }
        let port = saying(b"HTTP/1.0 200 OK\r\n\r\nup to the end of the connection").await;
        expect(&try_once(&http(port, "/")).await, true, "");
    });
}

#[test]
fn grpc_wants_serving() {
    story(async {
        let port = health().await;
        expect(&try_once(&grpc(port, "")).await, true, "");
        expect(&try_once(&grpc(port, "db")).await, true, "");
        expect(&try_once(&grpc(port, "sick")).await, false, "the service is NOT_SERVING");
        expect(&try_once(&grpc(port, "other")).await, false, "gRPC status 5: unknown service");
        let web = web("127.0.0.1", |_| true).await;
        expect(&try_once(&grpc(web, "")).await, false, &format!("127.0.0.1:{web}: "));
    });
}

#[test]
fn a_try_that_is_given_up_leaves_no_connection_behind() {
    story(async {
        let (port, open) = silent().await;
        for probe in [http(port, "/"), grpc(port, "")] {
            let mut attempt = Box::pin(try_once(&probe));
            while open.get() == 0 {
                assert!(timeout(Duration::ZERO, &mut attempt).await.is_err(), "nobody answers");
                yield_now().await;
            }
            drop(attempt);
            while open.get() > 0 {
                yield_now().await;
            }
        }
    });
}
