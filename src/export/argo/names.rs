//! Names that the Workflow needs beside those of the containers, none of which is a container's.
//!
//! Belongs here: what has no name in the plan. Does not belong here: what it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::export::flow::Flow;

/// Names of templates and tasks.
pub(super) struct Names {
    /// The DAG of the plan.
    pub plan: String,
    /// The DAG of its finally steps.
    pub finally: String,
    /// A template that waits for a person.
    pub approve: String,
    /// The template behind a failure that is allowed.
    pub go_on: String,
    approvals: BTreeMap<String, String>,
    runs: BTreeMap<String, String>,
}

impl Names {
    pub(super) fn of(flow: &Flow<'_>) -> Self {
        let of_units = flow.units.iter().flat_map(|unit| [unit.name.clone(), task_of(flow, &unit.name)]);
        let mut taken: BTreeSet<String> = of_units.collect();
        let [plan, finally, approve, go_on] = ["podturn-plan", "podturn-finally", "podturn-approve", "podturn-go-on"]
            .map(|wanted| fresh(wanted.to_owned(), &mut taken));
        let mut all = |wanted: &dyn Fn(&str) -> String| -> BTreeMap<String, String> {
            let names = flow.units.iter().map(|unit| unit.name.clone());
            names.map(|name| (name.clone(), fresh(wanted(&name), &mut taken))).collect()
        };
        let approvals = all(&|name| format!("approve-{name}"));
        let runs = all(&|name| format!("{name}-run"));
        Self { plan, finally, approve, go_on, approvals, runs }
    }

    /// The task that asks a person before this step.
    pub(super) fn approval_of(&self, step: &str) -> String {
        self.approvals[step].clone()
    }

    /// The template of this step that another one of its name is around.
    pub(super) fn run_of(&self, step: &str) -> String {
        self.runs[step].clone()
    }
}

/// Words that expressions read as their own, and not as a task's name (expr-lang/expr 1.17, parser/lexer/state.go and parser.go).
const RESERVED: [&str; 12] =
    ["and", "contains", "else", "false", "if", "in", "let", "matches", "nil", "not", "or", "true"];

/// The task of a unit: of its name, unless `depends` could not name that. What begins with a digit is refused there
/// (workflow/validate), and of a reserved word nothing can be asked.
pub(super) fn task_of(flow: &Flow<'_>, unit: &str) -> String {
    if !unit.starts_with(|first: char| first.is_ascii_digit()) && !RESERVED.contains(&unit) {
        return unit.to_owned();
    }
    fresh(format!("step-{unit}"), &mut flow.units.iter().map(|unit| unit.name.clone()).collect())
}

/// The name, with a number where it is taken.
fn fresh(wanted: String, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    let name = std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or(wanted);
    taken.insert(name.clone());
    name
}
