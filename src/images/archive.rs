//! Images in tar files: an OCI layout in an archive, and what `docker save` writes. Plain or gzip.
//!
//! Belongs here: finding the few small documents among the layers. Does not belong here: what they say.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::blobs::{Files, Meant, not_held};
use super::document::{self, Wanted};
use super::failure::{Failure, Kind};
use super::runs::Runs;
use super::source::same;

/// The longest entry that is kept, in bytes. Manifests and configurations have some kilobytes.
const ENTRY_MAX: u64 = 1024 * 1024;
/// How much is kept of one archive, in bytes: enough for thousands of images.
const KEPT_MAX: usize = 64 * 1024 * 1024;

/// The documents of an archive, read in one pass.
pub(super) struct Archive {
    path: PathBuf,
    documents: HashMap<String, Vec<u8>>,
}

impl Archive {
    /// Reads whatever looks like JSON in a tar file.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let broken = |error: io::Error| {
            let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotThere } else { Kind::Broken };
            let failure = Failure::new(kind, format!("the archive {} cannot be read: {error}", path.display()));
            failure.help("it is a tar file, plain or gzip; a directory with an OCI layout is oci:PATH")
        };
        let mut file = File::open(path).map_err(broken)?;
        let mut magic = [0; 2];
        let read = file.read(&mut magic).map_err(broken)?;
        file.seek(SeekFrom::Start(0)).map_err(broken)?;
        let documents = if read == 2 && magic == [0x1f, 0x8b] {
            let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::new(file)));
            collect(archive.entries().map_err(broken)?)
        } else {
            let mut archive = tar::Archive::new(BufReader::new(file));
            collect(archive.entries_with_seek().map_err(broken)?)
        };
        Ok(Self { path: path.to_owned(), documents: documents.map_err(broken)? })
    }
}

fn collect<R: Read>(entries: tar::Entries<'_, R>) -> io::Result<HashMap<String, Vec<u8>>> {
    let mut documents = HashMap::new();
    let mut kept = 0;
    for entry in entries {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() || entry.size() > ENTRY_MAX || entry.size() < 2 {
            continue;
        }
        let mut bytes = Vec::new();
        entry.by_ref().take(1).read_to_end(&mut bytes)?;
        if !matches!(bytes[..], [b'{' | b'[']) {
            continue;
        }
        entry.read_to_end(&mut bytes)?;
        kept += bytes.len();
        if kept > KEPT_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds too many documents"));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        documents.insert(path.trim_start_matches("./").to_owned(), bytes);
    }
    Ok(documents)
}

impl Files for Archive {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.documents.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// An entry of `manifest.json`, as `docker save` and skopeo write it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
}

/// Reads one image of a `docker save` archive. It has no digest: an archive keeps the configuration, and not the manifest
/// that a registry would have.
pub(super) fn read_saved(archive: &Archive, meant: &Meant<'_>, wanted: &Wanted) -> Result<Runs, Failure> {
    let place = archive.name();
    let broken = |why: String| Failure::new(Kind::Broken, why);
    let bytes = archive.read("manifest.json").map_err(|_| {
        let failure = broken(format!("{place} is no `docker save` archive: it has no manifest.json"));
        failure.help("oci-archive:PATH reads an OCI layout in a tar file")
    })?;
    let images: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(|error| broken(format!("manifest.json of {place} cannot be read: {error}")))?;
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let all: Vec<String> = images.iter().flat_map(tags).collect();
    let image = match images.iter().find(|image| tags(image).iter().any(|tag| same(tag, meant.text()))) {
        Some(image) => image,
        None if images.len() == 1 && all.is_empty() && meant.is_only && meant.name.is_none() => &images[0],
        None => return Err(not_held(&place, meant.text(), &all)),
    };
    let config = archive
        .read(image.config.trim_start_matches("./"))
        .map_err(|error| broken(format!("{place} cannot be read at {}: {error}", image.config)))?;
    document::runs(&config, wanted)
}
