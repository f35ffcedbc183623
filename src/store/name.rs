//! Names of images, and the layout's `index.json` that shows them to other tools.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{Error, Result, Store, read_if_there};
use crate::digest::Digest;
use crate::image::Blob;
use crate::oci::REF_NAME;
use crate::reference::Reference;
use crate::time::Timestamp;

/// An image name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The name.
    pub reference: Reference,
    /// The manifest or index.
    pub blob: Blob,
    /// When the name was given.
    pub since: Timestamp,
}

/// A file of `names/`.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    blob: Blob,
}

impl Store {
    /// Gives a name to a manifest or index, taking it from whatever had it. What the name reaches is synced
    /// first, so a name never outlives a power failure that its image does not; that takes a disk's time, so
    /// it is not done again for a name that already stands for the blob.
    ///
    /// # Errors
    /// [`Error::Missing`] if the manifest is not here (layers need not be), or if a file cannot be written.
    pub fn tag(&self, reference: &Reference, blob: &Blob) -> Result<()> {
        if !self.contains(blob) {
            return Err(Error::Missing { digest: blob.digest, size: blob.size });
        }
        if self.resolve_name(reference).ok().flatten().as_ref() == Some(blob) {
            return Ok(());
        }
        self.sync(blob)?;
        self.add_image(blob)?;
        let stored = Stored { name: reference.to_string(), blob: blob.clone() };
        let path = self.name_path(reference);
        let text = serde_json::to_vec(&stored).expect("texts and numbers can be written as JSON");
        let _lock = self.lock_names()?;
        self.replace_synced(&path, &text)?;
        fs::File::open(self.path("names"))?.sync_all()?;
        self.write_index()
    }

    /// Returns what a name stands for.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn resolve_name(&self, reference: &Reference) -> Result<Option<Blob>> {
        let path = self.name_path(reference);
        let Some(text) = read_if_there(&path)? else { return Ok(None) };
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|source| Error::Damaged { path, source })?;
        Ok(Some(stored.blob))
    }

    /// Removes a name; tells whether it was there. With its last name the image goes too; its blobs stay until
    /// [`gc`](Self::gc).
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub fn untag(&self, reference: &Reference) -> Result<bool> {
        let _lock = self.lock_names()?;
        let blob = self.resolve_name(reference).ok().flatten();
        match fs::remove_file(self.name_path(reference)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if let Some(blob) = blob
            && !self.names()?.iter().any(|named| named.blob.digest == blob.digest)
        {
            self.forget_image(&blob.digest)?;
        }
        self.write_index()?;
        Ok(true)
    }

    /// Returns all names, sorted. A damaged file is left out: it names nothing.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn names(&self) -> Result<Vec<Named>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path("names"))? {
            let path = entry?.path();
            let Some(text) = read_if_there(&path)? else { continue };
            let Ok(stored) = serde_json::from_slice::<Stored>(&text) else { continue };
            let Ok(reference) = stored.name.parse() else { continue };
            let since = fs::metadata(&path).map_or(0, |metadata| metadata.mtime());
            names.push(Named { reference, blob: stored.blob, since: Timestamp(since) });
        }
        names.sort_by(|a, b| a.reference.cmp(&b.reference));
        Ok(names)
    }

    pub(super) fn write_index_if_missing(&self) -> Result<()> {
        if self.path("index.json").exists() {
            return Ok(());
        }
        let _lock = self.lock_names()?;
        self.write_index()
    }

    pub(super) fn lock_names(&self) -> Result<Lock> {
        Ok(Lock::exclusive(&self.path("locks/names"))?)
    }

    /// Writes `index.json` anew; the caller holds the lock.
    fn write_index(&self) -> Result<()> {
        let manifests: Vec<_> = self
            .names()?
            .into_iter()
            .map(|named| IndexEntry {
                annotations: BTreeMap::from([(REF_NAME, named.reference.familiar())]),
                media_type: named.blob.media_type,
                digest: named.blob.digest,
                size: named.blob.size,
            })
            .collect();
        let index =
            Index { schema_version: 2, media_type: "application/vnd.oci.image.index.v1+json", manifests };
        let text = serde_json::to_vec(&index).expect("texts and numbers can be written as JSON");
        self.replace_synced(&self.path("index.json"), &text)
    }

    /// A name may be longer than a file name: its digest is not.
    fn name_path(&self, reference: &Reference) -> PathBuf {
        self.path("names").join(Digest::of(reference.to_string()).hex())
    }

    /// Syncs a document and the blobs that it reaches, as far as they are here.
    fn sync(&self, blob: &Blob) -> Result<()> {
        for digest in self.reach([blob.digest])? {
            match fs::File::open(self.blob_path(&digest)) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        fs::File::open(self.path("blobs/sha256"))?.sync_all()?;
        Ok(())
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<IndexEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct IndexEntry {
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<&'static str, String>,
}
