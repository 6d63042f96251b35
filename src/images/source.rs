//! Where images are looked for, and looking for all of them.
//!
//! Belongs here: the names of sources (skopeo's transports where they fit), and their order. Does not belong here: how a
//! source is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::archive::{self, Archive};
use super::blobs::{self, Directory, Meant};
use super::document::Wanted;
use super::engine;
use super::failure::{Failure, Kind};
use super::hosts::Places;
use super::map::ImageMap;
use super::platform::Platform;
use super::registry::{self, Settings};
use super::runs::Runs;
use crate::plan::{self, Diagnostic, Diagnostics, FILE_MAX};

/// A place where images are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry that the reference names.
    Registry,
    /// A container engine of this machine; podman, docker or nerdctl if none is named.
    Engine(Option<String>),
    /// A directory with an OCI image layout, and the image in it that is meant, if not the one of the same name.
    Oci(PathBuf, Option<String>),
    /// The same in a tar file.
    OciArchive(PathBuf, Option<String>),
    /// What `docker save` writes.
    DockerArchive(PathBuf, Option<String>),
    /// A file that `podturn resolve` printed.
    Map(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let path = || match rest {
            Some(path) if !path.is_empty() => Ok(path),
            _ => Err(format!("{kind} needs a path: {kind}:PATH")),
        };
        let named = || {
            let (path, name) = path()?.split_once(':').map_or((path()?, None), |(path, name)| (path, Some(name)));
            Ok::<_, String>((PathBuf::from(path), name.filter(|name| !name.is_empty()).map(str::to_owned)))
        };
        match (kind, rest) {
            ("registry", None) | ("docker", Some("//")) => Ok(Self::Registry),
            ("engine", program) => Ok(Self::Engine(program.filter(|name| !name.is_empty()).map(str::to_owned))),
            ("oci", _) => named().map(|(path, name)| Self::Oci(path, name)),
            ("oci-archive", _) => named().map(|(path, name)| Self::OciArchive(path, name)),
            ("docker-archive", _) => named().map(|(path, name)| Self::DockerArchive(path, name)),
            ("map", _) => path().map(|path| Self::Map(PathBuf::from(path))),
            _ => Err("it is registry, engine[:PROGRAM], oci:PATH[:NAME], oci-archive:PATH[:NAME], \
                      docker-archive:PATH[:NAME] or map:FILE"
                .to_owned()),
        }
    }
}

/// How images are read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The platform that is asked for. `None`: Linux on this machine's architecture, where an image leaves a choice.
    pub platform: Option<Platform>,
    /// For one image, from one source.
    pub timeout: Duration,
    /// Whether certificates are checked, and plain HTTP refused but from this machine.
    pub tls_verify: bool,
    /// Where credentials, certificates and registries.conf lie.
    pub places: Places,
}

/// All sources, in the order in which they are asked.
pub struct Sources {
    sources: Vec<Opened>,
    wanted: Wanted,
    options: Options,
}

enum Opened {
    Map(PathBuf, ImageMap),
    Other(Source),
}

impl Sources {
    /// Reads the files with maps; everything else is read when it is needed.
    ///
    /// # Errors
    /// Everything that is wrong with a map.
    pub fn open(sources: Vec<Source>, options: Options) -> Result<Self, Diagnostics> {
        let open = |source| match source {
            Source::Map(path) => read_map(&path).map(|map| Opened::Map(path, map)),
            other => Ok(Opened::Other(other)),
        };
        let wanted = Wanted {
            platform: options.platform.clone().unwrap_or_else(Platform::here),
            is_asked: options.platform.is_some(),
        };
        Ok(Self { sources: sources.into_iter().map(open).collect::<Result<_, _>>()?, wanted, options })
    }

