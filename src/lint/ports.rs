//! The containers of a pod share one network: a port is free for one of them at a time.

use std::collections::BTreeMap;

use super::codes;
use super::findings::Found;
use super::pod::Pod;
use super::volumes::said;
use crate::plan::Span;
use crate::plan::yaml::{Node, Typed};

pub(super) fn ask(pod: &Pod<'_>, found: &mut Found) {
    let mut ports: BTreeMap<(i64, &str), Vec<(usize, Span)>> = BTreeMap::new();
    let steps = pod.steps();
    for (step, _, container) in &steps {
        for port in container.list("ports") {
            let Some(node) = port.get("containerPort") else { continue };
            let Some(Typed::Integer(number)) = node.typed() else { continue };
            let protocol = port.get("protocol").and_then(Node::as_str).unwrap_or("TCP");
            ports.entry((number, protocol)).or_default().push((*step, node.place()));
        }
    }
    for ((port, _), listeners) in ports {
        for (at, (step, span)) in listeners.iter().enumerate() {
            let Some((other, _)) = listeners[..at].iter().find(|(other, _)| pod.order.may_overlap(*other, *step))
            else {
                continue;
            };
            let names = [*other, *step].map(|step| pod.plan().steps[step].name.as_str());
            let message = format!(
                "{} may run at the same time, and listen on port {port}: the second one finds it taken",
                said(&names)
            );
            found
                .add(codes::SAME_PORT, *span, message, &names.map(|name| pod.container_of(name)))
                .help("the containers of a pod share one network: give each a port of its own");
        }
    }
}
