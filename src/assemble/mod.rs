//! The documents of an image: the one place that writes config, manifest and index, and that reads them back.
//!
//! In: what the Dockerfile declares (config, history) and what the build made (layers, times). Out: blobs in
//! the store and an [`Image`].
//!
//! Rules:
//! - The bytes depend on the arguments alone: JSON without spaces, maps sorted, no clock.
//! - The history has as many entries with a layer as there are layers; what a base left out is invented.
//! - Times are clamped to the epoch, never raised, and a base's own entries are left alone.
//!
//! It makes no layer and looks into none.

mod history;
mod read;

use std::collections::{BTreeMap, HashMap};

use oci_spec::image::{
    Arch, Descriptor, DescriptorBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, Os,
    PlatformBuilder,
};
use serde::Serialize;

pub use self::history::NewEntry;
pub use self::read::{Document, blob_of, config_of, image_of, parse, read, select};
pub use crate::oci::media_type::Flavor;

use crate::digest::{self, Digest};
use crate::image::{Blob, Image, Layer};
use crate::oci::{ImageConfig, NoPlatform, Platform, media_type};
use crate::store::{self, Store};
use crate::time::Timestamp;

/// Why documents could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A config does not say what it is for; the specification requires it.
    #[error("the image config has no `{field}`")]
    Incomplete {
        /// The missing field.
        field: &'static str,
    },
    /// The history has more new layers than there are layers.
    #[error("{layers} layers for {new} new history entries with a layer")]
    MissingLayers {
        /// The layers given.
        layers: usize,
        /// The entries that need one.
        new: usize,
    },
    /// A document is not the JSON that it should be.
    #[error("cannot read {what} {digest}")]
    Json {
        /// Manifest, index or config.
        what: &'static str,
        /// The document.
        digest: Digest,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A document names something by a digest that is not sha256.
    #[error("cannot read {digest}")]
    Digest {
        /// The document.
        digest: Digest,
        /// The digest it names.
        #[source]
        source: digest::ParseError,
    },
    /// A manifest is of a kind that holds no image, for example Docker's schema 1.
    #[error("{digest} is no image manifest but {}", describe_kind(media_type))]
    NotAnImage {
        /// The document.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// A manifest holds something else than an image: a chart, a signature, a plugin.
    #[error("{digest} is no image but an artifact of the type `{kind}`")]
    Artifact {
        /// The manifest.
        digest: Digest,
        /// Its artifact type, or its config's media type.
        kind: String,
    },
    /// Manifest and config contradict each other.
    #[error("the manifest {digest} has {layers} layers, its config {diff_ids}")]
    LayerCount {
        /// The manifest.
        digest: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
    /// An index has no image for the platform.
    #[error(transparent)]
    Platform(#[from] NoPlatform),
    /// Indexes name indexes without end.
    #[error("the index {digest} is nested too deeply")]
    Nested {
        /// The index.
        digest: Digest,
    },
}

/// Docker's manifests before 2016, signed or not.
const SCHEMA_1: [&str; 3] = [
    "schema 1",
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

fn describe_kind(media_type: &str) -> String {
    if SCHEMA_1.contains(&media_type) {
        "of Docker's schema 1, the form of before 2016, which kiln does not read: build it again, or have a tool that \
         still reads it copy it, such as skopeo with `--format v2s2`"
            .to_owned()
    } else {
        format!("`{media_type}`")
    }
}

/// What an image is assembled from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The config without times and diff ids; its history holds the base's entries.
    pub config: ImageConfig,
    /// All layers, base first.
    pub layers: Vec<Layer>,
    /// What the build adds to the history; as many entries with a layer as there are new layers.
    pub history: Vec<NewEntry>,
    /// The image's time; `None` for that of the last history entry that has one, as BuildKit does.
    pub created: Option<Timestamp>,
    /// `SOURCE_DATE_EPOCH`: the latest time that may be written, except in the base's history.
    pub epoch: Option<Timestamp>,
    /// Annotations of the manifest. Docker's manifests have none: they are dropped there.
    pub annotations: BTreeMap<String, String>,
    /// Whose media types are written.
    pub flavor: Flavor,
}

/// An image whose documents are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// The image, its layers with the flavor's media types.
    pub image: Image,
    /// The manifest: the root of the image.
    pub manifest: Blob,
    /// The config: what docker calls the image id.
    pub config: Blob,
}

/// Writes config and manifest of an image into the store.
///
/// # Errors
/// If the parts contradict each other, or the store fails.
pub fn image(store: &Store, parts: Parts) -> Result<Assembled, Error> {
    let Parts { mut config, mut layers, history, created, epoch, annotations, flavor } = parts;
    for (field, value) in [("os", &config.os), ("architecture", &config.architecture)] {
        if value.is_empty() {
            return Err(Error::Incomplete { field });
        }
    }
    let new = history.iter().filter(|entry| entry.has_layer).count();
    let base_layers =
        layers.len().checked_sub(new).ok_or(Error::MissingLayers { layers: layers.len(), new })?;
    config.history = history::join(std::mem::take(&mut config.history), base_layers, history, epoch);
    let last = config.history.iter().rev().find_map(|entry| entry.created);
    config.created = history::clamp(created.or(last), epoch);
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    for layer in &mut layers {
        layer.blob.media_type = flavor.of(&layer.blob.media_type).to_owned();
    }

    let config_blob = put(store, flavor.of(media_type::CONFIG), &config)?;
    let manifest = manifest(store, &config_blob, &layers, annotations, flavor)?;
    let image = Image { manifest: manifest.digest, id: config_blob.digest, config, layers, remote: None };
    Ok(Assembled { image, manifest, config: config_blob })
}

/// Writes a manifest over a config and layers that are as they are to be.
///
/// # Errors
/// If the store fails.
pub fn manifest(
    store: &Store,
    config: &Blob,
    layers: &[Layer],
    annotations: BTreeMap<String, String>,
    flavor: Flavor,
) -> Result<Blob, Error> {
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::from(flavor.of(media_type::MANIFEST)))
        .config(config.descriptor())
        .layers(layers.iter().map(|layer| layer.blob.descriptor()).collect::<Vec<_>>());
    if !annotations.is_empty() && flavor == Flavor::Oci {
        manifest = manifest.annotations(annotations.into_iter().collect::<HashMap<_, _>>());
    }
    let manifest = manifest.build().expect("every required field is set");
    put(store, flavor.of(media_type::MANIFEST), &manifest)
}

/// Writes the manifest of something that is no image (image-spec `manifest.md`, "guidelines for artifact usage").
///
/// # Errors
/// If the store fails.
pub fn artifact(store: &Store, artifact_type: &str, config: &Blob, layers: &[Blob]) -> Result<Blob, Error> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::from(media_type::MANIFEST))
        .artifact_type(MediaType::from(artifact_type))
        .config(config.descriptor())
        .layers(layers.iter().map(Blob::descriptor).collect::<Vec<_>>())
        .build()
        .expect("every required field is set");
    put(store, media_type::MANIFEST, &manifest)
}

