//! Blocks compressed, each on its own, and back.

use std::io;
use std::sync::Arc;

use super::buffers::{Buffer, Buffers};
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

    pub(super) fn compress(&mut self, block: Arc<Buffer>, buffers: &Buffers) -> Result<Arc<Buffer>, Error> {
        match self {
            Self::None => Ok(block),
            Self::Gzip { compressor, .. } => {
                let mut member = buffers.take(compressor.gzip_compress_bound(block.len()));
                let len = compressor
                    .gzip_compress(&block, &mut member)
                    .expect("the bound is enough for any member");
                member.truncate(len);
                Ok(Arc::new(member))
            }
            Self::Zstd { compressor, .. } => {
                let mut frame = buffers.take(zstd::zstd_safe::compress_bound(block.len()));
                let len = compressor.compress_to_buffer(&block, &mut *frame).map_err(Error::Compress)?;
                frame.truncate(len);
                Ok(Arc::new(frame))
            }
        }
    }

    /// Fills `block` with the bytes of a block that was compressed in this form.
    pub(super) fn decompress(&mut self, bytes: &[u8], block: &mut [u8]) -> io::Result<()> {
        let len = block.len();
        let found = match self {
            Self::None => {
                if bytes.len() == len {
                    block.copy_from_slice(bytes);
                }
                bytes.len()
            }
            Self::Gzip { decompressor, .. } => {
                decompressor.gzip_decompress(bytes, block).map_err(io::Error::other)?
            }
            Self::Zstd { decompressor, .. } => decompressor.decompress_to_buffer(bytes, block)?,
        };
        if found == len { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
