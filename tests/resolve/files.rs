//! Layouts, archives and maps: no server is needed.

use std::fs::{self, File};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::layout::{Layout, pack};
use crate::resolve_in;

#[test]
fn a_layout_a_tar_file_and_a_map_say_the_same() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let directory = home.path().join("layout");
    let mut layout = Layout::new(&directory);
    let image = layout.image(
        "amd64",
        json!({ "Entrypoint": ["/app", "--verbose"], "Cmd": ["serve"], "User": "65532:65532", "WorkingDir": "/srv",
                "StopSignal": "SIGINT", "Env": ["PATH=/bin"] }),
    );
    let digest = layout.name(Some("registry.example/app:1"), image);
    pack(&directory, File::create(home.path().join("app.tar")).expect("making a tar file"));
    let gz = File::create(home.path().join("app.tgz")).expect("making a tar file");
    pack(&directory, GzEncoder::new(gz, Compression::fast()));

    let map = format!(
        "images:
  \"registry.example/app:1\":
    entrypoint: [\"/app\",\"--verbose\"]
    cmd: [\"serve\"]
    user: \"65532:65532\"
    workingDir: \"/srv\"
    stopSignal: \"SIGINT\"
    digest: \"{digest}\"
    platform: \"linux/amd64\"
"
    );
    for from in ["oci:layout", "oci:layout:registry.example/app:1", "oci-archive:app.tar", "oci-archive:app.tgz"] {
        let outcome = resolve_in(home.path(), &["registry.example/app:1", "--from", from]);
        assert_eq!(outcome.printed(), map, "{from}");
    }
    fs::write(home.path().join("images.yaml"), &map).expect("writing the map");
    let again = resolve_in(home.path(), &["registry.example/app:1", "--from", "map:images.yaml"]);
    assert_eq!(again.printed(), map);
    let json = resolve_in(home.path(), &["registry.example/app:1", "--from", "map:images.yaml", "--json"]);
    let value: serde_json::Value = serde_json::from_str(json.printed()).expect("it is JSON");
    assert_eq!(value["images"]["registry.example/app:1"]["cmd"], json!(["serve"]));
}

#[test]
fn an_image_of_a_layout_is_chosen_by_its_name_and_never_guessed() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let mut layout = Layout::new(&home.path().join("two"));
    let one = layout.image("amd64", json!({ "Cmd": ["one"] }));
    let two = layout.image("amd64", json!({ "Cmd": ["two"] }));
    let digest = layout.name(Some("1"), one);
    layout.name(Some("registry.example/b:2"), two);
    let cmd = |arguments: &[&str]| resolve_in(home.path(), arguments);
    assert!(cmd(&["registry.example/a:1", "--from", "oci:two"]).printed().contains("cmd: [\"one\"]"), "by its tag");
    assert!(cmd(&["registry.example/b:2", "--from", "oci:two"]).printed().contains("cmd: [\"two\"]"), "by its name");
    assert!(cmd(&["registry.example/x", "--from", "oci:two:1"]).printed().contains("cmd: [\"one\"]"), "as it was said");
    let pinned = format!("registry.example/x@{digest}");
    assert!(cmd(&[&pinned, "--from", "oci:two"]).printed().contains("cmd: [\"one\"]"), "by its digest");
    assert_eq!(
        cmd(&["registry.example/c:3", "--from", "oci:two"]).refused(),
        "error: cannot read what registry.example/c:3 runs: two has no image \"registry.example/c:3\"; it holds 1, \
         registry.example/b:2\n |\n = help: say behind the path which one is meant: PATH:1\n"
    );
    // Two images are asked for, and a tag alone does not say whose it is.
    let both = cmd(&["registry.example/a:1", "registry.example/b:2", "--from", "oci:two"]);
    assert!(both.refused().contains("registry.example/a:1 runs: two has no image"), "{}", both.stderr);
}

