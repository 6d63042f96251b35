//! The three documents of an image: index, manifest, configuration (opencontainers/image-spec 1.1; Docker's are the same
//! but for their media types).
//!
//! Belongs here: what the bytes say and which document comes next. Does not belong here: fetching them.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use super::failure::{Failure, Kind};
use super::platform::Platform;
use super::runs::Runs;

/// The longest document that is read, in bytes: what registries accept for a manifest (distribution-spec, "Pushing
/// Manifests"). Configurations are smaller.
pub(super) const DOCUMENT_MAX: usize = 4 * 1024 * 1024;

/// How many documents may lie between a reference and its configuration. Two are usual, an index in an index makes three.
pub(super) const DEPTH_MAX: usize = 4;

/// A reference to a document by its digest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: String,
    platform: Option<PlatformField>,
    #[serde(default)]
    pub(super) annotations: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PlatformField {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u32>,
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// What has to be read after a document.
#[derive(Debug)]
pub(super) enum Next {
    /// An index or a manifest.
    Manifest(Descriptor),
    /// The configuration.
    Config(Descriptor),
}

/// The platform that is wanted, and whether a person asked for it.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) platform: Platform,
    /// Where nobody asked, an image for one platform is taken whatever that is.
    pub(super) is_asked: bool,
}

/// The entries of an index; `None` for anything else.
pub(super) fn index_entries(bytes: &[u8]) -> Option<Vec<Descriptor>> {
    serde_json::from_slice::<Document>(bytes).ok()?.manifests
}

/// What comes after an index or a manifest.
pub(super) fn next(bytes: &[u8], wanted: &Wanted) -> Result<Next, Failure> {
    let broken = |why: &str| Failure::new(Kind::Broken, why.to_owned());
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| broken(&format!("its manifest cannot be read: {error}")))?;
    if document.schema_version == Some(1) {
        return Err(broken("its manifest is of Docker's schema 1, which registries gave up in 2017")
            .help("push the image again with a newer tool"));
    }
    match (document.manifests, document.config) {
        (Some(_), Some(_)) => Err(broken("its manifest claims to be an index as well (CVE-2021-41190)")),
        (Some(manifests), None) => choose(manifests, wanted).map(Next::Manifest),
        (None, Some(config)) => is_image(config).map(Next::Config),
        (None, None) => Err(broken("its manifest names neither a configuration nor other manifests")),
    }
}

/// Configurations of charts, signatures and the like have media types of their own.
fn is_image(config: Descriptor) -> Result<Descriptor, Failure> {
    const IMAGES: [&str; 3] =
        ["", "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    if IMAGES.contains(&config.media_type.as_str()) {
        return Ok(config);
    }
    let why = format!("this is an artifact ({}), and no image that could run", config.media_type);
    Err(Failure::new(Kind::Broken, why))
}

fn choose(manifests: Vec<Descriptor>, wanted: &Wanted) -> Result<Descriptor, Failure> {
    let mut others = Vec::new();
    for manifest in manifests {
        let Some(field) = &manifest.platform else {
            return Ok(manifest); // an index of one image that does not say for what
        };
        let platform = Platform::new(&field.os, &field.architecture, field.variant.as_deref());
        if wanted.platform.takes(&platform) {
            return Ok(manifest);
        }
        if field.os != "unknown" {
            others.push(platform.to_string()); // unknown/unknown: an attestation
        }
    }
    Err(no_platform(wanted, &others))
}

fn no_platform(wanted: &Wanted, others: &[String]) -> Failure {
    let why = format!("it is not there for {}, only for {}", wanted.platform, listed(others));
    let failure = Failure::new(Kind::NoPlatform, why);
    match others.first() {
        Some(other) => failure.help(format!("choose one that your nodes have, such as --platform {other}")),
        None => failure,
    }
}

