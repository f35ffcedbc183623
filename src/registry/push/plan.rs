//! What a push is made of: documents read, nothing asked.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::error::Error;
use super::super::store_error;
use crate::assemble::{self, Document};
use crate::digest::Digest;
use crate::image::Blob;

/// As deep as [`assemble::read`] goes.
const NESTING_LIMIT: usize = 4;

/// Everything below a root descriptor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Manifests and indexes, children first, the root last; each once.
    pub(super) documents: Vec<Planned>,
    /// Documents that an index names and the store lacks: the registry has to have them already.
    pub(super) absent: Vec<Blob>,
}

/// A manifest or an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) blob: Blob,
    pub(super) bytes: Vec<u8>,
    /// What a manifest names; none for an index.
    pub(super) parts: Vec<Part>,
    /// The documents that an index names.
    pub(super) children: Vec<Digest>,
}

/// A layer or a config: what a manifest names, layers first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) blob: Blob,
    /// The instruction that made a layer, if the history says so.
    pub(super) made_by: Option<String>,
    /// Whether it may only be had from somewhere else (`urls` of a non-distributable layer).
    pub(super) foreign: bool,
}

/// Reads a document of the store; `None` if it is not there.
pub(super) type Read<'r> = dyn FnMut(&Blob) -> Result<Option<Vec<u8>>, Error> + 'r;

impl Plan {
    /// Follows `root`.
    pub(super) fn of(root: &Blob, read: &mut Read<'_>) -> Result<Self, Error> {
        let mut plan = Self::default();
        plan.add(root, read, NESTING_LIMIT)?;
        match plan.absent.first() {
            Some(absent) if *absent == *root => {
                let missing = crate::store::Error::Missing { digest: root.digest, size: root.size };
                Err(store_error(&root.digest, missing))
            }
            _ => Ok(plan),
        }
    }

    fn add(&mut self, blob: &Blob, read: &mut Read<'_>, depth: usize) -> Result<(), Error> {
        if self.documents.iter().any(|known| known.blob.digest == blob.digest) {
            return Ok(());
        }
        let unusable = |source| store_error(&blob.digest, source);
        if depth == 0 {
            return Err(unusable(assemble::Error::Nested { digest: blob.digest }));
        }
        let Some(bytes) = read(blob)? else {
            self.absent.push(blob.clone());
            return Ok(());
        };
        let checked = |descriptor: &_| {
            Blob::try_from(descriptor)
                .map_err(|source| unusable(assemble::Error::Digest { digest: blob.digest, source }))
        };
        let (mut parts, mut children) = (Vec::new(), Vec::new());
        match assemble::parse(blob.digest, &bytes).map_err(unusable)? {
            Document::Index(index) => {
                for child in index.manifests() {
                    let child = checked(child)?;
                    self.add(&child, read, depth - 1)?;
                    children.push(child.digest);
                }
            }
            Document::Manifest(manifest) => {
                let config = checked(manifest.config())?;
                let mut made_by = history(read(&config).ok().flatten().as_deref()).into_iter();
                for layer in manifest.layers() {
                    let blob = checked(layer)?;
                    let foreign =
                        layer.urls().as_ref().is_some_and(|urls| !urls.is_empty()) && is_foreign(&blob);
                    parts.push(Part { blob, made_by: made_by.next(), foreign });
                }
                parts.push(Part { blob: config, made_by: None, foreign: false });
            }
        }
        self.documents.push(Planned { blob: blob.clone(), bytes, parts, children });
        Ok(())
    }

    /// Returns the root.
    pub(super) fn root(&self) -> &Planned {
        self.documents.last().expect("a plan has a root")
    }

    /// Returns the blobs below all documents that are not `settled`, each once: layers first, then configs.
    pub(super) fn blobs(&self, settled: &BTreeSet<Digest>) -> Vec<&Part> {
        let open = || self.documents.iter().filter(|document| !settled.contains(&document.blob.digest));
        let layers = open().flat_map(|document| document.parts.split_last().map_or(&[][..], |(_, all)| all));
        let configs = open().filter_map(|document| document.parts.last());
        let mut seen = BTreeSet::new();
        layers.chain(configs).filter(|part| seen.insert(part.blob.digest)).collect()
    }

    /// Adds to `settled` everything below what it holds.
    pub(super) fn settle(&self, settled: &mut BTreeSet<Digest>) {
        for document in self.documents.iter().rev() {
            if settled.contains(&document.blob.digest) {
                settled.extend(&document.children);
            }
        }
    }
}

fn is_foreign(blob: &Blob) -> bool {
    blob.media_type.contains(".foreign.") || blob.media_type.contains(".nondistributable.")
}

/// Returns what made each layer, base first; nothing of a config that says nothing.
fn history(config: Option<&[u8]>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        created_by: String,
        #[serde(default)]
        empty_layer: bool,
    }
    #[derive(Deserialize)]
    struct Config {
        history: Option<Vec<Entry>>,
    }
    let config: Option<Config> = config.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let entries = config.and_then(|config| config.history).unwrap_or_default();
    entries.into_iter().filter(|entry| !entry.empty_layer).map(|entry| entry.created_by).collect()
}
