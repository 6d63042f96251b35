//! `podturn resolve`: what images run, as a map that `inject --resolve=map:FILE` reads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{input, podturn_failed};
use crate::images::{
    ImageMap, Mention, Options, Places, Platform, Source, Sources, as_manifest_text, mentioned,
    refused_by_run_as_non_root,
};
use crate::inject;
use crate::plan::{self, Diagnostic, Diagnostics, SourceFile, duration_argument, yaml};

/// Arguments of `podturn resolve`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Only manifests and configurations are read, a few kilobytes an image; no layer is pulled, and nothing is written.

Sources:
  registry                     the registry that the reference names (the default)
  engine[:PROGRAM]             what podman, docker or nerdctl has here
  oci:DIR[:NAME]               a directory with an OCI image layout
  oci-archive:FILE[:NAME]      the same in a tar file, plain or gzip
  docker-archive:FILE[:NAME]   what `docker save` or `podman save` writes, plain or gzip
  map:FILE                     what this command printed before

Examples:
  podturn resolve registry.example/team/app:1.2
  podturn resolve -f pod.yaml > images.yaml                  all images whose entrypoint this pod needs
  podturn resolve -f pod.yaml --from map:images.yaml --from registry
  docker save app:1 | gzip > app.tgz; podturn resolve app:1 --from docker-archive:app.tgz

Exit codes: 0 all images were read, 1 one of them was not (each is told on stderr, and nothing is printed), 2 bad input.")]
pub(super) struct Arguments {
    /// Image references, as manifests write them
    #[arg(required_unless_present = "filename", value_name = "IMAGE")]
    images: Vec<String>,
    /// Take the images from a manifest: those of containers that have no command; - for stdin
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Where to look (below); given several times, the first that has an image counts
    #[arg(long, value_name = "SOURCE", default_value = "registry")]
    from: Vec<Source>,
    /// Print JSON instead of YAML
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    how: How,
}

/// How images are read, for every command that does.
#[derive(clap::Args)]
#[command(next_help_heading = "Reading images")]
pub(super) struct How {
    /// Of an image for several platforms, the one to read. Default: Linux on this machine's architecture
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// The file with the passwords. Default: those of podman, then of docker
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE")]
    authfile: Option<PathBuf>,
    /// A directory with certificates (*.crt) of authorities to trust. Default: certs.d of podman and docker
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// Whether to check certificates, and to refuse plain HTTP; a registry on this machine may always do without TLS
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    tls_verify: bool,
    /// The longest that one image may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

impl Default for How {
    fn default() -> Self {
        let timeout = Duration::from_secs(30);
        Self { platform: None, authfile: None, cert_dir: None, tls_verify: true, timeout }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    duration_argument(text).map(Duration::from_millis)
}

impl How {
    /// Opens sources, to be read so.
    pub(super) fn open(&self, sources: &[Source]) -> Result<Sources, Diagnostics> {
        let mut places = Places::from_environment();
        places.auth_file.clone_from(&self.authfile);
        places.cert_dir.clone_from(&self.cert_dir);
        let options =
            Options { platform: self.platform.clone(), timeout: self.timeout, tls_verify: self.tls_verify, places };
        Sources::open(sources.to_vec(), options)
    }
}

/// Prints the map on stdout, or on stderr what could not be read.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let (file, mentions) = match wanted(arguments) {
        Ok(wanted) => wanted,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    let mut references = arguments.images.clone();
    references.extend(mentions.iter().map(|mention| mention.reference.clone()));
    references.sort();
    references.dedup();
    let sources = match arguments.how.open(&arguments.from) {
        Ok(sources) => sources,
        Err(diagnostics) => return input::refuse(&diagnostics),
    };
    let (map, failed) = match sources.read(&references) {
        Ok(read) => read,
        Err(error) => return podturn_failed(&error),
    };
    if failed.is_empty() {
        print(&map, arguments.json);
        return ExitCode::SUCCESS;
    }
    let mut all = Diagnostics::default();
    for (reference, mut diagnostic) in failed {
        if let Some((file, mention)) = file.as_ref().zip(mentions.iter().find(|mention| mention.reference == reference))
        {
            diagnostic.at(file, mention.span);
        }
        all.push(diagnostic);
    }
    input::print(&all);
    ExitCode::FAILURE
}

/// For `podturn inject --resolve`: reads the images that the documents with a plan leave the entrypoint to, and puts what
/// they run into the options, as text of a manifest. What could not be read goes there, too: whether it matters is known
/// only when the plan says who is a step.
///
/// # Errors
/// A map file that cannot be used.
pub(super) fn into_options(
    how: &How,
    sources: &[Source],
    no_pin: bool,
    documents: impl IntoIterator<Item = Arc<SourceFile>>,
    options: &mut inject::Options,
) -> Result<(), Diagnostics> {
    let mentions = documents.into_iter().flat_map(|document| mentioned(&inject::originals(&document)));
    let references: Vec<String> =
        mentions.map(|mention| mention.reference).collect::<BTreeSet<_>>().into_iter().collect();
    let (map, failed) = how.open(sources)?.read(&references).map_err(|error| Diagnostic::error(error.to_string()))?;
    for (reference, runs) in map.iter() {
        let text = |words: &[String]| words.iter().map(|word| as_manifest_text(word)).collect();
        let digest = runs.digest.as_ref().filter(|_| !no_pin && !reference.contains('@'));
        let config = inject::ImageConfig {
            entrypoint: text(&runs.entrypoint),
            cmd: text(&runs.cmd),
            pinned: digest.map(|digest| format!("{reference}@{digest}")),
            refused_as_non_root: refused_by_run_as_non_root(runs),
        };
        options.images.insert(reference.to_owned(), config);
    }
    let unread = failed.into_iter().map(|(reference, error)| (reference, (error.message, error.help.map(Into::into))));
    options.unread.extend(unread);
    Ok(())
}

/// The images that a manifest leaves the entrypoint to, and the text they stand in.
fn wanted(arguments: &Arguments) -> Result<(Option<Arc<SourceFile>>, Vec<Mention>), Diagnostics> {
    let Some(path) = &arguments.filename else { return Ok((None, Vec::new())) };
    let input::Text { name, text } = input::read(path)?;
    let source = plan::Source::file(name.clone(), text);
    let mentions = mentioned(&yaml::parse(&source)?);
    if mentions.is_empty() && arguments.images.is_empty() {
        let mut diagnostic = Diagnostic::warning(format!("{name}: every container with an image has a command"));
        diagnostic.help("so there is nothing to look up; name an image to see what it runs all the same");
        input::print(&diagnostic.into());
    }
    Ok((Some(Arc::clone(source.outer())), mentions))
}

fn print(map: &ImageMap, json: bool) {
    super::show!("{}", if json { map.to_json() } else { map.to_yaml() });
}
