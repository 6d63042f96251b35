//! Where the pods are in an object, and on which of its levels the plan sits.
//!
//! Belongs here: ways through a tree of nodes. Does not belong here: what the nodes say.

use super::manifest::ANNOTATION;
use super::yaml::{Entry, Node};

/// One step down a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seg {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// A way down from the root of a document.
pub type Path = Vec<Seg>;

/// One step further, into a map.
#[must_use]
pub fn below(path: &[Seg], key: &str) -> Path {
    [path, &[Seg::Key(key.to_owned())]].concat()
}

/// Where a pod with a plan is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The Kubernetes object.
    pub object: Path,
    /// What has the pod's `metadata` and `spec`: the object itself or a template in it.
    pub pod: Path,
    /// What has the plan in its `metadata`: the pod, the object, or a level between the two.
    pub holder: Path,
}

impl Site {
    /// The same ways, from the object down.
    #[must_use]
    pub fn within_object(&self) -> Self {
        let below = |path: &Path| path.get(self.object.len()..).unwrap_or_default().to_vec();
        Self { object: Path::new(), pod: below(&self.pod), holder: below(&self.holder) }
    }
}

/// Where each kind of object has its pod template.
#[derive(Clone, Debug)]
pub struct Templates {
    /// Kind (`*`: any other), and the keys down to the template. `[]` after a key means each item of that list.
    known: Vec<(String, Vec<String>)>,
}

/// By kind. What is not listed is looked for at `spec.template`, where nearly every workload has it.
const KNOWN: [(&str, &str); 5] = [
    ("Pod", ""),
    ("PodTemplate", "template"),
    ("CronJob", "spec.jobTemplate.spec.template"),
    ("JobSet", "spec.replicatedJobs[].template.spec.template"),
    ("*", "spec.template"),
];

impl Default for Templates {
    fn default() -> Self {
        Self { known: KNOWN.iter().map(|(kind, path)| ((*kind).to_owned(), keys(path))).collect() }
    }
}

impl Templates {
    /// Adds a kind: `Workflow=spec.podTemplate`, `Set=spec.groups[].template`, or a path alone for all kinds that are not
    /// known.
    ///
    /// # Errors
    /// What is wrong with the text, in a sentence.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let (kind, path) = text.split_once('=').unwrap_or(("*", text));
        let path = path.strip_prefix('.').unwrap_or(path);
        let is_key = |key: &String| {
            let key = key.strip_suffix("[]").unwrap_or(key);
            !key.is_empty() && !key.contains(['[', ']', '/', '*'])
        };
        let keys = keys(path);
        if kind.is_empty() || keys.is_empty() || !keys.iter().all(is_key) {
            return Err(format!("{text} is not KIND=PATH, for example `RayJob=spec.headGroupSpec.template`"));
        }
        self.known.insert(0, (kind.to_owned(), keys));
        Ok(())
    }

    /// The ways to all pods of a document, those of a `List` included, each with the way to its object.
    #[must_use]
    pub fn pods(&self, document: &Node) -> Vec<(Path, Path)> {
        let mut found = Vec::new();
        for object in objects(document) {
            let Some(node) = at(document, &object) else { continue };
            let kind = node.get("kind").and_then(Node::as_str).unwrap_or_default();
            let keys = self.known.iter().find(|(known, _)| known == kind || known == "*");
            let mut pods = vec![object.clone()];
            for key in keys.map(|(_, keys)| keys.as_slice()).unwrap_or_default() {
                pods = pods.into_iter().flat_map(|path| down(document, path, key)).collect();
            }
            found.extend(pods.into_iter().map(|pod| (object.clone(), pod)));
        }
        found
    }
}

fn keys(path: &str) -> Vec<String> {
    path.split('.').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// One key further, or into each item of a list.
fn down(document: &Node, mut path: Path, key: &str) -> Vec<Path> {
    let name = key.strip_suffix("[]").unwrap_or(key);
    path.push(Seg::Key(name.to_owned()));
    let Some(node) = at(document, &path) else { return Vec::new() };
    if name == key {
        return vec![path];
    }
    let count = node.items().map_or(0, <[Node]>::len);
    (0..count).map(|index| [path.as_slice(), &[Seg::Index(index)]].concat()).collect()
}

/// The ways to the objects of a document: its root, or the items of a list (`List`, `ResourceList`, `PodList`, ...).
#[must_use]
pub fn objects(document: &Node) -> Vec<Path> {
    let is_list = document.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"));
    match (is_list, document.get("items").and_then(Node::items)) {
        (true, Some(items)) => {
            (0..items.len()).map(|index| vec![Seg::Key("items".to_owned()), Seg::Index(index)]).collect()
        }
        _ => vec![Vec::new()],
    }
}

/// The node at the end of a way.
#[must_use]
pub fn at<'n>(document: &'n Node, path: &[Seg]) -> Option<&'n Node> {
    path.iter().try_fold(document, |node, seg| match seg {
        Seg::Key(key) => node.get(key),
        Seg::Index(index) => node.items()?.get(*index),
    })
}

/// The plan's annotation in this node's own `metadata`.
#[must_use]
pub fn annotation(node: &Node) -> Option<&Entry> {
    let annotations = node.get("metadata")?.get("annotations")?.entries()?;
    annotations.iter().rev().find(|entry| entry.key == ANNOTATION)
}

/// The levels from the pod out to its object that have a plan, the innermost first.
#[must_use]
pub fn holders(document: &Node, object: &[Seg], pod: &[Seg]) -> Vec<Path> {
    let levels = (object.len()..=pod.len()).rev().map(|length| &pod[..length]);
    levels.filter(|path| at(document, path).and_then(annotation).is_some()).map(<[Seg]>::to_vec).collect()
}
