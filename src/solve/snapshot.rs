//! The state of a root file system after a step: a stack of differences.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::demand::Found;
use super::error::Cause;
use super::imports::{Origin, Place};
use super::{Workshop, bytes};
use crate::cache::PackedLayer;
use crate::image::{Blob, Image, Layer};
use crate::layer::index;
use crate::store::Scratch;
use crate::time::Timestamp;
use crate::tree::{Changes, Tree};

/// What a step made, on top of what was below. Facts that cost something are found when first asked for.
pub struct Snapshot {
    below: Option<Arc<Snapshot>>,
    created: Timestamp,
    /// Whether the changes say where their files' bytes lie, so that no blob is needed.
    has_bytes: bool,
    /// Where the layer's blob can be fetched if the store lacks it.
    remote: Option<Arc<Place>>,
    changes: OnceLock<Arc<Changes>>,
    /// The layer in which the bytes were found, in whatever form.
    found: Option<Layer>,
    /// The layer as this build packed it, or an earlier one in the form that this build needs.
    packed: OnceLock<PackedLayer>,
    /// The directory that holds the changes in the form of an overlay's upper directory.
    directory: OnceLock<PathBuf>,
    tree: OnceLock<Tree>,
    /// Directories that hold bytes which the changes point to, removed with the snapshot.
    scratches: Vec<Scratch>,
    /// Held while one of the facts is being found, so that it is found once.
    finding: Mutex<()>,
}

impl Snapshot {
    /// Returns what a step made just now.
    pub(super) fn made(below: Option<Arc<Self>>, changes: Changes, created: Timestamp) -> Self {
        let mut snapshot = Self::empty(below, created);
        set(&snapshot.changes, Arc::new(changes));
        snapshot.has_bytes = true;
        snapshot
    }

    /// Keeps directories that hold bytes of the changes as long as the snapshot lives.
    pub(super) fn keeping(mut self, scratches: Vec<Scratch>) -> Self {
        self.scratches = scratches;
        self
    }

    /// Returns what an earlier build made; `in_form` if its layer is packed as this build needs it.
    pub(super) fn recorded(
        below: Option<Arc<Self>>,
        Found { record, unpacked, place }: &Found,
        in_form: bool,
    ) -> Self {
        let mut snapshot = Self::empty(below, record.created);
        snapshot.remote.clone_from(place);
        if let Some(layer) = &record.layer {
            if in_form {
                set(&snapshot.packed, layer.clone());
            } else {
                snapshot.found = Some(layer.layer());
            }
        }
        if let Some(unpacked) = unpacked {
            set(&snapshot.directory, unpacked.directory.clone());
            set(&snapshot.changes, unpacked.changes.clone());
            snapshot.has_bytes = true;
        }
        snapshot
    }

    /// Returns the snapshot of an image; `None` if it has no layers.
    pub(super) fn of_image(image: &Image) -> Option<Arc<Self>> {
        image.layers.iter().fold(None, |below, layer| {
            let mut snapshot = Self::empty(below, image.config.created.unwrap_or_default());
            let origin = image.remote.clone().map(Origin::Repository);
            snapshot.remote = origin.map(|origin| Arc::new(Place { origin, cache: None }));
            snapshot.found = Some(layer.clone());
            Some(Arc::new(snapshot))
        })
    }

    /// Returns a snapshot of the same files, on top of `below`, whose layer is `layer` if there is one and else the same.
    pub(super) fn with_layer(below: Option<Arc<Self>>, same: &Self, layer: Option<PackedLayer>) -> Self {
        let mut snapshot = Self::empty(below, same.created);
        match layer {
            Some(layer) => set(&snapshot.packed, layer),
            None => {
                snapshot.remote.clone_from(&same.remote);
                snapshot.found = same.packed();
            }
        }
        snapshot
    }

    const fn empty(below: Option<Arc<Self>>, created: Timestamp) -> Self {
        Self {
            below,
            created,
            has_bytes: false,
            remote: None,
            changes: OnceLock::new(),
            found: None,
            packed: OnceLock::new(),
            directory: OnceLock::new(),
            tree: OnceLock::new(),
            scratches: Vec::new(),
            finding: Mutex::new(()),
        }
    }

    /// Returns what is below.
    pub(super) const fn below(&self) -> Option<&Arc<Self>> {
        self.below.as_ref()
    }

    /// Returns when the step was done.
    pub const fn created(&self) -> Timestamp {
        self.created
    }

    /// Returns this snapshot and all below it, base first.
    pub fn stack(self: &Arc<Self>) -> Vec<&Arc<Self>> {
        let mut stack: Vec<_> =
            std::iter::successors(Some(self), |snapshot| snapshot.below.as_ref()).collect();
        stack.reverse();
        stack
    }

