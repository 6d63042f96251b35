//! What is changed in a pod, and why.
//!
//! Belongs here: the list of changes of one pod. Does not belong here: how a change is made in the text (`edit`), what
//! cannot be wired (`refuse`), and what podturn's own containers look like (`parts`).

use super::edit::{Edit, Stuck, written};
use super::names::{PODTURN, PODTURN_INIT, PODTURN_SHIM};
use super::options::{Deadline, Medium, Options};
use super::parts;
use super::report::Change;
use super::restart::{RestartRules, restart_rules};
use super::sizing::Sizing;
use super::step::{Field, StepChange};
use super::text::own;
use super::tree::Tree;
use crate::plan::site::{Path, Seg, at, below};
use crate::plan::yaml::{Node, Typed};
use crate::plan::{Checked, Manifest, Placement, PodFacts, RestartPolicy, canonical};

/// A day: long enough for a pod that does something, and an end for one that never will.
pub(super) const DEADLINE_SECONDS: u64 = 24 * 60 * 60;

/// The changes of one pod.
pub(super) struct Wiring<'w> {
    /// The document as it is edited.
    document: &'w Node,
    options: &'w Options,
    pub edits: Vec<Edit>,
    pub changes: Vec<Change>,
    rules: RestartRules,
    sizing: Option<Sizing>,
    /// How many steps the plan has.
    pub steps: usize,
}

impl<'w> Wiring<'w> {
    pub(super) fn new(document: &'w Node, options: &'w Options, rules: RestartRules) -> Self {
        Self { document, options, edits: Vec::new(), changes: Vec::new(), rules, sizing: None, steps: 0 }
    }

    /// Wires a pod whose plan was checked with these facts.
    pub(super) fn pod(&mut self, manifest: &Manifest, checked: &Checked, facts: &PodFacts) -> Result<(), Stuck> {
        let pod = &manifest.site.pod;
        let spec = below(pod, "spec");
        self.deadline(manifest, checked, facts)?;
        self.job_defaults(manifest)?;
        self.share_pid(&spec)?;
        self.sizing(manifest, checked, &spec)?;
        self.add(&spec, "volumes", Vec::new(), parts::volumes(self.options), Some("containers"))?;
        let size = &self.options.size_limit;
        self.told(
            "volume podturn",
            &match &self.options.medium {
                Medium::Memory => format!("turns and reports, in memory, at most {size}"),
                Medium::Disk => format!("turns and reports, on the node's disk, at most {size}"),
                Medium::Claim(claim) => format!("turns and reports, on the claim {claim}"),
            },
        );
        if let Ok(Some(image)) = self.options.shim_image() {
            self.told(&format!("volume {PODTURN_SHIM}"), &format!("the shim for each step, out of the image {image}"));
        }
        self.podturn(manifest, checked, facts, &spec)?;
        let containers = at(self.document, &below(&spec, "containers")).and_then(Node::items).unwrap_or_default();
        for (index, name) in
            containers.iter().enumerate().filter_map(|(index, node)| Some((index, node.get("name")?.as_str()?)))
        {
            if checked.manages(name) {
                self.step(index, name, checked, &spec)?;
            }
        }
        self.steps = checked.plan.steps.len();
        self.told("command of each step", "the shim stands in front of it, and waits for the step's turn");
        let seen =
            if self.options.whole_volume { "the whole volume" } else { "its mailbox, and nothing else of the volume" };
        self.told("volumeMounts of each step", seen);
        Ok(())
    }

    fn told(&mut self, what: &str, why: &str) {
        let change = Change { what: what.to_owned(), why: why.to_owned() };
        if !self.changes.contains(&change) {
            self.changes.push(change); // steps of one image say the same of it
        }
    }

    fn told_of(&mut self, container: &str, changes: Vec<(&'static str, &'static str)>) {
        for (what, why) in changes {
            self.told(&format!("{what} of {container}"), why);
        }
    }

