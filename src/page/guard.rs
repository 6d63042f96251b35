//! Who may look, and who may act.
//!
//! To act needs the token, sent along by whoever has it: a browser never does that by itself, so another site cannot act in a person's
//! name. What a browser says of where a request comes from is looked at all the same (Fetch's `Origin`, `Sec-Fetch-Site`), and so is the
//! name that it was asked for: a foreign name that leads here (DNS rebinding) would make another site's script one of ours, which could
//! read what is shown.

use std::net::{IpAddr, SocketAddr};

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};

/// A token that is shorter could be guessed.
pub const TOKEN_LEAST: usize = 16;

/// What keeps a page to its people.
#[derive(Clone, Default)]
pub struct Guard {
    /// What has to be known to act; `None`: nobody may.
    token: Option<String>,
    /// Names by which people come here, besides addresses and `localhost`.
    hosts: Vec<String>,
}

// A token is not for logs.
impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("acts", &self.token.is_some()).field("hosts", &self.hosts).finish()
    }
}

/// A refusal: its status, and a sentence.
pub(super) type Refusal = (StatusCode, &'static str);

impl Guard {
    /// `hosts`: names by which people come here, besides addresses and `localhost`.
    ///
    /// # Errors
    /// Why this is no token.
    pub fn new(token: Option<&str>, hosts: Vec<String>) -> Result<Self, String> {
        let token = token.map(str::trim);
        if token.is_some_and(|token| token.len() < TOKEN_LEAST || !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(format!("a token has at least {TOKEN_LEAST} characters, all of them visible ASCII"));
        }
        Ok(Self { token: token.map(str::to_owned), hosts })
    }

    /// Whether anybody may act.
    #[must_use]
    pub const fn acts(&self) -> bool {
        self.token.is_some()
    }

    /// Whether whoever asks may look. A page for this machine alone is looked at by no other name than its own.
    pub(super) fn may_look(&self, headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
        match address.ip().is_loopback() && !self.knows_host(headers) {
            true => Err((StatusCode::FORBIDDEN, "by this name nobody comes here; --listen-host NAME lets them\n")),
            false => Ok(()),
        }
    }

    /// Whether whoever asks may act.
    pub(super) fn may_act(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let Some(token) = &self.token else {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "this page only shows: GET and HEAD\n"));
        };
        if !self.knows_host(headers) {
            return Err((StatusCode::FORBIDDEN, "by this name nobody acts here; --listen-host NAME lets them\n"));
        }
        let host = text(&HOST).unwrap_or_default();
        let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host));
        let site = text(&HeaderName::from_static("sec-fetch-site"));
        if text(&ORIGIN).is_some_and(|origin| !is_own(origin)) || site.is_some_and(|site| site != "same-origin") {
            return Err((StatusCode::FORBIDDEN, "another site asks for this\n"));
        }
        let kind = text(&CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default();
        if !kind.trim().eq_ignore_ascii_case("application/json") {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a request is application/json\n"));
        }
        let given = text(&AUTHORIZATION).and_then(|value| value.split_once(' '));
        let given =
            given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, given)| given.trim());
        match is_same(token.as_bytes(), given.as_bytes()) {
            true => Ok(()),
            false => Err((StatusCode::UNAUTHORIZED, "this needs the token: Authorization: Bearer TOKEN\n")),
        }
    }

    /// An address cannot be made to lead elsewhere. Who names no host is no browser.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(HOST) else { return true };
        let host = host.to_str().unwrap_or("?").to_ascii_lowercase();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !port.is_empty() => name,
            _ => &host,
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local || bare.parse::<IpAddr>().is_ok() || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// In a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "correct-horse-battery";

    fn guard() -> Guard {
        Guard::new(Some(TOKEN), vec!["ci.example".to_owned()]).expect("it is a token")
    }

    /// The headers of a page's own script, but for these.
    fn headers(others: &[(&'static str, &str)]) -> HeaderMap {
        let own = [
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080"),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/json"),
            ("authorization", "Bearer correct-horse-battery"),
        ];
        let mut headers = HeaderMap::new();
        for (name, value) in own.iter().chain(others) {
            match *value {
                "" => drop(headers.remove(*name)),
                value => drop(headers.insert(HeaderName::from_static(name), value.parse().expect("a header"))),
            }
        }
        headers
    }

    fn status(others: &[(&'static str, &str)]) -> u16 {
        guard().may_act(&headers(others)).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    #[test]
    fn whoever_has_the_token_acts() {
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[("origin", ""), ("sec-fetch-site", "")]), 200, "curl says neither");
        assert_eq!(status(&[("authorization", "bearer correct-horse-battery")]), 200);
        assert_eq!(status(&[("host", "ci.example"), ("origin", "https://CI.example")]), 200, "behind a proxy with TLS");
        assert_eq!(status(&[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")]), 200);
        for wrong in
            ["", "Bearer ", "Bearer correct-horse-batterx", "Bearer correct-horse-battery2", "Basic x", "Bearer"]
        {
            assert_eq!(status(&[("authorization", wrong)]), 401, "{wrong}");
        }
        let read_only = Guard::default();
        assert_eq!(read_only.may_act(&headers(&[])).map_err(|(status, _)| status.as_u16()), Err(405));
    }

    #[test]
    fn another_site_does_not_act_even_with_the_token() {
        for other in [
            [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")],
            [("origin", "http://127.0.0.1:9999"), ("sec-fetch-site", "same-site")],
            [("origin", "null"), ("sec-fetch-site", "")],
            [("origin", ""), ("sec-fetch-site", "cross-site")],
            [("host", "rebound.example:8080"), ("origin", "http://rebound.example:8080")],
            [("host", "localhost.evil.example"), ("origin", "http://localhost.evil.example")],
            [("host", "127.0.0.1.evil.example"), ("origin", "http://127.0.0.1.evil.example")],
        ] {
            assert_eq!(status(&other), 403, "{other:?}");
        }
        for kind in ["", "text/plain", "application/x-www-form-urlencoded"] {
            assert_eq!(status(&[("content-type", kind)]), 415, "what a form can send: {kind}");
        }
    }

    #[test]
    fn a_page_of_this_machine_is_not_shown_by_a_foreign_name() {
        let look = |host: &str, address: &str| {
            let address = address.parse().expect("an address");
            guard().may_look(&headers(&[("host", host)]), address).is_ok()
        };
        for host in ["127.0.0.1:8080", "localhost:8080", "podturn.localhost", "[::1]", "10.1.2.3", "ci.example:443", ""]
        {
            assert!(look(host, "127.0.0.1:8080"), "{host}");
        }
        assert!(!look("rebound.example:8080", "127.0.0.1:8080") && !look("rebound.example", "[::1]:8080"));
        assert!(look("podturn.ci.svc:8080", "10.1.2.3:8080"), "whoever listens for others is found by their names");
    }

    #[test]
    fn a_token_that_could_be_guessed_is_none() {
        for weak in ["", "short", "with spaces in the middle", "ünsichtbar-und-lang"] {
            assert!(Guard::new(Some(weak), Vec::new()).is_err(), "{weak}");
        }
        let guard = Guard::new(Some(" correct-horse-battery\n"), Vec::new()).expect("a file ends with a newline");
        assert!(guard.acts() && guard.may_act(&headers(&[])).is_ok());
        assert!(!format!("{guard:?}").contains("horse"), "it is not for logs");
    }
}
