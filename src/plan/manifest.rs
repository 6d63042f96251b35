//! A manifest: which of its objects carries a plan, and where its pod is.
//!
//! Belongs here: finding things in Kubernetes objects. Does not belong here: changing them, and what the plan says.

use std::sync::Arc;

use super::PODTURN_PLAN;
use super::diagnostic::{Diagnostic, Diagnostics, Reporter, quote};
use super::facts::{
    ContainerFacts, Placement, PodFacts, PortFacts, RestartPolicy, TERMINATION_MESSAGE_PATH, TerminationMessagePolicy,
};
use super::fields::unique;
use super::source::{Source, SourceFile, Span};
use super::yaml::{Node, Typed, Value, parse};

/// The annotation that holds the plan.
pub const ANNOTATION: &str = "podturn.dev/plan";

/// One pod with a plan, found in a manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object's kind: `Pod`, `Job`, ...
    pub kind: String,
    /// The object's name (or its `generateName` without the dash at the end).
    pub name: String,
    /// The file, for errors about the pod.
    pub file: Arc<SourceFile>,
    /// The whole object.
    pub object: Node,
    /// All objects of the file, this one included: ConfigMaps may stand beside the pod that reads them.
    pub objects: Vec<Node>,
    /// The pod's `metadata`, or that of its template.
    pub metadata: Node,
    /// The pod's `spec`, or that of its template.
    pub spec: Node,
    /// The plan, with its place in the file.
    pub plan: Source,
    /// The pod is wired already, by hand or by `inject`: the plan is in an init container's `PODTURN_PLAN`.
    pub is_wired: bool,
    /// What the plan's check has to know of the pod. `placement` is the default: whoever wires the pod decides it.
    pub facts: PodFacts,
}

/// Where the pod's template is, by kind. What is not listed is looked for at `spec.template`, where every workload of
/// Kubernetes and most custom ones have it.
const TEMPLATES: [(&str, &[&str]); 2] = [("Pod", &[]), ("CronJob", &["spec", "jobTemplate", "spec", "template"])];

/// A plan in an object, not read yet.
struct Found<'n> {
    object: &'n Node,
    pod: &'n Node,
    key_span: Span,
    plan: &'n Node,
    is_wired: bool,
}

impl Manifest {
    /// Whether these documents are Kubernetes objects rather than a bare plan.
    #[must_use]
    pub fn is_one(documents: &[Node]) -> bool {
        documents.iter().any(|document| document.get("kind").is_some() || document.get("apiVersion").is_some())
    }

    /// Reads a manifest of one or more documents; `name` as for [`SourceFile::new`]. Exactly one pod has to carry a plan,
    /// in the annotation of its own metadata or in an init container's variable; other objects are passed over.
    ///
    /// # Errors
    /// Text that is not YAML, no plan or more than one, or a pod whose containers cannot be told; then the plan's own
    /// errors are told with these.
    pub fn read(name: &str, text: impl Into<String>) -> Result<Self, Diagnostics> {
        let source = Source::file(name, text);
        let documents = parse(&source)?;
        let mut reporter = Reporter::new(source.outer());
        let mut found: Vec<Found<'_>> = Vec::new();
        for object in objects(&documents) {
            let Some(pod) = pod_of(object) else { continue };
            match plan_of(object, pod) {
                Some(plan) => found.push(plan),
                None => misplaced(object, pod, &mut reporter),
            }
        }
        let Some((first, others)) = found.split_first() else {
            if !reporter.has_errors() {
                let mut diagnostic = Diagnostic::error(format!("{name}: no pod here has a plan"));
                diagnostic.help(format!("give the pod (or the template of its Job) the annotation {ANNOTATION}"));
                return Err(diagnostic.into());
            }
            return Err(reporter.finish());
        };
        for other in others {
            let kind = first.object.get("kind").and_then(Node::as_str).unwrap_or("Pod");
            let named = quote(&name_of(first.object).unwrap_or_default());
            reporter
                .error(other.key_span, format!("a second plan: the {kind} {named} has one already"))
                .help("one pod at a time: put each into a file of its own");
        }
        duplicate_keys(first.object, &mut reporter);
        let all = objects(&documents).into_iter().cloned().collect();
        let manifest = Self::of(first, all, &mut reporter);
        let is_wrong = reporter.has_errors();
        match manifest {
            Some(manifest) if !is_wrong => Ok(manifest),
            manifest => {
                let mut wrong = reporter.finish();
                if let Some(Err(more)) = manifest.map(|manifest| manifest.check(&manifest.facts)) {
                    wrong.append(more);
                }
                Err(wrong)
            }
        }
    }

