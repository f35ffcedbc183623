//! Images as files: OCI layouts (a tar or a directory) and what `docker save` writes, both ways.
//!
//! Out: [`oci`], [`oci_directory`] and [`docker`] take images and the store, and everything that they reach is
//! written; a [`Growing`] archive has its layers before it is known of which image. In: [`load`], [`load_path`] and
//! [`open_layout`] put what they find into the store; [`documents`] only a manifest and its config.
//!
//! Rules:
//! - The same image gives the same bytes: fixed order (layers, base first, before documents), no times, no owners.
//! - What comes in is verified: every blob against its name, a docker archive's layers against the config's
//!   diff ids.
//! - What goes out is verified while it is read from the store.
//! - A name in an archive is never used as a path on disk.
//!
//! It does not unpack layers.

mod docker;
mod export;
mod growing;
mod layout;
mod load;
mod tarball;

use std::io;
use std::path::PathBuf;

pub use self::docker::docker;
pub use self::export::{oci, oci_directory};
pub use self::growing::{Growing, reserve};
pub use self::layout::{copy_blobs, documents, open_layout};
pub use self::load::{Loaded, load, load_path};
pub use self::tarball::Archive;

use crate::assemble::{self, Document};
use crate::digest::{DiffId, Digest, ParseError};
use crate::image::Blob;
use crate::reference::Reference;
use crate::store::{self, Store};

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed or lacks a blob.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A document of the image cannot be used.
    #[error(transparent)]
    Document(#[from] assemble::Error),
    /// The archive cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file of the archive is not the JSON that it should be.
    #[error("cannot read `{file}` of the archive")]
    Json {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A descriptor's digest is not sha256.
    #[error("cannot read `{file}` of the archive")]
    Digest {
        /// The file's name.
        file: String,
        /// The digest.
        #[source]
        source: ParseError,
    },
    /// Neither an OCI layout nor a docker archive.
    #[error("neither an OCI layout (`index.json`) nor a docker archive (`manifest.json`)")]
    Unknown,
    /// The archive names a file that it does not hold.
    #[error("the archive has no file `{file}`")]
    MissingFile {
        /// The file's name.
        file: String,
    },
    /// A docker archive's layer is not what the config says.
    #[error("layer `{file}` has the diff id {actual}, the config says {expected}")]
    DiffId {
        /// The layer's file.
        file: String,
        /// The config's diff id.
        expected: DiffId,
        /// What the bytes give.
        actual: DiffId,
    },
    /// A docker archive's two lists of layers differ in length.
    #[error("the docker archive lists {layers} layers, its config {diff_ids}")]
    LayerCount {
        /// Files of `manifest.json`.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
    /// Docker's format holds one platform.
    #[error("{digest} is an image of several platforms, which a docker archive cannot hold")]
    SeveralPlatforms {
        /// The index.
        digest: Digest,
    },
    /// A layout has no image of that name.
    #[error("no image `{selector}` in {path}, only {}", list(.offered), path = path.display())]
    NoSuchImage {
        /// The layout.
        path: PathBuf,
        /// The tag or digest that was asked for.
        selector: String,
        /// The names that are there.
        offered: Vec<String>,
    },
    /// A layout has several images and none was named.
    #[error("{path} has several images, name one of {}", list(.offered), path = path.display())]
    Ambiguous {
        /// The layout.
        path: PathBuf,
        /// The names that are there.
        offered: Vec<String>,
    },
}

/// An image that is written, under any number of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The manifest or index.
    pub root: Blob,
    /// The names.
    pub names: Vec<Reference>,
}

fn list(names: &[String]) -> String {
    match names {
        [] => "images without names".to_owned(),
        _ => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The file that says that a directory or tar is an OCI layout (image-spec `image-layout.md`).
const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
/// containerd's and BuildKit's: the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Returns where a blob lies in a layout.
pub(crate) fn blob_file(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Returns the blobs that a root reaches, each once: layers, base first, then documents.
///
/// `fetch` is called for each document before it is read from the store; it tells whether the document is
/// there. A manifest that an index names may be missing, as archives of one platform often keep the whole
/// index; the root itself may not.
fn reachable(
    store: &Store,
    root: &Blob,
    fetch: &mut dyn FnMut(&Blob) -> Result<bool, Error>,
) -> Result<Vec<Blob>, Error> {
    let mut documents = vec![];
    let mut layers = vec![];
    let mut left = vec![root.clone()];
    while let Some(blob) = left.pop() {
        if documents.contains(&blob) || (!fetch(&blob)? && blob != *root) {
            continue;
        }
        let checked = |descriptor| {
            Blob::try_from(descriptor)
                .map_err(|source| Error::Digest { file: blob_file(&blob.digest), source })
        };
        match assemble::parse(blob.digest, &store.read_blob(&blob)?)? {
            Document::Index(index) => {
                for entry in index.manifests().iter().rev() {
                    left.push(checked(entry)?);
                }
                documents.push(blob);
            }
            Document::Manifest(manifest) => {
                let config = checked(manifest.config())?;
                for layer in manifest.layers() {
                    layers.push(checked(layer)?);
                }
                documents.extend([blob, config]);
            }
        }
    }
    layers.extend(documents);
    let mut seen = std::collections::BTreeSet::new();
    layers.retain(|blob| seen.insert(blob.digest));
    Ok(layers)
}

/// Returns the blobs that several images reach, each once.
fn all_reachable(store: &Store, images: &[Saved]) -> Result<Vec<Blob>, Error> {
    let mut blobs = Vec::new();
    for image in images {
        blobs.extend(reachable(store, &image.root, &mut |_| Ok(true))?);
    }
    let mut seen = std::collections::BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    Ok(blobs)
}

#[cfg(test)]
mod tests;