#[test]
fn an_image_without_a_name_is_meant_only_where_no_other_could_be() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let mut layout = Layout::new(&home.path().join("one"));
    let image = layout.image("amd64", json!({ "Cmd": ["one"] }));
    layout.name(None, image);
    assert!(resolve_in(home.path(), &["a", "--from", "oci:one"]).printed().contains("cmd: [\"one\"]"));
    let two = resolve_in(home.path(), &["a", "b", "--from", "oci:one"]);
    assert!(two.refused().contains("one has no image \"a\"; it holds no image with a name"), "{}", two.stderr);
}

#[test]
fn the_platform_is_this_machines_unless_another_is_asked_for() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let mut layout = Layout::new(&home.path().join("multi"));
    let [amd64, arm64] = ["amd64", "arm64"].map(|name| (name, layout.image(name, json!({ "Cmd": [name] }))));
    let index = layout.index(&[amd64, arm64]);
    let digest = layout.name(Some("app:1"), index);
    let only = layout.image("s390x", json!({ "Cmd": ["s390x"] }));
    layout.name(Some("only:1"), only);
    let cmd = |arguments: &[&str]| resolve_in(home.path(), &[&["--from", "oci:multi"], arguments].concat());
    for platform in ["amd64", "arm64"] {
        let outcome = cmd(&["app:1", "--platform", &format!("linux/{platform}")]);
        let printed = outcome.printed();
        assert!(printed.contains(&format!("cmd: [\"{platform}\"]")), "{printed}");
        assert!(printed.contains(&digest), "what the reference points to is the index: {printed}");
    }
    let none = cmd(&["app:1", "--platform", "linux/riscv64"]);
    let expected = "app:1 runs: it is not there for linux/riscv64, only for linux/amd64, linux/arm64";
    assert!(none.refused().contains(expected), "{}", none.stderr);
    assert!(cmd(&["only:1"]).printed().contains("platform: \"linux/s390x\""), "there is no choice, and nobody asked");
    assert!(cmd(&["only:1", "--platform", "arm64"]).refused().contains("it is not there for linux/arm64"));
}

#[test]
fn docker_save_is_read_with_all_its_names() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let directory = home.path().join("saved");
    fs::create_dir(&directory).expect("making a directory");
    let config =
        json!({ "architecture": "amd64", "os": "linux", "config": { "Entrypoint": ["/bin/sh", "-c", "run"] } });
    fs::write(directory.join("abc.json"), config.to_string()).expect("writing the configuration");
    let manifest =
        json!([{ "Config": "abc.json", "RepoTags": ["registry.example/app:1", "app:latest"], "Layers": [] }]);
    fs::write(directory.join("manifest.json"), manifest.to_string()).expect("writing manifest.json");
    // A layer is no document, whatever its size.
    fs::write(directory.join("layer.tar"), vec![0; 3 << 20]).expect("writing a layer");
    pack(&directory, File::create(home.path().join("saved.tar")).expect("making a tar file"));
    for (image, from) in [
        ("app", "docker-archive:saved.tar"),
        ("registry.example/app:1", "docker-archive:saved.tar"),
        ("other", "docker-archive:saved.tar:app:latest"),
    ] {
        let outcome = resolve_in(home.path(), &[image, "--from", from]);
        assert!(outcome.printed().contains("entrypoint: [\"/bin/sh\",\"-c\",\"run\"]"), "{image}");
        assert!(!outcome.printed().contains("digest"), "an archive has none: {}", outcome.stdout);
    }
    let other = resolve_in(home.path(), &["app:2", "--from", "docker-archive:saved.tar"]);
    let expected = "saved.tar has no image \"app:2\"; it holds registry.example/app:1, app:latest";
    assert!(other.refused().contains(expected), "{}", other.stderr);
}

