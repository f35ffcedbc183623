//! Images that somebody put here, with a name or without.

use std::io;
use std::path::PathBuf;

use fs_err as fs;

use super::{Error, Result, Store, read_if_there};
use crate::digest::Digest;
use crate::image::Blob;

impl Store {
    /// Notes that an image was built, loaded or pulled here: from now on [`gc`](Self::gc) keeps it, also when no
    /// name is left, until its last name is [removed](Self::untag) or it is [forgotten](Self::forget_image).
    ///
    /// # Errors
    /// [`Error::Missing`] if the manifest is not here, or if a file cannot be written.
    pub fn add_image(&self, root: &Blob) -> Result<()> {
        if !self.contains(root) {
            return Err(Error::Missing { digest: root.digest, size: root.size });
        }
        let path = self.image_path(&root.digest);
        if path.exists() {
            return Ok(());
        }
        self.replace(&path, &serde_json::to_vec(root).expect("a descriptor is plain data"))
    }

    /// Lets [`gc`](Self::gc) have an image that no name stands for; tells whether it was known.
    ///
    /// # Errors
    /// If its file cannot be removed.
    pub fn forget_image(&self, root: &Digest) -> Result<bool> {
        match fs::remove_file(self.image_path(root)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the roots of all images, sorted by digest: those with names and those without. A damaged file is left
    /// out.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn images(&self) -> Result<Vec<Blob>> {
        let mut roots: Vec<Blob> = self.names()?.into_iter().map(|named| named.blob).collect();
        for entry in fs::read_dir(self.path("images"))? {
            let Some(text) = read_if_there(&entry?.path())? else { continue };
            roots.extend(serde_json::from_slice::<Blob>(&text));
        }
        roots.sort_by_key(|root| root.digest);
        roots.dedup_by_key(|root| root.digest);
        Ok(roots)
    }

    fn image_path(&self, root: &Digest) -> PathBuf {
        self.path("images").join(root.hex())
    }
}
