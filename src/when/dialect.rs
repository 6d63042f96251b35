//! An expression written down again for another engine: in expr-lang (<https://expr-lang.org>), which Argo Workflows
//! evaluates between `{{=` and `}}`.
//!
//! Belongs here: operators and functions. Does not belong here: what a name becomes (whoever asks says that).

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::{Expression, path};

/// Operators that are written between their operands in both languages, and mean the same: `/` is not among them, since expr-lang
/// makes a fraction of two whole numbers.
const BETWEEN: [(&str, &str); 13] = [
    (operators::LOGICAL_AND, "&&"),
    (operators::LOGICAL_OR, "||"),
    (operators::EQUALS, "=="),
    (operators::NOT_EQUALS, "!="),
    (operators::GREATER_EQUALS, ">="),
    (operators::LESS_EQUALS, "<="),
    (operators::GREATER, ">"),
    (operators::LESS, "<"),
    (operators::ADD, "+"),
    (operators::SUBSTRACT, "-"),
    (operators::MULTIPLY, "*"),
    (operators::MODULO, "%"),
    (operators::IN, "in"),
];

/// Methods of a string that are operators in expr-lang.
const METHODS: [(&str, &str); 3] = [("contains", "contains"), ("startsWith", "startsWith"), ("endsWith", "endsWith")];

/// Functions, and what Argo calls them.
const FUNCTIONS: [(&str, &str); 4] = [("double", "asFloat"), ("int", "asInt"), ("string", "string"), ("size", "len")];

/// What a name becomes there.
pub struct Named {
    /// The variable, which is nil where the name is not there.
    pub variable: String,
    /// The function that makes the name's value of it, if it is a text there and a number here.
    pub by: Option<&'static str>,
}

impl From<String> for Named {
    fn from(variable: String) -> Self {
        Self { variable, by: None }
    }
}

impl Named {
    fn value(self) -> String {
        match self.by {
            Some(function) => format!("{function}({})", self.variable),
            None => self.variable,
        }
    }
}

impl Expression {
    /// The expression in expr-lang. `name` says what a name becomes there; `None`: it has no value there.
    ///
    /// # Errors
    /// What cannot be said there, as a noun: `the macro exists`, `steps.a.phase`.
    pub fn in_expr_lang(&self, name: &dyn Fn(&[String]) -> Option<Named>) -> Result<String, String> {
        Writer { name }.write(self.program.expression(), true)
    }
}

struct Writer<'w> {
    name: &'w dyn Fn(&[String]) -> Option<Named>,
}

impl Writer<'_> {
    /// `is_outermost`: nothing around it could bind tighter, so it needs no brackets.
    fn write(&self, expression: &IdedExpr, is_outermost: bool) -> Result<String, String> {
        if let Expr::Select(select) = &expression.expr
            && select.test
        {
            let mut parts = path(&select.operand).ok_or("`has` of a value that is no name")?;
            parts.push(select.field.clone());
            return Ok(bracketed(&format!("{} != nil", self.named(&parts)?.variable), is_outermost));
        }
        if let Some(parts) = path(expression) {
            return self.named(&parts).map(Named::value);
        }
        match &expression.expr {
            Expr::Literal(literal) => literal_text(literal),
            Expr::List(list) => {
                let items: Result<Vec<_>, _> = list.elements.iter().map(|item| self.write(item, true)).collect();
                Ok(format!("[{}]", items?.join(", ")))
            }
            Expr::Call(call) => match (call.target.as_deref(), call.args.as_slice()) {
                (None, [_, _]) if call.func_name == operators::DIVIDE => Err("a division".to_owned()),
                (None, [left, right]) => {
                    let found = BETWEEN.iter().find(|(known, _)| *known == call.func_name);
                    let (_, sign) = found.ok_or_else(|| format!("`{}`", call.func_name))?;
                    let text = format!("{} {sign} {}", self.write(left, false)?, self.write(right, false)?);
                    Ok(bracketed(&text, is_outermost))
                }
                (None, [of, yes, no]) if call.func_name == operators::CONDITIONAL => {
                    let [of, yes, no] = [self.write(of, false)?, self.write(yes, false)?, self.write(no, false)?];
                    Ok(bracketed(&format!("{of} ? {yes} : {no}"), is_outermost))
                }
                (None, [of]) if call.func_name == operators::LOGICAL_NOT => Ok(format!("!{}", self.write(of, false)?)),
                (None, [of]) if call.func_name == operators::NEGATE => Ok(format!("-{}", self.write(of, false)?)),
                (None, [of]) => {
                    let found = FUNCTIONS.iter().find(|(known, _)| *known == call.func_name);
                    let (_, function) = found.ok_or_else(|| format!("the function `{}`", call.func_name))?;
                    Ok(format!("{function}({})", self.write(of, true)?))
                }
                (Some(of), [with]) => {
                    let found = METHODS.iter().find(|(known, _)| *known == call.func_name);
                    let (_, word) = found.ok_or_else(|| format!("the function `{}`", call.func_name))?;
                    let text = format!("{} {word} {}", self.write(of, false)?, self.write(with, false)?);
                    Ok(bracketed(&text, is_outermost))
                }
                _ => Err(format!("the function `{}`", call.func_name)),
            },
            Expr::Comprehension(_) => Err("a macro over a list (`exists`, `all`, `map`, `filter`)".to_owned()),
            Expr::Map(_) | Expr::Struct(_) => Err("a map".to_owned()),
            Expr::Select(_) | Expr::Ident(_) | Expr::Unspecified => Err("a field of a value".to_owned()),
        }
    }

    fn named(&self, parts: &[String]) -> Result<Named, String> {
        (self.name)(parts).ok_or_else(|| format!("`{}`", parts.join(".")))
    }
}

