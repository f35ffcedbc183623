//! From a snapshot to a layer in the store, and its record.

use std::sync::Arc;

use super::error::Cause;
use super::key::Definition;
use super::{Snapshot, Workshop, identity};
use crate::cache::{Key, Record};
use crate::image::{Blob, Layer};
use crate::layer::{self, Compression, PackOptions, index};

/// Packs what the snapshot changed, and keeps the layer's index beside it.
pub(super) fn pack(snapshot: &Snapshot, workshop: &Workshop<'_>, options: &PackOptions) -> Result<(), Cause> {
    let changes = snapshot.changes(workshop)?;
    let mut writer = workshop.store.writer()?;
    let packed = layer::pack(&changes, options, &mut writer)?;
    let media_type = media_type(options.compression).to_owned();
    let blob = Blob { media_type, digest: packed.digest, size: packed.size };
    writer.commit_as(&blob)?;
    workshop.store.put_entries(packed.diff_id, &index::encode(&changes))?;
    snapshot.set_packed(Layer { blob, diff_id: packed.diff_id });
    Ok(())
}

/// Returns the media type of a layer's blob (image-spec `layer.md`).
pub(super) const fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "application/vnd.oci.image.layer.v1.tar",
        Compression::Gzip { .. } => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd { .. } => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

/// Keeps what a step made, under each of its keys, and what it was made of.
pub(super) fn record(
    snapshot: &Arc<Snapshot>,
    definition: &Definition,
    result_key: Option<Key>,
    directory: Option<String>,
    workshop: &Workshop<'_>,
) -> Result<(), Cause> {
    let record = Record {
        layer: snapshot.packed().cloned().map(Into::into),
        directory,
        created: snapshot.created(),
        inputs: definition.inputs.clone(),
    };
    let bytes = serde_json::to_vec(&record).expect("a record is plain data");
    for key in [Some(definition.key), result_key].into_iter().flatten() {
        workshop.store.put_record(&key.0, &bytes)?;
    }
    workshop.store.put_record(&identity(&workshop.scope, &definition.name), &bytes)?;
    Ok(())
}
