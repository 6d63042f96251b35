//! Where a redirect leads: `Location` against the address that was asked (RFC 9110, 10.2.2; RFC 3986, 5.2).

use hyper::Uri;

/// An address that is asked by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) https: bool,
    /// Without brackets; empty: the pod itself.
    pub(super) host: String,
    pub(super) port: u16,
    /// With its query, and a leading `/`.
    pub(super) path: String,
}

impl Url {
    /// The value of `Host`, and of `:authority`.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Where `location` leads from here; and whether it names no host of its own.
    pub(super) fn join(&self, location: &str) -> Result<(Self, bool), String> {
        let location = location.split('#').next().unwrap_or_default();
        let scheme = if self.https { "https" } else { "http" };
        let is_relative = !location.starts_with("//") && !has_scheme(location);
        if is_relative {
            return Ok((Self { path: self.path_of(location), ..self.clone() }, true));
        }
        let absolute = if has_scheme(location) { location.to_owned() } else { format!("{scheme}:{location}") };
        let uri: Uri = escaped(&absolute).parse().map_err(|error| format!("a redirect to {location:?}: {error}"))?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("a redirect to {location:?}, which is not HTTP")),
        };
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok((Self { https, host, port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }), path }, false))
    }

    fn path_of(&self, location: &str) -> String {
        let here = self.path.split('?').next().unwrap_or_default();
        let (path, query) = location.split_once('?').map_or((location, None), |(path, query)| (path, Some(query)));
        let path = match path {
            "" => here.to_owned(),
            _ if path.starts_with('/') => without_dots(path),
            _ => without_dots(&format!("{}{path}", &here[..=here.rfind('/').unwrap_or_default()])),
        };
        match query {
            Some(query) => format!("{path}?{query}"),
            None if location.is_empty() => self.path.clone(),
            None => path,
        }
    }
}

/// `scheme:` at the beginning (RFC 3986, 3.1).
fn has_scheme(location: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    location.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
}

/// RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for segment in &segments {
        match *segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    if matches!(segments.last(), Some(&("." | ".."))) {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// What cannot stand in a request line as it is, percent-encoded (RFC 3986, 2.1).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_leads_from_where_it_was_found() {
        let here = Url { https: false, host: "127.0.0.1".to_owned(), port: 8080, path: "/a/b/c?first=1".to_owned() };
        let shown =
            |url: &Url| format!("{}://{}{}", if url.https { "https" } else { "http" }, url.authority(), url.path);
        let table = [
            ("/login", "http://127.0.0.1:8080/login"),
            ("d", "http://127.0.0.1:8080/a/b/d"),
            ("../d?x=y", "http://127.0.0.1:8080/a/d?x=y"),
            ("./", "http://127.0.0.1:8080/a/b/"),
            ("../../../..", "http://127.0.0.1:8080/"),
            ("?second=2", "http://127.0.0.1:8080/a/b/c?second=2"),
            ("", "http://127.0.0.1:8080/a/b/c?first=1"),
            ("/at:noon", "http://127.0.0.1:8080/at:noon"),
            ("/#fragment", "http://127.0.0.1:8080/"),
            ("//127.0.0.1:9/x", "http://127.0.0.1:9/x"),
            ("https://127.0.0.1/x y", "https://127.0.0.1:443/x%20y"),
            ("HTTP://db.example", "http://db.example:80/"),
            ("http://[::1]:5/", "http://[::1]:5/"),
        ];
        for (location, leads_to) in table {
            assert_eq!(here.join(location).map(|(url, _)| shown(&url)).as_deref(), Ok(leads_to), "{location}");
        }
        for broken in ["ftp://127.0.0.1/", "http://", "mailto:x"] {
            assert!(here.join(broken).is_err(), "{broken}");
        }
    }
}
