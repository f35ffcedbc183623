//! Where the bytes of a snapshot's files lie, and getting hold of them: directories first, blobs if need be.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::error::Cause;
use super::imports::Place;
use super::inputs::Chosen;
use super::read_ahead::ReadAhead;
use super::{Snapshot, Workshop};
use crate::digest::DiffId;
use crate::image::Layer;
use crate::layer::{self, Item, Sink, index};
use crate::path::RelPath;
use crate::store::{Scratch, Store};
use crate::tree::list::Stored;
use crate::tree::{Bytes, Change, Changes, Entry, Kind, LinkGroup, Origin, Tree};

/// As many bytes of a layer's entries are read of a cache: some millions of files.
const ENTRIES_LIMIT_BYTES: u64 = 1 << 28;

/// A place that holds files of a tree at their paths in the tree.
pub(super) struct Located {
    pub(super) bytes: Bytes,
    /// Keeps the place alive, if it was made for this purpose.
    pub(super) scratch: Option<Scratch>,
}

impl Located {
    /// For a selection without files.
    pub(super) fn nowhere() -> Self {
        Self { bytes: nowhere(), scratch: None }
    }
}

/// The bytes of no file.
pub(super) fn nowhere() -> Bytes {
    Bytes::Inline(Arc::from([]))
}

/// Brings the selected files of a snapshot to one place: where they are, if that is one directory; else they are
/// collected from directories, contexts and blobs, each blob read once.
pub(super) fn locate(
    snapshot: &Arc<Snapshot>,
    chosen: &Chosen,
    workshop: &Workshop<'_>,
) -> Result<Located, Cause> {
    let mut wanted = BTreeSet::new();
    chosen.for_each(|path, _, entry| {
        if matches!(entry.kind, Kind::File { .. }) {
            wanted.insert(path);
        }
    });
    collect(snapshot, wanted, workshop)
}

/// Brings the files `wanted` of a snapshot to one place.
pub(super) fn collect(
    snapshot: &Arc<Snapshot>,
    wanted: BTreeSet<RelPath>,
    workshop: &Workshop<'_>,
) -> Result<Located, Cause> {
    let holders = holders(snapshot, wanted, workshop)?;
    if let [(holder, _)] = &holders[..]
        && let Some(directory) = holder.directory()
    {
        return Ok(Located { bytes: Bytes::Directory(Arc::new(directory.clone())), scratch: None });
    }
    if holders.is_empty() {
        return Ok(Located::nowhere());
    }
    let scratch = workshop.store.scratch()?;
    for (holder, paths) in holders {
        gather(holder, paths, scratch.path(), workshop)?;
    }
    Ok(Located { bytes: Bytes::Directory(Arc::new(scratch.path().to_owned())), scratch: Some(scratch) })
}

/// A snapshot of a stack, and the files whose content it brought.
type Held<'a> = (&'a Arc<Snapshot>, BTreeSet<RelPath>);

/// Tells for each file which snapshot of the stack brought its content: the topmost that holds the path.
fn holders<'a>(
    snapshot: &'a Arc<Snapshot>,
    mut wanted: BTreeSet<RelPath>,
    workshop: &Workshop<'_>,
) -> Result<Vec<Held<'a>>, Cause> {
    let mut holders = Vec::new();
    for holder in snapshot.stack().into_iter().rev() {
        if wanted.is_empty() {
            break;
        }
        let changes = holder.changes(workshop)?;
        let mut files = changes.list.finder();
        let mut held = BTreeSet::new();
        for path in &wanted {
            if files.find(path).is_some_and(Stored::is_file) {
                held.insert(path.clone());
            }
        }
        if !held.is_empty() {
            wanted.retain(|path| !held.contains(path));
            holders.push((holder, held));
        }
    }
    Ok(holders)
}

