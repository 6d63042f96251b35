//! `$(...)` references and `when`, in Argo's variables.
//!
//! Belongs here: which variable stands for what. Does not belong here: where they are put.

use std::collections::BTreeMap;

use podturn_turn::Condition;
use serde_json::{Value, json};

use super::names::task_of;
use crate::export::containers::Words;
use crate::export::flow::{Flow, Unit};
use crate::export::gaps::Spot;
use crate::export::references::{Reference, replaced};
use crate::plan::diagnostic::quote;
use crate::plan::yaml::Node;
use crate::when::{Expression, Named};

/// The outputs that somebody asks for: by step and key, the default where all who ask name the same one.
pub(super) type Outputs = BTreeMap<String, BTreeMap<String, Option<String>>>;

/// A template's parameter, and what the task gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub name: String,
    pub value: String,
    /// Taken where the step that should have given it did not run.
    pub default: Option<String>,
}

/// The words of one template.
pub(super) struct ArgoWords<'w> {
    pub may_fail: Vec<String>,
    /// The task of each unit.
    pub tasks: BTreeMap<String, String>,
    pub is_finally: bool,
    pub finally: Vec<String>,
    pub has_retry: bool,
    pub inputs: &'w mut Vec<Input>,
}

impl<'w> ArgoWords<'w> {
    pub(super) fn new(flow: &Flow<'_>, unit: &Unit, inputs: &'w mut Vec<Input>) -> Self {
        let steps = &flow.plan().steps;
        let step = flow.step_of(unit);
        Self {
            may_fail: steps.iter().filter(|step| step.allow_failure).map(|step| step.name.clone()).collect(),
            tasks: flow.units.iter().map(|unit| (unit.name.clone(), task_of(flow, &unit.name))).collect(),
            is_finally: step.is_some_and(|step| step.finally),
            finally: steps.iter().filter(|step| step.finally).map(|step| step.name.clone()).collect(),
            has_retry: step.is_some_and(|step| step.retry.limit > 0),
            inputs,
        }
    }

    /// A parameter of the template; what stands for it in the container.
    fn input(&mut self, name: String, value: String, default: Option<&str>) -> String {
        let text = format!("{{{{inputs.parameters.{name}}}}}");
        let input = Input { name, value, default: default.map(str::to_owned) };
        if !self.inputs.contains(&input) {
            self.inputs.push(input);
        }
        text
    }

    /// A reference to a step that is not there has been refused before.
    fn task(&self, step: &str) -> String {
        self.tasks.get(step).map_or(step, String::as_str).to_owned()
    }

    /// The task of a step that this template can see, or what would be wrong otherwise.
    fn seen(&self, step: &str, what: &str) -> Result<String, String> {
        if self.is_finally && !self.finally.iter().any(|known| known == step) {
            return Err(format!("{what} of {}: an exit handler sees only how all ended", quote(step)));
        }
        if self.may_fail.iter().any(|known| known == step) {
            return Err(format!("{what} of {}: a step whose failure is allowed has succeeded for Argo", quote(step)));
        }
        Ok(self.task(step))
    }
}

impl Words for ArgoWords<'_> {
    fn reference(&mut self, inner: &str) -> Result<String, String> {
        match Reference::read(inner) {
            Some(Reference::Parameter(name)) => Ok(format!("{{{{workflow.parameters.{name}}}}}")),
            Some(Reference::Outcome) => Ok("{{workflow.status}}".to_owned()),
            Some(Reference::Output(step, key, default)) => {
                let task = self.seen(step, &format!("the output {key}"))?;
                if !is_name(key) {
                    return Err(format!(
                        "the output {}: a parameter of Argo's has letters, digits, - and _",
                        quote(key)
                    ));
                }
                let value = format!("{{{{tasks.{task}.outputs.parameters.{key}}}}}");
                Ok(self.input(format!("{step}_{key}"), value, default))
            }
            Some(Reference::Phase(step)) => {
                let task = self.seen(step, "the phase")?;
                Ok(self.input(format!("{step}__phase"), format!("{{{{tasks.{task}.status}}}}"), None))
            }
            Some(Reference::ExitCode(step, default)) => {
                let task = self.seen(step, "the exit code")?;
                Ok(self.input(format!("{step}__exitCode"), format!("{{{{tasks.{task}.exitCode}}}}"), default))
            }
            None => Err(format!("$({inner})")),
        }
    }

    fn host(&mut self, service: &str) -> String {
        self.input(format!("{service}__ip"), format!("{{{{tasks.{}.ip}}}}", self.task(service)), None)
    }

    fn attempt(&self) -> Option<&'static str> {
        Some(if self.has_retry { "{{=asInt(retries) + 1}}" } else { "1" })
    }

    fn has_braces(&self) -> bool {
        true
    }
}

