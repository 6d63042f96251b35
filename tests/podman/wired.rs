//! A manifest with a plan in its annotation, wired as `manifests/by-hand.yaml` is, for podman: with the whole volume where a kubelet
//! would mount a mailbox. As JSON, which is YAML too.

use podturn::plan::Manifest;
use podturn::plan::yaml::{Node, Typed, Value as Yaml};
use serde_json::{Map, Value, json};

/// The pod of this manifest under another name, which its volumes begin with: podman knows a volume by its name alone.
/// `facts` is what the init container is told of the pod (`podturn schema pod`).
pub(crate) fn wired(pod: &str, manifest: &str, facts: &Value) -> String {
    let manifest = Manifest::read("manifest.yaml", manifest).expect("a manifest with one plan");
    let mut spec = value(&manifest.spec);
    let list = |spec: &mut Value, name: &str| spec[name].as_array_mut().map(std::mem::take).unwrap_or_default();
    let own = |name: &Value| json!(format!("{pod}-{}", name.as_str().expect("a name")));
    let turns = json!({ "name": format!("{pod}-turns"), "mountPath": "/podturn" });

    let mut volumes = list(&mut spec, "volumes");
    volumes.iter_mut().for_each(|volume| volume["name"] = own(&volume["name"]));
    volumes.push(json!({ "name": turns["name"], "emptyDir": {} }));

    let mut containers = list(&mut spec, "containers");
    for container in &mut containers {
        let shim = format!("/podturn/steps/{}/in/podturn-shim", container["name"].as_str().expect("a name"));
        let mut mounts = list(container, "volumeMounts");
        mounts.iter_mut().for_each(|mount| mount["name"] = own(&mount["name"]));
        mounts.push(turns.clone());
        container["volumeMounts"] = mounts.into();
        container["command"] = [json!([shim, "run", "--"]), container["command"].clone()]
            .iter()
            .flat_map(|part| part.as_array().cloned().expect("each step has a command"))
            .collect();
        container["imagePullPolicy"] = "Never".into();
    }
    let plan = json!([{ "name": "PODTURN_PLAN", "value": plan_of(&manifest) }, { "name": "PODTURN_POD", "value": facts.to_string() }]);
    containers.insert(0, podturn("podturn", &json!(["coordinate"]), &json!([]), &turns));
    spec["initContainers"] = json!([podturn("podturn-init", &json!(["init"]), &plan, &turns)]);
    (spec["containers"], spec["volumes"]) = (containers.into(), volumes.into());
    spec["shareProcessNamespace"] = true.into();
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod }, "spec": spec }).to_string()
}

fn podturn(name: &str, args: &Value, env: &Value, turns: &Value) -> Value {
    let image = format!("localhost/podturn:{}", env!("CARGO_PKG_VERSION"));
    json!({ "name": name, "image": image, "imagePullPolicy": "Never", "args": args, "env": env, "volumeMounts": [turns] })
}

fn plan_of(manifest: &Manifest) -> String {
    let plan = manifest.metadata.get("annotations").and_then(|all| all.get("podturn.dev/plan")).and_then(Node::as_str);
    plan.expect("the plan is in the annotation").to_owned()
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