    /// Reads all of these images, at the same time. What could be read is in the map; for each other reference there is a
    /// message, without a place.
    ///
    /// # Errors
    /// If the system gives no event loop.
    pub fn read(self, references: &[String]) -> std::io::Result<(ImageMap, BTreeMap<String, Diagnostic>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(Arc::new(self).read_all(references)))
    }

    async fn read_all(self: Arc<Self>, references: &[String]) -> (ImageMap, BTreeMap<String, Diagnostic>) {
        let is_only = references.iter().all(|reference| *reference == references[0]);
        let mut tasks = tokio::task::JoinSet::new();
        for reference in references.iter().cloned() {
            let sources = Arc::clone(&self);
            tasks.spawn(async move {
                let runs = sources.read_one(&reference, is_only).await;
                (reference, runs)
            });
        }
        let (mut map, mut failed) = (ImageMap::default(), BTreeMap::new());
        while let Some(task) = tasks.join_next().await {
            let (reference, runs) = task.expect("reading an image does not panic");
            match runs {
                Ok(runs) => map.insert(reference, runs),
                Err(failure) => {
                    let why =
                        format!("cannot read what {} runs: {}", plan::diagnostic::shorten(&reference), failure.why);
                    let mut diagnostic = Diagnostic::error(why);
                    diagnostic.help = failure.help.map(Into::into);
                    failed.insert(reference, diagnostic);
                }
            }
        }
        (map, failed)
    }

    /// The first source that has the image counts. One that cannot be read is no reason to trust the next one.
    async fn read_one(&self, reference: &str, is_only: bool) -> Result<Runs, Failure> {
        let mut missing: Vec<Failure> = Vec::new();
        for source in &self.sources {
            match self.read_from(source, reference, is_only).await {
                Err(failure) if failure.kind == Kind::NotThere => missing.push(failure),
                result => return result,
            }
        }
        let Some(last) = missing.pop() else {
            return Err(Failure::new(Kind::NotThere, "no source is named"));
        };
        let before: String = missing.iter().map(|failure| format!("{}; ", failure.why)).collect();
        Err(Failure { why: format!("{before}{}", last.why), ..last })
    }

    async fn read_from(&self, source: &Opened, reference: &str, is_only: bool) -> Result<Runs, Failure> {
        let wanted = &self.wanted;
        let meant = |name: &'_ Option<String>| Meant { reference, name: name.clone(), is_only };
        match source {
            Opened::Map(path, map) => map.get(reference).cloned().ok_or_else(|| {
                let why = format!("{} does not have it", path.display());
                Failure::new(Kind::NotThere, why)
                    .help("podturn resolve IMAGE... > FILE writes such a map; its keys are the manifest's own words")
            }),
            Opened::Other(Source::Registry) => {
                let settings = Settings {
                    places: &self.options.places,
                    is_insecure: !self.options.tls_verify,
                    limit: self.options.timeout,
                };
                registry::read(reference, wanted, &settings).await
            }
            Opened::Other(Source::Engine(program)) => {
                engine::read(program.as_deref(), reference, wanted, self.options.timeout).await
            }
            Opened::Other(Source::Oci(path, name)) => blobs::read(&Directory(path.clone()), &meant(name), wanted),
            Opened::Other(Source::OciArchive(path, name)) => blobs::read(&Archive::open(path)?, &meant(name), wanted),
            Opened::Other(Source::DockerArchive(path, name)) => {
                archive::read_saved(&Archive::open(path)?, &meant(name), wanted)
            }
            Opened::Other(Source::Map(_)) => unreachable!("maps were read when the sources were opened"),
        }
    }
}

fn read_map(path: &Path) -> Result<ImageMap, Diagnostics> {
    let name = path.display().to_string();
    let unreadable = |why: String| Diagnostics::from(Diagnostic::error(format!("cannot read {name}: {why}")));
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_MAX as u64 {
        return Err(unreadable(format!("it has more than {FILE_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    ImageMap::read(&plan::Source::file(name.clone(), text))
}

/// Whether two references name the same image: `app` is `app:latest`, and a short name is what it stands for.
pub(super) fn same(one: &str, other: &str) -> bool {
    let whole = |text: &str| registry::parse(text).map(|reference| reference.whole());
    one == other || matches!((whole(one), whole(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::{Source, same};

    #[test]
    fn sources_are_named_as_skopeo_names_them() {
        let path = |text: &str| std::path::PathBuf::from(text);
        let table = [
            ("registry", Source::Registry),
            ("engine", Source::Engine(None)),
            ("engine:docker", Source::Engine(Some("docker".to_owned()))),
            ("oci:dir", Source::Oci(path("dir"), None)),
            ("oci:dir:1.2", Source::Oci(path("dir"), Some("1.2".to_owned()))),
            ("oci-archive:a.tar", Source::OciArchive(path("a.tar"), None)),
            ("docker-archive:a.tar:app:1", Source::DockerArchive(path("a.tar"), Some("app:1".to_owned()))),
            ("map:images.yaml", Source::Map(path("images.yaml"))),
        ];
        for (text, source) in table {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
        for text in ["", "oci", "oci:", "map", "registry:x", "containers-storage:x", "images.yaml"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn references_are_compared_by_what_they_mean() {
        assert!(same("app", "app:latest"));
        assert!(same("registry.example/app:1", "registry.example/app:1"));
        assert!(!same("registry.example/app:1", "registry.example/app:2"));
        assert!(!same("app:1", "registry.example/app:1"));
        assert!(same("not a reference", "not a reference"));
    }
}
