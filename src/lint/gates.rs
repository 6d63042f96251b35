//! Containers that are no steps and wait for steps: a kubelet creates containers one after another, and the next one only when
//! the `postStart` hook of the one before has returned; init containers are over before any of them.

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use crate::plan::Span;
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    let containers = pod.containers("containers");
    let index = |step: &str| containers.iter().position(|(name, _)| *name == step);
    let steps = &pod.plan().steps;
    let is_step = |name: &str| steps.iter().any(|step| step.name == name);
    for (at, (name, container)) in containers.iter().enumerate().filter(|(_, (name, _))| !is_step(name)) {
        let hook =
            container.get("lifecycle").and_then(|lifecycle| lifecycle.get("postStart")?.get("exec")?.get("command"));
        for (step, span) in hook.map(waited_for).unwrap_or_default() {
            let needed = with_ancestors(pod, &step);
            let late = needed.iter().find(|needed| index(needed).is_some_and(|index| index > at));
            let Some(late) = late else { continue };
            let why = if *late == step { String::new() } else { format!(", which {} needs", quote(&step)) };
            let message = format!(
                "{} waits for itself: {}{why}, is created only when this hook has returned",
                quote(name),
                quote(late)
            );
            found.add(codes::GATE, span, message, &[*name]).help(format!("list {} after {}", quote(name), quote(late)));
        }
    }
    for (name, container) in pod.containers("initContainers") {
        let words = ["command", "args"].into_iter().filter_map(|field| container.get(field));
        for (step, span) in words.flat_map(waited_for) {
            let message = format!(
                "init container {} waits for itself: {} begins when all init containers are over",
                quote(name),
                quote(&step)
            );
            found
                .add(codes::GATE, span, message, &[name])
                .help("let an ordinary container wait, in a `postStart` hook");
        }
    }
}

/// The steps of `podturn-shim wait --for STEP=CONDITION` in a command, a shell's script included.
fn waited_for(command: &Node) -> Vec<(String, Span)> {
    let mut waited = Vec::new();
    let (mut is_shim, mut is_wait, mut is_for) = (false, false, false);
    for node in command.items().unwrap_or_default() {
        for word in node.as_str().unwrap_or_default().split_whitespace() {
            let condition = word.strip_prefix("--for=").or_else(|| is_for.then_some(word)).filter(|_| is_wait);
            if let Some((step, _)) = condition.and_then(|condition| condition.split_once('=')) {
                waited.push((step.to_owned(), node.place()));
            }
            is_for = word == "--for";
            is_wait = is_wait || (is_shim && word == "wait");
            is_shim = word.rsplit('/').next() == Some(podturn_wire::names::SHIM);
        }
    }
    waited
}

/// The step, and all that it depends on, the nearest first.
fn with_ancestors<'p>(pod: &Pod<'p>, step: &str) -> Vec<&'p str> {
    let steps = &pod.plan().steps;
    let mut queue: Vec<usize> = steps.iter().position(|known| known.name == step).into_iter().collect();
    let mut seen = vec![false; steps.len()];
    let mut next = 0;
    while let Some(at) = queue.get(next).copied() {
        next += 1;
        seen[at] = true;
        for dependency in &steps[at].depends_on {
            let on = dependency.step.index();
            if !std::mem::replace(&mut seen[on], true) {
                queue.push(on);
            }
        }
    }
    queue.into_iter().map(|at| steps[at].name.as_str()).collect()
}
