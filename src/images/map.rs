//! The map file: which image runs what, written once where the images are at hand and read where they are not (a CI
//! without a registry).
//!
//! Belongs here: its text, both ways, with a place for every mistake. Does not belong here: reading files.

use std::collections::BTreeMap;

use super::runs::Runs;
use crate::plan::diagnostic::quote;
use crate::plan::yaml::{self, Node, Typed};
use crate::plan::{Diagnostics, Reporter, Source, Span};

const FIELDS: [&str; 7] = ["entrypoint", "cmd", "user", "workingDir", "stopSignal", "digest", "platform"];

/// References, as manifests write them, and what their images run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageMap {
    images: BTreeMap<String, Runs>,
}

impl ImageMap {
    /// What the image of this reference runs, where the map has it: the same text, to the letter.
    #[must_use]
    pub fn get(&self, reference: &str) -> Option<&Runs> {
        self.images.get(reference)
    }

    /// Adds an image, or replaces what is known of it.
    pub fn insert(&mut self, reference: impl Into<String>, runs: Runs) {
        self.images.insert(reference.into(), runs);
    }

    /// Its images, in the order of their references.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Runs)> {
        self.images.iter().map(|(reference, runs)| (reference.as_str(), runs))
    }

    /// Reads a map, YAML or JSON: `images: {REFERENCE: {entrypoint: [...], cmd: [...], ...}}`.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn read(source: &Source) -> Result<Self, Diagnostics> {
        let documents = yaml::parse(source)?;
        let mut reporter = Reporter::new(source.outer());
        let mut map = Self::default();
        if let Some(second) = documents.get(1) {
            reporter.error(second.span, "a map of images is one document").help("put all images under one `images:`");
        }
        let span = documents.first().map_or(Span::empty(0), |root| root.span);
        match documents.first().and_then(Node::entries) {
            Some(entries) if entries.len() == 1 && entries[0].key == "images" => {
                map.read_images(&entries[0].value, &mut reporter);
            }
            _ => {
                let help = "it is `images:` and, below it, one entry an image; `podturn resolve` prints such a map";
                reporter.error(span, "this is no map of images").help(help);
            }
        }
        if reporter.has_errors() { Err(reporter.finish()) } else { Ok(map) }
    }

    fn read_images(&mut self, node: &Node, reporter: &mut Reporter) {
        let Some(entries) = node.entries() else {
            let message = format!("`images` cannot be {}", node.describe());
            reporter.error(node.span, message).help("it is one entry an image: REFERENCE: {entrypoint: [...]}");
            return;
        };
        for entry in entries {
            let runs = read_runs(&entry.value, reporter);
            if self.images.insert(entry.key.clone(), runs).is_some() {
                reporter.error(entry.key_span, format!("the image {} is here twice", quote(&entry.key)));
            }
        }
    }

    /// The map as YAML. Reading it back gives the same map.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut text = "images:\n".to_owned();
        if self.images.is_empty() {
            return "images: {}\n".to_owned();
        }
        for (reference, runs) in &self.images {
            text.push_str(&format!("  {}:\n", serde_json::Value::from(reference.as_str())));
            let serde_json::Value::Object(fields) = Self::value(runs) else { continue };
            for (name, value) in fields {
                text.push_str(&format!("    {name}: {value}\n"));
            }
        }
        text
    }

    /// The map as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let images: serde_json::Map<String, serde_json::Value> =
            self.images.iter().map(|(reference, runs)| (reference.clone(), Self::value(runs))).collect();
        format!("{:#}\n", serde_json::json!({ "images": images }))
    }

    fn value(runs: &Runs) -> serde_json::Value {
        serde_json::to_value(runs).expect("strings and lists of strings are JSON")
    }
}

