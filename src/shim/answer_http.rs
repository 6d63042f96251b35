//! Requests and answers of HTTP (RFC 9112) as a probe needs them. Pure.

use crate::wait_network::{Ip, Url};
use podturn_wire::json::digits;

/// Room for a request.
pub(crate) const REQUEST_MAX: usize = 16 * 1024;

/// As many times is a redirection followed, as by the kubelet (`net/http` of Go).
pub(crate) const REDIRECTIONS_MAX: usize = 10;

/// The fields that a request has anyhow, unless the probe's own say otherwise. Servers know the kubelet by its name.
const FIELDS: [&[u8]; 3] = [b"User-Agent: kube-probe/podturn", b"Accept: */*", b"Connection: close"];

/// A text that is put together in a buffer.
struct Draft<'b> {
    buffer: &'b mut [u8],
    length: usize,
    fits: bool,
}

impl Draft<'_> {
    fn add(&mut self, part: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + part.len()) {
            Some(place) => {
                place.copy_from_slice(part);
                self.length += part.len();
            }
            None => self.fits = false,
        }
    }
}

/// Writes a request for `target`, and returns its length; `None`: it does not fit. `ip`: whom `pod` means.
pub(crate) fn request(url: &Url<'_>, target: &[u8], ip: Ip, headers: &[&[u8]], buffer: &mut [u8]) -> Option<usize> {
    let mut draft = Draft { buffer, length: 0, fits: true };
    let slash: &[u8] = if target.first() == Some(&b'/') { b"" } else { b"/" };
    for part in [b"GET ", slash, target, b" HTTP/1.1\r\n"] {
        draft.add(part);
    }
    if !headers.iter().any(|header| is_same_field(header, b"Host:")) {
        draft.add(b"Host: ");
        match url.host.strip_prefix(b"pod") {
            Some(port) => {
                write_ip(ip, &mut draft);
                draft.add(port);
            }
            None => draft.add(url.host),
        }
        draft.add(b"\r\n");
    }
    let own = FIELDS.iter().filter(|field| !headers.iter().any(|header| is_same_field(header, field)));
    for line in own.chain(headers) {
        draft.add(line);
        draft.add(b"\r\n");
    }
    draft.add(b"\r\n");
    draft.fits.then_some(draft.length)
}

/// Whether two lines begin with the same field name.
fn is_same_field(a: &[u8], b: &[u8]) -> bool {
    let name = |line: &[u8]| line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let (a, b) = (&a[..name(a)], &b[..name(b)]);
    a.eq_ignore_ascii_case(b)
}

fn write_ip(ip: Ip, draft: &mut Draft<'_>) {
    match ip {
        Ip::V4(octets) => {
            for (at, octet) in octets.into_iter().enumerate() {
                draft.add(if at == 0 { b"" } else { b"." });
                draft.add(digits(u64::from(octet)).as_str().as_bytes());
            }
        }
        Ip::V6(octets) => {
            for (at, octet) in octets.into_iter().enumerate() {
                draft.add(match at {
                    0 => b"[",
                    _ if at % 2 == 0 => b":",
                    _ => b"",
                });
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value & 15)];
                draft.add(&[digit(octet >> 4), digit(octet)]);
            }
            draft.add(b"]");
        }
    }
}

/// Whether what was received of an answer has all of its head.
pub(crate) fn is_whole(answer: &[u8]) -> bool {
    answer.windows(4).any(|end| end == b"\r\n\r\n")
}

/// The path to which an answer of `ip` redirects, if that is one of the same server.
pub(crate) fn redirection<'a>(answer: &'a [u8], url: &Url<'_>, ip: Ip) -> Option<&'a [u8]> {
    let mut lines = answer.split(|byte| *byte == b'\n').skip(1);
    let line = lines.find(|line| is_same_field(line, b"Location:"))?;
    let value = line.get(b"Location:".len()..)?.trim_ascii();
    if value.first() == Some(&b'/') && value.get(1) != Some(&b'/') {
        return Some(value);
    }
    let there = Url::parse(value)?;
    let is_same = there.server.port == url.server.port && there.server.addresses.contains(&Some(ip));
    is_same.then_some(there.target)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::String;

    use super::*;
    use crate::wait_network::Server;

    fn url(text: &str) -> Url<'_> {
        Url::parse_with(text.as_bytes(), Server::parse_or_pod).expect("a URL")
    }

    fn lines(of: &str, ip: Ip, headers: &[&[u8]]) -> String {
        let (url, mut buffer) = (url(of), [0; REQUEST_MAX]);
        let length = request(&url, url.target, ip, headers, &mut buffer).expect("it fits");
        String::from_utf8_lossy(&buffer[..length]).replace("\r\n", "|")
    }

    #[test]
    fn a_request_is_the_kubelets() {
        let own = "User-Agent: kube-probe/podturn|Accept: */*|Connection: close";
        let v4 = Ip::V4([10, 0, 0, 7]);
        assert_eq!(
            lines("http://pod:8080/healthz?full", v4, &[]),
            std::format!("GET /healthz?full HTTP/1.1|Host: 10.0.0.7:8080|{own}||")
        );
        let mut octets = [0; 16];
        (octets[0], octets[1], octets[15]) = (0xfd, 0x0a, 1);
        assert_eq!(
            lines("http://pod", Ip::V6(octets), &[]),
            std::format!("GET / HTTP/1.1|Host: [fd0a:0000:0000:0000:0000:0000:0000:0001]|{own}||")
        );
        assert_eq!(
            lines("http://localhost:1/", v4, &[b"host: shop", b"ACCEPT:text/plain", b"X-Y: z"]),
            "GET / HTTP/1.1|User-Agent: kube-probe/podturn|Connection: close|host: shop|ACCEPT:text/plain|X-Y: z||"
        );
        let long = [b'x'; REQUEST_MAX];
        assert_eq!(request(&url("http://pod/"), b"/", v4, &[&long], &mut [0; REQUEST_MAX]), None);
    }

    #[test]
    fn a_redirection_stays_on_its_server() {
        for (location, target) in [
            ("Location: /login?x", Some("/login?x")),
            ("location:http://10.0.0.7:80/a", Some("/a")),
            ("LOCATION:  http://10.0.0.7 ", Some("")),
            ("Location: http://10.0.0.7:8080/a", None),
            ("Location: http://10.0.0.8/a", None),
            ("Location: https://10.0.0.7/a", None),
            ("Location: http://shop/a", None),
            ("Location: //elsewhere/a", None),
            ("X-Location: /a", None),
        ] {
            let answer = std::format!("HTTP/1.1 302 Found\r\nServer: x\r\n{location}\r\n\r\n");
            assert!(is_whole(answer.as_bytes()) && !is_whole(&answer.as_bytes()[..answer.len() - 1]));
            let found = redirection(answer.as_bytes(), &url("http://pod:80/"), Ip::V4([10, 0, 0, 7]));
            assert_eq!(found, target.map(str::as_bytes), "{location}");
        }
    }
}
