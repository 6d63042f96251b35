//! What a cluster is given: the objects of the file, the one with the plan last.
//!
//! Belongs here: which objects, and which pod of theirs is the run. Does not belong here: wiring, calling kubectl.

use serde_json::Value;

use crate::inject::to_json;
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;
use crate::plan::{Diagnostics, Manifest, Reporter, Span};

/// What is created.
#[derive(Clone, Debug)]
pub struct Create {
    /// `pod` or `job`, as kubectl calls it.
    pub(super) kind: &'static str,
    /// The object with the plan.
    pub(super) object: Value,
    /// The others of the file, as one `List`; `None`: it is alone.
    pub(super) others: Option<Value>,
}

/// What can be run in a cluster until it ends: a Pod, or a Job of one pod.
///
/// # Errors
/// For other kinds, which have no end.
pub fn create(manifest: &Manifest) -> Result<Create, Diagnostics> {
    let kind = match manifest.kind.as_str() {
        "Pod" => "pod",
        "Job" => "job",
        other => return Err(refuse(manifest, manifest.object.place(), &format!("a {other} has no end to wait for"))),
    };
    let spec = manifest.object.get("spec");
    for field in ["completions", "parallelism"] {
        let number = spec.and_then(|spec| spec.get(field));
        if let Some(node) = number.filter(|number| kind == "job" && to_json(number).as_u64() != Some(1)) {
            return Err(refuse(manifest, node.place(), "a Job of more than one pod has more than one run"));
        }
    }
    let is_other = |object: &&Node| object.span != manifest.object.span;
    let others: Vec<Value> = manifest.objects.iter().filter(is_other).map(to_json).collect();
    let others =
        (!others.is_empty()).then(|| serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": others }));
    Ok(Create { kind, object: to_json(&manifest.object), others })
}

fn refuse(manifest: &Manifest, place: Span, why: &str) -> Diagnostics {
    let mut reporter = Reporter::new(&manifest.file);
    let help = format!(
        "podturn inject {} | kubectl apply -f -; then `podturn --pod NAME status` shows one of its pods",
        quote(manifest.file.name())
    );
    reporter.error(place, why).help(help);
    reporter.finish()
}