fn read_runs(node: &Node, reporter: &mut Reporter) -> Runs {
    let mut runs = Runs::default();
    let Some(entries) = node.entries() else {
        let message = format!("what an image runs cannot be {}", node.describe());
        reporter.error(node.span, message).help(format!("it is a map with {}", FIELDS.join(", ")));
        return runs;
    };
    let mut seen = Vec::with_capacity(FIELDS.len());
    for entry in entries {
        let value = &entry.value;
        if seen.contains(&entry.key.as_str()) {
            reporter.error(entry.key_span, format!("the field {} is here twice", quote(&entry.key)));
        }
        match entry.key.as_str() {
            "entrypoint" => runs.entrypoint = words(value, "an entrypoint", reporter),
            "cmd" => runs.cmd = words(value, "a cmd", reporter),
            "user" => runs.user = user(value, reporter),
            "workingDir" => runs.working_dir = text(value, "a working directory", reporter),
            "stopSignal" => runs.stop_signal = text(value, "a stop signal", reporter),
            "digest" => runs.digest = text(value, "a digest", reporter),
            "platform" => runs.platform = text(value, "a platform", reporter),
            key => {
                let nearest = reporter.nearest(key, FIELDS);
                let diagnostic = reporter.error(entry.key_span, format!("an image has no field {}", quote(key)));
                match nearest {
                    Some(name) => diagnostic.did_you_mean(Some(name)),
                    None => diagnostic.help(format!("its fields are {}", FIELDS.join(", "))),
                };
            }
        }
        seen.push(&entry.key);
    }
    runs
}

fn words(node: &Node, what: &str, reporter: &mut Reporter) -> Vec<String> {
    let Some(items) = node.items() else {
        let diagnostic = reporter.error(node.span, format!("{what} cannot be {}", node.describe()));
        diagnostic.help("it is a list; the shell form is [\"/bin/sh\", \"-c\", \"...\"]");
        return Vec::new();
    };
    items.iter().filter_map(|item| text(item, "an argument", reporter)).collect()
}

/// A number without quotes is what people write here, and it means the same.
fn user(node: &Node, reporter: &mut Reporter) -> Option<String> {
    match node.typed() {
        Some(Typed::Integer(uid)) if u32::try_from(uid).is_ok() => Some(uid.to_string()),
        _ => text(node, "a user", reporter),
    }
}

fn text(node: &Node, what: &str, reporter: &mut Reporter) -> Option<String> {
    let text = node.as_str();
    if text.is_none() {
        let diagnostic = reporter.error(node.span, format!("{what} cannot be {}", node.describe()));
        diagnostic.help("it is a string; put it in quotes");
    }
    text.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{ImageMap, Runs};
    use crate::plan::Source;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut map = ImageMap::default();
        map.insert("registry.example/app:1", Runs::default());
        map.insert(
            "localhost:5000/team/app@sha256:0",
            Runs {
                entrypoint: vec!["/bin/sh".to_owned(), "-c".to_owned(), "a: \"b\"\n\t- # 'c' \u{e9}\u{7f}".to_owned()],
                cmd: vec![String::new(), "yes".to_owned(), "010".to_owned()],
                user: Some("65532".to_owned()),
                working_dir: Some("/work dir".to_owned()),
                stop_signal: Some("SIGINT".to_owned()),
                digest: Some("sha256:0".to_owned()),
                platform: Some("linux/arm/v7".to_owned()),
            },
        );
        for text in [map.to_yaml(), map.to_json(), ImageMap::default().to_yaml()] {
            let read = ImageMap::read(&Source::file("images.yaml", text.as_str())).expect("it was just written");
            assert_eq!(read, if text.contains("app") { map.clone() } else { ImageMap::default() }, "{text}");
        }
    }

    #[test]
    fn mistakes_are_pointed_at() {
        let table = [
            ("", "map:1:1: error: this is no map of images"),
            ("images: [a]", "map:1:9: error: `images` cannot be a list"),
            ("images: {a: x}", "map:1:13: error: what an image runs cannot be the string \"x\""),
            ("images: {a: {entrypoint: /app}}", "map:1:26: error: an entrypoint cannot be the string \"/app\""),
            ("images: {a: {cmd: [8080]}}", "map:1:20: error: an argument cannot be the number 8080"),
            ("images: {a: {entrypiont: []}}", "map:1:14: error: an image has no field \"entrypiont\""),
            ("images: {a: {}, a: {}}", "map:1:17: error: the image \"a\" is here twice"),
            ("images: {a: {cmd: [], cmd: []}}", "map:1:23: error: the field \"cmd\" is here twice"),
        ];
        for (text, expected) in table {
            let error = ImageMap::read(&Source::file("map", text)).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{text}\n{error}");
        }
        let map = ImageMap::read(&Source::file("map", "images: {a: {user: 65532}}")).expect("a number is a user");
        assert_eq!(map.get("a").and_then(Runs::uid), Some(65532));
    }
}
