//! The document of a cache that leaves the store: records of steps, and the layers that they name.
//!
//! Alone it is the config of an artifact, an OCI manifest whose layers are the layers of the steps and what is in
//! each; as a field of an image's config it makes the image its own cache.
//!
//! ```json
//! {"version": 1,
//!  "records": [{"definition": "sha256:…", "result": "sha256:…", "layer": "sha256:…", "created": "2026-01-02T03:04:05Z"}],
//!  "layers": {"sha256:…": {"blob": {"media_type": "…", "digest": "sha256:…", "size": 1},
//!                          "entries": {"media_type": "…", "digest": "sha256:…", "size": 1},
//!                          "clamp_mtime": "2026-01-02T03:04:05Z"}},
//!  "images": {"sha256:…": "2026-01-02T03:04:05Z"}}
//! ```
//!
//! - A record's keys are those of [`Record`](super::Record); its layer is a diff id.
//! - A layer is named by its diff id. `blob` is missing for layers of bases, which lie where the base lies, and in an
//!   image's config, whose manifest has the blobs. `entries` is what the layer holds, as the store keeps it beside the
//!   layer (`layer::index`), compressed by zstd: whoever has it places files on the layer without its bytes.
//! - `images` holds the times of whole images, so that an unchanged build has the same digest on every machine.
//! - The named inputs of records stay behind: they hold digests of single values, which could be guessed.
//! - Whatever cannot be read in a document is left out and counted; what it would have answered is done again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Key, PackedLayer};
use crate::digest::DiffId;
use crate::image::Blob;
use crate::time::Timestamp;

/// The artifact type of a cache's manifest.
pub const ARTIFACT: &str = "application/vnd.kiln.cache.v1";
/// The media type of the document.
pub const DOCUMENT: &str = "application/vnd.kiln.cache.v1+json";
/// The media type of the entries of one layer.
pub const ENTRIES: &str = "application/vnd.kiln.cache.entries.v1+zstd";
/// The field of an image's config that holds the document.
pub const INLINE: &str = "kiln.cache.v1";

/// The version of the document's form.
const VERSION: u64 = 1;

/// Records and the layers that they name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// What steps made, in the order of the build.
    pub records: Vec<Exported>,
    /// The layers.
    pub layers: BTreeMap<DiffId, ExportedLayer>,
    /// When images were first made, by what is in them.
    pub images: BTreeMap<Key, Timestamp>,
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The definition key.
    pub definition: Key,
    /// The result key, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Key>,
    /// The layer with the step's changes.
    pub layer: DiffId,
    /// When the step was done.
    pub created: Timestamp,
}

/// A layer as a document holds it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExportedLayer {
    /// The blob, where the document names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// The blob that says what is in the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<Blob>,
    /// The latest time that its files were given, if they were rewritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamp_mtime: Option<Timestamp>,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What could be read.
    pub document: Document,
    /// How many records and layers could not.
    pub damaged: usize,
}

/// Why a value is no document.
#[derive(Debug, thiserror::Error)]
pub enum NotACache {
    /// It is no JSON object with records and layers.
    #[error("it is damaged")]
    Damaged,
    /// Another version of kiln wrote it.
    #[error("it has version {0}, this kiln reads version {VERSION}")]
    Version(u64),
}

impl Document {
    /// Returns the document as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::json!({"version": VERSION, "records": self.records, "layers": self.layers, "images": self.images})
    }

    /// Reads a document.
    ///
    /// # Errors
    /// If nothing of it can be used.
    pub fn read(value: &Value) -> Result<Read, NotACache> {
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(other) => return Err(NotACache::Version(other)),
            None => return Err(NotACache::Damaged),
        }
        let records = value["records"].as_array().ok_or(NotACache::Damaged)?;
        let layers = value["layers"].as_object().ok_or(NotACache::Damaged)?;
        let mut read = Self::default();
        read.records.extend(records.iter().filter_map(|record| Exported::deserialize(record).ok()));
        read.layers.extend(layers.iter().filter_map(|(diff_id, layer)| {
            let diff_id = DiffId(diff_id.parse().ok()?);
            Some((diff_id, ExportedLayer::deserialize(layer).ok()?))
        }));
        // A cache without times is one all the same.
        let images = value["images"].as_object().into_iter().flatten();
        read.images.extend(images.filter_map(|(key, created)| {
            Some((Key(key.parse().ok()?), Timestamp::deserialize(created).ok()?))
        }));
        let damaged = records.len() + layers.len() - read.records.len() - read.layers.len();
        Ok(Read { document: read, damaged })
    }

    /// Returns the layer of a record as the store's own records hold it; `None` if the document does not name its blob.
    pub fn packed(&self, record: &Exported) -> Option<PackedLayer> {
        let layer = self.layers.get(&record.layer)?;
        Some(PackedLayer { blob: layer.blob.clone()?, diff_id: record.layer, clamp_mtime: layer.clamp_mtime })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    fn document() -> Document {
        let (key, layer) = (Key(Digest::of("key")), DiffId(Digest::of("layer")));
        let blob = Blob { media_type: "a/b".into(), digest: Digest::of("blob"), size: 3 };
        let exported =
            |created| Exported { definition: key, result: None, layer, created: Timestamp(created) };
        Document {
            records: vec![exported(1), Exported { result: Some(key), ..exported(2) }],
            layers: [(layer, ExportedLayer { blob: Some(blob), ..ExportedLayer::default() })].into(),
            images: [(key, Timestamp(3))].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = document();
        let read = Document::read(&written.to_json()).unwrap();
        assert_eq!(read, Read { document: written, damaged: 0 });
    }

    #[test]
    fn what_is_damaged_is_left_out_and_counted() {
        for (pointer, damage, expected) in [
            ("/records/0/definition", json!("sha256:1"), Some((1, 1))),
            ("/records/1", json!(7), Some((1, 1))),
            ("/records/0/created", json!("yesterday"), Some((1, 1))),
            ("/layers", json!({"sha256:1": {}}), Some((2, 1))),
            ("/layers", json!([]), None),
            ("/records", json!({}), None),
            ("/version", json!(2), None),
            ("/version", json!(null), None),
        ] {
            let mut value = document().to_json();
            *value.pointer_mut(pointer).unwrap() = damage.clone();
            let read = Document::read(&value).ok().map(|read| (read.document.records.len(), read.damaged));
            assert_eq!(read, expected, "{pointer} {damage}");
        }
    }

    #[test]
    fn a_record_without_a_blob_answers_nothing() {
        let whole = document();
        assert!(whole.packed(&whole.records[0]).is_some());
        let mut without = whole.clone();
        without.layers.values_mut().for_each(|layer| layer.blob = None);
        assert_eq!(without.packed(&without.records[0]), None);
        without.layers.clear();
        assert_eq!(without.packed(&without.records[0]), None);
    }
}
