//! From documents back to an image.

use oci_spec::image::{ImageIndex, ImageManifest};
use serde::Deserialize;

use super::Error;
use crate::digest::Digest;
use crate::image::{Blob, Image, Layer};
use crate::oci::media_type::Flavor;
use crate::oci::{ImageConfig, Platform, media_type, select_platform};
use crate::store::Store;

/// What a root descriptor can lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image of one platform.
    Manifest(Box<ImageManifest>),
    /// Images of several platforms.
    Index(Box<ImageIndex>),
}

impl Document {
    /// Returns its media type: OCI's documents need not say it.
    pub fn media_type(&self) -> String {
        let (said, default) = match self {
            Self::Manifest(manifest) => (manifest.media_type(), media_type::MANIFEST),
            Self::Index(index) => (index.media_type(), media_type::INDEX),
        };
        said.as_ref().map_or_else(|| default.to_owned(), ToString::to_string)
    }
}

/// An index in an index is allowed; deeper ones are somebody's mistake or malice.
const NESTING_LIMIT: usize = 4;

/// Reads an image from the store: the root is its manifest, or an index from which the platform is chosen.
/// Layers need not be there.
///
/// # Errors
/// If a document is missing, damaged, or has no image for the platform.
pub fn read(store: &Store, root: &Blob, platform: &Platform) -> Result<Image, Error> {
    let (blob, manifest) = select(store, root, platform)?;
    let config = store.read_blob(&config_of(blob.digest, &manifest)?)?;
    image_of(blob.digest, &manifest, &config)
}

/// Finds the manifest for a platform: the root itself if it is one, else the one that its index names.
///
/// # Errors
/// As [`read`].
pub fn select(store: &Store, root: &Blob, platform: &Platform) -> Result<(Blob, ImageManifest), Error> {
    let mut blob = root.clone();
    for _ in 0..NESTING_LIMIT {
        match parse(blob.digest, &store.read_blob(&blob)?)? {
            Document::Index(index) => blob = blob_of(blob.digest, select_platform(&index, platform)?)?,
            Document::Manifest(manifest) => return Ok((blob, *manifest)),
        }
    }
    Err(Error::Nested { digest: root.digest })
}

/// Reads a manifest or an index, OCI's or Docker's; `digest` is for the error.
///
/// # Errors
/// If it is neither.
pub fn parse(digest: Digest, bytes: &[u8]) -> Result<Document, Error> {
    /// Enough to tell the kinds apart; `mediaType` may be missing in OCI's documents.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        #[serde(default)]
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let json = |what| move |source| Error::Json { what, digest, source };
    let kind: Kind = serde_json::from_slice(bytes).map_err(json("manifest"))?;
    let is_index = kind.media_type.as_deref().map_or(kind.manifests.is_some(), media_type::is_index);
    let is_manifest = kind.media_type.as_deref().is_none_or(media_type::is_manifest);
    if kind.schema_version != 2 || !(is_index || is_manifest) {
        let media_type = kind.media_type.unwrap_or_else(|| format!("schema {}", kind.schema_version));
        return Err(Error::NotAnImage { digest, media_type });
    }
    // Go programs write their nil lists as null: an image without layers, an index without images.
    let mut value: serde_json::Value = serde_json::from_slice(bytes).map_err(json("manifest"))?;
    for list in ["layers", "manifests"] {
        if let Some(list) = value.get_mut(list).filter(|list| list.is_null()) {
            *list = serde_json::Value::Array(Vec::new());
        }
    }
    if is_index {
        serde_json::from_value(value).map(Document::Index).map_err(json("index"))
    } else {
        serde_json::from_value(value).map(Document::Manifest).map_err(json("manifest"))
    }
}

/// Returns the config of an image's manifest.
///
/// # Errors
/// If the manifest holds something else than an image, or names the config by something else than sha256.
pub fn config_of(digest: Digest, manifest: &ImageManifest) -> Result<Blob, Error> {
    let blob = blob_of(digest, manifest.config())?;
    // What old versions of docker and of registries wrote for an image's config (distribution issue 1621).
    let unspecific = ["", "application/octet-stream", "application/json", "text/html"];
    if Flavor::Oci.of(&blob.media_type) != media_type::CONFIG
        && !unspecific.contains(&blob.media_type.as_str())
    {
        let kind = manifest.artifact_type().as_ref().map_or(blob.media_type, ToString::to_string);
        return Err(Error::Artifact { digest, kind });
    }
    Ok(blob)
}

/// Makes an image of a manifest and the bytes of its config.
///
/// # Errors
/// If they are damaged or contradict each other.
pub fn image_of(digest: Digest, manifest: &ImageManifest, config: &[u8]) -> Result<Image, Error> {
    let config_digest = config_of(digest, manifest)?.digest;
    let config: ImageConfig = serde_json::from_slice(config).map_err(|source| Error::Json {
        what: "image config",
        digest: config_digest,
        source,
    })?;
    let (blobs, diff_ids) = (manifest.layers(), &config.rootfs.diff_ids);
    if blobs.len() != diff_ids.len() {
        return Err(Error::LayerCount { digest, layers: blobs.len(), diff_ids: diff_ids.len() });
    }
    let layers = blobs
        .iter()
        .zip(diff_ids)
        .map(|(descriptor, diff_id)| Ok(Layer { blob: blob_of(digest, descriptor)?, diff_id: *diff_id }))
        .collect::<Result<_, Error>>()?;
    Ok(Image { manifest: digest, id: config_digest, config, layers, remote: None })
}

/// Returns the blob that a descriptor of `document` names.
///
/// # Errors
/// If it names it by something else than sha256.
pub fn blob_of(document: Digest, descriptor: &oci_spec::image::Descriptor) -> Result<Blob, Error> {
    Blob::try_from(descriptor).map_err(|source| Error::Digest { digest: document, source })
}
