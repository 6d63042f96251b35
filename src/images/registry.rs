//! Images in registries: manifests and configurations over the distribution API, nothing else of an image.
//!
//! Belongs here: where to ask, in which order, with which credentials and trust, and what a refusal means. Does not belong
//! here: the API itself (`oci-client`), and how the configuration files look (`hosts`, `credentials`).

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::io::AsyncWrite;

use super::credentials::{self, Credentials};
use super::document::{self, DEPTH_MAX, DOCUMENT_MAX, Descriptor, Next, Wanted};
use super::failure::{Failure, Kind};
use super::hosts::{self, Endpoint, Places, Registries};
use super::runs::Runs;
use super::tls::{self, Cause};

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How many of a repository's tags are shown where the one that was asked for is not there.
const TAGS_SHOWN: usize = 10;

/// What may be asked for in answer to a request for a manifest.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// How registries are asked.
pub(super) struct Settings<'a> {
    pub(super) places: &'a Places,
    /// `--tls-verify=false`: certificates are not checked, and there may be no TLS at all.
    pub(super) is_insecure: bool,
    /// For one image, from everything that is asked for it.
    pub(super) limit: Duration,
}

/// How one host is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Tls,
    UnverifiedTls,
    Plain,
}

/// Reads one image: from the first mirror that has it, else from the registry itself.
pub(super) async fn read(reference: &str, wanted: &Wanted, settings: &Settings<'_>) -> Result<Runs, Failure> {
    tls::initialise();
    let image = parse(reference)?;
    let registries = Registries::read(settings.places)?;
    let name = format!("{}/{}", image.registry(), image.repository());
    let endpoints = registries.endpoints(&name, image.digest().is_some())?;
    let mut failures: Vec<Failure> = Vec::new();
    for endpoint in &endpoints {
        let there = located(&image, &endpoint.location)?;
        let asked = tokio::time::timeout(settings.limit, ask(&there, endpoint, wanted, settings)).await;
        match asked.unwrap_or_else(|_| Err(too_slow(&there, settings.limit))) {
            Ok(runs) => return Ok(runs),
            Err(failure) => failures.push(failure),
        }
    }
    let last = failures.pop().expect("there is the registry itself, if no mirror");
    let mirrors: Vec<String> = failures.iter().map(|failure| failure.why.clone()).collect();
    if mirrors.is_empty() {
        return Err(last);
    }
    Err(Failure { why: format!("{} (mirrors before it: {})", last.why, mirrors.join("; ")), ..last })
}

/// Reads a reference as container tools do: a short name means what it means to them.
pub(super) fn parse(reference: &str) -> Result<Reference, Failure> {
    reference.parse().map_err(|error| {
        let failure = Failure::new(Kind::BadReference, format!("this is no image reference: {error}"));
        failure.help("it looks like registry.example/team/app:1.2 or .../app@sha256:...")
    })
}

/// The same tag and digest of another repository.
fn located(image: &Reference, location: &str) -> Result<Reference, Failure> {
    let tag = image.tag().map_or(String::new(), |tag| format!(":{tag}"));
    let digest = image.digest().map_or(String::new(), |digest| format!("@{digest}"));
    parse(&format!("{location}{tag}{digest}"))
}

async fn ask(
    image: &Reference,
    endpoint: &Endpoint,
    wanted: &Wanted,
    settings: &Settings<'_>,
) -> Result<Runs, Failure> {
    let host = image.resolve_registry();
    let credentials = credentials::find(settings.places, image.registry(), host, image.repository()).await?;
    let authorities = hosts::authorities(settings.places, image.registry())?;
    let manners: &[Manner] = match (settings.is_insecure || endpoint.is_insecure, is_loopback(host)) {
        (true, _) => &[Manner::UnverifiedTls, Manner::Plain],
        (false, true) => &[Manner::Tls, Manner::Plain],
        (false, false) => &[Manner::Tls],
    };
    let auth = credentials.as_ref().map_or(RegistryAuth::Anonymous, |credentials| {
        RegistryAuth::Basic(credentials.user.clone(), credentials.password.clone())
    });
    let (&last, others) = manners.split_last().expect("there is a manner");
    for &manner in others {
        match fetch(&client(manner, &authorities, settings.limit)?, image, &auth, wanted).await {
            // Only a server that speaks no TLS is asked without: a bad certificate is no reason to.
            Err(Problem::Protocol(error)) if speaks_no_tls(&error) => {}
            result => return result.map_err(|problem| explain(problem, image, credentials.as_ref(), manner)),
        }
    }
    let result = fetch(&client(last, &authorities, settings.limit)?, image, &auth, wanted).await;
    result.map_err(|problem| explain(problem, image, credentials.as_ref(), last))
}

