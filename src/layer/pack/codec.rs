//! Blocks compressed, each on its own, and back.

use std::io;
use std::sync::Arc;

use zstd::zstd_safe::CParameter;

use super::buffers::{Buffer, Buffers};
use super::{Compression, Error};

/// A compressor of blocks.
pub(super) enum Codec {
    None,
    Gzip { compressor: libdeflater::Compressor, dense: Dense, decompressor: libdeflater::Decompressor },
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
                Self::Gzip { compressor, dense: Dense::new(), decompressor: libdeflater::Decompressor::new() }
            }
            Compression::Zstd { level } => {
                let level = i32::from(level.clamp(1, 22));
                let mut compressor = zstd::bulk::Compressor::new(level).map_err(Error::Compress)?;
                for parameter in tables(level) {
                    compressor.set_parameter(*parameter).map_err(Error::Compress)?;
                }
                let decompressor = zstd::bulk::Decompressor::new().map_err(Error::Compress)?;
                Self::Zstd { compressor, decompressor }
            }
        })
    }

    pub(super) fn compress(&mut self, block: Arc<Buffer>, buffers: &Buffers) -> Result<Arc<Buffer>, Error> {
        match self {
            Self::None => Ok(block),
            Self::Gzip { compressor, dense, .. } => {
                let compressor = if dense.is(&block) { &mut dense.store } else { compressor };
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

/// zstd's tables, where it is to have others than its own: those of level 3 take 768 KiB, most of the cache of a core, which
/// files are read and hashed in as well. With half as long ones blocks have 0.5 to 1.5% more bytes and take 3 to 10% less time
/// (benches/README.md).
const fn tables(level: i32) -> &'static [CParameter] {
    match level {
        3 => &[CParameter::HashLog(16), CParameter::ChainLog(15)],
        _ => &[],
    }
}

/// Finds blocks that no compressor makes smaller: pictures, films, archives, models. libdeflate looks for matches in them as
/// long as in text, and longer than all else takes together; zstd gives up by itself.
pub(super) struct Dense {
    probe: libdeflater::Compressor,
    store: libdeflater::Compressor,
}

/// A block is judged by so many samples, each from its own part of it.
const SAMPLES: usize = 8;
const SAMPLE_BYTES: usize = 8 << 10;
/// A sample that fits in here can be compressed.
const WORTHWHILE_BYTES: usize = SAMPLE_BYTES / 100 * 98;

impl Dense {
    fn new() -> Self {
        let of = |level| {
            let level = libdeflater::CompressionLvl::new(level);
            libdeflater::Compressor::new(level.expect("libdeflate has levels 0 to 12"))
        };
        Self { probe: of(1), store: of(0) }
    }

    /// Tells whether no part of `block` seems to be worth compressing.
    fn is(&mut self, block: &[u8]) -> bool {
        let mut room = [0; WORTHWHILE_BYTES];
        let part = block.len() / SAMPLES;
        // Short blocks are done at once.
        part >= SAMPLE_BYTES
            && block
                .chunks_exact(part)
                .all(|part| self.probe.deflate_compress(&part[..SAMPLE_BYTES], &mut room).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn what_cannot_be_made_smaller_is_stored_and_the_rest_compressed() {
        let text = b"some words that come again and again, ".repeat(1000);
        // Digests have no pattern.
        let noise: Vec<u8> =
            (0..1_u32 << 15).flat_map(|number| *Digest::of(number.to_le_bytes()).as_bytes()).collect();
        let mixed = |at: usize| {
            let mut block = noise.clone();
            // As long as two parts, so that a sample lies in it wherever it begins.
            let len = 2 * noise.len() / SAMPLES;
            block[at..at + len].copy_from_slice(&text.repeat(8)[..len]);
            block
        };
        for (name, block, stored) in [
            ("noise", noise.clone(), true),
            ("text", text.repeat(30), false),
            ("zeros", vec![0; 1 << 20], false),
            ("text in front", mixed(0), false),
            ("text somewhere", mixed(333_333), false),
            ("text behind", mixed(3 << 18), false),
            ("little noise", noise[..SAMPLES * SAMPLE_BYTES - 1].to_vec(), false),
        ] {
            assert_eq!(Dense::new().is(&block), stored, "{name}");
            let (mut codec, buffers) =
                (Codec::new(Compression::Gzip { level: 4 }).unwrap(), Buffers::default());
            let mut buffer = buffers.take(block.len());
            buffer.copy_from_slice(&block);
            let member = codec.compress(Arc::new(buffer), &buffers).unwrap();
            let most = if stored { block.len() + block.len() / 1000 } else { block.len() };
            assert!(member.len() <= most + 100, "{name}: {} of {}", member.len(), block.len());
            let mut back = vec![1; block.len()];
            codec.decompress(&member, &mut back).unwrap();
            assert!(back == block, "{name}");
        }
    }
}
