//! `when`: CEL expressions over what other steps left (<https://cel.dev>, crate `cel`).
//!
//! Belongs here: reading an expression, the names in it, and its value. Does not belong here: whether a name exists in a plan
//! (`plan`), and when an expression is asked (the core).

mod decide;
#[cfg(feature = "tools")]
mod dialect;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::{Context, ExecutionError, Program, Value};

pub use decide::decide;
#[cfg(feature = "tools")]
pub use dialect::Named;

/// The functions that may be called, beside operators and the macros `has`, `all`, `exists`, `exists_one`, `map`, `filter`.
pub const FUNCTIONS: [&str; 9] =
    ["size", "contains", "startsWith", "endsWith", "string", "int", "uint", "double", "bool"];

/// An expression that could be read.
pub struct Expression {
    program: Program,
}

/// A name in an expression: `steps.build.outputs.branch`, with the place where it begins and ends in the text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// What stands between the dots, or in brackets.
    pub parts: Vec<String>,
    /// Where its last part is, as well as the parser can tell.
    pub at: usize,
    /// It is only asked whether there is such a value: `has(steps.a.outputs.b)`.
    pub is_tested: bool,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong, in one line.
    pub why: String,
    /// Where, in bytes from the beginning of the text.
    pub at: usize,
}

/// What an expression sees.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Steps by name.
    pub steps: BTreeMap<String, StepView>,
    /// Parameters by name.
    pub params: BTreeMap<String, String>,
    /// The outcome without finally steps; for those only.
    pub outcome: Option<String>,
}

/// What an expression sees of a step.
#[derive(Clone, Debug, Default)]
pub struct StepView {
    /// Its phase now.
    pub phase: String,
    /// Its command's own exit code; `None`: it has not run.
    pub exit_code: Option<u8>,
    /// What it left, if it has succeeded.
    pub outputs: BTreeMap<String, String>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`Unreadable`], with the first place that is wrong.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        Program::compile(text).map(|program| Self { program }).map_err(|errors| {
            let first = errors.errors.first();
            let (line, column) = first.map_or((1, 1), |error| error.pos);
            let why = first.map_or("it cannot be read", |error| error.msg.as_str());
            let before: usize =
                text.split_inclusive('\n').take(usize::try_from(line - 1).unwrap_or(0)).map(str::len).sum();
            let at = before + usize::try_from(column - 1).unwrap_or(0);
            Unreadable { why: why.lines().next().unwrap_or("it cannot be read").to_owned(), at: at.min(text.len()) }
        })
    }

    /// Every name in it that is not one of its own variables, as long as it goes.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        let mut walk = Walk { program: &self.program, names: Vec::new(), own: BTreeSet::new() };
        walk.visit(self.program.expression());
        walk.names
    }

    /// The functions that it calls, operators left out.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let all = self.program.references();
        let is_word = |name: &&str| name.starts_with(|first: char| first.is_ascii_alphabetic());
        all.functions().into_iter().filter(is_word).map(str::to_owned).collect()
    }

    /// Its value.
    ///
    /// # Errors
    /// One line: it is neither true nor false, a name has no value, types do not fit.
    pub fn evaluate(&self, view: &View) -> Result<bool, String> {
        let mut context = Context::default();
        context.add_variable_from_value("steps", steps(view));
        context.add_variable_from_value("params", texts(&view.params));
        if let Some(outcome) = &view.outcome {
            let plan: HashMap<String, Value> = [("outcome".to_owned(), text(outcome))].into();
            context.add_variable_from_value("plan", Value::from(plan));
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(value)) => Ok(value),
            Ok(other) => Err(format!("its value is {}, neither true nor false", describe(&other))),
            Err(ExecutionError::NoSuchKey(key)) => Err(format!("`{key}` is not there (test it with `has()`)")),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn steps(view: &View) -> Value {
    let step = |step: &StepView| {
        let mut fields: HashMap<String, Value> =
            [("phase".to_owned(), text(&step.phase)), ("outputs".to_owned(), texts(&step.outputs))].into();
        if let Some(code) = step.exit_code {
            fields.insert("exitCode".to_owned(), Value::Int(i64::from(code)));
        }
        Value::from(fields)
    };
    let steps: HashMap<String, Value> = view.steps.iter().map(|(name, seen)| (name.clone(), step(seen))).collect();
    Value::from(steps)
}

fn texts(values: &BTreeMap<String, String>) -> Value {
    let values: HashMap<String, Value> = values.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    Value::from(values)
}

fn text(text: &str) -> Value {
    Value::from(text.to_owned())
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(text) => format!("the string \"{text}\""),
        Value::Int(number) => format!("the number {number}"),
        Value::UInt(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Null => "null".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
        _ => "something else".to_owned(),
    }
}

struct Walk<'p> {
    program: &'p Program,
    names: Vec<Name>,
    /// Variables of macros such as `exists`.
    own: BTreeSet<String>,
}

