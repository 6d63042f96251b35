//! Images in files: an OCI image layout (opencontainers/image-spec, `image-layout.md`), in a directory or an archive.
//!
//! Belongs here: which image of a layout is meant, and the walk from it to its configuration. Does not belong here: how an
//! archive is read (`archive`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use super::document::{self, DEPTH_MAX, DOCUMENT_MAX, Descriptor, Next, Wanted};
use super::failure::{Failure, Kind};
use super::runs::Runs;
use super::source::same;

/// The name of an image in a layout: a tag, or a whole reference.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Where containerd and BuildKit put the whole reference, beside a `REF_NAME` with the tag.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Where the files of a layout are.
pub(super) trait Files {
    /// The content of one file, by its path in the layout; `NotFound` where it has none of that name.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
    /// What to call it in messages.
    fn name(&self) -> String;
}

/// A directory.
pub(super) struct Directory(pub(super) PathBuf);

impl Files for Directory {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        read_bounded(File::open(self.0.join(path))?)
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

/// Reads a document, and no more than one can have.
pub(super) fn read_bounded(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(DOCUMENT_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > DOCUMENT_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {DOCUMENT_MAX} bytes")));
    }
    Ok(bytes)
}

/// Which image of a layout or an archive is meant.
pub(super) struct Meant<'a> {
    /// The reference that was asked for.
    pub(super) reference: &'a str,
    /// What the command line said after the path: it counts instead of the reference.
    pub(super) name: Option<String>,
    /// It is the only one that is asked for, so an image without a name can be no other.
    pub(super) is_only: bool,
}

impl Meant<'_> {
    pub(super) fn text(&self) -> &str {
        self.name.as_deref().unwrap_or(self.reference)
    }
}

/// Reads one image of a layout.
pub(super) fn read(files: &dyn Files, meant: &Meant<'_>, wanted: &Wanted) -> Result<Runs, Failure> {
    let place = files.name();
    let bytes = files.read("index.json").map_err(|error| {
        let failure = Failure::new(Kind::Broken, format!("{place} is no OCI image layout: index.json: {error}"));
        failure.help(
            "docker-archive:PATH reads what `docker save` writes; oci: is for directories, oci-archive: for tar files",
        )
    })?;
    let entries = document::index_entries(&bytes)
        .ok_or_else(|| Failure::new(Kind::Broken, format!("index.json of {place} is no image index")))?;
    let descriptor = entry(&entries, meant, &place)?;
    let digest = descriptor.digest.clone();
    let mut at = descriptor;
    for _ in 0..DEPTH_MAX {
        match document::next(&blob(files, &at)?, wanted)? {
            Next::Manifest(next) => at = next,
            Next::Config(config) => {
                let runs = document::runs(&blob(files, &config)?, wanted)?;
                return Ok(Runs { digest: Some(digest), ..runs });
            }
        }
    }
    Err(Failure::new(Kind::Broken, "its indexes lead to more indexes"))
}

fn entry(entries: &[Descriptor], meant: &Meant<'_>, place: &str) -> Result<Descriptor, Failure> {
    let wanted = meant.text();
    let label = |entry: &Descriptor, key: &str| entry.annotations.as_ref().and_then(|all| all.get(key)).cloned();
    let names: Vec<String> =
        entries.iter().filter_map(|entry| label(entry, IMAGE_NAME).or_else(|| label(entry, REF_NAME))).collect();
    let is_meant = |entry: &&Descriptor| {
        let tag = label(entry, REF_NAME);
        let is_tag = |there: &String| wanted.rsplit_once(':').is_some_and(|(_, tag)| tag == there.as_str());
        meant.is_only && tag.as_ref().is_some_and(is_tag)
            || [label(entry, IMAGE_NAME), tag].into_iter().flatten().any(|there| same(&there, wanted))
            || wanted.rsplit_once('@').is_some_and(|(_, digest)| digest == entry.digest)
            || wanted == entry.digest
    };
    if let Some(found) = entries.iter().find(is_meant) {
        return Ok(found.clone());
    }
    match entries {
        [only] if names.is_empty() && meant.is_only && meant.name.is_none() => Ok(only.clone()),
        _ => Err(not_held(place, wanted, &names)),
    }
}

/// What a place holds instead of the image that was asked for.
pub(super) fn not_held(place: &str, wanted: &str, names: &[String]) -> Failure {
    let held = if names.is_empty() { "no image with a name".to_owned() } else { names.join(", ") };
    let failure = Failure::new(Kind::NotThere, format!("{place} has no image \"{wanted}\"; it holds {held}"));
    match names.first() {
        Some(first) => failure.help(format!("say behind the path which one is meant: PATH:{first}")),
        None => failure.help("say behind the path which one is meant, by its digest: PATH:sha256:..."),
    }
}

fn blob(files: &dyn Files, descriptor: &Descriptor) -> Result<Vec<u8>, Failure> {
    let place = files.name();
    let path = match descriptor.digest.split_once(':') {
        Some((kind, hex)) if is_word(kind) && is_word(hex) => format!("blobs/{kind}/{hex}"),
        _ => return Err(Failure::new(Kind::Broken, format!("{place} names a digest that is none"))),
    };
    let bytes = files
        .read(&path)
        .map_err(|error| Failure::new(Kind::Broken, format!("{place} cannot be read at {path}: {error}")))?;
    document::verify(&bytes, &descriptor.digest)?;
    Ok(bytes)
}

/// Digests become paths, so nothing else may be in them.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
