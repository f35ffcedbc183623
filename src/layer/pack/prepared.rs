//! Blocks that are compressed before the layer is known: while the command that makes its files still runs.
//!
//! Now and then a [`Preparer`] is told what the layer would be at that moment. Blocks that look as they did the last time it
//! takes to be done: it reads and compresses them, and remembers what it made by the digest of the very bytes that it
//! compressed. So nothing here has to be right. What the command changes once more is in no block of the layer, and what
//! the layer has instead is compressed when the command has ended.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::buffers::{Buffer, Buffers};
use super::codec::Codec;
use super::plan::{Block, Plan};
use super::source::Sources;
use super::{Digests, Error, Hints, PackOptions};
use crate::digest::Digest;
use crate::disk;
use crate::tree::Changes;

/// Compresses blocks of a layer that is in the making.
pub struct Preparer {
    options: PackOptions,
    codec: Codec,
    /// For blocks, and for what they are compressed to.
    buffers: Buffers,
    compressed: Buffers,
    prepared: Prepared,
    /// How long the file is.
    end: u64,
    /// What the blocks looked like the last time.
    seen: HashSet<Digest>,
    /// What those looked like that were compressed.
    done: HashSet<Digest>,
}

/// Blocks that are there, compressed, by the digest of what they are not compressed.
#[derive(Debug)]
pub struct Prepared {
    file: File,
    blocks: HashMap<Digest, Spot>,
}

/// Where a block lies, compressed, and the CRC-32 of that.
#[derive(Debug, Clone, Copy)]
struct Spot {
    offset: u64,
    len: u32,
    checksum: u32,
}

impl Preparer {
    /// Prepares blocks of a layer that will be packed with `options`, and keeps them in `file`, which is empty.
    ///
    /// # Errors
    /// If there is no such compressor.
    pub fn new(options: &PackOptions, file: File) -> Result<Self, Error> {
        Ok(Self {
            options: *options,
            codec: Codec::new(options.compression)?,
            buffers: Buffers::default(),
            compressed: Buffers::default(),
            prepared: Prepared { file, blocks: HashMap::new() },
            end: 0,
            seen: HashSet::new(),
            done: HashSet::new(),
        })
    }

    /// Compresses what looks as it did the last time, until `go_on` says no.
    ///
    /// `changes` are those of the layer if it were made now. Nobody has read the files: in place of its digest each has
    /// one that is another one when the file may have changed.
    ///
    /// # Errors
    /// If there can be no such layer, or nothing more can be kept. A file that is not there any more is none.
    pub fn prepare(&mut self, changes: &Changes, go_on: &dyn Fn() -> bool) -> Result<(), Error> {
        let room = disk::share(&self.prepared.file, self.end).map_err(Error::Write)?;
        let sources = Sources::open(changes, Digests::Promised(Hints::default()))?;
        let mut seen = HashSet::new();
        let buffers = self.buffers.clone();
        for block in Plan::new(changes, &self.options, &buffers) {
            let block = block?;
            let look = block.key();
            if self.seen.contains(&look) && !self.done.contains(&look) && self.end < room {
                self.compress(block, &sources)?;
                self.done.insert(look);
            }
            seen.insert(look);
            if !go_on() {
                break;
            }
        }
        self.seen = seen;
        Ok(())
    }

    fn compress(&mut self, block: Block, sources: &Sources<'_>) -> Result<(), Error> {
        let Block { mut bytes, contents, .. } = block;
        for (start, content) in contents {
            if sources.read_moving(&content, &mut bytes[start..][..content.len]).is_err() {
                return Ok(());
            }
        }
        let digest = Digest::of(&*bytes);
        if !self.prepared.blocks.contains_key(&digest) {
            let bytes = self.codec.compress(Arc::new(bytes), &self.compressed)?;
            self.prepared.file.write_all_at(&bytes, self.end).map_err(Error::Write)?;
            let (len, checksum) = (bytes.len() as u32, libdeflater::crc32(&bytes));
            self.prepared.blocks.insert(digest, Spot { offset: self.end, len, checksum });
            self.end += u64::from(len);
        }
        Ok(())
    }

    /// Returns what was prepared.
    pub fn finish(self) -> Prepared {
        self.prepared
    }
}

impl Prepared {
    /// Returns what the block of this digest is when it is compressed, if it is there undamaged.
    pub(super) fn find(&self, block: &Digest, buffers: &Buffers) -> Option<Buffer> {
        let Spot { offset, len, checksum } = *self.blocks.get(block)?;
        let mut bytes = buffers.take(len as usize);
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        (libdeflater::crc32(&bytes) == checksum).then_some(bytes)
    }

    #[cfg(test)]
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }
}