impl Walk<'_> {
    fn visit(&mut self, expression: &IdedExpr) {
        if let Some(parts) = path(expression) {
            if !self.own.contains(&parts[0]) {
                let at = self.program.source_info().offset_for(expression.id).map_or(0, |(start, _)| start as usize);
                let is_tested = matches!(&expression.expr, Expr::Select(select) if select.test);
                self.names.push(Name { parts, at, is_tested });
            }
            return;
        }
        match &expression.expr {
            Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(|part| self.visit(part)),
            Expr::Comprehension(loops) => {
                self.visit(&loops.iter_range);
                self.own.extend([loops.iter_var.clone(), loops.accu_var.clone()]);
                self.own.extend(loops.iter_var2.clone());
                for part in [&loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result] {
                    self.visit(part);
                }
            }
            Expr::List(list) => list.elements.iter().for_each(|part| self.visit(part)),
            Expr::Map(map) => map.entries.iter().for_each(|entry| self.visit_entry(&entry.expr)),
            Expr::Struct(fields) => fields.entries.iter().for_each(|entry| self.visit_entry(&entry.expr)),
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn visit_entry(&mut self, entry: &cel::common::ast::EntryExpr) {
        match entry {
            cel::common::ast::EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key);
                self.visit(&entry.value);
            }
            cel::common::ast::EntryExpr::StructField(field) => self.visit(&field.value),
        }
    }
}

/// `a.b['c'].d` as its parts.
fn path(expression: &IdedExpr) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.clone()]),
        Expr::Select(select) => {
            let mut parts = path(&select.operand)?;
            parts.push(select.field.clone());
            Some(parts)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
            [of, at] => {
                let mut parts = path(of)?;
                let Expr::Literal(LiteralValue::String(key)) = &at.expr else { return None };
                parts.push(key.inner().to_owned());
                Some(parts)
            }
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let outputs = [("branch", "main"), ("accuracy", "0.93")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let build = StepView { phase: "Succeeded".to_owned(), exit_code: Some(0), outputs };
        let skipped = StepView { phase: "Skipped".to_owned(), ..StepView::default() };
        View {
            steps: [("build".to_owned(), build), ("unit-test".to_owned(), skipped)].into(),
            params: [("ENV".to_owned(), "staging".to_owned())].into(),
            outcome: Some("Failed".to_owned()),
        }
    }

    #[test]
    fn an_expression_is_true_or_false_or_says_why_not() {
        let table: [(&str, Result<bool, &str>); 16] = [
            ("true", Ok(true)),
            ("steps.build.outputs.branch == 'main'", Ok(true)),
            ("steps['build'].outputs['branch'] != \"main\"", Ok(false)),
            ("double(steps.build.outputs.accuracy) >= 0.9", Ok(true)),
            ("steps.build.exitCode == 0 && steps['unit-test'].phase == 'Skipped'", Ok(true)),
            ("has(steps.build.outputs.tag)", Ok(false)),
            ("has(steps.build.outputs.branch) && steps.build.outputs.branch.startsWith('ma')", Ok(true)),
            ("has(steps['unit-test'].exitCode)", Ok(false)),
            ("params.ENV in ['staging', 'production']", Ok(true)),
            ("plan.outcome == 'Failed'", Ok(true)),
            ("['a', 'main'].exists(b, b == steps.build.outputs.branch)", Ok(true)),
            ("size(steps.build.outputs) == 2", Ok(true)),
            ("steps.build.outputs.tag == 'v1'", Err("`tag` is not there (test it with `has()`)")),
            ("steps.build.outputs.branch", Err("its value is the string \"main\", neither true nor false")),
            ("steps.build.exitCode", Err("its value is the number 0, neither true nor false")),
            ("steps['unit-test'].exitCode == 0", Err("`exitCode` is not there (test it with `has()`)")),
        ];
        for (text, expected) in table {
            let expression = Expression::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!(expression.evaluate(&view()), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn types_are_looked_at_when_it_is_evaluated() {
        for text in ["steps.build.outputs.accuracy > 0.9", "steps.build.exitCode == 0 || 1", "1 / 0 == 1"] {
            let expression = Expression::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            match expression.evaluate(&view()) {
                Ok(true) => assert!(text.contains("||"), "{text}"),
                other => assert!(other.is_err(), "{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_names_in_it_are_known_before() {
        let names = |text: &str| -> Vec<String> {
            let expression = Expression::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            expression.names().into_iter().map(|name| name.parts.join("/")).collect()
        };
        assert_eq!(names("steps['unit-test'].outputs.a == params.B"), ["steps/unit-test/outputs/a", "params/B"]);
        assert_eq!(names("has(steps.a.outputs.b) ? foo : [bar.x]"), ["steps/a/outputs/b", "foo", "bar/x"]);
        assert_eq!(names("['x'].exists(i, i == steps.a.phase)"), ["steps/a/phase"]);
    }

    #[test]
    fn what_cannot_be_read_says_where() {
        for (text, at) in [("steps.a.phase = 'x'", 14), ("a ==", 4), ("", 0)] {
            let Err(error) = Expression::read(text) else { panic!("{text} is no expression") };
            assert_eq!(error.at, at, "{text}: {error:?}");
        }
    }
}
