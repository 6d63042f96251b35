//! Registries: a real one on this machine, and stand-ins for those that are broken.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::layout::Layout;
use crate::server::{Needs, PASSWORD, Registry, USER};
use crate::stub::{Stub, http};
use crate::{podturn_in, resolve_in};

/// base64 of `builder:correct horse` and of `builder:wrong`.
const RIGHT: &str = "YnVpbGRlcjpjb3JyZWN0IGhvcnNl";
const WRONG: &str = "YnVpbGRlcjp3cm9uZw==";

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("making a directory");
    fs::write(path, text).expect("writing a file");
}

/// A registry with `team/app:1`, an index for two platforms, and `team/plain:1`.
fn filled(home: &Path, needs: Needs) -> Option<(Registry, String)> {
    let registry = Registry::start(home, needs)?;
    let directory = home.join("layout");
    let mut layout = Layout::new(&directory);
    let image = |name: &str| json!({ "Entrypoint": ["/bin/sh", "-c", "exec /app $0"], "Cmd": [name], "User": "app" });
    let images = ["amd64", "arm64"].map(|name| (name, layout.image(name, image(name))));
    let index = layout.index(&images);
    let digest = layout.name(Some("app"), index);
    let plain = layout.image("amd64", json!({ "Cmd": ["sh"], "WorkingDir": "/work" }));
    layout.name(Some("plain"), plain);
    let nothing = layout.image("amd64", json!({}));
    layout.name(Some("nothing"), nothing);
    for name in ["app", "plain", "nothing"] {
        registry.push(&format!("oci:{}:{name}", directory.display()), &format!("team/{name}:1"));
    }
    Some((registry, digest))
}

#[test]
fn a_registry_tells_what_its_images_run() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, digest)) = filled(home.path(), Needs::default()) else { return };
    let host = &registry.host;
    let app = format!("{host}/team/app:1");
    let map = format!(
        "images:
  \"{app}\":
    entrypoint: [\"/bin/sh\",\"-c\",\"exec /app $0\"]
    cmd: [\"arm64\"]
    user: \"app\"
    digest: \"{digest}\"
    platform: \"linux/arm64\"
"
    );
    assert_eq!(resolve_in(home.path(), &[&app, "--platform", "linux/arm64"]).printed(), map);
    let pinned = format!("{host}/team/app@{digest}");
    assert!(resolve_in(home.path(), &[&pinned]).printed().contains(&digest));
    let both = format!("{app}@{digest}");
    assert!(resolve_in(home.path(), &[&both]).printed().contains(&digest));
    let several = resolve_in(home.path(), &[&format!("{host}/team/plain:1"), &format!("{host}/team/nothing:1")]);
    let expected = "entrypoint: []\n    cmd: [\"sh\"]\n    workingDir: \"/work\"\n";
    assert!(several.printed().contains(expected), "{}", several.stdout);
    assert!(several.printed().contains("team/nothing:1\":\n    entrypoint: []\n    cmd: []\n"), "{}", several.stdout);
}

/// `podturn inject --resolve` writes what the image runs behind the shim, and which image that was.
#[test]
fn a_step_without_a_command_runs_what_the_registry_says() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, digest)) = filled(home.path(), Needs::default()) else { return };
    let (app, plain) = (format!("{}/team/app", registry.host), format!("{}/team/plain:1", registry.host));
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  annotations:\n    podturn.dev/plan: sequential\nspec:\n  \
         restartPolicy: Never\n  containers:\n    - name: app\n      image: {app}:1\n    - name: plain\n      \
         image: {plain}\n      command: [own]\n"
    );
    write(&home.path().join("pod.yaml"), &manifest);
    let refused = podturn_in(home.path(), "inject", &["pod.yaml"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
    let injected = podturn_in(home.path(), "inject", &["--resolve", "--platform", "linux/arm64", "pod.yaml"]);
    let wired = injected.printed();
    let command = "command: [/podturn/steps/app/in/podturn-shim, run, \"--\", /bin/sh, \"-c\", \"exec /app $0\"]\n";
    for expected in
        [command, "args: [arm64]\n", &format!("image: \"{app}:1@{digest}\"\n"), &format!("image: {plain}\n")]
    {
        assert!(wired.contains(expected), "{expected}:\n{wired}");
    }
    let kept = podturn_in(home.path(), "inject", &["--resolve", "--no-pin", "pod.yaml"]);
    assert!(kept.printed().contains(&format!("image: {app}:1\n")), "{}", kept.stdout);
    drop(registry);
    let gone = podturn_in(home.path(), "inject", &["--resolve", "pod.yaml"]);
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(2), ""), "{}", gone.stderr);
    assert!(gone.stderr.contains("cannot be reached") && gone.stderr.contains("pod.yaml:"), "{}", gone.stderr);
}

