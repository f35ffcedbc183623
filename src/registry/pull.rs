//! Whole images into the store: one platform of a name, or everything below it.

use std::collections::BTreeSet;

use super::error::Error;
use super::hosts::Endpoint;
use super::inspect::about;
use super::resolve::unusable;
use super::{Registry, in_turn, store_error};
use crate::assemble::{self, Document};
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

    /// Reads the manifest or index that a name stands for and every manifest below it, whatever they hold, and returns
    /// the root and what the manifests name: configs and layers, each once. Those are not fetched, but it is noted that
    /// the repository has them, so that [`Self::push`] can have them mounted, or fetch them.
    ///
    /// With a platform, the root is its manifest alone.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn survey(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Blob, Vec<Blob>), Error> {
        let endpoints = self.hosts.endpoints(reference)?;
        in_turn(&endpoints, &reference.to_string(), |endpoint| self.survey_at(endpoint, reference, platform))
    }

    fn survey_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Blob, Vec<Blob>), Error> {
        let mut root = match reference.digest {
            Some(digest) => digest,
            None => self.retry.ask(|| self.digest_of_tag(endpoint, &about(reference)))?,
        };
        if let Some(platform) = platform {
            root = self.manifest(endpoint, reference, root, platform)?.0;
        }
        let (mut left, mut documents, mut parts) = (vec![root], BTreeSet::new(), Vec::new());
        while let Some(digest) = left.pop() {
            if !documents.insert(digest) {
                continue;
            }
            let checked = |descriptor| {
                Blob::try_from(descriptor)
                    .map_err(|source| unusable(endpoint, assemble::Error::Digest { digest, source }))
            };
            match self.read(endpoint, &digest)? {
                Document::Index(index) => {
                    for entry in index.manifests() {
                        left.push(checked(entry)?.digest);
                    }
                }
                Document::Manifest(manifest) => {
                    self.foreign.note(&manifest);
                    for descriptor in manifest.layers().iter().chain([manifest.config()]) {
                        let blob = checked(descriptor)?;
                        // A hint that cannot be written is no reason to fail.
                        let _ = self.store.note_seen(&blob.digest, reference);
                        if !parts.contains(&blob) {
                            parts.push(blob);
                        }
                    }
                }
            }
        }
        Ok((self.described(&root)?, parts))
    }

    /// Returns the descriptor of a document that was just read.
    fn described(&self, digest: &Digest) -> Result<Blob, Error> {
        let missing = || crate::store::Error::Missing { digest: *digest, size: 0 };
        let bytes = self.stored(digest).ok_or_else(|| store_error(digest, missing()))?;
        let document = assemble::parse(*digest, &bytes).map_err(|error| store_error(digest, error))?;
        Ok(Blob { media_type: document.media_type(), digest: *digest, size: bytes.len() as u64 })
    }
}
