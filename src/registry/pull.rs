//! Whole images into the store.

use std::collections::BTreeSet;

use super::Registry;
use super::error::Error;
use super::store_error;
use crate::assemble;
use crate::digest::Digest;
use crate::image::{Blob, Image};
use crate::oci::Platform;
use crate::reference::Reference;

/// An image that is in the store with all its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// What the name stands for: the manifest, or an index in which it is.
    pub digest: Digest,
    /// The manifest of the platform.
    pub manifest: Blob,
    /// The image.
    pub image: Image,
    /// The layers that the store lacked before.
    pub fetched: BTreeSet<Digest>,
}

impl Registry {
    /// Reads the image of a name for `platform`, and all its layers. `progress` is as in [`Self::fetch`]. No name is
    /// tagged: that is the caller's decision.
    ///
    /// # Errors
    /// As [`Self::resolve`] and [`Self::fetch`].
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Pulled, Error> {
        let (digest, image) = self.resolve_named(reference, platform)?;
        let layers: Vec<Blob> = image.layers.iter().map(|layer| layer.blob.clone()).collect();
        let lacking = layers.iter().filter(|layer| !self.store.contains(layer));
        let fetched = lacking.map(|layer| layer.digest).collect();
        self.fetch(reference, &layers, progress)?;
        let image = Image { remote: None, ..image };
        Ok(Pulled { digest, manifest: self.described(&image.manifest)?, image, fetched })
    }

    /// Returns the descriptor of a document that was just read.
    fn described(&self, digest: &Digest) -> Result<Blob, Error> {
        let missing = || crate::store::Error::Missing { digest: *digest, size: 0 };
        let bytes = self.stored(digest).ok_or_else(|| store_error(digest, missing()))?;
        let document = assemble::parse(*digest, &bytes).map_err(|error| store_error(digest, error))?;
        Ok(Blob { media_type: document.media_type(), digest: *digest, size: bytes.len() as u64 })
    }
}
