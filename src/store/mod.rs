//! The store: everything that kiln keeps between builds, in one directory that many processes use at once.
//!
//! ```text
//! <root>/v1/
//!   oci-layout  index.json     an OCI image layout, so that other tools can look in
//!   blobs/sha256/<hex>         manifests, configs, layers
//!   entries/<diff id hex>      the index of a layer: what it holds; outlives the blob
//!   blocks/<hex>               where the blocks of a layer's blob lie; opaque here
//!   records/<key hex>          what a cache key led to; opaque here
//!   names/<hex>                an image name and its manifest
//!   images/<hex>               an image that was built, loaded or pulled, with a name or without
//!   trees/<mapping>/<name>/    unpacked root file systems, below `root/`
//!   caches/<hex>/<number>/     cache mounts
//!   stat/<hex>                 what the files of a build context looked like last time
//!   seen/<hex>                 the repositories in which a blob has been seen
//!   scratch/<random>/          private to a running process, removed with it
//!   locks/                     files that are only locked
//! ```
//!
//! Rules:
//! - A `put` that returns means "it is there now": bytes go to a temporary file of the process's scratch
//!   directory (the same file system), are hashed on the way, and are renamed into place.
//! - Bytes are verified when they enter, when they are read through [`Verifying`], and by [`Store::check`].
//!   A blob of the wrong size is a miss, not an error.
//! - Nothing is synced per step. [`Store::tag`] syncs what the name reaches before the name is written: with
//!   fsync on each of these files, not syncfs, which would also wait for whatever RUN steps and other programs
//!   have written to the same file system. After a power failure an unnamed blob may be short: a miss.
//! - A build holds a [`Lease`]; [`Store::gc`] runs only when nobody holds one.
//! - Whoever works in a directory of `scratch/` holds a lock on it. A lock that is free belongs to a process
//!   that was killed: the next [`Store::open`] removes the directory.
//!
//! The store interprets no record and no layer; it fetches nothing and reads no clock.

mod blob;
mod cache_mount;
mod gc;
mod known;
mod lock;
mod name;
mod remove;
mod scratch;
mod seen;
mod tree;
mod usage;

use std::collections::HashSet;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fs_err as fs;

pub use self::blob::{BlobWriter, HashedWriter, Verifying};
pub use self::cache_mount::CacheMount;
pub use self::gc::Freed;
pub use self::lock::Lease;
pub use self::name::Named;
pub use self::remove::remove_tree;
pub use self::scratch::Scratch;
pub use self::tree::{TreeSlot, VacantTree};
pub use self::usage::Usage;

use crate::digest::{DiffId, Digest};
use crate::image::Blob;

/// The layout's version: part of the path, so that a later layout never meets this one.
const VERSION: &str = "v1";

/// A document larger than this is not read into memory; the limit of most registries for manifests.
pub const DOCUMENT_LIMIT_BYTES: u64 = 4 << 20;

/// What is written piece by piece goes to the disk in pieces of this length.
const FILE_BUFFER_BYTES: usize = 1 << 16;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused; the message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A blob is not here, or not with this size.
    #[error("blob {digest} of {size} bytes is not in the store")]
    Missing {
        /// Its digest.
        digest: Digest,
        /// The size that was asked for.
        size: u64,
    },
    /// Bytes are not what their descriptor says.
    #[error("expected {expected} of {expected_size} bytes, got {actual} of {actual_size} bytes")]
    Mismatch {
        /// The digest promised.
        expected: Digest,
        /// The size promised.
        expected_size: u64,
        /// The digest of what came.
        actual: Digest,
        /// The size of what came.
        actual_size: u64,
    },
    /// A document is too large to be one.
    #[error("document {digest} has {size} bytes, more than the limit of {DOCUMENT_LIMIT_BYTES}")]
    TooLarge {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// Another process works with the store.
    #[error("the store {path} is in use by a running build", path = path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
    },
    /// A file of the store's own bookkeeping is damaged.
    #[error("{path} is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// What the store's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An open store. Clones share the scratch directory of the process.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `<root>/v1`
    root: PathBuf,
    /// The blobs that this process has hashed and put in place.
    written: Mutex<HashSet<Digest>>,
    /// Where this process writes before it renames; declared last, nothing refers to it when it is dropped.
    scratch: Scratch,
}

