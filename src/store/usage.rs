//! How much of the disk the store takes.

use super::gc::{digest_of_name, files};
use super::{Freed, Result, Store};

/// What the store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The blobs that images reach.
    pub images: Freed,
    /// What [`Store::gc`] could remove at most: other blobs, records, layer indexes, trees, cache mounts.
    pub cache: Freed,
}

impl Store {
    /// Counts what is there. What other processes put or remove meanwhile may count or not.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub fn usage(&self) -> Result<Usage> {
        let reached = self.reach(self.images()?.into_iter().map(|root| root.digest))?;
        let mut usage = Usage::default();
        for path in files(&self.path("blobs/sha256"))? {
            match digest_of_name(&path).is_some_and(|digest| reached.contains(&digest)) {
                true => usage.images.add(&path),
                false => usage.cache.add(&path),
            }
        }
        for path in files(&self.path("entries"))? {
            if !digest_of_name(&path).is_some_and(|digest| reached.contains(&digest)) {
                usage.cache.add(&path);
            }
        }
        for directory in ["records", "stat"] {
            files(&self.path(directory))?.iter().for_each(|path| usage.cache.add(path));
        }
        for directory in ["trees", "caches"] {
            for kind in files(&self.path(directory))? {
                files(&kind)?.iter().for_each(|path| usage.cache.add(path));
            }
        }
        Ok(usage)
    }
}
