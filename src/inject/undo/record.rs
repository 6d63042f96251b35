//! What the annotation `podturn.dev/injected` holds: all that cannot be found by its name.
//!
//! Belongs here: making it of edits, and its ways of keys and names. Does not belong here: what is cut by it (`super`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inject::edit::Edit;
use crate::inject::text::{Text, own};
use crate::inject::tree::Tree;
use crate::plan::site::{Path, Seg, at, below};
use crate::plan::yaml::Node;

/// Entries whose items are found by their names.
const LISTS: [&str; 3] = ["volumes", "initContainers", "volumeMounts"];

/// What the annotation holds. Ways are written as keys and names of items, from the Kubernetes object down.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::inject) struct Record {
    /// The podturn that wrote it.
    podturn: String,
    /// The pods that it wired, where that is not the level that has the annotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<String>,
    /// Entries that were not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Entries that were there by a merge (`<<`) only, and hide it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hiding: Vec<String>,
    /// Entries that had another value, with the text from behind the colon on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<String, String>,
    /// Containers that became several: the list, the names of the copies, and the text of the one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copied: Vec<(String, Vec<String>, String)>,
}

impl Record {
    /// What undoes these edits of the object.
    pub(in crate::inject) fn of(
        text: &Text<'_>,
        document: &Node,
        object: &[Seg],
        holder: &[Seg],
        pods: &[&Path],
        edits: &[Edit],
    ) -> Self {
        let name = |path: &[Seg]| spelled(document, object, path);
        let mut record = Self { podturn: env!("CARGO_PKG_VERSION").to_owned(), ..Self::default() };
        if pods.iter().any(|pod| pod.as_slice() != holder) {
            record.pods = pods.iter().map(|pod| name(pod)).collect();
        }
        for edit in edits {
            match edit {
                Edit::Put { map, key, .. } if is_there(document, map, key) => {
                    record.hiding.push(name(&below(map, key)))
                }
                // A list of ours alone goes with its items.
                Edit::Put { map, key, .. } if !LISTS.contains(&key.as_str()) => {
                    record.added.push(name(&below(map, key)))
                }
                Edit::Replace { map, key, .. } => {
                    if let Some(entry) = at(document, map).and_then(|map| own(map, key)) {
                        let old = text.value_of(entry);
                        record.replaced.insert(name(&below(map, key)), text.text[old.start..old.end].to_owned());
                    }
                }
                Edit::Become { list, index, values } => {
                    let entry = list.split_last().and_then(|(key, map)| match key {
                        Seg::Key(key) => own(at(document, map)?, key),
                        Seg::Index(_) => None,
                    });
                    if let Some(at) = entry.and_then(|entry| text.item(entry, *index)) {
                        let names = values.iter().filter_map(|copy| match copy.get("name") {
                            Some(Tree::Text(name)) => Some(name.clone()),
                            _ => None,
                        });
                        record.copied.push((name(list), names.collect(), text.text[at.start..at.end].to_owned()));
                    }
                }
                Edit::Put { .. } | Edit::First { .. } | Edit::Last { .. } => {}
            }
        }
        record
    }

    pub(in crate::inject) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Whether a merge brings in an entry of this name.
fn is_there(document: &Node, map: &[Seg], key: &str) -> bool {
    at(document, map).is_some_and(|map| map.get(key).is_some())
}

/// A way as keys and names.
pub(super) fn spelled(document: &Node, from: &[Seg], path: &[Seg]) -> String {
    let parts = (from.len()..path.len()).map(|depth| match &path[depth] {
        Seg::Key(key) => key.replace('~', "~0").replace('/', "~1"),
        Seg::Index(index) => {
            let item = at(document, &path[..=depth]).and_then(|item| item.get("name")).and_then(Node::as_str);
            item.map_or_else(|| format!("#{index}"), str::to_owned)
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The way that was spelled so.
pub(super) fn found(document: &Node, from: &[Seg], spelled: &str) -> Option<Path> {
    let mut path = from.to_vec();
    for part in spelled.split('/').filter(|part| !part.is_empty()) {
        let node = at(document, &path)?;
        path.push(match (node.items(), part.strip_prefix('#').map(str::parse)) {
            (Some(_), Some(Ok(index))) => Seg::Index(index),
            (Some(items), _) => {
                let named = |item: &Node| item.get("name").and_then(Node::as_str) == Some(part);
                Seg::Index(items.iter().position(named)?)
            }
            (None, _) => Seg::Key(part.replace("~1", "/").replace("~0", "~")),
        });
    }
    Some(path)
}
