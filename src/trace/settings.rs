//! What the standard variables ask for.
//!
//! Sources: <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/> and
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>. Traces are sent when an endpoint is set, or `OTEL_TRACES_EXPORTER` is
//! `otlp`; an empty variable counts as none. What is asked for and cannot be is said: where it would not be the same trace, or not be taken,
//! nothing is sent; else it is passed over, as the specification has it.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// The endpoint where `OTEL_TRACES_EXPORTER` alone asks for traces.
const ENDPOINT: &str = "http://localhost:4318";

/// What is said of an endpoint that is none.
const NO_ADDRESS: &str = "it is no address such as http://localhost:4318";

/// Which exporters there are.
const HAS: &str = "podturn has otlp and none";

/// How long the sending may take if nothing else is asked for: a pod's end waits for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How long it may take at most.
const TIMEOUT_MOST: Duration = Duration::from_secs(10);

/// Where to send traces, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The whole address.
    pub endpoint: Uri,
    /// What is sent along.
    pub headers: HeaderMap,
    /// How long all of it may take.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`, or `service.name`, or podturn.
    pub service: String,
    /// `OTEL_RESOURCE_ATTRIBUTES`, without the service.
    pub resource: Vec<(String, String)>,
    /// What was asked for and is passed over, each a sentence.
    pub passed_over: Vec<String>,
}

/// Why nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAsked {
    /// Nobody wants traces.
    Quiet,
    /// Somebody does, and this is what is in the way.
    Impossible(String),
}

impl Settings {
    /// Reads the variables. `variable`: the value of one.
    ///
    /// # Errors
    /// Why there are none.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, NotAsked> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let of_traces = |name: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
            names.into_iter().find_map(|name| set(&name).map(|value| (name, value)))
        };
        let mut passed_over = Vec::new();
        let mut pass_over = |name: &str, value: &str, why: &str| passed_over.push(said(name, value, why));
        match set("OTEL_SDK_DISABLED") {
            Some(value) if value.eq_ignore_ascii_case("true") => return Err(NotAsked::Quiet),
            Some(value) if !value.eq_ignore_ascii_case("false") => {
                pass_over("OTEL_SDK_DISABLED", &value, "it is true or false");
            }
            _ => {}
        }
        let exporter = set("OTEL_TRACES_EXPORTER");
        if let Some(list) = &exporter {
            let names = || list.split(',').map(str::trim).filter(|name| !name.is_empty());
            if names().all(|name| name == "none") {
                return Err(NotAsked::Quiet);
            }
            if names().all(|name| name != "otlp") {
                return Err(impossible("OTEL_TRACES_EXPORTER", list, HAS));
            }
            if names().any(|name| name != "otlp") {
                pass_over("OTEL_TRACES_EXPORTER", list, HAS);
            }
        }
        match set("OTEL_TRACES_SAMPLER").as_deref() {
            Some("always_off") => return Err(NotAsked::Quiet),
            None | Some("parentbased_always_on") => {}
            Some(other) => {
                pass_over("OTEL_TRACES_SAMPLER", other, "podturn has parentbased_always_on and always_off");
            }
        }
        let named = of_traces("ENDPOINT");
        if named.is_none() && exporter.is_none() {
            return Err(NotAsked::Quiet);
        }
        if let Some((name, protocol)) = of_traces("PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
            return Err(impossible(&name, &protocol, "podturn has http/protobuf"));
        }
        let (name, address) = named.unwrap_or_else(|| ("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(), ENDPOINT.to_owned()));
        let endpoint = endpoint(&name, &address)?;
        let headers =
            of_traces("HEADERS").map_or_else(|| Ok(HeaderMap::new()), |(name, list)| headers(&name, &list))?;
        match of_traces("COMPRESSION") {
            Some((name, value)) if value != "none" => pass_over(&name, &value, "podturn sends as it is"),
            _ => {}
        }
        let mut timeout = TIMEOUT;
        if let Some((name, value)) = of_traces("TIMEOUT") {
            match value.parse() {
                Ok(ms) => timeout = Duration::from_millis(ms).min(TIMEOUT_MOST),
                Err(_) => pass_over(&name, &value, "it is a number of milliseconds"),
            }
        }
        let mut resource = Vec::new();
        if let Some(list) = set("OTEL_RESOURCE_ATTRIBUTES") {
            resource = pairs(&list);
            if list.split(',').any(|pair| !pair.trim().is_empty() && !pair.contains('=')) {
                pass_over("OTEL_RESOURCE_ATTRIBUTES", &list, "it is name=value,name=value, and is left out whole");
                resource.clear();
            }
        }
        let is_service = |(key, _): &(String, String)| key == "service.name";
        let service = set("OTEL_SERVICE_NAME");
        let service = service.or_else(|| resource.iter().find(|pair| is_service(pair)).map(|(_, name)| name.clone()));
        resource.retain(|pair| !is_service(pair));
        let service = service.unwrap_or_else(|| "podturn".to_owned());
        Ok(Self { endpoint, headers, timeout, service, resource, passed_over })
    }
}

fn said(name: &str, value: &str, why: &str) -> String {
    format!("{name} is {value:?}: {why}")
}

fn impossible(name: &str, value: &str, why: &str) -> NotAsked {
    NotAsked::Impossible(said(name, value, why))
}

