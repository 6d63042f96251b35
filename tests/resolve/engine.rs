//! The local engine: a real podman, in a store of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::json;

use crate::layout::{Layout, pack};
use crate::{have, resolve_in, skip};

#[test]
fn the_local_engine_is_asked() {
    if !nix::unistd::geteuid().is_root() {
        return skip("the local engine: this needs root (rootful podman)");
    }
    if !have(&[("podman", "podman")]) {
        return;
    }
    let home = tempfile::Builder::new().prefix("podturn-").tempdir_in("/tmp").expect("making a directory");
    let path = |name: &str| home.path().join(name).display().to_string();
    let mut layout = Layout::new(&home.path().join("layout"));
    let image = layout.image("amd64", json!({ "Entrypoint": ["/app"], "Cmd": ["serve"], "User": "1000" }));
    layout.name(Some("registry.example/app:1"), image);

    // A wrapper by that name keeps the machine's own images out of it.
    let podman = format!(
        "#!/bin/sh\nexec podman --root {} --runroot {} --storage-driver vfs \"$@\"\n",
        path("root"),
        path("run")
    );
    fs::create_dir(home.path().join("bin")).expect("making a directory");
    let wrapper = home.path().join("bin/engine-of-the-test");
    fs::write(&wrapper, podman).expect("writing the wrapper");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("making it executable");
    pack(&home.path().join("layout"), fs::File::create(home.path().join("app.tar")).expect("making a tar file"));
    let loaded = Command::new(&wrapper).args(["load", "--quiet", "--input", &path("app.tar")]).output();
    let loaded = loaded.expect("podman starts");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));

    let from = ["--from", "engine:engine-of-the-test"];
    let there = resolve_in(home.path(), &["registry.example/app:1", from[0], from[1]]);
    let expected = "entrypoint: [\"/app\"]\n    cmd: [\"serve\"]\n    user: \"1000\"\n";
    assert!(there.printed().contains(expected), "{}", there.stdout);
    let missing = resolve_in(home.path(), &["registry.example/app:2", from[0], from[1]]);
    assert!(missing.refused().contains("engine-of-the-test has no such image"), "{}", missing.stderr);
    let absent = resolve_in(home.path(), &["app", "--from", "engine:no-such-engine"]);
    assert!(absent.refused().contains("no-such-engine cannot be started: No such file"), "{}", absent.stderr);
}
