//! The threads that turn a plan into a layer.

use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use super::buffers::{Buffer, Buffers};
use super::codec::Codec;
use super::earlier::Earlier;
use super::hashing::{self, Filled, HashedBlock, Key, Stretch, Tar, resume};
use super::plan::{Block, LONGEST_BYTES, Plan};
use super::prepared::Prepared;
use super::progress::{InOrder, Progress, lock};
use super::source::Sources;
use super::table::{self, Row};
use super::{Compression, Digests, Error, PackOptions, Packed};
use crate::digest::{DiffId, Digest, Hasher, SavedHasher};
use crate::tree::Changes;

/// Files are read by as many threads, so that a disk has something to choose from.
const READERS: usize = 4;

/// The same where the files are read for the first time and may not be in memory. More hold more blocks, which then are not
/// in the caches of the CPU (benches/README.md).
const FIRST_READERS: usize = 8;

/// More compressors would need more memory, and more than four readers to feed them (unmeasured).
pub(super) const MOST_JOBS: usize = 32;

/// How much is done at the same time.
#[derive(Debug, PartialEq, Eq)]
struct Threads {
    readers: usize,
    jobs: usize,
    /// How many blocks are held at most.
    window: usize,
}

impl Threads {
    fn within(options: &PackOptions, readers: usize) -> Self {
        let jobs = options.jobs.clamp(1, MOST_JOBS);
        // A block is held with its compressed bytes, which in the worst case are as many.
        let longest = 2 * LONGEST_BYTES as u64;
        let room = usize::try_from(options.memory_bytes / longest).unwrap_or(usize::MAX).max(1);
        // Every compressor has a block in work and one waiting, every reader one in hand.
        let window = (2 * jobs + readers).min(room);
        Self { readers: readers.min(window), jobs: jobs.min(window), window }
    }
}

/// What compressors do.
enum Work {
    Compress(Filled),
    Copy(Copied),
}

/// A block of the earlier layer, compressed.
struct Copied {
    number: u64,
    bytes: Buffer,
    checksum: u32,
    hashes: Hashes,
}

/// Whether it is known what the layer's two hashes are behind a block of the earlier layer.
enum Hashes {
    /// All up to and with it is as in the earlier layer, and so are they. This is the blob's.
    Known(Box<SavedHasher>),
    /// They are made of its bytes and of these.
    Open(Uncompressed),
}

struct Uncompressed {
    key: Key,
    len: usize,
    stretches: Arc<[Stretch]>,
}

struct Compressed {
    number: u64,
    bytes: Arc<Buffer>,
    checksum: u32,
    /// The blob's hash behind the block, if it is known.
    hash: Option<Box<SavedHasher>>,
}

/// What the readers take their blocks from.
struct Queue<'a> {
    plan: Plan<'a>,
    next: u64,
    /// Whether every block so far is the one at its place in the earlier layer.
    same: bool,
}

/// What no thread changes.
#[derive(Clone, Copy)]
struct Job<'a> {
    sources: &'a Sources<'a>,
    earlier: Option<&'a Earlier>,
    prepared: Option<&'a Prepared>,
    compression: Compression,
    /// For blocks, and for what they are compressed to.
    buffers: &'a Buffers,
    compressed: &'a Buffers,
    progress: &'a Progress,
}

pub(super) fn run(
    changes: &Changes,
    options: &PackOptions,
    digests: Digests<'_>,
    mut out: impl Write,
) -> Result<Packed, Error> {
    let (readers, earlier, prepared) = match digests {
        Digests::Promised(hints) => (READERS, hints.earlier, hints.prepared),
        Digests::Open(_) => (FIRST_READERS, None, None),
    };
    let Threads { readers, jobs, window } = Threads::within(options, readers);
    let sources = Sources::open(changes, digests)?;
    let (buffers, compressed) = (Buffers::default(), Buffers::default());
    let queue = Mutex::new(Queue { plan: Plan::new(changes, options, &buffers), next: 0, same: true });
    let progress = Progress::new(window);
    let job = Job {
        sources: &sources,
        earlier,
        prepared,
        compression: options.compression,
        buffers: &buffers,
        compressed: &compressed,
        progress: &progress,
    };
    let (to_hasher, for_hasher) = mpsc::channel::<Tar>();
    let (to_compressor, for_compressor) = mpsc::channel::<Work>();
    let for_compressor = Mutex::new(for_compressor);
    let (to_writer, for_writer) = mpsc::channel::<Compressed>();

    let (hashed, written) = thread::scope(|scope| {
        let (queue, for_compressor) = (&queue, &for_compressor);
        for _ in 0..readers {
            let (to_hasher, to_compressor) = (to_hasher.clone(), to_compressor.clone());
            scope.spawn(move || job.progress.guard(|| job.fill_blocks(queue, &to_hasher, &to_compressor)));
        }
        for _ in 0..jobs {
            let (to_hasher, to_writer) = (to_hasher.clone(), to_writer.clone());
            scope.spawn(move || {
                job.progress.guard(|| job.compress_blocks(for_compressor, &to_hasher, &to_writer))
            });
        }
        // The channels end with the last thread that sends.
        drop((to_hasher, to_compressor, to_writer));
        let hasher =
            scope.spawn(move || job.progress.guard(|| hashing::run(job.sources, job.progress, for_hasher)));
        let written = job.progress.guard(|| job.write_blocks(for_writer, &mut out));
        (hasher.join(), written)
    });
    if let Some(error) = progress.into_error() {
        return Err(error);
    }
    let hashed = hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (hashed, written) = hashed.zip(written).expect("who fails leaves an error behind");
    let row = |((key, hashed), written): ((&Digest, &HashedBlock), &WrittenBlock)| Row {
        key: *key,
        len: hashed.len,
        compressed_len: written.len,
        checksum: written.checksum,
        blob: written.blob,
        tar: hashed.tar,
        file: hashed.file,
    };
    let rows = hashed.keys.iter().zip(&hashed.blocks).zip(&written.blocks).map(row);
    Ok(Packed {
        diff_id: DiffId(hashed.digest),
        digest: written.digest.unwrap_or(hashed.digest),
        size: written.size,
        uncompressed_size: hashed.size,
        blocks: table::encode(rows, options.compression),
    })
}

