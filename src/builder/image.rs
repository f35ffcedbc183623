//! From layers and what the Dockerfile says to an image's documents.

use std::sync::Arc;

use super::{Annotations, Error};
use crate::assemble::{self, Assembled, Flavor, NewEntry, Parts};
use crate::cache::{Document, INLINE, Key, KeyBuilder};
use crate::graph::Output;
use crate::oci::HISTORY_COMMENT;
use crate::solve::{self, Snapshot, Solution, Workshop};
use crate::time::Timestamp;

/// An image before its documents are written.
pub(super) struct MadeImage<'a> {
    pub(super) output: &'a Output,
    /// Its layers, all packed.
    pub(super) root: Option<Arc<Snapshot>>,
    /// Said in the history of the one layer that all new ones were merged into.
    pub(super) merge: Option<String>,
}

/// An image whose documents are written, and what makes its time the same everywhere.
pub(super) struct Made {
    pub(super) image: Assembled,
    /// Stands for all that is in the image but its time.
    pub(super) key: Key,
    pub(super) created: Timestamp,
}

impl MadeImage<'_> {
    /// Writes config and manifest. Their times are those of the first build that made the same image, so that an
    /// unchanged rebuild has the same digest.
    pub(super) fn assemble(
        &self,
        solution: &Solution,
        workshop: &Workshop<'_>,
        flavor: Flavor,
        annotations: &Annotations,
        inline_cache: Option<&Document>,
    ) -> Result<Made, Error> {
        let Self { output, root, merge } = self;
        let layers = solve::layers(root.as_ref());
        let mut config = output.config.clone();
        // What a base holds in this field are records of its own layers.
        config.other.remove(INLINE);
        let mut key = KeyBuilder::new("image");
        key.input("config", serde_json::to_string(&config).expect("a config is plain data"));
        for entry in &output.history {
            key.input("history", (&entry.created_by, (&entry.author, entry.step.is_some())));
        }
        for layer in &layers {
            key.input("layer", layer.diff_id.0);
        }
        if let Some(comment) = merge {
            key.input("merge", comment);
        }
        let key = key.finish().0;
        let recorded = workshop.store.record(&key.0)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let created: Timestamp = match recorded {
            Some(created) => created,
            None => {
                let created = workshop.imports.image_created(&key).unwrap_or(workshop.now);
                let bytes = serde_json::to_vec(&created).expect("a time is plain data");
                workshop.store.put_record(&key.0, &bytes)?;
                created
            }
        };
        // After the key, so that the image has the same time with and without.
        if let Some(document) = inline_cache {
            let mut document = document.clone();
            document.images.insert(key, created);
            config.other.insert(INLINE.to_owned(), document.to_json());
        }
        let instructions = output.history.iter().map(|entry| NewEntry {
            created_by: entry.created_by.clone(),
            author: entry.author.clone(),
            created: Some(entry.step.map_or(created, |step| solution.created(step))),
            has_layer: entry.step.is_some() && merge.is_none(),
            comment: HISTORY_COMMENT.to_owned(),
        });
        let merged = merge.iter().map(|comment| NewEntry {
            created_by: String::new(),
            author: String::new(),
            created: Some(created),
            has_layer: true,
            comment: comment.clone(),
        });
        let parts = Parts {
            config,
            layers,
            history: instructions.chain(merged).collect(),
            created: Some(created),
            epoch: workshop.epoch,
            annotations: annotations.manifest.clone(),
            flavor,
        };
        Ok(Made { image: assemble::image(workshop.store, parts)?, key, created })
    }
}