impl Store {
    /// Opens the store in `root`, making it if it is not there, and removes what killed processes left
    /// behind.
    ///
    /// # Errors
    /// If a directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.join(VERSION);
        if !root.is_dir() {
            fs::create_dir_all(&root)?;
            // Unpacked trees may hold set-user-id programs: nobody else may reach them.
            fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700))?;
        }
        // Names in a process's own mounts and working directories must not depend on where it stands.
        let root = fs::canonicalize(root)?;
        for directory in [
            "blobs/sha256",
            "entries",
            "blocks",
            "records",
            "names",
            "images",
            "trees",
            "caches",
            "stat",
            "seen",
            "scratch",
            "locks",
        ] {
            fs::create_dir_all(root.join(directory))?;
        }
        scratch::remove_leftovers(&root.join("scratch"));
        let scratch = Scratch::create(&root.join("scratch"))?;
        let store = Self(Arc::new(Inner { root, written: Mutex::default(), scratch }));
        if !store.path("oci-layout").exists() {
            store.replace(&store.path("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        store.write_index_if_missing()?;
        Ok(store)
    }

    /// Returns the directory that is the OCI layout: `<root>/v1`, absolute.
    pub fn path_of_layout(&self) -> &Path {
        &self.0.root
    }

    /// Stores bytes and returns their digest.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        if self.has_size(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        self.replace(&self.blob_path(&digest), bytes)?;
        Ok(digest)
    }

    /// Begins a blob whose bytes come piece by piece.
    ///
    /// # Errors
    /// If no file can be made.
    pub fn writer(&self) -> Result<BlobWriter> {
        BlobWriter::create(self)
    }

    /// Begins a blob whose bytes come piece by piece, from someone who hashes them.
    ///
    /// # Errors
    /// If no file can be made.
    pub fn hashed_writer(&self) -> Result<HashedWriter> {
        HashedWriter::create(self)
    }

    /// Tells whether the blob is here with this size.
    pub fn contains(&self, blob: &Blob) -> bool {
        self.has_size(&blob.digest, blob.size)
    }

    fn has_size(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_path(digest))
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// Returns where the blob lies, if it is here.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.0.root.join("blobs/sha256").join(digest.hex())
    }

    /// Opens a blob for reading from its beginning, verified on the way.
    ///
    /// # Errors
    /// [`Error::Missing`] if it is not here with this size.
    pub fn open_blob(&self, blob: &Blob) -> Result<Verifying<fs::File>> {
        let missing = || Error::Missing { digest: blob.digest, size: blob.size };
        match fs::File::open(self.blob_path(&blob.digest)) {
            Ok(file) if file.metadata()?.len() == blob.size => {
                let written = self.0.written.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(Verifying::new(file, blob).proven(written.contains(&blob.digest)))
            }
            Ok(_) => Err(missing()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a document: a manifest, an index, a config.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::TooLarge`], [`Error::Mismatch`] if the bytes are damaged.
    pub fn read_blob(&self, blob: &Blob) -> Result<Vec<u8>> {
        if blob.size > DOCUMENT_LIMIT_BYTES {
            return Err(Error::TooLarge { digest: blob.digest, size: blob.size });
        }
        let mut reader = self.open_blob(blob)?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(blob::unwrap_mismatch)?;
        Ok(bytes)
    }

    /// Removes a blob that turned out to be damaged, so that it is a miss from now on. A missing one is no
    /// error.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        match fs::remove_file(self.blob_path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Stores the index of a layer, which `write` writes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_entries(
        &self,
        diff_id: DiffId,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        self.replace_with(&self.path("entries").join(diff_id.0.hex()), write)
    }

    /// Returns the index of a layer.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn entries(&self, diff_id: DiffId) -> Result<Option<Vec<u8>>> {
        read_if_there(&self.path("entries").join(diff_id.0.hex()))
    }

    /// Stores where the blocks of a layer's blob lie.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_blocks(&self, blob: &Digest, bytes: &[u8]) -> Result<()> {
        self.replace(&self.path("blocks").join(blob.hex()), bytes)
    }

    /// Returns where the blocks of a layer's blob lie.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn blocks(&self, blob: &Digest) -> Result<Option<Vec<u8>>> {
        read_if_there(&self.path("blocks").join(blob.hex()))
    }

    /// Stores what `key` led to, replacing an earlier record. Digests in it that must survive
    /// [`gc`](Self::gc) are written in their printed form, `sha256:<hex>`.
    ///
    /// Not synced: a record is a hint, and what it names is looked for when it is used.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put_record(&self, key: &Digest, bytes: &[u8]) -> Result<()> {
        self.replace(&self.path("records").join(key.hex()), bytes)
    }

    /// Returns the record of `key`, and notes for [`gc`](Self::gc) that it was used.
    ///
    /// # Errors
    /// If it is there but cannot be read.
    pub fn record(&self, key: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.path("records").join(key.hex());
        let bytes = read_if_there(&path)?;
        if bytes.is_some() {
            note_use(&path);
        }
        Ok(bytes)
    }

    /// Returns where it is remembered what the files of a context looked like; `key` names the context's directory.
    pub fn stat_cache_path(&self, key: &Digest) -> PathBuf {
        self.path("stat").join(key.hex())
    }

    /// Makes a directory that only this process uses and that is removed when the value is dropped.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn scratch(&self) -> Result<Scratch> {
        Ok(Scratch::create(&self.path("scratch"))?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.root.join(name)
    }

    /// Writes a whole file so that others see the old one or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.replace_with(path, |file| file.write_all(bytes))
    }

    fn replace_with(&self, path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let mut file = io::BufWriter::with_capacity(FILE_BUFFER_BYTES, self.temporary_file()?);
        write(&mut file)?;
        persist(file.into_inner().map_err(io::IntoInnerError::into_error)?, path)?;
        Ok(())
    }

    /// The same, and after a power failure too it is the old one or the new one.
    fn replace_synced(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut file = self.temporary_file()?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all())?;
        persist(file, path)?;
        Ok(())
    }

    fn temporary_file(&self) -> Result<tempfile::NamedTempFile> {
        Ok(tempfile::Builder::new().tempfile_in(self.0.scratch.path())?)
    }
}

/// Renames a finished temporary file into place.
fn persist(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    match file.persist(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::new(
            error.error.kind(),
            format!(
                "failed to rename {} to {}: {}",
                error.file.path().display(),
                path.display(),
                error.error
            ),
        )),
    }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets a file's mtime to now: the age that [`Store::gc`] goes by. Nothing is lost if it cannot be set.
fn note_use(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    let _ = utimensat(CWD, path, &times, AtFlags::empty());
}

#[cfg(test)]
mod tests;