impl Job<'_> {
    /// Reads blocks, each as soon as there is space for it, and hands them to hasher and compressors.
    fn fill_blocks(
        self,
        queue: &Mutex<Queue<'_>>,
        to_hasher: &Sender<Tar>,
        to_compressor: &Sender<Work>,
    ) -> Result<(), Error> {
        loop {
            let (number, block, key, there, same) = {
                let mut queue = lock(queue);
                // One reader waits here, the others for the queue: who writes a block wakes no more than one.
                if !self.progress.wait_for_space(queue.next) {
                    return Ok(());
                }
                let Some(block) = queue.plan.next() else { return Ok(()) };
                let (number, block) = (queue.next, block?);
                queue.next += 1;
                let key = match self.sources.digests {
                    Digests::Promised(_) => Key::Known(block.key()),
                    Digests::Open(_) => Key::Open(block.draft()),
                };
                let there = match (self.earlier, &key) {
                    (Some(earlier), Key::Known(key)) => Some(earlier).zip(earlier.find(number, key)),
                    (Some(_), Key::Open(_)) | (None, _) => None,
                };
                queue.same &= there.is_some_and(|(_, there)| there as u64 == number);
                (number, block, key, there, queue.same)
            };
            // A receiver that is gone has failed, and said so.
            let open = match there {
                Some((earlier, there)) => {
                    let (row, bytes) = earlier.read(there, self.compressed)?;
                    let hashes = match same {
                        true => Hashes::Known(Box::new(row.blob)),
                        false => Hashes::Open(self.uncompressed(key, block)),
                    };
                    let copied = Copied { number, bytes, checksum: row.checksum, hashes };
                    let known = || to_hasher.send(Tar::Known { number, row: Box::new(row.clone()) }).is_ok();
                    (!same || known()) && to_compressor.send(Work::Copy(copied)).is_ok()
                }
                None => {
                    let filled = self.fill(number, key, block)?;
                    to_hasher.send(Tar::Block(filled.clone())).is_ok()
                        && to_compressor.send(Work::Compress(filled)).is_ok()
                }
            };
            if !open {
                return Ok(());
            }
        }
    }

    /// Returns what the hasher has to know of a block of the earlier layer.
    fn uncompressed(self, key: Key, Block { bytes, contents, .. }: Block) -> Uncompressed {
        let in_order =
            contents.into_iter().filter(|(_, content)| hashing::is_in_order(self.sources, content));
        let stretch = |(start, content)| Stretch { start, content, as_expected: true };
        Uncompressed { key, len: bytes.len(), stretches: in_order.map(stretch).collect() }
    }

    fn fill(self, number: u64, key: Key, block: Block) -> Result<Filled, Error> {
        let Block { mut bytes, contents, .. } = block;
        let mut stretches = Vec::new();
        for (start, content) in contents {
            let as_expected = self.sources.read(&content, &mut bytes[start..][..content.len])?;
            let is_needless = match self.sources.digests {
                // The hash of a file in several blocks is needed behind each of them.
                Digests::Promised(_) => as_expected && content.is_whole(),
                Digests::Open(_) => false,
            };
            if !is_needless {
                stretches.push(Stretch { start, content, as_expected });
            }
        }
        Ok(Filled { number, key, bytes: Arc::new(bytes), stretches: stretches.into() })
    }

    /// Compresses blocks, and checks the files that lie in one block; verifies blocks of the earlier layer.
    fn compress_blocks(
        self,
        blocks: &Mutex<Receiver<Work>>,
        to_hasher: &Sender<Tar>,
        to_writer: &Sender<Compressed>,
    ) -> Result<(), Error> {
        let mut codec = Codec::new(self.compression)?;
        loop {
            let Ok(work) = lock(blocks).recv() else { return Ok(()) };
            let compressed = match work {
                Work::Compress(block) => {
                    let digest = self.check_files(&block)?;
                    let prepared = self.prepared.zip(digest);
                    let bytes = match prepared.and_then(|(all, block)| all.find(&block, self.compressed)) {
                        Some(prepared) => Arc::new(prepared),
                        None => codec.compress(block.bytes, self.compressed)?,
                    };
                    // What is not compressed is not remembered by block.
                    let checksum = match self.compression {
                        Compression::None => 0,
                        Compression::Gzip { .. } | Compression::Zstd { .. } => libdeflater::crc32(&bytes),
                    };
                    Compressed { number: block.number, bytes, checksum, hash: None }
                }
                Work::Copy(Copied { number, bytes, checksum, hashes }) => {
                    if libdeflater::crc32(&bytes) != checksum {
                        return Err(Error::damaged());
                    }
                    let hash = match hashes {
                        Hashes::Known(blob) => Some(blob),
                        Hashes::Open(Uncompressed { key, len, stretches }) => {
                            let mut tar = self.buffers.take(len);
                            codec.decompress(&bytes, &mut tar).map_err(Error::Earlier)?;
                            let filled = Filled { number, key, bytes: Arc::new(tar), stretches };
                            if to_hasher.send(Tar::Block(filled)).is_err() {
                                return Ok(());
                            }
                            None
                        }
                    };
                    Compressed { number, bytes: Arc::new(bytes), checksum, hash }
                }
            };
            if to_writer.send(compressed).is_err() {
                return Ok(());
            }
        }
    }

    /// Checks the files that lie in a block; returns the digest of the block if it may be there, compressed.
    fn check_files(self, Filled { bytes, stretches, .. }: &Filled) -> Result<Option<Digest>, Error> {
        let (mut block, mut end) = (self.prepared.map(|_| Hasher::new()), 0);
        let mine = |stretch: &&Stretch| !hashing::is_in_order(self.sources, &stretch.content);
        for Stretch { start, content, as_expected } in stretches.iter().filter(mine) {
            let (mut file, stretch) = (Hasher::new(), *start..start + content.len);
            match &mut block {
                Some(block) => {
                    block.update(&bytes[end..*start]);
                    end = stretch.end;
                    block.update_both(&mut file, &bytes[stretch]);
                }
                None => file.update(&bytes[stretch]),
            }
            self.sources.hashed(content, file.finish(), *as_expected)?;
        }
        Ok(block.map(|mut block| {
            block.update(&bytes[end..]);
            block.finish()
        }))
    }

    /// Writes the compressed blocks in order, and hashes them.
    fn write_blocks(self, blocks: Receiver<Compressed>, out: &mut impl Write) -> Result<Written, Error> {
        let is_tar = self.compression == Compression::None;
        let (mut blob, mut size, mut written) = (Hasher::new(), 0, Vec::new());
        for block in InOrder::new(blocks, |block: &Compressed| block.number) {
            let len = block.bytes.len() as u32;
            out.write_all(&block.bytes).map_err(Error::Write)?;
            match &block.hash {
                Some(known) => blob = resume(known)?,
                None if is_tar => {}
                None => blob.update(&block.bytes),
            }
            size += u64::from(len);
            written.push(WrittenBlock { len, checksum: block.checksum, blob: blob.save() });
            drop(block.bytes);
            self.progress.advance(|done| &mut done.written);
        }
        out.flush().map_err(Error::Write)?;
        Ok(Written { digest: (!is_tar).then(|| blob.finish()), size, blocks: written })
    }
}

/// What the writer knows in the end.
struct Written {
    /// None of what is not compressed: it is the diff id.
    digest: Option<Digest>,
    size: u64,
    blocks: Vec<WrittenBlock>,
}

struct WrittenBlock {
    len: u32,
    checksum: u32,
    blob: SavedHasher,
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_MEMORY_BYTES;
    use super::*;

    #[test]
    fn less_memory_means_less_at_the_same_time() {
        let threads = |jobs, memory_bytes| {
            let options =
                PackOptions { compression: Compression::default(), jobs, memory_bytes, clamp_mtime: None };
            let Threads { readers, jobs, window } = Threads::within(&options, READERS);
            (readers, jobs, window)
        };
        assert_eq!(threads(2, DEFAULT_MEMORY_BYTES), (4, 2, 8));
        assert_eq!(threads(32, u64::MAX), (4, 32, 68));
        assert_eq!(threads(32, DEFAULT_MEMORY_BYTES), (4, 16, 16));
        assert_eq!(threads(8, 32 << 20), (2, 2, 2));
        assert_eq!(threads(8, 0), (1, 1, 1));
    }
}
