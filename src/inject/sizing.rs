//! Right-sized pods (`--pod-resources`): the pod asks for what its steps need at the same moment, not for the sum of all.
//!
//! Pod-level resources are KEP-2837 (on by default since Kubernetes 1.34). The API server refuses a pod whose own request is below
//! the sum of its containers', so the steps' requests shrink, each in the same proportion: their CPU weights and their places in the kernel's
//! list of victims stay what they were to each other. A limit without a request would count as one, so a request is written beside each.
//!
//! Belongs here: containers as numbers, and the sum over a pod. Does not belong here: which steps run together
//! ([`podturn_turn::peak`]), and how quantities are written (`quantity`).

use podturn_turn::peak;

use super::options::{Options, Version};
use super::parts;
use super::quantity::{of_bytes, of_millicores, thousandths, whole};
use super::report::Change;
use super::step::Field;
use super::tree::{Tree, entries_of, put};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::{Node, Value};
use crate::plan::{Checked, Manifest, Placement, Reporter};

/// The first Kubernetes whose pods have resources of their own unless that is switched off (KEP-2837).
const SINCE: Version = Version { major: 1, minor: 34 };

/// What a pod can ask for as a whole. Hugepages could be, too, but are not shared out by time; other resources cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    Cpu,
    Memory,
}

const RESOURCES: [Resource; 2] = [Resource::Cpu, Resource::Memory];

impl Resource {
    const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// In millicores, or bytes.
    fn read(self, text: &str) -> Result<u64, &'static str> {
        match self {
            Self::Cpu => thousandths(text),
            Self::Memory => whole(text),
        }
    }

    fn write(self, amount: u64) -> String {
        match self {
            Self::Cpu => of_millicores(amount),
            Self::Memory => of_bytes(amount),
        }
    }

    /// A container keeps this much of what it asked for, and a multiple of it.
    const fn least(self) -> u64 {
        match self {
            Self::Cpu => 1,
            Self::Memory => 1 << 20,
        }
    }
}

/// What cannot be sized: each with its place.
pub(super) fn ask(manifest: &Manifest, checked: &Checked, options: &Options, reporter: &mut Reporter) {
    if !options.pod_resources {
        return;
    }
    if options.kubernetes < SINCE {
        let what = format!("Kubernetes {} has no resources of a pod as a whole (KEP-2837)", options.kubernetes);
        reporter
            .error(manifest.plan_key, what)
            .help(format!("--kubernetes {SINCE} and above, or leave --pod-resources out"));
    }
    let spec = &manifest.spec;
    if let Some(node) = spec.get("resources").filter(|node| node.entries().is_some_and(|all| !all.is_empty())) {
        reporter
            .error(node.place(), "this pod has resources of its own, which --pod-resources would replace")
            .help("take them out, or leave --pod-resources out");
    }
    for container in ["initContainers", "containers"].iter().filter_map(|list| spec.get(list)?.items()).flatten() {
        let name = container.get("name").and_then(Node::as_str).unwrap_or_default();
        for kind in ["requests", "limits"] {
            let Some(of) = container.get("resources").and_then(|resources| resources.get(kind)) else { continue };
            for resource in RESOURCES {
                let Some(node) = of.get(resource.name()) else { continue };
                if let Some((name, why)) = unreadable(container, name, kind, resource, checked) {
                    let what = format!("{}.{} of container {} cannot be read", kind, resource.name(), quote(&name));
                    reporter.error(node.place(), what).help(why);
                }
            }
        }
    }
}

