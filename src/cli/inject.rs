//! `podturn inject` and `podturn uninject`: manifests in, manifests out.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::manifests::{self, Input, Piece};
use super::spool::Spool;
use super::wiring::{self, Settings};
use super::{difference, input};
use crate::inject::{self, Format, Injected, Options};
use crate::plan::yaml::Node;
use crate::plan::{Diagnostic, Diagnostics, SourceFile};

/// Arguments of `podturn inject`.
#[derive(clap::Args)]
#[command(after_long_help = "\
What it adds to each pod with a plan: a volume, the init container podturn-init, the coordinator podturn, and the shim in \
front of each step's command. Everything else stays as it is, byte for byte, comments included, and so do objects without a \
plan. On its own output it changes nothing; with other options, or after the plan was changed, it wires anew. `podturn \
uninject` gives the original back.

Defaults come from the environment (PODTURN_IMAGE, ...) and from a file of long options (--config, or .podturn.yaml here):
  image: my-registry/podturn:0.1.0
  job-defaults: true

Examples:
  podturn inject pod.yaml | kubectl apply -f -
  podturn inject --diff manifests/                  what would be changed, in all files of a directory
  kubectl kustomize overlays/ci | podturn inject - | kubectl apply -f -
  podturn inject --resolve pod.yaml                 steps without a command run what their image says
  podturn inject --resolve=map:images.yaml pod.yaml      the same, from a file of `podturn resolve`
  podturn inject --placement container --whole-volume --drop-plan-annotation pod.yaml | podman kube play -
  podturn inject -                                  as a KRM function: a ResourceList in, a ResourceList out, with results

Exit codes: 0 wired, or nothing to do; 2 something cannot be wired (every error is printed, and no manifest).")]
pub(super) struct Arguments {
    /// Manifests, or directories of manifests (*.yaml, *.yml, *.json); - for stdin
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
    /// Print what would be changed, instead of the manifests
    #[arg(long, conflicts_with = "output")]
    diff: bool,
    /// Write everything anew, as json (several objects as a List) or yaml; comments are lost [default: as it came]
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<FormatName>,
    /// Print neither the report nor warnings
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatName {
    Json,
    Yaml,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Json => Self::Json,
            FormatName::Yaml => Self::Yaml,
        }
    }
}

/// How pods are to be wired: the same for every command that has to know it.
#[derive(clap::Args)]
pub(super) struct Wanted {
    #[command(flatten)]
    settings: Settings,
    #[cfg(feature = "resolve")]
    #[command(flatten)]
    how: super::resolve::How,
}

impl Wanted {
    /// The options, with what the images of these documents run where that was asked for. `function` is the configuration of
    /// a KRM function.
    #[cfg_attr(not(feature = "resolve"), expect(unused_variables, reason = "no images are read"))]
    pub(super) fn options(
        &self,
        function: Option<(&Arc<SourceFile>, &Node)>,
        documents: impl IntoIterator<Item = Arc<SourceFile>>,
    ) -> Result<Options, Diagnostics> {
        let settings = wiring::settings(&self.settings, function)?;
        #[cfg(feature = "resolve")]
        if !settings.resolve.is_empty() {
            let (sources, no_pin) = (settings.resolve.clone(), settings.no_pin);
            let mut options = wiring::options(settings)?;
            super::resolve::into_options(&self.how, &sources, no_pin, documents, &mut options)?;
            return Ok(options);
        }
        wiring::options(settings)
    }
}

/// Arguments of `podturn uninject`.
#[derive(clap::Args)]
#[command(after_long_help = "\
It gives back what `podturn inject` was given, byte for byte; what was edited since stays edited.

Exit codes: 0 done, or nothing to do; 2 podturn's part cannot be told from the rest any more.")]
pub(super) struct Undo {
    /// Manifests, or directories of manifests (*.yaml, *.yml, *.json); - for stdin
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print what would be changed, instead of the manifests
    #[arg(long)]
    diff: bool,
}

/// Prints the wired manifests on stdout and the report on stderr.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    wire_all(arguments).unwrap_or_else(|diagnostics| input::refuse(&diagnostics))
}

fn wire_all(arguments: &Arguments) -> Result<ExitCode, Diagnostics> {
    let mut inputs = manifests::named(&arguments.files)?;
    if let [input] = inputs.as_mut_slice()
        && let Some(file) = function_input(input)?
        && let Some(list) = inject::resource_list(&file)?
    {
        return function(arguments, &file, &list);
    }
    // What cannot be read is told when it is to be wired.
    let documents = inputs.iter_mut().flat_map(|input| input.documents().filter_map(Result::ok));
    let options = arguments.wanted.options(None, documents)?;
    let mut said = Said::default();
    // A difference is one of files. In another format all documents of a file become one, or look alike.
    let piece = if arguments.diff || arguments.output.is_some() { Piece::File } else { Piece::Document };
    let mut out = Out::new(arguments.diff);
    let done = each(&mut inputs, piece, &mut out, |file| wire(arguments, file, &options).map(|done| said.keep(done)));
    if let Err(wrong) = done {
        said.warnings.append(wrong);
        return Err(said.warnings);
    }
    if !arguments.quiet {
        said.tell();
    }
    out.print();
    Ok(ExitCode::SUCCESS)
}