    fn of(found: &Found<'_>, objects: Vec<Node>, reporter: &mut Reporter) -> Option<Self> {
        let plan = found.plan;
        let Value::Scalar(scalar) = &plan.value else {
            let message = format!("a plan is a string here, not {}", plan.describe());
            let help = "put a | after the colon, so that the lines below it are a text";
            reporter.error(Span { end: plan.span.start, ..found.key_span }, message).help(help);
            return None;
        };
        let Some(spec) = found.pod.get("spec").filter(|spec| spec.entries().is_some()) else {
            reporter.error(found.key_span, "this plan has no pod: its object has no spec");
            return None;
        };
        let kind = found.object.get("kind").and_then(Node::as_str).unwrap_or("Pod");
        let nothing = || Node { value: Value::Mapping(Vec::new()), span: Span::empty(found.pod.span.start) };
        Some(Self {
            kind: kind.to_owned(),
            name: name_of(found.object).unwrap_or_else(|| kind.to_lowercase()),
            file: Arc::clone(reporter.file()),
            object: found.object.clone(),
            objects,
            metadata: found.pod.get("metadata").cloned().unwrap_or_else(nothing),
            spec: spec.clone(),
            plan: Source::embedded(Arc::clone(reporter.file()), plan.span, scalar.style, &scalar.text),
            is_wired: found.is_wired,
            facts: facts(spec, reporter),
        })
    }
}

/// Reports keys that are there twice: the API server would take one of them and drop the other. Nodes are nested no deeper
/// than the parser allows, so this may recurse.
fn duplicate_keys(node: &Node, reporter: &mut Reporter) {
    match &node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| duplicate_keys(item, reporter)),
        Value::Mapping(entries) => {
            unique(entries, reporter);
            entries.iter().for_each(|entry| duplicate_keys(&entry.value, reporter));
        }
    }
}

/// The pod's plan: its annotation, or the variable of an init container.
fn plan_of<'n>(object: &'n Node, pod: &'n Node) -> Option<Found<'n>> {
    if let Some(entry) = annotation(pod) {
        return Some(Found { object, pod, key_span: entry.key_span, plan: &entry.value, is_wired: false });
    }
    let init_containers = pod.get("spec")?.get("initContainers")?.items()?;
    let variables = init_containers.iter().filter_map(|container| container.get("env")?.items()).flatten();
    let variable =
        variables.into_iter().find(|variable| variable.get("name").and_then(Node::as_str) == Some(PODTURN_PLAN))?;
    let plan = variable.get("value")?;
    let key_span = variable.get("name").map_or(plan.span, |name| name.span);
    Some(Found { object, pod, key_span, plan, is_wired: true })
}

/// The objects of all documents, those in a `List` included.
fn objects(documents: &[Node]) -> Vec<&Node> {
    let is_list = |node: &Node| node.get("kind").and_then(Node::as_str).is_some_and(|kind| kind.ends_with("List"));
    let inner = |document| match (is_list(document), document.get("items").and_then(Node::items)) {
        (true, Some(items)) => items.iter().collect(),
        _ => vec![document],
    };
    documents.iter().flat_map(inner).collect()
}

/// The node that has the pod's `metadata` and `spec`.
fn pod_of(object: &Node) -> Option<&Node> {
    let kind = object.get("kind").and_then(Node::as_str)?;
    let path = TEMPLATES.iter().find(|(known, _)| *known == kind).map_or(&["spec", "template"][..], |(_, path)| path);
    path.iter().try_fold(object, |node, key| node.get(key))
}

fn annotation(pod: &Node) -> Option<&super::yaml::Entry> {
    let annotations = pod.get("metadata")?.get("annotations")?.entries()?;
    annotations.iter().rev().find(|entry| entry.key == ANNOTATION)
}

/// A Job whose own metadata has the plan: a slip that would otherwise look like 'no plan'.
fn misplaced(object: &Node, pod: &Node, reporter: &mut Reporter) {
    if std::ptr::eq(object, pod) {
        return;
    }
    if let Some(entry) = annotation(object) {
        let kind = object.get("kind").and_then(Node::as_str).unwrap_or("object");
        reporter
            .error(entry.key_span, format!("this plan belongs to the {kind}, and not to its pods"))
            .help("move the annotation to the metadata of the pod template (spec.template.metadata.annotations)");
    }
}

fn name_of(object: &Node) -> Option<String> {
    let metadata = object.get("metadata")?;
    let generated = || metadata.get("generateName").and_then(Node::as_str).map(|name| name.trim_end_matches('-'));
    metadata.get("name").and_then(Node::as_str).or_else(generated).map(str::to_owned)
}

