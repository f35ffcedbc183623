//! What the cache holds of a solved graph, for those who take it to another store.

use super::demand::{Answer, Found, lookup, packed_steps};
use super::error::Cause;
use super::pack::{self, Beforehand};
use super::{Solution, Workshop};
use crate::cache::{ENTRIES, Key, PackedLayer, Record};
use crate::digest::DiffId;
use crate::graph::{Graph, Op};
use crate::image::Blob;
use crate::time::Timestamp;

/// zstd's own default: half of the entries are digests, which nothing makes smaller.
const ENTRIES_LEVEL: i32 = 3;

/// What the cache holds of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The step's definition key.
    pub definition: Key,
    /// Its result key, if it is known.
    pub result: Option<Key>,
    /// Its layer; the blob is in the store or in a cache that the build was given.
    pub layer: PackedLayer,
    /// When it was done.
    pub created: Timestamp,
}

/// Returns what the cache holds of the images' steps, or of `every` step, in the order of the graph. Of a step that was
/// not looked at that is what an earlier build has left; one that left nothing is not in the answer.
///
/// # Errors
/// If a result that lies in a directory cannot be packed.
pub fn kept(
    graph: &Graph,
    solution: &Solution,
    workshop: &Workshop<'_>,
    every: bool,
) -> Result<Vec<Kept>, Cause> {
    let of_images = packed_steps(graph);
    let mut kept: Vec<Kept> = Vec::new();
    for id in graph.ids() {
        let definition = solution.definitions[id.index()];
        if matches!(graph.step(id).op, Op::Base(_))
            || !(every || of_images[id.index()])
            || kept.iter().any(|kept| kept.definition == definition)
        {
            continue;
        }
        let Some(Answer::Bytes(found)) = lookup(workshop, definition, false) else { continue };
        let (result, created) = (found.record.result, found.record.created);
        let layer = match found.record.layer.clone() {
            Some(layer) => layer,
            None => pack_directory(definition, *found, workshop)?,
        };
        kept.push(Kept { definition, result, layer, created });
    }
    Ok(kept)
}

/// Returns the blob that says what is in a layer, as caches hold it: in the store, or in a cache that the build was
/// given; `None` if nobody has looked into the layer yet.
///
/// # Errors
/// If it cannot be read or written.
pub fn kept_entries(diff_id: DiffId, workshop: &Workshop<'_>) -> Result<Option<Blob>, Cause> {
    let Some(entries) = workshop.store.entries(diff_id)? else {
        return Ok(workshop.imports.entries(&diff_id).cloned());
    };
    let compressed = zstd::encode_all(&*entries, ENTRIES_LEVEL)?;
    let digest = workshop.store.put(&compressed)?;
    Ok(Some(Blob { media_type: ENTRIES.to_owned(), digest, size: compressed.len() as u64 }))
}

/// Packs a result that nobody has packed yet, and remembers that.
fn pack_directory(key: Key, found: Found, workshop: &Workshop<'_>) -> Result<PackedLayer, Cause> {
    let snapshot = found.snapshot(None, workshop);
    pack::pack(&snapshot, Beforehand::default(), workshop, &workshop.packing)?;
    let layer = snapshot.packed_here().expect("it was packed just now").clone();
    let record = Record { layer: Some(layer.clone()), ..found.record };
    let bytes = serde_json::to_vec(&record).expect("a record is plain data");
    workshop.store.put_record(&workshop.record_name(&key), &bytes)?;
    Ok(layer)
}
