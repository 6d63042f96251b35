//! What an API server with a project's CustomResourceDefinition says of an object: its schemas are in `schemas`, each with where it
//! is from.
//!
//! Belongs here: the rules of "CustomResourceDefinitions" in Kubernetes' documentation (structural schemas, `fieldValidation:
//! Strict`, `x-kubernetes-validations`, `x-kubernetes-list-map-keys`). Does not belong here: a rule about any one kind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The definition of a kind.
pub(crate) struct Definition {
    root: Value,
    validator: jsonschema::Validator,
}

impl Definition {
    /// That of an object's kind and version.
    pub(crate) fn of(object: &Value) -> Self {
        let kind = object["kind"].as_str().expect("a kind").to_lowercase();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/support/schemas/{kind}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut root: Value = serde_json::from_str(&text).expect("JSON");
        let version = object["apiVersion"].as_str().and_then(|text| text.split('/').nth(1)).expect("a version");
        let comment = root["$comment"].as_str().expect("where it is from");
        assert!(comment.contains(&format!("version {version}")), "{kind} {version}: {comment}");
        root["properties"]["metadata"] = object_metadata();
        closed(&mut root);
        let validator = jsonschema::validator_for(&root).expect("it is a schema");
        Self { root, validator }
    }

    /// What is wrong with an object, a text each, with its place.
    pub(crate) fn wrong(&self, object: &Value) -> Vec<String> {
        let schema = self.validator.iter_errors(object).map(|error| format!("{}: {error}", error.instance_path()));
        let mut all: Vec<String> = schema.collect();
        // As a server does it: a rule may ask for what is there by the schema.
        if all.is_empty() {
            self.rules(&self.root, object, "", &mut all);
        }
        all
    }

    /// What no JSON Schema says, of a value and of all that is in it.
    fn rules(&self, schema: &Value, value: &Value, place: &str, all: &mut Vec<String>) {
        let schema = match schema["$ref"].as_str() {
            Some(name) => self.root.pointer(&name[1..]).expect("what is referred to is there"),
            None => schema,
        };
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            if !holds(rule["rule"].as_str().expect("a rule"), value) {
                all.push(format!("{place}: {rule}"));
            }
        }
        for (key, inner) in value.as_object().into_iter().flatten() {
            let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
            self.rules(schema, inner, &format!("{place}/{key}"), all);
        }
        let keys = schema["x-kubernetes-list-map-keys"].as_array();
        let mut seen = BTreeSet::new();
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            let place = format!("{place}/{at}");
            let name = match keys {
                Some(keys) => keys.iter().map(|key| item[key.as_str().expect("a key")].to_string()).collect(),
                None => vec![item.to_string()],
            };
            if schema.get("x-kubernetes-list-type").is_some() && !seen.insert(name.clone()) {
                all.push(format!("{place}: {name:?} is there twice"));
            }
            self.rules(&schema["items"], item, &place, all);
        }
    }
}

/// What any object has, which an API server knows without its definition (meta/v1, ObjectMeta): as far as people write it.
fn object_metadata() -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let name = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": { "name": name, "generateName": name, "namespace": name, "labels": texts, "annotations": texts },
    })
}

/// Refuses fields that a schema does not have, as `fieldValidation: Strict` does: without that a server drops them.
fn closed(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let is_open = fields.contains_key("additionalProperties")
                || fields.contains_key("x-kubernetes-preserve-unknown-fields")
                || !fields.get("properties").is_some_and(Value::is_object);
            // A field may be called `properties` or `type`; then its schema stands there.
            if !is_open && fields.get("type").is_some_and(Value::is_string) {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
            fields.values_mut().for_each(closed);
        }
        Value::Array(items) => items.iter_mut().for_each(closed),
        _ => {}
    }
}

/// Whether a rule in CEL holds of a new object.
fn holds(rule: &str, value: &Value) -> bool {
    // Of a change alone.
    if rule.contains("oldSelf") {
        return true;
    }
    let program = cel::Program::compile(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
    let mut context = cel::Context::default();
    context.add_variable("self", value).expect("it can be said in CEL");
    match program.execute(&context) {
        Ok(cel::Value::Bool(holds)) => holds,
        other => panic!("{rule} of {value}: {other:?}"),
    }
}