/// That of traces is the whole address, that of everything gets the path of traces.
fn endpoint(name: &str, address: &str) -> Result<Uri, NotAsked> {
    if address.contains('@') {
        // It would be in each message about the address, this one too.
        let why =
            "has a user in it, and perhaps a password, that podturn does not send: OTEL_EXPORTER_OTLP_HEADERS does";
        return Err(NotAsked::Impossible(format!("{name} {why}")));
    }
    let whole = if name.contains("_TRACES_") {
        address.to_owned()
    } else {
        format!("{}/v1/traces", address.trim_end_matches('/'))
    };
    let endpoint: Uri = whole.parse().map_err(|_| impossible(name, address, NO_ADDRESS))?;
    match endpoint.scheme_str() {
        Some("http") if endpoint.host().is_some_and(|host| !host.is_empty()) => Ok(endpoint),
        Some("https") => Err(impossible(
            name,
            address,
            "podturn has no TLS; send to a collector beside the pod or on the node, over http, which sends on",
        )),
        _ => Err(impossible(name, address, NO_ADDRESS)),
    }
}

/// `name=value,name=value`, with values percent-encoded. What is none is left out, as the specification has it.
fn pairs(list: &str) -> Vec<(String, String)> {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), decoded(value.trim())))
        .filter(|(key, _)| !key.is_empty())
        .collect()
}

fn headers(name: &str, list: &str) -> Result<HeaderMap, NotAsked> {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs(list) {
        // Not the value: it may be a password.
        let wrong = || NotAsked::Impossible(format!("{name} has a header {key:?} that is none"));
        let key = key.parse::<HeaderName>().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

/// `%20` and the like; what is none of these stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..2).filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, NotAsked> {
        Settings::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    const ALL: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn traces_are_sent_only_where_somebody_asks_for_them() {
        for quiet in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[ALL, ("OTEL_SDK_DISABLED", "TRUE")],
            &[ALL, ("OTEL_TRACES_EXPORTER", "none")],
            &[ALL, ("OTEL_TRACES_SAMPLER", "always_off")],
        ] {
            assert_eq!(read(quiet).err(), Some(NotAsked::Quiet), "{quiet:?}");
        }
        let endpoint = |variables: &[(&str, &str)]| read(variables).expect("they ask for it").endpoint.to_string();
        assert_eq!(endpoint(&[ALL]), "http://collector:4318/v1/traces");
        assert_eq!(endpoint(&[ALL, ("OTEL_SDK_DISABLED", "no")]), "http://collector:4318/v1/traces");
        assert_eq!(endpoint(&[("OTEL_TRACES_EXPORTER", "otlp")]), "http://localhost:4318/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:99/there");
        assert_eq!(endpoint(&[ALL, own]), "http://[::1]:99/there", "that of traces is the whole address");
    }

    #[test]
    fn what_cannot_be_is_said_by_name() {
        for (variables, said) in [
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318")][..], "podturn has no TLS"),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318")], NO_ADDRESS),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a b")], NO_ADDRESS),
            (
                &[ALL, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
                "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\": podturn has http/protobuf",
            ),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@c:4318")],
                "OTEL_EXPORTER_OTLP_ENDPOINT has a user in it",
            ),
            (&[ALL, ("OTEL_TRACES_EXPORTER", "zipkin")], "podturn has otlp and none"),
            (&[ALL, ("OTEL_TRACES_EXPORTER", "console,zipkin")], "podturn has otlp and none"),
            (&[ALL, ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret")], "has a header \"a b\" that is none"),
        ] {
            let Err(NotAsked::Impossible(why)) = read(variables) else { panic!("{variables:?}") };
            assert!(why.contains(said) && !why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn what_is_passed_over_is_said_and_the_trace_is_sent() {
        for (variable, value, said) in [
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5s", "a number of milliseconds"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip", "podturn sends as it is"),
            ("OTEL_TRACES_EXPORTER", "console,otlp", "podturn has otlp and none"),
            ("OTEL_TRACES_SAMPLER", "traceidratio", "parentbased_always_on and always_off"),
            ("OTEL_SDK_DISABLED", "1", "true or false"),
            ("OTEL_RESOURCE_ATTRIBUTES", "team=a,b", "left out whole"),
        ] {
            let settings = read(&[ALL, (variable, value)]).expect("it is sent all the same");
            let [why] = settings.passed_over.as_slice() else { panic!("{variable}: {:?}", settings.passed_over) };
            assert!(why.starts_with(&format!("{variable} is {value:?}: ")) && why.contains(said), "{why}");
            assert!(settings.timeout == TIMEOUT && settings.resource.is_empty(), "{settings:?}");
        }
        let usual = [
            ALL,
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
            ("OTEL_SDK_DISABLED", "False"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", ""),
        ];
        assert_eq!(read(&usual).expect("it is sent").passed_over, [""; 0]);
    }

    #[test]
    fn headers_and_attributes_are_lists_of_encoded_values() {
        let settings = read(&[
            ALL,
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc%3D, x-scope=a=b,,nothing"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine, k8s.pod.name=p-1,team=a%2Cb%zz"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"),
        ])
        .expect("they ask for it");
        assert_eq!(settings.headers["authorization"], "Bearer abc=");
        assert_eq!(settings.headers["x-scope"], "a=b");
        assert_eq!(settings.service, "mine");
        let resource =
            [("k8s.pod.name", "p-1"), ("team", "a,b%zz")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(settings.resource, resource);
        assert_eq!(settings.timeout, TIMEOUT_MOST, "no longer, whatever is asked for");
        let named = [ALL, ("OTEL_SERVICE_NAME", "better"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")];
        assert_eq!(read(&named).expect("they ask for it").service, "better");
    }
}
