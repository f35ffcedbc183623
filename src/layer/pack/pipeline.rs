//! The threads that turn a plan into a layer.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::buffers::{Buffer, Buffers};
use super::codec::Codec;
use super::earlier::Earlier;
use super::plan::{Block, Content, MOST_BLOCK_BYTES, Piece, Plan};
use super::source::Sources;
use super::table::{self, Row};
use super::{Compression, Error, Hints, PackOptions, Packed};
use crate::digest::{DiffId, Digest, Hasher, SavedHasher};
use crate::tree::Changes;

/// Files are read by as many threads, so that a disk has something to choose from.
const READERS: usize = 4;

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
    fn within(options: &PackOptions) -> Self {
        let jobs = options.jobs.clamp(1, MOST_JOBS);
        // A block is held with its compressed bytes, which in the worst case are as many.
        let room =
            usize::try_from(options.memory_bytes / (2 * MOST_BLOCK_BYTES)).unwrap_or(usize::MAX).max(1);
        // Every compressor has a block in work and one waiting, every reader one in hand.
        let window = (2 * jobs + READERS).min(room);
        Self { readers: READERS.min(window), jobs: jobs.min(window), window }
    }
}

/// A block with its bytes.
#[derive(Clone)]
struct Filled {
    number: u64,
    key: Digest,
    bytes: Arc<Buffer>,
    /// The stretches of files in it that are to be checked, each with where it begins in the bytes.
    contents: Arc<[(usize, Content)]>,
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
    key: Digest,
    len: usize,
    contents: Arc<[(usize, Content)]>,
}

/// What the hasher takes.
enum Tar {
    Block(Filled),
    /// Everything up to and with this block is as in the earlier layer.
    Known {
        number: u64,
        row: Box<Row>,
    },
}

impl Tar {
    const fn number(&self) -> u64 {
        match self {
            Self::Block(Filled { number, .. }) | Self::Known { number, .. } => *number,
        }
    }
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
    compression: Compression,
    buffers: &'a Buffers,
    progress: &'a Progress,
}