    /// Returns the layer for an image: a step's as it was packed, a base's as it came.
    ///
    /// # Panics
    /// If the snapshot was not packed: the solver packs every layer of an image before it ends.
    pub fn layer(&self) -> Layer {
        self.packed().expect("the layers of an image are packed")
    }

    /// Returns a layer that holds the bytes, if there is one in any form.
    pub(super) fn packed(&self) -> Option<Layer> {
        self.packed.get().map(PackedLayer::layer).or_else(|| self.found.clone())
    }

    /// Returns the layer if it is in the form that this build needs.
    pub(super) fn packed_here(&self) -> Option<&PackedLayer> {
        self.packed.get()
    }

    pub(super) fn set_packed(&self, layer: PackedLayer) {
        set(&self.packed, layer);
    }

    pub(super) fn directory(&self) -> Option<&PathBuf> {
        self.directory.get()
    }

    pub(super) fn set_directory(&self, directory: PathBuf) {
        set(&self.directory, directory);
    }

    pub(super) fn remote(&self) -> Option<&Place> {
        self.remote.as_deref()
    }

    /// Runs `find` while nobody else finds a fact of this snapshot.
    pub(super) fn exclusively<T>(&self, find: impl FnOnce() -> T) -> T {
        let _guard = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        find()
    }

    /// Tells whether some of the bytes lie in directories that go with the snapshot.
    pub(super) fn holds_scratches(&self) -> bool {
        !self.scratches.is_empty()
    }

    /// Tells whether the changes say where their files' bytes lie.
    pub(super) const fn has_bytes(&self) -> bool {
        self.has_bytes
    }

    /// Returns the same packed snapshot, but with the layer as the only place of its bytes.
    pub(super) fn without_origins(self) -> Self {
        let mut snapshot = Self { has_bytes: false, ..self };
        if let Some(changes) = snapshot.changes.take() {
            let list = Arc::try_unwrap(changes).unwrap_or_else(|shared| (*shared).clone()).list;
            set(&snapshot.changes, Arc::new(Changes { list, origins: Vec::new() }));
        }
        snapshot
    }

    /// Returns what changed, if it is known without reading the layer's blob.
    pub(super) fn known_changes(&self, workshop: &Workshop<'_>) -> Option<Arc<Changes>> {
        if let Some(changes) = self.changes.get() {
            return Some(changes.clone());
        }
        let diff_id = self.packed()?.diff_id;
        // A damaged index is as good as none: the blob is read again.
        let own = || index::decode(&workshop.store.entries(diff_id).ok()??).ok();
        let changes = Arc::new(own().or_else(|| bytes::imported_entries(diff_id, workshop))?);
        Some(self.changes.get_or_init(|| changes).clone())
    }

    pub(super) fn set_changes(&self, changes: Arc<Changes>) {
        set(&self.changes, changes);
    }

    /// Returns what changed; a base layer that nobody has read yet is fetched and read once.
    pub(super) fn changes(&self, workshop: &Workshop<'_>) -> Result<Arc<Changes>, Cause> {
        if let Some(changes) = self.known_changes(workshop) {
            return Ok(changes);
        }
        self.exclusively(|| match self.known_changes(workshop) {
            Some(changes) => Ok(changes),
            None => bytes::read_layer(self, workshop),
        })
    }

    /// Returns the whole root file system.
    pub(super) fn tree(self: &Arc<Self>, workshop: &Workshop<'_>) -> Result<&Tree, Cause> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        bytes::fetch_unknown(&self.stack(), workshop)?;
        // From the base up, so that the depth of the stack is no depth of recursion.
        let mut tree = Tree::empty();
        for snapshot in self.stack() {
            tree = match snapshot.tree.get() {
                Some(known) => known.clone(),
                None => {
                    let applied = tree.apply(&*snapshot.changes(workshop)?);
                    snapshot.tree.get_or_init(|| applied).clone()
                }
            };
        }
        Ok(self.tree.get_or_init(|| tree))
    }
}

/// Returns the layers of an image that ends with this snapshot, base first; `None` if one of them is not packed.
pub(super) fn blobs(top: Option<&Arc<Snapshot>>) -> Option<Vec<Blob>> {
    let stack = top.map(Snapshot::stack).unwrap_or_default();
    stack.into_iter().map(|snapshot| Some(snapshot.packed()?.blob)).collect()
}

/// Sets a fact that may have been found by somebody else in the meantime: both found the same.
fn set<T>(fact: &OnceLock<T>, value: T) {
    let _ = fact.set(value);
}
