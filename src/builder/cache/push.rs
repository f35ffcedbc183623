//! Pushing what a cache knows: blobs that are not here.

use super::super::Error;
use crate::image::Blob;
use crate::reference::Reference;
use crate::registry::{self, Limits, Pushed, Registry, Step};
use crate::solve::{self, Origin, Workshop};

/// Pushes `root`, of whose `blobs` the store may lack those that a cache has: they are mounted or go from registry to
/// registry where they were seen. If one is gone from its cache, the error says so.
pub(in super::super) fn push(
    name: &Reference,
    root: &Blob,
    blobs: &[Blob],
    limits: &Limits,
    tell: &(dyn Fn(Step<'_>) + Sync),
    registry: &Registry,
    workshop: &Workshop<'_>,
) -> Result<Pushed, Error> {
    let absent = || blobs.iter().filter(|blob| !workshop.store.contains(blob));
    let origin = |blob: &Blob| workshop.imports.origin_of(&blob.digest);
    let in_layouts: Vec<Blob> =
        absent().filter(|blob| matches!(origin(blob), Some(Origin::Layout(_)))).cloned().collect();
    solve::fetch_blobs(&in_layouts, workshop)?;
    registry.push(name, root, limits, tell).or_else(|error| {
        if is_about_a_blob(&error) {
            let in_caches: Vec<Blob> = absent().filter(|blob| origin(blob).is_some()).cloned().collect();
            solve::fetch_blobs(&in_caches, workshop)?;
        }
        Err(error.into())
    })
}

/// Tells whether a blob could not be had.
fn is_about_a_blob(error: &registry::Error) -> bool {
    error.status() == Some(404)
        || matches!(error, registry::Error::Nowhere { .. } | registry::Error::Mismatch { .. })
}
