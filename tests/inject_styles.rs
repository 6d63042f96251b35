//! One pod, written in thousands of ways: block style, flow style, quotes, comments, blank lines, anchors, indented lists or
//! not, Windows line ends, no end of the last line. However it is written, it is wired to the same pod, `uninject` gives its
//! bytes back, and a second `inject` changes nothing.

use std::fmt::Write as _;

use podturn::inject::{Options, inject, uninject};
use podturn::plan::yaml::{Node, Typed, Value as Yaml, parse};
use podturn::plan::{INJECTED, Placement, Source, SourceFile};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Decides how the next thing is written.
struct Pen {
    choices: Vec<u8>,
    at: usize,
    /// Lists and strings that have an anchor, and its name.
    anchors: Vec<(Value, String)>,
}

impl Pen {
    /// One of `count` ways; without choices left the first one, which is the plainest.
    fn choose(&mut self, count: u8) -> u8 {
        let choice = self.choices.get(self.at).map_or(0, |choice| choice % count);
        self.at += 1;
        choice
    }

    fn comment(&mut self) -> &'static str {
        match self.choose(8) {
            1 => " # a comment",
            2 => "   # - [x: {",
            _ => "",
        }
    }

    /// Lines that mean nothing.
    fn between(&mut self, indent: usize, out: &mut String) {
        match self.choose(10) {
            1 => out.push('\n'),
            2 => _ = writeln!(out, "{}# - between: [", " ".repeat(indent)),
            3 => out.push_str("# at the edge\n"),
            4 => out.push_str("\n    \n"),
            _ => {}
        }
    }

    fn string(&mut self, text: &str, is_flow: bool) -> String {
        let is_word = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._".contains(c)) && !text.is_empty();
        let is_word = is_word && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
        match self.choose(4) {
            0 | 1 if is_word => text.to_owned(),
            2 if !text.contains('\n') => format!("'{}'", text.replace('\'', "''")),
            3 if text.ends_with('\n') && !is_flow => String::new(), // as a block, by the caller
            _ => Value::from(text).to_string(),
        }
    }

    fn flow(&mut self, value: &Value) -> String {
        let gap = match self.choose(4) {
            1 => "  ",
            2 => "",
            _ => " ",
        };
        match value {
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item)).collect();
                let end = if self.choose(6) == 1 && !items.is_empty() { "," } else { "" };
                format!("[{gap}{}{end}{gap}]", items.join(&format!(",{gap}")))
            }
            Value::Object(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| {
                        let value = self.flow(value);
                        format!("{}: {value}", self.string(key, true))
                    })
                    .collect();
                format!("{{{gap}{}{gap}}}", entries.join(&format!(",{gap}")))
            }
            Value::String(text) => self.string(text, true),
            other => other.to_string(),
        }
    }

    /// What comes behind a key or a dash at column `indent`, with the end of its line.
    fn block(&mut self, value: &Value, indent: usize, out: &mut String) {
        if let Some((_, name)) = self.anchors.iter().find(|(known, _)| known == value) {
            let name = name.clone();
            let _ = writeln!(out, " *{name}{}", self.comment());
            return;
        }
        let is_anchored = matches!(value, Value::Array(items) if !items.is_empty()) && self.choose(6) == 1;
        if is_anchored {
            let name = format!("a{}", self.anchors.len());
            let _ = write!(out, " &{name}");
        }
        match value {
            Value::Array(items) if !items.is_empty() && self.choose(3) != 1 => {
                let inner = if self.choose(2) == 1 { indent } else { indent + 2 };
                let _ = writeln!(out, "{}", self.comment());
                for item in items {
                    self.between(inner, out);
                    let _ = write!(out, "{}-", " ".repeat(inner));
                    match item {
                        Value::Object(entries) if !entries.is_empty() && self.choose(4) != 1 => {
                            if self.choose(4) == 1 {
                                let _ = writeln!(out, "{}", self.comment());
                                self.entries(item, inner + 2, false, out);
                            } else {
                                out.push(' ');
                                self.entries(item, inner + 2, true, out);
                            }
                        }
                        Value::Object(_) => _ = writeln!(out, " {}{}", self.flow(item), self.comment()),
                        _ => self.block(item, inner, out),
                    }
                }
            }
            Value::Object(entries) if !entries.is_empty() && self.choose(4) != 1 => {
                let _ = writeln!(out, "{}", self.comment());
                self.entries(value, indent + 2, false, out);
            }
            Value::String(text) => {
                let written = self.string(text, false);
                if written.is_empty() {
                    let _ = writeln!(out, " |{}", self.comment());
                    text.lines().for_each(|line| _ = writeln!(out, "{}{line}", " ".repeat(indent + 2)));
                } else {
                    let _ = writeln!(out, " {written}{}", self.comment());
                }
            }
            _ => _ = writeln!(out, " {}{}", self.flow(value), self.comment()),
        }
        if is_anchored {
            // Only what stands complete before can be named.
            self.anchors.push((value.clone(), format!("a{}", self.anchors.len())));
        }
    }

    fn entries(&mut self, map: &Value, indent: usize, is_begun: bool, out: &mut String) {
        for (number, (key, value)) in map.as_object().into_iter().flatten().enumerate() {
            if number > 0 || !is_begun {
                self.between(indent, out);
                out.push_str(&" ".repeat(indent));
            }
            let _ = write!(out, "{}:", self.string(key, true));
            self.block(value, indent, out);
        }
    }

    fn document(&mut self, value: &Value) -> String {
        let mut out = String::new();
        match self.choose(4) {
            1 => out.push_str("---\n"),
            2 => out.push_str("# before\n\n--- # here\n"),
            _ => {}
        }
        match self.choose(6) {
            1 => _ = writeln!(out, "{}", serde_json::to_string_pretty(value).expect("it is JSON")),
            2 => _ = writeln!(out, "{value}"),
            3 => _ = writeln!(out, "{}", self.flow(value)),
            _ => self.entries(value, 0, false, &mut out),
        }
        if self.choose(4) == 1 {
            out.push_str("# after\n\n");
        }
        if self.choose(4) == 1 && out.ends_with('\n') {
            out.pop();
        }
        if self.choose(4) == 1 { out.replace('\n', "\r\n") } else { out }
    }
}

