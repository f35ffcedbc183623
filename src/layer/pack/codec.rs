//! Blocks compressed, each on its own, and back.

use std::io;
use std::sync::Arc;

use super::{Compression, Error};

/// A compressor of blocks.
pub(super) enum Codec {
    None,
    Gzip { compressor: libdeflater::Compressor, decompressor: libdeflater::Decompressor },
    Zstd { compressor: zstd::bulk::Compressor<'static>, decompressor: zstd::bulk::Decompressor<'static> },
}

impl Codec {
    pub(super) fn new(compression: Compression) -> Result<Self, Error> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::from(level).min(12));
                let level = level.unwrap_or_else(|_| libdeflater::CompressionLvl::best());
                let compressor = libdeflater::Compressor::new(level);
                Self::Gzip { compressor, decompressor: libdeflater::Decompressor::new() }
            }
            Compression::Zstd { level } => {
                let level = i32::from(level.clamp(1, 22));
                let compressor = zstd::bulk::Compressor::new(level).map_err(Error::Compress)?;
                let decompressor = zstd::bulk::Decompressor::new().map_err(Error::Compress)?;
                Self::Zstd { compressor, decompressor }
            }
        })
    }

    pub(super) fn compress(&mut self, block: Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Error> {
        match self {
            Self::None => Ok(block),
            Self::Gzip { compressor, .. } => {
                let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
                let len = compressor
                    .gzip_compress(&block, &mut member)
                    .expect("the bound is enough for any member");
                member.truncate(len);
                member.shrink_to_fit();
                Ok(Arc::new(member))
            }
            Self::Zstd { compressor, .. } => {
                compressor.compress(&block).map(Arc::new).map_err(Error::Compress)
            }
        }
    }

    /// Returns the `len` bytes of a block that was compressed in this form.
    pub(super) fn decompress(&mut self, bytes: &[u8], len: usize) -> io::Result<Vec<u8>> {
        let mut block = vec![0; len];
        let found = match self {
            Self::None => return Ok(bytes.to_vec()),
            Self::Gzip { decompressor, .. } => {
                decompressor.gzip_decompress(bytes, &mut block).map_err(io::Error::other)?
            }
            Self::Zstd { decompressor, .. } => decompressor.decompress_to_buffer(bytes, &mut block)?,
        };
        if found == len { Ok(block) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