fn listed(others: &[String]) -> String {
    if others.is_empty() { "no platform at all".to_owned() } else { others.join(", ") }
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    variant: Option<String>,
    config: Option<Execution>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Execution {
    entrypoint: Value,
    cmd: Value,
    user: Option<String>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

/// What a configuration says about running the image. `digest` is left to the source.
pub(super) fn runs(bytes: &[u8], wanted: &Wanted) -> Result<Runs, Failure> {
    let broken = |why: String| Failure::new(Kind::Broken, why);
    let read: Configuration =
        serde_json::from_slice(bytes).map_err(|error| broken(format!("its configuration cannot be read: {error}")))?;
    let platform = Platform::new(&read.os, &read.architecture, read.variant.as_deref());
    let is_said = !read.os.is_empty() && !read.architecture.is_empty();
    if is_said && wanted.is_asked && !wanted.platform.takes(&platform) {
        return Err(no_platform(wanted, &[platform.to_string()]));
    }
    let said = read.config.unwrap_or_default();
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let mut entrypoint = words(said.entrypoint, "entrypoint")?;
    if entrypoint == [""] {
        entrypoint.clear(); // how builders write `ENTRYPOINT []` (moby and containerd read it so)
    }
    Ok(Runs {
        entrypoint,
        cmd: words(said.cmd, "command")?,
        user: filled(said.user),
        working_dir: filled(said.working_dir),
        stop_signal: filled(said.stop_signal),
        digest: None,
        platform: is_said.then(|| platform.to_string()),
    })
}

/// A list of strings, `null`, or a string alone, which images from before 2016 have.
fn words(value: Value, what: &str) -> Result<Vec<String>, Failure> {
    let as_text = |item: Value| match item {
        Value::String(text) => Ok(text),
        _ => Err(Failure::new(Kind::Broken, format!("its {what} is no list of strings"))),
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => items.into_iter().map(as_text).collect(),
        other => Ok(vec![as_text(other)?]),
    }
}

/// Checks bytes against the digest by which they were asked for.
pub(super) fn verify(bytes: &[u8], digest: &str) -> Result<(), Failure> {
    let actual = match digest.split_once(':') {
        Some(("sha256", _)) => hex("sha256:", &Sha256::digest(bytes)),
        Some(("sha512", _)) => hex("sha512:", &Sha512::digest(bytes)),
        _ => return Err(Failure::new(Kind::Broken, format!("the digest {digest} is of no kind that podturn knows"))),
    };
    if actual == digest {
        return Ok(());
    }
    Err(Failure::new(Kind::Broken, format!("its content is not what its digest says: {actual} and not {digest}")))
}

fn hex(prefix: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(prefix.to_owned(), |mut text, byte| {
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Next, Platform, Wanted, next, runs};

    fn wanted(platform: &str, is_asked: bool) -> Wanted {
        Wanted { platform: platform.parse::<Platform>().expect("a platform"), is_asked }
    }

    #[test]
    fn all_forms_of_entrypoint_and_cmd_are_read() {
        let table = [
            (r#"{"Entrypoint":["/app","-v"],"Cmd":["serve"]}"#, &["/app", "-v"][..], &["serve"][..]),
            (r#"{"Entrypoint":["/bin/sh","-c","exec /app $0"]}"#, &["/bin/sh", "-c", "exec /app $0"], &[]),
            (r#"{"Entrypoint":null,"Cmd":["sh"]}"#, &[], &["sh"]),
            (r#"{"Entrypoint":[""],"Cmd":["sh"]}"#, &[], &["sh"]),
            (r#"{"Entrypoint":[],"Cmd":null}"#, &[], &[]),
            (r#"{"Entrypoint":"/app","Cmd":["a"]}"#, &["/app"], &["a"]),
            (r#"{"Entrypoint":["",""]}"#, &["", ""], &[]),
            ("{}", &[], &[]),
            ("null", &[], &[]),
        ];
        for (config, entrypoint, cmd) in table {
            let text = format!(r#"{{"architecture":"amd64","os":"linux","config":{config}}}"#);
            let runs = runs(text.as_bytes(), &wanted("linux/amd64", true)).expect(config);
            assert_eq!((runs.entrypoint, runs.cmd), (strings(entrypoint), strings(cmd)), "{config}");
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn what_an_image_leaves_empty_it_does_not_say() {
        let text = br#"{"architecture":"arm64","os":"linux","variant":"v8",
                        "config":{"User":"","WorkingDir":"","StopSignal":"SIGINT"}}"#;
        let runs = runs(text, &wanted("linux/amd64", false)).expect("nobody asked for a platform");
        assert_eq!((runs.user, runs.working_dir), (None, None));
        assert_eq!((runs.stop_signal.as_deref(), runs.platform.as_deref()), (Some("SIGINT"), Some("linux/arm64/v8")));
    }

    #[test]
    fn an_index_leads_to_the_wanted_platform_and_past_attestations() {
        let entry = |digest: &str, os: &str, architecture: &str| {
            format!(r#"{{"digest":"{digest}","platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#)
        };
        let entries =
            [entry("a", "unknown", "unknown"), entry("b", "linux", "arm64"), entry("c", "linux", "amd64")].join(",");
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#);
        match next(index.as_bytes(), &wanted("linux/amd64", false)).expect("it is there") {
            Next::Manifest(descriptor) => assert_eq!(descriptor.digest, "c"),
            Next::Config(descriptor) => panic!("a configuration: {descriptor:?}"),
        }
        let error = next(index.as_bytes(), &wanted("linux/s390x", false)).expect_err("there is none");
        assert_eq!(error.why, "it is not there for linux/s390x, only for linux/arm64, linux/amd64");
    }

    #[test]
    fn what_is_no_image_is_named() {
        let table = [
            ("[]", "its manifest cannot be read"),
            (r#"{"schemaVersion":1}"#, "its manifest is of Docker's schema 1"),
            (r#"{"schemaVersion":2}"#, "its manifest names neither"),
            (r#"{"config":{"digest":"a"},"manifests":[]}"#, "its manifest claims to be an index as well"),
            (r#"{"config":{"digest":"a","mediaType":"application/vnd.example.chart"}}"#, "this is an artifact"),
        ];
        for (text, expected) in table {
            let error = next(text.as_bytes(), &wanted("linux/amd64", false)).expect_err(text);
            assert!(error.why.starts_with(expected), "{text}: {}", error.why);
        }
        for text in ["{", r#"{"config":{"Cmd":[1]}}"#, r#"{"config":{"Cmd":{}}}"#] {
            assert!(runs(text.as_bytes(), &wanted("linux/amd64", false)).is_err(), "{text}");
        }
    }
}
