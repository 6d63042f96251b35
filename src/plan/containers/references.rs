//! `$(steps.X.outputs.K)` and the like in the containers of a manifest: whether each has a value when it is asked for one.
//!
//! Between the manifest and the shim is the kubelet, which halves dollar signs before a bracket, rounding up. So of n of them
//! the shim sees one for n = 1 and 2, which is a reference, and two for 3 and 4, which is a text (`podturn_wire::reference`).
//!
//! Belongs here: references, and texts that were meant as such. Does not belong here: which names a plan knows (`names`).

use std::collections::HashSet;
use std::sync::Arc;

use podturn_wire::REFERENCES_MAX;
use podturn_wire::reference::is_reference;

use super::super::diagnostic::{Reporter, quote, shorten};
use super::super::matrix::Instance;
use super::super::names::Known;
use super::super::source::{Source, Span};
use super::super::yaml::{Entry, Node, Scalar, Value};
use super::super::{PODTURN_PLAN, PODTURN_POD};
use super::Containers;

/// What a reference begins with.
const HEADS: [&str; 3] = ["steps.", "params.", "plan."];

/// What people write for these.
const SLIPS: [(&str, &str); 4] =
    [("step.", "steps."), ("param.", "params."), ("parameters.", "params."), ("parameter.", "params.")];

/// What there is, for whoever wrote something else.
const KINDS: &str = "there are $(steps.NAME.outputs.KEY), $(steps.NAME.phase), $(steps.NAME.exitCode), $(params.NAME) and $(plan.outcome)";

/// Checks every reference in the containers.
pub(super) fn check(containers: &Containers<'_>, reporter: &mut Reporter) {
    let known = Known::in_references(&containers.checked.plan, &containers.checked.matrices);
    for step in &containers.steps {
        reporter.tell_once_within(step.node.span);
        let mut words = Vec::new();
        let mut elsewhere = Vec::new();
        collect(step.node, &mut words, &mut elsewhere);
        if words.is_empty() && elsewhere.is_empty() {
            continue;
        }
        for (name, instance) in step.instances() {
            let Some(at) = known.step(name) else { continue };
            let mut check = Check { known: &known, at, ancestors: None, listed: HashSet::new(), length: 0, reporter };
            words.iter().for_each(|word| check.word(word, instance));
            elsewhere.iter().for_each(|word| check.elsewhere(word, instance));
        }
    }
    for (name, node) in &containers.others {
        let mut words = Vec::new();
        let mut elsewhere = Vec::new();
        collect(node, &mut words, &mut elsewhere);
        let first = words.iter().find_map(|word| {
            let mut found = brackets(&word.scalar.text);
            let found = found.find(|bracket| bracket.dollars == 1 && is_reference(bracket.inner))?;
            Some((word.source(reporter).place(found.span), found.inner))
        });
        if let Some((place, inner)) = first {
            let message = format!("the container {} is no step, so nobody replaces $({})", quote(name), shorten(inner));
            reporter.warning(place, message).code("PT108").help("name it in the plan, or write $$ for the text");
        }
    }
}

/// A scalar of a container that may have references.
struct Word<'n> {
    scalar: &'n Scalar,
    span: Span,
}

impl Word<'_> {
    fn source(&self, reporter: &Reporter) -> Source {
        Source::embedded(Arc::clone(reporter.file()), self.span, self.scalar.style, &self.scalar.text)
    }
}

/// The scalars with brackets: those in which the shim replaces references, and all others.
fn collect<'n>(container: &'n Node, words: &mut Vec<Word<'n>>, elsewhere: &mut Vec<Word<'n>>) {
    for field in container.entries().unwrap_or_default() {
        match field.key.as_str() {
            "command" | "args" => scalars(&field.value, words),
            "env" => {
                for variable in field.value.items().unwrap_or_default() {
                    let name = variable.get("name").and_then(Node::as_str);
                    let is_plan = matches!(name, Some(PODTURN_PLAN | PODTURN_POD));
                    for Entry { key, value, .. } in variable.entries().unwrap_or_default() {
                        match key.as_str() {
                            "value" if is_plan => {}
                            "value" => scalars(value, words),
                            _ => scalars(value, elsewhere),
                        }
                    }
                }
            }
            _ => scalars(&field.value, elsewhere),
        }
    }
}

/// Nodes are nested no deeper than the parser allows, so this may recurse.
fn scalars<'n>(node: &'n Node, found: &mut Vec<Word<'n>>) {
    match &node.value {
        Value::Scalar(scalar) if scalar.text.contains("$(") => found.push(Word { scalar, span: node.span }),
        Value::Scalar(_) => {}
        Value::Sequence(items) => items.iter().for_each(|item| scalars(item, found)),
        Value::Mapping(entries) => entries.iter().for_each(|entry| scalars(&entry.value, found)),
    }
}

/// Dollar signs and what is in the brackets behind them.
struct Bracket<'t> {
    dollars: usize,
    inner: &'t str,
    is_closed: bool,
    /// From the last dollar sign on.
    span: Span,
}

impl Bracket<'_> {
    /// Whether the shim sees a reference here and not a text, if it is one.
    fn is_live(&self) -> bool {
        self.dollars.div_ceil(2) % 2 == 1
    }
}

