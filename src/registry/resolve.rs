//! From a name to an image or something else that has a manifest and a config: those two, no layer.

use oci_spec::image::ImageManifest;

use super::error::Error;
use super::hosts::Endpoint;
use super::transport::{CONTENT_DIGEST, Method, Request, header, protocol};
use super::{Registry, in_turn, store_error, wrong_bytes};
use crate::assemble::{self, Document};
use crate::digest::Digest;
use crate::image::{Blob, Image};
use crate::oci::{Platform, select_platform};
use crate::reference::{DEFAULT_TAG, Reference};
use crate::store::DOCUMENT_LIMIT_BYTES;

/// Every kind of document that [`assemble::parse`] reads.
const MANIFEST_TYPES: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, ",
    "application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.docker.distribution.manifest.v2+json"
);

/// As deep as [`assemble::read`] goes.
const NESTING_LIMIT: usize = 4;

/// What an image begins with.
struct Documents {
    /// What the name stands for: the manifest, or an index in which it is.
    named: Digest,
    digest: Digest,
    manifest: ImageManifest,
    config: Vec<u8>,
}

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
        self.resolve_named(reference, platform).map(|(_, image)| image)
    }

    /// The same, with the digest of what the name stands for: the image's manifest, or an index in which it is.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub fn resolve_named(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(Digest, Image), Error> {
        let endpoints = self.hosts.endpoints(reference)?;
        in_turn(&endpoints, &reference.to_string(), |endpoint| {
            let unusable = |source| unusable(endpoint, source);
            let Documents { named, digest, manifest, config } =
                self.documents_at(endpoint, reference, platform, assemble::config_of)?;
            let mut image = assemble::image_of(digest, &manifest, &config).map_err(unusable)?;
            if !image.layers.iter().all(|layer| self.store.contains(&layer.blob)) {
                image.remote = Some(reference.clone());
            }
            // For pushes: a registry can mount what it has. A note that cannot be written is no reason to fail.
            let documents = [&image.id, &digest, &named];
            for digest in image.layers.iter().map(|layer| &layer.blob.digest).chain(documents) {
                let _ = self.store.note_seen(digest, reference);
            }
            self.foreign.note(&manifest);
            Ok((named, image))
        })
    }

    /// Reads a manifest, the one for `platform` if there are several, and the bytes of its config, whatever they are.
    ///
    /// # Errors
    /// If no endpoint serves it.
    pub fn documents(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<(ImageManifest, Vec<u8>), Error> {
        let endpoints = self.hosts.endpoints(reference)?;
        in_turn(&endpoints, &reference.to_string(), |endpoint| {
            let any = |digest, manifest: &ImageManifest| assemble::blob_of(digest, manifest.config());
            let documents = self.documents_at(endpoint, reference, platform, any)?;
            Ok((documents.manifest, documents.config))
        })
    }

    /// `config_of` finds the config, or refuses what is not wanted before more of it is asked for.
    fn documents_at(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        platform: &Platform,
        config_of: impl Fn(Digest, &ImageManifest) -> Result<Blob, assemble::Error>,
    ) -> Result<Documents, Error> {
        let named = match reference.digest {
            Some(digest) => digest,
            None => {
                let tag = reference.tag.as_deref().unwrap_or(DEFAULT_TAG);
                self.retry.ask(|| self.digest_of_tag(endpoint, tag))?
            }
        };
        let (digest, manifest) = self.manifest(endpoint, reference, named, platform)?;
        let config = config_of(digest, &manifest).map_err(|source| unusable(endpoint, source))?;
        let config = self.config(endpoint, &config)?;
        Ok(Documents { named, digest, manifest, config })
    }

    /// Follows indexes to the manifest for `platform`.
    pub(super) fn manifest(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        named: Digest,
        platform: &Platform,
    ) -> Result<(Digest, ImageManifest), Error> {
        let mut digest = named;
        for _ in 0..NESTING_LIMIT {
            match self.read(endpoint, &digest)? {
                Document::Manifest(manifest) => return Ok((digest, *manifest)),
                Document::Index(index) => {
                    let selected = select_platform(&index, platform).map_err(|source| Error::NoPlatform {
                        reference: reference.to_string(),
                        source: Box::new(source),
                    })?;
                    digest = assemble::blob_of(digest, selected)
                        .map_err(|source| unusable(endpoint, source))?
                        .digest;
                }
            }
        }
        Err(unusable(endpoint, assemble::Error::Nested { digest: named }))
    }

    /// Returns a manifest or an index, from the store or through it.
    pub(super) fn read(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Document, Error> {
        let bytes = match self.stored(digest) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.retry.ask(|| self.ask_for_manifest(endpoint, &digest.to_string()))?;
                let actual = Digest::of(&bytes);
                if actual != *digest {
                    return Err(wrong_bytes(endpoint, *digest, actual.to_string()));
                }
                self.store.put(&bytes).map_err(|error| store_error(digest, error))?;
                bytes
            }
        };
        assemble::parse(*digest, &bytes).map_err(|source| unusable(endpoint, source))
    }

    /// Asks which manifest or index a tag names. A HEAD request, which rate limits do not count as a pull.
    pub(super) fn digest_of_tag(&self, endpoint: &Endpoint, tag: &str) -> Result<Digest, Error> {
        let answer = self.transport.send(endpoint, &manifest_request(Method::HEAD, endpoint, tag))?;
        match answer.header(&CONTENT_DIGEST) {
            Some(digest) => {
                digest.parse().map_err(|_| protocol(endpoint, format!("`{digest}` is not a sha256 digest")))
            }
            // The header is optional (distribution-spec, "pulling manifests"); the bytes are not.
            None => self.ask_for_manifest(endpoint, tag).map(Digest::of),
        }
    }

    /// Reads a manifest or an index.
    pub(super) fn ask_for_manifest(&self, endpoint: &Endpoint, reference: &str) -> Result<Vec<u8>, Error> {
        let answer = self.transport.send(endpoint, &manifest_request(Method::GET, endpoint, reference))?;
        let bytes = answer.read(DOCUMENT_LIMIT_BYTES)?;
        if bytes.len() as u64 > DOCUMENT_LIMIT_BYTES {
            return Err(too_large(endpoint, "a manifest", bytes.len() as u64));
        }
        Ok(bytes)
    }

    pub(super) fn config(&self, endpoint: &Endpoint, config: &Blob) -> Result<Vec<u8>, Error> {
        if config.size > DOCUMENT_LIMIT_BYTES {
            return Err(too_large(endpoint, "a config", config.size));
        }
        if !self.store.contains(config) {
            self.download(endpoint, config, &mut |_| Ok(()))?;
        }
        self.store.read_blob(config).map_err(|error| store_error(&config.digest, error))
    }

    /// Returns a document by its digest alone: what names a manifest need not say its size.
    pub(super) fn stored(&self, digest: &Digest) -> Option<Vec<u8>> {
        let size = fs_err::metadata(self.store.blob_path(digest)).ok()?.len();
        self.store.read_blob(&Blob { media_type: String::new(), digest: *digest, size }).ok()
    }
}

pub(super) fn manifest_request(method: Method, endpoint: &Endpoint, reference: &str) -> Request {
    Request::new(method, endpoint, &format!("manifests/{reference}"), reference)
        .header(header::ACCEPT, MANIFEST_TYPES)
}

pub(super) fn unusable(endpoint: &Endpoint, source: assemble::Error) -> Error {
    Error::Document {
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        source: Box::new(source),
    }
}

pub(super) fn too_large(endpoint: &Endpoint, what: &str, size: u64) -> Error {
    Error::Protocol {
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        reason: format!("{what} of {size} bytes"),
    }
}
