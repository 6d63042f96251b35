//! An API server as far as admission policies go: conditions, variables and mutations of a MutatingAdmissionPolicy, then the validations
//! of a ValidatingAdmissionPolicy, as Kubernetes' documentation has them (concepts "Mutating Admission Policy" and "Validating Admission
//! Policy", KEP-3962). CEL is that of the crate `cel`; the API server's own additions that the policies use are here: types named
//! `Object...` and `JSONPatch`, and `indexOf` of lists.
//!
//! Belongs here: what Kubernetes does with any policy. Does not belong here: what this one should do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::common::ast::{Expr, IdedExpr};
use cel::common::types::{CelInt, CelList, CelString, Type};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError, StructType};
use serde_json::{Value, json};

/// Under this key an object keeps the name of its type until it is looked at.
const TYPE: &str = "\u{1}type";

/// What a manifest has of policies.
pub(crate) struct Server {
    mutating: Value,
    validating: Value,
    env: Arc<Env>,
}

impl Server {
    /// With the policies of these objects. Each needs its binding.
    pub(crate) fn new(objects: &[Value]) -> Self {
        let find = |kind: &str| objects.iter().find(|object| object["kind"] == kind).expect(kind).clone();
        for kind in ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"] {
            let bound = find(&format!("{kind}Binding"));
            assert_eq!(bound["spec"]["policyName"], find(kind)["metadata"]["name"], "{kind} is bound");
        }
        let [mutating, validating] =
            ["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"].map(|kind| find(kind)["spec"].clone());
        let mut env = Env::stdlib();
        env.add_extension(cel::extensions::strings).expect("strings");
        env.add_member_overload(
            "indexOf",
            "list.indexOf(dyn)",
            cel::common::types::LIST_TYPE,
            vec![cel::common::types::STRING_TYPE],
            index_of,
        )
        .expect("a function of its own");
        for name in types(&mutating) {
            env.add_type(Named(Type::new_struct(name))).expect("a type of its own");
        }
        Self { mutating, validating, env: Arc::new(env) }
    }

    /// The pod as it is stored, or why it is refused.
    pub(crate) fn create(&self, pod: &Value) -> Result<Value, Vec<String>> {
        let mut pod = pod.clone();
        if self.matches(&self.mutating, &pod) {
            for mutation in self.mutating["mutations"].as_array().expect("mutations") {
                let text = mutation["jsonPatch"]["expression"].as_str().expect("an expression");
                // Each mutation sees what those before it have done, in `object` and through it in `variables`.
                let patch = checked(self.value(&self.mutating, &pod, text));
                let patch: json_patch::Patch = serde_json::from_value(patch).expect("a JSON patch");
                json_patch::patch(&mut pod, &patch).expect("it can be applied");
            }
        }
        // What the API itself forbids it says before validating policies are asked (seen on Kubernetes 1.36).
        let only_linux = |container: &Value| !container["securityContext"]["seccompProfile"].is_null();
        let init = pod["spec"]["initContainers"].as_array();
        let is_linux =
            !pod["spec"]["shareProcessNamespace"].is_null() || init.is_some_and(|init| init.iter().any(only_linux));
        if pod["spec"]["os"]["name"] == "windows" && is_linux {
            return Err(vec!["spec.shareProcessNamespace: Forbidden: cannot be set for a windows pod".to_owned()]);
        }
        if !self.matches(&self.validating, &pod) {
            return Ok(pod);
        }
        let validations = self.validating["validations"].as_array().expect("validations");
        let is_broken = |rule: &&Value| {
            self.value(&self.validating, &pod, rule["expression"].as_str().expect("an expression")) != Value::Bool(true)
        };
        let said: Vec<String> = validations
            .iter()
            .filter(is_broken)
            .map(|rule| rule["message"].as_str().expect("a message").to_owned())
            .collect();
        if said.is_empty() { Ok(pod) } else { Err(said) }
    }

    fn matches(&self, spec: &Value, pod: &Value) -> bool {
        let conditions = spec["matchConditions"].as_array().expect("conditions");
        conditions.iter().all(|condition| {
            // Conditions see no variables.
            let text = condition["expression"].as_str().expect("an expression");
            assert!(!text.contains("variables."), "{text}");
            self.evaluated(pod, &json!({}), text) == Value::Bool(true)
        })
    }

    fn value(&self, spec: &Value, pod: &Value, text: &str) -> Value {
        let mut variables = json!({});
        for variable in spec["variables"].as_array().expect("variables") {
            let [name, text] = ["name", "expression"].map(|key| variable[key].as_str().expect("a text"));
            variables[name] = self.evaluated(pod, &variables, text);
        }
        self.evaluated(pod, &variables, text)
    }

    fn evaluated(&self, pod: &Value, variables: &Value, text: &str) -> Value {
        let program = self.env.compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        no_maps(program.expression());
        let mut context = Context::with_env(Arc::clone(&self.env));
        for (name, value) in [("object", pod), ("variables", variables)] {
            context.add_variable_from_value(name, cel::to_value(value).expect("JSON is CEL, too"));
        }
        let value = program.execute(&context).unwrap_or_else(|error| panic!("{text}: {error}"));
        value.json().expect("it is data")
    }
}

