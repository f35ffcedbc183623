//! Docker's archive (`docker save`), out and in.
//!
//! What is written is what docker 25 and later write: an OCI layout with a `manifest.json` beside its index,
//! whose paths lead to the layout's blobs. Layers are as compressed as they are in the image; `docker load`
//! and skopeo take both. What is read may be older: a directory per layer with `layer.tar`, or links to those
//! of other layers.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::export::{entries, layout_files};
use super::load::Loaded;
use super::{Archive, Error, Saved, all_reachable, blob_file};
use crate::assemble::{self, Document, Flavor};
use crate::digest::{DiffId, Hasher};
use crate::image::{Blob, Layer};
use crate::oci::{ImageConfig, media_type};
use crate::reference::Reference;
use crate::store::Store;

/// The list of a docker archive's images.
pub(super) const MANIFEST_FILE: &str = "manifest.json";

/// An image of `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    config: String,
    /// Docker writes `null` for none.
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Returns a docker archive. Names without a tag are left out: docker has no place for them.
///
/// # Errors
/// If the store lacks a document, or a root is an index.
pub fn docker(store: &Store, images: &[Saved]) -> Result<Archive, Error> {
    let list: Vec<Entry> = images.iter().map(|image| entry(store, image)).collect::<Result<_, _>>()?;
    let list = serde_json::to_vec(&list).expect("texts can be written");
    let mut files = Vec::from(layout_files(entries(images, &BTreeMap::new())));
    files.push((MANIFEST_FILE, list));
    Ok(Archive { blobs: all_reachable(store, images)?, files })
}

fn entry(store: &Store, Saved { root, names }: &Saved) -> Result<Entry, Error> {
    let document = assemble::parse(root.digest, &store.read_blob(root)?)?;
    let Document::Manifest(manifest) = document else {
        return Err(Error::SeveralPlatforms { digest: root.digest });
    };
    let file = |descriptor| match Blob::try_from(descriptor) {
        Ok(blob) => Ok(blob_file(&blob.digest)),
        Err(source) => Err(Error::Digest { file: blob_file(&root.digest), source }),
    };
    let tags: Vec<_> = names.iter().filter(|name| name.tag.is_some()).map(docker_tag).collect();
    Ok(Entry {
        config: file(manifest.config())?,
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: Some(manifest.layers().iter().map(file).collect::<Result<_, _>>()?),
    })
}

/// A name as docker shows it; a digest is no part of a tag.
fn docker_tag(name: &Reference) -> String {
    Reference { digest: None, ..name.clone() }.familiar()
}

/// Makes images of a docker archive whose files are in the store already: each config stays as it is (its
/// digest is the image id), each layer's file becomes a blob as it is, and a manifest is written over them.
pub(super) fn import(
    store: &Store,
    list: &[u8],
    find: &dyn Fn(&str) -> Result<Blob, Error>,
) -> Result<Vec<Loaded>, Error> {
    let json = |file: &str| {
        let file = file.to_owned();
        move |source| Error::Json { file, source }
    };
    let entries: Vec<Entry> = serde_json::from_slice(list).map_err(json(MANIFEST_FILE))?;
    // Images of one archive often share their base: each layer is decompressed once.
    let mut known = BTreeMap::new();
    let mut loaded = Vec::new();
    for entry in entries {
        let config_blob = Blob { media_type: media_type::CONFIG.into(), ..find(&entry.config)? };
        let config: ImageConfig =
            serde_json::from_slice(&store.read_blob(&config_blob)?).map_err(json(&entry.config))?;
        let files = entry.layers.unwrap_or_default();
        let diff_ids = &config.rootfs.diff_ids;
        if files.len() != diff_ids.len() {
            return Err(Error::LayerCount { layers: files.len(), diff_ids: diff_ids.len() });
        }
        let mut layers = Vec::new();
        for (file, expected) in files.into_iter().zip(diff_ids) {
            let blob = find(&file)?;
            let layer = match known.get(&blob.digest) {
                Some(layer) => Layer::clone(layer),
                None => layer_of(store, blob)?,
            };
            if layer.diff_id != *expected {
                return Err(Error::DiffId { file, expected: *expected, actual: layer.diff_id });
            }
            known.insert(layer.blob.digest, layer.clone());
            layers.push(layer);
        }
        let manifest = assemble::manifest(store, &config_blob, &layers, BTreeMap::new(), Flavor::Oci)?;
        let names: Vec<Reference> =
            entry.repo_tags.unwrap_or_default().iter().filter_map(|tag| tag.parse().ok()).collect();
        loaded.extend(Loaded::each(names, &manifest));
    }
    Ok(loaded)
}

/// Finds out how a layer is compressed, and its diff id.
fn layer_of(store: &Store, blob: Blob) -> Result<Layer, Error> {
    let mut magic = [0; 4];
    let mut start = store.open_blob(&blob)?;
    let count = start.by_ref().take(4).read(&mut magic)?;
    let content = store.open_blob(&blob)?;
    let mut hasher = Hasher::new();
    let media_type = match &magic[..count] {
        [0x1f, 0x8b, ..] => {
            io::copy(&mut flate2::read::MultiGzDecoder::new(content), &mut hasher)?;
            media_type::LAYER_GZIP
        }
        [0x28, 0xb5, 0x2f, 0xfd] => {
            io::copy(&mut zstd::Decoder::new(content)?, &mut hasher)?;
            media_type::LAYER_ZSTD
        }
        _ => {
            // The file's digest was taken when it entered the store.
            let diff_id = DiffId(blob.digest);
            return Ok(Layer { blob: Blob { media_type: media_type::LAYER.into(), ..blob }, diff_id });
        }
    };
    Ok(Layer { blob: Blob { media_type: media_type.into(), ..blob }, diff_id: DiffId(hasher.finish()) })
}
