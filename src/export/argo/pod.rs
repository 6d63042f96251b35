//! The pod's own fields, which every pod of the Workflow has.
//!
//! Belongs here: which of them a Workflow has by name; all others go into its `podSpecPatch`. Does not belong here: containers
//! and volumes.

use serde_json::{Map as Json, Value};

use crate::export::containers::kept;
use crate::export::flow::{ALONE, Flow};
use crate::export::page::Map;
use crate::inject::to_json;

/// Fields of a pod's `spec` that a Workflow's `spec` has, too, under the same name (Argo's docs/fields.md, `WorkflowSpec`).
const SAME: [&str; 12] = [
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "hostNetwork",
    "imagePullSecrets",
    "nodeSelector",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
];

/// Those that have no meaning any more, or are said elsewhere.
const GONE: [&str; 8] = [
    "activeDeadlineSeconds",
    "containers",
    "ephemeralContainers",
    "initContainers",
    "restartPolicy",
    "serviceAccount",
    "shareProcessNamespace",
    "volumes",
];

/// Puts them into the Workflow's `spec`.
pub(super) fn fields(flow: &Flow<'_>, spec: &mut Map) {
    let mut patch = Json::new();
    for entry in flow.manifest.spec.entries().unwrap_or_default() {
        let key = entry.key.as_str();
        if ALONE.iter().any(|(alone, _)| *alone == key) {
            continue;
        }
        if SAME.contains(&key) {
            spec.put(key, to_json(&entry.value));
        } else if key == "priorityClassName" {
            spec.put("podPriorityClassName", to_json(&entry.value));
        } else if !GONE.contains(&key) {
            patch.insert(key.to_owned(), to_json(&entry.value));
        }
    }
    let pod = kept(&flow.manifest.metadata);
    if flow.manifest.kind != "Pod" && !pod.is_empty() {
        spec.put("podMetadata", Value::Object(pod));
    }
    if !patch.is_empty() {
        spec.put("podSpecPatch", Value::Object(patch).to_string());
    }
}

/// The Workflow's own `metadata`.
pub(super) fn metadata(flow: &Flow<'_>) -> Map {
    let mut map = Map::default();
    map.put("generateName", format!("{}-", flow.manifest.name));
    let own = flow.manifest.object.get("metadata");
    map.put_some("namespace", own.and_then(|own| own.get("namespace")).map(to_json));
    if let Some(own) = own {
        for (key, value) in kept(own) {
            map.put(&key, value);
        }
    }
    map
}
