//! What was found, and which pod and steps it is about.

use std::sync::Arc;

use super::codes::{Rule, by_code};
use crate::plan::{Diagnostic, Diagnostics, Manifest, Severity, SourceFile, Span};

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// What is said of it, and where. Its severity is the finding's.
    pub diagnostic: Diagnostic,
    /// Kind and name of the object whose pod it is about; `None` for what is wrong before there is a pod.
    pub object: Option<(String, String)>,
    /// The steps that it is about, by their containers' names; none: it is about the pod.
    pub steps: Vec<String>,
    /// The pod, as a number in the file.
    pub(super) pod: Option<usize>,
}

/// Where a pod and its containers are, to know whom a diagnostic of another room is about.
#[derive(Clone, Debug)]
struct Ground {
    object: (String, String),
    whole: Span,
    spec: Span,
    metadata: Span,
    containers: Vec<(String, Span)>,
}

/// Collects the findings of a file.
#[derive(Debug)]
pub(super) struct Found {
    file: Arc<SourceFile>,
    pub all: Vec<Finding>,
    /// How many there were besides.
    pub more: usize,
    pods: Vec<Ground>,
}

impl Found {
    pub(super) fn new(file: &Arc<SourceFile>) -> Self {
        Self { file: Arc::clone(file), all: Vec::new(), more: 0, pods: Vec::new() }
    }

    /// What is added from now on is about this pod. Returns its number.
    pub(super) fn begin(&mut self, manifest: &Manifest) -> usize {
        let items = manifest.spec.list("containers");
        let named = items.iter().filter_map(|item| Some((item.get("name")?.as_str()?.to_owned(), item.place())));
        self.pods.push(Ground {
            object: (manifest.kind.clone(), manifest.name.clone()),
            whole: manifest.object.span,
            spec: manifest.spec.span,
            metadata: manifest.metadata.span,
            containers: named.collect(),
        });
        self.pods.len() - 1
    }

    /// Adds one about the pod that was begun last; the returned diagnostic takes label and help. `steps` are containers' names.
    pub(super) fn add(&mut self, rule: Rule, span: Span, message: String, steps: &[&str]) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic { severity: rule.severity, ..Diagnostic::error(message) };
        diagnostic.at(&self.file, span).code(rule.code);
        let pod = self.pods.len().checked_sub(1);
        let steps = steps.iter().map(|step| (*step).to_owned()).collect();
        self.push(rule, diagnostic, pod, steps)
    }

    /// As [`Found::add`], for another pod than the last one.
    pub(super) fn add_for(&mut self, pod: usize, rule: Rule, span: Span, message: String) -> &mut Diagnostic {
        self.add(rule, span, message, &[]);
        let object = self.pods[pod].object.clone();
        let last = self.all.len() - 1;
        let finding = &mut self.all[last];
        (finding.pod, finding.object) = (Some(pod), Some(object));
        &mut finding.diagnostic
    }

    fn push(&mut self, rule: Rule, diagnostic: Diagnostic, pod: Option<usize>, steps: Vec<String>) -> &mut Diagnostic {
        let object = pod.map(|pod| self.pods[pod].object.clone());
        self.all.push(Finding { rule, diagnostic, object, steps, pod });
        let last = self.all.len() - 1;
        &mut self.all[last].diagnostic
    }

    /// Adds what another room has said, but for what is there already: `inject` asks the plan's check, too. What carries no
    /// code of its own is found by `rule`.
    pub(super) fn take(&mut self, told: &Diagnostics, rule: Rule) {
        self.more = self.more.max(told.more());
        for diagnostic in told.sorted() {
            if self.all.iter().any(|finding| finding.diagnostic.same_as(diagnostic)) {
                continue;
            }
            let rule = diagnostic.code.and_then(by_code).unwrap_or(rule);
            let span = diagnostic.place.as_ref().map(|place| place.span);
            let pod = span.and_then(|span| self.pod_at(span));
            let by_place = || pod.zip(span).and_then(|(pod, span)| self.container_at(pod, span));
            let steps = diagnostic.container.as_deref().map(str::to_owned).or_else(by_place).into_iter().collect();
            self.push(rule, diagnostic.clone(), pod, steps);
        }
    }

    /// Whether something about this pod is refused, so that not all rules were asked.
    pub(super) fn is_refused(&self, pod: usize) -> bool {
        self.all
            .iter()
            .any(|finding| finding.pod.is_none_or(|of| of == pod) && finding.diagnostic.severity == Severity::Error)
    }

    fn pod_at(&self, span: Span) -> Option<usize> {
        let is_in = |outer: Span| outer.start <= span.start && span.start < outer.end.max(outer.start + 1);
        let inner = self.pods.iter().position(|pod| is_in(pod.spec) || is_in(pod.metadata));
        inner.or_else(|| self.pods.iter().position(|pod| is_in(pod.whole)))
    }

    fn container_at(&self, pod: usize, span: Span) -> Option<String> {
        let mut containers = self.pods[pod].containers.iter();
        let found = containers.find(|(_, place)| place.start <= span.start && span.start < place.end);
        found.map(|(name, _)| name.clone())
    }
}
