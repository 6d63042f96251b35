//! Images made by hand: OCI layouts, with a configuration and no layer, since nothing here runs them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A layout that is being written.
pub(crate) struct Layout {
    directory: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    pub(crate) fn new(directory: &Path) -> Self {
        fs::create_dir_all(directory.join("blobs/sha256")).expect("making a layout");
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("writing the layout's mark");
        Self { directory: directory.to_owned(), manifests: Vec::new() }
    }

    /// Writes a blob and returns its descriptor.
    pub(crate) fn blob(&self, media_type: &str, content: &Value) -> Value {
        let bytes = content.to_string();
        let hex = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        fs::write(self.directory.join("blobs/sha256").join(&hex), &bytes).expect("writing a blob");
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    }

    /// Writes the manifest of an image for a platform that runs what `config` says; returns its descriptor.
    pub(crate) fn image(&self, architecture: &str, config: Value) -> Value {
        let configuration = json!({
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": { "type": "layers", "diff_ids": [] },
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", &configuration);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [],
        });
        self.blob("application/vnd.oci.image.manifest.v1+json", &manifest)
    }

    /// Writes an index of images for several platforms; returns its descriptor.
    pub(crate) fn index(&self, images: &[(&str, Value)]) -> Value {
        let entry = |(architecture, image): &(&str, Value)| {
            let mut entry = image.clone();
            entry["platform"] = json!({ "os": "linux", "architecture": architecture });
            entry
        };
        let manifests: Vec<Value> = images.iter().map(entry).collect();
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
        });
        self.blob("application/vnd.oci.image.index.v1+json", &index)
    }

    /// Gives a name to what a descriptor names.
    pub(crate) fn name(&mut self, name: Option<&str>, mut descriptor: Value) -> String {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned();
        if let Some(name) = name {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        self.manifests.push(descriptor);
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests });
        fs::write(self.directory.join("index.json"), index.to_string()).expect("writing index.json");
        digest
    }
}

/// Packs a directory as a tar file.
pub(crate) fn pack(directory: &Path, to: impl std::io::Write) {
    let mut archive = tar::Builder::new(to);
    archive.append_dir_all(".", directory).expect("packing a layout");
    archive.into_inner().expect("the end of the archive").flush().expect("writing the archive");
}