fn brackets(text: &str) -> impl Iterator<Item = Bracket<'_>> {
    text.match_indices("$(").map(move |(at, _)| {
        let dollars = text[..=at].bytes().rev().take_while(|byte| *byte == b'$').count();
        let start = at + 2;
        let closed = text[start..].find(')');
        let is_word = |c: char| c.is_alphanumeric() || "_.-".contains(c);
        let length = closed.unwrap_or_else(|| text[start..].find(|c| !is_word(c)).unwrap_or(text.len() - start));
        let inner = &text[start..start + length];
        let is_closed = closed.is_some();
        Bracket { dollars, inner, is_closed, span: Span { start: at, end: start + length + usize::from(is_closed) } }
    })
}

/// The references of one step.
struct Check<'c, 'p> {
    known: &'c Known<'p>,
    at: usize,
    ancestors: Option<Vec<bool>>,
    listed: HashSet<String>,
    /// What the list of the shim holds so far, in bytes.
    length: usize,
    reporter: &'c mut Reporter,
}

impl Check<'_, '_> {
    /// Checks a word of `command`, `args` or `env` as it is in the instance's container.
    fn word(&mut self, word: &Word<'_>, instance: Option<&Instance>) {
        let filled = instance.and_then(|instance| instance.fill(&word.scalar.text));
        let text = filled.as_ref().map_or(word.scalar.text.as_str(), |filled| &filled.text);
        let mut source = None;
        for bracket in brackets(text) {
            let is_one = is_reference(bracket.inner) && bracket.is_closed;
            if !bracket.is_live() || !(is_one || bracket.dollars == 1) {
                continue;
            }
            let origin = |at: usize| filled.as_ref().map_or(at, |filled| filled.origin(at));
            let span = Span { start: origin(bracket.span.start), end: origin(bracket.span.end) };
            let place = source.get_or_insert_with(|| word.source(self.reporter)).place(span);
            if is_one {
                self.reference(&bracket, place);
            } else {
                self.malformed(&bracket, place);
            }
        }
    }

    fn reference(&mut self, bracket: &Bracket<'_>, place: Span) {
        if bracket.dollars == 2 {
            self.reporter
                .warning(place, "this is replaced: the kubelet makes one dollar sign of $$")
                .code("PT108")
                .help("write one $ for a reference, and $$$$ for the text");
        }
        self.name(bracket.inner, place);
        if self.listed.insert(bracket.inner.to_owned()) {
            self.length += bracket.inner.len() + 1;
            if self.length > REFERENCES_MAX {
                self.length = 0;
                self.reporter
                    .error(place, "with this one there are too many references in one container")
                    .help(format!("they have at most {REFERENCES_MAX} bytes together; give it a file instead"));
            }
        }
    }

    /// Looks a name up; a default does not make a name right.
    fn name(&mut self, inner: &str, place: Span) {
        let name = inner.split_once(":-").map_or(inner, |(name, _)| name);
        let pieces = if name.starts_with("steps.") { 4 } else { 2 };
        let parts: Vec<String> = name.splitn(pieces, '.').map(str::to_owned).collect();
        let ancestors = self.ancestors.get_or_insert_with(|| self.known.ancestors(self.at));
        self.known.check_name(self.at, ancestors, &parts, place, self.reporter);
    }

    /// Reports what was meant as a reference and is none. What a shell runs has a blank in it, or begins otherwise.
    fn malformed(&mut self, bracket: &Bracket<'_>, place: Span) {
        let inner = bracket.inner;
        let slip = SLIPS.iter().find_map(|(slip, head)| Some((slip, head, inner.strip_prefix(slip)?)));
        if let Some((slip, head, rest)) = slip {
            if bracket.is_closed && is_reference(&format!("{head}{rest}")) {
                let message = format!("nobody replaces this: a reference does not begin with {slip}");
                self.reporter.warning(place, message).code("PT108").did_you_mean(Some(&format!("{head}{rest}")));
            }
            return;
        }
        let name = inner.split_once(":-").map_or(inner, |(name, _)| name);
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        let fields = [".outputs.", ".phase", ".exitCode"];
        let is_meant = HEADS.iter().any(|head| name.starts_with(head))
            && (is_word || name.starts_with("steps.") && fields.iter().any(|field| name.contains(field)));
        if !is_meant {
            return;
        }
        if !bracket.is_closed {
            let message = format!("the bracket of $({} is not closed", shorten(inner));
            self.reporter.error(place, message).help("write a ) behind it");
            return;
        }
        let told = self.reporter.count();
        if is_word {
            self.name(inner, place);
        }
        if self.reporter.count() == told {
            let message = format!("$({}) is no reference", shorten(inner));
            let help = format!("{KINDS}; a command of the shell is written with $$");
            self.reporter.error(place, message).help(help);
        }
    }

    /// Reports a reference where nobody replaces it.
    fn elsewhere(&mut self, word: &Word<'_>, instance: Option<&Instance>) {
        let filled = instance.and_then(|instance| instance.fill(&word.scalar.text));
        let text = filled.as_ref().map_or(word.scalar.text.as_str(), |filled| &filled.text);
        let Some(found) = brackets(text).find(|bracket| bracket.is_closed && is_reference(bracket.inner)) else {
            return;
        };
        let origin = |at: usize| filled.as_ref().map_or(at, |filled| filled.origin(at));
        let span = Span { start: origin(found.span.start), end: origin(found.span.end) };
        let place = word.source(self.reporter).place(span);
        self.reporter
            .error(place, format!("nobody replaces $({}) here", shorten(found.inner)))
            .help("references are replaced in command, args and env, as the step gets its turn");
    }
}