    /// What the pod asks for as a whole. What its steps ask for follows with each of them.
    fn sizing(&mut self, manifest: &Manifest, checked: &Checked, spec: &Path) -> Result<(), Stuck> {
        let Some(sizing) = Sizing::of(manifest, checked, self.options) else { return Ok(()) };
        if sizing.saves() {
            match own(written(self.document, spec)?, "resources") {
                Some(_) => self.set(spec, "resources", sizing.resources())?,
                None => self.put(spec, "resources", sizing.resources(), Some("containers"))?,
            }
        }
        self.changes.extend(sizing.told(is_guaranteed(&manifest.spec)));
        self.sizing = Some(sizing);
        Ok(())
    }

    fn share_pid(&mut self, spec: &Path) -> Result<(), Stuck> {
        const KEY: &str = "shareProcessNamespace";
        let node = written(self.document, spec)?;
        if !self.options.share_pid {
            return Ok(());
        }
        match node.get(KEY).and_then(Node::typed) {
            Some(Typed::Bool(true)) => {}
            Some(Typed::Bool(false)) => self.told(
                "no shared process namespace",
                "the manifest says so; usage, and what a killed step leaves behind, are not seen then",
            ),
            _ => {
                let value = Tree::Plain("true".to_owned());
                match own(node, KEY) {
                    Some(_) => self.set(spec, KEY, value)?,
                    None => self.put(spec, KEY, value, Some("containers"))?,
                }
                self.told(
                    "shareProcessNamespace: true",
                    "the coordinator sees what a killed step leaves behind, and usage",
                );
            }
        }
        Ok(())
    }

    /// The two entries.
    fn podturn(&mut self, manifest: &Manifest, checked: &Checked, facts: &PodFacts, spec: &Path) -> Result<(), Stuck> {
        let is_sized = self.sizing.as_ref().is_some_and(Sizing::saves);
        let is_guaranteed = !is_sized && is_guaranteed(&manifest.spec);
        let pod = serde_json::to_string(facts).unwrap_or_default();
        let init = parts::init(&canonical(&checked.plan), &pod, is_guaranteed, self.options);
        let coordinator = parts::coordinator(is_guaranteed, self.options);
        let is_sidecar = self.options.placement == Placement::Sidecar;
        let (last, first) = if is_sidecar { (vec![coordinator], Vec::new()) } else { (Vec::new(), vec![coordinator]) };
        self.add(spec, "initContainers", vec![init], last, Some("containers"))?;
        self.told(
            &format!("init container {PODTURN_INIT}"),
            "checks the plan and lays the volume out, before anything runs",
        );
        if self.options.by_files {
            self.told("--bell file", "shims and coordinator look at files, where containers share no sockets");
        }
        if is_sidecar {
            self.told(
                &format!("init container {PODTURN}"),
                "the coordinator, a native sidecar: hands out the turns, and ends after the steps",
            );
        } else {
            self.add(spec, "containers", first, Vec::new(), None)?;
            self.told(
                &format!("container {PODTURN}"),
                "the coordinator: hands out the turns, and ends with the plan's outcome",
            );
        }
        if !self.options.coordinator_env.is_empty() {
            let names: Vec<&str> = self.options.coordinator_env.keys().map(String::as_str).collect();
            self.told(&format!("env of {PODTURN}"), &names.join(", "));
        }
        if is_guaranteed {
            self.told("resources", "requests equal limits, so that the pod stays Guaranteed");
        }
        Ok(())
    }