#[test]
fn what_a_registry_does_not_have_is_told_apart() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, _)) = filled(home.path(), Needs::default()) else { return };
    let host = &registry.host;
    let absent = format!("sha256:{}", "0".repeat(64));
    let table = [
        ("team/app:2".to_owned(), format!("{host} has no tag \"2\" in team/app (404)")),
        ("team/app".to_owned(), format!("{host} has no tag \"latest\" in team/app (404)")),
        ("other:1".to_owned(), format!("{host} has no repository other (404)")),
        (format!("team/app@{absent}"), format!("{host} has no {absent} in team/app (404)")),
        ("team/app:1 --platform=linux/s390x".to_owned(), "it is not there for linux/s390x, only for".to_owned()),
        ("Team/App:1".to_owned(), "this is no image reference".to_owned()),
    ];
    for (image, expected) in table {
        let image = format!("{host}/{image}");
        let outcome = resolve_in(home.path(), &image.split(' ').collect::<Vec<_>>());
        assert!(outcome.refused().contains(&expected), "{image}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("help: "), "{image}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("its tags are 1"), image.ends_with("app:2") || image.ends_with("app"));
    }
}

#[test]
fn passwords_are_found_where_container_tools_keep_them() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, _)) = filled(home.path(), Needs { password: true, tls: false }) else { return };
    let host = registry.host.clone();
    let image = format!("{host}/team/plain:1");
    let none = resolve_in(home.path(), &[&image]);
    assert!(
        none.refused().contains(&format!("{host} wants a password (401), and none is known for it")),
        "{}",
        none.stderr
    );
    assert!(none.refused().contains(&format!("podman login {host}")), "{}", none.stderr);

    let auths = |auth: &str| format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    let docker = home.path().join(".docker/config.json");
    write(&docker, &auths(WRONG));
    let wrong = resolve_in(home.path(), &[&image]);
    let expected = format!("{host} does not let user \"{USER}\" read it (401; password from {})", docker.display());
    assert!(wrong.refused().contains(&expected), "{}", wrong.stderr);

    write(&docker, &auths(RIGHT));
    resolve_in(home.path(), &[&image]).printed();
    // podman's file is looked at first, and there the most particular entry counts.
    let podman = home.path().join(".config/containers/auth.json");
    write(&podman, &auths(WRONG));
    resolve_in(home.path(), &[&image]).refused();
    let particular = format!(r#"{{"auths":{{"{host}":{{"auth":"{WRONG}"}},"{host}/team":{{"auth":"{RIGHT}"}}}}}}"#);
    write(&podman, &particular);
    resolve_in(home.path(), &[&image]).printed();
    // One that is named is the only one.
    let named = home.path().join("named.json");
    write(&named, "{}");
    assert!(resolve_in(home.path(), &[&image, "--authfile", "named.json"]).refused().contains("wants a password"));
    write(&named, "{");
    let broken = resolve_in(home.path(), &[&image, "--authfile", "named.json"]);
    assert!(broken.refused().contains("the credentials in named.json are not as they should be"), "{}", broken.stderr);
}