/// Copies files of one snapshot below `destination`, at their paths.
fn gather(
    holder: &Arc<Snapshot>,
    paths: BTreeSet<RelPath>,
    destination: &std::path::Path,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    for path in &paths {
        let parent = path.parent().unwrap_or_default();
        fs_err::create_dir_all(destination.join(parent.as_path()))?;
    }
    if let Some(directory) = holder.directory() {
        return paths.iter().try_for_each(|path| {
            let (from, to) = (directory.join(path.as_path()), destination.join(path.as_path()));
            // The scratch directory lies in the same store: a link costs nothing and nobody writes to it.
            fs_err::hard_link(&from, &to).or_else(|_| fs_err::copy(&from, &to).map(drop))?;
            Ok(())
        });
    }
    let changes = holder.changes(workshop)?;
    if holder.has_bytes() {
        let mut files = changes.list.finder();
        return paths.iter().try_for_each(|path| {
            let origin = files.find(path).expect("the holder has the path").origin();
            let to = destination.join(path.as_path());
            let origin = &changes.origins[usize::from(origin)];
            match &origin.bytes {
                Bytes::Directory(directory) => {
                    fs_err::copy(directory.join(origin.locate(path).as_path()), to)?;
                }
                Bytes::Inline(content) => fs_err::write(to, content)?,
            }
            Ok(())
        });
    }
    let mut picker =
        Picker { wanted: Some(with_links(paths, &changes)), destination: destination.to_owned() };
    read_blob(holder, workshop, &mut picker)?;
    Ok(())
}

/// Adds the other names of files that are hard links: a layer has the bytes under one of them only.
fn with_links(mut paths: BTreeSet<RelPath>, changes: &Changes) -> BTreeSet<RelPath> {
    let group = |entry: &Entry| match entry.kind {
        Kind::File { link, .. } => link,
        Kind::Directory
        | Kind::Symlink { .. }
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. }
        | Kind::Fifo => None,
    };
    let mut files = changes.list.finder();
    let groups: BTreeSet<LinkGroup> =
        paths.iter().filter_map(|path| group(&files.find(path)?.entry())).collect();
    if groups.is_empty() {
        return paths;
    }
    paths.extend(changes.list.iter().filter_map(|change| match change {
        Change::Upsert { path, entry, .. } => groups.contains(&group(&entry)?).then_some(path),
        Change::Whiteout { .. } | Change::Opaque { .. } => None,
    }));
    paths
}

/// Writes the files of a layer or an archive below a directory as they come by; nothing but files.
pub(super) struct Picker {
    /// Which files; all of them for `None`.
    pub(super) wanted: Option<BTreeSet<RelPath>>,
    pub(super) destination: PathBuf,
}

impl Sink for Picker {
    fn take(&mut self, path: &RelPath, item: Item<'_>) -> io::Result<()> {
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.contains(path)) {
            return Ok(());
        }
        match item {
            Item::File { content, .. } => self.write(path, content),
            Item::Link { target } => {
                let place = self.vacant(path)?;
                fs_err::hard_link(self.destination.join(target.as_path()), place)
            }
            Item::Entry { .. } | Item::Whiteout | Item::Opaque => Ok(()),
        }
    }
}

impl Picker {
    fn write(&self, path: &RelPath, content: &mut dyn Read) -> io::Result<()> {
        io::copy(content, &mut fs_err::File::create(self.vacant(path)?)?).map(drop)
    }

    /// Makes room for a file: of two members of one name the later counts, and what is a file here may have been
    /// a directory before.
    fn vacant(&self, path: &RelPath) -> io::Result<PathBuf> {
        for parent in path.ancestors() {
            let place = self.destination.join(parent.as_path());
            if place.symlink_metadata().is_ok_and(|metadata| !metadata.is_dir()) {
                fs_err::remove_file(&place)?;
            }
        }
        let place = self.destination.join(path.as_path());
        fs_err::create_dir_all(self.destination.join(path.parent().unwrap_or_default().as_path()))?;
        match place.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(&place)?,
            Ok(_) => fs_err::remove_file(&place)?,
            Err(_) => {}
        }
        Ok(place)
    }
}

