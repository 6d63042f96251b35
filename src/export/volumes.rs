//! The volumes of one pod, for many.
//!
//! Belongs here: which steps share what. Does not belong here: how an engine makes claims.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::flow::Flow;
use super::gaps::Spot;
use crate::inject::to_json;
use crate::plan::diagnostic::{listed, quote};
use crate::plan::yaml::Node;

/// How large a claim is where the emptyDir had no limit.
const CLAIM_SIZE: &str = "1Gi";

/// Where each volume of the pod goes.
#[derive(Default)]
pub(super) struct Volumes {
    /// Those that any pod can mount.
    pub common: Vec<Value>,
    /// Those that one unit alone has, by its name.
    pub own: BTreeMap<String, Vec<Value>>,
    /// Claims that stand for an emptyDir that several share.
    pub claims: Vec<Value>,
}

impl Volumes {
    /// The volumes of the pod that a unit is.
    pub(super) fn of(&self, unit: &str) -> Vec<Value> {
        self.own.get(unit).cloned().unwrap_or_default()
    }
}

/// Divides the volumes of the pod up.
pub(super) fn divided(flow: &mut Flow<'_>) -> Volumes {
    let mut volumes = Volumes::default();
    for volume in flow.manifest.spec.list("volumes") {
        let Some(node) = volume.get("name") else { continue };
        let name = node.as_str().unwrap_or_default();
        let users: Vec<String> =
            flow.units.iter().filter(|unit| mounts(&unit.container, name)).map(|unit| unit.name.clone()).collect();
        let names: Vec<&str> = users.iter().map(String::as_str).collect();
        match (volume.get("emptyDir"), names.as_slice()) {
            (_, []) => {}
            (Some(_), [one]) => volumes.own.entry((*one).to_owned()).or_default().push(to_json(volume)),
            (Some(directory), _) => {
                let message =
                    format!("{} share the emptyDir {}, which pods of their own cannot", listed(&names), quote(name));
                let help = "make it a persistentVolumeClaim that all of them can mount";
                let size = directory.get("sizeLimit").map_or_else(|| CLAIM_SIZE.into(), to_json);
                flow.gaps.add(Spot::Head, node.place(), message, help).instead(format!(
                    "a claim of {} for each run. ReadWriteOnce keeps its pods on one node; see to class and size",
                    size.as_str().unwrap_or(CLAIM_SIZE)
                ));
                volumes.claims.push(json!({
                    "metadata": { "name": name },
                    "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
                }));
            }
            (None, _) => {
                if volume.get("hostPath").is_some() && names.len() > 1 {
                    let message = format!("{} share a directory of one node, {}", listed(&names), quote(name));
                    let help = "make it a persistentVolumeClaim, or keep the pods on one node by a nodeSelector";
                    flow.gaps.add(Spot::Head, node.place(), message, help).instead("each sees that of its own node");
                }
                volumes.common.push(to_json(volume));
            }
        }
    }
    volumes
}

fn mounts(container: &Node, volume: &str) -> bool {
    ["volumeMounts", "volumeDevices"].iter().any(|list| {
        let items = container.list(list);
        items.iter().any(|item| item.get("name").and_then(Node::as_str) == Some(volume))
    })
}
