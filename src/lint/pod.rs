//! One pod as the rules see it: its plan, its containers, and the places of both in the file.

use podturn_turn::{Plan, Step};

use super::order::Order;
use crate::inject::{Options, PODTURN, PODTURN_INIT};
use crate::plan::yaml::{Node, Typed};
use crate::plan::{Checked, Manifest, Places, RestartPolicy, Span};

/// A pod whose plan is right.
pub(super) struct Pod<'p> {
    pub document: &'p Node,
    /// As it was found, but for the containers of a matrix, which are written out.
    pub manifest: Manifest,
    pub checked: &'p Checked,
    pub options: &'p Options,
    pub order: Order<'p>,
    /// Where the plan says what.
    pub places: Places,
}

impl<'p> Pod<'p> {
    pub(super) fn new(document: &'p Node, manifest: &Manifest, checked: &'p Checked, options: &'p Options) -> Self {
        let (order, places) = (Order::of(&checked.plan), Places::of(manifest));
        Self { document, manifest: manifest.expanded(checked), checked, options, order, places }
    }

    pub(super) fn plan(&self) -> &'p Plan {
        &self.checked.plan
    }

    pub(super) fn spec(&self) -> &Node {
        &self.manifest.spec
    }

    /// Whether the pod's containers restart for ever.
    pub(super) fn is_long_running(&self) -> bool {
        self.manifest.facts.restart_policy == RestartPolicy::Always
    }

    /// The containers of `containers` or `initContainers` that are not podturn's own, with their names.
    pub(super) fn containers(&self, list: &str) -> Vec<(&str, &Node)> {
        let items = self.spec().list(list);
        let named = items.iter().filter_map(|item| Some((item.get("name")?.as_str()?, item)));
        named.filter(|(name, _)| ![PODTURN, PODTURN_INIT].contains(name)).collect()
    }

    /// Each step, in plan order, with its container.
    pub(super) fn steps(&self) -> Vec<(usize, &'p Step, &Node)> {
        let containers: std::collections::HashMap<&str, &Node> = self.containers("containers").into_iter().collect();
        let steps = self.plan().steps.iter().enumerate();
        steps.filter_map(|(at, step)| Some((at, step, *containers.get(step.name.as_str())?))).collect()
    }

    /// The name of the container in the manifest: for an instance of a matrix, that of its pattern.
    pub(super) fn container_of<'s>(&'s self, step: &'s str) -> &'s str {
        self.checked.pattern_of(step)
    }

    /// Where the plan names the step; the whole plan where it names none.
    pub(super) fn place_of(&self, step: &str) -> Span {
        self.places.step(self.container_of(step))
    }

    /// A number of the container's `securityContext`, or of the pod's where the container says nothing.
    pub(super) fn security(&self, container: &Node, field: &str) -> Option<i64> {
        let of = |node: &Node| match node.get("securityContext")?.get(field)?.typed()? {
            Typed::Integer(number) => Some(number),
            _ => None,
        };
        of(container).or_else(|| of(self.spec()))
    }
}
