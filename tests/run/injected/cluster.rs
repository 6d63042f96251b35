//! What only a cluster has: claims, and the objects that a pod reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::outputs::spec_of;
use crate::pod::Place;

/// Puts a Secret for every variable that is read from one beside the pod, and a directory in the place of every claim. Returns what
/// `podturn run` has to be told of these.
pub(super) fn stand_ins(root: &mut Value, place: &Place) -> Vec<String> {
    let spec = spec_of(root);
    let containers = spec["containers"].as_array().expect("a list").iter();
    let variables = containers.filter_map(|container| container["env"].as_array()).flatten();
    let keys: Vec<&Value> = variables.map(|of| &of["valueFrom"]["secretKeyRef"]).filter(|key| !key.is_null()).collect();
    let secret = |of: &&Value| {
        let key = of["key"].as_str().expect("a key");
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": of["name"] }, "stringData": { key: "unknown" } })
    };
    let secrets: Vec<Value> = keys.iter().map(secret).collect();
    let volumes = spec["volumes"].as_array().expect("a list").iter();
    let claims = volumes.filter(|volume| !volume["persistentVolumeClaim"].is_null());
    let claims: Vec<&str> = claims.map(|claim| claim["name"].as_str().expect("a name")).collect();
    let mut arguments = Vec::new();
    for claim in claims {
        let directory = place.path(&format!("claim-{claim}"));
        fs::create_dir(&directory).expect("a fresh directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).expect("it is ours");
        arguments.extend(["--volume".to_owned(), format!("{claim}={}", directory.display())]);
    }
    if !secrets.is_empty() {
        let items = [vec![root.take()], secrets].concat();
        // A list is no object of a list.
        let flat = items.into_iter().flat_map(|item| match item["kind"] == "List" {
            true => item["items"].as_array().cloned().expect("its items"),
            false => vec![item],
        });
        *root = json!({ "apiVersion": "v1", "kind": "List", "items": flat.collect::<Vec<_>>() });
    }
    arguments
}