/// Writes an index of images for several platforms into the store, in the order given.
///
/// # Errors
/// If the store fails.
pub fn index(
    store: &Store,
    manifests: &[(Blob, Platform)],
    annotations: BTreeMap<String, String>,
    flavor: Flavor,
) -> Result<Blob, Error> {
    let entries: Vec<_> = manifests.iter().map(|(blob, platform)| entry(blob, platform)).collect();
    let mut index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::from(flavor.of(media_type::INDEX)))
        .manifests(entries);
    if !annotations.is_empty() && flavor == Flavor::Oci {
        index = index.annotations(annotations.into_iter().collect::<HashMap<_, _>>());
    }
    let index = index.build().expect("every required field is set");
    put(store, flavor.of(media_type::INDEX), &index)
}

fn entry(blob: &Blob, platform: &Platform) -> Descriptor {
    let mut described = PlatformBuilder::default()
        .os(Os::from(platform.os.as_str()))
        .architecture(Arch::from(platform.architecture.as_str()));
    if !platform.variant.is_empty() {
        described = described.variant(platform.variant.clone());
    }
    let plain = blob.descriptor();
    DescriptorBuilder::default()
        .media_type(plain.media_type().clone())
        .digest(plain.digest().clone())
        .size(plain.size())
        .platform(described.build().expect("every required field is set"))
        .build()
        .expect("every required field is set")
}

/// Stores a document as JSON without spaces.
fn put(store: &Store, media_type: &str, document: &impl Serialize) -> Result<Blob, Error> {
    // oci-spec keeps annotations in a hash map, whose order is random; a `Value` sorts.
    let value = serde_json::to_value(document).expect("documents hold only what JSON can");
    let bytes = serde_json::to_vec(&value).expect("a value can be written");
    let digest = store.put(&bytes)?;
    Ok(Blob { media_type: media_type.to_owned(), digest, size: bytes.len() as u64 })
}

#[cfg(test)]
mod tests;
