//! Several layers as one: the difference between what is below them and what they come to.

use std::sync::Arc;

use super::error::Cause;
use super::files::difference;
use super::pack::{self, Beforehand};
use super::{Snapshot, Workshop};
use crate::tree::Tree;

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
    let (changes, scratch) = difference(&lower, root, workshop)?;
    let squashed = Snapshot::made(base, changes, root.created()).keeping(scratch.into_iter().collect());
    pack::pack(&squashed, Beforehand::default(), workshop, &workshop.packing)?;
    Ok(Some(Arc::new(squashed)))
}