    /// The container of a step, or of all instances of its matrix.
    fn step(&mut self, index: usize, name: &str, checked: &Checked, spec: &Path) -> Result<(), Stuck> {
        let containers = below(spec, "containers");
        let Some(node) = at(self.document, &containers).and_then(|list| list.items()?.get(index)) else {
            return Ok(());
        };
        if let Some(matrix) = checked.matrices.iter().find(|matrix| matrix.step == name) {
            let mut values = Vec::with_capacity(matrix.instances.len());
            for instance in &matrix.instances {
                let copy = instance.container(node);
                let change = self.change(&instance.name, &copy);
                values.push(change.applied(&copy));
                self.told_of(name, change.told);
            }
            let names: Vec<&str> = matrix.instances.iter().map(|instance| instance.name.as_str()).collect();
            self.told(
                &format!("containers of {name}"),
                &format!("one for each combination of its matrix: {}", names.join(", ")),
            );
            self.edits.push(Edit::Become { list: containers, index, values });
            return Ok(());
        }
        let change = self.change(name, node);
        let container = [containers.as_slice(), &[Seg::Index(index)]].concat();
        for field in change.fields {
            match field {
                Field::Set(name, value) => self.set(&container, name, value)?,
                Field::Before(name, words) => self.add(&container, name, words, Vec::new(), None)?,
                Field::After(name, mounts) => self.add(&container, name, Vec::new(), mounts, None)?,
            }
        }
        self.told_of(name, change.told);
        if let Some(image) = change.image {
            let why = "what the image runs by itself, since the shim has to know it";
            self.told(&format!("command of {image}"), why);
            if change.is_pinned {
                self.told(&format!("digest of {image}"), "so that what runs is the image that was read");
            }
        }
        Ok(())
    }

    fn change(&self, step: &str, container: &Node) -> StepChange {
        let mut change = StepChange::of(step, container, self.options);
        if self.rules.has(step) {
            change.fields.extend(restart_rules());
            let why = "killed as a whole (137, as when out of memory) it comes back: `retry` and `allowFailure` hold then too";
            change.told.push(("restartPolicyRules", why));
        }
        change.fields.extend(self.sizing.as_ref().and_then(|sizing| sizing.field(step, container)));
        change
    }

    /// `activeDeadlineSeconds`, at the Job where there is one.
    fn deadline(&mut self, manifest: &Manifest, checked: &Checked, facts: &PodFacts) -> Result<(), Stuck> {
        const KEY: &str = "activeDeadlineSeconds";
        let pod = &manifest.site.pod;
        let is_pod = manifest.kind == "Pod" && facts.restart_policy == RestartPolicy::Never;
        let job = job_of(manifest);
        let Some(owner) = job.or(is_pod.then_some(pod.as_slice())) else { return Ok(()) };
        let has = |path: &[Seg]| at(self.document, &below(path, "spec")).is_some_and(|spec| spec.get(KEY).is_some());
        let (seconds, why) = match self.options.deadline {
            _ if has(owner) || has(pod) => return Ok(()),
            Deadline::Off => return Ok(()),
            Deadline::Seconds(seconds) => (seconds, "as asked"),
            Deadline::OfPlan => match sum_of_limits(checked, facts) {
                Some(seconds) => (seconds, "the plan's own limits together"),
                None => (DEADLINE_SECONDS, "a day, since the plan has no limit that covers all"),
            },
        };
        let before = if job.is_some() { "template" } else { "containers" };
        self.put(&below(owner, "spec"), KEY, Tree::Plain(seconds.to_string()), Some(before))?;
        let without = "without it a container whose image cannot be pulled keeps the pod Pending for ever";
        self.told(&format!("{KEY}: {seconds}"), &format!("{why}; {without}"));
        Ok(())
    }

    /// What keeps a Job from running a plan a second time, `publish` included.
    fn job_defaults(&mut self, manifest: &Manifest) -> Result<(), Stuck> {
        let Some(job) = job_of(manifest).filter(|_| self.options.job_defaults) else { return Ok(()) };
        let spec = &below(job, "spec");
        let policy = serde_json::json!({
            "rules": [{ "action": "FailJob", "onExitCodes": { "operator": "NotIn", "values": [0] } }]
        });
        let fields = [
            (
                "backoffLimit",
                Tree::Plain("0".to_owned()),
                "a failed pod is not followed by another one: `retry` is the plan's",
            ),
            ("podReplacementPolicy", Tree::Text("Failed".to_owned()), "no second pod beside one that is still ending"),
            ("podFailurePolicy", policy.into(), "the Job's condition names the container that failed, and its code"),
        ];
        for (name, value, why) in fields {
            if at(self.document, spec).is_some_and(|spec| spec.get(name).is_none()) {
                self.put(spec, name, value, Some("template"))?;
                self.told(name, why);
            }
        }
        Ok(())
    }

