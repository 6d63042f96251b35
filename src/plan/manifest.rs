//! A manifest: which of its objects carries a plan, and where its pod is.
//!
//! Belongs here: finding things in Kubernetes objects. Does not belong here: changing them, and what the plan says.

use std::sync::Arc;

use super::PODTURN_PLAN;
use super::diagnostic::{Diagnostic, Diagnostics, Reporter, quote};
use super::facts::{
    Amounts, ContainerFacts, ContainerRestarts, Placement, PodFacts, PortFacts, ResourceFacts, RestartPolicy,
    TERMINATION_MESSAGE_PATH, TerminationMessagePolicy,
};
use super::fields::unique;
use super::site::{Path, Site, Templates, annotation, at, holders, objects};
use super::source::{Source, SourceFile, Span};
use super::yaml::{Entry, Node, Typed, Value, parse};

/// The annotation that holds the plan.
pub const ANNOTATION: &str = "podturn.dev/plan";

/// The annotation in which `podturn inject` keeps what it takes to undo it, beside the plan's.
pub const INJECTED: &str = "podturn.dev/injected";

/// The annotation that silences findings of `podturn lint`, on the pod or on the object that makes it.
pub const LINT_IGNORE: &str = "podturn.dev/lint-ignore";

/// One pod with a plan, found in a manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object's kind: `Pod`, `Job`, ...
    pub kind: String,
    /// The object's name (or its `generateName` without the dash at the end).
    pub name: String,
    /// The file, for errors about the pod.
    pub file: Arc<SourceFile>,
    /// Where the pod is in its document, and where its plan sits.
    pub site: Site,
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
    /// The place of the annotation's key, or of the variable's name.
    pub plan_key: Span,
    /// The pod is wired already, by hand or by `inject`: the plan is in an init container's `PODTURN_PLAN`.
    pub is_wired: bool,
    /// What the plan's check has to know of the pod. `placement` is the default: whoever wires the pod decides it.
    pub facts: PodFacts,
}

/// A plan in an object, not read yet.
struct Found<'n> {
    site: Site,
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

    /// Reads a manifest of one or more documents; `name` as for [`SourceFile::new`]. Exactly one pod has to carry a plan:
    /// in an annotation of its own metadata or of its object's, or in an init container's variable. Other objects are
    /// passed over.
    ///
    /// # Errors
    /// Text that is not YAML, no plan or more than one, or a pod whose containers cannot be told; then the plan's own
    /// errors are told with these.
    pub fn read(name: &str, text: impl Into<String>) -> Result<Self, Diagnostics> {
        let source = Source::file(name, text);
        let documents = parse(&source)?;
        let mut reporter = Reporter::new(source.outer());
        let templates = Templates::default();
        let found: Vec<Found<'_>> =
            documents.iter().flat_map(|document| find(document, &templates, &mut reporter)).collect();
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
        let objects_of = |document| objects(document).into_iter().filter_map(move |path| at(document, &path).cloned());
        let all = documents.iter().flat_map(objects_of).collect();
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

    /// All pods with a plan in one document. What is wrong goes to the reporter; a pod that cannot be read at all is left
    /// out then.
    #[must_use]
    pub fn all(document: &Node, templates: &Templates, reporter: &mut Reporter) -> Vec<Self> {
        let found = find(document, templates, reporter);
        if !found.is_empty() {
            duplicate_keys(document, reporter);
        }
        found.iter().filter_map(|found| Self::of(found, Vec::new(), reporter)).collect()
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
        let start = Span::empty(found.pod.span.start);
        let nothing = || Node { value: Value::Mapping(Vec::new()), span: start, alias: None };
        // The kubelet halves each `$$` in the value of a variable, so that is how a `$` is written there.
        let text = if found.is_wired { scalar.text.replace("$$", "$") } else { scalar.text.clone() };
        Some(Self {
            kind: kind.to_owned(),
            name: name_of(found.object).unwrap_or_else(|| kind.to_ascii_lowercase()),
            file: Arc::clone(reporter.file()),
            site: found.site.clone(),
            object: found.object.clone(),
            objects,
            metadata: found.pod.get("metadata").cloned().unwrap_or_else(nothing),
            spec: spec.clone(),
            plan: Source::embedded(Arc::clone(reporter.file()), plan.span, scalar.style, &text),
            plan_key: found.key_span,
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

/// The pods of a document that have a plan.
fn find<'n>(document: &'n Node, templates: &Templates, reporter: &mut Reporter) -> Vec<Found<'n>> {
    let pods = templates.pods(document);
    for path in objects(document) {
        if let Some(object) = at(document, &path).filter(|_| !pods.iter().any(|(object, _)| *object == path)) {
            without_pod(object, reporter);
        }
    }
    let found = pods.into_iter().filter_map(|(object, pod)| plan_of(document, object, pod, reporter));
    found.collect()
}

/// The pod's plan: the variable of an init container, or else an annotation.
fn plan_of<'n>(document: &'n Node, object: Path, pod: Path, reporter: &mut Reporter) -> Option<Found<'n>> {
    let holders = holders(document, &object, &pod);
    let (object_node, pod_node) = (at(document, &object)?, at(document, &pod)?);
    if let Some((key_span, plan)) = variable(pod_node) {
        let holder = holders.into_iter().next().unwrap_or_else(|| pod.clone());
        let site = Site { object, pod, holder };
        return Some(Found { site, object: object_node, pod: pod_node, key_span, plan, is_wired: true });
    }
    let mut annotations = holders.iter().filter_map(|path| annotation(at(document, path)?));
    let entry = annotations.next()?;
    let said = |entry: &Entry| entry.value.typed().map(|typed| format!("{typed:?}"));
    for other in annotations.filter(|other| said(other) != said(entry)) {
        let line = reporter.file().line_of(entry.key_span.start);
        reporter
            .error(other.key_span, format!("this plan is not the one that its pod has on line {line}"))
            .help("keep one of the two");
    }
    let site = Site { holder: holders.first()?.clone(), object, pod };
    Some(Found {
        site,
        object: object_node,
        pod: pod_node,
        key_span: entry.key_span,
        plan: &entry.value,
        is_wired: false,
    })
}

