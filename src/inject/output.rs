//! A whole text in another format.
//!
//! Belongs here: rewriting all documents. Does not belong here: editing one (`edit`).

use std::sync::Arc;

use super::documents::split;
use super::tree::Tree;
use super::write::Look;
use crate::plan::yaml::parse;
use crate::plan::{Diagnostics, Source, SourceFile};

/// A format for whole texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON value: the object, or a `List` of several.
    Json,
    /// YAML in block style.
    Yaml,
}

/// The text in a format; comments and anchors are lost.
///
/// # Errors
/// Text that is not YAML.
pub fn convert(file: &Arc<SourceFile>, format: Format) -> Result<String, Diagnostics> {
    let mut objects = Vec::new();
    for span in split(file.text()) {
        for document in parse(&Source::part(Arc::clone(file), span))?.iter().filter(|document| !document.is_null()) {
            objects.push(Tree::from(document));
        }
    }
    Ok(match format {
        Format::Json => json(&objects),
        Format::Yaml => objects.iter().map(yaml).collect::<Vec<_>>().join("---\n"),
    })
}

fn json(objects: &[Tree]) -> String {
    let value = match objects {
        [one] => one.to_json(),
        several => {
            let items: Vec<_> = several.iter().map(Tree::to_json).collect();
            serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items })
        }
    };
    format!("{value:#}\n")
}

const YAML: Look = Look { is_json: false, line_end: "\n", list_indent: 2, unit: 2, has_literals: true };

/// A value on one line of YAML, quoted where any reader could take it for something else.
#[must_use]
pub fn flow(value: &serde_json::Value) -> String {
    YAML.flow(&Tree::from(value.clone()))
}

fn yaml(object: &Tree) -> String {
    let look = YAML;
    let mut lines = Vec::new();
    match object {
        Tree::Map(entries) => entries.iter().for_each(|(key, value)| look.entry(key, value, 0, &mut lines)),
        other => lines.push(look.flow(other)),
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
