//! What a manifest silences: the annotation `podturn.dev/lint-ignore`, on the pod or on the object that makes it.
//!
//! Its value is a list of codes, each for the whole pod (`PT301`) or for one step (`PT301:build`), with commas or blanks
//! between them.

use std::sync::Arc;

use super::codes::{self, RULES, by_code};
use super::findings::{Finding, Found};
use crate::plan::diagnostic::quote;
use crate::plan::site::at;
use crate::plan::yaml::{Node, Value};
use crate::plan::{LINT_IGNORE, Manifest, Reporter, Source, SourceFile, Span};

/// One word of an annotation.
#[derive(Debug)]
struct Silence {
    /// The pods that it is for, as numbers in the file.
    pods: Vec<usize>,
    span: Span,
    code: &'static str,
    step: Option<String>,
    is_used: bool,
}

/// An annotation, and the pods that it is for: one on a JobSet is for the pods of all its Jobs.
#[derive(Debug)]
struct Annotation {
    value: Node,
    file: Arc<SourceFile>,
    pods: Vec<usize>,
    /// Of all these pods.
    containers: Vec<String>,
}

/// All annotations of a file, and their words once they were read.
#[derive(Debug, Default)]
pub(super) struct Silences {
    annotations: Vec<Annotation>,
    all: Vec<Silence>,
}

impl Silences {
    /// Notes what there is for a pod.
    pub(super) fn note(&mut self, document: &Node, manifest: &Manifest, pod: usize) {
        let items = manifest.spec.list("containers");
        let names = || items.iter().filter_map(|item| item.get("name")?.as_str()).map(str::to_owned);
        let site = &manifest.site;
        let levels = (site.object.len()..=site.pod.len()).rev().map(|length| &site.pod[..length]);
        for node in levels.filter_map(|path| at(document, path)) {
            let annotations = node.get("metadata").and_then(|metadata| metadata.get("annotations"));
            let Some(value) = annotations.and_then(|annotations| annotations.get(LINT_IGNORE)) else { continue };
            if let Some(known) = self.annotations.iter_mut().find(|known| known.value.span == value.span) {
                known.pods.push(pod);
                known.containers.extend(names());
            } else {
                let (value, file) = (value.clone(), Arc::clone(&manifest.file));
                self.annotations.push(Annotation { value, file, pods: vec![pod], containers: names().collect() });
            }
        }
    }

    /// Reads the words of an annotation. What is wrong with it is found.
    fn read(&mut self, annotation: &Annotation, found: &mut Found) {
        let Annotation { value, file, pods, .. } = annotation;
        let Value::Scalar(scalar) = &value.value else {
            let message = format!("{LINT_IGNORE} is a text, not {}", value.describe());
            found.add_for(pods[0], codes::IGNORE_UNKNOWN, value.place(), message).help("write \"PT301, PT104:build\"");
            return;
        };
        let source = Source::embedded(Arc::clone(file), value.span, scalar.style, &scalar.text);
        let words = scalar.text.split([',', ' ', '\t', '\n', '\r']).filter(|word| !word.is_empty());
        for word in words {
            let start = word.as_ptr().addr() - scalar.text.as_ptr().addr();
            let span = source.place(Span { start, end: start + word.len() });
            let (code, step) = word.split_once(':').map_or((word, None), |(code, step)| (code, Some(step)));
            if let Some(code) = known(code, step, span, annotation, found) {
                let step = step.map(str::to_owned);
                self.all.push(Silence { pods: pods.clone(), span, code, step, is_used: false });
            }
        }
    }

    /// Parts what is silenced from what is not. A word that silences nothing is found.
    pub(super) fn apply(mut self, found: &mut Found) -> (Vec<Finding>, Vec<Finding>) {
        for annotation in std::mem::take(&mut self.annotations) {
            self.read(&annotation, found);
        }
        let (silenced, mut kept): (Vec<Finding>, Vec<Finding>) =
            std::mem::take(&mut found.all).into_iter().partition(|finding| self.silences(finding));
        // What a refused pod would be told is not known, so nothing can be said of its silences.
        found.all = kept;
        for silence in self.all.iter().filter(|silence| !silence.is_used) {
            if silence.pods.iter().any(|pod| found.is_refused(*pod)) {
                continue;
            }
            let what = silence.step.as_ref().map_or_else(String::new, |step| format!(" at step {}", quote(step)));
            let message = format!("{} is not found here{what}, so there is nothing to silence", silence.code);
            found.add_for(silence.pods[0], codes::IGNORE_UNUSED, silence.span, message).help("take it out");
        }
        kept = std::mem::take(&mut found.all);
        (kept, silenced)
    }

    fn silences(&mut self, finding: &Finding) -> bool {
        let Some(pod) = finding.pod else { return false };
        let mut is_silenced = false;
        for silence in &mut self.all {
            let is_meant = silence.code == finding.rule.code
                && silence.pods.contains(&pod)
                && silence.step.as_ref().is_none_or(|step| finding.steps.contains(step));
            silence.is_used |= is_meant;
            is_silenced |= is_meant;
        }
        is_silenced
    }
}

/// The code of a word, if it and its step are there and can be silenced.
fn known(
    code: &str,
    step: Option<&str>,
    span: Span,
    annotation: &Annotation,
    found: &mut Found,
) -> Option<&'static str> {
    let reporter = Reporter::new(&annotation.file);
    let pod = annotation.pods[0];
    let Some(rule) = by_code(code) else {
        let nearest = reporter.nearest(code, RULES.iter().map(|rule| rule.code));
        found
            .add_for(pod, codes::IGNORE_UNKNOWN, span, format!("there is no code {}", quote(code)))
            .did_you_mean(nearest)
            .help("docs/lint.md has all codes; one for a single step is written PT301:build");
        return None;
    };
    if [codes::PLAN, codes::IGNORE_UNKNOWN, codes::IGNORE_UNUSED].contains(&rule) {
        let message = format!("{code} cannot be silenced");
        found.add_for(pod, codes::IGNORE_UNKNOWN, span, message).help(match rule {
            codes::PLAN => "this pod will not run as it is",
            _ => "take out what is wrong here",
        });
        return None;
    }
    let Some(step) = step else { return Some(rule.code) };
    let names = annotation.containers.iter().map(String::as_str);
    if names.clone().any(|name| name == step) {
        return Some(rule.code);
    }
    let nearest = reporter.nearest(step, names);
    let whose = if annotation.pods.len() == 1 { "this pod" } else { "these pods" };
    found
        .add_for(pod, codes::IGNORE_UNKNOWN, span, format!("{} is no container of {whose}", quote(step)))
        .did_you_mean(nearest);
    None
}
