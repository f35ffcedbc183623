//! Several layers as one: the difference between what is below them and what they come to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::Cause;
use super::{Snapshot, Workshop, bytes, pack};
use crate::path::RelPath;
use crate::tree::{Change, Entry, Kind, Origin, Tree, diff};

/// Returns `root` with everything above its lowest `base_layers` layers as one packed layer; `None` if there is nothing
/// above them.
///
/// # Errors
/// If a layer cannot be fetched, read or written.
pub fn squash(
    root: &Arc<Snapshot>,
    base_layers: usize,
    workshop: &Workshop<'_>,
) -> Result<Option<Arc<Snapshot>>, Cause> {
    let stack = root.stack();
    if stack.len() <= base_layers {
        return Ok(None);
    }
    let base = base_layers.checked_sub(1).map(|top| stack[top].clone());
    let lower = match &base {
        Some(base) => base.tree(workshop)?.clone(),
        None => Tree::empty(),
    };
    let mut changes = diff(&lower, root.tree(workshop)?);
    let file = |change: &Change| match change {
        Change::Upsert { path, entry: Entry { kind: Kind::File { .. }, .. }, .. } => Some(path.clone()),
        Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => None,
    };
    let wanted: BTreeSet<RelPath> = changes.list.iter().filter_map(file).collect();
    let located = bytes::collect(root, wanted, workshop)?;
    changes.origins = vec![Origin { bytes: located.bytes, at: RelPath::root(), to: RelPath::root() }];
    let squashed =
        Snapshot::made(base, changes, root.created()).keeping(located.scratch.into_iter().collect());
    pack::pack(&squashed, None, workshop, &workshop.packing)?;
    Ok(Some(Arc::new(squashed)))
}
