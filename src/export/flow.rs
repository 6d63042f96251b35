//! What is to be exported: the plan's steps with their containers, each as a pod of its own, and what any engine of such
//! pods cannot do.
//!
//! Belongs here: what is the same for all engines. Does not belong here: any engine's words.

use std::collections::BTreeSet;

use podturn_turn::{Condition, Plan, Step};

use super::Target;
use super::containers::mentions;
use super::gaps::{Gap, Gaps, Spot};
use crate::inject::job_of;
use crate::plan::diagnostic::quote;
use crate::plan::site::at;
use crate::plan::yaml::{Node, Typed};
use crate::plan::{Checked, Manifest, Places, Span};

/// Fields of a pod that one of many cannot have, with the reason.
pub(super) const ALONE: [(&str, &str); 4] = [
    ("hostname", "one name for many pods"),
    ("nodeName", "it goes round the scheduler"),
    ("resources", "they were for all steps together; each step has its own"),
    ("subdomain", "one name for many pods"),
];

/// One pod of the result.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Its name: the container's.
    pub name: String,
    /// The container.
    pub container: Node,
    /// Which step of the plan it is; `None`: an init container, which is over before the first turn.
    pub step: Option<usize>,
}

/// All of it.
pub(super) struct Flow<'m> {
    pub manifest: &'m Manifest,
    pub checked: &'m Checked,
    pub target: Target,
    /// Init containers in their order, then steps in the plan's order.
    pub units: Vec<Unit>,
    /// Steps whose outputs somebody asks for.
    pub asked: BTreeSet<String>,
    pub gaps: Gaps,
    /// Where the plan says what.
    pub places: Places,
}

impl<'m> Flow<'m> {
    pub(super) fn new(manifest: &'m Manifest, checked: &'m Checked, target: Target) -> Self {
        let mut flow = Self {
            manifest,
            checked,
            target,
            units: Vec::new(),
            asked: BTreeSet::new(),
            gaps: Gaps::new(manifest),
            places: Places::of(manifest),
        };
        flow.init_containers();
        flow.steps();
        flow.object();
        flow.alone();
        flow
    }

