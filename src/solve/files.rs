//! A whole root file system as files: for exports that have no layers.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::error::Cause;
use super::{Snapshot, Workshop, bytes, unpack};
use crate::image::Blob;
use crate::path::RelPath;
use crate::rootfs::{self, Form};
use crate::store::Scratch;
use crate::tree::{Change, Changes, Entry, Kind, Origin, Tree, diff};

/// Everything in a root file system, and where its bytes lie.
pub struct Files {
    /// An upsert for every entry.
    pub changes: Changes,
    /// Keeps files that were taken out of blobs.
    _scratch: Option<Scratch>,
}

/// Returns everything in the snapshot `root`.
///
/// # Errors
/// If a layer cannot be fetched or read.
pub fn files(root: Option<&Arc<Snapshot>>, workshop: &Workshop<'_>) -> Result<Files, Cause> {
    let Some(root) = root else { return Ok(Files { changes: Changes::default(), _scratch: None }) };
    let (changes, _scratch) = difference(&Tree::empty(), root, workshop)?;
    Ok(Files { changes, _scratch })
}

/// Returns what leads from `lower` to `root`, with where the bytes lie: in the scratch directory too, if there is one.
///
/// # Errors
/// If a layer cannot be fetched or read.
pub(super) fn difference(
    lower: &Tree,
    root: &Arc<Snapshot>,
    workshop: &Workshop<'_>,
) -> Result<(Changes, Option<Scratch>), Cause> {
    let mut changes = diff(lower, root.tree(workshop)?);
    let file = |change: Change| match change {
        Change::Upsert { path, entry: Entry { kind: Kind::File { .. }, .. }, .. } => Some(path),
        Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => None,
    };
    let wanted: BTreeSet<RelPath> = changes.list.iter().filter_map(file).collect();
    let located = bytes::collect(root, wanted, workshop)?;
    changes.origins = vec![Origin { bytes: located.bytes, at: RelPath::root(), to: RelPath::root() }];
    Ok((changes, located.scratch))
}

/// Writes files into a directory of the user's.
///
/// # Errors
/// If one cannot be read or written.
pub fn write_files(files: &Files, directory: &Path, workshop: &Workshop<'_>) -> Result<(), Cause> {
    rootfs::write_changes(directory, &files.changes, Form::State, unpack::user_disk(workshop.isolation))?;
    Ok(())
}

/// Fetches blobs of the caches that the build was given.
///
/// # Errors
/// If one cannot be fetched, or is in no cache.
pub fn fetch_blobs(blobs: &[Blob], workshop: &Workshop<'_>) -> Result<(), Cause> {
    workshop.pull_all(blobs.iter().filter(|blob| !workshop.store.contains(blob)).map(|blob| {
        let place = workshop.imports.place_of(&blob.digest).ok_or(Cause::MissingBlob(blob.digest))?;
        Ok((place, blob.clone()))
    }))
}

/// Fetches every layer's blob of `root` that the store lacks.
///
/// # Errors
/// If one cannot be fetched.
pub fn fetch_layers(root: Option<&Arc<Snapshot>>, workshop: &Workshop<'_>) -> Result<(), Cause> {
    let stack = root.map(Snapshot::stack).unwrap_or_default();
    bytes::fetch(stack.into_iter(), workshop)
}
