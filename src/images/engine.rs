//! Images that the local engine has: what `podman image inspect` or `docker image inspect` says.
//!
//! Belongs here: asking the engine. Does not belong here: pulling; an image that is not here is not there.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::document::{self, Wanted};
use super::failure::{Failure, Kind};
use super::runs::Runs;
use super::source::same;

/// Asked in this order where none is named.
const ENGINES: [&str; 3] = ["podman", "docker", "nerdctl"];

/// Reads one image. `program`: the engine to ask; else the first one that is installed.
pub(super) async fn read(
    program: Option<&str>,
    reference: &str,
    wanted: &Wanted,
    limit: Duration,
) -> Result<Runs, Failure> {
    let program = match program.or_else(|| ENGINES.into_iter().find(|engine| is_installed(engine))) {
        Some(program) => program,
        None => {
            let why = format!("no engine is here: none of {} is on PATH", ENGINES.join(", "));
            return Err(Failure::new(Kind::Unreachable, why).help("engine:PROGRAM names another one"));
        }
    };
    let mut command = tokio::process::Command::new(program);
    command.args(["image", "inspect", "--", reference]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, command.output())
        .await
        .map_err(|_| unreachable(program, &format!("did not answer within {} s", limit.as_secs())))?
        .map_err(|error| unreachable(program, &format!("cannot be started: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let is_missing = ["no such image", "no such object", "image not known", "not found"]
            .iter()
            .any(|words| said.to_ascii_lowercase().contains(words));
        if !is_missing {
            return Err(unreachable(program, &format!("failed ({}): {said}", output.status)));
        }
        let failure = Failure::new(Kind::NotThere, format!("{program} has no such image"));
        return Err(failure.help(format!("{program} pull {reference}, or --from registry")));
    }
    inspected(&output.stdout, reference, wanted)
        .map_err(|failure| Failure { why: format!("what {program} says of it: {}", failure.why), ..failure })
}

/// Reads what the engine says: an array of one image, whose fields are those of its configuration in another case.
fn inspected(stdout: &[u8], reference: &str, wanted: &Wanted) -> Result<Runs, Failure> {
    let broken = |why: String| Failure::new(Kind::Broken, why);
    let value: Value = serde_json::from_slice(stdout).map_err(|error| broken(format!("it cannot be read: {error}")))?;
    let image = value.get(0).filter(|image| image.is_object()).ok_or_else(|| broken("it is no image".to_owned()))?;
    let configuration = json!({
        "os": image["Os"].as_str().unwrap_or_default(),
        "architecture": image["Architecture"].as_str().unwrap_or_default(),
        "variant": image["Variant"].as_str(),
        "config": image["Config"],
    });
    let runs = document::runs(configuration.to_string().as_bytes(), wanted)?;
    let digests = image["RepoDigests"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let digest = digests
        .filter_map(|entry| entry.split_once('@'))
        .find(|(name, digest)| same(name, repository(reference)) || reference.ends_with(digest))
        .map(|(_, digest)| digest.to_owned());
    Ok(Runs { digest, ..runs })
}

/// A reference without its tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

fn unreachable(program: &str, why: &str) -> Failure {
    Failure::new(Kind::Unreachable, format!("{program} {why}"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::{Wanted, inspected};

    #[test]
    fn what_docker_and_podman_say_is_read_alike() {
        let wanted = Wanted { platform: "linux/amd64".parse().expect("a platform"), is_asked: true };
        let image = r#"[{"Os":"linux","Architecture":"amd64","Variant":"","RepoDigests":["other.example/x@sha256:1",
            "registry.example/app@sha256:2"],"Config":{"User":"65532","Entrypoint":null,"Cmd":["sh"],"WorkingDir":"/w"}}]"#;
        let runs = inspected(image.as_bytes(), "registry.example/app:1", &wanted).expect("it is an image");
        assert_eq!((runs.cmd, runs.user.as_deref()), (vec!["sh".to_owned()], Some("65532")));
        assert_eq!((runs.digest.as_deref(), runs.platform.as_deref()), (Some("sha256:2"), Some("linux/amd64")));
        let unknown = inspected(image.as_bytes(), "registry.example/other", &wanted).expect("it is an image");
        assert_eq!(unknown.digest, None, "no digest of another repository");
        for text in ["", "{}", "[]", "[1]"] {
            assert!(inspected(text.as_bytes(), "app", &wanted).is_err(), "{text}");
        }
    }
}
