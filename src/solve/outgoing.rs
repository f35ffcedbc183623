//! A layer on its way into the store, and who hears of it.

use std::io::{self, Write};
use std::sync::Arc;

use super::error::Cause;
use super::pack::packed_blob;
use super::snapshot::blobs;
use super::{OnPacking, Packing, Snapshot, Workshop};
use crate::image::Blob;
use crate::layer::{self, PackOptions};
use crate::store::{HashedWriter, Store};

/// A layer that is written, but not kept yet.
pub(super) struct Unkept {
    pub(super) packed: layer::Packed,
    pub(super) writer: HashedWriter,
}

/// Who hears how a layer is packed.
pub(super) struct Told<'a> {
    below: Vec<Blob>,
    on_packing: &'a OnPacking<'a>,
}

impl<'a> Told<'a> {
    /// Has it told how a layer of an image is packed that stands on `below`; `None` if nobody hears, or if what is below is
    /// not packed.
    pub(super) fn above(below: Option<&Arc<Snapshot>>, workshop: &Workshop<'a>) -> Option<Self> {
        let on_packing = workshop.on_packing?;
        Some(Self { below: blobs(below)?, on_packing })
    }
}

impl Unkept {
    /// Writes a layer with `pack`.
    pub(super) fn write(
        store: &Store,
        told: Option<&Told<'_>>,
        options: &PackOptions,
        pack: impl FnOnce(&mut Outgoing<'_>) -> Result<layer::Packed, layer::pack::Error>,
    ) -> Result<Self, Cause> {
        let writer = store.hashed_writer()?;
        let told = told.zip(writer.file().ok()).map(|(Told { below, on_packing }, file)| {
            on_packing(Packing::Begun { below: below.clone(), file });
            *on_packing
        });
        let mut out = Outgoing { writer, told, size: 0 };
        let packed = pack(&mut out)?;
        if let Some(on_packing) = told {
            on_packing(Packing::Ended(packed_blob(&packed, options)));
        }
        Ok(Self { packed, writer: out.writer })
    }
}

/// A layer on its way into the store.
pub(super) struct Outgoing<'a> {
    writer: HashedWriter,
    told: Option<&'a OnPacking<'a>>,
    size: u64,
}

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.size += count as u64;
        if let Some(on_packing) = self.told {
            on_packing(Packing::Written(self.size));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}
