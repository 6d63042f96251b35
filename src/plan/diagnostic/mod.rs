//! What is wrong with an input, where, and what to do about it.
//!
//! Belongs here: the data of a message and how it looks as text. Does not belong here: deciding that something is
//! wrong, collecting it (`reporter`), and printing (`cli` does that).

mod reporter;

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
pub use reporter::Reporter;

use super::source::{SourceFile, Span};

/// How many diagnostics are kept. Nobody reads more; what a text of megabytes could produce would only cost memory.
const KEPT_MAX: usize = 100;

/// How much of a long line is shown around the place, in bytes to each side.
const LINE_CONTEXT: usize = 160;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The input is refused.
    Error,
    /// The input is taken, and will surprise.
    Warning,
    /// Worth knowing, and often meant so.
    Info,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// A range of bytes in a file.
#[derive(Clone, Debug)]
pub struct Place {
    /// Which file.
    pub file: Arc<SourceFile>,
    /// Which bytes.
    pub span: Span,
}

/// One message for the person who wrote the input.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line that can stand alone.
    pub message: String,
    /// What is said right at the carets.
    pub label: Option<Box<str>>,
    /// Where. `None` for what is wrong with no text, such as a file that cannot be read.
    pub place: Option<Place>,
    /// What to do.
    pub help: Option<Box<str>>,
    /// Under which code `podturn lint` knows it, where it has one of its own (`PT203`).
    pub code: Option<&'static str>,
    /// The container that it is about, where the place alone does not tell.
    pub container: Option<Box<str>>,
}