/// The whole input, if its first document may be the list that a KRM function is given.
fn function_input(input: &mut Input) -> Result<Option<Arc<SourceFile>>, Diagnostics> {
    let is_list = match input.documents().next() {
        Some(Ok(first)) => inject::resource_list(&first)?.is_some(),
        Some(Err(_)) | None => false,
    };
    is_list.then(|| input.whole()).transpose()
}

/// Wires a text. For another format it is wired twice: what is said has the places of the file that is there.
fn wire(arguments: &Arguments, file: &Arc<SourceFile>, options: &Options) -> Result<Injected, Diagnostics> {
    let mut done = inject::inject(file, options)?;
    if let Some(format) = arguments.output {
        let text = inject::convert(file, format.into())?;
        done.text = inject::inject(&SourceFile::new(file.name(), text), options)?.text;
    }
    Ok(done)
}

/// A KRM function: the list on stdout has what was done as its results, and so it has when something is refused.
fn function(arguments: &Arguments, file: &Arc<SourceFile>, list: &Node) -> Result<ExitCode, Diagnostics> {
    let config = list.get("functionConfig").map(|config| (file, config));
    let options = arguments.wanted.options(config, [Arc::clone(file)]);
    let done = options.and_then(|options| inject::inject(file, &options));
    let (text, pods, told) = match done {
        Ok(done) => (done.text, done.pods, done.warnings),
        Err(wrong) => (file.text().to_owned(), Vec::new(), wrong),
    };
    let is_wrong = told.has_errors();
    if !arguments.quiet {
        pods.iter().for_each(|pod| anstream::eprint!("{}", pod.render()));
        input::print(&told);
    }
    let mut out = Out::new(arguments.diff);
    out.push(file, &inject::with_results(file.name(), &text, &pods, &told)?, true);
    out.print();
    Ok(if is_wrong { ExitCode::from(input::BAD_INPUT) } else { ExitCode::SUCCESS })
}

/// Prints the original manifests.
pub(super) fn undo(arguments: &Undo) -> ExitCode {
    let mut out = Out::new(arguments.diff);
    let piece = if arguments.diff { Piece::File } else { Piece::Document };
    let done = manifests::named(&arguments.files)
        .and_then(|mut inputs| each(&mut inputs, piece, &mut out, |file| inject::uninject(file).map(|done| done.text)));
    if let Err(wrong) = done {
        return input::refuse(&wrong);
    }
    out.print();
    ExitCode::SUCCESS
}

/// Makes another text of each piece. What is wrong with any of them is told for all.
fn each(
    inputs: &mut [Input],
    size: Piece,
    out: &mut Out,
    mut work: impl FnMut(&Arc<SourceFile>) -> Result<String, Diagnostics>,
) -> Result<(), Diagnostics> {
    let mut wrong = Diagnostics::default();
    for input in inputs {
        for (number, piece) in input.pieces(size).enumerate() {
            match piece.and_then(|file| Ok((work(&file)?, file))) {
                Ok((text, file)) => out.push(&file, &text, number == 0),
                Err(more) => wrong.append(more),
            }
        }
    }
    if wrong.has_errors() { Err(wrong) } else { Ok(()) }
}

/// What is told on stderr when all is wired.
#[derive(Default)]
struct Said {
    pods: usize,
    reports: Spool,
    warnings: Diagnostics,
}

impl Said {
    /// Keeps what is to be told; returns the text.
    fn keep(&mut self, done: Injected) -> String {
        self.pods += done.pods.len();
        done.pods.iter().for_each(|pod| self.reports.push(pod.render().as_bytes()));
        self.warnings.append(done.warnings);
        done.text
    }

    fn tell(&mut self) {
        let _ = io::copy(self.reports.read(), &mut io::stderr().lock()); // which may be closed
        input::print(&self.warnings);
        if self.pods == 0 {
            input::print(&nothing().into());
        }
    }
}

fn nothing() -> Diagnostic {
    let mut diagnostic = Diagnostic::warning("no pod here has a plan: nothing was changed");
    diagnostic.help(format!("a plan is the annotation {} of a pod, or of its Job", crate::plan::ANNOTATION));
    diagnostic
}

/// All texts as one stream, or what is different in them: kept until it is known that nothing is wrong.
struct Out {
    spool: Spool,
    diff: bool,
}

impl Out {
    fn new(diff: bool) -> Self {
        Self { spool: Spool::default(), diff }
    }

    /// Takes what became of a piece.
    fn push(&mut self, file: &SourceFile, text: &str, is_first_of_file: bool) {
        if self.diff {
            return self.spool.push(difference::colour(file.name(), file.text(), text).as_bytes());
        }
        // Two files make two documents of one stream.
        if is_first_of_file && let Some(last) = self.spool.last() {
            self.spool.push(if last == b'\n' { b"" } else { b"\n" });
            self.spool.push(if text.starts_with("---") { b"" } else { b"---\n" });
        }
        self.spool.push(text.as_bytes());
    }

    fn print(mut self) {
        if self.diff {
            super::copy_out(self.spool.read(), &mut anstream::stdout().lock());
        } else {
            super::copy_out(self.spool.read(), &mut io::stdout().lock());
        }
    }
}
