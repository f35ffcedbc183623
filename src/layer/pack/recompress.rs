//! A layer's tar in another codec.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use super::buffers::{Buffer, Buffers};
use super::codec::Codec;
use super::plan::STRETCH_BYTES;
use super::{Error, PackOptions};
use crate::digest::{DiffId, Hasher};
use crate::layer::read_full;

/// Compresses `tar` as it is, in stretches that are joined as [`pack`](super::pack) joins blocks; returns the diff id,
/// which is the digest of `tar`. What is written does not depend on `options.jobs`.
///
/// # Errors
/// If `tar` or `out` fails.
pub fn recompress(mut tar: impl Read, options: &PackOptions, mut out: impl Write) -> Result<DiffId, Error> {
    let jobs = options.jobs.clamp(1, super::pipeline::MOST_JOBS);
    let mut codecs = (0..jobs).map(|_| Codec::new(options.compression)).collect::<Result<Vec<_>, _>>()?;
    let (mut hasher, stretches, compressed) = (Hasher::new(), Buffers::default(), Buffers::default());
    loop {
        let mut chunks = Vec::with_capacity(jobs);
        while chunks.len() < jobs {
            // Whoever packed the tar, it is cut without a look at what is in it.
            let mut chunk = stretches.take(STRETCH_BYTES);
            let (len, ended) = read_full(&mut tar, &mut chunk);
            ended.map_err(Error::Tar)?;
            chunk.truncate(len);
            if chunk.is_empty() {
                break;
            }
            hasher.update(&chunk);
            chunks.push(Arc::new(chunk));
        }
        let last = chunks.len() < jobs;
        let blocks = thread::scope(|scope| {
            let compress = |(chunk, codec): (Arc<Buffer>, _)| {
                let (codec, buffers): (&mut Codec, _) = (codec, &compressed);
                scope.spawn(move || codec.compress(chunk, buffers))
            };
            let threads: Vec<_> = chunks.into_iter().zip(&mut codecs).map(compress).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<Result<Vec<_>, Error>>()
        })?;
        for bytes in blocks {
            out.write_all(&bytes).map_err(Error::Write)?;
        }
        if last {
            out.flush().map_err(Error::Write)?;
            return Ok(DiffId(hasher.finish()));
        }
    }
}