    // --- edits ---

    fn put(&mut self, map: &[Seg], key: &str, value: Tree, before: Option<&'static str>) -> Result<(), Stuck> {
        written(self.document, map)?;
        self.edits.push(Edit::Put { map: map.to_vec(), key: key.to_owned(), value, before });
        Ok(())
    }

    /// A value for an entry that may be there.
    fn set(&mut self, map: &[Seg], key: &str, value: Tree) -> Result<(), Stuck> {
        match own(written(self.document, map)?, key) {
            Some(_) => self.edits.push(Edit::Replace { map: map.to_vec(), key: key.to_owned(), value }),
            None => return self.put(map, key, value, None),
        }
        Ok(())
    }

    /// Items for a list that may be there, empty, an alias, or brought in by a merge.
    fn add(
        &mut self,
        map: &[Seg],
        name: &str,
        first: Vec<Tree>,
        last: Vec<Tree>,
        before: Option<&'static str>,
    ) -> Result<(), Stuck> {
        let node = written(self.document, map)?;
        let Some(list) = node.get(name) else { return self.put(map, name, Tree::List([first, last].concat()), before) };
        let items = list.items().unwrap_or_default();
        let is_written = own(node, name).is_some() && list.alias.is_none() && !items.is_empty();
        if !is_written {
            let all = [first, items.iter().map(Tree::from).collect(), last].concat();
            return self.set(map, name, Tree::List(all));
        }
        let list = below(map, name);
        if !first.is_empty() {
            self.edits.push(Edit::First { list: list.clone(), values: first });
        }
        if !last.is_empty() {
            self.edits.push(Edit::Last { list, values: last });
        }
        Ok(())
    }
}

/// The Job that makes the pod: the object itself, or what a CronJob or JobSet makes.
#[must_use]
pub fn job_of(manifest: &Manifest) -> Option<&[Seg]> {
    let template = [Seg::Key("spec".to_owned()), Seg::Key("template".to_owned())];
    let job = manifest.site.pod.strip_suffix(&template);
    job.filter(|_| matches!(manifest.kind.as_str(), "Job" | "CronJob" | "JobSet"))
}

/// The plan's limits for everything that can take time, in seconds; `None` where something has none.
fn sum_of_limits(checked: &Checked, facts: &PodFacts) -> Option<u64> {
    let plan = &checked.plan;
    let mut millis = plan.timeout?.checked_add(plan.arrival_timeout)?;
    for step in plan.steps.iter().filter(|step| step.finally) {
        // A service among them ends with the tasks that use it.
        if !step.service {
            let attempts = u64::from(step.retry.limit) + 1;
            let longest = step.retry.backoff.cap.filter(|_| step.retry.backoff.duration > 0);
            let pauses = if step.retry.limit == 0 || step.retry.backoff.duration == 0 { 0 } else { longest? };
            let pauses = pauses.checked_mul(u64::from(step.retry.limit))?;
            millis = millis.checked_add(step.timeout?.checked_mul(attempts)?.checked_add(pauses)?)?;
        }
        millis = millis.checked_add(plan.grace_period)?;
    }
    Some((millis + plan.grace_period).div_ceil(1000) + facts.termination_grace_period_seconds)
}

/// Whether all containers have limits for cpu and memory, and no other requests.
fn is_guaranteed(spec: &Node) -> bool {
    let containers = ["initContainers", "containers"].into_iter().filter_map(|list| spec.get(list)?.items()).flatten();
    let quantity =
        |resources: &Node, kind: &str, name: &str| resources.get(kind).and_then(|of| of.get(name)).map(Tree::from);
    let is_fixed = |container: &Node| {
        container.get("resources").is_some_and(|resources| {
            ["cpu", "memory"].iter().all(|name| {
                let limit = quantity(resources, "limits", name);
                limit.is_some() && quantity(resources, "requests", name).is_none_or(|request| Some(request) == limit)
            })
        })
    };
    let mut count = 0;
    containers.inspect(|_| count += 1).all(is_fixed) && count > 0
}