/// The plan in an init container's variable, with the place of its name.
fn variable(pod: &Node) -> Option<(Span, &Node)> {
    let init_containers = pod.get("spec")?.get("initContainers")?.items()?;
    let variables = init_containers.iter().filter_map(|container| container.get("env")?.items()).flatten();
    let variable =
        variables.into_iter().find(|variable| variable.get("name").and_then(Node::as_str) == Some(PODTURN_PLAN))?;
    let plan = variable.get("value")?;
    Some((variable.get("name").map_or(plan.span, |name| name.span), plan))
}

/// A plan on an object in which no pod was found: a slip that would otherwise look like 'no plan'.
fn without_pod(object: &Node, reporter: &mut Reporter) {
    if let Some(entry) = annotation(object) {
        let kind = object.get("kind").and_then(Node::as_str).unwrap_or("object");
        reporter
            .error(entry.key_span, format!("this plan has no pod: this {kind} has none at spec.template"))
            .help(format!("tell podturn inject where its pod template is: --template-path {kind}=PATH"));
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
        all_wired: false,
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
        Some("Never") => ContainerRestarts::Never,
        Some(_) => ContainerRestarts::Always,
        None => pod.of_containers(),
    };
    let rules = node.list("restartPolicyRules");
    let restarts = match own {
        own if rules.is_empty() => own,
        ContainerRestarts::Never if rules.iter().all(is_for_killed) => ContainerRestarts::WhenKilled,
        _ => ContainerRestarts::Always,
    };
    let text = |key: &str| node.get(key).and_then(Node::as_str);
    ContainerFacts {
        name: name.to_owned(),
        restarts: Some(restarts),
        termination_message_path: text("terminationMessagePath").unwrap_or(TERMINATION_MESSAGE_PATH).to_owned(),
        termination_message_policy: match text("terminationMessagePolicy") {
            Some("FallbackToLogsOnError") => TerminationMessagePolicy::FallbackToLogsOnError,
            _ => TerminationMessagePolicy::File,
        },
        ports: ports(node),
        resources: node.get("resources").map(resources).unwrap_or_default(),
    }
}

/// Whether a restart rule is about the exit code of killed containers alone.
fn is_for_killed(rule: &Node) -> bool {
    let is_restart = rule.get("action").and_then(Node::as_str) == Some("Restart");
    let codes = rule.get("exitCodes");
    let is_in = codes.and_then(|codes| codes.get("operator")).and_then(Node::as_str) == Some("In");
    let values = codes.and_then(|codes| codes.get("values")).and_then(Node::items).unwrap_or_default();
    let killed = i64::from(podturn_wire::exit::KILLED);
    let is_killed = |value: &Node| matches!(value.typed(), Some(Typed::Integer(code)) if code == killed);
    is_restart && is_in && !values.is_empty() && values.iter().all(is_killed)
}

/// What is no quantity is the API server's to refuse.
fn resources(node: &Node) -> ResourceFacts {
    let amount = |kind: &str, resource: &str| match &node.get(kind)?.get(resource)?.value {
        Value::Scalar(scalar) if !scalar.text.is_empty() => Some(scalar.text.clone()),
        _ => None,
    };
    let amounts = |kind: &str| Amounts { cpu: amount(kind, "cpu"), memory: amount(kind, "memory") };
    ResourceFacts { requests: amounts("requests"), limits: amounts("limits") }
}

/// The ports of a container that have a name. What else is wrong with them is the API server's to say.
#[must_use]
pub fn ports(container: &Node) -> Vec<PortFacts> {
    let port = |node: &Node| {
        let name = node.get("name")?.as_str()?.to_owned();
        let Some(Typed::Integer(number)) = node.get("containerPort")?.typed() else { return None };
        Some(PortFacts { name, container_port: u16::try_from(number).ok()? })
    };
    container.list("ports").iter().filter_map(port).collect()
}
