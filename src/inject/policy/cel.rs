//! Values as expressions of CEL, for the policies.
//!
//! Kubernetes' CEL takes no map or list of mixed types; objects are written as `Object.spec.volumes{...}`, by the path at which they
//! stand in the pod (KEP-3962).
//!
//! Belongs here: data to text. Does not belong here: what a policy says.

use serde_json::Value;

/// The widest line.
const WIDTH: usize = 110;

/// Stands round a part of a string that is an expression itself.
const MARK: char = '\u{1}';

/// A string, or a part of one, that is the value of an expression.
pub(super) fn expression(text: &str) -> String {
    format!("{MARK}{text}{MARK}")
}

/// A value at a path such as `spec.volumes`, beginning at column `indent`. Where `others` is another one, it is that one where
/// the condition holds.
pub(super) fn cel(value: &Value, others: Option<(&str, &Value)>, path: &str, indent: usize) -> String {
    let flat = flat(value, others, path);
    if indent + flat.len() <= WIDTH {
        return flat;
    }
    let (open, close, parts) = match value {
        Value::Object(entries) if is_alike(value, others) => {
            let entry = |(key, value): (&String, &Value)| {
                let others = others.map(|(condition, other)| (condition, &other[key]));
                format!("{key}: {}", cel(value, others, &format!("{path}.{key}"), indent + 2))
            };
            (format!("Object.{path}{{"), "}", entries.iter().map(entry).collect::<Vec<_>>())
        }
        Value::Array(items) if is_alike(value, others) => {
            let item = |(index, value): (usize, &Value)| {
                cel(value, others.map(|(condition, other)| (condition, &other[index])), path, indent + 2)
            };
            ("[".to_owned(), "]", items.iter().enumerate().map(item).collect())
        }
        _ => return flat,
    };
    let pad = " ".repeat(indent);
    format!("{open}\n{pad}  {}\n{pad}{close}", parts.join(&format!(",\n{pad}  ")))
}

/// Whether the two have the same members, which can be told apart one by one.
fn is_alike(value: &Value, others: Option<(&str, &Value)>) -> bool {
    match (value, others) {
        (_, None) => true,
        (Value::Object(value), Some((_, Value::Object(other)))) => value.keys().eq(other.keys()),
        (Value::Array(value), Some((_, Value::Array(other)))) => value.len() == other.len(),
        _ => false,
    }
}

fn flat(value: &Value, others: Option<(&str, &Value)>, path: &str) -> String {
    match (value, others) {
        (value, Some((_, other))) if value == other => flat(value, None, path),
        (Value::Object(entries), _) if is_alike(value, others) => {
            let entry = |(key, value): (&String, &Value)| {
                let others = others.map(|(condition, other)| (condition, &other[key]));
                format!("{key}: {}", flat(value, others, &format!("{path}.{key}")))
            };
            format!("Object.{path}{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        (Value::Array(items), _) if is_alike(value, others) => {
            let item = |(index, value): (usize, &Value)| {
                flat(value, others.map(|(condition, other)| (condition, &other[index])), path)
            };
            format!("[{}]", items.iter().enumerate().map(item).collect::<Vec<_>>().join(", "))
        }
        (value, Some((condition, other))) => {
            format!("{condition} ? {} : {}", flat(other, None, path), flat(value, None, path))
        }
        (Value::String(text), None) => string(text),
        (value, None) => value.to_string(),
    }
}

/// A string, with its expressions between the pieces.
pub(super) fn string(text: &str) -> String {
    let piece = |(index, piece): (usize, &str)| match index % 2 {
        0 if piece.is_empty() => None,
        0 => Some(quoted(piece)),
        _ => Some(piece.to_owned()),
    };
    let parts: Vec<String> = text.split(MARK).enumerate().filter_map(piece).collect();
    if parts.is_empty() { "\"\"".to_owned() } else { parts.join(" + ") }
}

/// JSON's escapes are CEL's, too; a text with quotes stands between single ones.
fn quoted(text: &str) -> String {
    let json = Value::from(text).to_string();
    if !text.contains('"') {
        return json;
    }
    let inner = json[1..json.len() - 1].replace('\'', "\\'").replace("\\\"", "\"");
    format!("'{inner}'")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_written_by_its_path() {
        let value = json!({ "name": "a", "env": [{ "name": "X", "value": "it's \"so\"\\" }], "tty": true, "n": 5 });
        assert_eq!(
            cel(&value, None, "spec.containers", 0),
            [
                "Object.spec.containers{",
                r#"  name: "a","#,
                r#"  env: [Object.spec.containers.env{name: "X", value: 'it\'s "so"\\'}],"#,
                "  tty: true,",
                "  n: 5",
                "}",
            ]
            .join("\n")
        );
    }

    #[test]
    fn a_part_of_a_string_may_be_an_expression() {
        let path = format!("/steps/{}/in", expression("c.name"));
        assert_eq!(string(&path), r#""/steps/" + c.name + "/in""#);
        assert_eq!([string(&expression("c.name")), string("")], ["c.name", "\"\""]);
    }

    #[test]
    fn two_values_differ_only_where_they_do() {
        let [less, more] = [json!({ "cpu": "1", "memory": "2Mi" }), json!({ "cpu": "1", "memory": "3Mi" })];
        assert_eq!(
            cel(&less, Some(("big", &more)), "spec.r", 0),
            r#"Object.spec.r{cpu: "1", memory: big ? "3Mi" : "2Mi"}"#
        );
        let [less, more] = [json!({ "a": [] }), json!({ "b": [1] })];
        assert_eq!(cel(&less, Some(("big", &more)), "r", 0), "big ? Object.r{b: [1]} : Object.r{a: []}");
    }
}