fn client(manner: Manner, authorities: &[Vec<u8>], limit: Duration) -> Result<Client, Failure> {
    let certificate = |data: &Vec<u8>| Certificate { encoding: CertificateEncoding::Pem, data: data.clone() };
    let config = ClientConfig {
        protocol: if manner == Manner::Plain { ClientProtocol::Http } else { ClientProtocol::Https },
        // Without TLS there is nothing to verify, and no need for the system's certificates to be there.
        accept_invalid_certificates: manner != Manner::Tls,
        extra_root_certificates: authorities.iter().map(certificate).collect(),
        platform_resolver: None,
        connect_timeout: Some(CONNECT_LIMIT.min(limit)),
        read_timeout: Some(limit),
        user_agent: concat!("podturn/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config).map_err(|error| {
        let why = format!("TLS cannot be set up: {}", deepest(&error));
        Failure::new(Kind::Configuration, why).help("are ca-certificates installed, and is each *.crt in certs.d PEM?")
    })
}

/// What went wrong: the protocol's words, or ours.
enum Problem {
    Protocol(OciDistributionError),
    Failure(Failure),
}

impl From<OciDistributionError> for Problem {
    fn from(error: OciDistributionError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn fetch(client: &Client, image: &Reference, auth: &RegistryAuth, wanted: &Wanted) -> Result<Runs, Problem> {
    // Asked by itself, since a later request would go out without a token and hide why there is none.
    client.auth(image, auth, RegistryOperation::Pull).await?;
    let (mut bytes, digest) = match client.pull_manifest_raw(image, auth, &MANIFESTS).await {
        Err(error) if is_missing(&error) => return Err(missing(client, image, auth, error).await),
        result => result?,
    };
    for _ in 0..DEPTH_MAX {
        if bytes.len() > DOCUMENT_MAX {
            return Err(Failure::new(Kind::Broken, format!("its manifest has more than {DOCUMENT_MAX} bytes")).into());
        }
        match document::next(&bytes, wanted)? {
            Next::Manifest(next) => {
                let next = image.clone_with_digest(next.digest);
                bytes = client.pull_manifest_raw(&next, auth, &MANIFESTS).await?.0;
            }
            Next::Config(config) => {
                let runs = document::runs(&blob(client, image, &config).await?, wanted)?;
                return Ok(Runs { digest: Some(digest), ..runs });
            }
        }
    }
    Err(Failure::new(Kind::Broken, "its indexes lead to more indexes").into())
}

fn is_missing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.first().is_some_and(|error| {
            matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
        }),
        _ => false,
    }
}

/// Registries answer alike whether the tag or the whole repository is missing; the list of tags tells them apart.
async fn missing(client: &Client, image: &Reference, auth: &RegistryAuth, error: OciDistributionError) -> Problem {
    let host = image.resolve_registry();
    match client.list_tags(image, auth, Some(TAGS_SHOWN), None).await {
        Ok(mut listed) if image.digest().is_none() => {
            listed.tags.truncate(TAGS_SHOWN);
            not_there(host, image, &listed.tags).into()
        }
        Err(list_error) if is_missing(&list_error) => no_repository(host, image).into(),
        _ => error.into(),
    }
}

async fn blob(client: &Client, image: &Reference, config: &Descriptor) -> Result<Vec<u8>, Problem> {
    let mut bounded = Bounded(Vec::new());
    client.pull_blob(image, config.digest.as_str(), &mut bounded).await?;
    Ok(bounded.0)
}

/// Memory that takes no more than a document can have, whatever a server sends.
struct Bounded(Vec<u8>);

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.0.len() + bytes.len() > DOCUMENT_MAX {
            return Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge)));
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Whether a host is this machine, where nobody listens in: docker and podman allow plain HTTP there too.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

fn speaks_no_tls(error: &OciDistributionError) -> bool {
    tls::cause(error) == Cause::Plain
}

fn too_slow(image: &Reference, limit: Duration) -> Failure {
    let why = format!("{} did not answer within {} s", image.resolve_registry(), limit.as_secs_f64());
    Failure::new(Kind::Unreachable, why).help("--timeout 2m waits longer; --from chooses another source")
}

