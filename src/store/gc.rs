//! What the store may forget, and whether what it holds is whole.
//!
//! Reachability is conservative: whatever is printed as `sha256:<hex>` in a reachable document or record is
//! reachable, be it a blob, a layer's index, its blocks or a record. So this room need not understand records, and a
//! document of a kind that is unknown today keeps what it names.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::cache_mount::lock_path_of;
use super::{DOCUMENT_LIMIT_BYTES, Result, Store, scratch};
use crate::digest::{Digest, Hasher};
use crate::time::Timestamp;

/// What [`Store::gc`] removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freed {
    /// Files and directories.
    pub count: u64,
    /// Bytes of their content.
    pub size: u64,
}

impl Store {
    /// Removes what no image reaches and nothing has used since `keep_since`: records, and then blobs and
    /// layer indexes and blocks that neither an image nor a remaining record reaches; trees, cache mounts, stat caches
    /// and notes of where blobs were seen by their own last use.
    ///
    /// # Errors
    /// [`Error::InUse`](super::Error::InUse) while anybody, this process included, holds a lease; or if a file
    /// cannot be read or removed.
    pub fn gc(&self, keep_since: Timestamp) -> Result<Freed> {
        let _exclusive = self.lock_for_gc()?;
        scratch::remove_leftovers(&self.path("scratch"));
        let mut freed = Freed::default();
        let mut roots: BTreeSet<Digest> = self.images()?.into_iter().map(|root| root.digest).collect();
        for path in files(&self.path("records"))? {
            if is_older(&path, keep_since) {
                freed.file(&path)?;
            } else {
                roots.extend(digests_in(&fs::read(&path)?));
            }
        }
        let reached = self.reach(roots)?;
        let is_reached = |path: &Path| digest_of_name(path).is_some_and(|digest| reached.contains(&digest));
        for directory in ["blobs/sha256", "entries", "blocks"] {
            for path in files(&self.path(directory))? {
                if !is_reached(&path) {
                    freed.file(&path)?;
                }
            }
        }
        for directory in ["stat", "seen"] {
            for path in files(&self.path(directory))? {
                if is_older(&path, keep_since) && !is_reached(&path) {
                    freed.file(&path)?;
                }
            }
        }
        self.gc_directories(keep_since, &mut freed)?;
        Ok(freed)
    }

    fn gc_directories(&self, keep_since: Timestamp, freed: &mut Freed) -> Result<()> {
        for mapping in files(&self.path("trees"))? {
            for tree in files(&mapping)? {
                if is_older(&tree, keep_since) {
                    freed.add(&tree);
                    self.discard(&tree)?;
                }
            }
        }
        for cache in files(&self.path("caches"))? {
            for directory in files(&cache)?.into_iter().filter(|path| path.is_dir()) {
                let lock = lock_path_of(&directory);
                if is_older(&lock, keep_since) {
                    freed.add(&directory);
                    self.discard(&directory)?;
                    fs::remove_file(lock)?;
                }
            }
            // Fails while another directory of the cache is left, which is right.
            let _ = fs::remove_dir(&cache);
        }
        for lock in files(&self.path("locks"))? {
            let is_of_tree =
                lock.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tree-"));
            if is_of_tree && is_older(&lock, keep_since) {
                fs::remove_file(lock)?;
            }
        }
        Ok(())
    }

    /// Reads every blob and returns those whose bytes are not what their name says.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn check(&self) -> Result<Vec<PathBuf>> {
        let mut damaged = Vec::new();
        for path in files(&self.path("blobs/sha256"))? {
            let mut hasher = Hasher::new();
            match fs::File::open(&path).and_then(|mut file| io::copy(&mut file, &mut hasher)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            }
            if digest_of_name(&path) != Some(hasher.finish()) {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }

    /// Returns the digests that the documents among `roots` reach, and the roots themselves.
    pub(super) fn reach(&self, roots: impl IntoIterator<Item = Digest>) -> Result<BTreeSet<Digest>> {
        let mut reached = BTreeSet::new();
        let mut left: Vec<Digest> = roots.into_iter().collect();
        while let Some(digest) = left.pop() {
            if reached.insert(digest)
                && let Some(document) = read_document(&self.blob_path(&digest))?
            {
                left.extend(digests_in(&document));
            }
        }
        Ok(reached)
    }
}

impl Freed {
    fn file(&mut self, path: &Path) -> Result<()> {
        self.add(path);
        fs::remove_file(path)?;
        Ok(())
    }

    /// Counts what is about to be removed; a file with several links once per link.
    pub(super) fn add(&mut self, path: &Path) {
        self.count += 1;
        for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                self.size += metadata.len();
            }
        }
    }
}

/// The paths in a directory, sorted.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A file that is gone is not older: somebody else removed it.
fn is_older(path: &Path, than: Timestamp) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.mtime() < than.0)
}

pub(super) fn digest_of_name(path: &Path) -> Option<Digest> {
    Digest::from_hex(path.file_name()?.to_str()?).ok()
}

/// Returns the bytes of a blob that may be a document: small, and an object of JSON.
fn read_document(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.len() > DOCUMENT_LIMIT_BYTES {
        return Ok(None);
    }
    let mut reader = io::BufReader::new(file);
    let mut bytes = vec![0; 1];
    if reader.read(&mut bytes)? == 0 || bytes != b"{" {
        return Ok(None);
    }
    reader.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Finds every `sha256:<hex>` in some bytes.
fn digests_in(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    const PREFIX: &[u8] = b"sha256:";
    let starts = bytes.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    starts.filter_map(|(start, _)| {
        let begin = start + PREFIX.len();
        let hex = std::str::from_utf8(bytes.get(begin..begin + 64)?).ok()?;
        Digest::from_hex(hex).ok()
    })
}
