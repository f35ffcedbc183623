//! From a name to an image: manifest and config, no layer.

use super::document::{self, Document};
use super::error::Error;
use super::hosts::Endpoint;
use super::{Registry, in_turn, store_error};
use crate::digest::Digest;
use crate::image::{Blob, Image};
use crate::oci::Platform;
use crate::reference::{DEFAULT_TAG, Reference};
use crate::store::DOCUMENT_LIMIT_BYTES;

impl Registry {
    /// Reads the manifest and the config of an image for `platform`.
    ///
    /// A tag costs one HEAD request; documents that the store has are not read again, so a name with a digest
    /// may cost no request at all. The image's digest is that of the platform's manifest, not of the index.
    ///
    /// # Errors
    /// If neither the registry nor a mirror has it, if none of its manifests is for `platform`, or if the
    /// documents are not what their digests promise.
    pub fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Image, Error> {
        let endpoints = self.hosts.endpoints(reference)?;
        in_turn(&endpoints, &reference.to_string(), |endpoint| self.resolve_at(endpoint, reference, platform))
    }

    fn resolve_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Image, Error> {
        let named = match reference.digest {
            Some(digest) => digest,
            None => {
                let tag = reference.tag.as_deref().unwrap_or(DEFAULT_TAG);
                self.patience.ask(|| self.transport.digest_of_tag(endpoint, tag))?
            }
        };
        let no_image = |reason| Error::Protocol {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            reason,
        };
        let (digest, manifest) = match self.read(endpoint, &named)? {
            Document::Manifest(manifest) => (named, manifest),
            Document::Index(entries) => {
                let selected = document::select(&entries, platform).ok_or_else(|| Error::NoPlatform {
                    reference: reference.to_string(),
                    platform: platform.to_string(),
                    available: document::list(&entries),
                })?;
                match self.read(endpoint, &selected.digest)? {
                    Document::Manifest(manifest) => (selected.digest, manifest),
                    Document::Index(_) => return Err(no_image("an index within an index".into())),
                }
            }
        };
        let config = self.config(endpoint, &manifest.config)?;
        let mut image = manifest.image(digest, &config, reference).map_err(no_image)?;
        if image.layers.iter().all(|layer| self.store.contains(&layer.blob)) {
            image.remote = None;
        }
        Ok(image)
    }

    /// Returns a manifest or an index, from the store or through it.
    fn read(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Document, Error> {
        let bytes = match self.stored(digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.patience.ask(|| self.transport.manifest(endpoint, digest))?;
                let actual = Digest::of(&bytes);
                if actual != *digest {
                    return Err(Error::Mismatch {
                        host: endpoint.host.clone(),
                        repository: endpoint.repository.clone(),
                        digest: *digest,
                        actual: actual.to_string(),
                    });
                }
                self.store.put(&bytes).map_err(|error| store_error(digest, error))?;
                bytes
            }
        };
        Document::parse(&bytes).map_err(|reason| Error::Protocol {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            reason,
        })
    }

    fn config(&self, endpoint: &Endpoint, config: &Blob) -> Result<Vec<u8>, Error> {
        if config.size > DOCUMENT_LIMIT_BYTES {
            return Err(Error::Protocol {
                host: endpoint.host.clone(),
                repository: endpoint.repository.clone(),
                reason: format!("a config of {} bytes", config.size),
            });
        }
        if !self.store.contains(config) {
            self.download(endpoint, config, &mut |_| Ok(()))?;
        }
        self.store.read_blob(config).map_err(|error| store_error(&config.digest, error))
    }

    /// Returns a document by its digest alone: what names a manifest need not say its size.
    fn stored(&self, digest: &Digest) -> Option<Vec<u8>> {
        let size = fs_err::metadata(self.store.blob_path(digest)).ok()?.len();
        self.store.read_blob(&Blob { media_type: String::new(), digest: *digest, size }).ok()
    }
}
