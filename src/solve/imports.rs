//! Records beside the store's own: those of caches that the user names, asked after it, in the order given.
//!
//! A hit names a layer that is known and not here: its blob comes from the cache's place when a step needs it, and not
//! at all if none does. What the layers hold comes in blobs of their own, which are fetched before a tree is looked
//! at; they answer as long as the cache is named, and never enter the store as what it knows itself.
//!
//! A cache whose blobs cannot be had or are not what its records say is an error that names the cache
//! ([`Cause::Import`](super::Cause::Import)), so that the build can be tried again without it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::cache::{Document, Key, Record};
use crate::digest::{DiffId, Digest};
use crate::image::Blob;
use crate::reference::Reference;
use crate::time::Timestamp;

/// Where blobs can be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the repository of an image or a cache.
    Repository(Reference),
    /// In an OCI layout on this machine.
    Layout(PathBuf),
}

impl Origin {
    /// Returns what the user calls it.
    pub fn shown(&self) -> String {
        match self {
            Self::Repository(reference) => reference.familiar(),
            Self::Layout(path) => path.display().to_string(),
        }
    }
}

/// Where the blob of a snapshot can be had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) origin: Origin,
    /// The number of the cache that says so; `None` for a base.
    pub(super) cache: Option<usize>,
}

/// A cache that was read.
#[derive(Debug)]
pub struct Import {
    /// Where its blobs are.
    pub origin: Origin,
    /// Its records.
    pub document: Document,
}

/// The caches that the user names.
#[derive(Debug, Default)]
pub struct Imports(Vec<Indexed>);

#[derive(Debug)]
struct Indexed {
    place: Arc<Place>,
    records: HashMap<Key, Record>,
    /// The layers that can be had, and what is in them.
    blobs: HashSet<Digest>,
    entries: HashMap<DiffId, Blob>,
    images: BTreeMap<Key, Timestamp>,
}

impl Imports {
    /// Takes the caches in the order in which they are asked.
    pub fn new(caches: impl IntoIterator<Item = Import>) -> Self {
        Self(caches.into_iter().enumerate().map(|(number, cache)| Indexed::new(number, cache)).collect())
    }

    /// Tells whether no cache knows any step.
    pub(super) fn are_empty(&self) -> bool {
        self.0.iter().all(|cache| cache.records.is_empty())
    }

    /// Leaves a cache out from now on.
    pub fn forget(&mut self, cache: usize) {
        // Its place stays, since the others are known by their numbers.
        if let Some(cache) = self.0.get_mut(cache) {
            (cache.records, cache.blobs, cache.entries, cache.images) = Default::default();
        }
    }

    /// Returns where a blob can be had: a layer, or what is in one.
    pub fn origin_of(&self, digest: &Digest) -> Option<Origin> {
        self.place_of(digest).map(|place| place.origin.clone())
    }

    /// Returns the blob that says what is in a layer.
    pub fn entries(&self, diff_id: &DiffId) -> Option<&Blob> {
        self.0.iter().find_map(|cache| cache.entries.get(diff_id))
    }

    /// Returns when an image was first made.
    pub fn image_created(&self, key: &Key) -> Option<Timestamp> {
        self.0.iter().find_map(|cache| cache.images.get(key)).copied()
    }

    /// Returns what the first cache that knows the key says.
    pub(super) fn find(&self, key: &Key) -> Option<(Record, Arc<Place>)> {
        self.0.iter().find_map(|cache| Some((cache.records.get(key)?.clone(), cache.place.clone())))
    }

    /// Returns where a blob can be had: a layer, or what is in one.
    pub(super) fn place_of(&self, digest: &Digest) -> Option<Arc<Place>> {
        self.0.iter().find(|cache| cache.blobs.contains(digest)).map(|cache| cache.place.clone())
    }

    /// Returns the blob that says what is in a layer, and where it can be had.
    pub(super) fn place_of_entries(&self, diff_id: &DiffId) -> Option<(&Blob, Arc<Place>)> {
        self.0.iter().find_map(|cache| Some((cache.entries.get(diff_id)?, cache.place.clone())))
    }
}

impl Indexed {
    fn new(number: usize, Import { origin, document }: Import) -> Self {
        let mut records = HashMap::new();
        for exported in &document.records {
            let Some(layer) = document.packed(exported) else { continue };
            let record = Record {
                layer: Some(layer),
                directory: None,
                created: exported.created,
                result: exported.result,
                inputs: Vec::new(),
            };
            for key in [Some(exported.definition), exported.result].into_iter().flatten() {
                records.entry(key).or_insert_with(|| record.clone());
            }
        }
        let (mut blobs, mut entries) = (HashSet::new(), HashMap::new());
        for (diff_id, layer) in document.layers {
            blobs.extend(layer.blob.iter().chain(&layer.entries).map(|blob| blob.digest));
            entries.extend(layer.entries.map(|blob| (diff_id, blob)));
        }
        let place = Arc::new(Place { origin, cache: Some(number) });
        Self { place, records, blobs, entries, images: document.images }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Exported, ExportedLayer};

    fn cache(name: &str, keys: &[&str]) -> Import {
        let layer = DiffId(Digest::of(name));
        let blob = |text: &str| Blob { media_type: "a/b".into(), digest: Digest::of(text), size: 1 };
        let record = |key: &&str| Exported {
            definition: Key(Digest::of(key)),
            result: Some(Key(Digest::of(format!("result of {key}")))),
            layer,
            created: Timestamp(1),
        };
        let layer_document = ExportedLayer {
            blob: Some(blob(&format!("blob {name}"))),
            entries: Some(blob(&format!("entries {name}"))),
            clamp_mtime: None,
        };
        Import {
            origin: Origin::Layout(name.into()),
            document: Document {
                records: keys.iter().map(record).collect(),
                layers: [(layer, layer_document)].into(),
                images: BTreeMap::new(),
            },
        }
    }

    #[test]
    fn the_first_cache_that_knows_a_key_answers() {
        let mut imports = Imports::new([cache("one", &["a", "b"]), cache("two", &["b", "c"])]);
        let found = |imports: &Imports, key: &str| {
            let (record, place) = imports.find(&Key(Digest::of(key)))?;
            assert_eq!(imports.place_of(&record.layer?.blob.digest).as_ref(), Some(&place));
            Some(place.origin.shown())
        };
        for (key, expected) in [
            ("a", Some("one")),
            ("b", Some("one")),
            ("c", Some("two")),
            ("result of c", Some("two")),
            ("d", None),
        ] {
            assert_eq!(found(&imports, key).as_deref(), expected, "{key}");
        }
        imports.forget(0);
        assert_eq!((found(&imports, "a"), found(&imports, "b")), (None, Some("two".to_owned())));
        assert_eq!(imports.origin_of(&Digest::of("entries one")), None);
        assert_eq!(imports.origin_of(&Digest::of("entries two")), Some(Origin::Layout("two".into())));
    }
}
