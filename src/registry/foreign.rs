//! Layers that lie elsewhere: what manifests say of blobs that a registry may not hold (`urls` of non-distributable
//! layers, image-spec descriptor.md).

use std::collections::HashMap;
use std::sync::Mutex;

use oci_spec::image::ImageManifest;

use super::lock;
use super::transport::Url;
use crate::digest::Digest;

/// The addresses that the manifests of this process have named.
#[derive(Default)]
pub(super) struct Foreign(Mutex<HashMap<Digest, Vec<Url>>>);

impl Foreign {
    /// Remembers the addresses of a manifest's layers.
    pub(super) fn note(&self, manifest: &ImageManifest) {
        for layer in manifest.layers() {
            let urls = layer.urls().iter().flatten().filter_map(|url| Url::parse(url).ok());
            let urls: Vec<Url> = urls.collect();
            if let Ok(digest) = layer.digest().to_string().parse()
                && !urls.is_empty()
            {
                lock(&self.0).insert(digest, urls);
            }
        }
    }

    /// Returns where a blob lies besides.
    pub(super) fn urls(&self, digest: &Digest) -> Vec<Url> {
        lock(&self.0).get(digest).cloned().unwrap_or_default()
    }
}
