//! Services: who waits for them, when they are ready, and the time that they need on the way down.

use podturn_turn::{Condition, Dependency, StepId};

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::plan::Span;
use crate::plan::diagnostic::{listed, quote};

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    used(pod, found);
    ready(pod, found);
    grace(pod, found);
}

/// In a pod that completes, a service is there for others. One that nobody waits for is stopped when the tasks have ended,
/// and may not even have started when they begin.
fn used(pod: &Pod<'_>, found: &mut Found) {
    if pod.is_long_running() {
        return;
    }
    let plan = pod.plan();
    for (id, service) in (0..).map(StepId).zip(&plan.steps).filter(|(_, step)| step.service) {
        if plan.steps.iter().any(|step| step.depends_on.iter().any(|dependency| dependency.step == id)) {
            continue;
        }
        let name = quote(&service.name);
        let message = format!("nobody waits for the service {name}: steps may need it before it is ready");
        let container = pod.container_of(&service.name);
        found
            .add(codes::UNUSED_SERVICE, pod.place_of(&service.name), message, &[container])
            .help(format!("`dependsOn: [{}]` at the steps that use it", service.name));
    }
}

fn ready(pod: &Pod<'_>, found: &mut Found) {
    let plan = pod.plan();
    for (at, service, container) in pod.steps().into_iter().filter(|(_, step, _)| step.service) {
        let is_on = |on: &Dependency| on.step.index() == at && on.condition == Condition::Ready;
        let first = plan.steps.iter().find(|step| step.depends_on.iter().any(is_on));
        let Some(first) = first.filter(|_| service.readiness.is_none()) else { continue };
        let (name, first) = (quote(&service.name), quote(&first.name));
        let message = format!("{name} has no readiness, so {first} begins as soon as its command is started");
        let help = match container.get("readinessProbe") {
            Some(_) => {
                "its readinessProbe is the kubelet's; say the same in the plan: `readiness: { tcpSocket: { port: 5432 } }`"
            }
            None => "add, for example, `readiness: { tcpSocket: { port: 5432 } }`",
        };
        let pattern = pod.container_of(&service.name);
        found.add(codes::NO_READINESS, pod.place_of(&service.name), message, &[pattern]).help(help);
    }
}

/// When the pod is deleted, tasks end first, then the services level by level, then finally steps run. Each level may take
/// `gracePeriod`.
fn grace(pod: &Pod<'_>, found: &mut Found) {
    let plan = pod.plan();
    // One grace period that is longer than the pod's has been told by the plan's check.
    let is_told = |diagnostic: &crate::plan::Diagnostic| diagnostic.code == Some(codes::GRACE.code);
    if pod.checked.warnings.sorted().into_iter().any(is_told) {
        return;
    }
    let services = pod.order.service_levels();
    let tasks = u64::from(plan.steps.iter().any(|step| !step.service && !step.finally));
    let last = u64::from(plan.steps.iter().any(|step| !step.service && step.finally));
    let levels = tasks + services + last;
    let needed = levels.saturating_mul(plan.grace_period).div_ceil(1000);
    let allowed = pod.manifest.facts.termination_grace_period_seconds;
    if needed <= allowed {
        return;
    }
    let mut parts = Vec::new();
    if tasks > 0 {
        parts.push("tasks".to_owned());
    }
    match services {
        0 => {}
        1 => parts.push("services".to_owned()),
        levels => parts.push(format!("{levels} levels of services")),
    }
    if last > 0 {
        parts.push("finally steps".to_owned());
    }
    let each = plan.grace_period.div_ceil(1000);
    let message = format!(
        "on the way down {} may need {each} s each, {needed} s together, and the pod has {allowed} s",
        listed(&parts)
    );
    let node = pod.spec().get("terminationGracePeriodSeconds");
    let span: Span = node.map_or_else(|| pod.places.field(&["gracePeriod"]), |node| node.place());
    found.add(codes::GRACE, span, message, &[]).help(format!(
        "`terminationGracePeriodSeconds: {needed}` in the pod's spec, or a shorter `gracePeriod` in the plan"
    ));
}
