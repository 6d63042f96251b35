//! What steps say of each other, of pools and of containers by name: whether there is such a thing.
//!
//! Belongs here: looking names up, and what is said of those that name nothing. Does not belong here: what the plan means
//! as a graph (`graph`), and names in expressions (`names`).

use std::collections::{HashMap, HashSet};

use podturn_turn::{Condition, Dependency, Pool, StepId, Use};
use podturn_wire::names::is_container_name;

use super::diagnostic::{Reporter, quote, shorten};
use super::facts::PodFacts;
use super::matrix::Matrix;
use super::source::Span;
use super::steps::{Draft, DraftDependency};

/// The most dependencies of a plan. Only matrices that depend on matrices can have more than a text of 4 MiB can say.
const EDGES_MAX: usize = 400_000;

/// A dependency whose step exists, and its place.
pub(super) struct Edge {
    pub dependency: Dependency,
    pub span: Span,
}

/// The steps of a plan by name.
pub(super) struct Names<'d> {
    drafts: &'d [Draft],
    ids: &'d HashMap<&'d str, StepId>,
    matrices: HashMap<&'d str, &'d Matrix>,
}

impl<'d> Names<'d> {
    pub(super) fn new(drafts: &'d [Draft], ids: &'d HashMap<&'d str, StepId>, matrices: &'d [Matrix]) -> Self {
        Self { drafts, ids, matrices: matrices.iter().map(|matrix| (matrix.step.as_str(), matrix)).collect() }
    }

    /// The dependencies of every step, those on a matrix as one on each of its instances.
    pub(super) fn edges(&self, reporter: &mut Reporter) -> Vec<Vec<Edge>> {
        let mut count = 0;
        let mut all = Vec::with_capacity(self.drafts.len());
        for draft in self.drafts {
            let mut edges: Vec<Edge> = Vec::with_capacity(draft.depends_on.len());
            let mut seen = HashSet::with_capacity(draft.depends_on.len());
            for dependency in &draft.depends_on {
                let targets = self.targets(draft, dependency, reporter);
                count += targets.len();
                if count > EDGES_MAX {
                    let message = format!("with this one the plan has more than {EDGES_MAX} dependencies");
                    reporter
                        .error(dependency.span, message)
                        .help("a matrix that depends on a matrix has one for each pair; put a step between them");
                    return all;
                }
                for id in targets {
                    edges.extend(self.edge(draft, dependency, id, &mut seen, reporter));
                }
            }
            all.push(edges);
        }
        all
    }

    /// The steps that a dependency names: all instances of a matrix, or one step.
    fn targets(&self, draft: &Draft, dependency: &DraftDependency, reporter: &mut Reporter) -> Vec<StepId> {
        let (this, other) = (quote(&draft.name), quote(&dependency.step));
        if dependency.step == draft.name || dependency.step == draft.container {
            reporter.error(dependency.span, format!("step {this} depends on itself"));
            return Vec::new();
        }
        if let Some(matrix) = self.matrices.get(dependency.step.as_str()) {
            let names: Vec<&str> = matrix.instances.iter().map(|instance| instance.name.as_str()).collect();
            if dependency.condition == Some(Condition::Failed) && names.len() > 1 {
                let message = format!("this waits until every instance of {other} has Failed, and is lost otherwise");
                let help = format!("name one of them: {}", some_of(names.iter().copied()));
                reporter.warning(dependency.span, message).code("PT107").help(help);
            }
            return names.iter().filter_map(|name| self.ids.get(name).copied()).collect();
        }
        if let Some(id) = self.ids.get(dependency.step.as_str()) {
            return vec![*id];
        }
        if reporter.has_errors() && dependency.step.contains("$(matrix.") {
            return Vec::new(); // its key was called wrong
        }
        let known = || self.drafts.iter().map(|draft| draft.name.as_str()).chain(self.matrices.keys().copied());
        let nearest = reporter.nearest(&dependency.step, known());
        let message = format!("step {this} depends on {other}, which is not a step");
        let diagnostic = reporter.error(dependency.span, message);
        match nearest {
            Some(name) => diagnostic.did_you_mean(Some(name)),
            None => {
                let names = some_of(self.drafts.iter().map(|draft| draft.name.as_str()));
                diagnostic.help(format!("the steps are {names}"))
            }
        };
        Vec::new()
    }

    fn edge(
        &self,
        draft: &Draft,
        dependency: &DraftDependency,
        id: StepId,
        seen: &mut HashSet<StepId>,
        reporter: &mut Reporter,
    ) -> Option<Edge> {
        let on = &self.drafts[id.index()];
        let (this, other) = (quote(&draft.name), quote(&on.name));
        if !seen.insert(id) {
            reporter
                .error(dependency.span, format!("step {this} depends on {other} twice"))
                .help("one condition a dependency: `Completed` waits for either end");
            return None;
        }
        if on.finally && !draft.finally {
            reporter.error(dependency.span, format!("step {this} depends on {other}, a finally step")).help(format!(
                "a finally step waits for all others, so this is a circle: {0} -> {1} -> {0}",
                draft.name, on.name
            ));
            return None;
        }
        let condition = match dependency.condition {
            None | Some(Condition::Ready) if on.service => Condition::Ready,
            None | Some(Condition::Ready) => Condition::Succeeded, // a task is never ready but by succeeding
            Some(condition) => condition,
        };
        Some(Edge { dependency: Dependency { step: id, condition }, span: dependency.span })
    }

