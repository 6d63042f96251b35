//! What a Job says about pods that hang, and about itself when it has finished.

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::inject::{Deadline, job_of};
use crate::plan::site::at;
use crate::plan::yaml::Node;

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    deadline(pod, found);
    ttl(pod, found);
}

fn job<'p>(pod: &Pod<'p>) -> Option<&'p Node> {
    at(pod.document, job_of(&pod.manifest)?)?.get("spec")
}

/// A container whose image cannot be pulled keeps the pod Pending for ever, whatever the plan says. `inject` writes a limit
/// where there is none: what the plan's limits add up to, or a whole day.
fn deadline(pod: &Pod<'_>, found: &mut Found) {
    const KEY: &str = "activeDeadlineSeconds";
    let job = job(pod);
    let is_lone_pod = pod.manifest.kind == "Pod" && !pod.is_long_running();
    if pod.spec().get(KEY).is_some() || job.is_some_and(|spec| spec.get(KEY).is_some()) {
        return;
    }
    let is_written = !pod.manifest.is_wired && pod.options.deadline != Deadline::Off;
    let has_limit = is_written && (pod.plan().timeout.is_some() || pod.options.deadline != Deadline::OfPlan);
    if has_limit || !(job.is_some() || (is_lone_pod && !is_written)) {
        return;
    }
    let what = if job.is_some() { "Job" } else { "pod" };
    let (message, help) = match is_written {
        true => (
            format!("neither this {what} nor its plan has a time limit: a pod that hangs is ended after a day"),
            format!("`{KEY}: 3600` in the {what}'s spec, or `timeout: 1h` in the plan, which `inject` writes there"),
        ),
        false => (
            format!("this {what} has no {KEY}: a container whose image cannot be pulled keeps it Pending for ever"),
            format!("`{KEY}: 3600` in the {what}'s spec"),
        ),
    };
    found.add(codes::DEADLINE, pod.manifest.plan_key, message, &[]).help(help);
}

/// Jobs of a CronJob have its history limits, and a JobSet has a limit of its own.
fn ttl(pod: &Pod<'_>, found: &mut Found) {
    let Some(spec) = job(pod).filter(|_| pod.manifest.kind == "Job") else { return };
    if spec.get("ttlSecondsAfterFinished").is_none() {
        found
            .add(
                codes::TTL,
                pod.manifest.plan_key,
                "this Job and its pods stay in the cluster when they have finished".to_owned(),
                &[],
            )
            .help("`ttlSecondsAfterFinished: 86400` in the Job's spec removes them after a day");
    }
}
