//! The objects of a manifest, for several test programs.

use podturn::inject::{Format, convert};
use podturn::plan::SourceFile;
use serde_json::Value;

/// The objects of a text.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let json = convert(&SourceFile::new("text", text), Format::Json).expect("it is YAML");
    let mut root: Value = serde_json::from_str(&json).expect("it is JSON");
    match root["kind"] == "List" {
        true => root["items"].as_array_mut().map(std::mem::take).expect("its items"),
        false => vec![root],
    }
}
