//! Servers and pages as `--tcp` and `--http` name them, and what HTTP needs of both directions (RFC 9112). Pure.

use podturn_wire::json::decimal;

/// The longest URL: it fits its request.
const URL_MAX: usize = 1024;

/// Room for a request.
pub(crate) const REQUEST_MAX: usize = 2 * URL_MAX + 128;

/// The bytes of an answer that have to be known: `HTTP/1.1 200`.
pub(crate) const STATUS_LENGTH: usize = 12;

/// An address of the Internet Protocol. (core::net's reader of these would be a tenth of the whole shim.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    V4([u8; 4]),
    V6([u8; 16]),
}

pub(crate) const LOCALHOST_4: Ip = Ip::V4([127, 0, 0, 1]);
pub(crate) const LOCALHOST_6: Ip = Ip::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

impl Ip {
    /// Reads `10.0.0.1` or `[::1]`: in brackets, so that its colons are not the port's.
    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            [b'[', inner @ .., b']'] => v6(inner).map(Self::V6),
            _ => v4(text).map(Self::V4),
        }
    }
}

fn v4(text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 1 || part.first() != Some(&b'0'))?; // 010 is 8 to some
        *octet = u8::try_from(decimal(part)?).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// Groups of up to four hex digits, and once `::` for as many zeros as are missing (RFC 4291 section 2.2, without its
/// third form, which ends with an IPv4 address).
fn v6(text: &[u8]) -> Option<[u8; 16]> {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let (before, after) = gap.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 2..]));
    let (mut front, mut back) = ([0; 16], [0; 16]);
    let (first, last) = (groups(before, &mut front)?, groups(after, &mut back)?);
    if gap.map_or(first != 16, |_| first + last > 14) {
        return None;
    }
    front[16 - last..].copy_from_slice(&back[..last]);
    Some(front)
}

/// Writes the groups' bytes and returns how many.
fn groups(text: &[u8], bytes: &mut [u8; 16]) -> Option<usize> {
    let mut length = 0;
    if text.is_empty() {
        return Some(0);
    }
    for group in text.split(|byte| *byte == b':') {
        let place = bytes.get_mut(length..length + 2).filter(|_| (1..=4).contains(&group.len()))?;
        let digit = |sum: u32, byte: &u8| char::from(*byte).to_digit(16).map(|digit| sum << 4 | digit);
        let value = group.iter().try_fold(0, digit)?;
        place.copy_from_slice(&[(value >> 8) as u8, value as u8]);
        length += 2;
    }
    Some(length)
}

/// Who is to be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Where to try, in this order; nowhere: at this pod's own address.
    pub(crate) addresses: [Option<Ip>; 2],
    pub(crate) port: u16,
}

impl Server {
    /// Also reads `pod:PORT`: whoever is asked for there is this pod, by an address that is not known here.
    pub(crate) fn parse_or_pod(text: &[u8], port: Option<u16>) -> Option<Self> {
        let Some(rest) = text.strip_prefix(b"pod") else { return Self::parse(text, port) };
        let port = match rest {
            [] => port?,
            [b':', digits @ ..] => u16::try_from(decimal(digits)?).ok().filter(|port| *port > 0)?,
            _ => return None,
        };
        Some(Self { addresses: [None; 2], port })
    }

    /// Reads `ADDR:PORT`; a port that is not there is `port`, if there is one.
    pub(crate) fn parse(text: &[u8], port: Option<u16>) -> Option<Self> {
        let colon = text.iter().rposition(|byte| *byte == b':').filter(|_| text.last() != Some(&b']'));
        let (host, port) = match colon {
            Some(at) => (&text[..at], u16::try_from(decimal(&text[at + 1..])?).ok().filter(|port| *port > 0)?),
            None => (text, port?),
        };
        let addresses = match host {
            b"localhost" => [Some(LOCALHOST_4), Some(LOCALHOST_6)],
            _ => [Some(Ip::parse(host)?), None],
        };
        Some(Self { addresses, port })
    }
}

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    pub(crate) server: Server,
    /// As it was written: what the `Host` field says.
    pub(crate) host: &'a [u8],
    /// Path and query; may be empty.
    pub(crate) target: &'a [u8],
}