/// A pod with 1 to 4 containers of varied fields.
fn pod(shape: &[u8]) -> Value {
    let mut shape = shape.iter().copied().chain(std::iter::repeat(0));
    let mut pick = |count: u8| shape.next().unwrap_or(0) % count;
    let count = 1 + pick(4);
    let mounts = json!([{ "name": "work", "mountPath": "/work" }]);
    let containers: Vec<Value> = (0..count)
        .map(|number| {
            let mut container = json!({ "name": format!("step{number}"), "image": "busybox" });
            container["command"] = match pick(3) {
                0 => json!(["sh", "-c", "echo one\necho two\n"]),
                1 => json!(["run"]),
                _ => json!(["sh", "-c"]),
            };
            match pick(5) {
                0 => container["volumeMounts"] = mounts.clone(),
                1 => container["volumeMounts"] = json!([]),
                2 => container["volumeMounts"] = json!(null),
                _ => {}
            }
            if pick(2) == 0 {
                container["args"] = json!(["first: second", "a script\n"]);
            }
            match pick(6) {
                0 => container["livenessProbe"] = json!({ "tcpSocket": { "port": 80 } }),
                1 => {
                    container["startupProbe"] = json!({ "exec": { "command": ["up"] }, "failureThreshold": 9 });
                    container["lifecycle"] = json!({ "postStart": { "exec": { "command": ["$HOME"] } } });
                }
                _ => {}
            }
            container
        })
        .collect();
    let plan = if count > 1 && pick(2) == 0 {
        "steps:\n  step0: {}\n  step1: { dependsOn: [step0], matrix: { os: [\"x\", \"y\"] } }\n"
    } else {
        "sequential"
    };
    let mut spec = json!({ "restartPolicy": "Never" });
    match pick(4) {
        0 => spec["volumes"] = json!([{ "name": "work", "emptyDir": {} }]),
        1 => spec["volumes"] = json!([]),
        _ => {}
    }
    match pick(4) {
        0 => spec["initContainers"] = json!([{ "name": "prepare", "image": "i", "volumeMounts": mounts }]),
        1 => spec["initContainers"] = json!(null),
        _ => {}
    }
    spec["containers"] = json!(containers);
    if pick(2) == 0 {
        spec["hostname"] = json!("behind");
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "p", "annotations": { "podturn.dev/plan": plan } },
        "spec": spec,
    })
}

/// What a text means, without the record of what was added, which depends on how it was written.
fn meaning(text: &str) -> Value {
    let documents = parse(&Source::file("wired", text)).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut value = json(documents.first().expect("a document"));
    let annotations = value["metadata"]["annotations"].as_object_mut().expect("annotations");
    assert!(annotations.remove(INJECTED).is_some(), "the record is there");
    value
}

fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::Mapping(entries) => entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect(),
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Scalar(scalar) => match scalar.typed() {
            Typed::Null => Value::Null,
            Typed::Bool(value) => value.into(),
            Typed::Integer(value) => value.into(),
            Typed::Float(value) => value.into(),
            Typed::String(text) => text.into(),
        },
    }
}

fn wired(text: &str, options: &Options) -> String {
    match inject(&SourceFile::new("pod.yaml", text), options) {
        Ok(done) => done.text,
        Err(wrong) => panic!("this is a pod:\n{text}\n{wrong}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn however_a_pod_is_written_it_is_wired_to_the_same_pod(
        shape in proptest::collection::vec(any::<u8>(), 0..40),
        choices in proptest::collection::vec(any::<u8>(), 0..400),
        as_container in any::<bool>(),
    ) {
        let placement = if as_container { Placement::Container } else { Placement::Sidecar };
        let options = Options { placement, ..Options::default() };
        let pod = pod(&shape);
        let text = Pen { choices, at: 0, anchors: Vec::new() }.document(&pod);
        let result = wired(&text, &options);
        prop_assert_eq!(meaning(&result), meaning(&wired(&pod.to_string(), &options)), "{}\n---\n{}", text, result);
        let back = uninject(&SourceFile::new("pod.yaml", result.as_str())).expect("it can be taken back");
        prop_assert_eq!(&back.text, &text);
        prop_assert_eq!(&wired(&result, &options), &result);
    }
}
