//! Snapshots on the disk: what RUN needs, and nothing else does.
//!
//! With overlayfs every snapshot is a directory of its own, kept in the store under a name that says what is
//! in it, so that later builds find it. Without, one directory holds a whole state; it passes from a step
//! to the next one on top of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Cause;
use super::pack::{self, Beforehand};
use super::{Snapshot, Workshop, bytes};
use crate::digest::Digest;
use crate::layer::{Compression, PackOptions, Sink, index};
use crate::rootfs::{self, Disk, Form};
use crate::sandbox::{Isolation, Overlay};
use crate::store::{Scratch, TreeSlot};
use crate::tree::{Changes, Origin};

/// Returns the name of the directories that hold trees as this isolation sees them: owners, device nodes and
/// overlayfs's marks differ.
pub(super) fn mapping(isolation: &Isolation) -> String {
    let overlay = match isolation.overlay {
        Overlay::Trusted => "trusted",
        Overlay::User => "user",
        Overlay::Absent => "plain",
    };
    format!("{}-{overlay}", isolation.rung.name())
}

/// Returns the name of a directory by what is in it.
fn name_of(changes: &Changes) -> String {
    index::digest(changes).hex()
}

/// What an earlier build made and never packed.
#[derive(Debug, Clone)]
pub(super) struct Unpacked {
    pub(super) directory: PathBuf,
    pub(super) changes: Arc<Changes>,
}

/// Returns what an earlier build kept in the directory `name`, if it is still there with its index.
pub(super) fn recall(workshop: &Workshop<'_>, name: &str) -> Option<Unpacked> {
    let directory = workshop.store.find_tree(&mapping(workshop.isolation), name)?;
    let digest = Digest::from_hex(name).ok()?;
    let bytes = fs_err::read(workshop.store.blob_path(&digest)).ok()?;
    let mut changes = index::decode(&bytes).ok()?;
    changes.origins = vec![Origin::whole(&directory)];
    Some(Unpacked { directory, changes: Arc::new(changes) })
}

/// Returns the overlay directories of a stack, the topmost first; makes those that are not there.
pub(super) fn directories(
    snapshot: Option<&Arc<Snapshot>>,
    workshop: &Workshop<'_>,
) -> Result<Vec<PathBuf>, Cause> {
    let stack = snapshot.map(Snapshot::stack).unwrap_or_default();
    let mut known = Vec::new();
    for snapshot in &stack {
        known.push(find(snapshot, workshop)?);
    }
    let missing =
        stack.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(snapshot, _)| *snapshot);
    bytes::fetch(missing.filter(|snapshot| !snapshot.has_bytes()), workshop)?;
    let mut directories = Vec::new();
    for (snapshot, known) in stack.into_iter().zip(known) {
        directories.push(match known {
            Some(directory) => directory,
            None => snapshot.exclusively(|| make(snapshot, workshop))?,
        });
    }
    directories.reverse();
    // Two layers with the same content are one directory, which overlayfs takes only once. The upper one hides
    // everything that the lower one could show.
    let mut seen = BTreeSet::new();
    directories.retain(|directory| seen.insert(directory.clone()));
    Ok(directories)
}

/// Unpacks a stack of which some layer was never read: the pass that writes the files shows at the same time what
/// the layer holds. Whoever asks for the tree first would read it once more, only for that.
pub(super) fn unread(snapshot: Option<&Arc<Snapshot>>, workshop: &Workshop<'_>) -> Result<(), Cause> {
    let stack = snapshot.map(Snapshot::stack).unwrap_or_default();
    bytes::fetch_entries(&stack, workshop)?;
    if stack.iter().any(|snapshot| snapshot.known_changes(workshop).is_none()) {
        directories(snapshot, workshop)?;
    }
    Ok(())
}

/// Returns the snapshot's directory if it is there: by the name of its layer, or of what is in it.
fn find(snapshot: &Snapshot, workshop: &Workshop<'_>) -> Result<Option<PathBuf>, Cause> {
    if let Some(directory) = snapshot.directory() {
        return Ok(Some(directory.clone()));
    }
    let mapping = mapping(workshop.isolation);
    let tree = |name: String| workshop.store.find_tree(&mapping, &name);
    // The second name costs encoding all entries: it is asked for only if the first finds nothing.
    let by_entries = || tree(name_of(&*snapshot.known_changes(workshop)?));
    let found = snapshot.packed().and_then(|layer| tree(layer.diff_id.0.hex())).or_else(by_entries);
    if let Some(directory) = &found {
        snapshot.set_directory(directory.clone());
    }
    Ok(found)
}

fn make(snapshot: &Snapshot, workshop: &Workshop<'_>) -> Result<PathBuf, Cause> {
    if let Some(directory) = find(snapshot, workshop)? {
        return Ok(directory);
    }
    let disk = workshop.isolation.disk();
    let changes = snapshot.known_changes(workshop).filter(|_| snapshot.has_bytes());
    let name = match (&changes, snapshot.packed()) {
        (Some(changes), _) => name_of(changes),
        (None, Some(layer)) => layer.diff_id.0.hex(),
        (None, None) => unreachable!("a snapshot is packed or has changes with bytes"),
    };
    let directory = match workshop.store.tree_directory(&mapping(workshop.isolation), &name)? {
        TreeSlot::Found(directory) => directory,
        TreeSlot::Vacant(slot) => {
            match changes {
                Some(changes) => {
                    rootfs::write_changes(&slot.path(), &changes, Form::Layer, disk)?;
                }
                None => {
                    let read = |sink: &mut dyn Sink| bytes::read_blob(snapshot, workshop, sink);
                    let changes = rootfs::write_layer(&slot.path(), Form::Layer, disk, read)?;
                    bytes::keep_changes(snapshot, changes, workshop)?;
                }
            }
            slot.commit()?
        }
    };
    snapshot.set_directory(directory.clone());
    Ok(directory)
}