impl Diagnostic {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            label: None,
            place: None,
            help: None,
            code: None,
            container: None,
        }
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message) }
    }

    /// Sets the place.
    pub fn at(&mut self, file: &Arc<SourceFile>, span: Span) -> &mut Self {
        self.place = Some(Place { file: Arc::clone(file), span });
        self
    }

    /// Sets what is said at the carets.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into().into());
        self
    }

    /// Sets what to do.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into().into());
        self
    }

    /// Sets the code under which `podturn lint` knows it; `docs/lint.md` has a section for each.
    pub fn code(&mut self, code: &'static str) -> &mut Self {
        self.code = Some(code);
        self
    }

    /// Sets the container that it is about: what a manifest silences by the name of a step is found by it.
    pub fn about(&mut self, container: &str) -> &mut Self {
        self.container = Some(container.into());
        self
    }

    /// Says `did you mean "..."?` at the carets where there is a name to suggest.
    pub fn did_you_mean(&mut self, name: Option<&str>) -> &mut Self {
        if let Some(name) = name {
            self.label = Some(format!("did you mean {}?", quote(name)).into());
        }
        self
    }

    /// Tells apart what two files are, though they be parts of one stream and have its name.
    fn file(&self) -> Option<*const SourceFile> {
        self.place.as_ref().map(|place| Arc::as_ptr(&place.file))
    }

    fn order(&self) -> Option<(usize, usize)> {
        self.place.as_ref().map(|place| (place.span.start, place.span.end))
    }

    /// Whether both say the same of the same place.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.file() == other.file()
            && self.order() == other.order()
            && self.message == other.message
            && self.help == other.help
    }

    /// It alone as text, its severity followed by a code: `warning[PT203]`. For what is listed by code.
    #[must_use]
    pub fn render_coded(&self, code: &str, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        self.render_as(&format!("{}[{code}]", self.severity.name()), &renderer)
    }

    fn render(&self, renderer: &Renderer) -> String {
        self.render_as(self.severity.name(), renderer)
    }

    fn render_as(&self, name: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::INFO,
        };
        let Some(place) = &self.place else {
            let mut group = Group::with_title(level.with_name(name).primary_title(&self.message));
            if let Some(help) = self.help.as_deref() {
                group = group.element(Level::HELP.message(help));
            }
            return renderer.render(&[group]);
        };
        let (line, column) = place.file.line_and_column(place.span.start);
        let name = format!("{}:{line}:{column}: {name}", place.file.name());
        let shown = Shown::around(&place.file, line, place.span);
        let mut annotation = AnnotationKind::Primary.span(shown.span.start..shown.span.end);
        if let Some(label) = self.label.as_deref() {
            annotation = annotation.label(label);
        }
        let snippet = Snippet::source(shown.text.as_str()).line_start(line).annotation(annotation);
        let mut group = Group::with_title(level.with_name(name.as_str()).primary_title(&self.message)).element(snippet);
        if let Some(help) = self.help.as_deref() {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// The piece of one line that is shown, and where in it the carets go.
struct Shown {
    text: String,
    span: Span,
}

impl Shown {
    fn around(file: &SourceFile, line: usize, span: Span) -> Self {
        let whole = file.line(line);
        let start = span.start.min(whole.end);
        let end = span.end.clamp(start, whole.end);
        let text = file.text();
        let from = text.floor_char_boundary(start.saturating_sub(LINE_CONTEXT).max(whole.start)).max(whole.start);
        let to = text.floor_char_boundary((start + LINE_CONTEXT).min(whole.end)).max(start);
        Self {
            text: text[from..to].to_owned(),
            span: Span { start: start - from, end: text.floor_char_boundary(end.min(to)).max(start) - from },
        }
    }
}

/// Everything that is wrong with an input, in the order of the text. Never empty where it is an `Err`.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    more: usize,
    has_errors: bool,
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.has_errors |= diagnostic.severity == Severity::Error;
        if self.kept.len() < KEPT_MAX {
            self.kept.push(diagnostic);
        } else {
            self.more += 1;
        }
    }

    /// Adds all of another input, or of another part of this one.
    pub fn append(&mut self, other: Self) {
        self.more += other.more;
        self.has_errors |= other.has_errors;
        other.kept.into_iter().for_each(|diagnostic| self.push(diagnostic));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// How many there were besides those that are kept.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// Each of them, in order of place; those of one file (or one document of a stream) after those of another, as they came.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = Vec::with_capacity(self.kept.len());
        // A handful, and a sort of the library's is a lot of code.
        for one in &self.kept {
            let is_of_file = |other: &&Diagnostic| other.file() == one.file();
            let after = all.iter().rposition(|other| is_of_file(other) && other.order() <= one.order());
            let first = || all.iter().position(is_of_file);
            let at = after.map(|at| at + 1).or_else(first).unwrap_or(if one.place.is_some() { all.len() } else { 0 });
            all.insert(at, one);
        }
        // What an alias brings in twice is wrong in one place only.
        all.dedup_by(|b, a| a.same_as(b));
        all
    }

    /// All of them as text, with ANSI colours or without, ending with a newline. The caller decides about colours; for
    /// one that writes to what may not be a terminal, `anstream` takes them out again.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let mut parts: Vec<String> = self.sorted().iter().map(|diagnostic| diagnostic.render(&renderer)).collect();
        if self.more > 0 {
            parts.push(format!("... and {} more like these", self.more));
        }
        let mut text = parts.join("\n\n");
        text.push('\n');
        text
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut all = Self::default();
        all.push(diagnostic);
        all
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

/// `text` in quotes, with control characters escaped and its end cut off where it is long.
#[must_use]
pub fn quote(text: &str) -> String {
    format!("\"{}\"", shorten(text))
}

/// Names in a sentence: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// As [`quote`], without the quotes.
#[must_use]
pub fn shorten(text: &str) -> String {
    const MAX: usize = 64;
    let cut = text.chars().take(MAX).fold(String::new(), |mut cut, c| {
        if c.is_control() {
            cut.extend(c.escape_debug())
        } else {
            cut.push(c)
        }
        cut
    });
    if text.chars().nth(MAX).is_some() { format!("{cut}...") } else { cut }
}
