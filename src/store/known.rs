//! Images that somebody put here, with a name or without, and the repositories that have them too.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use fs_err as fs;

use super::{Error, Result, Store, read_if_there};
use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;

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

    /// Notes that `repository` has the image whose manifest or index is `root`: it was pushed there or pulled from
    /// there. Tag and digest of the reference do not count. That belongs to the content, not to a name: it outlives
    /// all names, and a build that makes the same image again has it again; it ends when [`gc`](Self::gc) removes the
    /// manifest.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_repo_digest(&self, repository: &Reference, root: &Digest) -> Result<()> {
        let _lock = self.lock_names()?;
        let mut names: BTreeSet<String> =
            self.repo_digests(root)?.iter().map(|reference| reference.name()).collect();
        if names.insert(repository.name()) {
            let text = serde_json::to_vec(&names).expect("texts can be written as JSON");
            self.replace(&self.repositories_path(root), &text)?;
        }
        Ok(())
    }

    /// Returns `repository@root` for each repository that has the image, sorted. A damaged file says nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn repo_digests(&self, root: &Digest) -> Result<Vec<Reference>> {
        let Some(text) = read_if_there(&self.repositories_path(root))? else { return Ok(Vec::new()) };
        let names: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
        Ok(names.iter().filter_map(|name| format!("{name}@{root}").parse().ok()).collect())
    }

    fn image_path(&self, root: &Digest) -> PathBuf {
        self.path("images").join(root.hex())
    }

    fn repositories_path(&self, root: &Digest) -> PathBuf {
        self.path("repositories").join(root.hex())
    }
}
