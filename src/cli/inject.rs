//! `podturn inject` and `podturn uninject`: manifests in, manifests out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

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
    /// The options, with what the images of these files run where that was asked for. `function` is the configuration of a
    /// KRM function.
    #[cfg_attr(not(feature = "resolve"), expect(unused_variables, reason = "no images are read"))]
    pub(super) fn options(
        &self,
        function: Option<(&Arc<SourceFile>, &Node)>,
        files: &[Arc<SourceFile>],
    ) -> Result<Options, Diagnostics> {
        let settings = wiring::settings(&self.settings, function)?;
        #[cfg(feature = "resolve")]
        if !settings.resolve.is_empty() {
            let (sources, no_pin) = (settings.resolve.clone(), settings.no_pin);
            let mut options = wiring::options(settings)?;
            super::resolve::into_options(&self.how, &sources, no_pin, files, &mut options)?;
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
    let files = match read(&arguments.files) {
        Ok(files) => files,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    if let [file] = files.as_slice() {
        match inject::resource_list(file) {
            Ok(Some(list)) => return function(arguments, file, &list),
            Ok(None) => {}
            Err(diagnostics) => return input::refuse(&diagnostics),
        }
    }
    let options = arguments.wanted.options(None, &files);
    let done = match options.and_then(|options| wire(arguments, &files, &options)) {
        Ok(done) => done,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    if !arguments.quiet {
        done.iter().for_each(tell);
        if done.iter().all(|done| done.pods.is_empty()) {
            input::print(&nothing().into());
        }
    }
    print(&files, done.into_iter().map(|done| done.text).collect(), arguments.diff)
}

/// Wires all files. In another format they are wired twice: what is said has the places of the files that are there.
fn wire(arguments: &Arguments, files: &[Arc<SourceFile>], options: &Options) -> Result<Vec<Injected>, Diagnostics> {
    let mut done = each(files, |file| inject::inject(file, options))?;
    if let Some(format) = arguments.output {
        for (file, done) in files.iter().zip(&mut done) {
            let text = inject::convert(file, format.into())?;
            done.text = inject::inject(&SourceFile::new(file.name(), text), options)?.text;
        }
    }
    Ok(done)
}

/// A KRM function: the list on stdout has what was done as its results, and so it has when something is refused.
fn function(arguments: &Arguments, file: &Arc<SourceFile>, list: &Node) -> ExitCode {
    let config = list.get("functionConfig").map(|config| (file, config));
    let options = arguments.wanted.options(config, std::slice::from_ref(file));
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
    let code = match inject::with_results(file.name(), &text, &pods, &told) {
        Ok(text) => print(std::slice::from_ref(file), vec![text], arguments.diff),
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    if is_wrong { ExitCode::from(input::BAD_INPUT) } else { code }
}

/// Prints the original manifests.
pub(super) fn undo(arguments: &Undo) -> ExitCode {
    let result = read(&arguments.files).and_then(|files| {
        let done = each(&files, inject::uninject)?;
        Ok((files, done))
    });
    match result {
        Ok((files, done)) => print(&files, done.into_iter().map(|done| done.text).collect(), arguments.diff),
        Err(diagnostics) => input::refuse(&diagnostics),
    }
}

/// Does something with all files; what is wrong with any of them is told for all.
fn each<T>(
    files: &[Arc<SourceFile>],
    work: impl Fn(&Arc<SourceFile>) -> Result<T, Diagnostics>,
) -> Result<Vec<T>, Diagnostics> {
    let mut done = Vec::with_capacity(files.len());
    let mut wrong: Option<Diagnostics> = None;
    for file in files {
        match work(file) {
            Ok(result) => done.push(result),
            Err(more) => match &mut wrong {
                Some(wrong) => wrong.append(more),
                None => wrong = Some(more),
            },
        }
    }
    wrong.map_or(Ok(done), Err)
}

fn tell(done: &Injected) {
    for pod in &done.pods {
        anstream::eprint!("{}", pod.render());
    }
    input::print(&done.warnings);
}

fn nothing() -> Diagnostic {
    let mut diagnostic = Diagnostic::warning("no pod here has a plan: nothing was changed");
    diagnostic.help(format!("a plan is the annotation {} of a pod, or of its Job", crate::plan::ANNOTATION));
    diagnostic
}

/// Prints all texts as one stream, or what is different in them.
fn print(files: &[Arc<SourceFile>], texts: Vec<String>, diff: bool) -> ExitCode {
    let mut out = String::new();
    for (file, text) in files.iter().zip(&texts) {
        if diff {
            out.push_str(&difference::colour(file.name(), file.text(), text));
            continue;
        }
        // Two files make two documents of one stream.
        if !out.is_empty() {
            out.push_str(if out.ends_with('\n') { "" } else { "\n" });
            out.push_str(if text.starts_with("---") { "" } else { "---\n" });
        }
        out.push_str(text);
    }
    if diff {
        super::show!("{out}");
    } else {
        super::out_as_it_is(&out);
    }
    ExitCode::SUCCESS
}

/// Reads all files; a directory stands for the manifests in it, in the order of their names.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Arc<SourceFile>>, Diagnostics> {
    let mut files = Vec::new();
    for path in paths {
        for path in manifests_in(path)? {
            let input::Text { name, text } = input::read_up_to(&path, input::STREAM_MAX)?;
            files.push(SourceFile::new(name, text));
        }
    }
    Ok(files)
}

fn manifests_in(path: &Path) -> Result<Vec<PathBuf>, Diagnostics> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = |error: std::io::Error| Diagnostic::error(format!("cannot read {}: {error}", path.display()));
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_manifest = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
        if is_manifest && path.is_file() {
            found.insert(path.clone(), path);
        }
    }
    if found.is_empty() {
        return Err(Diagnostic::error(format!("{} has no *.yaml, *.yml or *.json", path.display())).into());
    }
    Ok(found.into_values().collect())
}