/// Keeps a step's upper directory under the name of what is in it, with its index as a blob, and returns where
/// it lies now.
pub(super) fn keep_upper(
    upper: &Path,
    changes: &Changes,
    workshop: &Workshop<'_>,
) -> Result<(String, PathBuf), Cause> {
    let name = workshop.store.put(&index::encode(changes))?.hex();
    let directory = match workshop.store.tree_directory(&mapping(workshop.isolation), &name)? {
        TreeSlot::Found(directory) => directory,
        TreeSlot::Vacant(slot) => {
            fs_err::rename(upper, slot.path())?;
            slot.commit()?
        }
    };
    Ok((name, directory))
}

/// Keeps a result whose bytes lie in scratch directories, so that a later build need not make it again; returns
/// the name of the directory. What lies in a context or in another result is found there again.
pub(super) fn keep(snapshot: &Snapshot, workshop: &Workshop<'_>) -> Result<Option<String>, Cause> {
    if !snapshot.holds_scratches() {
        return Ok(None);
    }
    if workshop.isolation.overlay == Overlay::Absent {
        let options = PackOptions { compression: Compression::None, ..workshop.packing };
        pack::pack(snapshot, Beforehand::default(), workshop, &options)?;
        return Ok(None);
    }
    make(snapshot, workshop)?;
    let index = index::encode(&*snapshot.changes(workshop)?);
    Ok(Some(workshop.store.put(&index)?.hex()))
}

/// A directory that holds a whole state.
pub(super) struct State {
    pub(super) scratch: Scratch,
    pub(super) index: rootfs::Index,
}

impl State {
    /// Returns the root of the state.
    pub(super) fn root(&self) -> PathBuf {
        root_of(&self.scratch)
    }
}

fn root_of(scratch: &Scratch) -> PathBuf {
    scratch.path().join("root")
}

/// The states that steps have left, to be taken over by the next ones.
#[derive(Default)]
pub struct States(Mutex<Vec<(Arc<Snapshot>, State)>>);

impl States {
    /// Takes over the directory that holds `snapshot`, or the most of it, and completes it; or makes one.
    pub(super) fn take(
        &self,
        snapshot: Option<&Arc<Snapshot>>,
        workshop: &Workshop<'_>,
    ) -> Result<State, Cause> {
        let stack = snapshot.map(Snapshot::stack).unwrap_or_default();
        let (scratch, missing) = match self.take_nearest(&stack) {
            Some((state, missing)) if missing == stack.len() => return Ok(state),
            Some((state, missing)) => (state.scratch, missing),
            None => {
                let scratch = workshop.store.scratch()?;
                fs_err::create_dir(root_of(&scratch))?;
                (scratch, 0)
            }
        };
        let root = root_of(&scratch);
        write_layers(&stack[missing..], &root, workshop)?;
        let index = rootfs::index(&root)?;
        Ok(State { scratch, index })
    }

    /// Takes the directory that holds the most of `stack`, and tells how much that is.
    fn take_nearest(&self, stack: &[&Arc<Snapshot>]) -> Option<(State, usize)> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |snapshot: &Arc<Snapshot>| left.iter().position(|(of, _)| Arc::ptr_eq(of, snapshot));
        let (held, at) =
            stack.iter().enumerate().rev().find_map(|(index, of)| Some((index + 1, holds(of)?)))?;
        Some((left.swap_remove(at).1, held))
    }

    /// Leaves a directory that now holds `snapshot`. Only the newest of a line of steps is worth keeping.
    pub(super) fn leave(&self, snapshot: Arc<Snapshot>, state: State) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((snapshot, state));
    }
}

/// Writes everything in a snapshot below `root`.
pub(super) fn write_state(
    snapshot: Option<&Arc<Snapshot>>,
    root: &Path,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    write_layers(&snapshot.map(Snapshot::stack).unwrap_or_default(), root, workshop)
}

fn write_layers(stack: &[&Arc<Snapshot>], root: &Path, workshop: &Workshop<'_>) -> Result<(), Cause> {
    let disk = workshop.isolation.disk();
    bytes::fetch(stack.iter().copied().filter(|snapshot| !snapshot.has_bytes()), workshop)?;
    for snapshot in stack {
        if snapshot.has_bytes() {
            rootfs::write_changes(root, &*snapshot.changes(workshop)?, Form::State, disk)?;
            continue;
        }
        let read = |sink: &mut dyn Sink| bytes::read_blob(snapshot, workshop, sink);
        let changes = rootfs::write_layer(root, Form::State, disk, read)?;
        if snapshot.known_changes(workshop).is_none() {
            bytes::keep_changes(snapshot, changes, workshop)?;
        }
    }
    Ok(())
}

/// Returns what directories of the user's can hold: ids that exist only in a user namespace would be of no use there.
pub(super) const fn user_disk(isolation: &Isolation) -> Disk {
    let root = !isolation.rung.in_user_namespace();
    Disk { owners: root, devices: root, ..isolation.disk() }
}