pub(super) fn run(
    changes: &Changes,
    options: &PackOptions,
    hints: Hints<'_>,
    mut out: impl Write,
) -> Result<Packed, Error> {
    let Threads { readers, jobs, window } = Threads::within(options);
    let sources = Sources::open(changes, hints.is_as_hashed)?;
    let earlier = hints.earlier;
    let queue = Mutex::new(Queue { plan: Plan::new(changes, options.clamp_mtime), next: 0, same: true });
    let progress = Progress::new(window);
    let (compression, buffers) = (options.compression, Buffers::default());
    let job = Job { sources: &sources, earlier, compression, buffers: &buffers, progress: &progress };
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
        let hasher = scope.spawn(move || job.progress.guard(|| job.hash_blocks(for_hasher)));
        let written = job.progress.guard(|| job.write_blocks(for_writer, &mut out));
        (hasher.join(), written)
    });
    if let Some(error) = progress.into_error() {
        return Err(error);
    }
    let hashed = hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let (hashed, written) = hashed.zip(written).expect("who fails leaves an error behind");
    let row = |(hashed, written): (&HashedBlock, &WrittenBlock)| Row {
        key: hashed.key,
        len: hashed.len,
        compressed_len: written.len,
        checksum: written.checksum,
        blob: written.blob,
        tar: hashed.tar,
        file: hashed.file,
    };
    let rows = hashed.blocks.iter().zip(&written.blocks).map(row);
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
                let Some(block) = queue.plan.next() else { return Ok(()) };
                let (number, block) = (queue.next, block?);
                queue.next += 1;
                let key = block.key();
                let there = self.earlier.and_then(|earlier| earlier.find(number, &key));
                queue.same &= there.is_some_and(|there| there as u64 == number);
                (number, block, key, there, queue.same)
            };
            if !self.progress.wait_for_space(number) {
                return Ok(());
            }
            // A receiver that is gone has failed, and said so.
            let open = match self.earlier.zip(there) {
                Some((earlier, there)) => {
                    let (row, bytes) = earlier.read(there, self.buffers)?;
                    let hashes = match same {
                        true => Hashes::Known(Box::new(row.blob)),
                        false => Hashes::Open(Uncompressed {
                            key,
                            len: block.len,
                            contents: block.contents().into(),
                        }),
                    };
                    let copied = Copied { number, bytes, checksum: row.checksum, hashes };
                    let known = || to_hasher.send(Tar::Known { number, row: Box::new(row.clone()) }).is_ok();
                    (!same || known()) && to_compressor.send(Work::Copy(copied)).is_ok()
                }
                None => {
                    let filled = self.fill(number, key, &block)?;
                    to_hasher.send(Tar::Block(filled.clone())).is_ok()
                        && to_compressor.send(Work::Compress(filled)).is_ok()
                }
            };
            if !open {
                return Ok(());
            }
        }
    }

    fn fill(self, number: u64, key: Digest, block: &Block) -> Result<Filled, Error> {
        let mut bytes = self.buffers.take(block.len);
        let (mut start, mut contents) = (0, Vec::new());
        for piece in &block.pieces {
            match piece {
                Piece::Bytes(piece) => {
                    bytes[start..start + piece.len()].copy_from_slice(piece);
                    start += piece.len();
                }
                Piece::Content(content) => {
                    let proven = self.sources.read(content, &mut bytes[start..start + content.len])?;
                    // The hash of a file in several blocks is needed behind each of them.
                    if !(proven && content.is_whole()) {
                        contents.push((start, content.clone()));
                    }
                    start += content.len;
                }
            }
        }
        Ok(Filled { number, key, bytes: Arc::new(bytes), contents: contents.into() })
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
                    for (start, content) in block.contents.iter().filter(|(_, content)| content.is_whole()) {
                        if Digest::of(&block.bytes[*start..start + content.len]) != content.digest {
                            return Err(self.sources.changed(&content.file));
                        }
                    }
                    let bytes = codec.compress(block.bytes, self.buffers)?;
                    // What is not compressed is not remembered by block.
                    let checksum = match self.compression {
                        Compression::None => 0,
                        Compression::Gzip { .. } | Compression::Zstd { .. } => libdeflater::crc32(&bytes),
                    };
                    Compressed { number: block.number, bytes, checksum, hash: None }
                }
                Work::Copy(Copied { number, bytes, checksum, hashes }) => {
                    if libdeflater::crc32(&bytes) != checksum {
                        return Err(Error::Earlier(std::io::ErrorKind::InvalidData.into()));
                    }
                    let hash = match hashes {
                        Hashes::Known(blob) => Some(blob),
                        Hashes::Open(Uncompressed { key, len, contents }) => {
                            let mut tar = self.buffers.take(len);
                            codec.decompress(&bytes, &mut tar).map_err(Error::Earlier)?;
                            let filled = Filled { number, key, bytes: Arc::new(tar), contents };
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

    /// Hashes the blocks in order, and checks the files that lie in several.
    fn hash_blocks(self, blocks: Receiver<Tar>) -> Result<Hashed, Error> {
        let mut tar = Hasher::new();
        let mut hashed = Hashed { digest: Digest::of(b""), size: 0, blocks: Vec::new() };
        // The file that the last block ended in.
        let mut file: Option<Hasher> = None;
        for block in InOrder::new(blocks, Tar::number) {
            let (key, len) = match block {
                Tar::Known { row, .. } => {
                    tar = resume(&row.tar)?;
                    file = row.file.as_ref().map(resume).transpose()?;
                    (row.key, row.len)
                }
                Tar::Block(block) => {
                    tar.update(&block.bytes);
                    for (start, content) in block.contents.iter().filter(|(_, content)| !content.is_whole()) {
                        let mut running = file.take().unwrap_or_default();
                        running.update(&block.bytes[*start..start + content.len]);
                        if !content.is_last() {
                            file = Some(running);
                        } else if running.finish() != content.digest {
                            return Err(self.sources.changed(&content.file));
                        }
                    }
                    (block.key, block.bytes.len() as u32)
                }
            };
            hashed.size += u64::from(len);
            let file = file.as_ref().map(Hasher::save);
            hashed.blocks.push(HashedBlock { key, len, tar: tar.save(), file });
            self.progress.advance(|done| &mut done.hashed);
        }
        hashed.digest = tar.finish();
        Ok(hashed)
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

/// Goes on from the state that a hash had in the earlier layer.
fn resume(saved: &SavedHasher) -> Result<Hasher, Error> {
    Hasher::resume(saved).ok_or_else(|| Error::Earlier(std::io::ErrorKind::InvalidData.into()))
}

/// What the hasher knows in the end.
struct Hashed {
    digest: Digest,
    size: u64,
    blocks: Vec<HashedBlock>,
}

struct HashedBlock {
    key: Digest,
    len: u32,
    tar: SavedHasher,
    file: Option<SavedHasher>,
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

/// Puts what threads send back into its order.
struct InOrder<T, N> {
    received: Receiver<T>,
    number: N,
    early: BTreeMap<u64, T>,
    next: u64,
}

impl<T, N: Fn(&T) -> u64> InOrder<T, N> {
    const fn new(received: Receiver<T>, number: N) -> Self {
        Self { received, number, early: BTreeMap::new(), next: 0 }
    }
}

impl<T, N: Fn(&T) -> u64> Iterator for InOrder<T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(item);
            }
            let item = self.received.recv().ok()?;
            self.early.insert((self.number)(&item), item);
        }
    }
}

/// How far the layer is, and whether it has failed.
struct Progress {
    done: Mutex<Done>,
    changed: Condvar,
    window: u64,
}

#[derive(Default)]
struct Done {
    hashed: u64,
    written: u64,
    failed: bool,
    error: Option<Error>,
}

impl Progress {
    fn new(window: usize) -> Self {
        Self { done: Mutex::default(), changed: Condvar::new(), window: window as u64 }
    }

    /// Waits until block `number` is within the window; false if there will be no need for it.
    ///
    /// Blocks are taken in order, so the one that everybody waits for always is within it.
    fn wait_for_space(&self, number: u64) -> bool {
        let mut done = lock(&self.done);
        while !done.failed && number >= done.hashed.min(done.written) + self.window {
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
        !done.failed
    }

    fn advance(&self, counter: impl FnOnce(&mut Done) -> &mut u64) {
        *counter(&mut lock(&self.done)) += 1;
        self.changed.notify_all();
    }

    /// Runs the work of a thread. If it fails or panics, nobody waits any longer.
    fn guard<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        struct Stop<'a>(&'a Progress);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.fail(None);
                }
            }
        }
        let _stop = Stop(self);
        match work() {
            Ok(result) => Some(result),
            Err(error) => {
                self.fail(Some(error));
                None
            }
        }
    }

    fn fail(&self, error: Option<Error>) {
        let mut done = lock(&self.done);
        done.failed = true;
        if done.error.is_none() {
            done.error = error;
        }
        drop(done);
        self.changed.notify_all();
    }

    fn into_error(self) -> Option<Error> {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner).error
    }
}

/// A lock is poisoned only if a thread panicked, and then the scope panics when it ends.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            let Threads { readers, jobs, window } = Threads::within(&options);
            (readers, jobs, window)
        };
        assert_eq!(threads(2, DEFAULT_MEMORY_BYTES), (4, 2, 8));
        assert_eq!(threads(32, u64::MAX), (4, 32, 68));
        assert_eq!(threads(32, DEFAULT_MEMORY_BYTES), (4, 32, 32));
        assert_eq!(threads(8, 16 << 20), (2, 2, 2));
        assert_eq!(threads(8, 0), (1, 1, 1));
    }
}
