//! Collecting what is wrong with one file, while it is read.
//!
//! Belongs here: how much is kept, what is told once, and which name was meant. Does not belong here: how it looks (`super`).

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::{Diagnostic, Diagnostics, KEPT_MAX, Severity};
use crate::plan::source::{SourceFile, Span};

/// How many names are compared for a 'did you mean' over all diagnostics together, so that the search stays cheap
/// when nothing in a large file is right.
const COMPARISONS_MAX: usize = 200_000;

/// Collects what is wrong with one file.
#[derive(Debug)]
pub struct Reporter {
    file: Arc<SourceFile>,
    found: Vec<Diagnostic>,
    more: usize,
    noted: usize,
    has_errors: bool,
    comparisons: Cell<usize>,
    /// Ends of ranges, by their beginnings.
    once: BTreeMap<usize, usize>,
    /// What was told in these ranges, with its severity.
    told: HashSet<(Span, bool)>,
    /// Takes label and help of what is not kept.
    unkept: Diagnostic,
}

impl Reporter {
    /// For places in `file`.
    #[must_use]
    pub fn new(file: &Arc<SourceFile>) -> Self {
        Self {
            file: Arc::clone(file),
            found: Vec::new(),
            more: 0,
            noted: 0,
            has_errors: false,
            comparisons: Cell::new(0),
            once: BTreeMap::new(),
            told: HashSet::new(),
            unkept: Diagnostic::error(""),
        }
    }

    /// The file that places are in.
    #[must_use]
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.file
    }

    /// Notes an error at a place; the returned one takes label and help.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::error(message), span)
    }

    /// Notes a warning at a place.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Diagnostic::warning(message), span)
    }

    fn add(&mut self, mut diagnostic: Diagnostic, span: Span) -> &mut Diagnostic {
        diagnostic.at(&self.file, span);
        self.noted += 1;
        let is_error = diagnostic.severity == Severity::Error;
        self.has_errors |= is_error;
        let is_once = self.once.range(..=span.start).next_back().is_some_and(|(_, end)| span.end <= *end);
        if is_once && !self.told.insert((span, is_error)) {
            self.unkept = diagnostic;
            return &mut self.unkept;
        }
        if self.found.len() >= KEPT_MAX {
            self.more += 1;
            self.unkept = diagnostic;
            return &mut self.unkept;
        }
        self.found.push(diagnostic);
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    /// Tells no more than one error and one warning of each place in this range: what is there is looked at several times.
    pub fn tell_once_within(&mut self, range: Span) {
        self.once.insert(range.start, range.end);
    }

    /// Whether an error was noted.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// How many were noted, those that are not kept included.
    pub(in crate::plan) fn count(&self) -> usize {
        self.noted
    }

    /// The name nearest to `wrong`, if one is near enough to be a slip.
    #[must_use]
    pub fn nearest<'n>(&self, wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
        if wrong.len() > 80 {
            return None;
        }
        let mut best: Option<(usize, &str)> = None;
        for name in names {
            self.comparisons.set(self.comparisons.get() + 1);
            if self.comparisons.get() > COMPARISONS_MAX {
                break;
            }
            let distance = strsim::damerau_levenshtein(&wrong.to_ascii_lowercase(), &name.to_ascii_lowercase());
            let near = distance <= (wrong.chars().count().max(name.chars().count()) / 3).max(1);
            if near && best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, name));
            }
        }
        best.map(|(_, name)| name)
    }

    /// What was found.
    #[must_use]
    pub fn finish(self) -> Diagnostics {
        let mut all = Diagnostics::default();
        for diagnostic in self.found {
            all.push(diagnostic);
        }
        all.more += self.more;
        all.has_errors |= self.has_errors;
        all
    }
}