/// Whether a parameter can have this name (Argo's workflow/validate).
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// The step's `when` for its task.
pub(super) fn when(flow: &mut Flow<'_>, unit: &Unit) -> Option<String> {
    let text = flow.step_of(unit)?.when.as_deref()?;
    let expression = Expression::read(text).ok()?;
    let mut inputs = Vec::new();
    let words = ArgoWords::new(flow, unit, &mut inputs);
    let name = |parts: &[String]| -> Option<Named> {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["params", name] => Some(format!("workflow.parameters['{name}']").into()),
            ["plan", "outcome"] => Some("workflow.status".to_owned().into()),
            ["steps", step, rest @ ..] => {
                let task = words.seen(step, "").ok()?;
                match rest {
                    ["outputs", key] if is_name(key) => {
                        Some(format!("tasks['{task}'].outputs.parameters['{key}']").into())
                    }
                    ["phase"] => Some(format!("tasks['{task}'].status").into()),
                    ["exitCode"] => Some(Named { variable: format!("tasks['{task}'].exitCode"), by: Some("asInt") }),
                    _ => None,
                }
            }
            _ => None,
        }
    };
    match (expression.in_expr_lang(&name), absent(flow, unit, &expression)) {
        (Ok(text), None) => Some(format!("{{{{={text}}}}}")),
        (Ok(_), Some((step, key))) => {
            let message = format!(
                "the `when` of step {} reads the output {} of {}, which may have none: the plan fails there, and Argo takes it for \
                 nothing, or waits for ever (before 4.1)",
                quote(&unit.name),
                quote(&key),
                quote(&step)
            );
            let help = format!("begin it with `has(steps['{step}'].outputs['{key}']) &&`");
            flow.step_gap(unit, "when", message, &help).instead("the step always runs");
            None
        }
        (Err(what), _) => {
            let message =
                format!("the `when` of step {}: an expression of Argo's cannot say {what}", quote(&unit.name));
            flow.step_gap(unit, "when", message, "say it with operators, outputs and parameters alone")
                .instead("the step always runs");
            None
        }
    }
}

/// An output that is read without being asked for by `has`, and that is not there when its step was Skipped, or has failed.
fn absent(flow: &Flow<'_>, unit: &Unit, expression: &Expression) -> Option<(String, String)> {
    let names = expression.names();
    let is_tested = |parts: &[String]| names.iter().any(|name| name.is_tested && name.parts == parts);
    let may_be_without = |step: &str| {
        let is_conditional = flow.unit(step).and_then(|of| flow.step_of(of)).is_some_and(|of| of.when.is_some());
        let any_end = [Condition::Completed, Condition::Failed];
        is_conditional
            || flow.dependencies(unit).iter().any(|(on, condition)| on == step && any_end.contains(condition))
    };
    names.iter().find_map(|name| match name.parts.as_slice() {
        [steps, step, outputs, key]
            if steps == "steps" && outputs == "outputs" && !is_tested(&name.parts) && may_be_without(step) =>
        {
            Some((step.clone(), key.clone()))
        }
        _ => None,
    })
}

/// Who is asked for what, by references and by `when`.
pub(super) fn outputs(flow: &mut Flow<'_>) -> Outputs {
    let mut asked: Vec<(String, String, Option<String>)> = Vec::new();
    for unit in &flow.units {
        for text in texts(&unit.container) {
            let found = replaced(text, &mut |inner| {
                if let Some(Reference::Output(step, key, default)) = Reference::read(inner) {
                    asked.push((step.to_owned(), key.to_owned(), default.map(str::to_owned)));
                }
                Ok(String::new())
            });
            drop(found);
        }
        let when = flow.step_of(unit).and_then(|step| step.when.as_deref());
        let names = when.and_then(|text| Expression::read(text).ok()).map(|read| read.names()).unwrap_or_default();
        for name in names {
            if let [steps, step, outputs, key] = name.parts.as_slice()
                && steps == "steps"
                && outputs == "outputs"
            {
                asked.push((step.clone(), key.clone(), None));
            }
        }
    }
    let mut all = Outputs::new();
    for (step, key, default) in asked {
        let keys = all.entry(step.clone()).or_default();
        let known = keys.entry(key.clone()).or_insert_with(|| default.clone());
        if *known != default {
            *known = None;
            let place = flow.places.step(flow.checked.pattern_of(&step));
            let message =
                format!("the output {} of {} has a default for some and none for others", quote(&key), quote(&step));
            let spot = Spot::Step(step.clone());
            flow.gaps.add(spot, place, message, "give each reference the same default").instead("it has none");
        }
    }
    all
}

/// The texts of a container that may have references.
fn texts(container: &Node) -> Vec<&str> {
    let list = |field: &str| container.list(field);
    let words = list("command").iter().chain(list("args"));
    let values = list("env").iter().filter_map(|variable| variable.get("value"));
    words.chain(values).filter_map(Node::as_str).collect()
}

/// The `outputs` of a template.
pub(super) fn outputs_of(directory: &str, keys: &BTreeMap<String, Option<String>>) -> Vec<Value> {
    let parameter = |(key, default): (&String, &Option<String>)| {
        let mut from = json!({ "path": format!("{directory}/{key}") });
        if let Some(default) = default {
            from["default"] = default.as_str().into();
        }
        json!({ "name": key, "valueFrom": from })
    };
    keys.iter().filter(|(key, _)| is_name(key)).map(parameter).collect()
}