/// The first container, of those that a matrix makes of this one, whose quantity is none, and why.
fn unreadable(
    container: &Node,
    name: &str,
    kind: &str,
    resource: Resource,
    checked: &Checked,
) -> Option<(String, &'static str)> {
    let read = |container: &Node| {
        let node = container.get("resources")?.get(kind)?.get(resource.name())?;
        scalar(node).ok_or("a quantity is one value").and_then(|text| resource.read(text)).err()
    };
    match checked.matrices.iter().find(|matrix| matrix.step == name) {
        Some(matrix) => matrix
            .instances
            .iter()
            .find_map(|instance| Some((instance.name.clone(), read(&instance.container(container))?))),
        None => Some((name.to_owned(), read(container)?)),
    }
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// The containers of a pod, each as it is written once it is wired.
struct Containers {
    /// In plan order.
    steps: Vec<Tree>,
    unmanaged: Vec<Tree>,
    /// In their order, with whether it goes on as a native sidecar.
    init: Vec<(Tree, bool)>,
}

impl Containers {
    fn of(manifest: &Manifest, checked: &Checked, options: &Options) -> Self {
        let list = |name: &str| manifest.spec.list(name);
        let named = |name: &str| list("containers").iter().find(|c| c.get("name").and_then(Node::as_str) == Some(name));
        let step = |name: &str| match (named(checked.pattern_of(name)), checked.instance(name)) {
            (Some(node), Some(instance)) => Tree::from(&instance.container(node)),
            (Some(node), None) => Tree::from(node),
            (None, _) => Tree::Map(Vec::new()),
        };
        let mut unmanaged: Vec<Tree> = list("containers")
            .iter()
            .filter(|c| !checked.manages(c.get("name").and_then(Node::as_str).unwrap_or_default()))
            .map(Tree::from)
            .collect();
        let mut init = vec![(parts::init("", "", false, options), false)];
        init.extend(list("initContainers").iter().map(|container| {
            let is_sidecar = container.get("restartPolicy").and_then(Node::as_str) == Some("Always");
            (Tree::from(container), is_sidecar)
        }));
        let coordinator = parts::coordinator(false, options);
        match options.placement {
            Placement::Sidecar => init.push((coordinator, true)),
            Placement::Container => unmanaged.push(coordinator),
        }
        Self { steps: checked.plan.steps.iter().map(|s| step(&s.name)).collect(), unmanaged, init }
    }

    /// What the scheduler counts when the steps together need this much (Kubernetes, "Resource sharing within containers").
    fn total(&self, resource: Resource, steps: u64) -> u64 {
        let (mut sidecars, mut start) = (0u64, 0u64);
        for (container, is_sidecar) in &self.init {
            let request = requested(container, resource);
            start = start.max(sidecars.saturating_add(request));
            if *is_sidecar {
                sidecars = sidecars.saturating_add(request);
            }
        }
        self.beside(resource).saturating_add(steps).max(start)
    }

    /// What is there beside the steps: unmanaged containers and native sidecars, the coordinator among them.
    fn beside(&self, resource: Resource) -> u64 {
        let sidecars = self.init.iter().filter(|(_, is_sidecar)| *is_sidecar).map(|(container, _)| container);
        sum(sidecars.chain(&self.unmanaged).map(|container| requested(container, resource)))
    }
}

fn sum(amounts: impl Iterator<Item = u64>) -> u64 {
    amounts.fold(0, u64::saturating_add)
}

/// A container's request: a limit counts where there is none.
fn requested(container: &Tree, resource: Resource) -> u64 {
    let resources = container.get("resources");
    let of = |kind: &str| match resources?.get(kind)?.get(resource.name())? {
        Tree::Plain(text) | Tree::Text(text) => resource.read(text).ok(),
        Tree::List(_) | Tree::Map(_) => None,
    };
    of("requests").or_else(|| of("limits")).unwrap_or(0)
}

/// One resource of a pod, sized.
#[derive(Debug)]
struct Sized {
    resource: Resource,
    total: u64,
    /// What it would be without podturn's part.
    sum: u64,
    /// For each step, what is written as its request; `None`: it asks for nothing.
    requests: Vec<Option<u64>>,
    /// What the total follows from.
    follows: Follows,
    /// The steps that need most together.
    together: Vec<String>,
    peak: u64,
    is_exact: bool,
}

/// What a total follows from.
#[derive(Clone, Copy, Debug)]
enum Follows {
    /// The steps that need most together, with what is always there.
    Steps,
    /// What runs before them.
    Start,
    /// The least that is written at each step.
    Least,
}

/// What is written into a pod.
#[derive(Debug)]
pub(super) struct Sizing {
    sized: Vec<Sized>,
    names: Vec<String>,
}

impl Sizing {
    /// For a pod whose questions were asked before; `None` where it is not wanted.
    pub(super) fn of(manifest: &Manifest, checked: &Checked, options: &Options) -> Option<Self> {
        if !options.pod_resources {
            return None;
        }
        let containers = Containers::of(manifest, checked, options);
        let sized = RESOURCES.iter().filter_map(|resource| sized(*resource, &containers, checked)).collect();
        Some(Self { sized, names: checked.plan.steps.iter().map(|step| step.name.clone()).collect() })
    }

    /// Whether there is something to save.
    pub(super) const fn saves(&self) -> bool {
        !self.sized.is_empty()
    }

    /// The pod's own `resources`.
    pub(super) fn resources(&self) -> Tree {
        let write = |of: &Sized| (of.resource.name().to_owned(), Tree::Text(of.resource.write(of.total)));
        Tree::Map(vec![("requests".to_owned(), Tree::Map(self.sized.iter().map(write).collect()))])
    }

    /// The `resources` of a step's container, where something of them changes.
    pub(super) fn field(&self, step: &str, container: &Node) -> Option<Field> {
        let place = self.names.iter().position(|name| name == step)?;
        let own = container.get("resources");
        let (mut resources, mut requests) = (entries_of(own), entries_of(own.and_then(|own| own.get("requests"))));
        let mut is_changed = false;
        for of in &self.sized {
            let Some(amount) = of.requests.get(place).copied().flatten() else { continue };
            is_changed = true;
            put(&mut requests, of.resource.name(), Tree::Text(of.resource.write(amount)));
        }
        put(&mut resources, "requests", Tree::Map(requests));
        is_changed.then_some(Field::Set("resources", Tree::Map(resources)))
    }

    /// What was saved, for which steps, and what it costs.
    pub(super) fn told(&self, was_guaranteed: bool) -> Vec<Change> {
        let change = |what: &str, why: String| Change { what: what.to_owned(), why };
        if !self.saves() {
            let why = "they would not be smaller than the sum of the containers'".to_owned();
            return vec![change("no resources of the pod", why)];
        }
        let mut told: Vec<Change> = self.sized.iter().map(Sized::told).collect();
        told.push(change(
            "requests of the steps",
            "smaller in proportion, since the API server takes no larger sum than the pod's; limits, GPUs and others stay".to_owned(),
        ));
        told.push(if was_guaranteed {
            change("QoS class Burstable", "no longer Guaranteed: no CPUs of its own, and evicted sooner".to_owned())
        } else {
            change("QoS class Burstable", "as before".to_owned())
        });
        told.push(change(
            "CPU weights",
            "steps weigh among each other what they did, and less beside containers that are no steps".to_owned(),
        ));
        told
    }
}

impl Sized {
    fn told(&self) -> Change {
        let write = |amount| self.resource.write(amount);
        let names = self.together.join(", ");
        let reason = match self.follows {
            Follows::Start => "an init container, with the sidecars before it, needs that".to_owned(),
            Follows::Least => format!("each step keeps {} at least", write(self.resource.least())),
            Follows::Steps if self.is_exact && self.together.len() == 1 => {
                format!("{names} alone needs {}", write(self.peak))
            }
            Follows::Steps if self.is_exact => format!("{names} need {} at the same time", write(self.peak)),
            Follows::Steps => format!("steps need at most {} at the same time, {names} for instance", write(self.peak)),
        };
        Change {
            what: format!("requests.{}: {}", self.resource.name(), write(self.total)),
            why: format!("of the pod as a whole, instead of {}: {reason}", write(self.sum)),
        }
    }
}

fn sized(resource: Resource, containers: &Containers, checked: &Checked) -> Option<Sized> {
    let own: Vec<u64> = containers.steps.iter().map(|step| requested(step, resource)).collect();
    let peak = peak(&checked.plan, &own);
    let all = sum(own.iter().copied());
    let room = containers.total(resource, peak.total).saturating_sub(containers.beside(resource));
    let least = resource.least();
    let share = |own: u64| {
        let part = u128::from(own) * u128::from(room.min(all)) / u128::from(all.max(1));
        let part = u64::try_from(part).unwrap_or(u64::MAX) / least * least;
        (own > 0).then(|| part.max(least).min(own))
    };
    let requests: Vec<Option<u64>> = own.iter().map(|own| share(*own)).collect();
    // So many small steps that their least is more than what runs at once.
    let written = sum(requests.iter().flatten().copied());
    let total = containers.total(resource, peak.total.max(written));
    let before = containers.total(resource, all);
    let together = peak.steps.iter().map(|step| checked.plan.steps[step.index()].name.clone()).collect();
    let follows = match peak.total.max(written) {
        steps if containers.beside(resource).saturating_add(steps) < total => Follows::Start,
        steps if steps > peak.total => Follows::Least,
        _ => Follows::Steps,
    };
    let (peak, is_exact) = (peak.total, peak.is_exact);
    let sized = Sized { resource, total, sum: before, requests, follows, together, peak, is_exact };
    (total < before).then_some(sized)
}
