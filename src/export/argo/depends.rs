//! What a task waits for, in Argo's enhanced `depends` logic.
//!
//! The words are those of Argo's page "Enhanced Depends Logic" (docs/enhanced-depends-logic.md, 4.1): a task is Succeeded,
//! Failed (its container ended with a code), Errored (anything else went wrong with it), Skipped (its `when` was false),
//! Omitted (its `depends` was false) or Daemoned (a service that is ready). All tasks that are named have to be fulfilled before
//! the expression is evaluated, and a daemoned task is fulfilled.
//!
//! Belongs here: one condition, and all of a task together. Does not belong here: anything else of a task.

use podturn_turn::{Condition, Step};

use super::names::task_of;
use crate::export::flow::{Flow, Unit};
use crate::plan::diagnostic::quote;

/// The expression; `None`: it waits for nobody.
pub(super) fn expression(flow: &mut Flow<'_>, unit: &Unit) -> Option<String> {
    let mut terms: Vec<String> = Vec::new();
    for (name, condition) in flow.dependencies(unit) {
        let on = flow.unit(&name).cloned();
        let step = on.as_ref().and_then(|on| flow.step_of(on));
        terms.extend(term(flow, unit, &name, step, condition));
    }
    let alone = terms.len() == 1;
    let terms = terms.into_iter().map(|term| if alone || !term.contains(' ') { term } else { format!("({term})") });
    let text = terms.collect::<Vec<_>>().join(" && ");
    (!text.is_empty()).then_some(text)
}

/// One dependency.
fn term(flow: &mut Flow<'_>, unit: &Unit, name: &str, on: Option<&Step>, condition: Condition) -> Option<String> {
    let is_service = on.is_some_and(|on| on.service);
    let may_fail = on.is_some_and(|on| on.allow_failure);
    if unit.step.is_some() && is_finally(flow, unit) && !on.is_some_and(|on| on.finally) {
        let message = format!(
            "finally step {} waits for {}: an exit handler sees only how all ended",
            quote(&unit.name),
            quote(name)
        );
        flow.step_gap(unit, "dependsOn", message, "let it ask $(plan.outcome)").instead("it always runs");
        return None;
    }
    if is_service {
        return service(flow, unit, name, on?, condition);
    }
    let task = task_of(flow, name);
    match condition {
        // The name alone is (Succeeded || Skipped || Daemoned).
        Condition::Succeeded | Condition::Ready => Some(task),
        Condition::Completed => Some(any_of(&task, &["Succeeded", "Failed", "Errored", "Skipped", "Omitted"])),
        Condition::Failed if may_fail => {
            let message = format!("step {} waits for a failure of {} that is allowed", quote(&unit.name), quote(name));
            let help = "leave `allowFailure` out; the outcome is Failed then";
            flow.step_gap(unit, "dependsOn", message, help).instead("it waits until that has ended");
            Some(task)
        }
        Condition::Failed => Some(any_of(&task, &["Failed", "Errored"])),
        Condition::Started => {
            let message = format!(
                "step {} waits until {} has begun, which no task of Argo's can",
                quote(&unit.name),
                quote(name)
            );
            flow.step_gap(unit, "dependsOn", message, "make that a service, or wait for its end")
                .instead("it does not wait for that");
            None
        }
    }
}

fn is_finally(flow: &Flow<'_>, unit: &Unit) -> bool {
    flow.step_of(unit).is_some_and(|step| step.finally)
}

/// A dependency on a service: a daemon, which Argo ends with the whole DAG.
fn service(flow: &mut Flow<'_>, unit: &Unit, name: &str, on: &Step, condition: Condition) -> Option<String> {
    let task = task_of(flow, name);
    match condition {
        Condition::Ready => Some(task),
        Condition::Started if on.readiness.is_none() => Some(any_of(&task, &["Daemoned"])),
        Condition::Started => {
            let message = format!(
                "step {} waits until {} has begun, and Argo says only when it is ready",
                quote(&unit.name),
                quote(name)
            );
            flow.step_gap(unit, "dependsOn", message, "wait for Ready").instead("it waits until that is ready");
            Some(any_of(&task, &["Daemoned"]))
        }
        Condition::Succeeded | Condition::Failed | Condition::Completed => {
            let message = format!(
                "step {} waits for the end of {}, which Argo keeps until all is over",
                quote(&unit.name),
                quote(name)
            );
            flow.step_gap(unit, "dependsOn", message, "wait for the steps that need the service")
                .instead("it does not wait for that");
            None
        }
    }
}

fn any_of(task: &str, results: &[&str]) -> String {
    results.iter().map(|result| format!("{task}.{result}")).collect::<Vec<_>>().join(" || ")
}