impl<'a> Url<'a> {
    /// Reads `http://ADDR[:PORT][/PATH][?QUERY]`.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        Self::parse_with(text, Server::parse)
    }

    /// As [`Url::parse`], with another idea of who is meant.
    pub(crate) fn parse_with(text: &'a [u8], server: fn(&[u8], Option<u16>) -> Option<Server>) -> Option<Self> {
        let rest = text.strip_prefix(b"http://").filter(|_| text.len() <= URL_MAX)?;
        // White space, control characters and what is not ASCII are no part of a URL (RFC 3986), nor is a fragment of a request.
        if rest.iter().any(|byte| !byte.is_ascii_graphic() || *byte == b'#') {
            return None;
        }
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        Some(Self { server: server(host, Some(80))?, host, target })
    }

    /// Writes the request and returns its length.
    pub(crate) fn request(&self, buffer: &mut [u8; REQUEST_MAX]) -> usize {
        let slash: &[u8] = if self.target.first() == Some(&b'/') { b"" } else { b"/" };
        let end = b"\r\nUser-Agent: podturn-shim\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        let mut length = 0;
        for part in [b"GET ", slash, self.target, b" HTTP/1.1\r\nHost: ", self.host, end] {
            buffer[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        length
    }
}

/// The status code of an answer that begins like this. From 200 to 399 it says that the page is there.
pub(crate) fn status(answer: &[u8; STATUS_LENGTH]) -> Option<u64> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', code @ ..] = answer else { return None };
    decimal(code)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;
    use std::net::SocketAddr;
    use std::string::{String, ToString};
    use std::vec::Vec;

    use super::*;

    /// As the standard library writes it.
    fn addresses(text: &str) -> Vec<String> {
        let Some(server) = Server::parse(text.as_bytes(), None) else { return Vec::new() };
        let shown = |ip: Ip| match ip {
            Ip::V4(octets) => SocketAddr::new(octets.into(), server.port).to_string(),
            Ip::V6(octets) => SocketAddr::new(octets.into(), server.port).to_string(),
        };
        server.addresses.into_iter().flatten().map(shown).collect()
    }

    #[test]
    fn a_server_is_a_literal_address_or_localhost() {
        assert_eq!(addresses("localhost:65535"), ["127.0.0.1:65535", "[::1]:65535"]);
        for literal in ["127.0.0.1:80", "[fd00::1]:5432", "[::]:1", "[1:2:3:4:5:6:7:8]:1", "[1::8]:1", "[fe80:0:1::]:1"]
        {
            let same: SocketAddr = literal.parse().expect("an address");
            assert_eq!(addresses(literal), [same.to_string()]);
        }
        let wrong = "|:80|db:80|127.0.0.1|127.0.0.1:|127.0.0.1:0|127.0.0.1:65536|127.0.0.1:+1|::1:80|[::1]|[127.0.0.1]:80|\
                     127.1:80|127.0.0.01:80|127.0.0.256:80|1.2.3.4.5:80|LOCALHOST:80|[::1:80|[]:80|[1:2]:80|[:::]:80|\
                     [1::2::3]:80|[12345::]:80|[1:2:3:4:5:6:7:8:9]:80|[1:2:3:4::5:6:7:8]:80|[g::]:80|[:1]:80";
        for wrong in wrong.split('|') {
            assert_eq!(addresses(wrong), [""; 0], "{wrong}");
        }
    }

    fn request(url: &str) -> Option<String> {
        let mut buffer = [0; REQUEST_MAX];
        let length = Url::parse(url.as_bytes())?.request(&mut buffer);
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[test]
    fn a_url_becomes_one_request() {
        let rest = "User-Agent: podturn-shim\r\nAccept: */*\r\nConnection: close\r\n\r\n";
        for (url, line, host) in [
            ("http://localhost", "GET / HTTP/1.1", "localhost"),
            ("http://127.0.0.1:8080/healthz?full=1", "GET /healthz?full=1 HTTP/1.1", "127.0.0.1:8080"),
            ("http://[::1]?q", "GET /?q HTTP/1.1", "[::1]"),
        ] {
            assert_eq!(request(url), Some(format!("{line}\r\nHost: {host}\r\n{rest}")));
        }
        let longest = format!("http://localhost/{}", "x".repeat(URL_MAX - 17));
        assert!(request(&longest).is_some());
        for wrong in [
            "",
            "localhost/",
            "https://localhost/",
            "http://",
            "http://a@localhost/",
            "http://localhost/a b",
            "http://localhost/#a",
            "http://localhost/\r\nX: y",
            "http://db/",
            &format!("{longest}x"),
        ] {
            assert_eq!(request(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_begins_with_its_status() {
        for (line, code) in [
            (b"HTTP/1.1 200", Some(200)),
            (b"HTTP/1.0 399", Some(399)),
            (b"HTTP/1.1 503", Some(503)),
            (b"HTTP/1.1 20 ", None),
            (b"HTTP/2.0 200", None),
            (b"220 mail.exa", None),
        ] {
            assert_eq!(status(line), code, "{}", String::from_utf8_lossy(line));
        }
    }
}
