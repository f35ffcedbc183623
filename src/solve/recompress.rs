//! `force-compression=true`: layers of bases in the codec that new layers have.

use std::sync::Arc;

use super::error::Cause;
use super::{Snapshot, Workshop, bytes, pack};
use crate::cache::{KeyBuilder, PackedLayer};
use crate::image::Blob;
use crate::layer::{self, Compression};
use crate::oci::media_type::{Flavor, LAYER, LAYER_GZIP, LAYER_ZSTD};

/// Returns `root` with every layer in the codec of `workshop.packing`. A layer that is in it stays as it is, of whatever
/// level (as in BuildKit). Diff ids, and so the image's config, stay the same.
///
/// # Errors
/// If a layer cannot be fetched, read or written.
pub fn recompress(root: &Arc<Snapshot>, workshop: &Workshop<'_>) -> Result<Arc<Snapshot>, Cause> {
    let stack = root.stack();
    let wanted = pack::media_type(workshop.packing.compression);
    let differs = |snapshot: &Arc<Snapshot>| {
        let blob = snapshot.layer().blob;
        let media_type = Flavor::Oci.of(&blob.media_type);
        // Layers that may not be distributed stay what they are.
        media_type != wanted && [LAYER, LAYER_GZIP, LAYER_ZSTD].contains(&media_type)
    };
    let mut below = None;
    for snapshot in stack {
        let layer = match differs(snapshot) {
            true => Some(in_codec(snapshot, workshop)?),
            false => None,
        };
        below = Some(Arc::new(Snapshot::with_layer(below, snapshot, layer)));
    }
    Ok(below.expect("a stack holds its top"))
}

/// Returns the snapshot's layer in the codec that is wanted, as an earlier build made it or made now.
fn in_codec(snapshot: &Arc<Snapshot>, workshop: &Workshop<'_>) -> Result<PackedLayer, Cause> {
    let layer = snapshot.layer();
    let compression = workshop.packing.compression;
    let mut key = KeyBuilder::new("recompressed");
    key.input("layer", layer.blob.digest);
    key.input(
        "form",
        match compression {
            Compression::None => (0_u64, 0_u64),
            Compression::Gzip { level } => (1, level.into()),
            Compression::Zstd { level } => (2, level.into()),
        },
    );
    let key = key.finish().0;
    let record = workshop.store.record(&key.0)?;
    if let Some(made) = record.and_then(|bytes| serde_json::from_slice::<PackedLayer>(&bytes).ok())
        && made.diff_id == layer.diff_id
        && workshop.store.contains(&made.blob)
    {
        return Ok(made);
    }
    workshop.task(format!("compressing {} anew", layer.blob.digest), |_| {
        let mut writer = workshop.store.writer()?;
        bytes::with_tar(snapshot, workshop, |tar| {
            Ok(((), layer::pack::recompress(tar, &workshop.packing, &mut writer)?))
        })?;
        let (digest, size) = writer.commit()?;
        let blob = Blob { media_type: pack::media_type(compression).to_owned(), digest, size };
        let made = PackedLayer { blob, diff_id: layer.diff_id, clamp_mtime: None };
        let record = serde_json::to_vec(&made).expect("a layer is plain data");
        workshop.store.put_record(&key.0, &record)?;
        Ok(made)
    })
}
