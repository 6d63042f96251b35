//! Single steps of the plan, and its pools: what never runs, and what has no end.

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::plan::diagnostic::{quote, shorten};
use crate::when::{Expression, View};

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    never(pod, found);
    finally(pod, found);
    pools(pod, found);
}

/// An expression without names has one value, whatever happens.
fn never(pod: &Pod<'_>, found: &mut Found) {
    for step in &pod.plan().steps {
        let Some(when) = &step.when else { continue };
        let Ok(expression) = Expression::read(when) else { continue };
        if expression.names().is_empty() && expression.evaluate(&View::default()) == Ok(false) {
            let (name, container) = (quote(&step.name), pod.container_of(&step.name));
            let message = format!("step {name} can never run: `{}` is always false", shorten(when));
            found.add(codes::NEVER, pod.places.step_field(container, "when"), message, &[container]).help(
                "a name in it makes a choice of it, such as `params.DEPLOY == 'yes'`; or take the step out of the plan",
            );
        }
    }
}

/// The plan's timeout does not cover finally steps.
fn finally(pod: &Pod<'_>, found: &mut Found) {
    if pod.plan().timeout.is_none() {
        return;
    }
    for step in pod.plan().steps.iter().filter(|step| step.finally && !step.service && step.timeout.is_none()) {
        let message = format!("the plan's timeout does not cover the finally step {}", quote(&step.name));
        let container = pod.container_of(&step.name);
        found
            .add(codes::FINALLY_TIMEOUT, pod.place_of(&step.name), message, &[container])
            .help("add a `timeout` to the step, so that the plan ends even when it hangs");
    }
}

fn pools(pod: &Pod<'_>, found: &mut Found) {
    let plan = pod.plan();
    for (at, pool) in (0u32..).zip(&plan.pools) {
        if plan.steps.iter().any(|step| step.uses.iter().any(|wanted| wanted.pool == at)) {
            continue;
        }
        let span = pod.places.field(&["pools", &pool.name]);
        let message = format!("no step uses the pool {}", quote(&pool.name));
        let help = format!("a step says `uses: {{ {}: 1 }}`; without it, it runs whatever the pool holds", pool.name);
        found.add(codes::UNUSED_POOL, span, message, &[]).help(help);
    }
}
