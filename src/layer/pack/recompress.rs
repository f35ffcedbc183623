//! The same tar in another codec.

use std::io::{Read, Write};
use std::sync::Arc;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};

use super::pipeline::Codec;
use super::{Compression, Error, Packed};
use crate::digest::{DiffId, Hasher};

/// What is compressed on its own; the bytes of the result depend on it.
const BLOCK: u64 = 1 << 20;
/// How many blocks are in memory.
const BATCH: usize = 16;

/// Compresses a tar to `out` as [`pack`](super::pack) compresses what it writes, and says what it is.
///
/// # Errors
/// If the tar cannot be read, or `out` fails.
pub fn recompress(
    mut tar: impl Read,
    compression: Compression,
    mut out: impl Write,
) -> Result<Packed, Error> {
    let (mut uncompressed, mut compressed) = (Hasher::new(), Hasher::new());
    let (mut uncompressed_size, mut size) = (0, 0);
    loop {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let mut block = Vec::new();
            tar.by_ref().take(BLOCK).read_to_end(&mut block).map_err(Error::Stream)?;
            if block.is_empty() {
                break;
            }
            uncompressed.update(&block);
            uncompressed_size += block.len() as u64;
            batch.push(Arc::new(block));
        }
        if batch.is_empty() {
            break;
        }
        let done = batch.into_par_iter().map(|block| Codec::new(compression)?.compress(block));
        for bytes in done.collect::<Result<Vec<_>, Error>>()? {
            compressed.update(&bytes);
            size += bytes.len() as u64;
            out.write_all(&bytes).map_err(Error::Write)?;
        }
    }
    out.flush().map_err(Error::Write)?;
    let diff_id = DiffId(uncompressed.finish());
    Ok(Packed { diff_id, digest: compressed.finish(), size, uncompressed_size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::layer::decompress;

    #[test]
    fn the_tar_stays_what_it_was() {
        let tar: Vec<u8> = (0..5_000_000_u32).map(|number| (number / 7) as u8).collect();
        for compression in [Compression::None, Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }]
        {
            let mut first = Vec::new();
            let packed = recompress(&*tar, compression, &mut first).unwrap();
            assert_eq!(packed.diff_id, DiffId(Digest::of(&tar)));
            assert_eq!((packed.digest, packed.size), (Digest::of(&first), first.len() as u64));
            let mut again = Vec::new();
            std::io::copy(&mut decompress(&*first).unwrap(), &mut again).unwrap();
            assert!(again == tar, "{compression:?}");
            let mut second = Vec::new();
            recompress(&*tar, compression, &mut second).unwrap();
            assert!(first == second, "{compression:?}");
        }
    }
}
