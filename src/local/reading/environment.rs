//! The environment of a container, and what the downward API has of the pod.

use super::config::{Kind, as_text};
use super::{PATH, Reading, text_of};
use crate::inject::thousandths;
use crate::local::expand::expand;
use crate::plan::yaml::{Entry, Node};

/// The pod's uid: there is no API server to give it one.
const UID: &str = "00000000-0000-0000-0000-000000000000";

impl Reading<'_> {
    /// `envFrom` first, then `env`: a later one of the same name wins.
    pub(super) fn environment(&mut self, node: &Node) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> =
            vec![("PATH".to_owned(), PATH.to_owned()), ("HOSTNAME".to_owned(), self.host_name())];
        for source in node.list("envFrom") {
            for (name, value) in self.all_of(source).unwrap_or_default() {
                env.retain(|(known, _)| *known != name);
                env.push((name, value));
            }
        }
        for variable in node.list("env") {
            let Some(name) = self.text(variable, "name") else { continue };
            let value = match (variable.get("value"), variable.get("valueFrom")) {
                (_, Some(from)) => self.value_from(from, node).flatten(),
                (Some(value), None) if !value.is_null() => match value.as_str() {
                    Some(value) => Some(expand(value, &env)),
                    None => {
                        let message = format!("the value of a variable is a string, not {}", value.describe());
                        self.reporter.error(value.span, message).help("put it into quotes");
                        None
                    }
                },
                _ => Some(String::new()),
            };
            env.retain(|(known, _)| *known != name || value.is_none());
            env.extend(value.map(|value| (name, value)));
        }
        env
    }

    /// Everything that one entry of `envFrom` brings in.
    fn all_of(&mut self, source: &Node) -> Option<Vec<(String, String)>> {
        let prefix = source.get("prefix").and_then(Node::as_str).unwrap_or_default().to_owned();
        let (kind, reference) = match (source.get("configMapRef"), source.get("secretRef")) {
            (Some(reference), _) => (Kind::ConfigMap, reference),
            (None, Some(reference)) => (Kind::Secret, reference),
            (None, None) => {
                self.reporter.error(source.span, "an entry of envFrom has a configMapRef or a secretRef");
                return None;
            }
        };
        let values = self.config(kind, reference, "name")??;
        let mut found = Vec::new();
        for (key, value) in values.iter() {
            let name = format!("{prefix}{key}");
            match as_text(value) {
                Some(value) if !name.contains('=') => found.push((name, value)),
                _ => {
                    let message = format!("{name} of this {} cannot be a variable, and is left out", kind.name());
                    self.reporter.warning(reference.span, message).help("its value is not text; mount it as a file");
                }
            }
        }
        Some(found)
    }

    /// The outer `None`: told already; the inner one: it is not there, and may be missing.
    fn value_from(&mut self, from: &Node, container: &Node) -> Option<Option<String>> {
        let source = from.entries().unwrap_or_default().iter().find(|entry| !entry.value.is_null());
        let Some(Entry { key, key_span, value }) = source else {
            self.reporter.error(from.span, "valueFrom says no source").help("for example a configMapKeyRef");
            return None;
        };
        let kind = match key.as_str() {
            "fieldRef" => return self.variable_field(value).map(Some),
            "resourceFieldRef" => return self.resource_field(value, Some(container)).map(Some),
            "configMapKeyRef" => Kind::ConfigMap,
            "secretKeyRef" => Kind::Secret,
            other => {
                self.reporter
                    .error(*key_span, format!("podturn run cannot look up a {other}"))
                    .help("here: `value`, configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef");
                return None;
            }
        };
        let Some(bytes) = self.config_value(kind, value)? else { return Some(None) };
        let text = as_text(&bytes);
        if text.is_none() {
            self.reporter.error(value.span, "this value is not text").help("mount it as a file");
        }
        text.map(Some)
    }

    /// A field of the pod for a variable.
    fn variable_field(&mut self, field: &Node) -> Option<String> {
        let path = self.text(field, "fieldPath")?;
        let known = self.metadata_field(&path).or_else(|| match path.as_str() {
            "status.podIP" | "status.hostIP" | "status.podIPs" | "status.hostIPs" => Some("127.0.0.1".to_owned()),
            "spec.nodeName" => Some("localhost".to_owned()),
            "spec.serviceAccountName" => Some("default".to_owned()),
            _ => None,
        });
        let fields = "metadata.name, .namespace, .uid, .labels['KEY'], .annotations['KEY'], spec.nodeName, \
                      spec.serviceAccountName, status.podIP, status.hostIP";
        self.known_field(field, known, fields)
    }

    /// A field of the pod for a file: labels and annotations also as a whole.
    pub(super) fn file_field(&mut self, field: &Node) -> Option<String> {
        let path = self.text(field, "fieldPath")?;
        let all = |map: &str| {
            let entries = self.manifest.metadata.get(map).and_then(Node::entries).unwrap_or_default();
            let mut lines: Vec<String> = entries
                .iter()
                .map(|entry| format!("{}={:?}", entry.key, text_of(&entry.value).unwrap_or_default()))
                .collect();
            lines.sort();
            lines.join("\n")
        };
        let known = match path.as_str() {
            "metadata.labels" => Some(all("labels")),
            "metadata.annotations" => Some(all("annotations")),
            path => self.metadata_field(path),
        };
        self.known_field(field, known, "metadata.name, .namespace, .uid, .labels, .annotations, .labels['KEY']")
    }

    fn known_field(&mut self, field: &Node, known: Option<String>, fields: &str) -> Option<String> {
        if known.is_none() {
            let span = field.get("fieldPath").map_or(field.span, |node| node.span);
            self.reporter.error(span, "podturn run does not know this field").help(format!("here: {fields}"));
        }
        known
    }

    /// What a pod says of itself. A label that it does not have is an empty string.
    fn metadata_field(&self, path: &str) -> Option<String> {
        let metadata = &self.manifest.metadata;
        let entry = |map: &str| {
            let key = path.strip_prefix(&format!("metadata.{map}['"))?.strip_suffix("']")?;
            Some(metadata.get(map).and_then(|map| map.get(key)).and_then(text_of).unwrap_or_default().to_owned())
        };
        match path {
            "metadata.name" => Some(self.manifest.name.clone()),
            "metadata.uid" => Some(UID.to_owned()),
            "metadata.namespace" => {
                Some(metadata.get("namespace").and_then(Node::as_str).unwrap_or("default").to_owned())
            }
            _ => entry("labels").or_else(|| entry("annotations")),
        }
    }

    /// A container's request or limit, in units of `divisor`. A limit that it does not have is what this machine has.
    pub(super) fn resource_field(&mut self, field: &Node, own: Option<&Node>) -> Option<String> {
        let resource = self.text(field, "resource")?;
        let container = match field.get("containerName").and_then(Node::as_str) {
            Some(name) => self.node_of(name).or_else(|| {
                self.reporter.error(field.span, format!("the pod has no container {name}"));
                None
            })?,
            None => own.cloned().or_else(|| {
                self.reporter.error(field.span, "in a volume, a resourceFieldRef says whose: containerName");
                None
            })?,
        };
        let parts = resource.split_once('.').filter(|(kind, _)| matches!(*kind, "limits" | "requests"));
        let is_known = |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage");
        let Some((kind, name)) = parts.filter(|(_, name)| is_known(name)) else {
            let span = field.get("resource").map_or(field.span, |node| node.span);
            let help = "here: limits.cpu, limits.memory, requests.cpu, requests.memory, ...";
            self.reporter.error(span, "podturn run does not know this resource").help(help);
            return None;
        };
        let of = |kind: &str| {
            let quantity = container.get("resources")?.get(kind)?.get(name)?;
            thousandths(text_of(quantity)?).ok()
        };
        let value = match kind {
            "requests" => of("requests").or_else(|| of("limits")).unwrap_or(0),
            _ => of("limits").unwrap_or_else(|| machine_has(name)),
        };
        let divisor = field
            .get("divisor")
            .and_then(text_of)
            .and_then(|text| thousandths(text).ok())
            .filter(|divisor| *divisor > 0);
        let divisor = divisor.unwrap_or(1_000);
        Some(value.div_ceil(divisor).to_string())
    }

    fn node_of(&self, name: &str) -> Option<Node> {
        let spec = &self.manifest.spec;
        let mut all = spec.list("containers").iter().chain(spec.list("initContainers"));
        all.find(|node| node.get("name").and_then(Node::as_str) == Some(name)).cloned()
    }
}

/// What this machine could give, in thousandths.
fn machine_has(resource: &str) -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let of = |variable| sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
    1_000
        * match resource {
            "cpu" => of(SysconfVar::_NPROCESSORS_ONLN),
            "memory" => of(SysconfVar::_PHYS_PAGES) * of(SysconfVar::PAGE_SIZE),
            _ => 0,
        }
}