#[test]
fn credential_helpers_are_asked() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, _)) = filled(home.path(), Needs { password: true, tls: false }) else { return };
    let host = registry.host.clone();
    let image = format!("{host}/team/plain:1");
    let docker = home.path().join(".docker/config.json");
    write(&docker, &format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#));
    let missing = resolve_in(home.path(), &[&image]);
    assert!(missing.refused().contains("docker-credential-test cannot be started"), "{}", missing.stderr);

    let helper = home.path().join("bin/docker-credential-test");
    let script = |body: &str| {
        write(&helper, &format!("#!/bin/sh\nread -r server\n{body}\n"));
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("making it executable");
    };
    script(&format!(
        "[ \"$1 $server\" = 'get {host}' ] && echo '{{\"ServerURL\":\"{host}\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'"
    ));
    resolve_in(home.path(), &[&image]).printed();
    write(&docker, r#"{"credsStore":"test"}"#);
    resolve_in(home.path(), &[&image]).printed();
    script("echo 'credentials not found in native keychain'; exit 1");
    assert!(resolve_in(home.path(), &[&image]).refused().contains("wants a password (401)"));
    script("echo 'the keyring is locked'; exit 1");
    let locked = resolve_in(home.path(), &[&image]);
    assert!(locked.refused().contains("docker-credential-test failed (exit status: 1): the keyring is locked"));
}

#[test]
fn a_private_authority_is_trusted_where_it_is_known() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, _)) = filled(home.path(), Needs { password: true, tls: true }) else { return };
    let host = registry.host.clone();
    let image = format!("{host}/team/plain:1");
    write(&home.path().join(".docker/config.json"), &format!(r#"{{"auths":{{"{host}":{{"auth":"{RIGHT}"}}}}}}"#));
    let unknown = resolve_in(home.path(), &[&image]);
    assert!(unknown.refused().contains(&format!("the certificate of {host} is not trusted: ")), "{}", unknown.stderr);
    assert!(unknown.refused().contains(&format!("certs.d/{host}/ca.crt")), "{}", unknown.stderr);
    resolve_in(home.path(), &[&image, "--tls-verify=false"]).printed();

    let trust = registry.trust().display().to_string();
    resolve_in(home.path(), &[&image, "--cert-dir", &trust]).printed();
    let known = home.path().join(format!(".config/containers/certs.d/{host}"));
    fs::create_dir_all(&known).expect("making a directory");
    fs::copy(registry.trust().join("ca.crt"), known.join("ca.crt")).expect("copying the certificate");
    resolve_in(home.path(), &[&image]).printed();
}

#[test]
fn mirrors_are_asked_first_and_the_registry_itself_last() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let Some((registry, _)) = filled(home.path(), Needs::default()) else { return };
    let conf = |mirror: &str| {
        let text = format!(
            "[[registry]]\nprefix = \"registry.example/t\"\nlocation = \"{}/team\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n",
            registry.host
        );
        write(&home.path().join("registries.conf"), &text);
    };
    conf("localhost:1/none");
    let moved = resolve_in(home.path(), &["registry.example/t/plain:1"]);
    assert!(
        moved.printed().contains("cmd: [\"sh\"]"),
        "the mirror is dead, the registry is elsewhere: {}",
        moved.stdout
    );
    conf(&format!("{}/team", registry.host));
    resolve_in(home.path(), &["registry.example/t/plain:1"]).printed();
    let missing = resolve_in(home.path(), &["registry.example/t/plain:2"]);
    assert!(missing.refused().contains("(mirrors before it: "), "{}", missing.stderr);
    write(&home.path().join("registries.conf"), "[[registry]\n");
    assert!(resolve_in(home.path(), &["registry.example/a"]).refused().contains("registries.conf is not usable"));
}

#[test]
fn a_dead_registry_and_a_silent_one_are_told_apart() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let dead = resolve_in(home.path(), &[&format!("{closed}/app:1")]);
    let expected = format!("{closed} cannot be reached by HTTPS: Connection refused");
    assert!(dead.refused().contains(&expected), "{}", dead.stderr);
    let silent = Stub::silent();
    let slow = resolve_in(home.path(), &[&format!("{}/app:1", silent.host), "--timeout", "300ms"]);
    assert!(slow.refused().contains(&format!("{} did not answer within 0.3 s", silent.host)), "{}", slow.stderr);
}

/// A token is asked for where the registry says, with the password; and only there.
#[test]
fn a_registry_may_send_us_for_a_token() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let stub = Stub::answering(|path, host| match path {
        "/v2/" => http("401 Unauthorized", &format!("www-authenticate: Bearer realm=\"http://{host}/token\"\r\n"), ""),
        path if path.starts_with("/token") => http("200 OK", "", r#"{"token":"T"}"#),
        "/v2/app/manifests/1" => http("404 Not Found", "", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        _ => http("500 Internal Server Error", "", ""),
    });
    let host = stub.host.clone();
    write(&home.path().join(".docker/config.json"), &format!(r#"{{"auths":{{"{host}":{{"auth":"{RIGHT}"}}}}}}"#));
    let outcome = resolve_in(home.path(), &[&format!("{host}/app:1")]);
    assert!(outcome.refused().contains(&format!("{host} has no tag \"1\" in app (404)")), "{}", outcome.stderr);
    let token = format!("/token?scope=repository%3Aapp%3Apull Basic {RIGHT}");
    assert_eq!(stub.requests(), ["/v2/ -", &token, "/v2/app/manifests/1 Bearer T", "/v2/app/tags/list?n=10 Bearer T"]);
}

#[test]
fn a_registry_that_misbehaves_is_told_in_words() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let table: [(crate::stub::Answer, &str); 6] = [
        (|_, _| http("200 OK", "", "<html>"), "its manifest cannot be read: expected value"),
        (|_, _| http("503 Service Unavailable", "", "down for\ntonight"), "answers 503: down fortonight"),
        (
            |_, _| http("429 Too Many Requests", "", r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#),
            "wants fewer requests",
        ),
        (
            |_, _| http("403 Forbidden", "", r#"{"errors":[{"code":"DENIED","message":"no"}]}"#),
            "wants a password (403)",
        ),
        (|_, _| http("200 OK", "", r#"{"schemaVersion":1}"#), "Docker's schema 1"),
        (|_, _| http("200 OK", "docker-content-digest: sha256:00\r\n", "{}"), "is not what its digest says"),
    ];
    for (answer, expected) in table {
        let stub = Stub::answering(answer);
        let outcome = resolve_in(home.path(), &[&format!("{}/app:1", stub.host)]);
        assert!(outcome.refused().contains(expected), "{expected}\n{}", outcome.stderr);
    }
}
