//! What `podturn inject` wrote, after a machine has read it and written it anew: `kubectl get -o yaml` and `-o json`, or a pipeline
//! that parses. No comment, quote, anchor or column of the file is there any more, and keys are sorted.
//!
//! Belongs here: `uninject` and a second `inject` of such texts, for the outputs in `tests/inject`. Does not belong here: texts as
//! `inject` wrote them (`inject.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use podturn::inject::{Format, Options, convert, inject, uninject};
use podturn::plan::SourceFile;
use serde_json::Value;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject")
}

/// The object of a text; `None` where it has several.
fn object(name: &str, text: &str) -> Option<Value> {
    let json = convert(&SourceFile::new(name, text), Format::Json)
        .unwrap_or_else(|wrong| panic!("{name}: {}", wrong.render(false)));
    serde_json::from_str(&json).ok()
}

/// Each output of one document, with what `uninject` makes of it as it was written (which `inject.rs` compares with the input).
fn cases() -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory()).expect("the cases") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let Some((case, _)) = name.split_once(".out.").filter(|(case, _)| *case != "diff") else { continue };
        let output = fs::read_to_string(&path).expect("an output");
        // Not one that says that it cannot be taken back.
        let Ok(back) = uninject(&SourceFile::new(case, output.as_str())) else { continue };
        let objects = (object(case, &back.text), object(case, &output));
        if let (true, (Some(back), Some(output))) = (output.contains("podturn.dev/injected"), objects) {
            found.push((case.to_owned(), back, output));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 50, "{} outputs", found.len());
    found
}

/// As kubectl prints YAML: every map and list in block style, the dashes of a list below its key's first letter.
fn block(value: &Value, column: usize, out: &mut String) {
    let margin = " ".repeat(column);
    let entries: Vec<(String, &Value, usize)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (format!("{}:", Value::from(key.as_str())), value, 2)).collect()
        }
        Value::Array(items) => items.iter().map(|item| ("-".to_owned(), item, 2)).collect(),
        scalar => return out.push_str(&format!("{margin}{scalar}\n")),
    };
    for (head, value, deeper) in entries {
        let is_leaf = match value {
            Value::Object(map) => map.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => true,
        };
        if is_leaf {
            out.push_str(&format!("{margin}{head} {value}\n"));
            continue;
        }
        let mut inner = String::new();
        let is_list_below_key = value.is_array() && head != "-";
        block(value, if is_list_below_key { column } else { column + deeper }, &mut inner);
        // The first line of an item stands behind its dash.
        let inner = if head == "-" {
            format!("{margin}- {}", &inner[column + 2..])
        } else {
            format!("{margin}{head}\n{inner}")
        };
        out.push_str(&inner);
    }
}

/// The object in both forms that kubectl has.
fn forms(mut object: Value) -> [(&'static str, String); 2] {
    object.sort_all_objects();
    let mut yaml = String::new();
    block(&object, 0, &mut yaml);
    let mut json = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut json, serde_json::ser::PrettyFormatter::with_indent(b"    "));
    serde::Serialize::serialize(&object, &mut writer).expect("JSON");
    [("yaml", yaml), ("json", String::from_utf8(json).expect("UTF-8"))]
}

#[test]
fn what_a_machine_has_written_anew_is_taken_apart_all_the_same() {
    let mut wrong = Vec::new();
    for (case, original, output) in cases() {
        for (form, text) in forms(output) {
            match uninject(&SourceFile::new("object", text.as_str())) {
                Err(why) => wrong.push(format!("{case}, {form}: {}", why.render(false))),
                Ok(back) if object(&case, &back.text) != Some(original.clone()) => {
                    wrong.push(format!("{case}, {form}: something else\n{}\n--- from\n{text}", back.text));
                }
                Ok(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// Wired anew with the same options, it is the same pod; and the time after, nothing changes.
#[test]
fn what_a_machine_has_written_anew_is_wired_again() {
    let mut wired = 0;
    for (case, _, output) in cases() {
        let report = fs::read_to_string(directory().join(format!("{case}.report"))).expect("a report");
        let words = report.lines().next().map_or(0, |command| command.split_whitespace().count());
        let is_function = output["kind"] == "ResourceList";
        if words != "$ podturn inject FILE".split_whitespace().count() || is_function {
            continue; // it has options of its own
        }
        for (form, text) in forms(output.clone()) {
            let again = |text: &str| match inject(&SourceFile::new("object", text), &Options::default()) {
                Ok(done) => done.text,
                Err(why) => panic!("{case}, {form}: {}", why.render(false)),
            };
            let first = again(&text);
            assert_eq!(again(&first), first, "{case}, {form}");
            assert_eq!(without_record(object(&case, &first)), without_record(Some(output.clone())), "{case}, {form}");
        }
        wired += 1;
    }
    assert!(wired >= 25, "{wired} cases");
}

/// The object without the annotations that say how it was, which it now was in another form.
fn without_record(object: Option<Value>) -> Option<Value> {
    fn clean(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("podturn.dev/injected");
                map.values_mut().for_each(clean);
            }
            Value::Array(items) => items.iter_mut().for_each(clean),
            _ => {}
        }
    }
    let mut object = object?;
    clean(&mut object);
    Some(object)
}
