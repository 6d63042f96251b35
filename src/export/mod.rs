//! Out of the pod: a plan as an object of an engine whose steps are pods of their own.
//!
//! ```text
//! export(&file, target, is_lossy) ─> Exported { text, told } | Diagnostics
//! ```
//! What the engine cannot say is an error at its place in the manifest. With `is_lossy` it is a warning instead, and a
//! comment in the output where it would be. `docs/export.md` has the tables of what becomes what.
//!
//! Belongs here: what a plan and its pod are in another engine's words. Does not belong here: reading files, printing, and
//! what a plan means.

mod argo;
mod containers;
mod flow;
mod gaps;
mod jobset;
mod page;
mod references;
mod volumes;

use std::sync::Arc;

use flow::Flow;
use serde_json::Value;

use crate::inject::to_json;
use crate::plan::{Diagnostic, Diagnostics, Manifest, RestartPolicy, SourceFile};

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Workflow of Argo Workflows (3.5 and above; checked against 4.1).
    Argo,
    /// A JobSet of Kubernetes SIG Apps (0.10 and above; checked against 0.12).
    JobSet,
}

impl Target {
    /// What the result is called.
    const fn name(self) -> &'static str {
        match self {
            Self::Argo => "an Argo Workflow",
            Self::JobSet => "a JobSet",
        }
    }
}

/// A plan in an engine's words.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The manifest.
    pub text: String,
    /// What it does not say.
    pub told: Diagnostics,
}

/// Kinds of objects whose pods are kept running.
const KEPT: [&str; 5] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"];

/// The kinds of objects that can be exported.
const KINDS: [&str; 4] = ["Pod", "PodTemplate", "Job", "CronJob"];

/// Writes the one plan of a manifest down for another engine.
///
/// # Errors
/// A plan that cannot run, a pod that is not meant to end, or (unless `is_lossy`) something that the engine cannot say.
pub fn export(file: &Arc<SourceFile>, target: Target, is_lossy: bool) -> Result<Exported, Diagnostics> {
    let manifest = Manifest::read(file.name(), file.text())?;
    refuse(&manifest, target)?;
    let checked = manifest.check(&manifest.facts)?;
    let manifest = manifest.expanded(&checked);
    let mut flow = Flow::new(&manifest, &checked, target);
    let page = match target {
        Target::Argo => argo::workflow(&mut flow),
        Target::JobSet => jobset::job_set(&mut flow),
    };
    let told = flow.gaps.finish(is_lossy);
    if told.has_errors() { Err(told) } else { Ok(Exported { text: others(&manifest) + &page.render(), told }) }
}

/// The other objects of the file, which the pods need as much as the one pod did.
fn others(manifest: &Manifest) -> String {
    let others = manifest.objects.iter().filter(|object| object.span != manifest.object.span);
    let texts = others.filter_map(|object| match to_json(object) {
        Value::Object(fields) => Some(page::Map::from(fields).render() + "---\n"),
        _ => None,
    });
    texts.collect()
}

/// What has no meaning for an engine of steps that end, `is_lossy` or not.
fn refuse(manifest: &Manifest, target: Target) -> Result<(), Diagnostics> {
    let wrong = |message: String, help: &str| {
        let mut diagnostic = Diagnostic::error(message);
        diagnostic.at(&manifest.file, manifest.plan_key).help(help);
        Err(diagnostic.into())
    };
    if manifest.is_wired {
        return wrong(
            "this pod is wired already: its commands begin with podturn's shim".to_owned(),
            "export what it was wired from; `podturn uninject` gives that back",
        );
    }
    let name = target.name();
    if KEPT.contains(&manifest.kind.as_str()) {
        return wrong(
            format!("{name} ends, and the pods of a {} are kept running", manifest.kind),
            "a Pod or a Job can be exported; services that start in order and stay are what a pod is for",
        );
    }
    if !KINDS.contains(&manifest.kind.as_str()) {
        return wrong(
            format!("what a {} says besides its pod is not known here", manifest.kind),
            "a Pod, a PodTemplate, a Job or a CronJob can be exported: put the pod into one",
        );
    }
    if manifest.facts.restart_policy == RestartPolicy::Always {
        return wrong(
            format!("{name} ends, and the containers of this pod restart for ever"),
            "write `restartPolicy: Never` if its tasks are to end",
        );
    }
    Ok(())
}
