//! Which images a manifest leaves the entrypoint to.
//!
//! Belongs here: finding them, whatever kind of object the pod is in. Does not belong here: whether the manifest is right.

use crate::plan::Span;
use crate::plan::yaml::{Node, Value};

/// An image in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The reference, as it is written.
    pub reference: String,
    /// Its place.
    pub span: Span,
}

/// The images of all containers that have no `command` of their own, in the order of the text.
#[must_use]
pub fn mentioned(documents: &[Node]) -> Vec<Mention> {
    let mut found = Vec::new();
    documents.iter().for_each(|document| look(document, &mut found));
    found
}

fn look(node: &Node, found: &mut Vec<Mention>) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| look(item, found)),
        Value::Mapping(entries) => {
            for entry in entries {
                match entry.value.items() {
                    Some(containers) if entry.key == "containers" => {
                        found.extend(containers.iter().filter_map(unknown_entrypoint));
                    }
                    _ => look(&entry.value, found),
                }
            }
        }
    }
}

fn unknown_entrypoint(container: &Node) -> Option<Mention> {
    let has_command = container.get("command").and_then(Node::items).is_some_and(|words| !words.is_empty());
    let image = container.get("image").filter(|_| !has_command)?;
    image.as_str().map(|reference| Mention { reference: reference.to_owned(), span: image.span })
}

#[cfg(test)]
mod tests {
    use super::mentioned;
    use crate::plan::{Source, yaml};

    #[test]
    fn containers_without_a_command_are_found_in_every_kind() {
        let text = "
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          initContainers:
          - {name: i, image: init.example/i}
          containers:
          - {name: a, image: one.example/a}
          - {name: b, image: two.example/b, command: [sh]}
          - {name: c, image: three.example/c, command: [], args: [x]}
---
kind: Pod
spec: {containers: [{name: d, image: 'four.example/d:1'}, {name: e}]}
";
        let documents = yaml::parse(&Source::file("pod.yaml", text)).expect("it is YAML");
        let found: Vec<String> = mentioned(&documents).into_iter().map(|mention| mention.reference).collect();
        assert_eq!(found, ["one.example/a", "three.example/c", "four.example/d:1"]);
    }
}
