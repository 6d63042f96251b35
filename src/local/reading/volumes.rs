//! Volumes: which kinds can be had here, and the files of those that hold values.

use std::path::{Component, Path, PathBuf};

use podturn_wire::names;

use super::config::{Kind, Values, mode};
use super::{Reading, text_of};
use crate::inject::{PODTURN_SHIM, bytes};
use crate::local::pod::{Volume, VolumeFile, VolumeKind};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;
use crate::volume::{PROBE, SHIM};

/// What files of ConfigMaps, Secrets and the downward API allow by default.
const MODE: u32 = 0o644;

impl Reading<'_> {
    pub(super) fn volume(&mut self, node: &Node) -> Option<Volume> {
        let name = self.text(node, "name")?;
        if let Some((_, directory)) = self.stand_ins.iter().find(|(of, _)| *of == name) {
            return Some(Volume { name, kind: VolumeKind::HostPath(directory.clone()) });
        }
        let source = node.entries()?.iter().find(|entry| entry.key != "name" && !entry.value.is_null());
        let Some((kind, value)) = source.map(|entry| (entry.key.as_str(), &entry.value)) else {
            return Some(Volume { name, kind: VolumeKind::EmptyDir { in_memory: false, size: None } });
        };
        let kind = match kind {
            "emptyDir" => self.empty_dir(&name, value)?,
            "hostPath" => {
                self.name_unhonoured(value, &["path"], &format!("volume {name}"));
                VolumeKind::HostPath(PathBuf::from(self.text(value, "path")?))
            }
            "configMap" => VolumeKind::Files(self.config_files(Kind::ConfigMap, value, "name", None)?),
            "secret" => VolumeKind::Files(self.config_files(Kind::Secret, value, "secretName", None)?),
            "downwardAPI" => VolumeKind::Files(self.downward_files(value, None)?),
            "projected" => VolumeKind::Files(self.projected_files(value)?),
            "image" if self.manifest.is_wired && name == PODTURN_SHIM => VolumeKind::Image(own_shim()),
            other => {
                let span = source.map_or(value.span, |entry| entry.key_span);
                self.reporter
                    .error(span, format!("podturn run cannot make a volume of kind {other}"))
                    .help(format!("a directory of this machine can stand in for it: --volume {name}=DIR"));
                return None;
            }
        };
        Some(Volume { name, kind })
    }

    fn empty_dir(&mut self, name: &str, value: &Node) -> Option<VolumeKind> {
        let in_memory = value.get("medium").and_then(Node::as_str) == Some("Memory");
        let known: &[&str] = if in_memory { &["medium", "sizeLimit"] } else { &["medium"] };
        self.name_unhonoured(value, known, &format!("volume {name}"));
        let limit = value.get("sizeLimit").filter(|limit| !limit.is_null());
        let size = limit.and_then(text_of).and_then(bytes);
        if let (Some(limit), None) = (limit, size) {
            let message = format!("sizeLimit is a number of bytes, not {}", limit.describe());
            self.reporter.error(limit.span, message).help("as in 64Mi or 1Gi");
            return None;
        }
        Some(VolumeKind::EmptyDir { in_memory, size })
    }

    // --- files ---

    fn projected_files(&mut self, node: &Node) -> Option<Vec<VolumeFile>> {
        let default = self.default_mode(node)?;
        let mut files = Vec::new();
        for source in node.list("sources") {
            for entry in source.entries().unwrap_or_default() {
                let more = match entry.key.as_str() {
                    "configMap" => self.config_files(Kind::ConfigMap, &entry.value, "name", default),
                    "secret" => self.config_files(Kind::Secret, &entry.value, "name", default),
                    "downwardAPI" => self.downward_files(&entry.value, default),
                    other => {
                        self.reporter
                            .error(entry.key_span, format!("podturn run has nothing for a source of kind {other}"))
                            .help("here: configMap, secret, downwardAPI; without a cluster there is no API server");
                        None
                    }
                };
                files.extend(more?);
            }
        }
        Some(files)
    }

    fn config_files(
        &mut self,
        kind: Kind,
        node: &Node,
        name_key: &str,
        default: Option<u32>,
    ) -> Option<Vec<VolumeFile>> {
        let default = self.default_mode(node)?.or(default).unwrap_or(MODE);
        let Some(values) = self.config(kind, node, name_key)? else { return Some(Vec::new()) };
        let Some(wanted) = node.get("items").and_then(Node::items) else {
            let file = |(key, value): &(String, Vec<u8>)| VolumeFile {
                path: PathBuf::from(key),
                mode: default,
                content: value.clone(),
            };
            return Some(values.iter().map(file).collect());
        };
        let is_optional = self.is_optional(node);
        let files = wanted.iter().map(|item| self.item(kind, &values, item, default, is_optional));
        let files: Option<Vec<Option<VolumeFile>>> = files.collect();
        Some(files?.into_iter().flatten().collect())
    }

    fn item(
        &mut self,
        kind: Kind,
        values: &Values,
        item: &Node,
        default: u32,
        is_optional: bool,
    ) -> Option<Option<VolumeFile>> {
        let key = self.text(item, "key")?;
        let span = item.get("key").map_or(item.span, |node| node.span);
        let (path, mode) = (self.path(item)?, self.mode(item, "mode")?.unwrap_or(default));
        let value = self.value_of(kind, values, &key, span, is_optional)?;
        Some(value.map(|content| VolumeFile { path, mode, content }))
    }

    fn downward_files(&mut self, node: &Node, default: Option<u32>) -> Option<Vec<VolumeFile>> {
        let default = self.default_mode(node)?.or(default).unwrap_or(MODE);
        let files = node.list("items").iter().map(|item| {
            let (path, mode) = (self.path(item)?, self.mode(item, "mode")?.unwrap_or(default));
            let content = match (item.get("fieldRef"), item.get("resourceFieldRef")) {
                (Some(field), _) => self.file_field(field)?,
                (None, Some(resource)) => self.resource_field(resource, None)?,
                (None, None) => {
                    self.reporter.error(item.span, "this item has neither a fieldRef nor a resourceFieldRef");
                    return None;
                }
            };
            Some(VolumeFile { path, mode, content: content.into_bytes() })
        });
        files.collect()
    }

    /// Where a file lies in its volume.
    fn path(&mut self, item: &Node) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(item, "path")?);
        let is_inside = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        // What begins with two dots is the volume's own (`..data`).
        if path.as_os_str().is_empty() || !is_inside(&path) || path.as_os_str().as_encoded_bytes().starts_with(b"..") {
            let span = item.get("path").map_or(item.span, |node| node.span);
            let message = format!("{} is no path inside the volume", quote(&path.display().to_string()));
            self.reporter.error(span, message).help("it is relative, and nothing in it is `..`");
            return None;
        }
        Some(path)
    }

    fn default_mode(&mut self, node: &Node) -> Option<Option<u32>> {
        self.mode(node, "defaultMode")
    }

    fn mode(&mut self, node: &Node, key: &str) -> Option<Option<u32>> {
        let Some(node) = node.get(key).filter(|node| !node.is_null()) else { return Some(None) };
        let found = mode(node);
        if found.is_none() {
            let message = format!("{key} is a number from 0 to 0777, not {}", node.describe());
            self.reporter.error(node.span, message).help("write it in octal, with a zero before it: 0400");
        }
        found.map(Some)
    }
}

/// What the image with the shim has, as this program has it: the coordinator is this program too.
fn own_shim() -> Vec<VolumeFile> {
    let file =
        |(name, content): (&str, &[u8])| VolumeFile { path: name.into(), mode: 0o755, content: content.to_vec() };
    [(names::SHIM, SHIM), (names::PROBE, PROBE)].map(file).into()
}
