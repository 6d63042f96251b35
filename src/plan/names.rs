//! The names in `when` expressions and in `$(...)` references: whether there is such a thing, and whether it is known by then.
//!
//! Belongs here: what may be named, and what is said of what may not. Does not belong here: values.

use std::collections::HashMap;

use podturn_turn::{Plan, StepId};

use super::check::Checked;
use super::diagnostic::{Reporter, quote};
use super::links::some_of;
use super::matrix::Matrix;
use super::source::Span;
use crate::when::{Expression, FUNCTIONS};

/// What can be said of a step.
const FIELDS: [&str; 3] = ["phase", "exitCode", "outputs"];

/// Everything that names are looked up in.
pub(super) struct Known<'p> {
    plan: &'p Plan,
    ids: HashMap<&'p str, usize>,
    matrices: &'p [Matrix],
    /// Names are read by CEL, where a dash is a minus.
    is_expression: bool,
}

/// The step that a text outside the plan names, such as a command's argument; or says at its place that there is none.
pub fn named_step(checked: &Checked, name: &str, place: Span, reporter: &mut Reporter) -> Option<StepId> {
    let known = Known::in_references(&checked.plan, &checked.matrices);
    let found = known.step(name).and_then(|at| u32::try_from(at).ok()).map(StepId);
    if found.is_none() {
        known.refuse_step(name, place, reporter);
    }
    found
}

/// Checks every `when` of the plan; `places` are steps and where their expressions stand.
pub(super) fn check(known: &Known<'_>, places: &[(usize, Span)], reporter: &mut Reporter) {
    for (at, span) in places {
        let (at, Some(text)) = (*at, &known.plan.steps[*at].when) else { continue };
        let place = |offset: usize| place_of(text, *span, offset, reporter);
        match Expression::read(text) {
            Err(error) => {
                let place = place(error.at);
                reporter.error(place, format!("this is no expression: {}", error.why)).help(
                    "write CEL, such as steps.build.outputs.branch == 'main'; a name with a dash is steps['unit-test']",
                );
            }
            Ok(expression) => {
                let ancestors = known.ancestors(at);
                for name in expression.names() {
                    let place = place_of(text, *span, name.at, reporter);
                    known.check_name(at, &ancestors, &name.parts, place, reporter);
                }
                for function in expression.functions().iter().filter(|name| !FUNCTIONS.contains(&name.as_str())) {
                    let place = place_of(text, *span, text.find(function.as_str()).unwrap_or(0), reporter);
                    let nearest = reporter.nearest(function, FUNCTIONS);
                    let diagnostic = reporter.error(place, format!("there is no function {}", quote(function)));
                    match nearest {
                        Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                        None => diagnostic
                            .help(format!("there are {}, has, all, exists, map, filter", FUNCTIONS.join(", "))),
                    };
                }
            }
        }
    }
}

/// Where something stands in the file. Where the text is written otherwise there (folded, with escapes) the whole of it is
/// meant.
fn place_of(text: &str, span: Span, offset: usize, reporter: &Reporter) -> Span {
    let written = reporter.file().text().get(span.start..span.end).unwrap_or_default();
    match written.find(text) {
        Some(start) if text.is_char_boundary(offset.min(text.len())) => {
            // The parser tells the place of a name's last dot: the whole name is meant.
            let is_part = |c: char| c.is_ascii_alphanumeric() || "_.-[]'\"".contains(c);
            let (before, rest) = text.split_at(offset.min(text.len()));
            let from = before.trim_end_matches(is_part).len();
            let to = before.len() + rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            Span { start: span.start + start + from, end: span.start + start + to }
        }
        _ => span,
    }
}

impl<'p> Known<'p> {
    /// For `when`.
    pub(super) fn in_expressions(plan: &'p Plan, matrices: &'p [Matrix]) -> Self {
        Self { is_expression: true, ..Self::in_references(plan, matrices) }
    }

    /// For `$(...)`.
    pub(super) fn in_references(plan: &'p Plan, matrices: &'p [Matrix]) -> Self {
        let ids = plan.steps.iter().enumerate().map(|(at, step)| (step.name.as_str(), at)).collect();
        Self { plan, ids, matrices, is_expression: false }
    }

