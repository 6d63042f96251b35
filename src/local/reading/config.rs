//! ConfigMaps and Secrets: those that stand in the same file as the pod.
//!
//! Belongs here: finding one, its values as bytes, and what to say where it is not there. Does not belong here: what is made
//! of the values (`volumes`, `environment`).

use std::rc::Rc;

use data_encoding::BASE64;

use super::{Reading, text_of};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::{Entry, Node, Typed};
use crate::plan::{Reporter, Span};

/// The two kinds of objects that hold values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Values by their keys, in the order of the keys.
pub(super) type Values = Rc<Vec<(String, Vec<u8>)>>;

/// What the file has of them.
pub(super) struct Configs(Vec<(Kind, String, Values)>);

impl Configs {
    /// Reads those among the objects of a file. What is wrong with one is told where it stands.
    pub(super) fn of(objects: &[Node], reporter: &mut Reporter) -> Self {
        let mut found = Vec::new();
        for object in objects {
            let kind = match object.get("kind").and_then(Node::as_str) {
                Some("ConfigMap") => Kind::ConfigMap,
                Some("Secret") => Kind::Secret,
                _ => continue,
            };
            let name = object.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::as_str);
            if let Some(name) = name {
                found.push((kind, name.to_owned(), Rc::new(values(kind, object, reporter))));
            }
        }
        Self(found)
    }

    /// The last one of this name, as `kubectl apply` would leave it.
    fn find(&self, kind: Kind, name: &str) -> Option<&Values> {
        self.0.iter().rev().find(|(of, known, _)| *of == kind && known == name).map(|(_, _, values)| values)
    }

    fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _, _)| *of == kind).map(|(_, name, _)| name.as_str())
    }
}

/// `data` and what goes beside it: `binaryData` of a ConfigMap; of a Secret `stringData`, which wins.
fn values(kind: Kind, object: &Node, reporter: &mut Reporter) -> Vec<(String, Vec<u8>)> {
    let sources: &[(&str, bool)] = match kind {
        Kind::ConfigMap => &[("data", false), ("binaryData", true)],
        Kind::Secret => &[("data", true), ("stringData", false)],
    };
    let mut values: Vec<(String, Vec<u8>)> = Vec::new();
    for (field, is_encoded) in sources {
        for entry in object.get(field).and_then(Node::entries).unwrap_or_default() {
            let Some(value) = value(entry, *is_encoded, reporter) else { continue };
            values.retain(|(known, _)| *known != entry.key);
            values.push((entry.key.clone(), value));
        }
    }
    values.sort();
    values
}

fn value(entry: &Entry, is_encoded: bool, reporter: &mut Reporter) -> Option<Vec<u8>> {
    let node = &entry.value;
    let Some(text) = node.as_str().or_else(|| node.is_null().then_some("")) else {
        let what = node.describe();
        reporter
            .error(node.span, format!("the value of {} is a string, not {what}", entry.key))
            .help("put it in quotes");
        return None;
    };
    if !is_encoded {
        return Some(text.as_bytes().to_vec());
    }
    // A block of many lines is folded by whoever wrote it, and the API server does not mind.
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let decoded = BASE64.decode(&text);
    if decoded.is_err() {
        let message = format!("the value of {} is not base64", entry.key);
        reporter
            .error(node.span, message)
            .help("encode it, or put it into stringData (of a Secret) or data (of a ConfigMap)");
    }
    decoded.ok()
}

impl Reading<'_> {
    /// The values that a reference means. `name_key`: where its name stands. The outer `None`: told already; the inner one:
    /// it is not there, and may be missing.
    pub(super) fn config(&mut self, kind: Kind, reference: &Node, name_key: &str) -> Option<Option<Values>> {
        let name = self.text(reference, name_key)?;
        let is_optional = self.is_optional(reference);
        if let Some(values) = self.configs.find(kind, &name) {
            return Some(Some(Rc::clone(values)));
        }
        if is_optional {
            return Some(None);
        }
        let span = reference.get(name_key).map_or(reference.span, |node| node.span);
        let nearest = self.reporter.nearest(&name, self.configs.names(kind)).map(str::to_owned);
        let kind = kind.name();
        let told = self.reporter.error(span, format!("there is no {kind} {} in this file", quote(&name)));
        match nearest {
            Some(nearest) => told.did_you_mean(Some(&nearest)),
            None => told.help(format!(
                "put the {kind} into the file, as a document of its own (`---`), or add `optional: true`"
            )),
        };
        None
    }

    /// One value of them, as a reference's `key` says. As above.
    pub(super) fn config_value(&mut self, kind: Kind, reference: &Node) -> Option<Option<Vec<u8>>> {
        let key = self.text(reference, "key")?;
        let Some(values) = self.config(kind, reference, "name")? else { return Some(None) };
        let span = reference.get("key").map_or(reference.span, |node| node.span);
        self.value_of(kind, &values, &key, span, self.is_optional(reference))
    }

    pub(super) fn value_of(
        &mut self,
        kind: Kind,
        values: &Values,
        key: &str,
        span: Span,
        is_optional: bool,
    ) -> Option<Option<Vec<u8>>> {
        if let Some((_, value)) = values.iter().find(|(known, _)| known == key) {
            return Some(Some(value.clone()));
        }
        if is_optional {
            return Some(None);
        }
        let nearest = self.reporter.nearest(key, values.iter().map(|(known, _)| known.as_str()));
        let known: Vec<&str> = values.iter().map(|(known, _)| known.as_str()).collect();
        let told = self.reporter.error(span, format!("this {} has no key {}", kind.name(), quote(key)));
        match nearest {
            Some(nearest) => told.did_you_mean(Some(nearest)),
            None if known.is_empty() => told.help("it is empty"),
            None => told.help(format!("it has {}", known.join(", "))),
        };
        None
    }

    pub(super) fn is_optional(&self, reference: &Node) -> bool {
        reference.get("optional").and_then(Node::typed) == Some(Typed::Bool(true))
    }
}

/// A value as text, or `None` if it is none.
pub(super) fn as_text(value: &[u8]) -> Option<String> {
    String::from_utf8(value.to_vec()).ok().filter(|text| !text.contains('\0'))
}

/// The permission bits of a file. kubectl reads `0400` as octal (YAML 1.1); JSON and `256` have none.
pub(super) fn mode(node: &Node) -> Option<u32> {
    let number = match node.typed()? {
        Typed::Integer(number) => u32::try_from(number).ok()?,
        Typed::String(text) if text_of(node).is_some() && text.starts_with('0') => u32::from_str_radix(text, 8).ok()?,
        _ => return None,
    };
    (number <= 0o777).then_some(number)
}
