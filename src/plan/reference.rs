//! `docs/plan-reference.md`, made from the plan's schema, so that the two cannot say different things.
//!
//! `cargo run -q -- schema plan --markdown > docs/plan-reference.md` makes it anew; a test fails when it is stale.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::plan_schema;

const HEAD: &str = "\
# Plan reference

<!-- Made from the schema: `cargo run -q -- schema plan --markdown > docs/plan-reference.md`. Edit src/plan/schema. -->

A **plan** is a DAG of the containers of one pod. A **step** is a container that takes part in it; a **turn** is the permission to run one attempt of a
step. The plan is the pod's annotation `podturn.dev/plan` (or, in a pod wired by hand, the variable `PODTURN_PLAN` of the init container), as YAML or JSON.
`podturn check FILE` says whether it can run, and where it is wrong; `podturn schema plan` prints the schema for editors.

```yaml
metadata:
  annotations:
    podturn.dev/plan: |
      maxParallel: 4
      steps:
        build:   {}
        unit:    { dependsOn: [build], retry: { limit: 2 } }
        itest:   { dependsOn: [build], timeout: 15m }
        publish: { dependsOn: [unit, itest] }
        rescue:  { dependsOn: [publish: Failed] }
        notify:  { finally: true }
```

`podturn.dev/plan: sequential` is the whole plan for 'one after another, as listed', and `steps: [build, test, publish]` for 'in this order'. A container
that the plan does not name is left as it is.

The YAML is read strictly. Unknown fields and duplicate keys are errors. `yes`, `no`, `on` and `off` are no booleans, `010` and `1_000` are no numbers: YAML 1.1
and 1.2 read them differently. Anchors, aliases and the merge key `<<` work. A text of more than 4 MiB is refused.

Probes over HTTPS are refused by name, with what to write instead.
";

const TAIL: &str = "
## References

These are replaced in the `command`, `args` and `env` of a step's container just before its turn. `podturn check` looks each of them up in the plan.

| reference | value |
| --- | --- |
| `$(steps.NAME.outputs.KEY)` | what the command of NAME left in the file `$PODTURN_OUTPUTS/KEY`, without one newline at its end. At most 64 KiB; services leave none |
| `$(steps.NAME.phase)` | its phase at this moment, such as `Succeeded` |
| `$(steps.NAME.exitCode)` | its command's own exit code; absent if it never ran |
| `$(params.NAME)` | the value of a parameter of the plan |
| `$(plan.outcome)` | in a finally step: the outcome of all that are none |
| `$(matrix.KEY)` | see [a matrix](#a-matrix); replaced before all others, in every string |

NAME has to be a step that this one comes after, directly or through others; a finally step comes after all others. `$(steps.build.outputs.version:-none)` is `none` where there is no
value; without a default the step is then Failed, `StartError`. A value is not looked through again. The kubelet makes one dollar sign of two, so the text `$(plan.outcome)` is written
`$$$$(plan.outcome)`. Before any other bracket dollar signs mean what they always did.
";

/// The definitions in the order of the document, with their headings.
const SECTIONS: [(&str, &str); 14] = [
    ("Plan", "The plan"),
    ("Steps", "Steps"),
    ("Step", "A step"),
    ("Dependency", "A dependency"),
    ("Condition", "Conditions"),
    ("Retry", "Retry"),
    ("Backoff", "Backoff"),
    ("Cause", "Causes"),
    ("OnFailure", "What a failure does"),
    ("Matrix", "A matrix"),
    ("Duration", "Durations"),
    ("Units", "Units"),
    ("StopSignal", "Signals"),
    ("ContainerName", "Names"),
];

/// The plan reference as Markdown.
#[must_use]
pub fn plan_reference() -> String {
    let schema = plan_schema().to_value();
    let definitions = Definitions(&schema["$defs"]);
    let mut text = HEAD.to_owned();
    for (name, heading) in SECTIONS {
        definitions.section(name, heading, &mut text);
    }
    text + TAIL
}

/// The `$defs` of a schema.
struct Definitions<'s>(&'s Value);

