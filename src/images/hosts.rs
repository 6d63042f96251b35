//! What this machine knows of registries: mirrors, hosts without TLS, private certificate authorities.
//!
//! Belongs here: containers-registries.conf(5) (`[[registry]]` with `prefix`, `location`, `insecure`, `blocked` and
//! `mirror`) and containers-certs.d(5) (`*.crt` per host), the files that podman, buildah, skopeo and, for certificates,
//! docker read. Not read: what nodes alone have (containerd's `hosts.toml`), short names, and certificates of clients.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::failure::{Failure, Kind};

/// Where this user's and this machine's configuration lies.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    pub config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory.
    pub docker_config: Option<PathBuf>,
    /// `--authfile` or `REGISTRY_AUTH_FILE`: the only file with credentials that is read then.
    pub auth_file: Option<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`: the only such file that is read then.
    pub registries_conf: Option<PathBuf>,
    /// `--cert-dir`: the only certificates that are read then, for every host.
    pub cert_dir: Option<PathBuf>,
    /// `/etc`.
    pub etc: PathBuf,
}

impl Places {
    /// As the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        Self {
            config: path("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config"))),
            home,
            runtime: path("XDG_RUNTIME_DIR"),
            docker_config: path("DOCKER_CONFIG"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            cert_dir: None,
            etc: PathBuf::from("/etc"),
        }
    }
}

/// One place where an image may be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `HOST[:PORT]/REPOSITORY`, where it differs from the reference's own.
    pub(super) location: String,
    /// TLS may be missing or unverified.
    pub(super) is_insecure: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Conf {
    registry: Vec<Registry>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Registry {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<Mirror>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// What registries.conf says of all registries.
#[derive(Debug, Default)]
pub(super) struct Registries {
    registries: Vec<Registry>,
}

impl Registries {
    pub(super) fn read(places: &Places) -> Result<Self, Failure> {
        let mut all = Self::default();
        for path in conf_files(places) {
            let unusable = |why: String| Failure::new(Kind::Configuration, format!("{} {why}", path.display()));
            let text = match std::fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && places.registries_conf.is_none() => {
                    continue;
                }
                Err(error) => return Err(unusable(format!("cannot be read: {error}"))),
            };
            let conf: Conf = toml::from_str(&text).map_err(|error| unusable(format!("is not usable: {error}")))?;
            // A later file replaces what an earlier one says of the same prefix.
            for registry in conf.registry {
                all.registries.retain(|before| before.prefix() != registry.prefix());
                all.registries.push(registry);
            }
        }
        Ok(all)
    }

    /// Where to look for `HOST/REPOSITORY`, in order; the last one is the registry itself.
    pub(super) fn endpoints(&self, name: &str, is_digest: bool) -> Result<Vec<Endpoint>, Failure> {
        let matching = self.registries.iter().filter(|registry| matches(registry.prefix(), name));
        let Some(registry) = matching.max_by_key(|registry| registry.prefix().len()) else {
            return Ok(vec![Endpoint { location: name.to_owned(), is_insecure: false }]);
        };
        if registry.blocked {
            let why = format!("registries.conf blocks {}", registry.prefix());
            return Err(Failure::new(Kind::Configuration, why).help("choose another registry, or another --from"));
        }
        let moved = |location: &str| {
            let prefix = registry.prefix();
            match name.strip_prefix(prefix) {
                Some(rest) if !prefix.starts_with("*.") => format!("{location}{rest}"),
                _ => format!("{location}{}", name.find('/').map_or("", |at| &name[at..])), // *.HOST
            }
        };
        let wants = |mirror: &&Mirror| match mirror.pull_from_mirror.as_deref() {
            Some("digest-only") => is_digest,
            Some("tag-only") => !is_digest,
            _ => is_digest || !registry.mirror_by_digest_only,
        };
        let mirrors = registry.mirror.iter().filter(wants);
        let mut endpoints: Vec<Endpoint> = mirrors
            .map(|mirror| Endpoint { location: moved(&mirror.location), is_insecure: mirror.insecure })
            .collect();
        let location = registry.location.as_deref().map_or_else(|| name.to_owned(), moved);
        endpoints.push(Endpoint { location, is_insecure: registry.insecure });
        Ok(endpoints)
    }
}

impl Registry {
    fn prefix(&self) -> &str {
        self.prefix.as_deref().or(self.location.as_deref()).unwrap_or_default()
    }
}

/// Whether a prefix of registries.conf is one of `HOST/REPOSITORY`: whole components, or `*.HOST`.
fn matches(prefix: &str, name: &str) -> bool {
    if prefix.is_empty() {
        return false;
    }
    if let Some(suffix) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or(name);
        return suffix.starts_with('.') && host.ends_with(suffix);
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn conf_files(places: &Places) -> Vec<PathBuf> {
    if let Some(file) = &places.registries_conf {
        return vec![file.clone()];
    }
    let user = places.config.as_ref().map(|config| config.join("containers"));
    let system = places.etc.join("containers");
    let main = user
        .as_ref()
        .map(|user| user.join("registries.conf"))
        .filter(|path| path.exists())
        .unwrap_or_else(|| system.join("registries.conf"));
    let mut files = vec![main];
    for directory in [Some(system), user].into_iter().flatten() {
        files.extend(sorted(&directory.join("registries.conf.d"), "conf"));
    }
    files
}

fn sorted(directory: &Path, extension: &str) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
}

/// The certificate authorities that are to be trusted for a host besides the system's, as PEM.
pub(super) fn authorities(places: &Places, host: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let directories = match &places.cert_dir {
        Some(directory) => vec![directory.clone()],
        None => [
            places.config.as_ref().map(|config| config.join("containers/certs.d").join(host)),
            Some(places.etc.join("containers/certs.d").join(host)),
            Some(places.etc.join("docker/certs.d").join(host)),
        ]
        .into_iter()
        .flatten()
        .collect(),
    };
    let mut found = Vec::new();
    for path in directories.iter().flat_map(|directory| sorted(directory, "crt")) {
        let bytes = std::fs::read(&path).map_err(|error| {
            Failure::new(Kind::Configuration, format!("the certificate {} cannot be read: {error}", path.display()))
        })?;
        found.push(bytes);
    }
    if found.is_empty()
        && let Some(directory) = &places.cert_dir
    {
        let why = format!("there is no certificate (*.crt) in {}", directory.display());
        return Err(Failure::new(Kind::Configuration, why));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Conf, Registries};

    const CONF: &str = r#"
        [[registry]]
        prefix = "registry.example/team"
        location = "store.example/t"
        [[registry.mirror]]
        location = "localhost:5000/cache"
        insecure = true
        [[registry.mirror]]
        location = "near.example"
        pull-from-mirror = "digest-only"
        [[registry]]
        location = "registry.example"
        [[registry]]
        prefix = "*.corp.example"
        location = "proxy.example"
        [[registry]]
        location = "bad.example"
        blocked = true
    "#;

    #[test]
    fn mirrors_come_first_and_the_longest_prefix_counts() {
        let conf: Conf = toml::from_str(CONF).expect("it is written just above");
        let registries = Registries { registries: conf.registry };
        let table = [
            ("registry.example/team/app", false, "localhost:5000/cache/app! store.example/t/app"),
            ("registry.example/team/app", true, "localhost:5000/cache/app! near.example/app store.example/t/app"),
            ("registry.example/teams/app", false, "registry.example/teams/app"),
            ("a.corp.example/x/y", false, "proxy.example/x/y"),
            ("other.example/x", false, "other.example/x"),
        ];
        for (name, is_digest, expected) in table {
            let endpoints = registries.endpoints(name, is_digest).expect("it is not blocked");
            let shown = |e: &super::Endpoint| format!("{}{}", e.location, if e.is_insecure { "!" } else { "" });
            assert_eq!(endpoints.iter().map(shown).collect::<Vec<_>>().join(" "), expected, "{name}");
        }
        let error = registries.endpoints("bad.example/x", false).expect_err("it is blocked");
        assert_eq!(error.why, "registries.conf blocks bad.example");
    }
}