/// Fetches every blob that must be read to know what the snapshots of `stack` changed.
pub(super) fn fetch_unknown(stack: &[&Arc<Snapshot>], workshop: &Workshop<'_>) -> Result<(), Cause> {
    fetch_entries(stack, workshop)?;
    let unknown = |snapshot: &&&Arc<Snapshot>| snapshot.known_changes(workshop).is_none();
    fetch(stack.iter().filter(unknown).copied(), workshop)
}

/// Fetches what caches say of the layers of `stack` that the store knows nothing of.
pub(super) fn fetch_entries(stack: &[&Arc<Snapshot>], workshop: &Workshop<'_>) -> Result<(), Cause> {
    workshop.pull_all(stack.iter().filter_map(|snapshot| {
        let (blob, place) = workshop.imports.place_of_entries(&snapshot.packed()?.diff_id)?;
        let missing = !workshop.store.contains(blob) && snapshot.known_changes(workshop).is_none();
        missing.then(|| Ok((place, blob.clone())))
    }))
}

/// Returns what a cache says is in a layer, if its blob is here.
pub(super) fn imported_entries(diff_id: DiffId, workshop: &Workshop<'_>) -> Option<Changes> {
    let (blob, _) = workshop.imports.place_of_entries(&diff_id)?;
    let reader = workshop.store.open_blob(blob).ok()?;
    let mut bytes = Vec::new();
    layer::decompress(reader).ok()?.take(ENTRIES_LIMIT_BYTES).read_to_end(&mut bytes).ok()?;
    index::decode(&bytes).ok()
}

/// Fetches the blobs of `snapshots` that the store lacks, all at once.
pub(super) fn fetch<'a>(
    snapshots: impl Iterator<Item = &'a Arc<Snapshot>>,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    workshop.pull_all(snapshots.filter_map(|snapshot| {
        let blob = &snapshot.packed()?.blob;
        let missing = !workshop.store.contains(blob);
        let remote = || snapshot.remote().ok_or(Cause::MissingBlob(blob.digest));
        missing.then(|| remote().map(|remote| (remote, blob.clone())))
    }))
}

/// Reads a packed layer once to know what it changed, and keeps that beside it.
pub(super) fn read_layer(snapshot: &Snapshot, workshop: &Workshop<'_>) -> Result<Arc<Changes>, Cause> {
    let changes = read_blob(snapshot, workshop, &mut layer::Discard)?;
    keep_changes(snapshot, changes, workshop)
}

/// Takes every file of a packed layer out of it: what it changed, with the scratch directory as the place of the
/// bytes.
pub(super) fn take_out(
    snapshot: &Snapshot,
    workshop: &Workshop<'_>,
) -> Result<(Arc<Changes>, Option<Scratch>), Cause> {
    let scratch = workshop.store.scratch()?;
    let mut picker = Picker { wanted: None, destination: scratch.path().to_owned() };
    let mut changes = read_blob(snapshot, workshop, &mut picker)?;
    changes.origins = vec![Origin::whole(scratch.path())];
    Ok((Arc::new(changes), Some(scratch)))
}

/// Keeps what reading a layer's blob has shown.
pub(super) fn keep_changes(
    snapshot: &Snapshot,
    changes: Changes,
    workshop: &Workshop<'_>,
) -> Result<Arc<Changes>, Cause> {
    let layer = snapshot.packed().expect("only packed layers are read");
    workshop.store.put_entries(layer.diff_id, |out| index::write(&changes, out))?;
    let changes = Arc::new(changes);
    snapshot.set_changes(changes.clone());
    Ok(changes)
}

/// Streams a packed layer into `sink`, and verifies that it holds the bytes that its image names.
pub(super) fn read_blob(
    snapshot: &Snapshot,
    workshop: &Workshop<'_>,
    sink: &mut dyn Sink,
) -> Result<Changes, Cause> {
    with_tar(snapshot, workshop, |tar| Ok(layer::read(tar, sink)?))
}

