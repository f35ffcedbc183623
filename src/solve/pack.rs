//! From a snapshot to a layer in the store, and its record.

use std::path::Path;

use super::error::Cause;
use super::key::Definition;
use super::outgoing::{Told, Unkept};
use super::{Snapshot, Workshop, bytes, identity};
use crate::cache::{Key, PackedLayer, Record};
use crate::digest::Digest;
use crate::image::Blob;
use crate::layer::{self, Compression, Earlier, Hints, PackOptions, Prepared, index};
use crate::oci::media_type as oci;
use crate::path::RelPath;
use crate::tree::Changes;

/// What may be there of a layer before it is packed.
#[derive(Default)]
pub(super) struct Beforehand<'a> {
    /// The name of the step whose layer it is: an earlier build may have packed one of that name.
    pub(super) step: Option<&'a str>,
    /// What was made of it while the step was done.
    pub(super) early: Early,
    /// Hears how it is packed, if it is an image's.
    pub(super) told: Option<Told<'a>>,
}

/// What doing a step has made of its layer.
#[derive(Default)]
pub(super) enum Early {
    #[default]
    Nothing,
    /// Blocks that may be part of it.
    Blocks(Prepared),
    /// All of it, in the form that the build packs.
    Layer(Unkept),
}

/// Packs what the snapshot changed, and keeps the layer's index beside it.
pub(super) fn pack(
    snapshot: &Snapshot,
    beforehand: Beforehand<'_>,
    workshop: &Workshop<'_>,
    options: &PackOptions,
) -> Result<(), Cause> {
    // A layer that is there in another form only: its files are taken out of it first.
    let (changes, _scratch) = match snapshot.has_bytes() {
        true => (snapshot.changes(workshop)?, None),
        false => bytes::take_out(snapshot, workshop)?,
    };
    let Beforehand { step, early, told } = beforehand;
    let Unkept { packed, writer } = match early {
        Early::Layer(layer) => layer,
        Early::Blocks(prepared) => write(&changes, step, Some(&prepared), told, workshop, options)?,
        Early::Nothing => write(&changes, step, None, told, workshop, options)?,
    };
    let layer::Packed { digest, size, .. } = packed;
    writer.commit(digest, size)?;
    let blob = packed_blob(&packed, options);
    if let Some(blocks) = &packed.blocks {
        workshop.store.put_blocks(&digest, blocks)?;
    }
    let clamp_mtime = options.clamp_mtime;
    // The index says what is in the layer, so the times that it has there.
    workshop.store.put_entries(packed.diff_id, |out| match clamp_mtime {
        Some(latest) => index::write(&changes.with_times_up_to(latest), out),
        None => index::write(&changes, out),
    })?;
    snapshot.set_packed(PackedLayer { blob, diff_id: packed.diff_id, clamp_mtime });
    Ok(())
}

/// Writes the layer, with what can be taken over.
fn write(
    changes: &Changes,
    step: Option<&str>,
    prepared: Option<&Prepared>,
    told: Option<Told<'_>>,
    workshop: &Workshop<'_>,
    options: &PackOptions,
) -> Result<Unkept, Cause> {
    let from = |earlier: Option<&Earlier>| -> Result<_, Cause> {
        let is_as_hashed = |directory: &Path, file: &RelPath, stat: &_| {
            workshop.contexts.is_as_hashed(directory, file, stat)
        };
        let hints = Hints { earlier, prepared, is_as_hashed: Some(&is_as_hashed) };
        Unkept::write(workshop.store, told.as_ref(), options, |out| layer::pack(changes, options, hints, out))
    };
    let Some((digest, earlier)) = step.and_then(|step| earlier(step, workshop, options)) else {
        return from(None);
    };
    match from(Some(&earlier)) {
        Err(Cause::Pack(layer::pack::Error::Earlier(_))) => {
            // It is damaged, and so a miss from now on.
            workshop.store.remove_blob(&digest)?;
            from(None)
        }
        result => result,
    }
}

/// Finds the layer that the step of this name made the last time.
fn earlier(step: &str, workshop: &Workshop<'_>, options: &PackOptions) -> Option<(Digest, Earlier)> {
    let store = workshop.store;
    let record = store.record(&identity(&workshop.scope, step)).ok()??;
    let record: Record = serde_json::from_slice(&record).ok()?;
    let PackedLayer { blob, .. } = record.layer.filter(|layer| store.contains(&layer.blob))?;
    let blocks = store.blocks(&blob.digest).ok()??;
    let (file, _) = fs_err::File::open(store.blob_path(&blob.digest)).ok()?.into_parts();
    Some((blob.digest, Earlier::new(&blocks, options.compression, file)?))
}

/// Tells whether a layer is what `options` would make: the same codec (the level is no reason to pack anew) and
/// the same rewriting of times.
pub(super) fn is_in_form(layer: &PackedLayer, options: &PackOptions) -> bool {
    layer.blob.media_type == media_type(options.compression) && layer.clamp_mtime == options.clamp_mtime
}

/// Returns the blob that a layer became.
pub(super) fn packed_blob(packed: &layer::Packed, options: &PackOptions) -> Blob {
    let media_type = media_type(options.compression).to_owned();
    Blob { media_type, digest: packed.digest, size: packed.size }
}

/// Returns the media type of a layer's blob (image-spec `layer.md`).
pub(super) const fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => oci::LAYER,
        Compression::Gzip { .. } => oci::LAYER_GZIP,
        Compression::Zstd { .. } => oci::LAYER_ZSTD,
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
        workshop.store.put_record(&workshop.record_name(&key), &bytes)?;
    }
    if let Some(kind) = &definition.kind {
        workshop.store.put_record(kind, b"{}")?;
    }
    workshop.store.put_record(&identity(&workshop.scope, &definition.name), &bytes)?;
    Ok(())
}
