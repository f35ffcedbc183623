//! Reading caches: their manifests and documents, no layers.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use oci_spec::image::ImageManifest;
use serde_json::Value;

use super::super::bases::chain;
use super::super::{Error, Request};
use super::CacheSource;
use crate::archive;
use crate::cache::{self, DOCUMENT, Document, INLINE};
use crate::event::{Event, Listener};
use crate::image::Blob;
use crate::oci::{ImageConfig, Platform, media_type::Flavor};
use crate::registry::Registry;
use crate::solve::{self, Import, Imports, Origin};
use crate::store::Store;

/// Reads the caches that the request names, all at the same time; one that cannot be read is a warning.
pub(in super::super) fn import(
    request: &Request,
    store: &Store,
    registry: &Registry,
    listener: &dyn Listener,
    next_task: &AtomicUsize,
) -> Imports {
    // What is not asked need not be read.
    let sources = if request.no_cache { &[] } else { &request.cache_from[..] };
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let load = |source: &CacheSource| {
        let name = source.origin().shown();
        let read = |_| {
            let (import, notice) = match read(source, store, registry, &platform) {
                Ok((import, 0)) => (Some(import), None),
                Ok((import, damaged)) => {
                    (Some(import), Some(format!("{damaged} records of the cache {name} cannot be read")))
                }
                // The first build of a branch has none.
                Err(error) => (None, Some(format!("no cache from {name}: {}", chain(&error)))),
            };
            notice.into_iter().for_each(|notice| listener.event(Event::Notice(notice)));
            Ok::<_, Infallible>(import)
        };
        let task = solve::task(listener, next_task, format!("importing the cache of {name}"), read);
        let Ok(import) = task;
        import
    };
    let loaded: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = sources.iter().map(|source| scope.spawn(|| load(source))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a cache is read or an error")).collect()
    });
    Imports::new(loaded.into_iter().flatten())
}

impl CacheSource {
    fn origin(&self) -> Origin {
        match self {
            Self::Registry(reference) => Origin::Repository(reference.clone()),
            Self::Local { path, .. } => Origin::Layout(path.clone()),
        }
    }
}

/// Why something is no cache.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    /// It cannot be had.
    #[error(transparent)]
    Documents(#[from] Box<Error>),
    /// It is something else.
    #[error("it is neither a cache of kiln's nor an image with one (`--cache-to type=inline`)")]
    NoCache,
    /// The document cannot be read.
    #[error(transparent)]
    Document(#[from] cache::NotACache),
}

/// Reads one cache; returns it and the number of its records that cannot be read.
fn read(
    source: &CacheSource,
    store: &Store,
    registry: &Registry,
    platform: &Platform,
) -> Result<(Import, usize), ImportError> {
    let documents = match source {
        CacheSource::Registry(reference) => registry.documents(reference, platform).map_err(Error::from),
        CacheSource::Local { path, selector } => {
            archive::documents(store, path, selector.as_deref(), platform).map_err(Error::from)
        }
    };
    let (manifest, config) = documents.map_err(Box::new)?;
    let cache::Read { document, damaged } = document(&manifest, &config)?;
    if let CacheSource::Registry(reference) = source {
        // For pushes: a registry can mount what it has. A note that cannot be written is no reason to fail.
        for blob in document.layers.values().flat_map(|layer| layer.blob.iter().chain(&layer.entries)) {
            let _ = store.note_seen(&blob.digest, reference);
        }
    }
    Ok((Import { origin: source.origin(), document }, damaged))
}

/// Finds the document in what a manifest has as its config.
fn document(manifest: &ImageManifest, config: &[u8]) -> Result<cache::Read, ImportError> {
    let value: Value = serde_json::from_slice(config).map_err(|_| ImportError::NoCache)?;
    if manifest.config().media_type().to_string() == DOCUMENT {
        return Ok(Document::read(&value)?);
    }
    let mut read = Document::read(value.get(INLINE).ok_or(ImportError::NoCache)?)?;
    let config: ImageConfig = serde_json::from_value(value).map_err(|_| ImportError::NoCache)?;
    // The image's manifest says which blobs its layers are.
    for (descriptor, diff_id) in manifest.layers().iter().zip(config.rootfs.diff_ids) {
        let Ok(mut blob) = Blob::try_from(descriptor) else { continue };
        blob.media_type = Flavor::Oci.of(&blob.media_type).to_owned();
        read.document.layers.entry(diff_id).or_default().blob = Some(blob);
    }
    Ok(read)
}