/// Has `take` read the tar of a packed layer and find its diff id, and verifies that it is the one that its image names.
pub(super) fn with_tar<T>(
    snapshot: &Snapshot,
    workshop: &Workshop<'_>,
    take: impl FnOnce(&mut dyn Read) -> Result<(T, DiffId), Cause>,
) -> Result<T, Cause> {
    let layer = snapshot.packed().expect("only packed layers are read").clone();
    if !workshop.store.contains(&layer.blob) {
        let remote = snapshot.remote().ok_or(Cause::MissingBlob(layer.blob.digest))?;
        workshop.pull(remote, std::slice::from_ref(&layer.blob))?;
    }
    read_stored(workshop.store, &layer, take).map_err(|cause| match (cause, snapshot.remote()) {
        (cause @ Cause::DiffId { .. }, Some(Place { origin, cache: Some(cache) })) => {
            Cause::Import { cache: *cache, name: origin.shown(), source: Box::new(cause) }
        }
        (cause, _) => cause,
    })
}

/// Returns the bytes of a layer's files, each hard link's once: what docker calls a layer's size. A layer that
/// nobody has read yet is read, and what it holds is kept beside it.
///
/// # Errors
/// If the store lacks the layer, or it is damaged.
pub fn unpacked_size(store: &Store, layer: &Layer) -> Result<u64, Cause> {
    let known = store.entries(layer.diff_id)?.and_then(|bytes| index::decode(&bytes).ok());
    let changes = match known {
        Some(changes) => changes,
        None => {
            let changes = read_stored(store, layer, |tar| Ok(layer::read(tar, &mut layer::Discard)?))?;
            store.put_entries(layer.diff_id, |out| index::write(&changes, out))?;
            changes
        }
    };
    let mut groups = BTreeSet::new();
    let size = |change: Change| match change {
        Change::Upsert { entry: Entry { kind: Kind::File { size, link, .. }, .. }, .. } => {
            let is_first = link.is_none_or(|group| groups.insert(group));
            if is_first { size } else { 0 }
        }
        Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => 0,
    };
    Ok(changes.list.iter().map(size).sum())
}

/// Has `take` read the tar of a layer of the store and find its diff id, and verifies that it is the one that `layer` names.
fn read_stored<T>(
    store: &Store,
    layer: &Layer,
    take: impl FnOnce(&mut dyn Read) -> Result<(T, DiffId), Cause>,
) -> Result<T, Cause> {
    // The diff id finds damage of what this process has hashed when it wrote it.
    let blob = store.open_blob(&layer.blob)?.hashed_once();
    // One thread verifies the blob and decompresses it, this one hashes and takes apart what comes of it.
    let (taken, found) =
        std::thread::scope(|scope| take(&mut ReadAhead::start(scope, layer::decompress(blob)?)))?;
    if found != layer.diff_id {
        return Err(Cause::DiffId { blob: layer.blob.digest, expected: layer.diff_id, found });
    }
    Ok(taken)
}

/// Reads one small file of a root file system; `None` if there is none.
pub(super) fn read_file(
    snapshot: &Arc<Snapshot>,
    view: &Tree,
    path: &RelPath,
    workshop: &Workshop<'_>,
) -> Result<Option<Vec<u8>>, Cause> {
    let Ok(path) = view.resolve(path, true) else { return Ok(None) };
    if !matches!(view.get(&path), Some(Entry { kind: Kind::File { .. }, .. })) {
        return Ok(None);
    }
    let located = collect(snapshot, BTreeSet::from([path.clone()]), workshop)?;
    match &located.bytes {
        Bytes::Directory(directory) => Ok(Some(fs_err::read(directory.join(path.as_path()))?)),
        Bytes::Inline(content) => Ok(Some(content.to_vec())),
    }
}