    pub(super) fn plan(&self) -> &'m Plan {
        &self.checked.plan
    }

    /// The step that a unit is.
    pub(super) fn step_of(&self, unit: &Unit) -> Option<&'m Step> {
        unit.step.map(|at| &self.plan().steps[at])
    }

    pub(super) fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.name == name)
    }

    /// What a unit waits for: names and conditions. The first steps wait for the last init container.
    pub(super) fn dependencies(&self, unit: &Unit) -> Vec<(String, Condition)> {
        let before = |at: usize| self.units[..at].last().map(|unit| (unit.name.clone(), Condition::Succeeded));
        let Some(step) = self.step_of(unit) else {
            let at = self.units.iter().position(|known| known.name == unit.name).unwrap_or_default();
            return before(at).into_iter().collect();
        };
        let steps = &self.plan().steps;
        let mut all: Vec<(String, Condition)> = step
            .depends_on
            .iter()
            .map(|dependency| (steps[dependency.step.index()].name.clone(), dependency.condition))
            .collect();
        if all.is_empty() && !step.finally {
            let inits = self.units.iter().take_while(|unit| unit.step.is_none()).count();
            all.extend(before(inits));
        }
        all
    }

    /// The services that a unit waits for by name.
    pub(super) fn services_of(&self, unit: &Unit) -> Vec<String> {
        let is_service =
            |name: &String| self.unit(name).and_then(|unit| self.step_of(unit)).is_some_and(|step| step.service);
        self.dependencies(unit).into_iter().map(|(name, _)| name).filter(is_service).collect()
    }

    /// Notes that a field of a step cannot be said.
    pub(super) fn step_gap(&mut self, unit: &Unit, field: &str, message: impl Into<String>, help: &str) -> &mut Gap {
        let place = self.places.step_field(self.checked.pattern_of(&unit.name), field);
        self.gaps.add(Spot::Step(unit.name.clone()), place, message, help)
    }

    /// Notes that a field of the plan cannot be said.
    pub(super) fn plan_gap(&mut self, field: &str, message: impl Into<String>, help: &str) -> &mut Gap {
        let place = self.places.field(&[field]);
        self.gaps.add(Spot::Head, place, message, help)
    }

    fn items(&self, list: &str) -> &'m [Node] {
        self.manifest.spec.list(list)
    }

    fn init_containers(&mut self) {
        for container in self.items("initContainers") {
            let Some(name) = container.get("name") else { continue };
            let text = name.as_str().unwrap_or_default();
            if container.get("restartPolicy").and_then(Node::as_str) == Some("Always") {
                let message = format!("the sidecar {} lives beside all steps of one pod", quote(text));
                let help = "make it a service of the plan, or give it to each step that needs it afterwards";
                self.gaps.add(Spot::Head, name.place(), message, help);
            } else {
                self.units.push(Unit { name: text.to_owned(), container: container.clone(), step: None });
            }
        }
    }

    fn steps(&mut self) {
        let containers = self.items("containers");
        let name_of = |container: &Node| container.get("name").and_then(Node::as_str).unwrap_or_default().to_owned();
        for (at, step) in self.plan().steps.iter().enumerate() {
            if let Some(container) = containers.iter().find(|container| name_of(container) == step.name) {
                self.units.push(Unit { name: step.name.clone(), container: container.clone(), step: Some(at) });
            }
        }
        for container in containers {
            let name = name_of(container);
            if self.unit(&name).is_none() {
                let message =
                    format!("the container {} is not in the plan, so nothing says when it runs", quote(&name));
                let place = container.get("name").map_or(container.place(), Node::place);
                self.gaps.add(Spot::Head, place, message, "make it a step, or a service");
            }
        }
    }

    /// What a Job or a CronJob says besides its pod.
    fn object(&mut self) {
        let schedule = self.manifest.object.get("spec").and_then(|spec| spec.get("schedule"));
        if let Some(schedule) = schedule.filter(|_| self.manifest.kind == "CronJob") {
            let message = "the schedule of this CronJob; one run of it is exported";
            let help = match self.target {
                Target::Argo => "export its Job, and wrap it in a CronWorkflow",
                Target::JobSet => "export its Job, and let a CronJob of your own create it",
            };
            self.gaps.add(Spot::Head, schedule.place(), message, help);
        }
        for field in ["completions", "parallelism"] {
            let wanted = self.job_field(field).filter(|node| !matches!(node.typed(), Some(Typed::Integer(1))));
            if let Some(place) = wanted.map(Node::place) {
                let message = format!("this Job runs the plan several times ({field})");
                self.gaps.add(Spot::Head, place, message, "export one run, and create it as often as it is wanted");
            }
        }
        let again = self.job_field("backoffLimit").filter(|node| !matches!(node.typed(), Some(Typed::Integer(0))));
        if let Some(place) = again.map(Node::place) {
            let message = "this Job runs the whole plan again when it has failed (backoffLimit)";
            self.gaps.add(Spot::Head, place, message, "write 0, and `retry` at the steps that may be tried again");
        }
    }

    /// A field of the Job that makes the pod.
    pub(super) fn job_field(&self, field: &str) -> Option<&'m Node> {
        let within = &job_of(self.manifest)?[self.manifest.site.object.len()..];
        at(&self.manifest.object, within)?.get("spec")?.get(field)
    }

    /// A number of the Job that makes the pod.
    pub(super) fn job_number(&self, field: &str) -> Option<u64> {
        match self.job_field(field)?.typed()? {
            Typed::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// Whether the Job that makes the pod waits to be resumed.
    pub(super) fn is_suspended(&self) -> bool {
        self.job_field("suspend").is_some_and(|node| node.typed() == Some(Typed::Bool(true)))
    }

    /// What the pod says, and one of many cannot.
    fn alone(&mut self) {
        for entry in self.manifest.spec.entries().unwrap_or_default() {
            if let Some((key, why)) = ALONE.iter().find(|(alone, _)| *alone == entry.key) {
                let message = format!("`{key}` of the pod: {why}");
                self.gaps.add(Spot::Head, entry.key_span, message, "leave it out");
            }
        }
    }

    /// Whether a unit leaves outputs, as far as can be seen.
    pub(super) fn has_outputs(&self, unit: &Unit) -> bool {
        self.asked.contains(&unit.name) || mentions(unit, "PODTURN_OUTPUTS")
    }

    /// Whether two tasks could run at the same time, so that one could go on after the other has failed.
    pub(super) fn has_branches(&self) -> bool {
        let is_task = |unit: &&Unit| self.step_of(unit).is_none_or(|step| !step.service && !step.finally);
        let tasks: Vec<&Unit> = self.units.iter().filter(is_task).collect();
        let behind: Vec<BTreeSet<String>> = tasks.iter().map(|unit| self.ancestors(unit)).collect();
        tasks.iter().enumerate().any(|(at, one)| {
            let is_apart =
                |other: usize| !behind[at].contains(&tasks[other].name) && !behind[other].contains(&one.name);
            (at + 1..tasks.len()).any(is_apart)
        })
    }

    /// Whom a unit waits for, directly or through others.
    fn ancestors(&self, unit: &Unit) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut next = vec![unit.name.clone()];
        while let Some(unit) = next.pop().and_then(|name| self.unit(&name)) {
            let names = self.dependencies(unit).into_iter().map(|(name, _)| name);
            next.extend(names.filter(|name| found.insert(name.clone())));
        }
        found
    }

    /// The places of a container's field.
    pub(super) fn place(unit: &Unit, field: &str) -> Span {
        let entries = unit.container.entries().unwrap_or_default();
        entries.iter().find(|entry| entry.key == field).map_or(unit.container.place(), |entry| entry.key_span)
    }
}

/// A duration in whole seconds, as engines count them; rounded up, so that nothing is cut short.
pub(super) const fn seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}
