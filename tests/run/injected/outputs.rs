//! The outputs of the cases of `podturn inject`, and the pods in them that are wired.

use std::fs;
use std::path::{Path, PathBuf};

use podturn::inject::{Format, convert};
use podturn::plan::{Manifest, SourceFile};
use podturn_turn::Plan;
use serde_json::{Value, json};

use crate::cases::files;

/// One file.
pub(super) struct Output {
    pub(super) file: String,
    /// Its objects, in a List where there are several; null where it is no manifest.
    root: Value,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject")
}

pub(super) fn outputs() -> Vec<Output> {
    let mut found = [files(&directory(), ".out.yaml"), files(&directory(), ".out.json")].concat();
    found.sort();
    let output = |path: &PathBuf| {
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("it can be read");
        let json = convert(&SourceFile::new(file.clone(), text), Format::Json);
        Output { root: json.map_or(Value::Null, |json| serde_json::from_str(&json).expect("it is JSON")), file }
    };
    found.iter().map(output).collect()
}

impl Output {
    /// How many of its pods are wired, and have a coordinator.
    pub(super) fn pods(&self) -> usize {
        wired(&self.root).len()
    }

    /// How many plans are in it, wherever.
    pub(super) fn plans(&self) -> usize {
        self.root.to_string().matches("\"PODTURN_PLAN\"").count()
    }

    /// The plan of the file that it was made from; `None`: there are several, or it was wired before.
    pub(super) fn plan_of_input(&self) -> Option<Plan> {
        let file = directory().join(self.file.replace(".out.", ".in."));
        let text = fs::read_to_string(file).expect("each output has its input");
        let manifest = Manifest::read(&self.file, text).ok().filter(|manifest| !manifest.is_wired)?;
        manifest.check(&manifest.facts).ok().map(|checked| checked.plan)
    }

    /// The manifest with this one of its pods alone: `podturn run` plays one at a time, and asks for a file with one.
    pub(super) fn with_one(&self, pod: usize) -> Value {
        let mut root = self.root.clone();
        let ways = wired(&root);
        for other in ways.iter().rev().filter(|way| **way != ways[pod]) {
            // The outermost item of a list that is not this pod's, too: an object of a stream, or a part of an object.
            let shared = other.iter().zip(&ways[pod]).take_while(|(one, two)| one == two).count();
            let list = root.pointer_mut(&format!("/{}", other[..shared].join("/"))).expect("a list");
            let index: usize = other[shared].parse().expect("the two are in one list");
            list.as_array_mut().expect("a list").remove(index);
        }
        // Its controller makes pods of the template that --template-path names.
        match self.file.as_str() {
            "crd-template-path.out.yaml" => {
                let spec = root.pointer(&format!("/{}", wired(&root)[0].join("/"))).expect("it was found there");
                json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "w" }, "spec": spec })
            }
            _ => root,
        }
    }
}

/// The spec of the manifest's only pod that is wired.
pub(super) fn spec_of(root: &mut Value) -> &mut Value {
    let ways = wired(root);
    assert_eq!(ways.len(), 1, "one pod alone: {ways:?}");
    root.pointer_mut(&format!("/{}", ways[0].join("/"))).expect("it was found there")
}

/// The ways to the specs of pods with a wired plan and a coordinator, in the order of the file.
fn wired(value: &Value) -> Vec<Vec<String>> {
    let has = |argument: &str| {
        let containers = ["initContainers", "containers"].map(|list| value[list].as_array());
        let mut containers = containers.into_iter().flatten().flatten();
        containers.any(|container| container["args"][0] == argument && container["command"].is_null())
    };
    if has("init") && has("coordinate") {
        return vec![Vec::new()];
    }
    let below: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        Value::Object(entries) => entries.iter().map(|(key, entry)| (key.clone(), entry)).collect(),
        _ => Vec::new(),
    };
    let ways = below.into_iter().flat_map(|(key, value)| {
        wired(value).into_iter().map(move |way| [vec![key.clone()], way].concat()).collect::<Vec<_>>()
    });
    ways.collect()
}