    /// The place of a step in the plan.
    pub(super) fn step(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// The steps that have ended, or are ready, before this one gets its turn.
    pub(super) fn ancestors(&self, step: usize) -> Vec<bool> {
        let steps = &self.plan.steps;
        let finally = steps[step].finally;
        let mut ancestors: Vec<bool> = steps.iter().map(|other| finally && !other.finally).collect();
        let mut queue = vec![step];
        while let Some(at) = queue.pop() {
            for dependency in &steps[at].depends_on {
                let on = dependency.step.index();
                if !std::mem::replace(&mut ancestors[on], true) {
                    queue.push(on);
                }
            }
        }
        ancestors
    }

    /// Checks `steps.NAME.FIELD`, `steps.NAME.outputs.KEY`, `params.NAME` and `plan.outcome` in the step at `at`.
    pub(super) fn check_name(
        &self,
        at: usize,
        ancestors: &[bool],
        parts: &[String],
        place: Span,
        reporter: &mut Reporter,
    ) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["steps", step, rest @ ..] => self.check_step(at, ancestors, step, rest, place, reporter),
            ["params", name] => {
                if !self.plan.parameters.iter().any(|known| known.name == *name) {
                    let names = self.plan.parameters.iter().map(|known| known.name.as_str());
                    let nearest = reporter.nearest(name, names);
                    let diagnostic = reporter.error(place, format!("the plan has no parameter {}", quote(name)));
                    match nearest {
                        Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                        None => diagnostic.help(format!("add `parameters: {{ {name}: DEFAULT }}` to the plan")),
                    };
                }
            }
            ["plan", "outcome"] if self.plan.steps[at].finally => {}
            ["plan", "outcome"] => {
                let message = "plan.outcome is for finally steps: for others the plan has none yet";
                reporter.error(place, message).help("add `finally: true`, or name the steps that matter");
            }
            _ => {
                let name = parts.join(".");
                reporter
                    .error(place, format!("{} is not the name of anything", quote(&name)))
                    .help("there are steps.NAME.phase, .exitCode and .outputs.KEY, params.NAME, and plan.outcome");
            }
        }
    }

    fn check_step(
        &self,
        at: usize,
        ancestors: &[bool],
        step: &str,
        rest: &[&str],
        place: Span,
        reporter: &mut Reporter,
    ) {
        let this = quote(&self.plan.steps[at].name);
        let Some(id) = self.step(step) else {
            self.refuse_step(step, place, reporter);
            return;
        };
        if !ancestors[id] {
            reporter
                .error(
                    place,
                    format!("step {this} does not come after {}, so what it leaves is not known by then", quote(step)),
                )
                .help(format!("add {step} to its dependsOn"));
            return;
        }
        match rest {
            [] | ["phase" | "exitCode"] | ["outputs", ..] if rest.len() <= 2 => {
                if rest.first() == Some(&"outputs") && self.plan.steps[id].service {
                    reporter.error(place, format!("{} is a service, and services have no outputs", quote(step)));
                }
            }
            [field, ..] => {
                let nearest = reporter.nearest(field, FIELDS);
                let diagnostic = reporter.error(place, format!("a step has no {}", quote(field)));
                match nearest.filter(|nearest| nearest != field) {
                    Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
                    None => diagnostic.help("it has phase, exitCode and outputs.KEY"),
                };
            }
            [] => {}
        }
    }

    /// Says what a name is that is no step's.
    fn refuse_step(&self, name: &str, place: Span, reporter: &mut Reporter) {
        if let Some(matrix) = self.matrices.iter().find(|matrix| matrix.step == name) {
            let names = some_of(matrix.instances.iter().map(|instance| instance.name.as_str()));
            reporter
                .error(place, format!("{} has a matrix, so it is several steps", quote(name)))
                .help(format!("name one of them: {names}"));
            return;
        }
        let nearest = reporter.nearest(name, self.plan.steps.iter().map(|step| step.name.as_str()));
        let diagnostic = reporter.error(place, format!("the plan has no step {}", quote(name)));
        match nearest {
            Some(nearest) => diagnostic.did_you_mean(Some(nearest)),
            None if self.is_expression => diagnostic.help("a name with a dash is written steps['unit-test']"),
            None => {
                let names = some_of(self.plan.steps.iter().map(|step| step.name.as_str()));
                diagnostic.help(format!("the steps are {names}"))
            }
        };
    }
}