/// Every type that a policy names.
fn types(policy: &Value) -> BTreeSet<String> {
    let text = policy.to_string();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
    let before = text.match_indices('{').map(|(at, _)| &text[..at]);
    let names = before.map(|text| &text[text.rfind(|c| !is_part(c)).map_or(0, |at| at + 1)..]);
    names.filter(|name| name.starts_with("Object.") || *name == "JSONPatch").map(str::to_owned).collect()
}

/// A type with any fields: what it makes is a map that knows its name.
struct Named(Type);

impl StructType for Named {
    fn get_type(&self) -> &Type {
        &self.0
    }

    fn new_value<'b, 'v>(&self, fields: BTreeMap<String, CowVal<'b, 'v>>) -> Result<Box<dyn Val + 'v>, ExecutionError> {
        let mut object = std::collections::HashMap::<String, cel::Value>::new();
        for (key, value) in fields {
            let value: &dyn Val = &*value;
            object.insert(key, cel::Value::try_from(value)?);
        }
        object.insert(TYPE.to_owned(), self.0.name().to_owned().into());
        let object: Box<dyn Val> = cel::Value::from(object).try_into()?;
        Ok(object)
    }
}

/// `[a, b].indexOf(b)`: the place, or -1.
fn index_of<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = arguments[0].downcast_ref::<CelList>().expect("a list");
    let wanted = arguments[1].downcast_ref::<CelString>().expect("a string").inner();
    let is_it = |item: &(dyn Val + '_)| item.downcast_ref::<CelString>().is_some_and(|item| item.inner() == wanted);
    let at = list
        .inner()
        .iter()
        .position(|item| is_it(item.as_ref()))
        .map_or(-1, |at| i64::try_from(at).expect("it is short"));
    Ok(CowVal::owned(CelInt::from(at)))
}

/// A list of patches without the names of types, which have to be those of the places where the values stand.
fn checked(patches: Value) -> Value {
    let Value::Array(patches) = patches else { panic!("a list of patches, not {patches}") };
    let patches = patches.into_iter().map(|mut patch| {
        let object = patch.as_object_mut().expect("a patch");
        assert_eq!(object.remove(TYPE), Some("JSONPatch".into()));
        let path = object["path"].as_str().expect("a path");
        let parts = path.split('/').skip(1).filter(|part| *part != "-" && part.parse::<usize>().is_err());
        let path: String = parts.fold("Object".to_owned(), |path, part| format!("{path}.{part}"));
        if let Some(value) = object.get_mut("value") {
            named(value, &path);
        }
        patch
    });
    patches.collect()
}

fn named(value: &mut Value, path: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| named(item, path)),
        Value::Object(fields) => {
            assert_eq!(fields.remove(TYPE), Some(path.into()), "the type of what stands at {path}");
            fields.iter_mut().for_each(|(key, value)| named(value, &format!("{path}.{key}")));
        }
        _ => {}
    }
}

/// Kubernetes takes no map or list of mixed types; the policies have no map at all, and lists of strings or of one type of object.
fn no_maps(expression: &IdedExpr) {
    match &expression.expr {
        Expr::Map(_) => panic!("a map in a policy"),
        Expr::List(list) => {
            let kind = |item: &IdedExpr| match &item.expr {
                Expr::Struct(object) => object.type_name.clone(),
                Expr::Literal(_) | Expr::Call(_) => "a string".to_owned(),
                other => panic!("{other:?} in a list"),
            };
            let kinds: BTreeSet<String> = list.elements.iter().map(kind).collect();
            assert!(kinds.len() <= 1, "a list of {kinds:?}");
            list.elements.iter().for_each(no_maps);
        }
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(no_maps),
        Expr::Comprehension(over) => {
            [&over.iter_range, &over.accu_init, &over.loop_cond, &over.loop_step, &over.result]
                .iter()
                .for_each(|part| no_maps_in_loop(part));
        }
        Expr::Struct(object) => object.entries.iter().for_each(|entry| match &entry.expr {
            cel::common::ast::EntryExpr::StructField(field) => no_maps(&field.value),
            cel::common::ast::EntryExpr::MapEntry(_) => panic!("a map in a policy"),
        }),
        Expr::Select(select) => no_maps(&select.operand),
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

/// The parts of a macro: its own lists hold whatever the macro is about.
fn no_maps_in_loop(expression: &IdedExpr) {
    match &expression.expr {
        Expr::List(list) => list.elements.iter().for_each(no_maps),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).for_each(no_maps_in_loop),
        _ => no_maps(expression),
    }
}