fn bracketed(text: &str, is_outermost: bool) -> String {
    if is_outermost { text.to_owned() } else { format!("({text})") }
}

fn literal_text(literal: &LiteralValue) -> Result<String, String> {
    Ok(match literal {
        LiteralValue::Boolean(value) => value.inner().to_string(),
        LiteralValue::Double(value) => format!("{:?}", value.inner()),
        LiteralValue::Int(value) => value.inner().to_string(),
        LiteralValue::UInt(value) => value.inner().to_string(),
        LiteralValue::Null => "nil".to_owned(),
        LiteralValue::String(value) => quoted(value.inner())?,
        LiteralValue::Bytes(_) => return Err("bytes".to_owned()),
    })
}

/// A string, which has no line ends of its own there; braces would end the expression, or begin another one.
fn quoted(text: &str) -> Result<String, String> {
    if text.contains("{{") || text.contains("}}") {
        return Err("a text with two braces".to_owned());
    }
    let mut out = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\'');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<String, String> {
        let by = |parts: &[String]| parts.last().is_some_and(|last| last == "exitCode").then_some("asInt");
        let name = |parts: &[String]| (parts[0] != "plan").then(|| Named { variable: parts.join("_"), by: by(parts) });
        Expression::read(text).unwrap_or_else(|error| panic!("{text}: {error:?}")).in_expr_lang(&name)
    }

    #[test]
    fn operators_functions_and_names_are_said_in_the_other_language() {
        for (text, wanted) in [
            (
                "params.B == 'main' && steps.a.outputs.s != \"it's\"",
                r"(params_B == 'main') && (steps_a_outputs_s != 'it\'s')",
            ),
            ("double(steps.a.outputs.v) >= 0.9", "asFloat(steps_a_outputs_v) >= 0.9"),
            ("!(params.A in ['x', 'y'])", "!(params_A in ['x', 'y'])"),
            ("steps['a-b'].outputs.v.startsWith('v')", "steps_a-b_outputs_v startsWith 'v'"),
            ("has(steps.a.outputs.v) ? true : false", "(steps_a_outputs_v != nil) ? true : false"),
            (
                "has(steps.a.exitCode) && steps.a.exitCode == 3",
                "(steps_a_exitCode != nil) && (asInt(steps_a_exitCode) == 3)",
            ),
            ("size(params.A) + 1 == 2 || false", "((len(params_A) + 1) == 2) || false"),
            ("params.A != 'a\\nb\\t\\u0001'", r"params_A != 'a\nb\t\u0001'"),
        ] {
            assert_eq!(written(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        for (text, what) in [
            ("plan.outcome == 'Failed'", "`plan.outcome`"),
            ("['a'].exists(x, x == params.A)", "a macro over a list (`exists`, `all`, `map`, `filter`)"),
            ("bool(params.A)", "the function `bool`"),
            ("int(params.A) / 2 == 1", "a division"),
            ("params.A == '}}'", "a text with two braces"),
        ] {
            assert_eq!(written(text), Err(what.to_owned()), "{text}");
        }
    }
}
