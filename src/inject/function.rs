//! KRM functions, as kustomize and kpt call them: a `ResourceList` comes in on stdin and goes out on stdout, with what was
//! done as its `results`
//! (<https://github.com/kubernetes-sigs/kustomize/blob/master/cmd/config/docs/api-conventions/functions-spec.md>).
//!
//! Belongs here: the list around the objects. Does not belong here: the objects, which are wired as those of any list.

use std::sync::Arc;

use serde_json::{Value, json};

use super::edit::{Edit, edited, look};
use super::report::PodReport;
use super::text::{Text, own};
use super::tree::Tree;
use crate::plan::yaml::{Node, parse};
use crate::plan::{Diagnostics, Severity, Source, SourceFile};

/// The `ResourceList` that a text is, if it is one.
///
/// # Errors
/// Text that is not YAML, where it names that kind.
pub fn resource_list(file: &Arc<SourceFile>) -> Result<Option<Node>, Diagnostics> {
    if !file.text().contains("ResourceList") {
        return Ok(None);
    }
    let document = parse(&Source::whole(Arc::clone(file)))?.into_iter().next();
    Ok(document.filter(|node| node.get("kind").and_then(Node::as_str) == Some("ResourceList")))
}

/// The list with these `results`, in the place of any that it had.
///
/// # Errors
/// Text that is not YAML.
pub fn with_results(name: &str, text: &str, pods: &[PodReport], told: &Diagnostics) -> Result<String, Diagnostics> {
    let Some(document) = parse(&Source::file(name, text))?.into_iter().next() else { return Ok(text.to_owned()) };
    let mut results: Vec<Value> = pods.iter().flat_map(of_pod).collect();
    results.extend(told.sorted().into_iter().map(|diagnostic| {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        let help = diagnostic.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
        json!({ "message": format!("{}{help}", diagnostic.message), "severity": severity })
    }));
    let (map, key, value) = (Vec::new(), "results".to_owned(), Tree::from(Value::Array(results)));
    let edit = match own(&document, "results") {
        Some(_) => Edit::Replace { map, key, value },
        None => Edit::Put { map, key, value, before: None },
    };
    let text = Text { text, look: look(text, &document, None) };
    Ok(edited(&text, &document, &[edit]).unwrap_or_else(|_| text.text.to_owned()))
}

fn of_pod(pod: &PodReport) -> Vec<Value> {
    let object = json!({ "apiVersion": pod.api_version, "kind": pod.kind, "name": pod.name });
    let result = |message: String| json!({ "message": message, "severity": "info", "resourceRef": object });
    let changes = pod.changes.iter().map(|change| result(format!("{}: {}", change.what, change.why)));
    std::iter::once(result(pod.summary.clone())).chain(changes).collect()
}