#[test]
fn what_was_changed_behind_its_digest_is_not_believed() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let directory = home.path().join("layout");
    let mut layout = Layout::new(&directory);
    let image = layout.image("amd64", json!({ "Cmd": ["good"] }));
    layout.name(Some("app:1"), image);
    for entry in fs::read_dir(directory.join("blobs/sha256")).expect("the blobs") {
        let path = entry.expect("they can be listed").path();
        let text = fs::read_to_string(&path).expect("a blob");
        fs::write(&path, text.replace("good", "evil")).expect("writing a blob");
    }
    let outcome = resolve_in(home.path(), &["app:1", "--from", "oci:layout"]);
    assert!(outcome.refused().contains("its content is not what its digest says: sha256:"), "{}", outcome.stderr);
}

#[test]
fn what_is_no_layout_is_named_with_what_to_do() {
    let home = tempfile::tempdir().expect("a directory for the test");
    fs::write(home.path().join("text.tar"), "no tar file at all").expect("writing a file");
    fs::write(home.path().join("empty.yaml"), "a: b").expect("writing a file");
    let table = [
        ("oci:missing", 1, "missing is no OCI image layout: index.json: No such file or directory"),
        ("oci-archive:missing.tar", 1, "the archive missing.tar cannot be read: No such file or directory"),
        ("docker-archive:text.tar", 1, "the archive text.tar cannot be read"),
        ("map:missing.yaml", 2, "error: cannot read missing.yaml: No such file or directory"),
        ("map:empty.yaml", 2, "empty.yaml:1:1: error: this is no map of images"),
        ("podman", 2, "invalid value 'podman' for '--from <SOURCE>'"),
    ];
    for (from, code, expected) in table {
        let outcome = resolve_in(home.path(), &["app:1", "--from", from]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{from}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{from}: {}", outcome.stderr);
    }
}

/// The images of a manifest are those whose entrypoint is needed, and a mistake is shown where the image is named.
#[test]
fn a_manifest_says_which_images_are_needed() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let mut layout = Layout::new(&home.path().join("layout"));
    let image = layout.image("amd64", json!({ "Cmd": ["a"] }));
    layout.name(Some("registry.example/a:1"), image);
    let pod = "\
spec:
  containers:
  - name: build
    image: registry.example/a:1
  - name: test
    image: registry.example/b:1
  - name: own
    image: registry.example/c:1
    command: [sh]
";
    fs::write(home.path().join("pod.yaml"), pod).expect("writing the manifest");
    let outcome = resolve_in(home.path(), &["-f", "pod.yaml", "--from", "oci:layout"]);
    let stderr = outcome.refused();
    assert!(
        stderr.starts_with("pod.yaml:6:12: error: cannot read what registry.example/b:1 runs: layout has"),
        "{stderr}"
    );
    assert!(!stderr.contains("registry.example/c:1 runs"), "{stderr}");
    fs::write(home.path().join("pod.yaml"), pod.replace("b:1", "a:1")).expect("writing the manifest");
    let outcome = resolve_in(home.path(), &["-f", "pod.yaml", "--from", "oci:layout"]);
    assert_eq!(outcome.printed().matches("registry.example").count(), 1, "{}", outcome.stdout);
}

#[test]
fn the_first_source_that_has_an_image_counts() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let mut layout = Layout::new(&home.path().join("layout"));
    let image = layout.image("amd64", json!({ "Cmd": ["from the layout"] }));
    layout.name(Some("app:1"), image.clone());
    layout.name(Some("b:1"), image);
    let map = "images: {'app:1': {cmd: [from the map], user: 65532}}";
    fs::write(home.path().join("images.yaml"), map).expect("writing the map");
    let arguments = ["app:1", "b:1", "--from", "map:images.yaml", "--from", "oci:layout"];
    let outcome = resolve_in(home.path(), &arguments);
    let expected = "  \"app:1\":\n    entrypoint: []\n    cmd: [\"from the map\"]\n    user: \"65532\"\n  \"b:1\":";
    assert!(outcome.printed().contains(expected), "{}", outcome.stdout);
    let none = resolve_in(home.path(), &["c:1", "--from", "map:images.yaml", "--from", "oci:layout"]);
    assert!(none.refused().contains("images.yaml does not have it; layout has no image \"c:1\""), "{}", none.stderr);
}
