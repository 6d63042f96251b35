//! A manifest with a plan, wired by `podturn inject` and made what podman 4 can play: a pod, since it knows no Jobs, whose volumes
//! begin with its name, since it knows a volume by its name alone. As JSON, which is YAML too.

use std::io::Write as _;
use std::process::{Command, Stdio};

use podturn::plan::Manifest;
use podturn::plan::yaml::{Node, Typed, Value as Yaml};
use serde_json::{Map, Value, json};

/// What podman 4 needs: it knows no native sidecars, ignores `subPath`, and takes no annotation of more than 63 bytes.
const FOR_PODMAN: [&str; 6] =
    ["inject", "--quiet", "--placement", "container", "--whole-volume", "--drop-plan-annotation"];

/// The pod of this manifest under another name.
pub(crate) fn wired(pod: &str, manifest: &str, options: &[&str]) -> String {
    let text = inject(manifest, options);
    assert!(!text.contains("podturn.dev/plan:"), "the annotation with the plan is left out");
    let manifest = Manifest::read("wired.yaml", text).expect("a manifest with one plan");
    let mut spec = value(&manifest.spec);
    let own = |named: &mut Value| named["name"] = format!("{pod}-{}", named["name"].as_str().expect("a name")).into();
    list(&mut spec["volumes"]).iter_mut().for_each(own);
    for kind in ["initContainers", "containers"] {
        for container in list(&mut spec[kind]) {
            list(&mut container["volumeMounts"]).iter_mut().for_each(own);
        }
    }
    let metadata = json!({ "name": pod, "annotations": { "podturn.dev/injected": "dropped" } });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }).to_string()
}

fn list(value: &mut Value) -> &mut Vec<Value> {
    value.as_array_mut().expect("inject has written one")
}

fn inject(manifest: &str, options: &[&str]) -> String {
    let mut inject = Command::new(env!("CARGO_BIN_EXE_podturn"));
    inject.args(FOR_PODMAN).args(options).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut inject = inject.spawn().expect("podturn starts");
    inject.stdin.take().expect("a pipe").write_all(manifest.as_bytes()).expect("it reads its stdin");
    let output = inject.wait_with_output().expect("it is our child");
    assert!(output.status.success(), "podturn inject: {}", output.status);
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}

fn value(node: &Node) -> Value {
    match &node.value {
        Yaml::Mapping(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect::<Map<_, _>>())
        }
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Scalar(scalar) => match scalar.typed() {
            Typed::Null => Value::Null,
            Typed::Bool(bool) => bool.into(),
            Typed::Integer(number) => number.into(),
            Typed::Float(number) => number.into(),
            Typed::String(text) => text.into(),
        },
    }
}
