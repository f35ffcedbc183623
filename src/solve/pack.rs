//! From a snapshot to a layer in the store, and its record.

use super::error::Cause;
use super::key::Definition;
use super::{Snapshot, Workshop, bytes, identity};
use crate::cache::{Key, PackedLayer, Record};
use crate::image::Blob;
use crate::layer::{self, Compression, PackOptions, index};

/// Packs what the snapshot changed, and keeps the layer's index beside it.
pub(super) fn pack(snapshot: &Snapshot, workshop: &Workshop<'_>, options: &PackOptions) -> Result<(), Cause> {
    // A layer that is there in another form only: its files are taken out of it first.
    let (changes, _scratch) = match snapshot.has_bytes() {
        true => (snapshot.changes(workshop)?, None),
        false => bytes::take_out(snapshot, workshop)?,
    };
    let mut writer = workshop.store.writer()?;
    let packed = layer::pack(&changes, options, &mut writer)?;
    let media_type = media_type(options.compression).to_owned();
    let blob = Blob { media_type, digest: packed.digest, size: packed.size };
    writer.commit_as(&blob)?;
    let clamp_mtime = options.clamp_mtime;
    // The index says what is in the layer, so the times that it has there.
    let entries = match clamp_mtime {
        Some(latest) => index::encode(&changes.with_times_up_to(latest)),
        None => index::encode(&changes),
    };
    workshop.store.put_entries(packed.diff_id, &entries)?;
    snapshot.set_packed(PackedLayer { blob, diff_id: packed.diff_id, clamp_mtime });
    Ok(())
}

/// Tells whether a layer is what `options` would make: the same codec (the level is no reason to pack anew) and
/// the same rewriting of times.
pub(super) fn is_in_form(layer: &PackedLayer, options: &PackOptions) -> bool {
    layer.blob.media_type == media_type(options.compression) && layer.clamp_mtime == options.clamp_mtime
}

/// Returns the media type of a layer's blob (image-spec `layer.md`).
pub(super) const fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "application/vnd.oci.image.layer.v1.tar",
        Compression::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

/// Keeps what a step made, under each of its keys.
pub(super) fn record(
    snapshot: &Snapshot,
    definition: &Definition,
    result_key: Option<Key>,
    directory: Option<String>,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    let record = Record {
        layer: snapshot.packed_here().cloned(),
        directory,
        created: snapshot.created(),
        result: result_key,
        inputs: definition.inputs.clone(),
    };
    keep(&record, definition, result_key, workshop)
}

/// Keeps a record under the keys of a step, and as what the step of this name was made of the last time.
pub(super) fn keep(
    record: &Record,
    definition: &Definition,
    result_key: Option<Key>,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    let bytes = serde_json::to_vec(record).expect("a record is plain data");
    for key in [Some(definition.key), result_key].into_iter().flatten() {
        workshop.store.put_record(&key.0, &bytes)?;
    }
    workshop.store.put_record(&identity(&workshop.scope, &definition.name), &bytes)?;
    Ok(())
}