impl Definitions<'_> {
    fn section(&self, name: &str, heading: &str, text: &mut String) {
        let definition = &self.0[name];
        push(text, format_args!("\n## {heading}\n\n{}\n", described(definition)));
        if let Some(properties) = definition["properties"].as_object() {
            self.fields(definition, properties, text);
        } else if let Some(variants) = definition["oneOf"].as_array() {
            push(text, format_args!("\n| word | meaning |\n| --- | --- |\n"));
            for variant in variants {
                let word = variant["const"].as_str().unwrap_or_default();
                push(text, format_args!("| `{word}` | {} |\n", described(variant)));
            }
        } else if let Some(variants) = definition["anyOf"].as_array() {
            text.push('\n');
            for variant in variants {
                push(text, format_args!("- {}: {}\n", self.kind(variant), described(variant)));
            }
        }
    }

    fn fields(&self, definition: &Value, properties: &Map<String, Value>, text: &mut String) {
        let required: Vec<&str> =
            definition["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        push(text, format_args!("\n| field | is | default | meaning |\n| --- | --- | --- | --- |\n"));
        for (name, property) in properties {
            let default = match property.get("default") {
                Some(Value::String(word)) => format!("`{word}`"),
                Some(default) => format!("`{default}`"),
                None if required.contains(&name.as_str()) => "required".to_owned(),
                None => String::new(),
            };
            let kind = self.kind(property);
            push(text, format_args!("| `{name}` | {kind} | {default} | {} |\n", described(property)));
        }
    }

    fn map(&self, schema: &Value) -> String {
        let Some(properties) = schema["properties"].as_object() else {
            let values = self.kind(&schema["additionalProperties"]);
            let names = if schema["maxProperties"] == 1 { "one name" } else { "names" };
            return format!("a map of {names} to {values}");
        };
        let fields = properties.iter().map(|(name, field)| format!("`{name}` ({})", self.kind(field)));
        format!("a map of {}", fields.collect::<Vec<_>>().join(" and "))
    }

    /// What a value is, in a few words: `a whole number from 1`, `a list of [dependencies](#a-dependency)`.
    fn kind(&self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/")) {
            return match SECTIONS.iter().find(|(section, _)| *section == name) {
                Some((_, heading)) => format!("[{}](#{})", words(name), heading.to_ascii_lowercase().replace(' ', "-")),
                None => self.kind(&self.0[name]),
            };
        }
        if let Some(variants) = schema["anyOf"].as_array() {
            let kinds = variants.iter().filter(|variant| variant["type"] != "null").map(|variant| self.kind(variant));
            return kinds.collect::<Vec<_>>().join(" or ");
        }
        if let Some(words) = schema["oneOf"].as_array().or(schema["enum"].as_array()) {
            let words = words.iter().filter_map(|word| word.as_str().or(word["const"].as_str()));
            return words.map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
        }
        let plain = schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or("value");
        match plain {
            "array" => format!("a list: {}", self.kind(&schema["items"])),
            "object" => self.map(schema),
            "boolean" => "`true` or `false`".to_owned(),
            "integer" => format!("a whole number{}", range(schema)),
            "number" => format!("a number{}", range(schema)),
            "string" => schema["const"].as_str().map_or("a string".to_owned(), |word| format!("`{word}`")),
            other => other.to_owned(),
        }
    }
}

fn range(schema: &Value) -> String {
    let bound = |key: &str, word: &str| match schema[key].as_f64() {
        Some(bound) if bound != 0.0 || key == "maximum" => format!(" {word} {bound}"),
        _ => String::new(),
    };
    bound("minimum", "from") + &bound("maximum", "up to")
}

/// `OnFailure` as `on failure`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// The description in one line, as a table's cell needs it.
fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}