/// Makes a sentence of what a registry, or the way to it, answered.
fn explain(problem: Problem, image: &Reference, credentials: Option<&Credentials>, manner: Manner) -> Failure {
    let error = match problem {
        Problem::Failure(failure) => return failure,
        Problem::Protocol(error) => error,
    };
    let host = image.resolve_registry();
    match &error {
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            denied(host, 401, credentials)
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            match envelope.errors.first().map(|error| &error.code) {
                Some(OciErrorCode::Denied | OciErrorCode::Unauthorized) => denied(host, 403, credentials),
                Some(OciErrorCode::Toomanyrequests) => too_many(host),

                Some(OciErrorCode::NameUnknown | OciErrorCode::ManifestUnknown | OciErrorCode::NotFound) => {
                    not_there(host, image, &[])
                }
                code => {
                    let said = envelope.errors.first().map(|error| error.message.as_str()).unwrap_or_default();
                    Failure::new(Kind::Broken, format!("{host} refuses: {code:?} {said}"))
                }
            }
        }
        OciDistributionError::ServerError { code, message, .. } => match code {
            401 | 403 => denied(host, *code, credentials),
            404 => not_there(host, image, &[]),
            429 => too_many(host),
            _ => {
                let said: String = message.chars().filter(|c| !c.is_control()).take(120).collect();
                Failure::new(Kind::Unreachable, format!("{host} answers {code}: {}", said.trim()))
            }
        },
        OciDistributionError::RequestError(request) if request.is_timeout() => {
            Failure::new(Kind::Unreachable, format!("{host} does not answer")).help("is the address right, and up?")
        }
        OciDistributionError::RequestError(_) => no_connection(&error, host, manner),
        OciDistributionError::DigestError(error) => {
            Failure::new(Kind::Broken, format!("what {host} sends is not what its digest says: {error}"))
        }
        other => Failure::new(Kind::Broken, format!("{host} does not answer as a registry does: {other}")),
    }
}

fn denied(host: &str, code: u16, credentials: Option<&Credentials>) -> Failure {
    match credentials {
        Some(credentials) => {
            let (user, from) = (&credentials.user, &credentials.from);
            let why = format!("{host} does not let user \"{user}\" read it ({code}; password from {from})");
            Failure::new(Kind::Denied, why)
                .help(format!("podman login {host} (or docker login), with a user who may pull it; is the name right?"))
        }
        None => Failure::new(Kind::Denied, format!("{host} wants a password ({code}), and none is known for it")).help(
            format!("podman login {host} (or docker login); some registries say this of names that do not exist"),
        ),
    }
}

fn too_many(host: &str) -> Failure {
    Failure::new(Kind::Unreachable, format!("{host} wants fewer requests (429)")).help(
        "log in, wait, or keep what was read in a file: podturn resolve IMAGE... > images.yaml, --from map:images.yaml",
    )
}

fn no_repository(host: &str, image: &Reference) -> Failure {
    Failure::new(Kind::NotThere, format!("{host} has no repository {} (404)", image.repository()))
        .help("is the name right? some registries say this to those who may not see it, too")
}

fn not_there(host: &str, image: &Reference, tags: &[String]) -> Failure {
    let what = match (image.digest(), image.tag()) {
        (Some(digest), _) => digest.to_owned(),
        (None, tag) => format!("tag \"{}\"", tag.unwrap_or("latest")),
    };
    let failure = Failure::new(Kind::NotThere, format!("{host} has no {what} in {} (404)", image.repository()));
    match tags {
        [] => failure.help("is it pushed, and is the name right?"),
        _ => failure.help(format!("its tags are {}", tags.join(", "))),
    }
}

fn no_connection(error: &OciDistributionError, host: &str, manner: Manner) -> Failure {
    match tls::cause(error) {
        Cause::Certificate(why) => {
            Failure::new(Kind::Untrusted, format!("the certificate of {host} is not trusted: {why}")).help(format!(
                "put the authority's certificate into ~/.config/containers/certs.d/{host}/ca.crt (or --cert-dir DIR); \
                 --tls-verify=false trusts anybody"
            ))
        }
        Cause::Plain => Failure::new(Kind::Untrusted, format!("{host} does not speak TLS"))
            .help("--tls-verify=false, or insecure = true in registries.conf, allows plain HTTP"),
        Cause::Connection(why) => {
            let way = if manner == Manner::Plain { "HTTP" } else { "HTTPS" };
            Failure::new(Kind::Unreachable, format!("{host} cannot be reached by {way}: {why}"))
                .help("is the address right, is the network there, is a proxy needed (HTTPS_PROXY)?")
        }
    }
}

fn deepest(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.0.1", "[::1]:5000", "a.localhost:1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example", "localhost.example:5000", "10.0.0.1:5000", "127.0.0.1.example", "[fe80::1]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