/// What the check has to know of the pod, with errors at their places in the manifest.
fn facts(spec: &Node, reporter: &mut Reporter) -> PodFacts {
    // Kubernetes' default. A pod that leaves it out restarts its containers.
    let restart_policy = spec.get("restartPolicy").map_or(RestartPolicy::Always, |node| restart_policy(node, reporter));
    let grace = spec.get("terminationGracePeriodSeconds").map_or(30, |node| seconds(node, reporter));
    let containers = named(spec, "containers", reporter);
    if containers.is_empty() && !reporter.has_errors() {
        reporter.error(Span::empty(spec.span.start), "this pod has no containers");
    }
    PodFacts {
        restart_policy,
        placement: Placement::default(),
        termination_grace_period_seconds: grace,
        containers: containers.iter().map(|(name, node)| container(name, node, restart_policy)).collect(),
        init_containers: named(spec, "initContainers", reporter).into_iter().map(|(name, _)| name).collect(),
        parameters: std::collections::BTreeMap::new(),
    }
}

fn restart_policy(node: &Node, reporter: &mut Reporter) -> RestartPolicy {
    match node.as_str() {
        Some("Never") => return RestartPolicy::Never,
        Some("Always") => return RestartPolicy::Always,
        Some("OnFailure") => {
            reporter
                .error(node.span, "restartPolicy OnFailure would run failed steps again behind podturn's back")
                .help("write `restartPolicy: Never`, and `retry: { limit: N }` at the steps that may be tried again");
        }
        _ => {
            reporter.error(node.span, format!("restartPolicy cannot be {}", node.describe())).help("write `Never`");
        }
    }
    RestartPolicy::Never
}

fn seconds(node: &Node, reporter: &mut Reporter) -> u64 {
    match node.typed() {
        Some(Typed::Integer(seconds)) if seconds >= 0 => seconds.unsigned_abs(),
        _ => {
            reporter.error(node.span, format!("a number of seconds is wanted here, not {}", node.describe()));
            0
        }
    }
}

/// The containers of a list with their names; the names' rules are the API server's.
fn named<'n>(spec: &'n Node, field: &str, reporter: &mut Reporter) -> Vec<(String, &'n Node)> {
    let Some(list) = spec.get(field).filter(|list| !list.is_null()) else { return Vec::new() };
    let Some(items) = list.items() else {
        reporter.error(list.span, format!("{field} is a list, not {}", list.describe()));
        return Vec::new();
    };
    let mut named: Vec<(String, &Node)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in items {
        let Some(name) = item.get("name").and_then(Node::as_str) else {
            reporter.error(Span::empty(item.span.start), format!("an entry of {field} has no name"));
            continue;
        };
        if !seen.insert(name) {
            let span = item.get("name").map_or(item.span, |node| node.span);
            reporter.error(span, format!("a second entry of {field} has the name {}", quote(name)));
            continue;
        }
        named.push((name.to_owned(), item));
    }
    named
}

pub(super) fn container(name: &str, node: &Node, pod: RestartPolicy) -> ContainerFacts {
    // A container's own policy and rules (KEP-5307) override the pod's.
    let own = match node.get("restartPolicy").and_then(Node::as_str) {
        Some("Never") => Some(false),
        Some(_) => Some(true),
        None => None,
    };
    let has_rules = node.get("restartPolicyRules").and_then(Node::items).is_some_and(|rules| !rules.is_empty());
    let text = |key: &str| node.get(key).and_then(Node::as_str);
    ContainerFacts {
        name: name.to_owned(),
        restarts: Some(has_rules || own.unwrap_or(pod == RestartPolicy::Always)),
        termination_message_path: text("terminationMessagePath").unwrap_or(TERMINATION_MESSAGE_PATH).to_owned(),
        termination_message_policy: match text("terminationMessagePolicy") {
            Some("FallbackToLogsOnError") => TerminationMessagePolicy::FallbackToLogsOnError,
            _ => TerminationMessagePolicy::File,
        },
        ports: node.get("ports").and_then(Node::items).into_iter().flatten().filter_map(port).collect(),
    }
}

/// A port with a name. What else is wrong with it is the API server's to say.
fn port(node: &Node) -> Option<PortFacts> {
    let name = node.get("name")?.as_str()?.to_owned();
    let Some(Typed::Integer(number)) = node.get("containerPort")?.typed() else { return None };
    Some(PortFacts { name, container_port: u16::try_from(number).ok()? })
}
