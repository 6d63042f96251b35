//! For the tests of the schemas: holding a value against one, and ends of attempts to be held.

use podturn_wire as wire;
use serde_json::{Value, json};

/// The schema with every object closed: so that a member that it does not know is an error here.
pub(super) fn closed(schema: &schemars::Schema) -> jsonschema::Validator {
    let mut schema = schema.clone().to_value();
    schema["unevaluatedProperties"] = json!(false);
    for definition in schema["$defs"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if definition.get("type") == Some(&json!("object")) || definition.get("oneOf").is_some() {
            definition["unevaluatedProperties"] = json!(false);
        }
    }
    jsonschema::validator_for(&schema).expect("the schema is one")
}

pub(super) fn fits(validator: &jsonschema::Validator, value: &Value) {
    let errors: Vec<String> = validator.iter_errors(value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{value}\n{}", errors.join("\n"));
    let mut more = value.clone();
    more["noSuchMember"] = json!(1);
    assert!(!validator.is_valid(&more), "a member that the schema does not know is seen");
}

pub(super) fn exits() -> [wire::Exit; 6] {
    [
        wire::Exit::Code(3),
        wire::Exit::Signal { number: 9, oom: true },
        wire::Exit::StartError { stage: wire::StartStage::Prepare, errno: 13 },
        wire::Exit::StartError { stage: wire::StartStage::Clear, errno: 5 },
        wire::Exit::StartError { stage: wire::StartStage::PostStart, errno: 3 },
        wire::Exit::NotStarted,
    ]
}

pub(super) fn end(exit: wire::Exit) -> wire::Ended {
    wire::Ended { at: 9, exit, timed_out: false, usage: wire::Usage { cpu: 12, max_rss: 3400 } }
}
