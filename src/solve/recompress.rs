//! Layers of a base in the form that new layers get (`force-compression=true`).

use std::io::Read as _;
use std::sync::Arc;

use super::error::Cause;
use super::pack::media_type;
use super::{Snapshot, Workshop, bytes};
use crate::cache::{KeyBuilder, PackedLayer};
use crate::image::{Blob, Layer};
use crate::layer::{self, pack};
use crate::oci::media_type::Flavor;

/// Gives every layer of `root` the codec of new layers; the level is no reason to do it anew. What a layer became is
/// remembered.
///
/// # Errors
/// If a layer cannot be fetched, read or written.
pub fn recompress(root: &Arc<Snapshot>, workshop: &Workshop<'_>) -> Result<(), Cause> {
    let wanted = media_type(workshop.packing.compression);
    let mut others = root.stack();
    others.retain(|snapshot| Flavor::Oci.of(&snapshot.layer().blob.media_type) != wanted);
    if others.is_empty() {
        return Ok(());
    }
    workshop.task("compressing the layers of the base".to_owned(), |_| {
        others.into_iter().try_for_each(|snapshot| {
            let layer = snapshot.layer();
            let blob = in_form(snapshot, &layer, wanted, workshop)?;
            snapshot.set_packed(PackedLayer { blob, diff_id: layer.diff_id, clamp_mtime: None });
            Ok(())
        })
    })
}

/// Returns the blob that the layer became, now or before.
fn in_form(
    snapshot: &Arc<Snapshot>,
    layer: &Layer,
    wanted: &str,
    workshop: &Workshop<'_>,
) -> Result<Blob, Cause> {
    let mut key = KeyBuilder::new("recompressed layer");
    key.input("layer", layer.blob.digest).input("form", wanted);
    let key = key.finish().0.0;
    let recorded = workshop.store.record(&key)?;
    let known: Option<Blob> = recorded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(blob) = known.filter(|blob| workshop.store.contains(blob)) {
        return Ok(blob);
    }
    bytes::fetch(std::iter::once(snapshot), workshop)?;
    let blob = write(layer, wanted, workshop)?;
    let record = serde_json::to_vec(&blob).expect("a descriptor is plain data");
    workshop.store.put_record(&key, &record)?;
    Ok(blob)
}

fn write(layer: &Layer, media_type: &str, workshop: &Workshop<'_>) -> Result<Blob, Cause> {
    let mut stored = workshop.store.open_blob(&layer.blob)?;
    let mut writer = workshop.store.writer()?;
    let tar = layer::decompress(&mut stored)?;
    let packed = pack::recompress(tar, workshop.packing.compression, &mut writer)?;
    // The end of the blob is verified only when it is read.
    stored.read_to_end(&mut Vec::new())?;
    if packed.diff_id != layer.diff_id {
        let found = packed.diff_id;
        return Err(Cause::DiffId { blob: layer.blob.digest, expected: layer.diff_id, found });
    }
    let blob = Blob { media_type: media_type.to_owned(), digest: packed.digest, size: packed.size };
    writer.commit_as(&blob)?;
    Ok(blob)
}
