//! Who we are to a registry: the files in which docker, podman and their kin keep passwords.
//!
//! Belongs here: containers-auth.json(5), Docker's `config.json`, and the helpers that both name. Does not belong here:
//! asking a registry. Nothing is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use data_encoding::BASE64;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::failure::{Failure, Kind};
use super::hosts::Places;

/// How long a helper may take. One that asks a keyring that is locked would otherwise wait for ever.
const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// A user's name and password for one registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
    /// Where they were found, for messages.
    pub(super) from: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// What a helper answers (docker-credential-helpers, `get`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credentials for a repository, if any are kept. `registry` is the host as references name it, `address` the host
/// that is asked.
pub(super) async fn find(
    places: &Places,
    registry: &str,
    address: &str,
    repository: &str,
) -> Result<Option<Credentials>, Failure> {
    for path in files(places) {
        let Some(file) = read(&path)? else { continue };
        let keys = keys(registry, address, repository);
        let helper = keys.iter().find_map(|key| file.cred_helpers.get(key)).or(file.creds_store.as_ref());
        if let Some(helper) = helper {
            let server = if registry == address { registry.to_owned() } else { format!("https://{address}/v1/") };
            if let Some(found) = ask(helper, &server, &path).await? {
                return Ok(Some(found));
            }
        }
        let kept: BTreeMap<&str, &Auth> = file.auths.iter().map(|(key, auth)| (bare(key), auth)).collect();
        if let Some(auth) = keys.iter().find_map(|key| kept.get(key.as_str()))
            && let Some(found) = decode(auth, registry, &path)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The files that may be there, in the order in which podman looks at them (containers-auth.json(5)).
fn files(places: &Places) -> Vec<PathBuf> {
    if let Some(file) = &places.auth_file {
        return vec![file.clone()];
    }
    let docker = places.docker_config.clone().or_else(|| places.home.as_ref().map(|home| home.join(".docker")));
    [
        places.runtime.as_ref().map(|runtime| runtime.join("containers/auth.json")),
        places.config.as_ref().map(|config| config.join("containers/auth.json")),
        docker.map(|docker| docker.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn read(path: &Path) -> Result<Option<AuthFile>, Failure> {
    let unusable = |why: String| {
        let failure = Failure::new(Kind::Configuration, format!("the credentials in {} {why}", path.display()));
        failure.help("REGISTRY_AUTH_FILE or --authfile names another file")
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(format!("cannot be read: {error}"))),
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&text).map(Some).map_err(|error| unusable(format!("are not as they should be: {error}")))
}

/// The names under which credentials for a repository may be kept, the most particular first.
fn keys(registry: &str, address: &str, repository: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut path = Some(repository);
    while let Some(repository) = path {
        keys.push(format!("{registry}/{repository}"));
        path = repository.rsplit_once('/').map(|(parent, _)| parent);
    }
    keys.push(registry.to_owned());
    if address != registry {
        keys.push(address.to_owned());
    }
    keys
}

/// A key of `auths` without what older versions of docker put around the host: `https://HOST/v1/`.
fn bare(key: &str) -> &str {
    let has_scheme = key.split_once("://").map(|(_, rest)| rest);
    let rest = has_scheme.unwrap_or(key).trim_end_matches('/');
    rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest)
}

fn decode(auth: &Auth, registry: &str, path: &Path) -> Result<Option<Credentials>, Failure> {
    let from = path.display().to_string();
    let wrong = |why: &str| Failure::new(Kind::Configuration, format!("the entry for {registry} in {from} {why}"));
    if auth.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
        return Err(wrong("holds an identity token, which podturn cannot use")
            .help("log in with a name and a password or an access token"));
    }
    if let Some(auth) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) {
        let bytes = BASE64.decode(auth.trim().as_bytes()).map_err(|_| wrong("is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))?;
        let (user, password) = text.split_once(':').ok_or_else(|| wrong("has no colon between name and password"))?;
        let password = password.trim_end_matches('\0').to_owned();
        return Ok(Some(Credentials { user: user.to_owned(), password, from }));
    }
    match (&auth.username, &auth.password) {
        (Some(user), Some(password)) if !user.is_empty() => {
            Ok(Some(Credentials { user: user.clone(), password: password.clone(), from }))
        }
        _ => Ok(None), // docker leaves an empty entry where a helper keeps the password
    }
}

/// Asks a helper. `None`: it has nothing for this registry.
async fn ask(helper: &str, server: &str, path: &Path) -> Result<Option<Credentials>, Failure> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| {
        let failure = Failure::new(Kind::Configuration, format!("{program} {why}"));
        failure.help(format!("{} names it for {server}", path.display()))
    };
    if helper.contains('/') {
        return Err(failed("is no name of a program".to_owned()));
    }
    let mut command = tokio::process::Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
    let mut stdin = child.stdin.take().expect("it is piped");
    let talk = async {
        // A helper that needs no question may have closed its end.
        let _ = stdin.write_all(server.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(HELPER_LIMIT, talk)
        .await
        .map_err(|_| failed(format!("did not answer within {} s", HELPER_LIMIT.as_secs())))?
        .map_err(|error| failed(format!("cannot be asked: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if said.contains("credentials not found") {
            return Ok(None);
        }
        let words = if said.trim().is_empty() { String::from_utf8_lossy(&output.stderr) } else { said };
        return Err(failed(format!("failed ({}): {}", output.status, words.trim())));
    }
    let answer: Answer =
        serde_json::from_str(&said).map_err(|error| failed(format!("gave an answer that is none: {error}")))?;
    if answer.username == "<token>" {
        return Err(failed("gave an identity token, which podturn cannot use".to_owned()));
    }
    Ok(Some(Credentials { user: answer.username, password: answer.secret, from: program.clone() }))
}

#[cfg(test)]
mod tests {
    use super::{bare, keys};

    #[test]
    fn the_most_particular_entry_is_asked_first() {
        let expected = ["r.example/a/b/c", "r.example/a/b", "r.example/a", "r.example"];
        assert_eq!(keys("r.example", "r.example", "a/b/c"), expected);
        assert_eq!(keys("short.example", "index.example", "a"), ["short.example/a", "short.example", "index.example"]);
    }

    #[test]
    fn a_host_may_be_written_in_every_way_that_docker_wrote_it() {
        for key in
            ["r.example:5000", "https://r.example:5000", "https://r.example:5000/v1/", "http://r.example:5000/v2/"]
        {
            assert_eq!(bare(key), "r.example:5000");
        }
        assert_eq!(bare("r.example/team"), "r.example/team");
    }
}