    /// Reports matrices whose own name an instance of another one has: whoever depends on it could mean either.
    pub(super) fn refuse_shadows(&self, reporter: &mut Reporter) {
        let mut shadowed: Vec<(&Draft, &Matrix)> = self
            .matrices
            .values()
            .filter_map(|matrix| Some((&self.drafts[self.ids.get(matrix.step.as_str())?.index()], *matrix)))
            .collect();
        shadowed.sort_by_key(|(_, matrix)| matrix.span.start);
        for (draft, matrix) in shadowed {
            made_twice(draft, draft.span, &matrix.step, matrix.span, reporter);
        }
    }
}

/// Reports a second step of the same name.
pub(super) fn same_name(before: &Draft, this: &Draft, reporter: &mut Reporter) {
    let is_instance = |draft: &Draft| draft.name != draft.container;
    match (is_instance(before), is_instance(this)) {
        (false, false) => {
            reporter.error(this.span, format!("the step {} is here twice", quote(&this.name)));
        }
        (true, true) if before.container == this.container => {} // said where its values are
        (_, true) => made_twice(this, this.span, &before.container, before.span, reporter),
        (true, false) => made_twice(before, this.span, &before.container, before.span, reporter),
    }
}

/// Says that the matrix of a step makes a step that is there already.
fn made_twice(instance: &Draft, span: Span, other: &str, other_span: Span, reporter: &mut Reporter) {
    let line = reporter.file().line_of(if span == other_span { instance.span.start } else { other_span.start });
    let (step, name) = (quote(&instance.container), quote(&instance.name));
    let by = if *other == instance.name || *other == instance.container {
        "and there is a step of this name".to_owned()
    } else {
        format!("and so does that of step {}", quote(other))
    };
    reporter
        .error(span, format!("the matrix of step {step} makes a step {name}, {by}"))
        .label(format!("the other one is on line {line}"))
        .help("give one of the two steps another name");
}

pub(super) fn container_names(drafts: &[Draft], facts: &PodFacts, reporter: &mut Reporter) {
    let containers: HashSet<&str> = facts.containers.iter().map(|container| container.name.as_str()).collect();
    for draft in drafts {
        let name = draft.container.as_str();
        if !is_container_name(name) {
            reporter
                .error(draft.span, format!("{} cannot be the name of a container", quote(name)))
                .help("at most 63 lower-case letters, digits and dashes, with no dash at either end");
        } else if facts.init_containers.iter().any(|init| init == name) {
            reporter
                .error(draft.span, format!("the step {} names an init container", quote(name)))
                .help("init containers are over before the first turn: take it out, or make it an ordinary container");
        } else if !containers.is_empty() && !containers.contains(name) {
            let nearest = reporter.nearest(name, containers.iter().copied());
            let diagnostic = reporter.error(draft.span, format!("the pod has no container {}", quote(name)));
            match nearest {
                Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                None => {
                    let known = some_of(facts.containers.iter().map(|container| container.name.as_str()));
                    diagnostic.help(format!("its containers are {known}"))
                }
            };
        }
    }
}

/// The first names of a list that may be long.
pub(super) fn some_of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    const SHOWN: usize = 12;
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.take(SHOWN).map(shorten).collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

pub(super) fn uses(draft: &Draft, pools: &[Pool], indices: &HashMap<&str, u32>, reporter: &mut Reporter) -> Vec<Use> {
    let mut uses = Vec::with_capacity(draft.uses.len());
    for wanted in &draft.uses {
        let name = quote(&wanted.pool);
        let Some(pool) = indices.get(wanted.pool.as_str()) else {
            let nearest = reporter.nearest(&wanted.pool, indices.keys().copied());
            let message = format!("step {} uses {name}, which is not a pool of this plan", quote(&draft.name));
            let diagnostic = reporter.error(wanted.key_span, message).did_you_mean(nearest);
            if nearest.is_none() {
                diagnostic.help(format!("add it:  pools: {{ {}: UNITS }}", shorten(&wanted.pool)));
            }
            continue;
        };
        let capacity = pools[*pool as usize].capacity;
        if wanted.units > capacity {
            let message =
                format!("step {} uses {} of pool {name}, which has {capacity}", quote(&draft.name), wanted.units);
            reporter.error(wanted.span, message).label("it could never run");
            continue;
        }
        uses.push(Use { pool: *pool, units: wanted.units });
    }
    uses
}
